"""Approximate copies of weighted in-trees: distances by brute force, probabilities by sampling."""

import itertools
import math

import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

import sparsejax as sj
from sparsejax.graphs import mlp
from sparsejax.lifts import (
    LiftLaw,
    WitnessTree,
    witness_distances,
    witness_probability,
    witness_tree,
)

MODULE = mlp(inputs=3, hidden=2, outputs=1, input_as="coordinates")


def random_lift(sizes, seed, most):
    """A few predecessors each, and standard normal weights."""
    rng = np.random.default_rng(seed)
    counts = {"x": 3, "one": 1, "y": 1} | sizes
    edges = {}
    for edge, high in (("x->h1", 2), ("h1->h2", most)):
        source, target = edge.split("->")
        edges[edge] = np.array(
            [
                (u, v)
                for v in range(counts[target])
                for u in rng.choice(counts[source], int(rng.integers(1, high + 1)), False)
            ]
        )
    lift = sj.lift_from_edges(MODULE, sizes, edges)
    params = {
        e.name: np.asarray(
            rng.normal(
                size=(lift.wirings[e.name].slots, lift.sizes[e.target], *MODULE.weight_shape(e))
            )
        )
        for e in MODULE.edges
    }
    return lift, {name: jnp.asarray(w) for name, w in params.items()}


def in_edges(lift, params, name, number):
    """`{base edge: [(source, weight)]}` read from the wiring's own arrays."""
    found = {}
    for edge in lift.module.in_edges(name):
        wiring = lift.wirings[edge.name]
        weights = np.asarray(params[edge.name])
        pairs = [int(u) for u, v in lift.edges(edge.name) if v == number]
        found[edge.name] = []
        for u in pairs:
            slot = u
            if isinstance(wiring, sj.lifts.SparseWiring):
                column = np.asarray(wiring.predecessors)[:, number]
                present = np.asarray(wiring.present)[:, number]
                (slot,) = np.flatnonzero((column == u) & present)
            found[edge.name].append((u, weights[slot, number]))
    return found


def distance(ours, theirs, name, u, v):
    """The definition, with every matching tried: from cone `u` of one lift to `v` of the other."""
    worst = 0.0
    here, there = in_edges(*ours, name, u), in_edges(*theirs, name, v)
    for edge, mine in here.items():
        yours, source = there[edge], edge.split("->")[0]
        if len(mine) != len(yours):
            return math.inf
        shared = source in ("x", "one")
        best = math.inf
        for order in itertools.permutations(yours):
            costs = [0.0]
            for (a, w), (b, z) in zip(mine, order, strict=True):
                same = 0.0 if a == b else math.inf
                apart = same if shared else distance(ours, theirs, source, a, b)
                costs.append(max(float(np.max(np.abs(w - z))), apart))
            best = min(best, max(costs))
        worst = max(worst, best)
    return worst


def test_distances_by_the_definition():
    ours, theirs = random_lift({"h1": 12, "h2": 9}, 0, 2), random_lift({"h1": 4, "h2": 4}, 1, 2)
    finite = 0
    for name in ("h1", "h2"):
        for v in range(4):
            tree = witness_tree(*theirs, (name, v))
            found = witness_distances(*ours, name, tree)
            expected = [distance(ours, theirs, name, u, v) for u in range(ours[0].sizes[name])]
            np.testing.assert_allclose(found, expected, rtol=1e-13)
            finite += np.isfinite(found).sum()
    assert finite >= 5


def test_a_cone_is_its_own_copy_under_any_order():
    lift, params = random_lift({"h1": 6, "h2": 5}, 0, 4)
    for v in range(5):
        tree = witness_tree(lift, params, ("h2", v))
        assert witness_distances(lift, params, "h2", tree)[v] == 0
        backwards = WitnessTree({e: branches[::-1] for e, branches in tree.branches.items()})
        assert witness_distances(lift, params, "h2", backwards)[v] == 0
        assert tree.shape == sj.lifts.in_tree_of(lift, ("h2", v), 1)


def test_more_than_the_shape_must_fit():
    lift, params = random_lift({"h1": 6, "h2": 5}, 0, 4)
    tree = witness_tree(lift, params, ("h1", 0))
    assert witness_distances(lift, params, "h1", tree)[0] == 0
    (first, *_), bias = tree.branches["x->h1"], tree.branches["one->h1"]
    elsewhere = first._replace(source=(first.source + 1) % 3)
    moved = WitnessTree({"x->h1": (elsewhere,), "one->h1": bias})
    assert not np.isclose(witness_distances(lift, params, "h1", moved)[0], 0)
    with pytest.raises(ValueError, match="the witness has in-edges x->h1; vertex 'h1' has"):
        witness_distances(lift, params, "h1", WitnessTree({"x->h1": (first,)}))
    with pytest.raises(ValueError, match="'h1' has 6 lifted vertices, no 6"):
        witness_tree(lift, params, ("h1", 6))


def witness():
    """A vertex above h2 with two children far apart, one reading x1 and one reading x2 and x3."""
    edges = {"x->h1": np.array([[0, 0], [1, 1], [2, 1]]), "h1->h2": np.array([[0, 0], [1, 0]])}
    lift = sj.lift_from_edges(MODULE, {"h1": 2, "h2": 1}, edges)
    params = zeros(lift)
    params["x->h1"] = jnp.asarray([[0.5, -0.3], [0.0, 0.7]])
    params["h1->h2"] = jnp.asarray([[1.0], [-0.4]])
    return witness_tree(lift, params, ("h2", 0))


def zeros(lift):
    return {
        e.name: jnp.zeros(
            (
                lift.wirings[e.name].slots,
                lift.sizes[e.target],
                *lift.module.weight_shape(e),
            )
        )
        for e in lift.module.edges
    }


def test_probability_against_sampling():
    """Both laws' copies are counted among independent cones, drawn in NumPy from the definition."""
    rng, tree, eta, count = np.random.default_rng(3), witness(), 2.0, 200_000
    law = LiftLaw(MODULE, 40, {"h1": 1.5, "h2": 2})
    value, kind = witness_probability(law, "h2", tree, eta, gain=2.0, bias_scale=0.7)
    assert kind == "exact"

    def child(size):
        """Which x are read, the weights, and the bias."""
        reads = rng.random((size, 3)) < 1.5 / 3
        return reads, rng.normal(size=(size, 3)) * 2 / np.sqrt(1.5), 0.7 * rng.normal(size=size)

    def near(reads, weights, bias, wanted):
        place = [u in wanted for u in range(3)]
        target = np.array([wanted.get(u, 0.0) for u in range(3)])
        close = (np.abs(weights - target) <= eta) | ~np.array(place)
        return (reads == place).all(1) & close.all(1) & (np.abs(bias) <= eta)

    exactly_two = rng.binomial(40, 2 / 40, count) == 2
    readers = np.abs(0.7 * rng.normal(size=count)) <= eta
    edges = rng.normal(size=(count, 2)) * 2 / np.sqrt(2)
    kids = [child(count), child(count)]
    wanted = [({0: 0.5}, 1.0), ({1: -0.3, 2: 0.7}, -0.4)]
    found = np.zeros(count, bool)
    for order in ((0, 1), (1, 0)):
        fits = exactly_two & readers
        for kid, place in enumerate(order):
            cone, weight = wanted[place]
            fits = fits & near(*kids[kid], cone) & (np.abs(edges[:, kid] - weight) <= eta)
        found |= fits
    low, high = scipy.stats.binom.interval(1 - 1e-4, count, value)
    assert low > 50 and low <= found.sum() <= high


def test_probability_is_a_bound_where_children_overlap():
    tree = witness()
    law = LiftLaw(MODULE, 40, {"h1": 2, "h2": 2}, "regular")
    alike = WitnessTree(tree.branches | {"h1->h2": tree.branches["h1->h2"][1:] * 2})
    assert witness_probability(law, "h2", alike, 0.5).kind == "upper_bound"
    assert witness_probability(law, "h2", tree, 0.5) == (0.0, "exact")  # a child reads one x alone
    certain = witness_probability(law, "h2", alike, 1e9).value
    assert math.isclose(certain, 2 * (1 / 3) ** 2)
    uniform = witness_probability(law, "h2", alike, 0.5, weight_law="uniform").value
    user = witness_probability(
        law, "h2", alike, 0.5, weight_law=scipy.stats.uniform(-math.sqrt(3), 2 * math.sqrt(3)).cdf
    ).value
    assert math.isclose(uniform, user, rel_tol=1e-12) and uniform > 0
    with pytest.raises(ValueError, match="unknown weight law 'cauchy'"):
        witness_probability(law, "h2", tree, 0.5, weight_law="cauchy")


def test_too_many_children_to_match():
    lift = sj.dense_lift(mlp(1, 2, 1), 13)
    tree = witness_tree(lift, zeros(lift), ("h2", 0))
    with pytest.raises(ValueError, match="13 children cannot be matched; at most 12"):
        witness_distances(lift, zeros(lift), "h2", tree)
