"""The union of lifts computes what its members compute, side by side, and nothing joins them."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sparsejax as sj
from sparsejax.lifts import disjoint_union, join_params, split_params

from .reference import activations

SIZE, MEMBERS = 6, 3


@functools.cache
def members():
    """With slots to spare, without, and with all edges: masks and numbers of slots differ."""
    module = sj.graphs.mlp(inputs=4, hidden=2, outputs=2, input_as="coordinates")
    uneven = np.array([[0, 0], [3, 0], [1, 1], [1, 2], [4, 2], [2, 5]])
    even = np.array([[(v + s) % SIZE, v] for v in range(SIZE) for s in range(3)])
    into = np.array([[v % 4, v] for v in range(SIZE)])
    lifts = [
        sj.lift_from_edges(module, SIZE, {"x->h1": into[1:], "h1->h2": uneven}),
        sj.lift_from_edges(module, SIZE, {"x->h1": into, "h1->h2": even}),
        sj.dense_lift(module, SIZE),
    ]
    assert [lift.wirings["h1->h2"].slots for lift in lifts] == [2, 3, SIZE]
    random = np.random.default_rng(0)
    params = []
    for lift in lifts:
        shapes = jax.eval_shape(lift.init, jax.random.key(0))
        params.append(
            {name: jnp.asarray(random.normal(size=w.shape)) for name, w in shapes.items()}
        )
    return lifts, params


def test_edges_are_those_of_the_members_side_by_side():
    lifts, _ = members()
    union = disjoint_union(lifts)
    union.validate()
    shared = union.module.inputs
    for edge in union.module.edges:
        n_a = 0 if edge.source in shared else lifts[0].sizes[edge.source]
        n_b = lifts[0].sizes[edge.target]
        expected = [lift.edges(edge.name) + [j * n_a, j * n_b] for j, lift in enumerate(lifts)]
        np.testing.assert_array_equal(union.edges(edge.name), np.concatenate(expected))
    assert union.sizes == {"x": 4, "one": 1, "h1": 18, "h2": 18, "y": 3}
    assert union.parameter_count() == sum(lift.parameter_count() for lift in lifts)
    # Inside a trace the same wirings come out, masks being all that may differ.
    traced = jax.jit(lambda lifts: disjoint_union(lifts).wirings)(lifts)
    jax.tree.map(np.testing.assert_array_equal, traced, union.wirings)


def test_values_and_gradients_are_those_of_the_members():
    lifts, params = members()
    union, joined = disjoint_union(lifts), join_params(lifts, params)
    x = np.random.default_rng(1).normal(size=(5, 4))

    @jax.jit
    def gradient(params, lift):
        def loss(params):
            y = lift.apply(params, x).reshape(5, -1, 2)
            return jnp.sum(jnp.sin(y)), y

        return jax.grad(loss, has_aux=True)(params)

    gradients, outputs = gradient(joined, union)
    assert outputs.shape == (5, MEMBERS, 2)
    for j, of_member in enumerate(split_params(lifts, gradients)):
        values = activations(lifts[j], params[j], {"x": x})
        np.testing.assert_allclose(outputs[:, j], values["y"][:, 0], atol=1e-12)
        if j == 1:  # each compilation takes seconds: one stands for all
            for name, g in gradient(params[j], lifts[j])[0].items():
                np.testing.assert_allclose(of_member[name], g, atol=1e-12)
    for member, own in zip(split_params(lifts, joined), params, strict=True):
        jax.tree.map(np.testing.assert_array_equal, member, own)


def test_what_cannot_be_united_is_refused():
    lifts, params = members()
    module = lifts[0].module
    with pytest.raises(ValueError, match="at least one lift"):
        disjoint_union([])
    with pytest.raises(ValueError, match="lift 1 has sizes"):
        disjoint_union([lifts[2], sj.dense_lift(module, 5)])
    other = sj.graphs.mlp(inputs=4, hidden=1, outputs=2, input_as="coordinates")
    with pytest.raises(ValueError, match="lift 1 is one of another module"):
        disjoint_union([lifts[2], sj.dense_lift(other, SIZE)])
    with pytest.raises(ValueError, match="3 lifts, but parameters of 2"):
        join_params(lifts, params[:2])
