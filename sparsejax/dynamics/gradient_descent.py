"""Discrete gradient methods: any optax optimiser, full batch or minibatch, as a trajectory."""

from collections.abc import Callable, Mapping
from pathlib import Path

import optax
from jaxtyping import Array, Key, PyTree

from sparsejax.dynamics.descent import descend
from sparsejax.dynamics.recording import Probe
from sparsejax.dynamics.sampling import checked_sampling
from sparsejax.dynamics.stop import Stop
from sparsejax.dynamics.trajectory import Trajectory


def gradient_descent(
    loss: Callable[[PyTree], Array],
    params: PyTree,
    optimizer: optax.GradientTransformation,
    steps: int,
    *,
    save_every: int = 1,
    batch_size: int | None = None,
    key: Key[Array, ""] | None = None,
    probes: Mapping[str, Probe] | None = None,
    optimizer_state: optax.OptState | None = None,
    stop: Stop | None = None,
    checkpoint: str | Path | None = None,
    checkpoint_every: int = 1000,
    progress: bool = False,
) -> Trajectory:
    """Run `steps` steps of an optax optimiser from `params` and save every `save_every`-th state.

    Time is the sum of step sizes. The size of a step is read off the step itself, as the component
    of the update along the negative gradient, `-<update, g> / <g, g>`: the learning rate for plain
    gradient descent under any schedule, the effective step of any other optimiser; a proximal step
    (`proximal_l1` and its like) says its own size. With
    `batch_size` each step sees that many samples, drawn without replacement within an epoch in an
    order that `key` alone fixes; `loss` must then be a `Loss` such as `squared_loss` makes, and
    losses and gradient norms are recorded on all samples.

    A new optimiser object compiles anew. To run many step sizes through one compiled program, make
    one `optax.inject_hyperparams(optax.sgd)(learning_rate=0.0)` and pass `optimizer_state`, whose
    `hyperparams["learning_rate"]` says the step size of this run; the default is
    `optimizer.init(params)`.

    `Trajectory.status` is `completed`, `diverged` (the loss exceeds `1e6 (|L_0| + 1)` or is
    infinite) or `nan`, with the time of the first such step; or names the condition of `stop` that
    was met, with the time of the first step at which it holds. `Trajectory.end` are the parameters
    at that time. Conditions are on the loss of all samples: with `batch_size` each step then costs
    one evaluation more, on all of them.

    `checkpoint`: a folder for checkpoints, one every `checkpoint_every` steps. The same call after
    a kill goes on at the last one that is whole, and gives the same trajectory to the last bit on
    the same machine. `progress`: a bar on standard error, if that is a terminal. Both, and
    `Stop(wall_clock=...)`, work outside `jit` and `vmap` alone. Without them and `stop` a run can
    be differentiated backwards.

    Raises:
        ValueError: counts out of range, a batch without a key or without a `Loss`, a checkpoint of
            another run.

    Example:
        >>> import jax.numpy as jnp, optax
        >>> run = gradient_descent(lambda w: 0.5 * w**2, jnp.asarray(1.0), optax.sgd(0.1), steps=2)
        >>> [round(float(w), 3) for w in run.params], [round(float(t), 3) for t in run.ts]
        ([1.0, 0.9, 0.81], [0.0, 0.1, 0.2])
    """
    sampling = None if batch_size is None else checked_sampling(loss, key, batch_size, "epochs")
    method = (
        ("solver", "gradient descent" if batch_size is None else "stochastic gradient descent"),
        ("why", "asked for"),
        ("batch_size", batch_size),
    )
    return descend(
        loss,
        params,
        optimizer,
        steps,
        save_every=save_every,
        sampling=sampling,
        key=key,
        probes=probes,
        optimizer_state=optimizer_state,
        stop=stop,
        checkpoint=checkpoint,
        checkpoint_every=checkpoint_every,
        progress=progress,
        method=method,
    )
