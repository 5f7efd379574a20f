"""Shapes of in-trees: how many predecessors a vertex has over each base edge, and they in turn."""

from __future__ import annotations

import functools
import itertools
import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence

from sparsejax.graphs import PerceptronModule


class InTree:
    """A finite in-tree shape: for each base edge that it names, the shapes of the predecessors.

    A vertex has the shape if over each named edge its predecessors can be matched one to one with
    the children, each predecessor having the shape of its child. Edges that are not named are
    free, so that `InTree()` is the shape of every vertex, and ends a tree at its depth. Children
    over an edge are a multiset: order does not matter, nor does it to `==` and `hash`.

    Raises:
        TypeError: a child that is no InTree.

    Example:
        >>> fork = InTree({"h1->h2": [InTree(), InTree()]})  # exactly two predecessors
        >>> fork.depth, fork.automorphisms
        (1, 2)
        >>> InTree({"h2->h3": [fork, InTree()]}) == InTree({"h2->h3": [InTree(), fork]})
        True
    """

    def __init__(self, children: Mapping[str, Sequence[InTree]] | None = None) -> None:
        for name, shapes in (children or {}).items():
            for shape in shapes:
                if not isinstance(shape, InTree):
                    raise TypeError(f"edge {name!r}: a child must be an InTree, got {shape!r}")
        self.children: dict[str, tuple[InTree, ...]] = (
            {name: tuple(sorted(children[name], key=repr)) for name in sorted(children or {})}
            if children
            else {}
        )

    @functools.cached_property
    def _text(self) -> str:
        if not self.children:
            return "."
        parts = (
            f"{name}: [{' '.join(map(repr, shapes))}]" for name, shapes in self.children.items()
        )
        return "{" + ", ".join(parts) + "}"

    def __repr__(self) -> str:
        return self._text

    def __eq__(self, other: object) -> bool:
        return isinstance(other, InTree) and self._text == other._text

    def __hash__(self) -> int:
        return hash(self._text)

    @property
    def depth(self) -> int:
        """The number of edges of the longest path that the shape speaks of."""
        below = (shape.depth for shapes in self.children.values() for shape in shapes)
        return 1 + max(below, default=0) if self.children else 0

    @property
    def automorphisms(self) -> int:
        """The number of ways to map the tree to itself, its root fixed."""
        ways = 1
        for shapes in self.children.values():
            for shape, count in Counter(shapes).items():
                ways *= math.factorial(count) * shape.automorphisms**count
        return ways

    def nodes(self, vertex: str, module: PerceptronModule) -> Iterator[tuple[str, InTree]]:
        """Base vertex and shape of every node, the root (above `vertex`) first."""
        yield vertex, self
        for name, shapes in self.children.items():
            for shape in shapes:
                yield from shape.nodes(module.edge(name).source, module)

    def validate(self, vertex: str, module: PerceptronModule) -> None:
        """Check that the shape is one of in-trees that end above `vertex`.

        Raises:
            ValueError: an edge that does not lead to its node's base vertex.
        """
        for name, shapes in self.children.items():
            if module.edge(name).target != vertex:
                raise ValueError(
                    f"edge {name!r} leads to {module.edge(name).target!r}, the shape has it into "
                    f"{vertex!r}"
                )
            for shape in shapes:
                shape.validate(module.edge(name).source, module)

    def is_complete(self, vertex: str, module: PerceptronModule, depth: int) -> bool:
        """Whether it fixes the predecessors of all vertices less than `depth` edges from the root.

        That is: over all edges between duplicated vertices, and over these alone.
        """
        between = duplicated_in_edges(module, vertex) if depth > 0 else ()
        return set(self.children) == set(between) and all(
            shape.is_complete(module.edge(name).source, module, depth - 1)
            for name, shapes in self.children.items()
            for shape in shapes
        )


def duplicated_in_edges(module: PerceptronModule, vertex: str) -> tuple[str, ...]:
    """The names of the edges into a base vertex that come from duplicated vertices.

    Example:
        >>> import sparsejax as sj
        >>> duplicated_in_edges(sj.graphs.mlp(inputs=2, hidden=2, outputs=1), "h2")
        ('h1->h2',)
    """
    return tuple(e.name for e in module.in_edges(vertex) if module.clamped(e.source) is None)


def uniform_in_tree(
    module: PerceptronModule, vertex: str, depth: int, in_degrees: Mapping[str, int] | int
) -> InTree:
    """The complete shape in which every vertex has the same in-degree over an edge.

    Example:
        >>> import sparsejax as sj
        >>> uniform_in_tree(sj.graphs.mlp(inputs=2, hidden=3, outputs=1), "h3", 2, 2)
        {h2->h3: [{h1->h2: [. .]} {h1->h2: [. .]}]}
    """
    if depth == 0:
        return InTree()
    children = {}
    for name in duplicated_in_edges(module, vertex):
        count = in_degrees if isinstance(in_degrees, int) else in_degrees[name]
        source = module.edge(name).source
        children[name] = [uniform_in_tree(module, source, depth - 1, in_degrees)] * count
    return InTree(children)


def compatible(one: InTree, other: InTree) -> bool:
    """Whether some vertex can have both shapes.

    Example:
        >>> two, three = (InTree({"e": [InTree()] * k}) for k in (2, 3))
        >>> compatible(two, three), compatible(two, InTree())
        (False, True)
    """
    for name in set(one.children) & set(other.children):
        ours, theirs = one.children[name], other.children[name]
        if len(ours) != len(theirs):
            return False
        if ours != theirs and not any(
            all(map(compatible, ours, order)) for order in itertools.permutations(theirs)
        ):
            return False
    return True
