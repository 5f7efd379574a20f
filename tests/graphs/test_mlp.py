"""The multilayer perceptron's base graph, and that its lift computes the formula in the books."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sparsejax as sj
from sparsejax.graphs import Bias, Dense, Pointwise, Scale, mlp


@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("hidden", [0, 1, 3])
def test_the_path_of_layers(hidden, bias):
    module = mlp(inputs=5, hidden=hidden, outputs=2, activation="relu", bias=bias)
    layers = [f"h{i}" for i in range(1, hidden + 1)]
    path = ["x", *layers, "y"]
    weights = [e for e in module.edges if not isinstance(e.map, Bias)]
    assert [(e.source, e.target) for e in weights] == list(zip(path[:-1], path[1:], strict=True))
    biases = [e for e in module.edges if isinstance(e.map, Bias)]
    assert [e.target for e in biases] == (path[1:] if bias else [])
    assert module.duplicated == tuple(layers)
    assert module.fed_inputs == ("x",)
    assert module.vertex("x").shape == (5,)
    assert module.vertex("y").shape == (2,)
    assert all(module.vertex(name).activation == Pointwise("relu") for name in layers)
    assert module.vertex("y").activation == Pointwise("identity")
    assert all(isinstance(e.map, Scale) for e in weights[1:-1])
    assert weights[-1].map == Dense(output=(2,))


def test_coordinates_are_vertices_of_one_input():
    module = mlp(inputs=5, hidden=1, outputs=1, input_as="coordinates")
    assert module.vertex("x").shape == ()
    assert module.clamped("x") == 5
    assert module.edge("x->h1").map == Scale()
    lift = sj.random_sparse_lift(jax.random.key(0), module, sizes=9, in_degree=2, law="regular")
    assert len(lift.edges("x->h1")) == 18


@pytest.mark.parametrize("inputs", [1, 4])
@pytest.mark.parametrize("hidden", [0, 2])
def test_both_kinds_of_input_take_the_same_data_to_the_same_function(inputs, hidden):
    rng = np.random.default_rng(0)
    x = rng.normal(size=(3, inputs))
    sizes = 6
    widths = [inputs, *[sizes] * hidden, 2]
    matrices = [rng.normal(size=(a, b)) for a, b in zip(widths[:-1], widths[1:], strict=True)]
    offsets = [rng.normal(size=b) for b in widths[1:]]
    y = x
    for matrix, offset in zip(matrices[:-1], offsets[:-1], strict=True):
        y = np.tanh(y @ matrix + offset)
    y = y @ matrices[-1] + offsets[-1]
    path = ["x", *[f"h{i + 1}" for i in range(hidden)], "y"]
    for input_as in ("vector", "coordinates"):
        lift = sj.dense_lift(mlp(inputs, hidden, 2, input_as=input_as), sizes)
        params = {}
        for source, target, matrix, offset in zip(path, path[1:], matrices, offsets, strict=False):
            # A vector input is one vertex, and its weight a row; a readout's weight is a column.
            whole = source == "x" and (input_as == "vector" or inputs == 1)
            n_a, n_b = (1 if whole else len(matrix)), (1 if target == "y" else sizes)
            entries = lift.module.weight_shape(lift.module.edge(f"{source}->{target}"))
            held = (matrix.T if whole else matrix).reshape(n_a, n_b, *entries)
            params[f"{source}->{target}"] = jnp.asarray(held)
            bias = (2,) if target == "y" else ()
            params[f"one->{target}"] = jnp.asarray(offset.reshape(1, n_b, *bias))
        np.testing.assert_allclose(lift.apply(params, jnp.asarray(x)), y, rtol=1e-12, atol=1e-13)


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"inputs": 0}, "inputs >= 1.*got 0, 1, 1"),
        ({"hidden": -1}, "hidden >= 0.*got 2, -1, 1"),
        ({"outputs": 0}, "outputs >= 1.*got 2, 1, 0"),
        ({"activation": "wavy"}, "unknown activation 'wavy'"),
        ({"input_as": "pixels"}, "'pixels'"),
    ],
)
def test_sizes_and_names_out_of_range(arguments, reason):
    # The type checker, where it is on, refuses a wrong literal before the function can.
    with pytest.raises(Exception, match=reason):
        mlp(**{"inputs": 2, "hidden": 1, "outputs": 1} | arguments)
