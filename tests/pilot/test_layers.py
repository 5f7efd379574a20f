"""Networks as matrices: the lift's own function, equal numbers of parameters, widened in place."""

import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given

from sparsejax.lifts import grow
from sparsejax.pilot import layers
from sparsejax.pilot.growth import LEFT_OUT, Chosen, _widened
from sparsejax.pilot.matched import (
    ROOT,
    Parts,
    drawn_lift,
    initialisation,
    module_of,
    parameters_of,
    sizes_for,
)

Q, C = 12, 2
# A wide group, of which units read a part; a group of two; one by itself.
PARTS = Parts(("a", "b", "c"), ((0, 1, 2, 3, 4, 5, 6, 7), (8, 10), (11,)))


@pytest.fixture(scope="module")
def lift():
    module, sizes = module_of(PARTS, Q, C), sizes_for(PARTS, C, 200)
    lift, params = drawn_lift(module, PARTS, sizes, 0)
    # The readout starts at zero, which would hide the rest.
    rng = np.random.default_rng(0)
    params = {n: jnp.asarray(p + rng.normal(size=p.shape)) for n, p in params.items()}
    return lift, params


def test_matrices_have_the_lift_s_function_and_its_number_of_parameters(lift):
    x = np.random.default_rng(1).normal(size=(6, Q))
    network = layers.of_lift(*lift, Q, C)
    expected = np.asarray(lift[0].apply(lift[1], jnp.asarray(x)))
    np.testing.assert_allclose(network.outputs(x), expected, atol=1e-12)
    assert network.parameters == parameters_of(PARTS, lift[0].sizes, C)
    back = layers.params_of(lift[0], network)
    np.testing.assert_allclose(lift[0].apply(back, jnp.asarray(x)), expected, atol=1e-12)


def test_a_part_reads_its_columns_alone(lift):
    network = layers.of_lift(*lift, Q, C)
    n = lift[0].sizes["h_part1"]
    first, second = network.free["w1"][:, :n], network.free["w1"][:, n : 2 * n]
    assert not first[8:].any() and (first.sum(axis=0) == 6).all()
    assert (np.flatnonzero(second.any(axis=1)) == [8, 10]).all()
    assert not network.free["w1"][9].any()
    assert (network.free["w2"].sum(axis=0) == 9).all()


def test_lanes_compute_what_their_networks_do():
    networks = [
        layers.of_lift(
            *drawn_lift(module_of(PARTS, Q, C), PARTS, sizes_for(PARTS, C, 90), 1), Q, C
        ),
        layers.dense(Q, 3, 5, C, 0),
        layers.shallow(Q, 9, C, 0),
        layers.constant(Q, C),
    ]
    rng = np.random.default_rng(2)
    networks = [
        network.with_values({n: rng.normal(size=v.shape) for n, v in network.values.items()})
        for network in networks
    ]
    lanes, params = layers.padded(networks)
    x = rng.normal(size=(4, Q))
    for lane, network in enumerate(networks):
        one, own = jax.tree.map(lambda leaf, lane=lane: leaf[lane], (lanes, params))
        np.testing.assert_allclose(one(own, jnp.asarray(x)), network.outputs(x), atol=1e-12)
        # What is not free does not listen to parameters.
        moved = {n: jnp.where(one.free[n], p, 7.0) for n, p in own.items()}
        np.testing.assert_allclose(one(moved, jnp.asarray(x)), network.outputs(x), atol=1e-12)


def test_a_shallow_network_has_one_hidden_layer():
    network = layers.shallow(Q, 5, C, 3)
    rng = np.random.default_rng(3)
    network = network.with_values({n: rng.normal(size=v.shape) for n, v in network.values.items()})
    w, x = network.values, rng.normal(size=(4, Q))
    expected = np.maximum(x @ w["w1"] + w["b1"], 0) @ w["w3"] + w["b3"]
    np.testing.assert_allclose(network.outputs(x), expected, atol=1e-12)
    assert network.parameters == 5 * (Q + 1 + C) + C


@given(st.lists(st.integers(1, 9), min_size=1, max_size=6), st.integers(1, 4), st.integers(0, 20))
def test_lift_and_rivals_have_about_equally_many_parameters(widths, c, further):
    ends = np.cumsum([0, *widths]).tolist()
    columns = tuple(tuple(range(a, b)) for a, b in zip(ends, ends[1:], strict=False))
    parts = Parts(tuple(map(str, columns)), columns)
    q = ends[-1] + further
    wanted = max(200, 6 * (q + 1 + c) + c)
    counts = [
        parameters_of(parts, sizes_for(parts, c, wanted), c),
        layers.dense(q, *layers.dense_for(q, c, wanted), c, 0).parameters,
        layers.shallow(q, layers.shallow_for(q, c, wanted), c, 0).parameters,
    ]
    assert max(abs(count / wanted - 1) for count in counts) < 0.13


def test_widening_and_growing_keep_the_function(lift):
    network = layers.of_lift(*lift, Q, C)
    chosen, rng = Chosen(lift[0], PARTS, network), np.random.default_rng(4)
    x = rng.normal(size=(5, Q))
    sizes = lift[0].sizes
    expected = {
        # Eight columns, of which six are read; the root reads three new units at each of its own.
        "h_part1": sizes["h_part1"] * 7 + 3 * sizes[ROOT],
        "h_part3": sizes["h_part3"] * 2 + 3 * sizes[ROOT],
        ROOT: sizes[ROOT] * (9 + 1 + C),
        # Column 9 alone was left out.
        LEFT_OUT: sizes["h_part1"] * 2 + 3 * sizes[ROOT],
    }
    for vertex, added in expected.items():
        wider = _widened(chosen, vertex, rng)
        np.testing.assert_allclose(wider.outputs(x), network.outputs(x), atol=1e-12)
        assert wider.parameters - network.parameters == added
        # Were the new zeros trained, the function would change: they are heard.
        moved = wider.with_values({n: v + 0.3 for n, v in wider.values.items()})
        old = network.with_values({n: v + 0.3 for n, v in network.values.items()})
        assert abs(moved.outputs(x) - old.outputs(x)).max() > 1e-3
    doubled = {name: 2 * sizes[name] for name in lift[0].module.duplicated}
    larger = grow(lift[0], jax.random.key(0), doubled, lift[1], **initialisation(PARTS))
    grown = layers.of_lift(*larger, Q, C)
    np.testing.assert_allclose(grown.outputs(x), network.outputs(x), atol=1e-12)
    assert grown.parameters > 1.8 * network.parameters
