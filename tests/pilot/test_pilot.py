"""Whole pilots on tables whose right answer is known, and that test rows choose nothing."""

import dataclasses
import json

import numpy as np
import pytest

from sparsejax.pilot import Training, pilot, small_first as room
from sparsejax.pilot.figure import picture
from sparsejax.pilot.folds import folds, repeated_rows
from sparsejax.pilot.page import page
from sparsejax.pilot.plain_models import linear_model
from sparsejax.pilot.rows import as_json
from sparsejax.runs.strict_json import dumps
from sparsejax.structure.discover import discover
from sparsejax.targets.table import Column, Table, TableError

QUICK = Training(steps=30, starts=1, tries=((0.01, 0.1),))


def table_of(x, y, task="regression", classes=()):
    columns = tuple(Column(f"c{place}") for place in range(x.shape[1]))
    return Table(columns, x, y, task, "y", classes)


def composed(rows, seed=0):
    """Two products of two columns, among idle ones."""
    x = np.random.default_rng(seed).uniform(-1, 1, size=(rows, 8))
    return x, np.tanh(2 * x[:, 0] * x[:, 2]) + np.tanh(2 * x[:, 4] * x[:, 5])


@pytest.fixture(scope="module")
def twice():
    """A pilot, and one on other targets of rows that only test; each with what it chose."""
    x, y = composed(150)
    parts = folds(table_of(x, y), 2, seed=3)
    key = {tuple(row): place for place, row in enumerate(x)}
    tested = [{key[tuple(row)] for row in fold.test.table.values} for fold in parts]
    bad = y.copy()
    bad[sorted(tested[0] & tested[1])] = 1e3
    assert (bad != y).any()
    found = []
    for goal in (y, bad):
        chosen = []

        def kept(folds, candidates, task, training, seed, chosen=chosen, train=room.train):
            runs = train(folds, candidates, task, training, seed)
            chosen += [own.chosen for row in runs for own in row]
            return runs

        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(room, "train", kept)
            patch.setattr(room, "stability", lambda *_: ((), ()))
            patch.setattr(room, "network_costs", lambda *_: [])
            # Trees have tests of their own.
            patch.setattr(room, "boosting", lambda fold, task, seed: linear_model(fold, task))
            result = pilot(table_of(x, goal), 3, splits=2, training=QUICK, doublings=0)
        found.append((chosen, result))
    return found


def test_test_rows_choose_nothing(twice):
    (clean, one), (dirty, other) = twice
    assert one.groups == other.groups and one.parameters == other.parameters
    assert len(clean) == len(dirty) == 6
    for a, b in zip(clean, dirty, strict=True):
        for name in a.values:
            np.testing.assert_array_equal(a.values[name], b.values[name])
    for name in one.losses:
        assert (other.losses[name] > 100 * one.losses[name]).all()


def test_page_and_json_say_what_was_measured(twice):
    (_, found), _ = twice
    drawn = picture(found)
    text = page(found, drawn, {"file": {"sha256": "abc"}})
    assert drawn.startswith(b"\x89PNG") and "data:image/png;base64" in text
    assert found.decision.verdict in text.lower() and "http" not in text.split("<body>")[1]
    assert found.groups[0][1] <= 2 and "file, sha256" in text
    record = json.loads(dumps(as_json(found)))
    assert record["verdict"] == found.decision.verdict and record["splits"] == 2
    for name, losses in found.losses.items():
        assert record["test"][name]["losses"] == losses.tolist()
        assert record["test"][name]["loss"]["mean"] == pytest.approx(losses.mean())
    low, high = record["test"]["lift"]["parameters"]
    assert 90 <= low <= high <= 110


def test_each_split_is_explored_and_encoded_by_its_training_rows():
    x, y = composed(200)
    x[::7, 1] = np.nan
    for number, fold in enumerate(folds(table_of(x, y), 2, seed=0)):
        again = discover(fold.train.table, number)
        assert fold.structure.groups == again.groups
        np.testing.assert_allclose(fold.train.x.mean(axis=0), 0, atol=1e-12)
        np.testing.assert_allclose(fold.train.y.std(), 1)
        # Where a value is missing the mean of the training rows stands, on test rows too.
        gaps = np.isnan(fold.test.table.values[:, 1])
        np.testing.assert_allclose(fold.test.x[gaps, fold.groups[1][0]], 0, atol=1e-12)


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"splits": 1}, "splits"),
        ({"parameters": 3}, "parameters"),
        # Of 8 inputs, four units of a shallow network.
        ({"parameters": 40, "splits": 2}, "parameters: at least 41"),
        ({"doublings": -1}, "doublings"),
        ({"seed": -1}, "seed: zero or more"),
    ],
)
def test_options_out_of_range_are_refused(options, words):
    x, y = composed(60)
    with pytest.raises(ValueError, match=words):
        pilot(table_of(x, y), **options)


def test_a_target_of_one_value_in_a_training_part_is_refused():
    x, _ = composed(60)
    with pytest.raises(ValueError, match="one value only, 3"):
        folds(table_of(x, np.where(np.arange(60) == 0, 5.0, 3.0)), 8, seed=0)


def test_rows_that_equal_others_are_told_of():
    x, y = composed(60)
    assert repeated_rows(table_of(x, y)) == ""
    x[3, 1] = np.nan  # a gap equals a gap
    twice = table_of(np.concatenate([x, x[:4]]), np.concatenate([y, y[:4]]))
    assert repeated_rows(twice).startswith("repeated rows: 8 of 64")
    # Equal inputs with other targets are no repetition.
    assert repeated_rows(table_of(np.concatenate([x, x]), np.concatenate([y, y + 9.0]))) == ""


def test_too_few_rows_are_refused():
    x, y = composed(30)
    with pytest.raises(ValueError, match="at least 40"):
        pilot(table_of(x, y))
    with pytest.raises(TableError):
        table_of(x[:1], y[:1])
    for wrong in ({"steps": 3}, {"starts": 0}, {"tries": ((0.0, 0.1),)}):
        with pytest.raises(ValueError):
            dataclasses.replace(QUICK, **wrong)


@pytest.mark.slow
def test_a_matched_lift_beats_networks_of_as_many_parameters_on_a_composition():
    x, y = composed(400)
    rng = np.random.default_rng(1)
    found = pilot(table_of(x, y + 0.1 * rng.normal(size=len(y))), splits=6, doublings=1)
    assert found.groups[0][0] == (("c0", "c2"), ("c4", "c5")) and found.groups[0][1] >= 5
    assert found.decision.verdict in ("structure pays", "a small sparse model is enough")
    of = {each.rival: each for each in found.decision.comparisons}
    assert of["shallow"].better and of["linear"].better
    # Trees that may grow while it helps come nearer: six splits do not part them from the lift.
    assert of["boosting"].enough and found.losses["lift"].mean() < found.losses["boosting"].mean()
    assert found.losses["lift"].mean() < 0.8 * found.losses["dense"].mean()
    # All flows and small steps of descent end, and close to each other.
    small = [e for e in found.endings if e.method in ("flow", "gradient descent, 0.05")]
    assert small and all(each.completed == each.runs for each in small)
    assert all(each.distance < 0.2 for each in found.agreements)


@pytest.mark.slow
@pytest.mark.parametrize("task", ["regression", "classification"])
def test_noise_is_never_a_win(task):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(300, 8)), rng.normal(size=300)
    y = (y > 0).astype(float) if task == "classification" else y
    found = pilot(table_of(x, y, task, ("no", "yes") * (task == "classification")), splits=5)
    assert found.decision.verdict == "nothing to learn"
    assert not any(each.better for each in found.decision.comparisons)
    assert "Look for other columns" in found.decision.next_step


@pytest.mark.slow
def test_columns_that_discovery_left_out_are_worth_a_group():
    # Half of what is to be known lies in many weak columns, each below the null.
    rng = np.random.default_rng(0)
    x = rng.normal(size=(400, 30))
    y = x[:, 0] * x[:, 1] + x[:, 2:] @ rng.choice([-1.0, 1.0], 28) / np.sqrt(28)
    found = pilot(table_of(x, y), splits=5, doublings=1)
    best = found.growth.widenings[0]
    assert best.what.startswith("columns that were left out") and best.pays
