"""The shape of a composition: which node reads which inputs and nodes; nothing numeric."""

import dataclasses
import functools
import graphlib
from typing import Any


@dataclasses.dataclass(frozen=True)
class Dag:
    """A directed acyclic graph of named nodes over named inputs, with a root.

    `parents` lists `(node, its parents)`; a parent is another node or an input. `root` is the node
    whose value is the output: the last one listed unless told otherwise. Hashable and static: the
    graph of a compositional target, and through `from_target` a base graph.

    Raises:
        ValueError: no inputs or nodes, a name that is taken twice, a parent or root that does not
            exist, or a cycle.

    Source: Danhofer, D'Ascenzo, Dubach, Poggio 2025, definition 3.1.

    Example:
        >>> dag = Dag(("x1", "x2", "x3"), (("a", ("x1", "x3")), ("y", ("a", "x3"))))
        >>> dag.order, dag.support, dag.arity
        (('a', 'y'), ('x1', 'x3'), 2)
    """

    inputs: tuple[str, ...]
    parents: tuple[tuple[str, tuple[str, ...]], ...]
    root: str = ""

    def __post_init__(self) -> None:
        object.__setattr__(self, "inputs", tuple(self.inputs))
        object.__setattr__(self, "parents", tuple((n, tuple(p)) for n, p in self.parents))
        if not self.inputs or not self.parents:
            raise ValueError("a composition needs at least one input coordinate and one node")
        names = [name for name, _ in self.parents]
        for name in self.inputs:
            if self.inputs.count(name) > 1:
                raise ValueError(f"input {name!r}: the name is taken twice")
        for name in names:
            if names.count(name) > 1 or name in self.inputs:
                raise ValueError(f"node {name!r}: the name is taken twice")
        for name, parents in self.parents:
            for parent in parents:
                if parent not in self.inputs and parent not in names:
                    raise ValueError(f"node {name!r}: no parent {parent!r}")
        if not self.root:
            object.__setattr__(self, "root", names[-1])
        elif self.root not in names:
            raise ValueError(f"the root {self.root!r} is no node; the nodes are {', '.join(names)}")
        try:
            _ = self.order
        except graphlib.CycleError as error:
            raise ValueError(f"the nodes close a cycle: {' -> '.join(error.args[1])}") from None

    @functools.cached_property
    def _parents_of(self) -> dict[str, tuple[str, ...]]:
        return dict(self.parents)

    def parents_of(self, name: str) -> tuple[str, ...]:
        """The inputs and nodes that a node reads, in the order of its arguments."""
        return self._parents_of[name]

    @functools.cached_property
    def order(self) -> tuple[str, ...]:
        """The nodes, parents first."""
        nodes = self._parents_of
        graph = {name: [p for p in parents if p in nodes] for name, parents in self.parents}
        return tuple(graphlib.TopologicalSorter(graph).static_order())

    @property
    def arity(self) -> int:
        """The largest number of variables of a node."""
        return max(len(parents) for _, parents in self.parents)

    @functools.cached_property
    def ancestors(self) -> tuple[str, ...]:
        """The nodes that the root depends on, itself too, parents first."""
        reached = self._reached
        return tuple(name for name in self.order if name in reached)

    @functools.cached_property
    def support(self) -> tuple[str, ...]:
        """The inputs that the root depends on."""
        reached = self._reached
        return tuple(name for name in self.inputs if name in reached)

    def as_json(self) -> dict[str, Any]:
        """The root, and what each node that it depends on reads, parents first; in what JSON has.

        Example:
            >>> Dag(("x1", "x2"), (("y", ("x1", "x2")),)).as_json()
            {'root': 'y', 'nodes': {'y': ['x1', 'x2']}}
        """
        nodes = {name: list(self.parents_of(name)) for name in self.ancestors}
        return {"root": self.root, "nodes": nodes}

    @functools.cached_property
    def _reached(self) -> frozenset[str]:
        reached: set[str] = set()
        open_names = [self.root]
        while open_names:
            name = open_names.pop()
            if name not in reached:
                reached.add(name)
                open_names.extend(self._parents_of.get(name, ()))
        return frozenset(reached)
