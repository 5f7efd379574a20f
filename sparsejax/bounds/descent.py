"""The tangent bound in discrete time: gradient descent with curvature along its own steps (2.6)."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree

from sparsejax.bounds.bound import Bound, Hypothesis, finite_rows, loss_agrees
from sparsejax.bounds.quadrature import cumulative
from sparsejax.bounds.tangent import SOURCE, Form, convex_curve, squared_curve, tangent_constants
from sparsejax.dynamics import Trajectory, squared_loss
from sparsejax.dynamics.trajectory import DIVERGED, NAN
from sparsejax.tangent import Function

POINTS = 9


@eqx.filter_jit
def step_curvatures(
    loss: Callable[[PyTree], Array], params: PyTree[Array], points: int = POINTS
) -> Float[Array, "steps points"]:
    """Second derivatives of the loss along each segment between consecutive saved parameters.

    `params` has a leading axis of S states; entry `[k, i]` is `d^T H d / ||d||^2` at the i-th of
    `points` equidistant points, ends included, of the segment of step k.

    Example:
        >>> import jax.numpy as jnp
        >>> step_curvatures(lambda w: 1.5 * w**2, jnp.array([0.0, 1.0]), points=2).tolist()
        [[3.0, 3.0]]
    """

    def of_step(pair):
        start, end = pair
        direction = jax.tree.map(jnp.subtract, end, start)
        squared = jnp.sum(jnp.square(ravel_pytree(direction)[0]))

        def along(s):
            return loss(jax.tree.map(lambda a, d: a + s.astype(a.dtype) * d, start, direction))

        def second(s):
            one = jnp.ones_like(s)
            return jax.jvp(lambda r: jax.jvp(along, (r,), (one,))[1], (s,), (one,))[1]

        values = jax.lax.map(second, jnp.linspace(0.0, 1.0, points, dtype=squared.dtype))
        return values / jnp.where(squared > 0, squared, 1)

    before = jax.tree.map(lambda leaf: leaf[:-1], params)
    after = jax.tree.map(lambda leaf: leaf[1:], params)
    return jax.lax.map(of_step, (before, after))


def descent(
    f: Function,
    run: Trajectory,
    x: PyTree,
    targets: Array | np.ndarray,
    eps: float | int | Array,
    *,
    form: Form = "squared",
) -> Bound:
    """The promised loss along full-batch gradient descent whose every step was saved.

    As `tangent`, with `S` replaced by `sum_k eta_k (1 - eta_k beta_k / 2) / kappa_k^2`; `beta_k` is
    the largest curvature of the loss along step k, in the step's direction, over `POINTS` points
    of the segment (the change from half as many points enters the error). The promise ends at the
    first step with `eta_k beta_k >= 2`.

    Raises:
        ValueError: `eps` negative or an unknown form.
    """
    eps = float(eps)
    if not eps >= 0:
        raise ValueError(f"eps must not be negative, got {eps}")
    if form not in ("squared", "convex"):
        raise ValueError(f"form is 'squared' or 'convex', not {form!r}")
    curve = squared_curve if form == "squared" else convex_curve
    ts, losses = np.asarray(run.ts, float), np.asarray(run.losses, float)
    last = finite_rows(losses)
    ts, initial = ts[:last], float(losses[0])
    params = jax.tree.map(lambda leaf: leaf[:last], run.params)
    loss = squared_loss(f, x, targets)
    kappa = np.asarray(tangent_constants(f, run, x, targets, eps), float)[: last - 1]
    curvatures = np.asarray(step_curvatures(loss, params), float)
    etas = np.diff(ts)

    def along(beta: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        factor = 1 - etas * beta / 2
        with np.errstate(divide="ignore", invalid="ignore"):
            gain = np.where(np.isfinite(kappa), etas * factor / kappa**2, 0.0)
        return curve(initial, eps, cumulative(np.maximum(gain, 0))), factor

    values, factor = along(np.maximum(curvatures.max(axis=1), 0))
    coarse, _ = along(np.maximum(curvatures[:, ::2].max(axis=1), 0))
    too_large = factor <= 0
    end = int(np.argmax(too_large)) if too_large.any() else len(etas)
    # A step of length eta ||g|| whose component along -g is eta ||g||^2 is -eta g.
    lengths = np.diff(np.asarray(run.path_lengths, float)[:last])
    norms = etas * np.asarray(run.grad_norms, float)[: last - 1]
    tolerance = 1e4 * float(np.finfo(np.asarray(run.losses).dtype).eps)
    steepest = np.allclose(lengths, norms, rtol=tolerance, atol=tolerance * norms.max(initial=0.0))
    return Bound(
        name=f"tangent bound in discrete time, {form} form",
        source=SOURCE,
        ts=ts[: end + 1],
        values=values[: end + 1],
        quantity="losses",
        kind="upper",
        quadrature_error=np.abs(values - coarse)[: end + 1],
        initial=initial,
        hypotheses=(
            Hypothesis("every step was saved", every_step_saved(run)),
            Hypothesis("every step goes along the negative gradient", steepest),
            loss_agrees("the run is of the mean squared loss", loss, run, last),
            Hypothesis(
                "step size below 2 / curvature",
                end == len(etas),
                "at every step"
                if end == len(etas)
                else f"step {end} has eta beta = {etas[end] * curvatures[end].max():.3g}",
            ),
            Hypothesis("the tangent constant is finite somewhere", bool(np.isfinite(kappa).any())),
        ),
        details={
            "kappa": kappa,
            "beta": curvatures.max(axis=1),
            "eta": etas,
            "eps": float(eps),
            "stopped_at_step": end if end < len(etas) else None,
        },
    )


def every_step_saved(runs: Trajectory) -> bool:
    """Whether no step of a descent, or of any of several, lies between two saved states."""
    if runs.integrated:
        return False
    # The state that a failed run ended in is not saved.
    failed = np.isin(np.asarray(runs.status_code), (NAN, DIVERGED))
    saved = np.isfinite(np.asarray(runs.ts)).sum(axis=-1)
    return bool((saved + failed == np.asarray(runs.counts["steps"]) + 1).all())
