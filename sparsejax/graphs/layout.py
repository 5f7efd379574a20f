"""Where the vertices and edges of a base graph go on paper."""

from collections.abc import Iterable, Mapping, Sequence

import networkx as nx
import numpy as np

from sparsejax.graphs.perceptron_module import Edge, PerceptronModule

Positions = dict[str, tuple[float, float]]

# The radius of a vertex, and the distance inside a layer; one between layers fits the labels.
RADIUS, DOWN = 0.4, 1.7

_BENDS = (0.0, -0.3, 0.3, -0.5, 0.5, -0.7, 0.7, -0.95, 0.95)


def layers(module: PerceptronModule) -> list[list[str]]:
    """The vertices that are not constant, by the longest path into them, few edges crossing.

    Example:
        >>> from sparsejax.graphs import mlp
        >>> layers(mlp(inputs=3, hidden=1, outputs=1))
        [['x'], ['h1'], ['y']]
    """
    kept = [name for name in module.order if not module.vertex(name).constant]
    return layered(kept, [(e.source, e.target) for e in module.edges if e.source in kept])


def layered(kept: Sequence[str], pairs: Iterable[tuple[str, str]]) -> list[list[str]]:
    """Names by the longest path into them along pairs of names, few pairs crossing.

    Example:
        >>> layered(["x", "y", "sum"], [("x", "sum"), ("y", "sum")])
        [['x', 'y'], ['sum']]
    """
    graph = nx.DiGraph(pairs)
    graph.add_nodes_from(kept)
    found = [sorted(names, key=kept.index) for names in nx.topological_generations(graph)]
    place: dict[str, float] = {}
    for names in found:
        place |= centred(names)
    # The barycentre heuristic: a vertex goes where its neighbours are, forth and back.
    for sweep in range(4):
        forth = sweep % 2 == 0
        neighbours = graph.predecessors if forth else graph.successors
        for names in found if forth else reversed(found):
            centre = {
                name: float(np.mean([place[n] for n in neighbours(name)] or [place[name]]))
                for name in names
            }
            names.sort(key=centre.__getitem__)
            place |= centred(names)
    return found


def centred(names: Sequence[str]) -> dict[str, float]:
    """Places of names, one apart, around zero."""
    return {name: i - (len(names) - 1) / 2 for i, name in enumerate(names)}


def edge_label(edge: Edge) -> str:
    """The name of the edge's map, after that of the edge where it has one of its own.

    Example:
        >>> edge_label(Edge("x", "h")), edge_label(Edge("x", "h", name="query"))
        ('Scale', 'query: Scale')
    """
    name = type(edge.map).__name__
    return name if edge.name == f"{edge.source}->{edge.target}" else f"{edge.name}: {name}"


def positions(module: PerceptronModule, *, columns: bool = False) -> Positions:
    """Layers from left to right, constants below; `columns` gives each vertex an `x` of its own."""
    across = max(2.3, *(1.5 + 0.1 * len(edge_label(edge)) for edge in module.edges))
    where: Positions = {}
    column = 0
    for depth, names in enumerate(layers(module)):
        for name, height in centred(names).items():
            where[name] = (across * (column if columns else depth), -DOWN * height)
            column += 1
    bottom = min(y for _, y in where.values())
    for name in module.order:
        if module.vertex(name).constant:
            targets = [where[e.target][0] for e in module.out_edges(name) if e.target in where]
            x = float(np.mean(targets)) - 0.5 * across if targets else 0.0
            taken = [other for other, y in where.values() if y < bottom]
            while any(abs(x - other) < across for other in taken):
                x += across
            where[name] = (x, bottom - DOWN)
    return where


def bends(module: PerceptronModule, where: Mapping[str, tuple[float, float]]) -> dict[str, float]:
    """How far each edge bends aside, as a fraction of its length (matplotlib's `arc3`).

    Straight where that meets no vertex; edges that join the same two vertices bend apart.
    """
    return bends_of(module.edges, where)


def bends_of(edges: Sequence[Edge], where: Mapping[str, tuple[float, float]]) -> dict[str, float]:
    """`bends` of edges that belong to no module."""
    chosen: dict[str, float] = {}
    between: dict[tuple[str, str], list[float]] = {}
    for edge in edges:
        taken = between.setdefault((edge.source, edge.target), [])
        parallel = sum((e.source, e.target) == (edge.source, edge.target) for e in edges)
        free = [bend for bend in _preferred(parallel) if bend not in taken]
        bend = next((bend for bend in free if _clear(edge, bend, where)), free[0] if free else 0.0)
        taken.append(bend)
        chosen[edge.name] = bend
    return chosen


def _preferred(parallel: int) -> tuple[float, ...]:
    """An even number of parallel edges leaves the straight line free."""
    return _BENDS[1:] if parallel % 2 == 0 else _BENDS


def point_on(
    start: tuple[float, float], end: tuple[float, float], bend: float, t: float
) -> tuple[float, float]:
    """The point at `t` in [0, 1] of matplotlib's `arc3`, a quadratic Bezier curve."""
    a, b = np.asarray(start), np.asarray(end)
    dx, dy = b - a
    middle = (a + b) / 2 + bend * np.array([dy, -dx])
    point = (1 - t) ** 2 * a + 2 * t * (1 - t) * middle + t**2 * b
    return float(point[0]), float(point[1])


def _clear(edge: Edge, bend: float, where: Mapping[str, tuple[float, float]]) -> bool:
    """Whether an edge stays off all vertices but its ends, and off what is written below them."""
    curve = np.array(
        [point_on(where[edge.source], where[edge.target], bend, t) for t in np.linspace(0, 1, 25)]
    )
    for name, centre in where.items():
        if name not in (edge.source, edge.target):
            below = np.maximum(np.asarray(centre)[1] - curve[:, 1], 0)
            aside = curve - np.asarray(centre)
            # The text below reaches as far again as the vertex.
            aside[:, 1] = np.where(below > 0, np.maximum(below - RADIUS, 0), aside[:, 1])
            if np.min(np.hypot(*aside.T)) < 1.25 * RADIUS:
                return False
    return True
