"""A picture of a lift: its fibres as columns above the base graph's vertices."""

from collections.abc import Mapping
from typing import Any

import numpy as np
from jaxtyping import Bool, Int
from matplotlib.axes import Axes
from matplotlib.collections import LineCollection
from matplotlib.colors import to_rgba
from matplotlib.figure import Figure

from sparsejax.drawing import GREY, paper_style
from sparsejax.graphs import Bias, Edge, PerceptronModule
from sparsejax.graphs.drawing import (
    INCHES,
    LEGEND_WIDTH,
    bare,
    draw_base_graph,
    extent,
    kind,
    legend,
    pale,
    strokes,
)
from sparsejax.graphs.layout import Positions, positions
from sparsejax.lifts.wiring import DenseWiring, SparseWiring

COLUMN_HEIGHT = 2.6  # inches


def draw_lift(lift: Any, params: Mapping[str, Any] | None, most: int) -> Figure:
    """The lift above its base graph; `Lift.draw`.

    Raises:
        ValueError: `most` is not positive, or the lift is a batch of lifts.
    """
    if most < 1:
        raise ValueError(f"most must be positive, got {most}")
    for name, wiring in lift.wirings.items():
        if isinstance(wiring, SparseWiring) and np.ndim(wiring.predecessors) != 2:
            raise ValueError(
                f"edge {name!r}: its wiring is a batch of wirings; draw one lift of the batch"
            )
    shown = shown_vertices(lift, most)
    where = positions(lift.module, columns=True)
    with paper_style():
        plane = extent(lift.module, where)
        width, height = plane.inches
        figure = Figure(figsize=(max(width, LEGEND_WIDTH), COLUMN_HEIGHT + height + 0.6))
        above, below = figure.subplots(2, 1, height_ratios=[COLUMN_HEIGHT, height])
        draw_base_graph(below, lift.module, where)
        above.set_xlim(plane.left, plane.right)
        _draw_fibres(above, lift, params, shown, where)
        # The plane below keeps its proportions; the columns stand above its vertices.
        above.set_box_aspect(COLUMN_HEIGHT / (INCHES * (plane.right - plane.left)))
        thinned = [name for name, kept in shown.items() if len(kept) < lift.sizes[name]]
        if thinned:
            counts = ", ".join(f"{len(shown[n])} of {lift.sizes[n]} above {n}" for n in thinned)
            figure.suptitle(f"Thinned: {counts}, and the edges among them", size=8, color=GREY)
        legend(figure, lift.module)
    return figure


def shown_vertices(lift: Any, most: int) -> dict[str, Int[np.ndarray, " shown"]]:
    """At most `most` lifted vertices above each base vertex, sorted.

    From the outputs backwards, predecessors of what is shown come first, so that a large sparse
    lift shows whole paths rather than vertices without edges; the rest is evenly spaced.
    """
    shown: dict[str, np.ndarray] = {}
    for name in reversed(lift.module.order):
        size = lift.sizes[name]
        if size <= most:
            shown[name] = np.arange(size)
            continue
        wanted = [
            _predecessors(lift.wirings[edge.name], shown[edge.target])
            for edge in lift.module.out_edges(name)
        ]
        even = np.unique(np.linspace(0, size - 1, most).astype(int))
        candidates = np.concatenate([*wanted, even, np.arange(min(size, 2 * most))])
        _, first = np.unique(candidates, return_index=True)
        shown[name] = np.sort(candidates[np.sort(first)][:most])
    return {name: shown[name] for name in lift.module.order}


def _predecessors(wiring: DenseWiring | SparseWiring, targets: np.ndarray) -> np.ndarray:
    """Sources of the targets, each target's first before any one's second; none where dense."""
    if isinstance(wiring, DenseWiring):
        return np.zeros(0, int)
    sources = np.asarray(wiring.predecessors)[:, targets]
    return sources[_present(wiring)[:, targets]]


def _present(wiring: SparseWiring) -> Bool[np.ndarray, "k n_b"]:
    if wiring.present is None:
        return np.ones(wiring.predecessors.shape, bool)
    return np.asarray(wiring.present)


def shown_edges(
    wiring: DenseWiring | SparseWiring, sources: np.ndarray, targets: np.ndarray
) -> tuple[Int[np.ndarray, "edges 2"], Int[np.ndarray, " edges"]]:
    """The lifted edges `(source, target)` between these vertices, and the slot of each."""
    if isinstance(wiring, DenseWiring):
        pairs = np.array([(u, v) for v in targets for u in sources], int).reshape(-1, 2)
        return pairs, pairs[:, 0]
    held = np.asarray(wiring.predecessors)[:, targets]
    slots, columns = np.nonzero(_present(wiring)[:, targets] & np.isin(held, sources))
    return np.stack([held[slots, columns], targets[columns]], axis=1).astype(int), slots


def strengths(weights: Any, slots: np.ndarray, targets: np.ndarray) -> np.ndarray:
    """Norm of each edge's weight over the largest among them, in [0, 1]."""
    values = np.asarray(weights, float)[slots, targets].reshape(len(slots), -1)
    norms = np.sqrt(np.sum(values**2, axis=1))
    largest = np.max(norms, initial=0)
    return norms / largest if largest > 0 else norms


def _draw_fibres(
    axes: Axes,
    lift: Any,
    params: Mapping[str, Any] | None,
    shown: Mapping[str, np.ndarray],
    where: Positions,
) -> None:
    bare(axes)
    module, stroke = lift.module, strokes(lift.module)
    place = {name: _column(module, name, shown[name]) for name in module.order}
    top = 1.12
    for edge in module.edges:
        sources, targets = shown[edge.source], shown[edge.target]
        pairs, slots = shown_edges(lift.wirings[edge.name], sources, targets)
        if not len(pairs):
            continue
        starts = place[edge.source][np.searchsorted(sources, pairs[:, 0])]
        ends = place[edge.target][np.searchsorted(targets, pairs[:, 1])]
        x_start, x_end = where[edge.source][0], where[edge.target][0]
        bias = isinstance(edge.map, Bias)
        # Many edges are drawn fainter, so that a dense lift is no black block.
        faint = 0.25 if bias else float(np.clip(12 / np.sqrt(len(pairs)), 0.25, 0.9))
        alphas = np.full(len(pairs), faint)
        if params is not None:
            strength = strengths(params[edge.name], slots, pairs[:, 1])
            alphas = (0.06 + 0.94 * strength) * (0.5 if bias else 1.0)
        colours = np.tile(to_rgba(stroke[edge.name].colour), (len(pairs), 1))
        colours[:, 3] = alphas
        arcs = _arcs(x_start, starts, x_end, ends, 0.0 if bias else _rise(module, edge, where))
        top = max(top, float(np.max(arcs[..., 1])) + 0.12)
        axes.add_collection(
            LineCollection(
                arcs,
                colors=colours,
                linewidths=0.7 if bias else 0.9,
                linestyles=stroke[edge.name].line,
                zorder=1,
            )
        )
    for name in module.order:
        what, ys = kind(module, name), place[name]
        size = float(np.clip(300 / max(map(len, shown.values())), 10, 36))
        axes.scatter(
            np.full(len(ys), where[name][0]),
            ys,
            s=size,
            marker=what.marker,
            facecolors=[pale(what.colour)],
            edgecolors=what.colour,
            linewidths=1,
            zorder=3,
        )
        count = f" × {lift.sizes[name]}" if lift.sizes[name] > 1 else ""
        below = module.vertex(name).constant
        axes.annotate(
            f"{name}{count}",
            (where[name][0], ys[0] if below else np.max(ys)),
            xytext=(0, -7 if below else 7),
            textcoords="offset points",
            ha="center",
            va="top" if below else "bottom",
            size=8,
            bbox={"fc": "white", "ec": "none", "pad": 0.6},
            zorder=4,
        )
    axes.set_ylim(-0.2, top)


def _rise(module: PerceptronModule, edge: Edge, where: Positions) -> float:
    """How far an edge rises over the columns that it passes, as a fraction of their height."""
    columns = [where[name][0] for name in module.order if not module.vertex(name).constant]
    passed = sum(where[edge.source][0] < x < where[edge.target][0] for x in columns)
    return min(0.12 * passed, 0.3)


def _arcs(x_start: float, starts: np.ndarray, x_end: float, ends: np.ndarray, rise: float) -> Any:
    """Lines that rise above the columns that they pass over, or straight ones."""
    t = np.linspace(0, 1, 17 if rise else 2)
    xs = np.broadcast_to(x_start + (x_end - x_start) * t, (len(starts), len(t)))
    ys = starts[:, None] * (1 - t) + ends[:, None] * t + 4 * rise * t * (1 - t)
    return np.stack([xs, ys], axis=2)


def _column(module: PerceptronModule, name: str, shown: np.ndarray) -> np.ndarray:
    """Heights of the shown vertices of one fibre: first on top; constants below all others."""
    if module.vertex(name).constant:
        return np.full(len(shown), -0.1)
    if len(shown) == 1:
        return np.array([0.5])
    return np.linspace(1.0, 0.0, len(shown))
