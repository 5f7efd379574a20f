"""The composition that groups of inputs tell of, and how far it is from another."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from sparsejax.graphs import Dag
from sparsejax.structure.groups import cut_at_the_widest_gap


def recovered_dag(
    names: Sequence[str],
    groups: Sequence[Sequence[int]],
    relative: Float[np.ndarray, "d d"] | None = None,
) -> Dag:
    """A node a group of two inputs or more, and a root that reads them and the single inputs.

    `names`: of all inputs; `groups`: of their places, counted from 0. `relative`: interactions by
    which groups of four or more are clustered further, where they leap.

    Raises:
        ValueError: no groups.

    Example:
        >>> recovered_dag(("a", "b", "c"), ((0, 2), (1,))).parents
        (('part1', ('a', 'c')), ('root', ('part1', 'b')))
    """
    if not groups:
        raise ValueError("no input was found to matter: there is no composition")
    nodes: list[tuple[str, tuple[str, ...]]] = []

    def free(name: str) -> str:
        while name in names:
            name += "'"
        return name

    def add(members: tuple[str, ...]) -> str:
        name = free(f"part{len(nodes) + 1}")
        nodes.append((name, members))
        return name

    tops = []
    for group in groups:
        members = [names[i] for i in group]
        if len(group) > 3 and relative is not None and len(groups) > 1:
            inner = cut_at_the_widest_gap(relative[np.ix_(list(group), list(group))])
            if len(inner) > 1:
                members = [
                    names[group[c[0]]] if len(c) == 1 else add(tuple(names[group[i]] for i in c))
                    for c in inner
                ]
        tops.append(members[0] if len(members) == 1 else add(tuple(members)))
    if len(tops) == 1 and nodes:
        # One group is its own root.
        _, last = nodes.pop()
        tops = list(last)
    nodes.append((free("root"), tuple(tops)))
    return Dag(tuple(names), tuple(nodes))


def clusters_of(dag: Dag) -> frozenset[frozenset[str]]:
    """The sets of two inputs or more that lie below a node.

    Example:
        >>> dag = Dag(("a", "b", "c"), (("ab", ("a", "b")), ("y", ("ab", "c"))))
        >>> sorted(map(sorted, clusters_of(dag)))
        [['a', 'b'], ['a', 'b', 'c']]
    """
    below: dict[str, frozenset[str]] = {}
    for node in dag.order:
        parents = dag.parents_of(node)
        below[node] = frozenset().union(
            *(below[p] if p in below else frozenset({p}) for p in parents)
        )
    return frozenset(below[node] for node in dag.ancestors if len(below[node]) > 1)


def dag_distance(first: Dag, second: Dag) -> float:
    """The share of sets of inputs below nodes that one of two compositions has and not the other.

    0: the same clusters at all depths; 1: none in common. Nodes' names and chains of nodes with the
    same inputs do not count; two compositions without clusters are compared by their support.

    Source: Robinson, Foulds, Mathematical Biosciences 1981, divided by the number of all clusters.

    Example:
        >>> a = Dag(("a", "b", "c"), (("ab", ("a", "b")), ("y", ("ab", "c"))))
        >>> b = Dag(("a", "b", "c"), (("y", ("a", "b", "c")),))
        >>> dag_distance(a, a), dag_distance(a, b)
        (0.0, 0.5)
    """
    ours, theirs = clusters_of(first), clusters_of(second)
    if not ours and not theirs:
        return float(set(first.support) != set(second.support))
    return len(ours ^ theirs) / len(ours | theirs)
