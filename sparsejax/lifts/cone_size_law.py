"""The expected number of vertices in a cone: exactly, bounded, and in the limit of large lifts."""

import functools
from collections import Counter
from collections.abc import Iterable

import numpy as np
import scipy.stats
from jaxtyping import Float

from sparsejax.lifts.cone_laws import Expectation
from sparsejax.lifts.in_tree import duplicated_in_edges
from sparsejax.lifts.lift_law import LiftLaw

# What is rarer is left out of the law of a level's size.
NEGLIGIBLE = 1e-18


def expected_cone_size(
    law: LiftLaw, vertex: str, depth: int | None = None, *, limit: bool = False
) -> Expectation:
    """Expected number of vertices in the cone of a vertex, itself included, as `cone_sizes` counts.

    `depth` keeps the ancestors at most that many edges away. A source is missed by m independent
    vertices with probability `(1 - in_degree / n)^m` under either law. With the law of the number
    reached so far this is exact where only one base path leads from each base vertex (multilayer
    perceptrons, trees). Elsewhere the number reached is replaced by its expectation, which by
    Jensen's inequality gives an upper bound. `limit`: sizes grow at fixed in-degrees, all paths
    end apart, and the cone is a branching tree.

    Raises:
        ValueError: a negative depth.
        UnknownVertexError: the module has no such vertex.

    Source: derived in this project; the limit is the branching process of Robin, Scaman, Lelarge
    2024.

    Example:
        >>> import sparsejax as sj
        >>> module = sj.graphs.mlp(inputs=2, hidden=3, outputs=1)
        >>> law = LiftLaw(module, sizes=3, in_degree=2, law="regular")
        >>> exact = expected_cone_size(law, "h3")
        >>> exact.kind, round(exact.value - (1 + 2 + 8 / 3), 12)
        ('exact', 0.0)
        >>> expected_cone_size(law, "h3", limit=True).value
        7.0
    """
    if depth is not None and depth < 0:
        raise ValueError(f"depth must not be negative, got {depth}")
    module = law.module
    vertex = module.vertex(vertex).name
    # No path is longer than there are vertices.
    depth = len(module.order) if depth is None else depth
    paths, nodes = _walks(law, vertex, depth)
    if limit:
        return Expectation(nodes, "limit")
    if all(count == 1 for count in paths.values()):
        return Expectation(_along_paths(law, vertex, depth), "exact")
    return Expectation(_by_expectations(law, vertex, depth, paths), "upper_bound")


def _walks(law: LiftLaw, vertex: str, depth: int) -> tuple[Counter[str], float]:
    """Base paths to `vertex` by where they start, and the nodes of the branching tree."""
    paths: Counter[str] = Counter()
    level, nodes = {vertex: (1, 1.0)}, 0.0
    for _ in range(depth + 1):
        paths.update({name: count for name, (count, _) in level.items()})
        nodes += sum(mean for _, mean in level.values())
        before: dict[str, tuple[int, float]] = {}
        for name, (count, mean) in level.items():
            for edge in duplicated_in_edges(law.module, name):
                source = law.module.edge(edge).source
                others, so_far = before.get(source, (0, 0.0))
                before[source] = (others + count, so_far + mean * law.in_degrees[edge])
        level = before
    return paths, nodes


def _along_paths(law: LiftLaw, vertex: str, depth: int) -> float:
    total = 1.0
    ahead = [(vertex, np.array([0.0, 1.0]), depth)]  # P(0, 1, ... vertices reached above it)
    while ahead:
        name, reached, left = ahead.pop()
        for edge in duplicated_in_edges(law.module, name) if left else ():
            source = law.module.edge(edge).source
            n, share = law.sources(edge), law.in_degrees[edge] / law.sources(edge)
            total += n * float(reached @ (1 - (1 - share) ** np.arange(len(reached))))
            if left > 1 and duplicated_in_edges(law.module, source):
                ahead.append((source, _union_law(law, edge, reached), left - 1))
    return total


def _union_law(
    law: LiftLaw, edge: str, reached: Float[np.ndarray, " m"]
) -> Float[np.ndarray, " sizes"]:
    """The law of the number of sources of all reached vertices, from the law of their number."""
    n, degree = law.sources(edge), law.in_degrees[edge]
    sizes = np.arange(n + 1)
    union = np.zeros(n + 1)
    union[0] = reached[0]
    if degree == n:
        union[n] += 1 - reached[0]
        return union
    if law.law == "binomial":
        for m in range(1, len(reached)):
            if reached[m] > NEGLIGIBLE:
                union += reached[m] * scipy.stats.binom.pmf(sizes, n, 1 - (1 - degree / n) ** m)
        return _without_tail(union)
    k = int(degree)
    # P(a k-subset adds 0, 1, ... to a union of each size).
    added = scipy.stats.hypergeom.pmf(np.arange(k + 1)[:, None], n, n - sizes[None, :], k)
    so_far = np.zeros(n + 1)
    so_far[0] = 1.0
    for m in range(1, len(reached)):
        following = np.zeros(n + 1)
        for j in range(k + 1):
            following[j:] += (so_far * added[j])[: n + 1 - j]
        so_far = following
        union += reached[m] * so_far
    return _without_tail(union)


def _without_tail(probabilities: Float[np.ndarray, " m"]) -> Float[np.ndarray, " sizes"]:
    seen = np.nonzero(probabilities > NEGLIGIBLE)[0]
    return probabilities[: seen[-1] + 1]


def _by_expectations(law: LiftLaw, vertex: str, depth: int, above: Iterable[str]) -> float:
    """Jensen: `E[(1 - q)^N] >= (1 - q)^E[N]`, jointly for all edges that leave a source."""
    module = law.module

    @functools.cache
    def reached(name: str, left: int) -> float:
        """At least the expected number of vertices above `name` with a path of `left` edges."""
        if name == vertex:
            return 1.0  # modules have no cycles: nothing but itself
        missed = 1.0
        for edge in module.out_edges(name) if left else ():
            if edge.name in duplicated_in_edges(module, edge.target):
                share = law.in_degrees[edge.name] / law.sources(edge.name)
                missed *= (1 - share) ** reached(edge.target, left - 1)
        return law.fibre_sizes[name] * (1 - missed)

    return sum(reached(name, depth) for name in above)
