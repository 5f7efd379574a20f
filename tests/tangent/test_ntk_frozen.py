"""Kernels against arrays that neural-tangents 0.6.5 wrote (`frozen/regenerate.py`)."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sparsejax as sj
from sparsejax.graphs import Bias, Edge, PerceptronModule, Scale, Vertex
from sparsejax.tangent import OutputAxes

FROZEN = Path(__file__).parent / "frozen"


def frozen(name):
    with np.load(FROZEN / f"{name}.npz") as held:
        arrays = {key: jnp.asarray(value) for key, value in held.items()}
    return {
        key.removeprefix("params_"): a for key, a in arrays.items() if key[:7] == "params_"
    }, arrays


def perceptron(params, x):
    h = jnp.tanh(x @ params["w1"] + params["b1"][None])
    h = jnp.maximum(h @ params["w2"] + params["b2"][None], 0)
    return h @ params["w3"] + params["b3"][None]


def as_lift(params):
    """The same network as a dense lift: a vertex an input coordinate, unit and output."""
    vertices = [Vertex("x", clamped=3), Vertex("one", constant=True)]
    edges, before = [], "x"
    for name, layer, activation in (("h1", 1, "tanh"), ("h2", 2, "relu"), ("y", 3, "identity")):
        vertices.append(Vertex(name, activation=activation, clamped=2 if name == "y" else None))
        edges += [Edge(before, name, Scale(), f"w{layer}"), Edge("one", name, Bias(), f"b{layer}")]
        before = name
    module = PerceptronModule(tuple(vertices), tuple(edges), ("x", "one"), ("y",))
    lift = sj.dense_lift(module, {"h1": 8, "h2": 6})
    return lift, {name: leaf[None] if leaf.ndim == 1 else leaf for name, leaf in params.items()}


@pytest.mark.parametrize("form", ["function", "lift"])
def test_perceptron(form):
    params, held = frozen("perceptron")
    f, x, x2 = perceptron, held["x"], held["x2"]
    np.testing.assert_allclose(f(params, x), held["outputs"], rtol=1e-13)
    if form == "lift":
        lift, params = as_lift(params)
        f = lift.apply
        for expected, points in ((held["full"], (x,)), (held["full_two"], (x, x2))):
            found = sj.ntk(f, params, *points, outputs="full", method="layerwise")
            np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-13)
        return
    # neural-tangents takes the mean over traced axes, here of two outputs.
    for expected, points, outputs in [
        (2 * held["traced"], (x,), "traced"),
        (2 * held["traced_two"], (x, x2), "traced"),
        (held["full"], (x,), "full"),
        (held["full_two"], (x, x2), "full"),
        (held["diagonal"], (x,), "diagonal"),
    ]:
        found = sj.ntk(f, params, *points, outputs=outputs)
        np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-13)


def test_convolutional():
    params, held = frozen("convolutional")
    axes = ("NHWC", "HWIO", "NHWC")

    def network(p, x):
        h = jax.lax.conv_general_dilated(x, p["k1"], (1, 1), "SAME", dimension_numbers=axes)
        h = jnp.tanh(h + p["b1"][None, None, None])
        return jax.lax.conv_general_dilated(h, p["k2"], (1, 1), "SAME", dimension_numbers=axes)

    x, x2 = held["x"], held["x2"]
    for expected, points, outputs in [
        (32 * held["traced_all"], (x,), OutputAxes(traced=(1, 2, 3))),
        (16 * held["traced_space_two"], (x, x2), OutputAxes(traced=(1, 2))),
        (
            2 * held["traced_channels_diagonal_rows"],
            (x, x2),
            OutputAxes(traced=(3,), diagonal=(1,)),
        ),
        (held["full_two"], (x[:1], x2[:1]), OutputAxes()),
    ]:
        found = sj.ntk(network, params, *points, outputs=outputs)
        assert found.shape == expected.shape
        np.testing.assert_allclose(found, expected, rtol=1e-11, atol=1e-13)
