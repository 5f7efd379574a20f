"""How one mode of the linearised network is learned: by the flow, and step by step."""

import abc

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float


class Decay(eqx.Module):
    """What is left of a residual `c` along an eigenvector of `K`, eigenvalue `w`, after time `t`.

    With `ridge`, the loss is `L + ridge ||theta - theta_0||^2`.
    """

    ridge: float | Array

    @abc.abstractmethod
    def left(
        self, rates: Float[Array, " m"], t: Float[Array, ""]
    ) -> tuple[Float[Array, " m"], Float[Array, " m"]]:
        """`e(t)`, and `1 - e(t)` to full relative precision; `e(0) = 1`."""

    @abc.abstractmethod
    def limits(self, rates: Float[Array, " m"]) -> tuple[Bool[Array, " m"], Bool[Array, " m"]]:
        """Which rates make `e` grow beyond any bound, and which make it oscillate for ever.

        A rate is an eigenvalue and the ridge.
        """

    def __call__(
        self, w: Float[Array, " m"], t: Float[Array, ""]
    ) -> tuple[Float[Array, " m"], Float[Array, " m"]]:
        """`r(t) / r(0)` and `a(t) / r(0)`, where the weights are `theta_0 - J^T a(t)`.

        Modes with `w = 0` are not seen: their residual stays, and they move no weight.
        """
        seen = w > 0
        ridge = jnp.asarray(self.ridge, w.dtype)
        rates = jnp.where(seen, w, 1) + ridge
        e, gone = self.left(rates, t)
        remaining = jnp.where(ridge > 0, (ridge + w * e) / rates, e)
        return jnp.where(seen, remaining, 1), jnp.where(seen, gone / rates, 0)


class FlowDecay(Decay):
    """`e = exp(-2 w t)`: the flow of the mean squared loss at flow time `t`."""

    def left(self, rates, t):
        """`expm1` keeps what a slow mode has learned."""
        return jnp.exp(-2 * rates * t), -jnp.expm1(-2 * rates * t)

    def limits(self, rates):
        """A flow does neither."""
        never = jnp.zeros(rates.shape, bool)
        return never, never


class DescentDecay(Decay):
    """`e = (1 - 2 eta w)^k`: gradient descent of the mean squared loss after `k` steps."""

    step_size: float | Array

    def left(self, rates, t):
        """`e` is negative after an odd number of steps that overshoot, with `2 eta w > 1`."""
        z = 2 * jnp.asarray(self.step_size, rates.dtype) * rates
        small = z < 1
        # `k log1p(-z)` where the factor is positive; its size and its sign apart where it is not.
        exponent = t * jnp.log1p(-jnp.where(small, z, 0.5))
        base = jnp.log(jnp.where(small, 0.5, z - 1))
        size = jnp.where(t == 0, 1, jnp.exp(t * base))
        e = jnp.where(jnp.mod(jnp.where(jnp.isinf(t), 0, t), 2) == 1, -size, size)
        return (
            jnp.where(small, jnp.exp(exponent), e),
            jnp.where(small, -jnp.expm1(exponent), 1 - e),
        )

    def limits(self, rates):
        """A factor of size above one grows, and minus one oscillates."""
        z = 2 * jnp.asarray(self.step_size, rates.dtype) * rates
        return z > 2, z == 2
