"""The networks of `shallow-against-deep` by number of parameters, and the error of one."""

import functools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sparsejax import learners
from sparsejax.dynamics.batch_streams import FixedSet
from sparsejax.targets import CompositionalTarget, binary_tree

MATCHED = "matched"
LEARNERS = (MATCHED, "shallow", "deep")


class ErrorProbe(eqx.Module):
    """The mean squared error on fixed points, over the target's variance on them."""

    x: Float[Array, "n d"]
    y: Float[Array, "n 1"]

    def __call__(self, f: Any, params: Any) -> Array:
        """The error of one network."""
        return jnp.mean(jnp.square(f(params, self.x) - self.y)) / jnp.var(self.y)


class SharedSamples(eqx.Module):
    """A stream whose lanes all draw from the same samples; which ones is a lane's own."""

    x: Float[Array, "n d"]
    y: Float[Array, "n 1"]
    batch: int = eqx.field(static=True)

    def __call__(self, key: Array) -> FixedSet:
        """The source of one lane."""
        return FixedSet(self.x, self.y, key, self.batch, "replacement")


@functools.lru_cache(maxsize=4)
def samples_of(
    target: CompositionalTarget, count: int, seed: int
) -> tuple[Float[Array, "n d"], Float[Array, "n 1"]]:
    """Samples of a tree, once for all learners and sizes."""
    return jax.jit(lambda key: target.sample(key, count, jnp.float32))(jax.random.key(seed))


def other_leaves(dims: int) -> list[int]:
    """An order of the inputs in which no two that met first do so any more, counted from 0.

    Input `i` of the first half and its counterpart in the second become neighbours.

    Example:
        >>> other_leaves(8)
        [0, 4, 1, 5, 2, 6, 3, 7]
    """
    half = dims // 2
    return [place for i in range(half) for place in (i, half + i)]


@functools.cache
def learner_of(name: str, dims: int, parameters: int, in_degree: int) -> learners.Learner:
    """The learner of that name with at most so many parameters.

    Deep networks have as many hidden layers as the tree has levels.

    Raises:
        ValueError: fewer parameters than the narrowest has.

    Example:
        >>> [learner_of(name, 8, 500, 4).parameters for name in LEARNERS]
        [481, 491, 495]
    """
    depth = dims.bit_length() - 1
    if name == MATCHED:

        def construct(width: int) -> learners.Learner:
            if not in_degree:
                # The dense lift of the tree, in few arrays.
                return learners.locally_connected(dims, depth, width)
            # Which functions sit at its nodes does not matter here.
            return learners.matched_lift(binary_tree(dims, max), width, min(in_degree, width))

    elif name == "shallow":

        def construct(width: int) -> learners.Learner:
            return learners.dense_mlp(dims, width, 1)

    else:

        def construct(width: int) -> learners.Learner:
            return learners.dense_mlp(dims, width, depth)

    return learners.with_parameters(construct, parameters)
