"""intermediate-supervision: its parity and labels, its verdict on made-up times, a small run."""

import dataclasses

import numpy as np
import pytest

from sparsejax.claims import CLAIMS
from sparsejax.claims.intermediate_supervision import (
    conditions,
    learner_of,
    parity_chain,
    supervision,
)

from .any_claim import assert_settings_are_valid, measured

CLAIM = CLAIMS["intermediate-supervision"]
CONFIG = CLAIM.Config()
BUDGET = {"integrator", "quadrature", "sampling", "floating_point"}


def made_up(config=CONFIG, plain=8000.0, taught=1000.0, controls=8000.0, spread=0.2, **status):
    rng, found = np.random.default_rng(0), {}
    for trial in CLAIM.trials(config):
        condition = trial.parameters["condition"]
        centre = {"none": plain, "shuffled": controls, "wrong": controls}.get(condition, taught)
        time = centre * np.exp(spread * rng.normal())
        steps = np.linspace(0, config.steps, 201)
        found[trial.name] = {
            "time": np.asarray(time if time < config.steps else np.inf),
            "steps": steps,
            "coefficient": np.where(steps < 1.5 * time, np.tanh(steps / time), np.nan),
            "losses": np.ones(201),
            "status": np.asarray(status.get("status", "reached")),
            "parameters": np.asarray(100),
        }
    return found


@pytest.mark.parametrize(
    "made, status",
    [
        ({}, "holds"),
        ({"plain": 1e9}, "holds"),  # never learned: a lower bound decides
        ({"taught": 6000.0}, "violated"),
        ({"taught": 1e9}, "violated"),
        ({"taught": 3500.0, "spread": 0.8}, "inconclusive"),
        ({"status": "diverged"}, "not_applicable"),
    ],
)
def test_judges_what_it_says(made, status):
    found = made_up(**made)
    verdict = CLAIM.judge(CONFIG, found)
    assert verdict.status == status, verdict
    assert set(verdict.error_budget) == BUDGET
    if status == "holds":
        assert verdict.margin > verdict.total_error
    if status == "inconclusive":
        assert "seeds would decide" in verdict.reason
    if made:
        return
    figure = CLAIM.draw(CONFIG, found, verdict)
    assert all(axes.get_xlabel() and axes.get_ylabel() for axes in figure.axes)
    rows = CLAIM.table(CONFIG, found, verdict)
    assert [row["taught"] for row in rows] == list(conditions(CONFIG))


def test_nodes_are_partial_products_and_the_wrong_ones_share_nothing():
    x = np.sign(np.random.default_rng(0).normal(size=(50, CONFIG.dims)))
    labels = np.asarray(supervision(CONFIG, "all").labels(x))
    np.testing.assert_array_equal(labels, np.cumprod(x[:, :5], axis=1)[:, [4, 1, 2, 3]])
    wrong = np.asarray(supervision(CONFIG, "wrong").labels(x))
    np.testing.assert_array_equal(wrong[:, 0], labels[:, 0])
    np.testing.assert_array_equal(wrong[:, 1:], np.cumprod(x[:, 5:10], axis=1)[:, 1:4])
    assert supervision(CONFIG, "p4+p2").nodes == ("p4", "p2")
    assert parity_chain(12, 4, first=3).support == (3, 4, 5, 6)
    for name in ("two-layer", "mlp", "matched"):
        for condition in ("none", "wrong", "all"):
            taught = supervision(CONFIG, condition)
            assert learner_of(CONFIG, name, taught).outputs == taught.outputs


@pytest.mark.parametrize(
    "change, said",
    [
        ({"bits": 2}, "bits: from 3 to 12"),
        ({"dims": 9}, "dims at least twice"),
        ({"learners": ("deep",)}, "'deep' is none of"),
        ({"learners": ()}, "learners: give at least one"),
        ({"taught": "p5"}, "'p5' is no condition"),
        ({"taught": "wrong"}, "each condition once"),
        ({"steps": 30_100}, "steps: a multiple of 200"),
        ({"level": 1.0}, "level: must lie"),
        ({"factor": 0.5}, "factor: must be at least 1"),
        ({"step_size": 0.0}, "step_size: must be positive"),
        ({"seeds": 2}, "give no interval"),
    ],
)
def test_bad_settings_are_refused(change, said):
    with pytest.raises(ValueError, match=said):
        CLAIM.validate(dataclasses.replace(CONFIG, **change))


def test_defaults_control_and_preset_are_valid():
    assert_settings_are_valid(CLAIM)
    assert CLAIM.control(CONFIG).taught == "shuffled"


@pytest.mark.slow
def test_a_parity_of_four_is_learned_sooner_with_its_nodes_and_not_with_others():
    config = CLAIM.Config(
        dims=30, bits=4, width=64, steps=20_000, seeds=12, beside=("shuffled",), factor=1.1
    )
    CLAIM.validate(config)
    found = measured(CLAIM, config)
    verdict = CLAIM.judge(config, found)
    assert verdict.status == "holds", verdict.reason
    assert verdict.summary["low"]["two-layer, all"] > verdict.summary["high"]["two-layer, shuffled"]
    # A seed measures the same in whatever company.
    trial = CLAIM.trials(config)[7]
    np.testing.assert_allclose(
        CLAIM.measure(config, trial)["time"], found[trial.name]["time"], rtol=0.05
    )
