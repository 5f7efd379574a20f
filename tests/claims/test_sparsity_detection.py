"""sparsity-detection: its judgement on made-up measurements, and one trial of each sort."""

import dataclasses

import numpy as np
import pytest

from sparsejax.claims import CLAIMS
from sparsejax.claims.sparsity_detection import FUNCTIONS, SparsityDetectionConfig

CLAIM = CLAIMS["sparsity-detection"]
CONFIG = SparsityDetectionConfig(rows=400, draws=16, permutations=12, tables=("penguins",))


def made_up(f1=1.0, rand=1.0, shown=0, spread=0.0):
    """What measuring would give, with these means; `shown` permuted targets show something."""
    measured, left = {}, shown
    for at, trial in enumerate(CLAIM.trials(CONFIG)):
        source, permuted = trial.parameters["source"], trial.parameters["permuted"]
        seen, left = (left > 0, left - 1) if permuted else (True, left)
        move = spread * (-1) ** at
        numbers = {
            "permuted": permuted, "known": source in FUNCTIONS, "columns": 8, "support": int(seen),
            "groups": 1, "f1": min(f1 + move, 1.0), "precision": 1.0, "recall": 1.0,
            "rand_index": min(rand + move, 1.0), "explained": 0.5 * seen,
            "null_level": 0.01, "missing": 0.0,
        }  # fmt: skip
        measured[trial.name] = {name: np.asarray(value) for name, value in numbers.items()} | {
            "source": np.asarray(source), "found": np.asarray("a, b"),
        }  # fmt: skip
    return measured


@pytest.mark.parametrize(
    ("changes", "status"),
    [
        ({}, "holds"),
        ({"f1": 0.9}, "violated"),
        ({"rand": 0.8}, "violated"),
        ({"shown": 20}, "violated"),
        ({"f1": 0.955, "spread": 0.04}, "inconclusive"),
        ({"rand": 0.91}, "inconclusive"),
        ({"shown": 5}, "inconclusive"),
    ],
)
def test_each_part_of_the_statement_can_fail_by_itself(changes, status):
    measurements = made_up(**changes)
    verdict = CLAIM.judge(CONFIG, measurements)
    assert verdict.status == status, verdict.reason
    assert set(verdict.error_budget) == {"integrator", "quadrature", "sampling", "floating_point"}
    if status == "inconclusive":
        assert "would" in verdict.reason or "decide" in verdict.reason
    # Tables that are all found alike say something about the next one, but not everything.
    assert verdict.error_budget["sampling"] > 0.001
    rows = CLAIM.table(CONFIG, measurements, verdict)
    assert len(rows) == len(FUNCTIONS) + 1 and all(row.keys() == rows[0].keys() for row in rows)


def test_the_picture_has_labels():
    measurements = made_up()
    figure = CLAIM.draw(CONFIG, measurements, CLAIM.judge(CONFIG, measurements))
    assert all(axes.get_xlabel() and axes.get_ylabel() for axes in figure.axes)


def test_trials_of_the_rule_and_of_chance():
    trials = {t.name: t for t in CLAIM.trials(CONFIG)}
    config = dataclasses.replace(CONFIG, rows=1200)
    found = CLAIM.measure(config, trials["monk-3-000"])
    assert found["known"] and found["f1"] == 1 and found["missing"] > 0.01
    chance = CLAIM.measure(CLAIM.control(config), trials["monk-3-000"])
    assert chance["support"] == 0 and chance["f1"] == 0 and not chance["permuted"]
    real = CLAIM.measure(CONFIG, trials["penguins"])
    assert not real["known"] and real["explained"] > 0.8
    assert CLAIM.measure(CONFIG, trials["penguins-permuted-000"])["support"] == 0


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("rows", 10),
        ("draws", 1),
        ("permutations", 0),
        ("noise", -0.1),
        ("missing", 1.0),
        ("least_f1", 1.5),
        ("tables", ("penguins", "penguins")),
        ("tables", ("nothing",)),
        ("idle", -1),
    ],
)
def test_bad_settings_are_refused_by_name(field, value):
    with pytest.raises(ValueError, match=field):
        CLAIM.validate(dataclasses.replace(CONFIG, **{field: value}))


@pytest.mark.slow
def test_holds_and_its_control_does_not():
    config = dataclasses.replace(CLAIM.Config(), draws=16, permutations=6)
    for setting, status in ((config, "holds"), (CLAIM.control(config), "violated")):
        measurements = {t.name: CLAIM.measure(setting, t) for t in CLAIM.trials(setting)}
        assert CLAIM.judge(setting, measurements).status == status
