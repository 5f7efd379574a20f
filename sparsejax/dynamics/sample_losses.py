"""Losses of single samples, functions of outputs and targets: what an online run descends."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float


def half_squared(outputs: Float[Array, "n c"], targets: Float[Array, "n c"]) -> Float[Array, " n"]:
    """`||outputs - targets||^2 / 2`, summed over outputs.

    Example:
        >>> half_squared(jnp.array([[3.0, 0.0]]), jnp.array([[1.0, 1.0]])).tolist()
        [2.5]
    """
    return 0.5 * jnp.sum(jnp.square(outputs - targets), axis=1)


def hinge(outputs: Float[Array, "n c"], targets: Float[Array, "n c"]) -> Float[Array, " n"]:
    """`max(0, 1 - y f)` for labels -1 and +1, summed over outputs.

    Example:
        >>> hinge(jnp.array([[0.25], [2.0]]), jnp.array([[1.0], [1.0]])).tolist()
        [0.75, 0.0]
    """
    return jnp.sum(jax.nn.relu(1 - targets * outputs), axis=1)
