"""Stochastic gradient descent: minibatches, fresh samples or noisy labels, fixed by a key."""

from collections.abc import Callable, Mapping
from pathlib import Path

import optax
from jaxtyping import Array, Key, PyTree

from sparsejax.dynamics.descent import descend
from sparsejax.dynamics.loss import Loss
from sparsejax.dynamics.recording import Probe
from sparsejax.dynamics.sampling import checked_sampling
from sparsejax.dynamics.stop import Stop
from sparsejax.dynamics.trajectory import Trajectory


def sgd(
    loss: Loss,
    params: PyTree,
    optimizer: optax.GradientTransformation,
    steps: int,
    *,
    key: Key[Array, ""],
    batch_size: int | None = None,
    sampling: str = "epochs",
    generator: Callable[[Array, Array], tuple[PyTree, Array]] | None = None,
    label_noise: float | int = 0.0,
    save_every: int = 1,
    probes: Mapping[str, Probe] | None = None,
    optimizer_state: optax.OptState | None = None,
    stop: Stop | None = None,
    checkpoint: str | Path | None = None,
    checkpoint_every: int = 1000,
    progress: bool = False,
) -> Trajectory:
    """Run `steps` stochastic steps of an optax optimiser; losses are recorded on all samples.

    What a step sees is a function of `key` and the step's number alone, whatever is saved.
    `sampling` of `batch_size` samples: `"epochs"` (without replacement, each sample once an epoch),
    `"subsets"` (without replacement within a batch, batches independent) or `"replacement"`.
    `generator(key, step) -> (x, targets)` gives fresh data each step instead; `loss` then serves to
    record. `label_noise`: standard deviation of Gaussian noise on the targets, anew each step
    (squared loss only; all samples where neither `batch_size` nor `generator` is given).

    Otherwise as `gradient_descent`, with `stop`, `checkpoint` and `progress` as there. `jax.vmap`
    over `key` gives an ensemble in one program.

    Raises:
        ValueError: counts out of range, an unknown law of sampling, a generator that does not fit,
            a checkpoint of another run.

    Example:
        >>> import jax, jax.numpy as jnp, optax, sparsejax as sj
        >>> x = jnp.linspace(-1.0, 1.0, 8)
        >>> loss = sj.squared_loss(lambda w, x: w * x, x, 2 * x)
        >>> run = sgd(
        ...     loss, jnp.asarray(0.0), optax.sgd(0.5), 100, key=jax.random.key(0), batch_size=2
        ... )
        >>> round(float(run.final), 3)
        2.0
    """
    chosen = checked_sampling(loss, key, batch_size, sampling, generator, label_noise)
    if generator is not None:
        seen = "fresh samples"
    else:
        seen = "all samples" if batch_size is None else sampling
    method = (
        ("solver", "stochastic gradient descent"),
        ("why", "asked for"),
        ("batch_size", batch_size),
        ("sampling", seen),
        ("independent_batches", chosen.independent),
        ("label_noise", float(label_noise)),
    )
    return descend(
        loss,
        params,
        optimizer,
        steps,
        save_every=save_every,
        sampling=chosen,
        key=key,
        probes=probes,
        optimizer_state=optimizer_state,
        stop=stop,
        checkpoint=checkpoint,
        checkpoint_every=checkpoint_every,
        progress=progress,
        method=method,
    )
