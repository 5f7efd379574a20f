"""The time at which a margin falls to zero within a step."""

from collections.abc import Callable
from typing import Any, ClassVar, NamedTuple

import jax.numpy as jnp
import optimistix as optx
from jaxtyping import Array, Float, PyTree


class Bracket(NamedTuple):
    """The margin is positive at `lower` and not at `upper`."""

    lower: Float[Array, ""]
    upper: Float[Array, ""]


class Crossing(optx.AbstractRootFinder[Float[Array, ""], Any, Any, Bracket]):
    """Bisection for the first time at which a margin is not positive, to an absolute tolerance.

    For `diffrax.Event`. Unlike `optimistix.Bisection` it asks nothing of the size of the margin,
    which has units of its own, and takes a lane of an ensemble in which nothing has happened.
    """

    rtol: Any
    atol: Any
    # All norms are the same for scalars.
    norm: ClassVar[Callable[[PyTree], Array]] = jnp.abs  # type: ignore[misc]

    def init(self, fn, y, args, options, f_struct, aux_struct, tags) -> Bracket:
        """The step, whose ends the integrator has looked at."""
        return Bracket(options["lower"].astype(y.dtype), options["upper"].astype(y.dtype))

    def step(self, fn, y, args, options, state, tags):
        """Halve the bracket."""
        middle = state.lower + 0.5 * (state.upper - state.lower)
        margin, aux = fn(middle, args)
        above = margin > 0
        bracket = Bracket(
            jnp.where(above, middle, state.lower), jnp.where(above, state.upper, middle)
        )
        return bracket.upper, bracket, aux

    def terminate(self, fn, y, args, options, state, tags):
        """Whether the bracket is as narrow as asked, or as time resolves."""
        width = self.atol + self.rtol * jnp.abs(state.upper)
        return state.upper - state.lower <= width, optx.RESULTS.successful

    def postprocess(self, fn, y, aux, args, options, state, tags, result):
        """The end of the bracket at which the condition holds."""
        return state.upper, aux, {}
