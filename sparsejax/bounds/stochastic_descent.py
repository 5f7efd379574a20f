"""Expected descent of SGD with measured noise (2.7), over an ensemble of runs."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, PyTree

from sparsejax.bounds.bound import Bound, Hypothesis
from sparsejax.bounds.descent import every_step_saved, step_curvatures
from sparsejax.bounds.quadrature import cumulative
from sparsejax.dynamics import Trajectory

SOURCE = "the descent lemma under unbiased noise"


@eqx.filter_jit
def _measure(loss, params, etas) -> tuple[Array, Array, Array]:
    """Curvatures along the steps, `||grad L||^2` and `||noise||^2`, each per run and step."""

    def of_run(path, steps):
        thetas = jax.vmap(lambda p: ravel_pytree(p)[0])(path)
        gradients = jax.lax.map(
            lambda p: ravel_pytree(jax.grad(loss)(p))[0],
            jax.tree.map(lambda leaf: leaf[:-1], path),
        )
        safe = jnp.where(steps > 0, steps, 1)[:, None]
        noise = (thetas[:-1] - thetas[1:]) / safe - gradients
        curvatures = step_curvatures(loss, path)
        return curvatures, jnp.sum(jnp.square(gradients), 1), jnp.sum(jnp.square(noise), 1)

    return jax.vmap(of_run)(params, etas)


def stochastic_descent(
    loss: Callable[[PyTree], Array],
    runs: Trajectory,
    *,
    confidence: float = 0.99,
) -> Bound:
    """The promised mean loss of an ensemble of SGD runs, from measured gradients and noise.

    `E L_K <= L_0 - sum eta (1 - eta beta_k / 2) E ||grad L_k||^2 + sum eta^2 beta_k sigma_k^2 / 2`.
    `runs`: one `Trajectory` with a leading axis of runs, from `jax.vmap` of `sgd` over keys, every
    step saved. `sigma_k^2` is the mean of `||step / eta - grad L||^2` over the runs; `beta_k` the
    largest curvature of the loss along their steps (the change from half as many points enters the
    error). The mean loss (`measured`) and the right side share their noise: the sampling error is
    that of their difference, simultaneous over steps at level `confidence`. The promise ends at
    the first step with `eta beta_k >= 2`.

    Raises:
        ValueError: `confidence` out of range, no axis of runs, or fewer than two of them.

    Example:
        >>> import jax, jax.numpy as jnp, optax, sparsejax as sj
        >>> x = jnp.diag(jnp.array([1.0, 2.0, 3.0]))
        >>> loss = sj.squared_loss(lambda w, x: x @ w, x, jnp.ones(3))
        >>> one = lambda key: sj.sgd(
        ...     loss, jnp.zeros(3), optax.sgd(0.05), 20, key=key, batch_size=1, sampling="subsets"
        ... )
        >>> runs = jax.vmap(one)(jax.random.split(jax.random.key(0), 200))
        >>> bound = stochastic_descent(loss, runs)
        >>> sj.bounds.compare(bound, runs).status
        'holds'
    """
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie in (0, 1), got {confidence}")
    losses = np.asarray(runs.losses, float)
    if losses.ndim != 2 or len(losses) < 2:
        raise ValueError("runs need a leading axis of at least two runs: jax.vmap over keys")
    count, finite = len(losses), np.isfinite(losses).all(axis=0)
    last = len(finite) if finite.all() else int(np.argmin(finite))
    if last == 0:
        raise ValueError("the runs have no finite loss at their first saved time")
    losses, all_ts = losses[:, :last], np.asarray(runs.ts, float)[:, :last]
    params = jax.tree.map(lambda leaf: leaf[:, :last], runs.params)
    curvatures, squares, noise = (
        np.asarray(part, float)
        for part in _measure(loss, params, jnp.asarray(np.diff(all_ts), runs.ts.dtype))
    )
    ts, etas, initial = all_ts[0], np.diff(all_ts[0]), float(losses[:, 0].mean())

    def along(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """The right side of each run, and `beta`."""
        beta = np.maximum(points.max(axis=(0, 2), initial=0.0), 0)
        gains = -etas * (1 - etas * beta / 2) * squares + etas**2 * beta * noise / 2
        return losses[:, :1] + np.array([cumulative(row) for row in gains]), beta

    promised, beta = along(curvatures)
    coarse, _ = along(curvatures[:, :, ::2])
    too_large = etas * beta >= 2
    end = int(np.argmax(too_large)) if too_large.any() else len(etas)
    level = 1 - (1 - confidence) / (2 * max(len(etas), 1))
    deviation = np.std(losses - promised, axis=0, ddof=1) / np.sqrt(count)
    values = promised.mean(axis=0)
    method = dict(runs.method)
    return Bound(
        name="expected descent of SGD",
        source=SOURCE,
        ts=ts[: end + 1],
        values=values[: end + 1],
        quantity="losses",
        kind="upper",
        quadrature_error=np.abs(values - coarse.mean(axis=0))[: end + 1],
        initial=initial,
        measured=losses.mean(axis=0)[: end + 1],
        sampling_error=(float(scipy.stats.t.ppf(level, count - 1)) * deviation)[: end + 1],
        hypotheses=(
            Hypothesis("every step was saved", every_step_saved(runs)),
            Hypothesis(
                "gradients are unbiased given the past",
                bool(method.get("independent_batches", method.get("batch_size") is None)),
                "within an epoch a batch is what the others left: draw 'subsets' or 'replacement'",
            ),
            Hypothesis(
                "every step goes along the negative sampled gradient", _steepest(runs, last)
            ),
            Hypothesis(
                "all runs take the same step sizes",
                bool(np.allclose(all_ts, ts[None], rtol=1e-6, atol=0)),
            ),
            Hypothesis(
                "every run stays finite",
                last == runs.ts.shape[1],
                f"a run is {_worst_status(runs)} behind step {last - 1}",
            ),
            Hypothesis(
                "step size below 2 / curvature",
                end == len(etas),
                "at every step"
                if end == len(etas)
                else f"step {end} has eta beta = {etas[end] * beta[end]:.3g}",
            ),
        ),
        details={
            "beta": beta,
            "eta": etas,
            "noise_variance": noise.mean(axis=0),
            "squared_gradients": squares.mean(axis=0),
            "runs": count,
            "stopped_at_step": end if end < len(etas) else None,
        },
    )


def _steepest(runs: Trajectory, last: int) -> bool:
    """A step of length `eta ||s||` whose component along `-s` is `eta ||s||^2` is `-eta s`."""
    etas = np.diff(np.asarray(runs.ts, float)[:, :last])
    lengths = np.diff(np.asarray(runs.path_lengths, float)[:, :last])
    energies = np.diff(np.asarray(runs.dissipation, float)[:, :last])
    expected = np.sqrt(np.maximum(etas * energies, 0))
    tolerance = 1e4 * float(np.finfo(np.asarray(runs.losses).dtype).eps)
    atol = np.sqrt(tolerance) * float(expected.max(initial=0.0))
    return bool(np.allclose(lengths, expected, rtol=np.sqrt(tolerance), atol=atol))


def _worst_status(runs: Trajectory) -> str:
    codes = np.asarray(runs.status_code)
    return str(np.asarray(runs.status)[int(np.argmax(codes))])
