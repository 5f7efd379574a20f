"""dense-lifts: sizes that match, judgement on made-up measurements, and what a small lift gives."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sparsejax as sj
from sparsejax.claims import CLAIMS
from sparsejax.claims.dense_lifts_contrast import contrast, lifts_to_place_difference
from sparsejax.claims.matched_lifts import (
    CONDITIONS,
    MATCHES,
    condition_counts,
    counts,
    dense_size,
    train,
)
from sparsejax.claims.statistics import difference_of_proportions
from sparsejax.dynamics import Stop

CLAIM = CLAIMS["dense-lifts"]
BUDGET = {"integrator", "quadrature", "sampling", "floating_point"}
TINY = CLAIM.Config(
    sizes=(4,), samples=8, in_degree=2, hidden=1, lifts=2, t1=6.0, eps_fraction=0.95
)


def made_up(config, reached, *, status="completed", near=False):
    """Measurements in which so many lifts reach the level, by condition (or one number for all)."""
    found = {}
    for trial in CLAIM.trials(config):
        of = trial.parameters
        many = reached if isinstance(reached, int) else reached[of["condition"], of["size"]]
        does = of["number"] < many
        final = 0.5 - 1e-6 if near else (0.4 if does else 0.6)
        found[trial.name] = {
            "size": of["size"],
            "condition": of["condition"],
            "level": 0.5,
            "zero_loss": 1.0,
            "reached": does,
            "time": 10.0 if does else config.t1,
            "gradients": 50 + of["number"],
            "energy_error": 1e-5,
            "flow_status": status if of["condition"] != "vertices" else "completed",
            "final_loss": final,
            "test_loss": 1.0,
            "test_loss_at_level": 1.1,
        }
    return {n: {k: np.asarray(v) for k, v in values.items()} for n, values in found.items()}


def reaching(config, sparse, dense):
    """Numbers of lifts that reach the level: of sparse ones and of those with equal parameters."""
    return {
        (condition, size): {"sparse": sparse, "parameters": dense}.get(condition, 10)[i]
        if condition in ("sparse", "parameters")
        else 10
        for i, size in enumerate(config.sizes)
        for condition in CONDITIONS
    }


def test_counts_are_those_of_the_lifts_themselves():
    config = CLAIM.Config()
    module = sj.graphs.mlp(8, 2, 1, input_as="coordinates")
    sparse = sj.random_sparse_lift(jax.random.key(0), module, 32, {"h1": 6, "h2": 6}, law="regular")
    assert counts(sparse) == condition_counts(config, "sparse", 32)
    for lift in (sparse, sj.dense_lift(module, 17)):
        found = counts(lift)
        assert found["parameters"] == lift.parameter_count()
        first, second, last = (len(lift.edges(n)) for n in ("x->h1", "h1->h2", "h2->y"))
        # Forward and each weight's derivative; back through all but the inputs' edges.
        assert found["compute"] == 2 * first + 3 * (second + last)
        assert found["vertices"] == lift.sizes["h1"] + lift.sizes["h2"]


@pytest.mark.parametrize("match", MATCHES)
def test_no_other_dense_lift_comes_nearer(match):
    config = CLAIM.Config()
    module = sj.graphs.mlp(8, 2, 1, input_as="coordinates")
    goal = condition_counts(config, "sparse", 48)[match]
    away = [abs(counts(sj.dense_lift(module, m))[match] - goal) for m in range(1, 60)]
    assert dense_size(config, 48, match) == 1 + int(np.argmin(away))
    # A sparse lift with every edge is the dense one.
    whole = dataclasses.replace(config, in_degree=8)
    assert dense_size(whole, 8, match) == 8


def test_a_lift_against_itself_is_not_separated_by_any_number():
    found = contrast((13, 32), (13, 32), tolerance=0.2, confidence=0.95)
    assert (found.answer, found.difference, found.p_value) == ("not separated", 0.0, 1.0)
    assert found.lifts_to_separate == math.inf
    assert found.no_worse is None  # too few to say so to within 0.2
    assert 32 < found.lifts_to_decide < 64
    assert contrast((0, 9), (0, 9), 0.2, 0.95).saturated
    assert not contrast((9, 9), (0, 9), 0.2, 0.95).saturated
    other = contrast((5, 30), (25, 30), 0.2, 0.95)
    assert (other.answer, other.no_worse) == ("worse", False)
    # Nearly all against all: worse beyond doubt, but by less than the tolerance.
    close = contrast((54, 60), (60, 60), 0.3, 0.95)
    assert (close.answer, close.no_worse) == ("worse", True)


@pytest.mark.parametrize("a, b, goal", [(0.6, 0.5, -0.1), (0.2, 0.7, -0.1), (1.0, 1.0, -0.2)])
def test_the_number_of_lifts_that_decides_is_the_least(a, b, goal):
    needed = lifts_to_place_difference(a, b, goal, 0.95)

    def decided(lifts):
        # On whole numbers: ten times as many of each as the fractions ask for.
        low, high = difference_of_proportions(
            round(a * lifts), lifts, round(b * lifts), lifts, 0.95
        )[1:]
        return low >= goal or high < goal

    ceiling, floor = math.ceil(needed / 10) * 10, (needed - 1) // 10 * 10
    assert decided(ceiling) and not (floor and decided(floor))
    assert lifts_to_place_difference(0.5, 0.6, -0.1, 0.95) == math.inf


@pytest.mark.parametrize(
    "sparse, dense, status, decisive",
    [
        ((60, 64), (30, 64), "holds", None),
        ((64, 64), (64, 64), "holds", None),
        ((30, 64), (60, 64), "violated", -30 / 64),
        # Worse at one size is enough, whichever it is.
        ((60, 20), (30, 64), "violated", -44 / 64),
        ((30, 64), (38, 64), "inconclusive", -8 / 64),
        # Worse beyond doubt, but perhaps by less than the tolerance.
        ((40, 64), (60, 64), "inconclusive", -20 / 64),
        # Open at one size, worse at the other.
        ((30, 10), (38, 60), "violated", -50 / 64),
    ],
)
def test_judges_what_it_says(sparse, dense, status, decisive):
    config = CLAIM.Config()
    measurements = made_up(config, reaching(config, sparse, dense))
    verdict = CLAIM.judge(config, measurements)
    assert verdict.status == status, verdict.reason
    assert set(verdict.error_budget) == BUDGET
    if decisive is not None:
        assert verdict.margin == pytest.approx(decisive + config.tolerance)
    # The margin says the same as the status.
    inside = abs(verdict.margin) <= verdict.error_budget["sampling"]
    assert not inside or status == "inconclusive"
    assert verdict.vacuous == (sparse == dense == (64, 64))
    if status == "inconclusive":
        assert "underpowered: about" in verdict.reason
    assert "equal vertices: sparse lifts are" in verdict.reason
    figure, rows = (
        CLAIM.draw(config, measurements, verdict),
        CLAIM.table(config, measurements, verdict),
    )
    assert len(rows) == 8 and len({tuple(row) for row in rows}) == 1
    assert all(axes.get_xlabel() and axes.get_ylabel() for axes in figure.axes)


def test_flows_that_end_at_the_level_or_do_not_end_count_against_a_decision():
    config = CLAIM.Config()
    many = reaching(config, (60, 64), (50, 64))
    assert CLAIM.judge(config, made_up(config, many)).holds
    near = CLAIM.judge(config, made_up(config, many, near=True))
    assert near.status == "inconclusive" and near.error_budget["integrator"] == 2.0
    failed = CLAIM.judge(config, made_up(config, many, status="nan"))
    assert failed.status == "not_applicable" and "did not complete" in failed.reason


def test_lifts_that_never_reach_the_level_come_last_in_every_median():
    # They stop after fewer gradients than those that reach; of 64 lifts, 30 reach.
    config = CLAIM.Config()
    measurements = made_up(config, reaching(config, (30, 40), (30, 40)))
    for values in measurements.values():
        values["gradients"] = np.asarray(100 if values["reached"] else 40)
    medians = CLAIM.judge(config, measurements).summary["conditions"]["sparse"]
    for name, when in (("gradients", 100), ("time", 10.0)):
        assert medians["32"][name] == [math.inf, when, math.inf]
        assert medians["64"][name][:2] == [when, when]


def test_more_sizes_make_each_interval_wider():
    # Together the intervals are to have the level: one size alone decides what two do not.
    two, one = CLAIM.Config(lifts=40), CLAIM.Config(lifts=40, sizes=(32,))
    counted = reaching(two, (20, 40), (19, 40))
    apart = [
        CLAIM.judge(c, made_up(c, counted)).summary["contrasts"]["parameters"]["32"]
        for c in (one, two)
    ]
    assert apart[1]["low"] < apart[0]["low"] < apart[0]["high"] < apart[1]["high"]
    expected = difference_of_proportions(20, 40, 19, 40, 0.975)
    assert (apart[1]["difference"], apart[1]["low"], apart[1]["high"]) == expected


def test_the_control_s_lifts_are_sums_of_functions_of_one_coordinate():
    config = CLAIM.control(CLAIM.Config())
    CLAIM.validate(config)
    (size,) = config.sizes
    had = condition_counts(CLAIM.Config(), "sparse", 64)["parameters"]
    assert condition_counts(config, "sparse", size)["parameters"] >= had
    module = sj.graphs.mlp(8, 2, 1, "tanh", input_as="coordinates")

    degrees = {"h1": config.in_degree, "h2": config.in_degree}
    starved = sj.random_sparse_lift(jax.random.key(1), module, 24, degrees, law="regular")
    reads = [{a for a, b in starved.edges("x->h1").tolist() if b == h} for h in range(24)]
    assert max(map(len, reads)) == 1
    edges = starved.edges("h1->h2").tolist()
    seen = [set().union(*(reads[a] for a, b in edges if b == h)) for h in range(24)]
    # The output is linear in the last layer; the target, a product, is no such sum.
    assert max(map(len, seen)) == 1


@pytest.mark.parametrize(
    "change, message",
    [
        ({"sizes": (32, 32)}, "each once"),
        ({"lifts": 0}, "at least one lift"),
        ({"tolerance": 0.0}, r"tolerance: must lie in \(0, 1\)"),
        ({"t1": -1.0}, "t1: must be positive"),
        ({"in_degree": 64}, "in_degree: 64 is above the 32"),
    ],
)
def test_bad_settings_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        CLAIM.validate(dataclasses.replace(CLAIM.Config(), **change))


def test_batches_hold_each_trial_once_and_one_condition_and_size_each():
    config = CLAIM.Config(lifts=70)
    trials = CLAIM.trials(config)
    batches = CLAIM.batches(config, trials)
    assert [trial for batch in batches for trial in batch] == trials
    kinds = [{(t.parameters["condition"], t.parameters["size"]) for t in b} for b in batches]
    assert all(len(kind) == 1 for kind in kinds) and max(map(len, batches)) == 64


@pytest.mark.slow
def test_what_is_measured_is_a_flow_s():
    # Dense ones compile faster; sparse ones are among the slow tests.
    first, second = train(TINY, "parameters", 4, [0, 1])
    assert first["zero_loss"] == second["zero_loss"] and first["final_loss"] != second["final_loss"]
    for found in (first, second):
        assert found["level"] == TINY.eps_fraction * found["zero_loss"]
        assert found["flow_status"] == "completed" and found["energy_error"] < 1e-2
        assert bool(found["reached"]) == bool(found["final_loss"] <= found["level"])
        assert found["reached"] == (found["time"] < TINY.t1)
        assert found["final_loss"] < found["zero_loss"]
    assert first["reached"] or second["reached"]


@pytest.mark.slow
@pytest.mark.parametrize("condition", CONDITIONS)
def test_an_ensemble_measures_what_single_flows_do(condition):
    config = dataclasses.replace(TINY, rtol=1e-7)
    numbers = [3, 5]
    found = train(config, condition, 4, numbers)
    data = sj.targets.data_by_name(config.data, config.samples, config.seed)
    x, y = jnp.asarray(data.x_train), jnp.asarray(data.y_train)
    module = sj.graphs.mlp(8, 1, 1, "tanh", input_as="coordinates")
    for number, values in zip(numbers, found, strict=True):
        key = jax.random.fold_in(jax.random.key(config.seed), CONDITIONS.index(condition))
        key = jax.random.fold_in(jax.random.fold_in(key, 4), number)
        lift_key, weight_key = jax.random.split(key)
        lift = (
            sj.random_sparse_lift(lift_key, module, 4, {"h1": 2}, law="regular")
            if condition == "sparse"
            else sj.dense_lift(module, dense_size(config, 4, condition))
        )
        params = lift.init(weight_key, gain=1.5, bias_scale=0.5, zero_outputs=True)
        loss = sj.squared_loss(lift.apply, x, y)
        whole = sj.gradient_flow(loss, params, config.t1, rtol=1e-8)
        assert values["final_loss"] == pytest.approx(float(whole.losses[-1]), rel=1e-4)
        until = sj.gradient_flow(
            loss, params, config.t1, rtol=1e-8, stop=Stop(relative_loss=config.eps_fraction)
        )
        assert bool(values["reached"]) == (until.status == "reached_relative_loss")
        assert values["time"] == pytest.approx(float(until.status_time), rel=1e-3)
