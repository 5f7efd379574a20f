"""The tangent approximation constant of any convex loss of the outputs."""

from collections.abc import Callable
from typing import Protocol, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from sparsejax.tangent.kernel_matrix import kernel_matrix
from sparsejax.tangent.tangent_constant import checked_eps

# How near to the least length that is proved a step counts as the shortest, and how many times the
# step at hand that has to be for no step to reach the level.
SHORTEST, OUT_OF_REACH = 1e-3, 1e6


@runtime_checkable
class OutputLoss(Protocol):
    """A loss that knows its network and is a convex function of the network's outputs."""

    f: Callable[[PyTree, PyTree], Array]
    x: PyTree[Array]

    def of_outputs(self, outputs: Array) -> Array:
        """The loss from all outputs."""
        ...


def convex_tangent_constant(
    loss: OutputLoss, params: PyTree, eps: int | float | Array, *, newton_steps: int = 30
) -> Float[Array, ""]:
    """`kappa_eps = min { ||u|| : loss(f + J u) <= eps }` for a convex, twice differentiable loss.

    The minimiser is `u = J^T a` with `a = -nu grad loss(f + K a)`; for each `nu` a damped Newton
    iteration finds `a`, and `nu` is bisected until the loss is `eps`. At any `u` the gradient `s`
    of the convex loss proves `||u'|| >= (loss(f + J u) - eps - s.u) / ||s||` for all `u'` that
    reach `eps`: what is returned is within a thousandth of this, and infinite only where this is
    beyond a million times `||u||`. NaN where neither can be proved, as may be where the loss has
    kinks, and where the network is not finite. Memory and time as a dense linear solve in the
    number of outputs.

    Raises:
        ValueError: `eps` is negative.

    Example:
        >>> import jax.numpy as jnp, sparsejax as sj
        >>> loss = sj.squared_loss(lambda w, x: x @ w, jnp.array([[2.0]]), jnp.array([[4.0]]))
        >>> round(float(convex_tangent_constant(loss, jnp.zeros((1, 1)), 1.0)), 6)
        1.5
    """
    # An array: a number would be static, and compile anew for every value.
    eps = jnp.asarray(checked_eps(eps), jnp.result_type(float))
    # In reduced precision, as on a GPU by default, Newton's iteration would not settle.
    with jax.default_matmul_precision("highest"):
        return _constant(loss, params, eps, newton_steps)


@eqx.filter_jit
def _constant(loss, params, eps, newton_steps) -> Array:
    outputs = loss.f(params, loss.x)
    kernel, m = kernel_matrix(loss.f, params, loss.x), outputs.size
    centre = outputs.reshape(-1)
    eps = eps.astype(kernel.dtype)

    def value(z):
        return loss.of_outputs(z.reshape(outputs.shape))

    slope, curvature = jax.grad(value), jax.hessian(value)
    rounding = float(jnp.finfo(kernel.dtype).eps)
    sizes = 0.5 ** jnp.arange(20, dtype=kernel.dtype)

    def objective(a, nu):
        ka = kernel @ a
        return 0.5 * a @ ka + nu * value(centre + ka)

    def newton(a, nu):
        def improve(state):
            number, a, _ = state
            z = centre + kernel @ a
            defect = a + nu * slope(z)
            step = jnp.linalg.solve(jnp.eye(m, dtype=a.dtype) + nu * curvature(z) @ kernel, defect)
            trials = jax.vmap(lambda s: objective(a - s * step, nu))(sizes)
            here, decrease = objective(a, nu), sizes * (defect @ (kernel @ step))
            # The longest step that descends, up to the objective's own rounding: near the minimum
            # all trials are equal to rounding, and only full steps converge beyond its square root.
            fine = trials <= here - 1e-4 * decrease + 8 * rounding * jnp.abs(here)
            size = jnp.where(jnp.any(fine), sizes[jnp.argmax(fine)], 0)
            change = size * step
            moving = jnp.max(jnp.abs(change)) > 4 * rounding * jnp.max(jnp.abs(a))
            return number + 1, a - change, moving

        def going(state):
            number, _, moving = state
            return moving & (number < newton_steps)

        return jax.lax.while_loop(going, improve, (0, a, jnp.asarray(True)))[1]

    def halve(_, state):
        low, high, a = state
        middle = (low + high) / 2
        candidate = newton(a, jnp.exp(middle))
        above = value(centre + kernel @ candidate) > eps
        # The next Newton iteration starts from the larger nu that still misses eps.
        return (
            jnp.where(above, middle, low),
            jnp.where(above, high, middle),
            jnp.where(above, candidate, a),
        )

    low = jnp.asarray(jnp.log(1e-12), kernel.dtype)
    high = jnp.asarray(jnp.log(1e12), kernel.dtype)
    zero = jnp.zeros(m, kernel.dtype)
    low, high, a = jax.lax.fori_loop(0, 60, halve, (low, high, zero))
    a = newton(a, jnp.exp(high))
    z = centre + kernel @ a
    kappa = jnp.sqrt(jnp.maximum(a @ (kernel @ a), 0))
    reached = value(z) <= eps * (1 + max(1e-9, 1e3 * rounding))
    image = kernel @ slope(z)
    least = (value(z) - eps - a @ image) / jnp.sqrt(jnp.maximum(slope(z) @ image, 0))
    shortest = reached & (least >= (1 - SHORTEST) * kappa)
    out_of_reach = ~reached & (least > OUT_OF_REACH * kappa)
    kappa = jnp.where(shortest, kappa, jnp.where(out_of_reach, jnp.inf, jnp.nan))
    return jnp.where(value(centre) <= eps, 0, kappa)
