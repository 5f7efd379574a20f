"""A picture of a base graph: vertices told apart by shape and colour, edges with their maps."""

import dataclasses
from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Circle, FancyArrowPatch, Patch, RegularPolygon

from sparsejax.drawing import BLUE, GREEN, GREY, ORANGE, PALETTE, SKY, paper_style
from sparsejax.graphs.activations import Pointwise
from sparsejax.graphs.edge_maps import Bias
from sparsejax.graphs.layout import (
    RADIUS,
    Positions,
    bends,
    edge_label,
    point_on,
    positions,
)
from sparsejax.graphs.perceptron_module import Edge, PerceptronModule, Vertex

# On paper: a unit of the layout, and what the legend needs.
INCHES, LEGEND_WIDTH = 0.55, 5.0
INK = "#333333"
# Letters that fit into a vertex, and the height of a line of text in units of the layout.
LONGEST_INSIDE, LINE = 8, 0.27


@dataclasses.dataclass(frozen=True)
class Kind:
    """What sort of vertex it is, and how that is shown."""

    name: str
    marker: str
    colour: str


KINDS = {
    "input": Kind("input", "s", SKY),
    "constant": Kind("constant 1", "D", GREY),
    "duplicated": Kind("duplicated by lifts", "o", BLUE),
    "clamped": Kind("clamped", "h", GREEN),
    "output": Kind("output", "^", ORANGE),
}


def kind(module: PerceptronModule, name: str) -> Kind:
    """The kind of a vertex.

    Example:
        >>> from sparsejax.graphs import mlp
        >>> [kind(mlp(3, 1, 1), name).name for name in ("x", "one", "h1", "y")]
        ['input', 'constant 1', 'duplicated by lifts', 'output']
    """
    if module.vertex(name).constant:
        return KINDS["constant"]
    if name in module.inputs:
        return KINDS["input"]
    if name in module.outputs:
        return KINDS["output"]
    return KINDS["duplicated" if module.clamped(name) is None else "clamped"]


@dataclasses.dataclass(frozen=True)
class Stroke:
    """How an edge is drawn."""

    colour: str
    line: Any


def strokes(module: PerceptronModule) -> dict[str, Stroke]:
    """Dark and solid; biases grey and dotted; edges between the same two vertices told apart."""
    found = {}
    for edge in module.edges:
        alike = [e.name for e in module.edges if (e.source, e.target) == (edge.source, edge.target)]
        if isinstance(edge.map, Bias):
            found[edge.name] = Stroke(GREY, (0, (1, 2)))
        elif len(alike) > 1:
            number = alike.index(edge.name)
            lines = ("-", (0, (5, 2)), (0, (5, 1.5, 1, 1.5)))
            found[edge.name] = Stroke(PALETTE[number % len(PALETTE)], lines[number % len(lines)])
        else:
            found[edge.name] = Stroke(INK, "-")
    return found


def draw_module(module: PerceptronModule) -> Figure:
    """The base graph with names, shapes, activations and maps; `PerceptronModule.draw`."""
    where = positions(module)
    with paper_style():
        width, height = extent(module, where).inches
        figure = Figure(figsize=(max(width, LEGEND_WIDTH), height + 0.4))
        axes = figure.subplots()
        draw_base_graph(axes, module, where)
        legend(figure, module)
    return figure


@dataclasses.dataclass(frozen=True)
class Extent:
    """The part of the layout's plane that a picture shows."""

    left: float
    right: float
    low: float
    high: float

    @property
    def inches(self) -> tuple[float, float]:
        """Width and height on paper."""
        return INCHES * (self.right - self.left), INCHES * (self.high - self.low)


def extent(module: PerceptronModule, where: Positions) -> Extent:
    """All vertices with what is written below them, and all bent edges."""
    xs, ys = zip(*where.values(), strict=True)
    arcs = [y for _, y in points_of(module.edges, where, bends(module, where))]
    texts = []
    for name, (_, y) in where.items():
        # An input has one line below it, any other vertex two, and its name if that is long.
        lines = (1 if name in module.inputs else 2) + (len(name) > LONGEST_INSIDE)
        texts.append(y - 1.5 * RADIUS - 1.2 * LINE * lines)
    return Extent(
        left=min(xs) - 2 * RADIUS,
        right=max(xs) + 2 * RADIUS,
        low=min(*texts, *(arc - 0.3 * RADIUS for arc in arcs)),
        high=max(max(ys) + 2 * RADIUS, *(arc + 0.7 * RADIUS for arc in arcs)),
    )


def points_of(
    edges: Iterable[Edge], where: Positions, bend: Mapping[str, float]
) -> list[tuple[float, float]]:
    """Points along all edges, their ends too."""
    return [
        point_on(where[edge.source], where[edge.target], bend[edge.name], t)
        for edge in edges
        for t in np.linspace(0, 1, 17)
    ]


def draw_base_graph(axes: Axes, module: PerceptronModule, where: Positions) -> None:
    """Vertices at `where`, edges between them, no axes."""
    show_plane(axes, extent(module, where))
    patches = {name: _draw_vertex(axes, module, name, where[name]) for name in module.order}
    bend, stroke = bends(module, where), strokes(module)
    for edge in module.edges:
        _draw_edge(axes, edge, where, patches, bend[edge.name], stroke[edge.name])


def show_plane(axes: Axes, shown: Extent) -> None:
    """This part of the layout's plane in its proportions, without axes."""
    bare(axes)
    axes.set_aspect("equal")
    axes.set_xlim(shown.left, shown.right)
    axes.set_ylim(shown.low, shown.high)


def bare(axes: Axes) -> None:
    """No frame, no ticks, no grid."""
    axes.set_axis_off()
    axes.grid(False)


def legend(figure: Figure, module: PerceptronModule) -> None:
    """The kinds of vertices that occur, below the picture."""
    present = dict.fromkeys(kind(module, name) for name in module.order)
    handles = handles_of(present)
    if any(isinstance(edge.map, Bias) for edge in module.edges):
        handles.append(Line2D([], [], color=GREY, ls=(0, (1, 2)), lw=1.2, label="bias"))
    figure.legend(
        handles=handles,
        loc="outside lower center",
        ncols=len(handles),
        handletextpad=0.4,
        columnspacing=1.2,
    )


def handles_of(kinds: Iterable[Kind]) -> list[Line2D]:
    """What a legend shows of kinds of vertices."""
    return [
        Line2D([], [], ls="", marker=k.marker, ms=7, mfc=pale(k.colour), mec=k.colour, label=k.name)
        for k in kinds
    ]


def pale(colour: str) -> tuple[float, float, float]:
    """A colour, given as `"#rrggbb"`, mixed with white to stand behind text."""
    red, green, blue = (int(colour[i : i + 2], 16) / 255 for i in (1, 3, 5))
    return (0.75 + red / 4, 0.75 + green / 4, 0.75 + blue / 4)


def _draw_vertex(
    axes: Axes, module: PerceptronModule, name: str, centre: tuple[float, float]
) -> Patch:
    vertex, what = module.vertex(name), kind(module, name)
    if what is KINDS["duplicated"]:  # a stack of copies
        for shift in (0.22, 0.11):
            axes.add_patch(shape(what, (centre[0] + shift, centre[1] + shift), zorder=2))
    patch = axes.add_patch(shape(what, centre, zorder=3))
    x, y = centre
    inside, below = len(name) <= LONGEST_INSIDE, y - 1.25 * RADIUS
    write_name(axes, name, (x, y if inside else below), inside=inside)
    below -= 0 if inside else LINE
    axes.text(
        x,
        below,
        "\n".join(_description(module, vertex)),
        ha="center",
        va="top",
        size=7.5,
        zorder=5,
    )
    return patch


def write_name(axes: Axes, name: str, at: tuple[float, float], *, inside: bool = True) -> None:
    """A vertex's name: in its middle, as large as fits, or below this point."""
    place, size = ("center", min(9.5, 44 / len(name))) if inside else ("top", 7.5)
    axes.text(*at, name, ha="center", va=place, size=size, weight="bold", zorder=5)


def shape(what: Kind, centre: tuple[float, float], zorder: int) -> Patch:
    """The outline of a vertex of some kind."""
    look: dict[str, Any] = {"ec": what.colour, "lw": 1.4, "fc": pale(what.colour), "zorder": zorder}
    if what.marker == "o":
        return Circle(centre, RADIUS, **look)
    corners, turn, size = {
        "s": (4, 0.785398, 1.3),
        "D": (4, 0.0, 1.2),
        "h": (6, 0.0, 1.15),
        "^": (3, 0.0, 1.5),
    }[what.marker]
    return RegularPolygon(centre, corners, radius=size * RADIUS, orientation=turn, **look)


def _description(module: PerceptronModule, vertex: Vertex) -> list[str]:
    axes = r"\times ".join(map(str, vertex.shape))
    space = rf"$\mathbb{{R}}^{{{axes}}}$" if vertex.shape else r"$\mathbb{R}$"
    copies = module.clamped(vertex.name) or 1
    lines = [f"{copies} × {space}" if copies > 1 else space]
    if vertex.name not in module.inputs:
        lines.append(activation_name(vertex.activation))
    return lines


def activation_name(activation: Any) -> str:
    """What to call an activation: its own name, or that of its function or class."""
    if isinstance(activation, Pointwise):
        return activation.name
    return getattr(activation, "__name__", type(activation).__name__)


def _draw_edge(
    axes: Axes,
    edge: Edge,
    where: Positions,
    patches: Mapping[str, Patch],
    bend: float,
    stroke: Stroke,
) -> None:
    axes.add_patch(arrow(edge, where, patches, bend, stroke, width=1.2))
    if isinstance(edge.map, Bias):
        return  # in the legend
    axes.text(
        *point_on(where[edge.source], where[edge.target], bend, 0.5),
        edge_label(edge),
        ha="center",
        va="center",
        size=7,
        color=stroke.colour,
        bbox={"fc": "white", "ec": "none", "pad": 0.6},
        zorder=4,
    )


def arrow(
    edge: Edge,
    where: Positions,
    patches: Mapping[str, Patch],
    bend: float,
    stroke: Stroke,
    *,
    width: float,
) -> FancyArrowPatch:
    """The edge from the outline of one vertex to that of the other."""
    return FancyArrowPatch(
        where[edge.source],
        where[edge.target],
        connectionstyle=f"arc3,rad={bend}",
        arrowstyle="-|>,head_length=3.5,head_width=2",
        patchA=patches[edge.source],
        patchB=patches[edge.target],
        shrinkA=1,
        shrinkB=1.5,
        color=stroke.colour,
        linestyle=stroke.line,
        lw=width,
        zorder=1,
    )
