"""A learner: a named architecture that a key makes into a function and its parameters."""

import dataclasses
import functools
import math
from collections.abc import Callable
from typing import Any, NamedTuple

import jax
from jaxtyping import Array, Key, PyTree

Function = Callable[[PyTree, Array], Array]
Builder = Callable[[Any], tuple[Function, PyTree]]


class InputLeaf(NamedTuple):
    """A leaf of the parameters that reads the inputs, and which of its entries read which.

    `name` is as `dynamics.named_leaves` has it. Along `axes`, taken together in row-major order,
    entries belong to the input `coordinates` (counted from 1). Both are empty where no axis tells
    coordinates apart: filters are shared among places, wired weights go where the wiring says.
    """

    name: str
    axes: tuple[int, ...] = ()
    coordinates: tuple[int, ...] = ()


def check_positive(learner: str, **numbers: int) -> None:
    """Refuse numbers of a learner's constructor that are below 1.

    Raises:
        ValueError: one is; the message names the first of them.
    """
    for what, number in numbers.items():
        if number < 1:
            raise ValueError(f"{learner}: {what} must be positive, got {number}")


@dataclasses.dataclass(frozen=True)
class Learner:
    """An architecture with its law of initialisation, before any key. Static and hashable.

    `build(key)` gives `(f, params)`; `f(params, x)` takes `x` of shape `(n, dims)` to
    `(n, outputs)` and is an Equinox module, whose leaves are the arrays that are not trained.
    `build` is pure: under `jax.vmap` over keys all seeds are one program. `layers` lists the names
    of the parameters' leaves from the inputs on, `inputs` those that read the inputs.

    Raises:
        ValueError: `dims` or `outputs` is not positive.

    Example:
        >>> import jax, jax.numpy as jnp, sparsejax as sj
        >>> learner = sj.learners.two_layer(dims=5, width=8)
        >>> f, params = learner.build(jax.random.key(0))
        >>> f(params, jnp.ones((3, 5))).shape, learner.parameters, learner.input_leaves
        ((3, 1), 56, ('w',))
    """

    name: str
    dims: int
    outputs: int
    builder: Builder
    inputs: tuple[InputLeaf, ...]
    layers: tuple[tuple[str, ...], ...]

    def __post_init__(self) -> None:
        if self.dims < 1 or self.outputs < 1:
            raise ValueError(
                f"learner {self.name!r}: dims and outputs must be positive, got {self.dims} and "
                f"{self.outputs}"
            )

    def build(self, key: Key[Array, ""]) -> tuple[Function, PyTree]:
        """`(f, params)` of one seed."""
        return self.builder(key)

    @functools.cached_property
    def parameters(self) -> int:
        """Number of trained scalars. Nothing is computed for it."""
        key = jax.eval_shape(jax.random.key, 0)
        shapes = jax.eval_shape(lambda key: self.build(key)[1], key)
        return sum(math.prod(leaf.shape) for leaf in jax.tree.leaves(shapes))

    @property
    def input_leaves(self) -> tuple[str, ...]:
        """The names of the leaves that read the inputs."""
        return tuple(leaf.name for leaf in self.inputs)

    @property
    def input_axes(self) -> dict[str, int | tuple[int, ...]]:
        """For each leaf that reads inputs the axis, or axes, that number them; `()` for none."""
        return {
            leaf.name: leaf.axes[0] if len(leaf.axes) == 1 else leaf.axes for leaf in self.inputs
        }

    @property
    def input_coordinates(self) -> dict[str, tuple[int, ...]]:
        """For each leaf that reads inputs which coordinates (from 1) its axes number."""
        return {leaf.name: leaf.coordinates for leaf in self.inputs}
