"""Ensembles of a PAC claim: a lift is a function of its number, and losses are what they say."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from scipy.integrate import dblquad

import sparsejax as sj
from sparsejax import targets
from sparsejax.claims.discrete_time_pac import DiscreteTimePacConfig, _descents
from sparsejax.claims.pac import (
    ARCHITECTURES,
    Condition,
    Ladder,
    PacData,
    PacSetting,
    check_pac_setting,
    ensemble,
    flow_outcomes,
    rung,
)
from sparsejax.claims.pac.outcome import STOP_AT
from sparsejax.claims.pac.pac_data import parity
from sparsejax.claims.statistics import hitting_time

SETTING = PacSetting(
    mlp_sizes=(8,),
    convnet_sizes=(4,),
    transformer_sizes=(2,),
    mlp_in_degree=3,
    points=64,
    samples=20,
    parity_order=3,
)


@pytest.mark.parametrize(
    "architecture",
    ["mlp", *(pytest.param(name, marks=pytest.mark.slow) for name in ARCHITECTURES[1:])],
)
def test_a_lift_is_a_function_of_its_number_and_starts_at_zero(architecture):
    condition, size = Condition("parity", architecture), SETTING.sizes(architecture)[0]
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


@pytest.mark.slow
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
            assert outcome["training_loss"] == pytest.approx(STOP_AT * 0.5, rel=1e-3)
            expected = hitting_time(outcome["ts"], curve, 0.5)
            assert outcome["hitting_time"] == pytest.approx(expected, rel=2e-3)
        else:
            assert status == "completed" and outcome["hitting_time"] == np.inf
            assert outcome["training_loss"] == pytest.approx(curve[-1], rel=2e-3)
    assert "reached_loss" in statuses
    # Below the level on independent inputs alone: reached at the end, and not never.
    x, y = drawn.loss.x, drawn.loss.targets
    easy = dataclasses.replace(drawn, fresh=((x, 0 * y),) * 2)
    for outcome in flow_outcomes(easy, drawn.params, 0.5, 0.01, 1e-4):
        assert outcome["reached"] and outcome["training_loss"] > 0.5
        assert outcome["hitting_time"] == outcome["end_time"] == 0.01
    # Above it there, where the training loss ended the flow: nobody knows how it would go on.
    hard = dataclasses.replace(drawn, fresh=((x, y + 9),) * 2)
    for outcome in flow_outcomes(hard, drawn.params, 0.5, 30.0, 1e-4):
        assert not outcome["reached"]
        assert bool(outcome["undecided"]) == (outcome["flow_status"] == "reached_loss")


def test_hitting_times_are_interpolated_in_the_logarithm():
    ts, losses = np.array([0.0, 1.0, 2.0, 3.0]), np.exp([0.0, -1.0, -2.0, np.nan])
    assert hitting_time(ts, losses, np.exp(-1.5)) == pytest.approx(1.5)
    assert hitting_time(ts, losses, np.exp(-2.5)) == np.inf
    assert hitting_time(ts, losses, 2.0) == 0.0


def test_what_a_ladder_of_successes_says():
    def ladder(*fractions, best=0.05, lifts=20, comparisons=1):
        rungs = [
            rung(8 * 2**k, [True] * n + [False] * (lifts - n), 0.95, best=best)
            for k, n in enumerate(fractions)
        ]
        return Ladder(tuple(rungs), 0.75, 0.1, comparisons)

    assert ladder(0, 10, 20).learning_number == 32
    assert ladder(0, 20, 19).learning_number == 16
    assert ladder(20, 18, 20).learning_number == 32
    assert ladder(0, 10, 5).status == "violated"
    open_one = ladder(0, 10, 17)
    assert open_one.status == "inconclusive" and "underpowered: about" in open_one.reason
    # 10 of 20 are below 0.75 by themselves (at most 0.73), and not as one of nine (at most 0.80).
    assert ladder(10).status == "violated"
    one_of_nine = ladder(10, comparisons=9)
    assert one_of_nine.status == "inconclusive"
    assert "not so for all 9 conditions at once" in one_of_nine.reason
    assert ladder(20, comparisons=9).status == "holds"
    unwitnessed = ladder(0, 0, 0, best=0.2)
    assert unwitnessed.status == "not_applicable" and unwitnessed.approximation_number is None


def test_what_the_numerics_left_open_is_neither_success_nor_failure():
    reached = np.arange(20) < 4
    alone = rung(8, reached, 0.95)
    assert alone.status(0.75) == "violated"
    undecided, broken = (np.arange(20) // 4 == k for k in (1, 2))
    left_open = rung(8, reached, 0.95, undecided=undecided, broken=broken)
    assert left_open.status(0.75) == "inconclusive" and left_open.low == alone.low
    assert left_open.high == rung(8, np.arange(20) < 12, 0.95).high
    ladder = Ladder((dataclasses.replace(left_open, best=0.05),), 0.75, 0.1)
    assert "4 undecided and 4 broken off" in ladder.reason and "these alone" in ladder.reason


@pytest.mark.parametrize("goal", [0.5, 0.75, 0.9])
@pytest.mark.parametrize("sequential", [False, True])
def test_margins_exceed_their_budgets_exactly_where_a_verdict_is_decided(goal, sequential):
    for successes in range(0, 31, 2):
        for comparisons, open_ones in ((1, 0), (5, 0), (5, 3)):
            step = rung(
                8,
                np.arange(30) < successes,
                0.95,
                undecided=(np.arange(30) >= successes) & (np.arange(30) < successes + open_ones),
                sequential=sequential,
            )
            budget = sum(step.budget(goal, comparisons).values())
            decided = step.status(goal, comparisons) != "inconclusive"
            assert decided == (abs(step.margin(goal)) > budget)


@pytest.mark.slow
def test_weights_of_nodes_are_honoured_in_flows_and_in_descents():
    class Cubed(PacSetting):
        def data(self, target):
            rule = targets.uniform_cubature(3, 27)
            y = parity(rule.nodes)
            return PacData(rule.nodes, y, rule.weights, ((rule.nodes, y),) * 2, True)

    setting = Cubed(mlp_in_degree=3)
    drawn = ensemble(setting, Condition("parity", "mlp"), 8, range(3))
    lift, params = drawn.of(1)
    loss = sj.squared_loss(lift.apply, drawn.loss.x, drawn.loss.targets, drawn.loss.weights)
    assert drawn.zero_loss == pytest.approx(1 / 27, rel=1e-12)  # E (u v w)^2
    assert np.allclose(drawn.losses(drawn.params), 1 / 27)
    outcome = flow_outcomes(drawn, drawn.params, 0.2, 20.0, 1e-5)[1]
    single = sj.gradient_flow(loss, params, 20.0, saveat=outcome["ts"], rtol=1e-5)
    assert outcome["training_loss"] == pytest.approx(float(single.losses[-1]), rel=1e-3)
    # Descents of a weighted loss; fresh samples, of as many points, have equal weights.
    config = DiscreteTimePacConfig(t1=1.0)
    whole, _ = _descents(config, Condition("parity", "mlp"), drawn, 0, 0.02)
    run = sj.gradient_descent(loss, params, optax.sgd(0.02), 100, save_every=20)
    assert whole[1, 0] == pytest.approx(float(run.losses[1:].mean()), rel=1e-10)
    sampled, _ = _descents(config, Condition("parity", "mlp"), drawn, 27, 0.02)
    assert np.isfinite(sampled).all()


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
        ({"seed": -1}, "seed: must not be negative"),
        ({"bias_scale": -1.0}, "bias_scale: must not be negative"),
    ],
)
def test_bad_settings_are_refused_before_any_compute(change, said):
    with pytest.raises(ValueError, match=said):
        check_pac_setting(dataclasses.replace(SETTING, **change))
