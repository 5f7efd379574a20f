"""Compositionally sparse targets: a DAG of constituent functions of few variables each."""

import dataclasses
import functools
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sparsejax.graphs import Dag
from sparsejax.targets.input_laws import check_law, sample_inputs
from sparsejax.targets.target import check_inputs

Constituent = Callable[..., Array]


@dataclasses.dataclass(frozen=True)
class Node:
    """An inner node of the DAG: a constituent function of the values of its parents.

    A parent is the name of another node or an input coordinate `x1`, `x2`, ... (counted from 1).
    """

    name: str
    function: Constituent
    parents: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class CompositionalTarget:
    """A composition of constituent functions: inputs are leaves, the last node is the root.

    `dims` is the number of input coordinates; a target may leave some unused. `law` is that of the
    inputs which `sample` draws: `"uniform"` (on `[-1, 1]^dims`), `"cube"` or `"gaussian"`. Static
    and hashable.

    Raises:
        ValueError: a parent that does not exist, a doubled name, a cycle, no nodes, or an
            unknown law.

    Source: Danhofer, D'Ascenzo, Dubach, Poggio 2025, definition 3.1.

    Example:
        >>> import jax.numpy as jnp
        >>> target = CompositionalTarget(3, (Node("y", lambda a, b: a * b, ("x1", "x3")),))
        >>> target(jnp.array([[2.0, 5.0, 7.0]])).tolist(), target.support, target.arity
        ([[14.0]], (1, 3), 2)
    """

    dims: int
    nodes: tuple[Node, ...]
    law: str = "uniform"

    def __post_init__(self) -> None:
        object.__setattr__(self, "nodes", tuple(self.nodes))
        if self.dims < 1 or not self.nodes:
            raise ValueError("a target needs at least one input coordinate and one node")
        check_law(self.law)
        _ = self.dag  # which refuses what is no composition

    @functools.cached_property
    def dag(self) -> Dag:
        """Which node reads which coordinates and nodes: the base graph of the matched network."""
        inputs = tuple(f"x{i}" for i in range(1, self.dims + 1))
        return Dag(inputs, tuple((node.name, node.parents) for node in self.nodes))

    @property
    def order(self) -> tuple[str, ...]:
        """The nodes' names, parents first."""
        return self.dag.order

    @property
    def root(self) -> str:
        """The name of the output node."""
        return self.dag.root

    @property
    def arity(self) -> int:
        """The largest number of variables of a constituent."""
        return self.dag.arity

    @property
    def support(self) -> tuple[int, ...]:
        """The input coordinates that the output depends on, counted from 1."""
        return tuple(1 + self.dag.inputs.index(name) for name in self.dag.support)

    def values(self, x: Float[Array | np.ndarray, "n d"]) -> dict[str, Float[Array, " n"]]:
        """The value of every input and node on every sample.

        Raises:
            ValueError: `x` has another number of coordinates.
        """
        check_inputs(x, self.dims)
        x = jnp.asarray(x)
        known = {f"x{i + 1}": x[:, i] for i in range(self.dims)}
        nodes = {node.name: node for node in self.nodes}
        for name in self.order:
            known[name] = nodes[name].function(*(known[parent] for parent in nodes[name].parents))
        return known

    def __call__(self, x: Float[Array | np.ndarray, "n d"]) -> Float[Array, "n 1"]:
        """The target on every sample."""
        return self.values(x)[self.root][:, None]

    def sample(
        self, key: Array, n: int, dtype: Any = float
    ) -> tuple[Float[Array, "n d"], Float[Array, "n 1"]]:
        """`n` independent inputs of the target's law, and the target there; pure.

        Example:
            >>> import jax
            >>> x, y = product_tree().sample(jax.random.key(0), 5)
            >>> x.shape, y.shape
            ((5, 8), (5, 1))
        """
        x = sample_inputs(self.law, key, n, self.dims, dtype)
        return x, self(x)


def _soft_sign_product(a: Array, b: Array) -> Array:
    return jnp.tanh(2 * a * b)


def _product(a: Array, b: Array) -> Array:
    return a * b


def product_tree(dims: int = 8) -> CompositionalTarget:
    """`tanh(2 x1 x2) tanh(2 x3 x4)`: a binary tree on four of `dims` coordinates.

    Raises:
        ValueError: fewer than four coordinates.

    Example:
        >>> product_tree().support
        (1, 2, 3, 4)
    """
    if dims < 4:
        raise ValueError(f"product_tree needs at least 4 coordinates, got {dims}")
    return CompositionalTarget(
        dims,
        (
            Node("left", _soft_sign_product, ("x1", "x2")),
            Node("right", _soft_sign_product, ("x3", "x4")),
            Node("y", _product, ("left", "right")),
        ),
    )
