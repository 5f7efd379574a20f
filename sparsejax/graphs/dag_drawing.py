"""A picture of a composition: inputs, constituents, and which reads which."""

from collections.abc import Mapping

from matplotlib.figure import Figure

from sparsejax.drawing import paper_style
from sparsejax.graphs.dag import Dag
from sparsejax.graphs.drawing import (
    INK,
    KINDS,
    Extent,
    Kind,
    Stroke,
    arrow,
    handles_of,
    points_of,
    shape,
    show_plane,
    write_name,
)
from sparsejax.graphs.layout import RADIUS, Positions, bends_of, centred, layered
from sparsejax.graphs.perceptron_module import Edge

# A layer to the next, a vertex to the one below, in units of the layout.
ACROSS, DOWN = 1.9, 1.1
MOST_VERTICES = 200
# Letters of a title; more are cut off.
LONGEST_TITLE = 60


def draw_dag(dag: Dag, title: str = "", notes: Mapping[str, str] | None = None) -> Figure:
    """The nodes that the root depends on, from the inputs on the left to the root on the right.

    Inputs that nothing reads are left out. `notes`: a few letters by name, written above a node. A
    long `title` is cut off.

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
        shown = _extent(edges, where, bend)
        width, height = shown.inches
        figure = Figure(figsize=(max(width, 4.0), height + 0.9))
        axes = figure.subplots()
        show_plane(axes, shown)
        kinds = {name: _kind(dag, name) for name in names}
        patches = {
            name: axes.add_patch(shape(kinds[name], where[name], zorder=3)) for name in names
        }
        for edge in edges:
            axes.add_patch(arrow(edge, where, patches, bend[edge.name], _STROKE, width=1.1))
        for name in names:
            x, y = where[name]
            write_name(axes, name, (x, y))
            if notes and name in notes:
                axes.text(x, y + 1.2 * RADIUS, notes[name], ha="center", va="bottom", size=7.5)
        if title:
            long = len(title) > LONGEST_TITLE
            axes.set_title(f"{title[: LONGEST_TITLE - 3]}..." if long else title)
        figure.legend(
            handles=handles_of(dict.fromkeys(kinds.values())),
            loc="outside lower center",
            ncols=3,
            handletextpad=0.4,
        )
    return figure


_STROKE = Stroke(INK, "-")
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


def _extent(edges: list[Edge], where: Positions, bend: dict[str, float]) -> Extent:
    """All vertices, and all bent lines."""
    xs, ys = zip(*where.values(), *points_of(edges, where, bend), strict=True)
    room = 2 * RADIUS
    return Extent(min(xs) - room, max(xs) + room, min(ys) - room, max(ys) + room)
