"""Pictures of base graphs: everything is there, apart, and where its label says."""

import io
import itertools
import re

import jax
import matplotlib.pyplot as plt
import numpy as np
import pytest
from matplotlib.patches import ConnectionStyle, FancyArrowPatch

from sparsejax.graphs import READY_MADE, Bias, Dense, Edge, PerceptronModule, Vertex, mlp
from sparsejax.graphs.drawing import KINDS, draw_module, extent, kind
from sparsejax.graphs.layout import RADIUS, bends, edge_label, layers, point_on, positions


def attention(q, k, v):
    return jax.nn.softmax(q @ k.T) @ v


def crowded() -> PerceptronModule:
    """Skips, parallel edges, arrays, every kind of vertex, a layer of several."""
    return PerceptronModule(
        (
            Vertex("x", shape=(4, 3)),
            Vertex("one", constant=True),
            Vertex("stream", shape=(4, 2), activation="identity"),
            Vertex("head", shape=(4, 2), activation=attention),
            Vertex("a_long_name", shape=(4, 2), activation="identity"),
            Vertex("g", activation="relu"),
            Vertex("c", clamped=3, activation="tanh"),
            Vertex("y", shape=(2,), activation="identity"),
            Vertex("z", clamped=3, activation="sin"),
        ),
        (
            Edge("x", "stream", Dense((4, 2))),
            *(Edge("stream", "head", name=name) for name in ("q", "k", "v")),
            Edge("head", "a_long_name"),
            Edge("stream", "a_long_name"),
            Edge("a_long_name", "g", Dense()),
            Edge("one", "g", Bias()),
            Edge("a_long_name", "c", Dense()),
            Edge("g", "y", Dense((2,))),
            Edge("c", "y", Dense((2,))),
            Edge("one", "y", Bias((2,))),
            Edge("stream", "y", Dense((2,))),
            Edge("c", "z"),
            Edge("one", "z", Bias()),
        ),
        inputs=("x", "one"),
        outputs=("y", "z"),
    )


MODULES = {"crowded": crowded, **READY_MADE}


@pytest.mark.parametrize("columns", [False, True])
@pytest.mark.parametrize("name", MODULES)
def test_vertices_stand_apart_and_edges_run_to_the_right(name, columns):
    module = MODULES[name]()
    where = positions(module, columns=columns)
    assert set(where) == set(module.order)
    for (a, at), (b, there) in itertools.combinations(where.items(), 2):
        assert np.hypot(*np.subtract(at, there)) > 3 * RADIUS, (a, b)
    constants = {n for n in module.order if module.vertex(n).constant}
    for edge in module.edges:
        if edge.source not in constants:
            assert where[edge.source][0] < where[edge.target][0]
    for constant in constants:
        assert where[constant][1] < min(y for n, (_, y) in where.items() if n not in constants)
    if columns:
        xs = [x for n, (x, _) in where.items() if n not in constants]
        assert len(set(xs)) == len(xs)


@pytest.mark.parametrize("name", MODULES)
def test_no_edge_crosses_a_vertex_that_it_does_not_join(name):
    """By matplotlib's own curve, which is also the one that labels are placed on."""
    module = MODULES[name]()
    where = positions(module)
    bend = bends(module, where)
    for edge in module.edges:
        start, end = where[edge.source], where[edge.target]
        curve = ConnectionStyle.Arc3(bend[edge.name])(start, end, shrinkA=0, shrinkB=0)
        a, middle, b = curve.vertices
        half = point_on(start, end, bend[edge.name], 0.5)
        np.testing.assert_allclose(half, (a + 2 * middle + b) / 4, atol=1e-12)
        points = curve.interpolated(1).to_polygons(closed_only=False)[0]
        for other, centre in where.items():
            if other not in (edge.source, edge.target):
                assert np.min(np.hypot(*(points - centre).T)) > RADIUS, (edge.name, other)
    # What joins the same two vertices bends apart.
    ends = [(e.source, e.target, bend[e.name]) for e in module.edges]
    assert len(set(ends)) == len(ends)


def test_what_can_be_uncrossed_is():
    """Between `a` and `e`, which meet again, the listing puts `b`, which meets neither."""
    pairs = [("x", n) for n in "abe"] + [("a", "c"), ("e", "c"), ("b", "d"), ("c", "y"), ("d", "y")]
    module = PerceptronModule(
        (Vertex("x"), *(Vertex(n, activation="tanh") for n in "abecdy")),
        tuple(Edge(*pair) for pair in pairs),
        inputs=("x",),
        outputs=("y",),
    )
    place = {name: i for names in layers(module) for i, name in enumerate(names)}
    middle = [pair for pair in pairs if pair[1] in "cd"]
    for (a, b), (c, d) in itertools.combinations(middle, 2):
        assert (place[a] - place[c]) * (place[b] - place[d]) >= 0


def test_everything_is_in_the_picture():
    module = crowded()
    figure = draw_module(module)
    (axes,) = figure.axes
    words = [text.get_text() for text in axes.texts]
    text = "\n".join(words)
    for vertex in module.vertices:
        assert vertex.name in words
    for activation in ("attention", "tanh", "relu", "sin", "identity"):
        assert activation in text
    assert r"$\mathbb{R}^{4\times 3}$" in text
    assert r"3 × $\mathbb{R}$" in text
    weighted = [edge for edge in module.edges if not isinstance(edge.map, Bias)]
    labels = [edge_label(edge) for edge in weighted]
    assert {"q: Scale", "k: Scale", "v: Scale"} <= set(labels)
    assert sorted(word for word in words if re.search("Scale|Dense", word)) == sorted(labels)
    arrows = [patch for patch in axes.patches if isinstance(patch, FancyArrowPatch)]
    assert len(arrows) == len(module.edges)
    legend = [text.get_text() for text in figure.legends[0].get_texts()]
    assert legend == [
        "input",
        "constant 1",
        "duplicated by lifts",
        "clamped",
        "output",
        "bias",
    ] or (set(legend) == {k.name for k in KINDS.values()} | {"bias"})
    shown = extent(module, positions(module))
    for patch in arrows:
        box = patch.get_path().get_extents()
        assert shown.low < box.ymin
        assert box.ymax < shown.high


def test_kinds_differ_in_shape_and_in_colour():
    assert len({k.marker for k in KINDS.values()}) == len(KINDS)
    assert len({k.colour for k in KINDS.values()}) == len(KINDS)
    names = {name: kind(crowded(), name).name for name in ("x", "one", "head", "c", "y")}
    assert list(names.values()) == [k.name for k in KINDS.values()]


def test_the_figure_is_written_without_pyplot():
    before = plt.get_fignums()
    buffer = io.BytesIO()
    mlp(inputs=3, hidden=1, outputs=1).draw().savefig(buffer, format="png", dpi=40)
    assert buffer.getvalue().startswith(b"\x89PNG")
    assert plt.get_fignums() == before
