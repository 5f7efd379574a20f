"""The exact rate of gradient flow on the squared loss, and the least-eigenvalue rate (2.3)."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from sparsejax.bounds.bound import Bound, finite_rows, flow_from_zero, loss_agrees
from sparsejax.bounds.quadrature import simpson_like_integral, summed_thinning_error
from sparsejax.dynamics import SquaredLoss, Trajectory
from sparsejax.tangent import Function, residual_and_kernel
from sparsejax.tangent.kernel_matrix import resolution

SOURCE = "Robin, Scaman, Lelarge 2022 (Rayleigh quotients)"


class KernelRates(NamedTuple):
    """What the kernel says about the rate of decay at the saved times: `dL/dt = -4 R L`.

    `rayleigh`: the quotient `R = <r, K r> / <r, r>`. `least`: the least eigenvalue of `K`; one
    below `m` roundings of the largest (`m` samples times outputs) counts as zero.
    """

    rayleigh: Float[Array, " s"]
    least: Float[Array, " s"]


def kernel_rates(
    f: Function, flow: Trajectory, x: PyTree, targets: Array | np.ndarray
) -> KernelRates:
    """Rayleigh quotients and least eigenvalues at the saved times, from one kernel a time.

    Raises:
        ValueError: shapes that disagree.

    Example:
        >>> import jax.numpy as jnp, sparsejax as sj
        >>> f, x, y = (lambda w, x: x @ w), jnp.array([[1.0, 0.0], [0.0, 2.0]]), jnp.ones(2)
        >>> flow = sj.gradient_flow(sj.squared_loss(f, x, y), jnp.zeros(2), t1=1.0)
        >>> rates = kernel_rates(f, flow, x, y)
        >>> float(rates.rayleigh[0]), float(rates.least[0])
        (1.25, 0.5)
    """
    return _rates(f, flow.params, x, targets)


@eqx.filter_jit
def _rates(f, params, x, targets) -> KernelRates:
    def at(p):
        residual, kernel = residual_and_kernel(f, p, x, targets)
        image = jnp.matmul(kernel, residual, precision="highest")
        quotient = residual @ image / (residual @ residual)
        eigenvalues = jnp.linalg.eigvalsh(kernel)
        # Rounding moves the least eigenvalue of a singular kernel to either side of zero, and a
        # positive one would promise a decay that theory does not.
        unseen = eigenvalues[0] <= resolution(eigenvalues)
        least = jnp.where(unseen, jnp.zeros_like(eigenvalues[0]), eigenvalues[0])
        return KernelRates(quotient, least)

    return jax.lax.map(at, params)


def rayleigh(
    f: Function,
    flow: Trajectory,
    x: PyTree,
    targets: Array | np.ndarray,
    *,
    rates: KernelRates | None = None,
) -> Bound:
    """The identity `L_t = L_0 exp(-4 int R)`, `R = <r, K r> / <r, r>` at the saved times.

    `rates`: the `kernel_rates` of this flow, where they are at hand.

    Raises:
        ValueError: shapes that disagree.
    """
    quotients = (rates or kernel_rates(f, flow, x, targets)).rayleigh
    return _exponential(f, flow, x, targets, np.asarray(quotients, float), "identity")


def least_eigenvalue(
    f: Function,
    flow: Trajectory,
    x: PyTree,
    targets: Array | np.ndarray,
    *,
    rates: KernelRates | None = None,
) -> Bound:
    """The classical rate `L_t <= L_0 exp(-4 int lambda_min(K))`; vacuous where `K` is singular.

    `rates`: the `kernel_rates` of this flow, where they are at hand.

    Raises:
        ValueError: shapes that disagree.
    """
    least = (rates or kernel_rates(f, flow, x, targets)).least
    return _exponential(f, flow, x, targets, np.asarray(least, float), "upper")


def _exponential(f, flow, x, targets, rates: Float[np.ndarray, " s"], kind) -> Bound:
    ts, losses = np.asarray(flow.ts, float), np.asarray(flow.losses, float)
    if losses[0] == 0:
        raise ValueError("the loss is zero at the start of the flow: there is no decay to bound")
    last = finite_rows(losses, rates)
    ts, rates, initial = ts[:last], rates[:last], float(losses[0])

    values = initial * np.exp(-4 * simpson_like_integral(ts, rates))
    loss = SquaredLoss(f, x, targets)
    return Bound(
        name="Rayleigh identity" if kind == "identity" else "least-eigenvalue rate",
        source=SOURCE,
        ts=ts,
        values=values,
        quantity="losses",
        kind=kind,
        quadrature_error=values * np.expm1(4 * summed_thinning_error(ts, rates)),
        initial=initial,
        hypotheses=(
            flow_from_zero(flow),
            loss_agrees("the flow is of the mean squared loss", loss, flow, last),
        ),
        details={"rate": rates},
    )
