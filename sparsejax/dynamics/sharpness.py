"""The sharpness: the largest eigenvalue of the loss's Hessian, from Hessian-vector products."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.experimental.sparse.linalg import lobpcg_standard
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Key, PyTree

COLUMNS = 2


@eqx.filter_jit
def sharpness(
    loss: Callable[[PyTree], Array],
    params: PyTree,
    *,
    key: Key[Array, ""] | None = None,
    max_iterations: int = 60,
) -> Float[Array, ""]:
    """`lambda_max` of the Hessian of `loss` at `params`, by LOBPCG on Hessian-vector products.

    Starts at random (`key`, default fixed) and stops at convergence, or after `max_iterations`
    with a lower bound. Up to a dozen parameters the Hessian is formed. Gradient descent of step
    `eta` is unstable where the sharpness exceeds `2 / eta` (Cohen et al. 2021).

    Example:
        >>> import jax.numpy as jnp
        >>> round(float(sharpness(lambda w: w[0] ** 2 + 3 * w[1] ** 2, jnp.ones(2))), 6)
        6.0
    """
    theta, unravel = ravel_pytree(params)

    def flat_loss(t: Array) -> Array:
        return loss(unravel(t))

    # LOBPCG works in a basis of three blocks and wants room beside it.
    if theta.size <= 6 * COLUMNS:
        return jnp.linalg.eigvalsh(jax.hessian(flat_loss)(theta))[-1]

    def products(block: Array) -> Array:
        return jax.vmap(
            lambda v: jax.jvp(jax.grad(flat_loss), (theta,), (v,))[1], in_axes=1, out_axes=1
        )(block)

    key = jax.random.key(0) if key is None else key
    start = jax.random.normal(key, (theta.size, COLUMNS), theta.dtype)
    largest = lobpcg_standard(products, start, m=max_iterations)[0][0]
    # On a flat loss every product is zero and the iteration divides by zero.
    return jnp.where(jnp.any(products(start) != 0), largest, 0)
