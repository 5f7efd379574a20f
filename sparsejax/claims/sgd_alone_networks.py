"""What `sgd-alone` trains, and what it looks at in a network."""

import dataclasses
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from sparsejax import learners
from sparsejax.claims.constituent_alignment import (
    first_constituents,
    groupings,
    membership,
    purities,
)
from sparsejax.structure import cube_inputs, input_shares
from sparsejax.targets import BooleanConstituent, WalshExpansion, binary_tree

LEARNERS = ("two-layer", "mlp")
TARGETS = ("staircase", "sums", "tree", "tree8")
# Points of evaluation: all signs of the support before this many backgrounds, fewer where it is
# large.
POINTS, LEAST_BACKGROUNDS = 1024, 4


@dataclasses.dataclass(frozen=True)
class NoisySample:
    """Samples of a target with noise on the labels, or with those of the neighbour in the draw."""

    target: Any
    noise: float
    shuffled: bool

    def __call__(self, key: Array, n: int, dtype: Any = float) -> tuple[Array, Array]:
        """`n` inputs and their labels."""
        x_key, noise_key = jax.random.split(key)
        x, y = self.target.sample(x_key, n, dtype)
        if self.shuffled:
            y = jnp.roll(y, 1, axis=0)
        if self.noise:
            y = y + self.noise * jax.random.normal(noise_key, y.shape, dtype)
        return x, y


class Look(eqx.Module):
    """What is looked at in one network: shares of inputs, purities of units, and its error."""

    x: Array
    y: Array
    groups: Array
    support: tuple[int, ...] = eqx.field(static=True)
    learner: learners.Learner = eqx.field(static=True)

    @classmethod
    def at(cls, key: Array, target: Any, learner: learners.Learner) -> "Look":
        """On all signs of the target's support, before random signs of everything else."""
        support = target.support
        backgrounds = max(POINTS >> len(support), LEAST_BACKGROUNDS)
        x = jnp.asarray(cube_inputs(key, backgrounds, target.dims, support), jnp.float32)
        true = first_constituents(target.dag)
        # Without constituents to tell apart: one group of all, which is as pure as can be.
        chosen = groupings(true) if true else ((support,),)
        groups = jnp.asarray(membership(support, chosen), jnp.float32)
        return cls(x, target(x), groups, support, learner)

    def __call__(self, f: Any, params: Any) -> dict[str, Array]:
        """One network's answers."""
        name, axis = next(iter(self.learner.input_axes.items()))
        weights = jnp.moveaxis(params[name], axis, 0).reshape(self.learner.dims, -1)
        read = weights[np.array(self.support) - 1]
        outgoing = params[self.learner.layers[1][0]].reshape(weights.shape[1], -1)
        importance = jnp.sum(jnp.square(outgoing), axis=1) * jnp.sum(jnp.square(read), axis=0)
        return {
            "shares": input_shares(f, params, self.x),
            "purities": purities(read, importance, self.groups),
            "error": jnp.mean(jnp.square(f(params, self.x) - self.y)) / jnp.var(self.y),
        }


@eqx.filter_jit
def looked(look: Look, f: Any, params: Any) -> dict[str, Array]:
    """The answers of all networks, which have a leading axis."""
    # One after another: the gradients of all at once are many.
    arrays, rest = eqx.partition(f, eqx.is_array)
    return jax.lax.map(lambda lane: look(eqx.combine(lane[0], rest), lane[1]), (arrays, params))


@eqx.filter_jit
def untrained(learner: learners.Learner, keys: Array) -> tuple[Any, Any]:
    """Networks as they start, one a key."""
    f, params = jax.vmap(learner.build)(keys)
    return f, jax.tree.map(lambda leaf: leaf.astype(jnp.float32), params)


def target_of(name: str, dims: int) -> Any:
    """The target of that name on the cube.

    Example:
        >>> target_of("tree", 10).support, target_of("staircase", 10).support
        ((1, 2, 3, 4), (1, 2, 3))
    """
    if name == "staircase":
        return WalshExpansion(dims, (((1,), 1.0), ((1, 2), 1.0), ((1, 2, 3), 1.0)))
    if name == "sums":
        return WalshExpansion(dims, (((1, 2), 1.0), ((3, 4), 1.0)))
    both, either = BooleanConstituent((-1, -1, -1, 1)), BooleanConstituent((-1, 1, 1, 1))
    levels = (both, either) if name == "tree" else (both, either, both)
    return binary_tree(dims, levels, leaves=2 ** len(levels), law="cube")


def learner_of(name: str, dims: int, width: int) -> learners.Learner:
    """The learner of that name, which knows nothing of any target."""
    if name == "two-layer":
        return learners.two_layer(dims, width)
    return learners.dense_mlp(dims, width)
