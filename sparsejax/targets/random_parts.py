"""Targets made of separate parts: compositions of a few inputs each, joined at the root."""

import dataclasses
from typing import Literal

import numpy as np
from jaxtyping import Array

from sparsejax.targets.compositional import CompositionalTarget, Node
from sparsejax.targets.constituents import SCALED_ON, draw_smooth

Root = Literal["sum", "smooth"]


@dataclasses.dataclass(frozen=True)
class WeightedSum:
    """`sum_k weights_k u_k` of the parents' values.

    Example:
        >>> import jax.numpy as jnp
        >>> WeightedSum((1.0, -2.0))(jnp.ones(1), jnp.ones(1)).tolist()
        [-1.0]
    """

    weights: tuple[float, ...]

    def __call__(self, *parents: Array) -> Array:
        """The sum, entry by entry."""
        return sum(
            (w * u for w, u in zip(self.weights[1:], parents[1:], strict=True)),
            start=self.weights[0] * parents[0],
        )


def random_parts(
    seed: int, dims: int = 10, relevant: int = 5, root: Root = "sum"
) -> CompositionalTarget:
    """Some of `dims` coordinates, split into two or three parts of at most three, drawn by `seed`.

    A part is a composition of smooth constituents of two variables, in an order drawn at random; a
    part of one coordinate is a smooth function of it. All have mean zero and variance one. The
    root adds them up with weights between 1/2 and 1, or is a smooth constituent itself: then no
    part acts without the others. Inputs are uniform on `[-1, 1]`. The same seed gives an equal
    target.

    Raises:
        ValueError: fewer than two relevant coordinates, more than nine, or more than there are.

    Source: ours; definition 3.1 of Danhofer, D'Ascenzo, Dubach, Poggio 2025.

    Example:
        >>> target = random_parts(seed=0)
        >>> len(target.support), target.arity <= 3, target == random_parts(0)
        (5, True, True)
    """
    if not 2 <= relevant <= min(9, dims):
        raise ValueError(f"relevant: 2 to 9 of {dims} coordinates are needed, got {relevant}")
    rng = np.random.default_rng((seed, 71))
    coordinates = (rng.permutation(dims)[:relevant] + 1).tolist()
    x = rng.uniform(-1, 1, size=(dims, SCALED_ON))
    known = {f"x{i + 1}": row for i, row in enumerate(x)}
    nodes: list[Node] = []

    def add(parents: tuple[str, ...]) -> str:
        reads = np.stack([known[parent] for parent in parents])
        function = draw_smooth(rng, reads)
        name = f"n{len(nodes) + 1}"
        nodes.append(Node(name, function, parents))
        known[name] = function.on_host(reads)
        return name

    tops = []
    for size in _sizes(rng, relevant):
        part = [f"x{coordinates.pop()}" for _ in range(size)]
        if size == 1:
            part = [add((part[0],))]
        while len(part) > 1:
            first, second = (part.pop(int(rng.integers(len(part)))) for _ in range(2))
            part.append(add((first, second)))
        tops += part
    if root == "smooth":
        add(tuple(tops))
    else:
        weights = tuple(rng.uniform(0.5, 1, size=len(tops)).tolist())
        nodes.append(Node(f"n{len(nodes) + 1}", WeightedSum(weights), tuple(tops)))
    return CompositionalTarget(dims, tuple(nodes))


def _sizes(rng: np.random.Generator, relevant: int) -> list[int]:
    fewest = -(-relevant // 3)
    parts = int(rng.integers(max(2, fewest), max(3, fewest) + 1))
    while True:
        sizes = rng.integers(1, 4, size=min(parts, relevant)).tolist()
        if sum(sizes) == relevant:
            return sizes
