"""A picture of a composition: inputs, constituents, and which reads which."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import FancyArrowPatch

from sparsejax.drawing import paper_style
from sparsejax.graphs.dag import Dag
from sparsejax.graphs.drawing import INCHES, KINDS, Kind, bare, pale, shape
from sparsejax.graphs.layout import RADIUS, Positions, bends_of, centred, layered, point_on
from sparsejax.graphs.perceptron_module import Edge

# A layer to the next, a vertex to the one below, in units of the layout.
ACROSS, DOWN = 1.9, 1.1
MOST_VERTICES = 200


def draw_dag(dag: Dag, title: str = "", notes: Mapping[str, str] | None = None) -> Figure:
    """The nodes that the root depends on, from the inputs on the left to the root on the right.

    Inputs that nothing reads are left out. `notes`: a few letters by name, written above a node.

    Raises:
        ValueError: more nodes than a picture can show.

    Example:
        >>> figure = draw_dag(Dag(("x1", "x2"), (("y", ("x1", "x2")),)), title="a product")
        >>> [text.get_text() for text in figure.axes[0].texts]
        ['x1', 'x2', 'y']
    """
    names = [*dag.support, *dag.ancestors]
    if len(names) > MOST_VERTICES:
        raise ValueError(
            f"a picture shows up to {MOST_VERTICES} inputs and nodes; these are {len(names)}"
        )
    # A node may read another twice, as in x * x: that is one arrow.
    edges = [Edge(p, node) for node in dag.ancestors for p in dict.fromkeys(dag.parents_of(node))]
    where = _positions(dag, names, edges)
    with paper_style():
        bend = _bends(edges, where)
        left, right, low, high = _extent(edges, where, bend)
        width, height = INCHES * (right - left), INCHES * (high - low)
        figure = Figure(figsize=(max(width, 4.0), height + 0.9))
        axes = figure.subplots()
        bare(axes)
        axes.set_aspect("equal")
        axes.set_xlim(left, right)
        axes.set_ylim(low, high)
        kinds = {name: _kind(dag, name) for name in names}
        patches = {
            name: axes.add_patch(shape(kinds[name], where[name], zorder=3)) for name in names
        }
        for edge in edges:
            axes.add_patch(
                FancyArrowPatch(
                    where[edge.source],
                    where[edge.target],
                    connectionstyle=f"arc3,rad={bend[edge.name]}",
                    arrowstyle="-|>,head_length=3.5,head_width=2",
                    patchA=patches[edge.source],
                    patchB=patches[edge.target],
                    shrinkA=1,
                    shrinkB=1.5,
                    color="#333333",
                    lw=1.1,
                    zorder=1,
                )
            )
        for name in names:
            x, y = where[name]
            size = min(9.5, 44 / len(name))
            axes.text(x, y, name, ha="center", va="center", size=size, weight="bold", zorder=5)
            if notes and name in notes:
                axes.text(x, y + 1.2 * RADIUS, notes[name], ha="center", va="bottom", size=7.5)
        if title:
            axes.set_title(title)
        figure.legend(
            handles=_handles(dict.fromkeys(kinds.values())),
            loc="outside lower center",
            ncols=3,
            handletextpad=0.4,
        )
    return figure


_INPUT, _NODE, _ROOT = (
    Kind("input", KINDS["input"].marker, KINDS["input"].colour),
    # A hexagon: the round vertices of base graphs are those that lifts duplicate.
    Kind("constituent", KINDS["clamped"].marker, KINDS["duplicated"].colour),
    Kind("root", KINDS["clamped"].marker, KINDS["output"].colour),
)


def _kind(dag: Dag, name: str) -> Kind:
    if name in dag.inputs:
        return _INPUT
    return _ROOT if name == dag.root else _NODE


def _positions(dag: Dag, names: list[str], edges: list[Edge]) -> Positions:
    where: Positions = {}
    for depth, layer in enumerate(layered(names, [(e.source, e.target) for e in edges])):
        for name, height in centred(layer).items():
            where[name] = (ACROSS * depth, -DOWN * height)
    return where


def _bends(edges: list[Edge], where: Positions) -> dict[str, float]:
    """From a layer to the next all lines are straight: there is nothing between that they meet."""
    far = [e for e in edges if where[e.target][0] - where[e.source][0] > 1.5 * ACROSS]
    return {edge.name: 0.0 for edge in edges} | bends_of(far, where)


def _extent(
    edges: list[Edge], where: Positions, bend: dict[str, float]
) -> tuple[float, float, float, float]:
    """All vertices, and all bent lines: left, right, low, high."""
    points = [
        point_on(where[e.source], where[e.target], bend[e.name], t)
        for e in edges
        for t in np.linspace(0, 1, 17)
    ]
    xs, ys = zip(*where.values(), *points, strict=True)
    room = 2 * RADIUS
    return min(xs) - room, max(xs) + room, min(ys) - room, max(ys) + room


def _handles(kinds: Any) -> list[Line2D]:
    return [
        Line2D([], [], ls="", marker=k.marker, ms=7, mfc=pale(k.colour), mec=k.colour, label=k.name)
        for k in kinds
    ]
