"""The loss whose gradient flow follows gradient descent to second order in the step size."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree


class ModifiedLoss(eqx.Module):
    """`L + eta/4 ||grad L||^2`: implicit gradient regularisation (Barrett & Dherin 2021).

    Gradient descent with step `eta` stays within `O(eta^2)` of the gradient flow of this loss, and
    within `O(eta)` of that of `L` itself.

    Example:
        >>> import jax.numpy as jnp
        >>> modified = ModifiedLoss(lambda w: 0.5 * jnp.sum(w**2), jnp.asarray(0.2))
        >>> round(float(modified(jnp.array([1.0]))), 6)
        0.55
    """

    loss: Callable[[PyTree], Array]
    eta: Float[Array, ""]

    def __call__(self, params: PyTree) -> Float[Array, ""]:
        """The modified loss at `params`."""
        value, gradient = jax.value_and_grad(self.loss)(params)
        squares = [jnp.sum(jnp.square(leaf)) for leaf in jax.tree.leaves(gradient)]
        return value + self.eta.astype(value.dtype) / 4 * sum(squares[1:], squares[0])


def modified_loss(loss: Callable[[PyTree], Array], eta: float | int) -> ModifiedLoss:
    """`L + eta/4 ||grad L||^2` as a loss for `gradient_flow`; `eta` is a step size (flow time).

    Raises:
        ValueError: `eta` is negative.
    """
    if not eta >= 0:
        raise ValueError(f"eta is a step size and must not be negative, got {eta}")
    return ModifiedLoss(loss, jnp.asarray(eta, float))
