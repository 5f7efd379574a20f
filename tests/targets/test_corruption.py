"""Layers of corruption do what they say in the mean, leave all else alone, and can be repeated."""

import json

import numpy as np
import pytest

from sparsejax.targets import (
    ClassImbalance,
    Column,
    DuplicatedInputs,
    InputNoise,
    IrrelevantInputs,
    LabelNoise,
    MissingAtRandom,
    MissingCompletelyAtRandom,
    MissingNotAtRandom,
    Table,
    TableError,
    corrupt,
)

ROWS = 20_000
RNG = np.random.default_rng(1)
VALUES = np.concatenate([RNG.normal(size=(ROWS, 2)), RNG.integers(0, 3, (ROWS, 1))], axis=1)
COLUMNS = (Column("a"), Column("b"), Column("c", "category", ("x", "y", "z")))
CLASSES = Table(
    COLUMNS,
    VALUES,
    (VALUES[:, 0] > 0).astype(float) + (VALUES[:, 1] > 1),
    "classification",
    classes=("p", "q", "r"),
)
NUMBERS = Table(COLUMNS, VALUES, 3 * VALUES[:, 0])
# Five standard deviations of a fraction of so many rows.
NEAR = 5 * 0.5 / np.sqrt(ROWS)


def test_label_noise():
    wrong = corrupt(CLASSES, [LabelNoise(0.3)], 0)
    changed = wrong.target != CLASSES.target
    assert abs(changed.mean() - 0.3) < NEAR
    for label in range(3):
        own = wrong.target[changed & (CLASSES.target == label)]
        counts = np.array([(own == other).mean() for other in range(3)])
        assert counts[label] == 0
        assert np.abs(np.delete(counts, label) - 0.5).max() < 5 * 0.5 / np.sqrt(len(own))
    noise = corrupt(NUMBERS, [LabelNoise(0.1)], 0).target - NUMBERS.target
    assert abs(noise.std() / NUMBERS.target.std() - 0.1) < 0.003
    np.testing.assert_array_equal(wrong.values, CLASSES.values)


def test_input_noise():
    noisy = corrupt(NUMBERS, [InputNoise(0.2)], 0)
    spread = (noisy.values - VALUES)[:, :2].std(axis=0) / VALUES[:, :2].std(axis=0)
    np.testing.assert_allclose(spread, 0.2, rtol=0.03)
    assert abs((noisy.values[:, 2] != VALUES[:, 2]).mean() - 0.2) < NEAR
    assert set(noisy.values[:, 2]) == {0.0, 1.0, 2.0}


@pytest.mark.parametrize("fraction", [0.1, 0.7])
def test_what_missing_values_depend_on(fraction):
    """By the mean of `a` where `b` is missing, and of `b`: exact under a linear law of ranks."""
    layers = {
        "completely": MissingCompletelyAtRandom(fraction),
        "at": MissingAtRandom(fraction),
        "not": MissingNotAtRandom(fraction, ("b",)),
    }
    ranks = (np.argsort(np.argsort(VALUES[:, :2], axis=0), axis=0) + 0.5) / ROWS
    # E[rank | missing] - 1/2, where the probability is fraction + slope (rank - 1/2).
    shift = 2 * min(fraction, 1 - fraction) / 12 / fraction
    for name, layer in layers.items():
        table = corrupt(NUMBERS, [layer], 3)
        lost = table.missing[:, 1]
        assert abs(lost.mean() - fraction) < NEAR
        near = 5 * np.sqrt(1 / 12 / lost.sum())
        by_a, by_b = ranks[lost].mean(axis=0) - 0.5
        assert abs(by_a - shift * (name == "at")) < near
        assert abs(by_b - shift * (name == "not")) < near
        kept = ~table.missing
        np.testing.assert_array_equal(table.values[kept], VALUES[kept])
        if name == "at":
            assert not table.missing[:, 0].any()
        if name == "not":
            assert not table.missing[:, [0, 2]].any()


def test_imbalance_removes_rows_of_one_class_alone():
    table = corrupt(CLASSES, [ClassImbalance(0.05, "q")], 0)
    assert abs((table.target == 1).mean() - 0.05) < 1e-3
    for label in (0, 2):
        assert (table.target == label).sum() == (CLASSES.target == label).sum()
    with pytest.raises(TableError, match="gives shares between"):
        corrupt(CLASSES, [ClassImbalance(0.9, "q")], 0)
    with pytest.raises(TableError, match="this is a regression"):
        corrupt(NUMBERS, [ClassImbalance(0.1)], 0)


def test_idle_and_double_inputs():
    table = corrupt(NUMBERS, [DuplicatedInputs(2), IrrelevantInputs(2)], 0)
    assert table.names[5:] == ("irrelevant 1", "irrelevant 2")
    np.testing.assert_array_equal(table.values[:, :3], VALUES)
    for name in table.names[3:5]:
        original = name.removesuffix(" (copy)")
        at, of = table.place(name), table.place(original)
        np.testing.assert_array_equal(table.values[:, at], table.values[:, of])
        assert table.columns[at].kind == table.columns[of].kind
    correlated = np.corrcoef(table.values[:, 5:].T, NUMBERS.target)
    assert np.abs(correlated - np.eye(3)).max() < 5 / np.sqrt(ROWS)


def test_layers_are_repeatable_apart_from_each_other_and_recorded():
    layers = [MissingCompletelyAtRandom(0.2, ("a",)), InputNoise(0.1)]
    table = corrupt(NUMBERS, layers, 7)
    again = corrupt(NUMBERS, layers, 7)
    np.testing.assert_array_equal(table.values, again.values)
    assert not np.array_equal(corrupt(NUMBERS, layers, 8).missing, table.missing)
    # A further layer changes nothing before it.
    longer = corrupt(NUMBERS, [*layers, IrrelevantInputs(1)], 7)
    np.testing.assert_array_equal(longer.values[:, :3], table.values)
    assert json.loads(json.dumps(table.recorded)) == [
        {
            "layer": "MissingCompletelyAtRandom",
            "fraction": 0.2,
            "columns": ["a"],
            "seed": 7,
            "place": 0,
        },
        {"layer": "InputNoise", "level": 0.1, "seed": 7, "place": 1},
    ]
    np.testing.assert_array_equal(NUMBERS.values, VALUES)


def test_bad_layers_are_refused():
    with pytest.raises(ValueError, match="fraction: from 0 to 1, got 1.5"):
        MissingAtRandom(1.5)
    with pytest.raises(ValueError, match="level: from 0 to 1, got 2"):
        corrupt(CLASSES, [LabelNoise(2.0)], 0)
    with pytest.raises(TableError, match="no column 'q'"):
        corrupt(NUMBERS, [MissingNotAtRandom(0.1, ("q",))], 0)
    with pytest.raises(TableError, match="none but the driver"):
        corrupt(NUMBERS, [MissingAtRandom(0.1, ("a",))], 0)
    with pytest.raises(TableError, match="4 copies of 3 columns"):
        corrupt(NUMBERS, [DuplicatedInputs(4)], 0)
