"""Descent on a sphere: gradients without their radial part, and back to the radius."""

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, PyTree


def spherical_sgd(step_size: float | int) -> optax.GradientTransformation:
    """Each leaf stays on its sphere: a step along the gradient's tangential part, then projected.

    `w <- |w| (w - eta g_t) / |w - eta g_t|` with `g_t` the gradient without its part along w. Time
    is `eta` a step, as in plain descent. A leaf that is zero stays there.

    Raises:
        ValueError: a step size that is not positive.

    Source: Ben Arous, Gheissari, Jagannath, JMLR 2021 (arXiv 2003.10409), equation 1.4.

    Example:
        >>> descent = spherical_sgd(1.0)
        >>> w = jnp.array([1.0, 0.0])
        >>> updates, _ = descent.update(jnp.array([5.0, -1.0]), descent.init(w), w)
        >>> [round(float(entry), 4) for entry in optax.apply_updates(w, updates)]
        [0.7071, 0.7071]
    """
    if not step_size > 0:
        raise ValueError(f"step_size must be positive, got {step_size}")

    def init(params: PyTree) -> optax.EmptyState:
        return optax.EmptyState()

    def update(gradients: PyTree, state: optax.EmptyState, params: PyTree | None = None) -> tuple:
        if params is None:
            raise ValueError("spherical_sgd needs the parameters: update(gradients, state, params)")

        def move(gradient: Array, leaf: Array) -> Array:
            square = jnp.sum(leaf * leaf)
            radial = jnp.sum(gradient * leaf) / jnp.where(square > 0, square, 1)
            moved = leaf - step_size * (gradient - radial * leaf)
            length = jnp.sum(moved * moved)
            scale = jnp.sqrt(square / jnp.where(length > 0, length, 1))
            return moved * scale - leaf

        return jax.tree.map(move, gradients, params), state

    return optax.GradientTransformation(init, update)
