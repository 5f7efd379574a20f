"""What cone statistics are in expectation: exactly where that can be had, a limit or bound else."""

import itertools
import math
from collections import Counter
from typing import Literal, NamedTuple

import numpy as np
import scipy.stats

from sparsejax.lifts.in_tree import InTree, compatible, duplicated_in_edges
from sparsejax.lifts.lift_law import LiftLaw, log_binomial


class Expectation(NamedTuple):
    """A probability under the law of a random lift, and what kind of number it is.

    `exact`: for this size; `limit`: as sizes grow, off by O(1/n) here; `lower_bound` and
    `upper_bound`: for this size. The expected count above a base vertex is `n` times it.
    """

    value: float
    kind: Literal["exact", "limit", "lower_bound", "upper_bound"]


def in_tree_probability(
    law: LiftLaw, vertex: str, shape: InTree, *, limit: bool = False
) -> Expectation:
    """P(the unrolled cone of a vertex above `vertex` has the shape).

    The branching-process formula: for each node and named edge, the law of the in-degree times
    the number of ways to match. Exact at finite size if no two nodes whose predecessors the shape
    fixes can be one lifted vertex: that is so two levels deep (siblings are distinct). Deeper, one
    vertex can be met twice, and the value is a limit. With `limit`, in-degrees are Poisson too.

    Raises:
        ValueError: edges that do not lead to their nodes, or different siblings that one vertex can
            match both (fix both to the same depth).

    Source: Robin, Scaman, Lelarge 2024 (the limit); the conditions are this project's.

    Example:
        >>> import sparsejax as sj
        >>> law = LiftLaw(sj.graphs.mlp(inputs=2, hidden=2, outputs=1), sizes=50, in_degree=2)
        >>> two = InTree({"h1->h2": [InTree(), InTree()]})
        >>> in_tree_probability(law, "h2", two).kind
        'exact'
    """
    shape.validate(vertex, law.module)

    def probability(node: InTree) -> float:
        product = 1.0
        for edge, children in node.children.items():
            kinds = Counter(children)
            for one, other in itertools.combinations(kinds, 2):
                if compatible(one, other):
                    raise ValueError(
                        f"edge {edge!r}: one vertex can match both {one} and {other}; fix the "
                        "predecessors of both"
                    )
            product *= float(law.in_degree_probability(edge, len(children), limit=limit))
            product *= math.factorial(len(children))
            for kind, count in kinds.items():
                product *= probability(kind) ** count / math.factorial(count)
        return product

    value = probability(shape)
    if limit:
        return Expectation(value, "limit")
    certain = value in (0.0, 1.0) and law.law == "regular"
    return Expectation(value, "exact" if certain or nodes_are_distinct(shape) else "limit")


def embedded_in_tree_probability(law: LiftLaw, vertex: str, shape: InTree) -> Expectation:
    """P(the cone of a vertex, as a graph, is a tree of this shape); exact at every size and depth.

    That is, its unrolled cone has the shape and no vertex occurs twice. `shape` must be complete:
    it fixes the predecessors over all edges between duplicated vertices, down to its depth. The
    sum over all labelled trees of the probability of their neighbourhoods,

        prod over a of (n_a)_(m_a) / |Aut| * prod over nodes, edges of P(in-degree k) / C(n_a, k),

    with `m_a` nodes above base vertex `a` and `(n)_m` the falling factorial.

    Raises:
        ValueError: a shape that is not complete.

    Source: derived in this project.

    Example:
        >>> import sparsejax as sj
        >>> from sparsejax.lifts.in_tree import uniform_in_tree
        >>> module = sj.graphs.mlp(inputs=2, hidden=3, outputs=1)
        >>> law = LiftLaw(module, sizes=4, in_degree=2, law="regular")
        >>> shape = uniform_in_tree(module, "h3", 2, 2)  # two disjoint pairs out of four
        >>> round(embedded_in_tree_probability(law, "h3", shape).value, 12)
        0.166666666667
    """
    shape.validate(vertex, law.module)
    if not shape.is_complete(vertex, law.module, shape.depth):
        raise ValueError(
            f"the shape {shape} does not fix all predecessors of its inner vertices down to depth "
            f"{shape.depth}, over the edges between duplicated vertices alone"
        )
    nodes = list(shape.nodes(vertex, law.module))
    above = Counter(name for name, _ in nodes[1:])
    total = -math.log(shape.automorphisms)
    for name, count in above.items():
        n = law.fibre_sizes[name]
        if count > n:
            return Expectation(0.0, "exact")
        total += log_binomial(n, count) + math.lgamma(count + 1)
    for _, node in nodes:
        for edge, children in node.children.items():
            total += law.log_neighbourhood_probability(edge, len(children))
    return Expectation(math.exp(total), "exact")


def tree_like_probability(law: LiftLaw, vertex: str, depth: int) -> Expectation:
    """P(the cone of a vertex, to a depth, is a tree).

    Exact where the duplicated vertices above `vertex` form a chain in the base graph (multilayer
    perceptrons): level by level, the law of the number of vertices that are reached, none twice.
    Elsewhere a lower bound, `1 -` the expected number of pairs of paths that leave one vertex and
    meet again, without a common vertex between.

    Raises:
        ValueError: a negative depth.

    Source: derived in this project; the order 1/n is that of Robin, Scaman, Lelarge 2024.

    Example:
        >>> import sparsejax as sj
        >>> module = sj.graphs.mlp(inputs=2, hidden=3, outputs=1)
        >>> law = LiftLaw(module, sizes=4, in_degree=2, law="regular")
        >>> round(tree_like_probability(law, "h3", 2).value, 12)
        0.166666666667
    """
    if depth < 0:
        raise ValueError(f"depth must not be negative, got {depth}")
    chain = _chain(law, vertex, depth)
    if chain is None:
        return Expectation(max(0.0, 1.0 - _meeting_pairs(law, vertex, depth)), "lower_bound")
    reached = np.array([0.0, 1.0])  # P(this many vertices at this level, all paths apart so far)
    for edge in chain:
        reached = _next_level(law, edge, reached)
    return Expectation(min(1.0, float(reached.sum())), "exact")


def _next_level(law: LiftLaw, edge: str, reached: np.ndarray) -> np.ndarray:
    """From the law of one level's size to the next one's, given that no source is read twice."""
    n, degree = law.sources(edge), law.in_degrees[edge]
    if law.law == "regular" or degree == n:
        k = int(degree)
        following = np.zeros(k * (len(reached) - 1) + 1)
        for count, probability in enumerate(reached):
            if count * k <= n and probability > 0:
                # k-subsets that miss those before them, one after the other.
                apart = sum(log_binomial(n - i * k, k) for i in range(count))
                following[count * k] += probability * math.exp(apart - count * log_binomial(n, k))
        return following[: n + 1]
    p = degree / n
    # Each source is read by none, one or several of the level's vertices, independently.
    mean = degree * (len(reached) - 1)
    largest = min(n, int(mean + 12 * math.sqrt(mean)) + 40)  # no more: by Chernoff's bound, 1e-18
    following = np.zeros(largest + 1)
    m = np.arange(largest + 1)
    for count, probability in enumerate(reached):
        if probability < 1e-18:
            continue
        none = (1 - p) ** count
        one = count * p * (1 - p) ** (count - 1) if count else 0.0
        # C(n, m) one^m none^(n - m) as a binomial law of m times the probability of no doubles.
        share = scipy.stats.binom.pmf(m, n, one / (none + one))
        following += probability * (none + one) ** n * share
    seen = np.nonzero(following > 1e-18)[0]
    return following[: seen[-1] + 1] if len(seen) else following[:1]


def nodes_are_distinct(shape: InTree) -> bool:
    """Whether nodes with fixed predecessors lie above distinct vertices in every lift.

    Siblings do. Cousins can be one vertex, met twice.

    Example:
        >>> pair = InTree({"h1->h2": [InTree(), InTree()]})
        >>> nodes_are_distinct(InTree({"h2->h3": [pair, pair]}))
        True
        >>> deeper = InTree({"h1->h2": [InTree({"h0->h1": []})] * 2})
        >>> nodes_are_distinct(InTree({"h2->h3": [deeper, deeper]}))
        False
    """

    def lone(node: InTree) -> bool:
        inner = {
            edge: [child for child in children if child.children]
            for edge, children in node.children.items()
        }
        busy = [children for children in inner.values() if children]
        if not busy:
            return True
        if len(busy) > 1:
            return False
        if len(busy[0]) == 1:
            return lone(busy[0][0])
        return all(not grand.children for c in busy[0] for g in c.children.values() for grand in g)

    return lone(shape)


def _chain(law: LiftLaw, vertex: str, depth: int) -> list[str] | None:
    edges: list[str] = []
    while len(edges) < depth:
        before = duplicated_in_edges(law.module, vertex)
        if not before:
            break
        if len(before) > 1:
            return None
        edges += before
        vertex = law.module.edge(before[0]).source
    return edges


def _meeting_pairs(law: LiftLaw, vertex: str, depth: int) -> float:
    """Expected number of pairs of paths apart between their ends, at most `depth` from `vertex`."""
    module, expected = law.module, 0.0

    def walks(name: str, length: int) -> list[tuple[str, ...]]:
        """All base paths of duplicated vertices that end in `name`, last edge first."""
        found: list[tuple[str, ...]] = [()]
        if length > 0:
            for edge in duplicated_in_edges(module, name):
                source = module.edge(edge).source
                found += [(edge, *walk) for walk in walks(source, length - 1)]
        return found

    def mean(walk: tuple[str, ...]) -> float:
        return math.prod((law.in_degrees[edge] for edge in walk), start=1.0)

    for trunk in walks(vertex, depth):
        meet = module.edge(trunk[-1]).source if trunk else vertex
        branches = [walk for walk in walks(meet, depth - len(trunk)) if walk]
        for one, other in itertools.combinations_with_replacement(branches, 2):
            start = module.edge(one[-1]).source
            if module.edge(other[-1]).source != start or (one == other and len(one) == 1):
                continue
            same = 0.5 if one == other else 1.0
            expected += mean(trunk) * same * mean(one) * mean(other) / law.fibre_sizes[start]
    return expected
