"""Smaller lifts inside larger ones: the function kept (1.5), the law of what is new."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

import sparsejax as sj
from sparsejax.graphs import mlp
from sparsejax.lifts import LiftError, embed, grow, lifted_edges

from . import reference

X = np.random.default_rng(0).normal(size=(4, 3))
MODULE = mlp(inputs=3, hidden=2, outputs=2)


def values(lift, params):
    return reference.activations(lift, params, {"x": X})


def random_params(lift, seed):
    rng = np.random.default_rng(seed)
    return {
        e.name: jnp.asarray(
            rng.normal(
                size=(lift.wirings[e.name].slots, lift.sizes[e.target], *MODULE.weight_shape(e))
            )
        )
        for e in MODULE.edges
    }


@pytest.fixture(scope="module")
def small():
    edges = np.array([[0, 0], [2, 0], [1, 1], [2, 1], [0, 2], [1, 2]])
    lift = sj.lift_from_edges(MODULE, 3, {"h1->h2": edges})
    return lift, random_params(lift, 1)


@pytest.fixture(scope="module")
def grown(small):
    return grow(small[0], jax.random.key(3), {"h1": 5, "h2": 6}, small[1])


def test_growing_keeps_the_function_and_every_old_value(small, grown):
    old, new = values(*small), values(*grown)
    np.testing.assert_array_equal(new["y"], old["y"])
    for name in ("h1", "h2"):
        np.testing.assert_array_equal(new[name][:, :3], old[name])
        assert np.abs(new[name][:, 3:]).min() > 0


def test_new_vertices_have_the_in_degree_of_the_old(small, grown):
    lift = grown[0]
    lift.validate()
    own = lifted_edges(lift, "h1->h2")
    assert np.bincount(own.targets).tolist() == [2] * 6
    assert len(lifted_edges(lift, "h2->y").sources) == 6
    assert lift.in_degrees["h1->h2"] == small[0].in_degrees["h1->h2"] == 2
    assert lift.in_degrees["h2->y"] == 6


def test_fresh_edges_change_the_function_but_no_old_weight(small, grown):
    lift, params = grow(small[0], jax.random.key(3), {"h1": 5, "h2": 6}, small[1], fresh=True)
    old, new = values(*small), values(lift, params)
    np.testing.assert_array_equal(new["h2"][:, :3], old["h2"])
    assert np.abs(new["y"] - old["y"]).max() > 0.01
    for name in params:
        own = lifted_edges(small[0], name)
        at = own.sources if name == "h2->y" else own.slots
        np.testing.assert_array_equal(
            np.asarray(params[name])[at, own.targets], own.weights(small[1][name])
        )
    readout = np.asarray(params["h2->y"])[3:]
    assert np.abs(readout).min() > 0 and not np.asarray(grown[1]["h2->y"])[3:].any()


def test_new_in_degrees_follow_the_binomial_law():
    """Old vertices of unequal in-degree: the others draw each possible edge on its own."""
    edges = np.array([[0, 0], [1, 0], [2, 0], [3, 1]])
    lift = sj.lift_from_edges(MODULE, {"h1": 4, "h2": 2}, {"h1->h2": edges})
    larger, _ = grow(lift, jax.random.key(5), {"h1": 10, "h2": 1002}, random_params(lift, 0))
    own = lifted_edges(larger, "h1->h2")
    degrees = np.bincount(own.targets, minlength=1002)[2:]
    law = scipy.stats.binom(10, 0.2)
    counts = np.bincount(np.minimum(degrees, 5), minlength=6)
    expected = 1000 * np.append(law.pmf(range(5)), law.sf(4))
    assert scipy.stats.chisquare(counts, expected).pvalue > 1e-3
    sources = np.bincount(own.sources[own.targets >= 2], minlength=10)
    assert scipy.stats.chisquare(sources).pvalue > 1e-3
    # Old vertices keep their in-edges, and those alone.
    np.testing.assert_array_equal(larger.edges("h1->h2")[:4], edges)


def test_growth_without_params_draws_them(small):
    sizes = {"h1": 5, "h2": 6}  # those of another test: nothing new to compile
    lift, params = grow(small[0], jax.random.key(0), sizes, zero_outputs=True)
    assert lift.sizes["h1"] == 5 and not np.asarray(params["h2->y"]).any()
    assert np.asarray(params["x->h1"]).all()


def test_shrinking_is_refused(small):
    with pytest.raises(ValueError, match="'h2': the lift has 3 vertices and cannot shrink to 2"):
        grow(small[0], jax.random.key(0), {"h1": 4, "h2": 2}, small[1])
    with pytest.raises(ValueError, match="'h1': 5 vertices do not embed in 3"):
        embed(sj.dense_lift(MODULE, 5), small[0], {})


def test_embedding_along_a_map(small):
    """The old vertices may stand anywhere; what the others hold does not matter."""
    places = {"x": [0], "one": [0], "h1": [4, 0, 2], "h2": [1, 5, 3], "y": [0]}
    places = {name: np.array(at) for name, at in places.items()}
    big = sj.dense_lift(MODULE, 6)
    params = embed(*(small[0], big, small[1]), background=random_params(big, 2), vertex_map=places)
    old, new = values(*small), values(big, params)
    np.testing.assert_allclose(new["y"], old["y"], rtol=1e-13)
    for name in ("h1", "h2"):
        np.testing.assert_allclose(new[name][:, places[name]], old[name], rtol=1e-13)
    # With nothing in the background the new vertices are silent too.
    silent = values(big, embed(small[0], big, small[1], vertex_map=places))
    np.testing.assert_array_equal(np.delete(silent["h2"], places["h2"], axis=1), 0)


def test_what_does_not_embed(small):
    lift, params = small
    edges = lift.edges("h1->h2")
    lacking = sj.lift_from_edges(MODULE, 4, {"h1->h2": edges[1:]})
    with pytest.raises(LiftError, match="'h1->h2': the larger lift lacks 0 -> 0"):
        embed(lift, lacking, params)
    big = sj.dense_lift(MODULE, 4)
    with pytest.raises(ValueError, match="one to one"):
        twice = {n: np.arange(s) for n, s in lift.sizes.items()} | {"h1": np.array([0, 1, 1])}
        embed(lift, big, params, vertex_map=twice)
    with pytest.raises(ValueError, match="different modules"):
        embed(sj.dense_lift(mlp(3, 1, 2), 2), big, params)
    with pytest.raises(ValueError, match="background"):
        embed(lift, big, params, fresh=True)
    with pytest.raises(ValueError, match=r"'h1->h2': expected \(2, 3\) slots and targets"):
        embed(lift, big, params | {"h1->h2": jnp.zeros((3, 3))})
