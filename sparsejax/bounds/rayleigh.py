"""The exact rate of gradient flow on the squared loss, and the least-eigenvalue rate (2.3)."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from sparsejax.bounds.bound import Bound, Hypothesis, finite_rows, flow_from_zero
from sparsejax.bounds.quadrature import simpson_like_integral, thinning_error
from sparsejax.dynamics import SquaredLoss, Trajectory
from sparsejax.tangent import Function, residual_and_kernel

SOURCE = "Robin, Scaman, Lelarge 2022 (Rayleigh quotients)"


@eqx.filter_jit
def _quotients(f, params, x, targets) -> tuple[Array, Array]:
    def at(p):
        residual, kernel = residual_and_kernel(f, p, x, targets)
        quotient = residual @ (kernel @ residual) / (residual @ residual)
        return quotient, jnp.linalg.eigvalsh(kernel)[0]

    return jax.lax.map(at, params)


def rayleigh(f: Function, flow: Trajectory, x: PyTree, targets: Array | np.ndarray) -> Bound:
    """The identity `L_t = L_0 exp(-4 int R)`, `R = <r, K r> / <r, r>` at the saved times.

    Raises:
        ValueError: shapes that disagree.
    """
    quotients, _ = _quotients(f, flow.params, x, targets)
    return _exponential(f, flow, x, targets, np.asarray(quotients, float), "identity")


def least_eigenvalue(
    f: Function, flow: Trajectory, x: PyTree, targets: Array | np.ndarray
) -> Bound:
    """The classical rate `L_t <= L_0 exp(-4 int lambda_min(K))`; vacuous where `K` is singular.

    Raises:
        ValueError: shapes that disagree.
    """
    _, least = _quotients(f, flow.params, x, targets)
    # Rounding makes the least eigenvalue of a singular kernel slightly negative.
    return _exponential(f, flow, x, targets, np.maximum(np.asarray(least, float), 0), "upper")


def _exponential(f, flow, x, targets, rates: Float[np.ndarray, " s"], kind) -> Bound:
    ts, losses = np.asarray(flow.ts, float), np.asarray(flow.losses, float)
    last = finite_rows(losses, rates)
    ts, rates, initial = ts[:last], rates[:last], float(losses[0])

    def along(kept: np.ndarray) -> Float[np.ndarray, " s"]:
        return initial * np.exp(-4 * simpson_like_integral(ts[kept], rates[kept]))

    recomputed = float(SquaredLoss(f, x, targets)(flow.at(0)))
    return Bound(
        name="Rayleigh identity" if kind == "identity" else "least-eigenvalue rate",
        source=SOURCE,
        ts=ts,
        values=along(np.arange(last)),
        quantity="losses",
        kind=kind,
        quadrature_error=thinning_error(ts, along),
        initial=initial,
        hypotheses=(
            flow_from_zero(flow),
            Hypothesis(
                "the flow is of the mean squared loss",
                bool(np.isclose(recomputed, initial, rtol=1e-5, atol=1e-12)),
                f"loss from the data {recomputed:.6g}, along the flow {initial:.6g}",
            ),
        ),
        details={"rate": rates},
    )
