"""Ensembles of a PAC claim: a lift is a function of its number, and losses are what they say."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import dblquad

import sparsejax as sj
from sparsejax.claims.pac import (
    ARCHITECTURES,
    Condition,
    Ladder,
    PacSetting,
    check_pac_setting,
    ensemble,
    flow_outcomes,
    rung,
)
from sparsejax.claims.pac.outcome import hitting_time

SETTING = PacSetting(points=64, samples=20, mlp_in_degree=3)
LADDERS = {"mlp": (8,), "convnet": (4,), "transformer": (2,)}


@pytest.mark.parametrize("architecture", ARCHITECTURES)
def test_a_lift_is_a_function_of_its_number_and_starts_at_zero(architecture):
    condition, size = Condition("parity", architecture), LADDERS[architecture][0]
    three = ensemble(SETTING, condition, size, [4, 7, 5])
    one = ensemble(SETTING, condition, size, [7])
    lift, params = three.of(1)
    alone, alike = one.of(0)
    assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), params, alike))
    assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), lift, alone))
    assert not jax.tree.all(jax.tree.map(lambda a: bool((a[0] == a[1]).all()), three.params))
    assert np.allclose(three.losses(three.params), three.zero_loss, rtol=1e-14)
    assert three.zero_loss == 1.0 and not three.fresh
    other = three.with_random_readouts(SETTING, jax.random.key(1))
    assert (three.losses(other) != three.zero_loss).all()
    again = one.with_random_readouts(SETTING, jax.random.key(1))
    assert np.allclose(three.losses(other)[1], one.losses(again)[0], rtol=1e-12)


def test_the_parity_is_trained_on_all_of_the_cube_and_the_tree_judged_by_independent_rules():
    parity = ensemble(SETTING, Condition("parity", "mlp"), 8, [0])
    assert parity.loss.x.shape == (256, 8) and len(jnp.unique(parity.loss.x, axis=0)) == 256
    tree = ensemble(SETTING, Condition("tree", "mlp"), 8, [0])
    zero = np.asarray(tree.fresh_losses(tree.params))[0]
    # E tanh(2 u v)^2, squared, by adaptive quadrature (scipy.integrate.dblquad).
    square = dblquad(lambda u, v: np.tanh(2 * u * v) ** 2, 0, 1, 0, 1)[0]
    error = zero.std(ddof=1) / len(zero) ** 0.5
    assert error < 0.01 * square**2
    assert abs(zero.mean() - square**2) < 4 * error
    assert tree.population and len(zero) == 8


def test_flows_end_below_the_level_and_tell_successes_from_failures():
    drawn = ensemble(SETTING, Condition("parity", "mlp"), 12, range(4))
    outcomes = flow_outcomes(drawn, drawn.params, 0.5, 30.0, 1e-4)
    statuses = [str(o["flow_status"]) for o in outcomes]
    for lift, (outcome, status) in enumerate(zip(outcomes, statuses, strict=True)):
        assert bool(outcome["reached"]) == (status == "reached_loss")
        network, params = drawn.of(lift)
        single = sj.gradient_flow(
            sj.squared_loss(network.apply, drawn.loss.x, drawn.loss.targets),
            params,
            30.0,
            saveat=outcome["ts"],
            rtol=1e-4,
        )
        curve = np.asarray(single.losses)
        if status == "reached_loss":
            assert outcome["training_loss"] == pytest.approx(0.4, rel=1e-3)
            expected = hitting_time(outcome["ts"], curve, 0.5)
            assert outcome["hitting_time"] == pytest.approx(expected, rel=2e-3)
        else:
            assert status == "completed" and outcome["hitting_time"] == np.inf
            assert outcome["training_loss"] == pytest.approx(curve[-1], rel=2e-3)
    assert "reached_loss" in statuses


def test_hitting_times_are_interpolated_in_the_logarithm():
    ts, losses = np.array([0.0, 1.0, 2.0, 3.0]), np.exp([0.0, -1.0, -2.0, np.nan])
    assert hitting_time(ts, losses, np.exp(-1.5)) == pytest.approx(1.5)
    assert hitting_time(ts, losses, np.exp(-2.5)) == np.inf
    assert hitting_time(ts, losses, 2.0) == 0.0


def test_what_a_ladder_of_successes_says():
    def ladder(*fractions, best=0.05, lifts=20):
        rungs = [
            rung(8 * 2**k, [True] * n + [False] * (lifts - n), 0.95, best=best)
            for k, n in enumerate(fractions)
        ]
        return Ladder(tuple(rungs), 0.75, 0.1, 0.95)

    assert ladder(0, 10, 20).learning_number == 32
    assert ladder(0, 20, 19).learning_number == 16
    assert ladder(20, 18, 20).learning_number == 32
    assert ladder(0, 10, 5).status == "violated"
    open_one = ladder(0, 10, 17)
    assert open_one.status == "inconclusive" and "underpowered: about" in open_one.reason
    unwitnessed = ladder(0, 0, 0, best=0.2)
    assert unwitnessed.status == "not_applicable" and unwitnessed.approximation_number is None


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"targets": ()}, "targets: name at least one"),
        ({"architectures": ("mlp", "mlp")}, "architectures: name at least one, and none twice"),
        ({"mlp_in_degree": 9}, "mlp_in_degree: 9 of the predecessors in a layer of size 8"),
        ({"samples": 0}, "samples: must be positive"),
        ({"samples": 5000}, "digits has 1348 training samples"),
        ({"tree_dims": 3}, "tree_dims: 4 to 12"),
        ({"points": 4}, "points: 4 are too few"),
        ({"bias_scale": -1.0}, "bias_scale: must not be negative"),
    ],
)
def test_bad_settings_are_refused_before_any_compute(change, said):
    with pytest.raises(ValueError, match=said):
        check_pac_setting(dataclasses.replace(SETTING, **change), LADDERS)
