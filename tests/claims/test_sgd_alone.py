"""sgd-alone: groupings against enumeration, purity by hand, verdicts on made-up networks."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sparsejax as sj
from sparsejax.claims import CLAIMS
from sparsejax.claims.constituent_alignment import (
    first_constituents,
    groupings,
    membership,
    purities,
)
from sparsejax.claims.sgd_alone_networks import Look, NoisySample, learner_of, target_of

from .any_claim import assert_settings_are_valid, measured

CLAIM = CLAIMS["sgd-alone"]
CONFIG = CLAIM.Config()
BUDGET = {"integrator", "quadrature", "sampling", "floating_point"}


def made_up(config=CONFIG, support=0.95, pure=0.9, status="completed", missed=0):
    """Shares and purities of networks; the first `missed` seeds find nothing."""
    rng, found = np.random.default_rng(0), {}
    for trial in CLAIM.trials(config):
        given = trial.parameters
        target = target_of(given["target"], config.dims)
        lost = given["penalty"] == "untrained" or given["number"] < missed
        k = len(target.support)
        shares = rng.dirichlet(np.ones(config.dims))
        if not lost:
            shares *= 1 - support
            shares[np.array(target.support) - 1] += support / k
        count = (
            len(groupings(first_constituents(target.dag))) if given["target"] != "staircase" else 1
        )
        purity = 0.55 + 0.02 * rng.normal(size=count)
        if not lost:
            purity[0] = pure
        found[trial.name] = {
            "shares": shares,
            "purities": purity,
            "error": np.asarray(0.1),
            "losses": np.ones(41),
            "steps": np.arange(41),
            "status": np.asarray(status),
        }
    return found


@pytest.mark.parametrize(
    "made, status",
    [
        ({}, "holds"),
        ({"pure": 0.5}, "violated"),
        ({"missed": 14}, "violated"),
        ({"missed": 3}, "inconclusive"),
        ({"status": "diverged"}, "not_applicable"),
    ],
)
def test_judges_what_it_says(made, status):
    found = made_up(**made)
    verdict = CLAIM.judge(CONFIG, found)
    assert verdict.status == status, verdict
    assert set(verdict.error_budget) == BUDGET
    if status == "holds":
        assert verdict.margin >= verdict.total_error - 1e-12
    if status == "inconclusive":
        assert "seeds would decide" in verdict.reason
    if made:
        return
    figure = CLAIM.draw(CONFIG, found, verdict)
    assert all(axes.get_xlabel() and axes.get_ylabel() for axes in figure.axes)
    rows = CLAIM.table(CONFIG, found, verdict)
    assert all(row.keys() == rows[0].keys() for row in rows)
    # Two targets, two learners; untrained, and two penalties on fresh and on few samples.
    assert len(rows) == 2 * 2 * 5


def test_groupings_are_all_of_their_shape():
    pairs = groupings(tuple((2 * k + 1, 2 * k + 2) for k in range(4)))
    assert len(pairs) == len(set(pairs)) == math.factorial(8) // (2**4 * math.factorial(4))
    assert pairs[0] == ((1, 2), (3, 4), (5, 6), (7, 8))
    uneven = groupings(((1, 2, 5), (3, 4)))
    assert len(uneven) == math.comb(5, 2) and uneven[0] == ((1, 2, 5), (3, 4))
    assert first_constituents(target_of("tree8", 12).dag) == pairs[0]
    assert first_constituents(target_of("sums", 12).dag) == ((1, 2), (3, 4))
    assert first_constituents(target_of("staircase", 12).dag) == ()


def test_targets_are_the_formulas_that_they_are_named_by():
    x = np.sign(np.random.default_rng(0).normal(size=(200, 12)))
    true = x > 0
    tree = (true[:, 0] & true[:, 1]) | (true[:, 2] & true[:, 3])
    np.testing.assert_array_equal(target_of("tree", 12)(x)[:, 0] > 0, tree)
    other = (true[:, 4] & true[:, 5]) | (true[:, 6] & true[:, 7])
    np.testing.assert_array_equal(target_of("tree8", 12)(x)[:, 0] > 0, tree & other)


def test_purity_of_random_units_is_that_of_any_grouping():
    """Exchangeable coordinates: no grouping is purer in the mean, and scale of units is nothing."""
    weights = jax.random.normal(jax.random.key(0), (4, 20_000))
    held = jnp.asarray(membership((1, 2, 3, 4), groupings(((1, 2), (3, 4)))))
    found = purities(weights, jnp.ones(20_000), held)
    np.testing.assert_allclose(found, found[0], atol=0.01)
    scaled = purities(weights * jnp.arange(1.0, 20_001)[None], jnp.ones(20_000), held)
    np.testing.assert_allclose(scaled, found, rtol=1e-10)
    # Of two normals against two, the larger share: 1/2 + E|2 B - 1| / 2 with B uniform.
    np.testing.assert_allclose(found[0], 0.75, atol=0.01)


@pytest.mark.slow
def test_what_is_looked_at_is_there():
    """A network built by hand from two units of each constituent: found, and pure."""
    target, dims = target_of("sums", 10), 10
    w = np.zeros((dims, 4))
    # |a + b| = 1 + a b on the cube: relu of the sum and of its negative.
    w[0, :2] = w[1, :2] = (1, -1)
    w[2, 2:] = w[3, 2:] = (1, -1)
    params = {
        "w": jnp.asarray(w),
        "b": jnp.zeros(4),
        "a": jnp.ones((4, 1)),
    }
    learner = sj.learners.two_layer(dims, 4)
    f, _ = learner.build(jax.random.key(0))
    params = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), params)
    found = Look.at(jax.random.key(1), target, learner)(f, params)
    # It is x1x2 + x3x4 + 2: what is off is the constant.
    np.testing.assert_allclose(found["error"], 4 / 2, rtol=1e-5)
    np.testing.assert_allclose(found["purities"], [1, 0.5, 0.5], rtol=1e-5)
    np.testing.assert_allclose(found["shares"][4:], 0, atol=1e-7)
    np.testing.assert_allclose(found["shares"][:4].sum(), 1, rtol=1e-5)


def test_samples_of_the_control_have_the_labels_of_their_neighbours():
    target, key = target_of("tree", 10), jax.random.key(0)
    x, y = NoisySample(target, 0.0, False)(key, 6)
    same, shuffled = NoisySample(target, 0.0, True)(key, 6)
    np.testing.assert_array_equal(x, same)
    np.testing.assert_array_equal(shuffled[1:], y[:-1])
    _, noisy = NoisySample(target, 0.5, False)(key, 2000)
    residual = np.asarray(noisy - NoisySample(target, 0.0, False)(key, 2000)[1])
    assert abs(residual.std() - 0.5) < 0.03
    assert {learner_of(name, 10, 4).dims for name in ("two-layer", "mlp")} == {10}


@pytest.mark.parametrize(
    "change, said",
    [
        ({"targets": ("trees",)}, "targets: give at least one of"),
        ({"learners": ()}, "learners: give at least one of"),
        ({"penalties": ("l1",)}, "none must be among them"),
        ({"samples": (10,)}, "fewer than a batch"),
        ({"samples": ()}, "samples: give at least one"),
        ({"dims": 8}, "dims: at least 10"),
        ({"steps": 41}, "steps: a multiple of 40"),
        ({"seeds": 1}, "seeds: at least two"),
        ({"noise": -1.0}, "noise: must not be negative"),
        ({"delta": 0.0}, "delta: must lie"),
    ],
)
def test_bad_settings_are_refused(change, said):
    with pytest.raises(ValueError, match=said):
        CLAIM.validate(dataclasses.replace(CONFIG, **change))


def test_defaults_control_and_preset_are_valid():
    assert_settings_are_valid(CLAIM)


@pytest.mark.slow
def test_small_networks_are_measured_and_the_control_finds_nothing():
    config = CLAIM.Config(
        dims=10, targets=("tree",), learners=("two-layer",), penalties=("none",), samples=(0,),
        width=32, steps=2000, seeds=4,
    )  # fmt: skip
    for chosen, finds in ((config, True), (CLAIM.control(config), False)):
        found = measured(CLAIM, chosen)
        rows = {row["penalty"]: row for row in CLAIM.cells(chosen, found)}
        assert (rows["none"]["support"][0] == 4) == finds
        assert CLAIM.judge(chosen, found).status != "holds"  # four seeds are too few
