"""How far gradient flow travels (2.4), and the a priori form of the tangent bound (2.5)."""

import math

import numpy as np
from jaxtyping import Float

from sparsejax.bounds.bound import Bound, Hypothesis, finite_rows, flow_from_zero
from sparsejax.bounds.tangent import SOURCE, convex_curve
from sparsejax.dynamics import Trajectory


def path_length(flow: Trajectory) -> Bound:
    """`int ||grad L|| <= sqrt(t (L_0 - L_t))` for any loss, by Cauchy and Schwarz.

    Example:
        >>> import jax.numpy as jnp, sparsejax as sj
        >>> flow = sj.gradient_flow(lambda w: 0.5 * jnp.sum(w**2), jnp.ones(1), t1=1.0)
        >>> bool((flow.path_lengths <= path_length(flow).values + 1e-6).all())
        True
    """
    ts, losses = np.asarray(flow.ts, float), np.asarray(flow.losses, float)
    last = finite_rows(losses)
    ts, losses = ts[:last], losses[:last]
    return Bound(
        name="path length",
        source="Cauchy-Schwarz on the energy identity",
        ts=ts,
        values=np.sqrt(ts * np.maximum(losses[0] - losses, 0)),
        quantity="path_lengths",
        kind="upper",
        quadrature_error=np.zeros_like(ts),
        initial=math.inf,
        hypotheses=(flow_from_zero(flow),),
    )


def ball_radius(initial: float, horizon: float) -> float:
    """`sqrt(T L_0)`: gradient flow of a non-negative loss stays within it up to time `T`.

    Example:
        >>> ball_radius(initial=4.0, horizon=9.0)
        6.0
    """
    return math.sqrt(horizon * initial)


def a_priori(
    initial: float, eps: float, kappa_over_ball: float, ts: Float[np.ndarray, " s"]
) -> Bound:
    """Bound 2.1 with `S(t) = t / k^2`, where `kappa_eps <= k` over the ball of `ball_radius`.

    Raises:
        ValueError: `kappa_over_ball` is not positive, or `eps` is negative.
    """
    if not eps >= 0:
        raise ValueError(f"eps must not be negative, got {eps}")
    if not kappa_over_ball > 0:
        raise ValueError(f"kappa_over_ball must be positive, got {kappa_over_ball}")
    return Bound(
        name="a priori tangent bound",
        source=SOURCE,
        ts=ts,
        values=convex_curve(initial, eps, ts / kappa_over_ball**2),
        quantity="losses",
        kind="upper",
        quadrature_error=np.zeros_like(ts),
        initial=initial,
        hypotheses=(
            Hypothesis(
                "the tangent constant is finite over the ball", math.isfinite(kappa_over_ball)
            ),
        ),
        details={"radius": ball_radius(initial, float(ts[-1]))},
    )
