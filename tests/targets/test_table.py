"""Splits, encodings and bundled tables: what is fitted on training rows, and nothing else is."""

import dataclasses

import numpy as np
import pytest
from sklearn.impute import SimpleImputer
from sklearn.preprocessing import StandardScaler

from sparsejax.targets import (
    Column,
    Table,
    TableError,
    data_by_name,
    encoded,
    real_data,
    real_table,
    split,
    table_data,
)

RNG = np.random.default_rng(0)


def mixed(rows=60):
    values = np.stack(
        [RNG.normal(2, 3, rows), RNG.integers(0, 3, rows), RNG.integers(0, 2, rows)], axis=1
    ).astype(float)
    values[RNG.random(values.shape) < 0.2] = np.nan
    columns = (
        Column("a"),
        Column("b", "category", ("x", "y", "z")),
        Column("c", "category", ("no", "yes")),
    )
    return Table(columns, values, RNG.normal(size=rows))


@pytest.mark.parametrize("imputation", ["mean", "median"])
def test_numbers_are_filled_and_standardised_as_scikit_learn_does(imputation):
    table, train = mixed(), np.arange(0, 60, 2)
    found = encoded(table, train, imputation=imputation)
    filled = SimpleImputer(strategy=imputation).fit(table.values[train, :1])
    filled = filled.transform(table.values[:, :1])
    expected = StandardScaler().fit(filled[train]).transform(filled)
    np.testing.assert_allclose(found.x[:, :1], expected, rtol=1e-12, atol=1e-12)


def test_only_training_rows_count():
    table, train = mixed(), np.arange(30)
    other = table.values.copy()
    other[30:, 0] *= 100
    moved = dataclasses.replace(
        table, values=other, target=np.append(table.target[:30], [9.0] * 30)
    )
    for imputation in ("mean", "median", "mode", "mask"):
        first = encoded(table, train, imputation=imputation)
        second = encoded(moved, train, imputation=imputation)
        np.testing.assert_array_equal(first.x[train], second.x[train])
        np.testing.assert_array_equal(first.y[train], second.y[train])
        np.testing.assert_allclose(first.x[train].mean(axis=0), 0, atol=1e-12)


def test_groups_keep_indicators_and_masks_of_a_column_together():
    table = mixed()
    found = encoded(table, imputation="mask")
    assert found.names == (
        *("a", "a missing", "b = x", "b = y", "b = z", "b missing", "c = yes", "c missing"),
    )
    assert found.groups == ((0, 1), (2, 3, 4, 5), (6, 7)) and found.columns == ("a", "b", "c")
    gaps = table.missing
    for place, group in enumerate(found.groups):
        mask = found.x[:, group[-1]]
        # Two values, apart exactly where something is missing; what is there says nothing more.
        assert len(np.unique(mask)) == 2
        np.testing.assert_array_equal(mask == mask.max(), gaps[:, place])
        np.testing.assert_allclose(found.x[gaps[:, place]][:, group[:-1]], 0, atol=1e-12)
    known = ~gaps[:, 1]
    indicators = found.x[:, 2:5]
    np.testing.assert_array_equal(indicators[known].argmax(axis=1), table.values[known, 1])


def test_modes():
    columns = (Column("a"), Column("b", "category", ("x", "y")))
    values = np.array([[1.0, 1], [1, 1], [4, 0], [np.nan, np.nan]])
    found = encoded(Table(columns, values, np.arange(4.0)), np.arange(3), imputation="mode")
    np.testing.assert_array_equal(found.x[3], found.x[0])
    with pytest.raises(ValueError, match="imputation: one of mean, median"):
        encoded(Table(columns, values, np.arange(4.0)), imputation="knn")


def test_splits_are_of_all_rows_none_twice_and_of_every_class():
    table = real_table("breast_cancer")
    parts = split(table, 3, (0.5, 0.2, 0.3))
    np.testing.assert_array_equal(np.sort(np.concatenate(parts)), np.arange(table.rows))
    for rows in parts:
        assert abs(table.target[rows].mean() - table.target.mean()) < 0.01
    again, other = split(table, 3, (0.5, 0.2, 0.3)), split(table, 4, (0.5, 0.2, 0.3))
    np.testing.assert_array_equal(parts.train, again.train)
    assert not np.array_equal(parts.train, other.train)
    with pytest.raises(ValueError, match="three that sum to one"):
        split(table, 0, (0.5, 0.2, 0.2))


@pytest.mark.parametrize(
    ("name", "shape", "task", "gaps"),
    [
        ("diabetes", (442, 10), "regression", 0),
        ("iris", (150, 4), "classification", 0),
        ("wine", (178, 13), "classification", 0),
        ("penguins", (344, 7), "classification", 19),
        ("cars", (398, 7), "regression", 6),
        ("lung", (228, 9), "classification", 67),
    ],
)
def test_bundled_tables(name, shape, task, gaps):
    table = real_table(name)
    assert (table.values.shape, table.task, int(table.missing.sum())) == (shape, task, gaps)
    assert np.isfinite(encoded(table, imputation="mask").x).all()


def test_data_of_claims_are_as_they_were_before_tables():
    # diabetes by hand: shuffled, split and standardised.
    from sklearn.datasets import load_diabetes

    x, y = load_diabetes(return_X_y=True)
    order = np.random.default_rng(5).permutation(442)
    train, test = order[:100], order[332:]
    data = real_data("diabetes", 100, 5)
    np.testing.assert_allclose(
        data.x_test, (x[test] - x[train].mean(axis=0)) / x[train].std(axis=0), rtol=1e-10
    )
    np.testing.assert_allclose(
        data.y_test[:, 0], (y[test] - y[train].mean()) / y[train].std(), rtol=1e-10
    )


def test_classes_become_signs():
    two, three = real_data("breast_cancer", 50, 0), real_data("iris", 50, 0)
    assert two.outputs == 1 and set(np.unique(two.y_train)) == {-1.0, 1.0}
    assert three.outputs == 3
    np.testing.assert_array_equal((three.y_train > 0).sum(axis=1), 1)
    filled = table_data(real_table("penguins"), None, 0, imputation="mask")
    assert filled.dims > real_data("penguins", None, 0).dims


def test_data_by_name_reads_files(tmp_path):
    path = tmp_path / "mine.csv"
    path.write_text("a,b,y\n" + "".join(f"{k % 7},{k % 5},{k * k}\n" for k in range(40)))
    data = data_by_name(str(path), None, 0, "y")
    assert (len(data.x_train), len(data.x_test), data.dims) == (30, 10, 2)
    with pytest.raises(TableError, match="target: say which column of"):
        data_by_name(str(path), None, 0)
    with pytest.raises(ValueError, match="'y' is a column of a file, and data is 'diabetes'"):
        data_by_name("diabetes", None, 0, "y")
    with pytest.raises(ValueError, match="has 30 training samples; 31 were asked for"):
        data_by_name(str(path), 31, 0, "y")


def test_bad_tables_are_refused():
    columns, values = (Column("a"), Column("b")), np.zeros((3, 2))
    good = Table(columns, values, np.arange(3.0))
    for change, said in (
        ({"columns": (Column("a"), Column("a"))}, "two columns are called 'a'"),
        ({"values": np.full((3, 2), np.inf)}, "column 'a' is infinite in row 0"),
        ({"target": np.array([0, np.nan, 1.0])}, "target 'y' is not finite in row 1"),
        ({"task": "classification", "classes": ("u", "v")}, "'y' needs codes from 0 to 1"),
        ({"columns": (Column("a"), Column("b", "category"))}, "'b' needs codes"),
        ({"columns": columns[:1]}, "do not fit"),
    ):
        with pytest.raises(TableError, match=said):
            dataclasses.replace(good, **change)
    with pytest.raises(TableError, match="no column 'q'; there are a, b"):
        good.place("q")
    with pytest.raises(TableError, match="unknown data set 'titanic'"):
        real_table("titanic")
