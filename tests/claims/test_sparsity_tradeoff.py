"""sparsity-tradeoff: its counts and times against closed forms, its verdict on made-up losses."""

import dataclasses

import equinox as eqx
import jax
import numpy as np
import pytest

import sparsejax as sj
from sparsejax.claims import CLAIMS
from sparsejax.claims.inference_cost import bytes_held, inference_costs, products
from sparsejax.claims.loss_comparison import times_to_level
from sparsejax.claims.sparsity_tradeoff import _inference, latency_ratios

from .any_claim import assert_settings_are_valid

BUDGET = {"integrator", "quadrature", "sampling", "floating_point"}
CLAIM = CLAIMS["sparsity-tradeoff"]
CONFIG = CLAIM.Config(in_degrees=(2, 4), inference_parameters=(600,))
SMALL = CLAIM.Config(
    samples=30,
    hidden=1,
    parameters=60,
    in_degrees=(2,),
    lifts=2,
    t1=20.0,
    inference_parameters=(60,),
    rounds=3,
)


def made_up(ratios=(0.5, 0.9), spread=0.05, lifts=12, left=0.2, off=0.0, completed=True):
    """Losses that are exact exponentials; test losses of known ratio to the dense ones'."""
    rng, found = np.random.default_rng(0), {}
    ts = np.linspace(0, 600, 41)
    for degree, ratio in ((2, ratios[0]), (4, ratios[1]), (0, 1.0)):
        rate = np.log(1 / 0.3) / (310 if degree else 900) * np.ones((lifts, 1))
        found[f"degree{degree:04d}-lifts0000"] = {
            "in_degree": np.full(lifts, degree),
            "size": np.full(lifts, 20),
            "parameters": np.full(lifts, 600),
            "ts": ts * np.ones((lifts, 1)),
            "losses": 0.05 * np.exp(-rate * ts),
            # The same deviations at all in-degrees: ratios are exact.
            "test_loss": 0.05 * left * ratio * np.exp(spread * deviations(rng, lifts)),
            "coarse_test_loss": 0.05 * left * (ratio + (off if degree else 0)) * np.ones(lifts),
            "energy_error": np.zeros(lifts),
            "completed": np.full(lifts, completed),
        }
    found["inference00000600"] = {
        "seconds": np.array([4.0, 2.0, 1.0])[:, None, None] * np.ones((3, 2, 5)),
        "temporaries": np.full((3, 2), 1000),
        "products": np.array([400, 450, 500]),
        "parameter_bytes": np.array([2000, 2000, 2000]),
        "wiring_bytes": np.array([500, 500, 0]),
        "sizes": np.array([86, 54, 20]),
    }
    return found


def deviations(rng, lifts):
    values = rng.normal(size=lifts)
    return values - values.mean()


@pytest.mark.parametrize(
    "made, status",
    [
        ({}, "holds"),
        ({"ratios": (3.0, 1.02)}, "holds"),  # one in-degree is enough, within the tolerance
        ({"ratios": (3.0, 1.5)}, "violated"),
        ({"ratios": (3.0, 1.08), "spread": 0.5}, "inconclusive"),
        ({"ratios": (3.0, 1.3), "spread": 0.5}, "inconclusive"),
        ({"ratios": (3.0, 1.02), "spread": 0.001, "off": 0.2}, "inconclusive"),  # the flows' error
        ({"left": 0.9}, "not_applicable"),
        ({"completed": False}, "not_applicable"),
    ],
)
def test_judges_what_it_says(made, status):
    verdict = CLAIM.judge(CONFIG, made_up(**made))
    assert verdict.status == status, verdict
    assert set(verdict.error_budget) == BUDGET
    if status == "holds":
        assert verdict.margin > verdict.total_error
        assert "times the latency" in verdict.reason
    if status == "violated":
        assert -verdict.margin > verdict.total_error
    for degree, ratio in zip((2, 4), made.get("ratios", (0.5, 0.9)), strict=True):
        np.testing.assert_allclose(
            verdict.summary["test_loss_ratio"][str(degree)],
            ratio,
            rtol=0.35 * made.get("spread", 0.05) + 1e-9,
        )


def test_says_how_many_lifts_would_decide():
    verdict = CLAIM.judge(CONFIG, made_up(ratios=(3.0, 1.0), spread=0.2, lifts=6))
    assert verdict.status == "inconclusive" and "lifts of each would decide" in verdict.reason
    needed = int(verdict.reason.split("about ")[1].split(" lifts")[0])
    assert 6 < needed < 200
    enough = made_up(ratios=(3.0, 1.0), spread=0.2, lifts=2 * needed)
    assert CLAIM.judge(CONFIG, enough).status == "holds"


def test_times_are_exact_on_exponentials_and_censored_ones_say_so():
    found = made_up()
    times, reached = times_to_level(found["degree0002-lifts0000"], 0.3)
    assert reached.all()
    np.testing.assert_allclose(times, 310)
    times, reached = times_to_level(found["degree0000-lifts0000"], 0.3)
    assert not reached.any() and (times == 600).all()
    rows = CLAIM.rows(CONFIG, found)
    assert rows[0]["time"].median == pytest.approx(310)
    assert rows[-1]["time"].median == np.inf and rows[-1]["time"].low == 600


def test_figure_and_table():
    found = made_up()
    verdict = CLAIM.judge(CONFIG, found)
    figure = CLAIM.draw(CONFIG, found, verdict)
    assert all(axes.get_xlabel() and axes.get_ylabel() for axes in figure.axes)
    rows = CLAIM.table(CONFIG, found, verdict)
    assert [row["in-degree"] for row in rows] == ["2", "4", "dense"]
    assert rows[0]["latency, batch 1"].startswith("4 ") and rows[0]["reached"] == "12/12"
    assert latency_ratios(found, 600).shape == (2, 2, 5)


def test_products_and_bytes_are_those_counted_by_hand():
    module = sj.graphs.mlp(8, 2, 1, "tanh", input_as="coordinates")
    lift = sj.random_sparse_lift(jax.random.key(0), module, 54, 4, law="regular")
    params = lift.init(jax.random.key(1))
    assert products(lift) == 4 * 54 + 4 * 54 + 54
    assert products(sj.dense_lift(module, 20)) == 8 * 20 + 20 * 20 + 20
    held = bytes_held(lift, params)
    assert held["parameters"] == lift.parameter_count() * 8
    # One index of 4 bytes an edge of either sparse layer.
    assert held["wiring"] == 4 * (4 * 54 + 4 * 54)
    assert bytes_held(sj.dense_lift(module, 20), {})["wiring"] == 0


@pytest.mark.slow
def test_costs_are_measured_of_every_candidate():
    config = dataclasses.replace(SMALL, rounds=2)
    found = _inference(config, 8, 60)
    assert found["seconds"].shape == (2, 2, 2) and (found["seconds"] > 0).all()
    assert found["temporaries"].shape == (2, 2) and (found["temporaries"] >= -1).all()
    assert (found["products"] < found["parameter_bytes"] / 8).all()


@pytest.mark.parametrize(
    "change, said",
    [
        ({"in_degrees": ()}, "in_degrees: give at least one"),
        ({"in_degrees": (2, 2)}, "in_degrees: give at least one, each once"),
        ({"in_degrees": (0,)}, "in_degrees: must be positive"),
        ({"in_degrees": (200,)}, "in_degrees: 200 leaves 600 parameters a size of"),
        ({"lifts": 1}, "lifts: at least two"),
        ({"rounds": 0}, "rounds: must be positive"),
        ({"level": 1.0}, "level: must lie"),
        ({"tolerance": 0.0}, "tolerance: must be positive"),
        ({"parameters": 5}, "parameters: 5 are fewer"),
        ({"data": "nonsense"}, "unknown data set 'nonsense'"),
    ],
)
def test_bad_settings_are_refused(change, said):
    with pytest.raises(ValueError, match=said):
        CLAIM.validate(dataclasses.replace(CONFIG, **change))


def test_defaults_control_and_preset_are_valid():
    assert_settings_are_valid(CLAIM, SMALL)
    assert CLAIM.control(CLAIM.Config()).in_degrees == (1,)


@pytest.mark.slow
def test_small_lifts_are_measured():
    found = {trial.name: CLAIM.measure(SMALL, trial) for trial in CLAIM.trials(SMALL)}
    verdict = CLAIM.judge(SMALL, found)
    assert verdict.status in ("not_applicable", "inconclusive", "violated", "holds")
    values = found["degree0002-lifts0000"]
    assert values["completed"].all() and (values["losses"][:, -1] < values["losses"][:, 0]).all()
    # Sparse lifts and dense ones have as many parameters, nearly.
    assert abs(values["parameters"][0] / found["degree0000-lifts0000"]["parameters"][0] - 1) < 0.2
    assert isinstance(CLAIM.table(SMALL, found, verdict), list)


@pytest.mark.slow
def test_an_additive_network_misses_a_product():
    """The control's reason: of two coordinates' product, sums of their functions have no part."""
    module = sj.graphs.mlp(2, 2, 1, "tanh", input_as="coordinates")
    lift = sj.random_sparse_lift(jax.random.key(0), module, 16, 1, law="regular")
    f = eqx.filter_jit(lift.apply)
    params = lift.init(jax.random.key(1))
    a, b = 0.7, -0.4
    corners = np.array([[a, a], [a, b], [b, a], [b, b]])
    y = np.asarray(f(params, corners))[:, 0]
    np.testing.assert_allclose(y[0] - y[1] - y[2] + y[3], 0, atol=1e-12)


def test_costs_take_turns():
    module = sj.graphs.mlp(3, 1, 1)
    lift = sj.dense_lift(module, 4)
    params = lift.init(jax.random.key(0))
    found = inference_costs({"a": (lift, params), "b": (lift, params)}, (1,), 3, rounds=4)
    assert found["seconds"].shape == (2, 1, 4)
    assert found["temporaries"][0, 0] == found["temporaries"][1, 0]
