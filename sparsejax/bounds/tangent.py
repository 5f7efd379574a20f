"""Loss decay from the tangent approximation constant along a gradient flow (bounds 2.1 and 2.2)."""

from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from sparsejax.bounds.bound import Bound, Hypothesis, finite_rows, flow_from_zero, loss_agrees
from sparsejax.bounds.quadrature import inverse_square_integral, thinning_error
from sparsejax.dynamics import Loss, SquaredLoss, Trajectory, squared_loss
from sparsejax.tangent import Function, convex_tangent_constant, tangent_constant

Form = Literal["squared", "convex"]
Vector = Float[np.ndarray, " s"]
SOURCE = "derived from Robin, Scaman, Lelarge 2024, definition of tangent approximation"


def tangent(
    f: Function,
    flow: Trajectory,
    x: PyTree,
    targets: Array | np.ndarray,
    eps: float | int | Array,
    *,
    form: Form = "squared",
    loss: Loss | None = None,
    kappas: Float[Array | np.ndarray, " s"] | None = None,
) -> Bound:
    """The promised loss along a gradient flow, from `kappa_eps` at its saved times.

    With `S(t) = int kappa_eps^{-2}`: `form="convex"` is bound 2.1, valid for any convex loss,
    `L_t - eps <= 1 / (1 / (L_0 - eps) + S(t))`; `form="squared"` is the sharper bound 2.2 for the
    mean squared loss. `loss`: the loss of the flow where it is not the squared one of equal samples
    (`kappa` then comes from a convex solver; `form` must be `"convex"` but for weighted squares).
    `kappas`: the constants at `flow.ts` where they were recorded as a probe.

    Raises:
        ValueError: `eps` negative, an unknown form, or a loss that the form does not cover.

    Example:
        >>> import jax.numpy as jnp, sparsejax as sj
        >>> f, x, y = (lambda w, x: x * w), jnp.ones((1, 1)), jnp.array([[1.0]])
        >>> flow = sj.gradient_flow(sj.squared_loss(f, x, y), jnp.asarray(0.0), t1=1.0)
        >>> bound = tangent(f, flow, x, y, eps=0.25)
        >>> bool((flow.losses <= bound.values + 1e-6).all())
        True
    """
    eps = float(eps)
    if not eps >= 0:
        raise ValueError(f"eps must not be negative, got {eps}")
    if form not in ("squared", "convex"):
        raise ValueError(f"form is 'squared' or 'convex', not {form!r}")
    if loss is not None and not isinstance(loss, SquaredLoss) and form == "squared":
        raise ValueError("form='squared' is for the mean squared loss; use form='convex'")
    if kappas is None:
        kappas = tangent_constants(f, flow, x, targets, eps, loss=loss)
    ts, losses = np.asarray(flow.ts, float), np.asarray(flow.losses, float)
    kappa = np.asarray(kappas, float)
    last = finite_rows(losses, np.where(np.isinf(kappa), 0.0, kappa))
    ts, kappa, initial = ts[:last], kappa[:last], float(losses[0])
    curve = squared_curve if form == "squared" else convex_curve

    def along(kept: np.ndarray) -> Vector:
        return curve(initial, eps, inverse_square_integral(ts[kept], kappa[kept]))

    finite = np.isfinite(kappa)
    own = squared_loss(f, x, targets) if loss is None else loss
    hypotheses = (
        flow_from_zero(flow),
        loss_agrees("the flow is of this loss", own, flow, last),
        Hypothesis(
            "the tangent constant is finite somewhere",
            bool(finite.any()),
            f"finite at {int(finite.sum())} of {len(kappa)} saved times",
        ),
    )
    everything = np.arange(len(ts))
    return Bound(
        name=f"tangent bound, {form} form",
        source=SOURCE,
        ts=ts,
        values=along(everything),
        quantity="losses",
        kind="upper",
        quadrature_error=thinning_error(ts, along),
        initial=initial,
        hypotheses=hypotheses,
        details={"kappa": kappa, "S": inverse_square_integral(ts, kappa), "eps": float(eps)},
    )


@eqx.filter_jit
def _constants(f, params, x, targets, eps, loss):
    def at(p):
        if loss is not None:
            return convex_tangent_constant(loss, p, eps)
        # Below eps the constant is zero: no kernel is needed to know it.
        value = SquaredLoss(f, x, targets)(p)
        return jax.lax.cond(
            value <= eps.astype(value.dtype),
            lambda: jnp.zeros((), value.dtype),
            lambda: tangent_constant(f, p, x, targets, eps),
        )

    return jax.lax.map(at, params)


def tangent_constants(
    f: Function,
    flow: Trajectory,
    x: PyTree,
    targets: Array | np.ndarray,
    eps: float | int | Array,
    *,
    loss: Loss | None = None,
) -> Float[Array, " s"]:
    """`kappa_eps` at the saved times; `loss` where it is not the squared one of equal samples."""
    if isinstance(loss, SquaredLoss) and loss.weights is None:
        loss = None  # a closed form, where others need a convex solver
    return _constants(f, flow.params, x, targets, jnp.asarray(eps, float), loss)


def convex_curve(initial: float, eps: float, s: Vector) -> Vector:
    """Bound 2.1: `eps + 1 / (1 / (L_0 - eps) + S)`, and `L_0` where it is below `eps` already.

    Example:
        >>> convex_curve(1.0, 0.0, np.array([0.0, 1.0])).tolist()
        [1.0, 0.5]
    """
    if initial <= eps:
        return np.full_like(s, initial)
    # Where nothing was gained the bound is the start itself, to the last digit.
    return np.where(s == 0, initial, eps + 1 / (1 / (initial - eps) + s))


def squared_curve(initial: float, eps: float, s: Vector) -> Vector:
    """Bound 2.2: `rho^2` with `G(rho) = G(rho_0) - 2 S`, `rho = sqrt(L)`, `q = sqrt(eps)`.

    `G(rho) = ln(rho / (rho - q)) / q^2 - 1 / (q (rho - q))` increases, so `rho` is found by
    bisection in `ln(rho - q)`; at `eps = 0` the bound is `1 / rho^2 = 1 / rho_0^2 + 4 S`.

    Example:
        >>> squared_curve(1.0, 0.0, np.array([0.0, 0.25])).tolist()
        [1.0, 0.5]
    """
    if initial <= eps:
        return np.full_like(s, initial)
    if eps == 0:
        return np.where(s == 0, initial, 1 / (1 / initial + 4 * s))
    q, rho0 = np.sqrt(eps), np.sqrt(initial)

    def g(gap: Vector | np.ndarray) -> Vector:
        z = q / gap
        # (z - log1p(z)) / z^2, by its series where the difference would cancel.
        near = 1 / 2 - z * (1 / 3 - z * (1 / 4 - z / 5))
        far = (z - np.log1p(z)) / np.square(np.maximum(z, 1e-3))
        return -np.where(z < 1e-3, near, far) / np.square(gap)

    goal = g(np.full_like(s, rho0 - q)) - 2 * s
    low, high = np.full_like(s, np.log(rho0 - q) - 80), np.full_like(s, np.log(rho0 - q))
    for _ in range(100):
        middle = (low + high) / 2
        above = g(np.exp(middle)) > goal
        low, high = np.where(above, low, middle), np.where(above, middle, high)
    return np.where(s == 0, initial, np.square(q + np.exp(high)))
