"""Files as users have them: each is read as meant, with a word about it, or refused by name."""

import numpy as np
import pandas as pd
import pytest

from sparsejax.targets import TableError, file_record, is_table_file, read_table, table_of_frame


def written(tmp_path, content, name="mine.csv"):
    path = tmp_path / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


ROWS = "".join(f"{k / 4},{'uv'[k % 2]},{k * k / 8}\n" for k in range(12))


def test_numbers_categories_and_gaps_are_what_the_file_says(tmp_path):
    path = written(tmp_path, "a,b,y\n1.5,u,0.25\n?,v,1.25\n2,,3.5\n4,u,\n")
    table = read_table(path, "y")
    assert [(c.name, c.kind, c.levels) for c in table.columns] == [
        ("a", "number", ()),
        ("b", "category", ("u", "v")),
    ]
    np.testing.assert_array_equal(table.values, [[1.5, 0], [np.nan, 1], [2, np.nan]])
    np.testing.assert_array_equal(table.target, [0.25, 1.25, 3.5])
    assert table.warnings == ("target 'y' is missing or infinite in 1 of 4 rows: left out",)
    assert (table.task, table.target_name) == ("regression", "y")


@pytest.mark.parametrize(
    ("content", "name", "warned"),
    [
        ("a;b;y\n" + ROWS.replace(",", ";"), "mine.csv", "separated by semicolons, not commas"),
        ("a\tb\ty\n" + ROWS.replace(",", "\t"), "mine.csv", "separated by tabs, not commas"),
        ("a,b,y\n" + ROWS, "mine.tsv", "separated by commas, not tabs"),
        # Decimal commas, which come with semicolons.
        ("a;b;y\n" + ROWS.replace(",", ";").replace(".", ","), "mine.csv", "semicolons"),
    ],
)
def test_delimiters_are_found_and_named(tmp_path, content, name, warned):
    table = read_table(written(tmp_path, content, name), "y")
    expected = read_table(written(tmp_path, "a,b,y\n" + ROWS, "right.csv"), "y")
    assert expected.warnings == ()
    assert any(warned in text for text in table.warnings)
    np.testing.assert_array_equal(table.values, expected.values)
    np.testing.assert_array_equal(table.target, expected.target)


def test_encodings(tmp_path):
    text = "größe,b,y\n" + ROWS.replace("u", "ü")
    right = read_table(written(tmp_path, text), "y")
    assert right.names == ("größe", "b") and right.columns[1].levels == ("v", "ü")
    for encoding, warned in (("cp1252", 1), ("utf-8-sig", 0), ("utf-16", 0)):
        table = read_table(written(tmp_path, text.encode(encoding), f"{encoding}.csv"), "y")
        assert table.columns == right.columns and len(table.warnings) == warned
        np.testing.assert_array_equal(table.values, right.values)
    assert "not UTF-8 (byte 0xf6)" in read_table(tmp_path / "cp1252.csv", "y").warnings[0]


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"", "is empty"),
        ("\n\n", "is empty"),
        ("a,y\n", "a header but no rows"),
        ("a,y\n1,2\n", "one value only"),
        (b"PK\0\0\0", "is not text"),
        ("a y\n1 2\n3 4\n", "one column only, 'a y'"),
        ("a,b,y\n1,2,3\n1,2,3,4\n", "as many fields as the header"),
        ("a,b,y\n1,2,3,4\n5,6,7,8\n", "as many fields as the header"),
        ("a,Y \n1,2\n3,4\n", "no column 'y' to be the target; did you mean 'Y'|there are 'a', 'Y'"),
        ("a,y,y\n1,2,3\n3,4,5\n", "2 columns are called 'y'"),
        ("a,y\n1,\n3,\n", "'y' is missing in all 2 rows"),
        ("a,y\n1,yes\n3,yes\n", "'y' has one value only, yes"),
        ("a,y\n7,1\n7,2\n", "no input is left: column 'a' has one value only, 7: left out"),
        ("a,y\n1,ann\n2,bob\n3,eve\n4,joe\n5,kim\n6,lea\n", "6 different values in 6 rows"),
    ],
)
def test_what_cannot_be_learned_from_is_refused(tmp_path, content, said):
    with pytest.raises(TableError, match=said):
        read_table(written(tmp_path, content), "y")


def test_missing_files_and_folders_are_refused(tmp_path):
    with pytest.raises(TableError, match="No such file"):
        read_table(tmp_path / "none.csv", "y")
    with pytest.raises(TableError, match="is no file"):
        read_table(tmp_path, "y")


def test_columns_that_say_nothing_are_left_out_by_name():
    rng = np.random.default_rng(0)
    rows = 4000
    letters = rng.integers(0, 3000, rows)
    common = np.where(rng.random(rows) < 0.9, "often", letters.astype(str) + "th")
    frame = pd.DataFrame(
        {
            "Unnamed: 0": np.arange(rows),
            "good": rng.normal(size=rows),
            "same": 3.0,
            "none": np.nan,
            "id": [f"name {k}" for k in range(rows)],
            "levels": common,
            "wild": np.where(np.arange(rows) == 5, np.inf, rng.normal(size=rows)),
            "flag": rng.random(rows) < 0.5,
            "when": pd.Timestamp("1970-01-11") + pd.to_timedelta(np.arange(rows), "D"),
            "nearly": np.where(np.arange(rows) < 3, "oops", "1.5"),
            "y": rng.normal(size=rows),
        }
    )
    frame.loc[::2, "nearly"] = "2"
    table = table_of_frame(frame, "y")
    assert table.names == ("good", "levels", "wild", "flag", "when", "nearly")
    for text in (
        "column 'Unnamed: 0' numbers the rows",
        "column 'same' has one value only, 3",
        "column 'none' has no values",
        "column 'id' has 4000 different texts in 4000 rows",
        "column 'wild' is infinite in 1 rows: taken as missing",
        "column 'nearly' has 1 entries that are no numbers, such as 'oops'",
    ):
        assert any(text in warning for warning in table.warnings), text
    levels = table.columns[1].levels
    assert len(levels) == 32 and levels[-1] == "(other)" and "often" in levels
    # Codes still name what was there.
    codes = table.values[:, 1].astype(int)
    kept = codes < 31
    np.testing.assert_array_equal(np.array(levels)[codes[kept]], common[kept])
    assert np.isnan(table.values[5, 2]) and set(table.values[:, 3]) == {0.0, 1.0}
    assert table.values[0, 4] == 10.0


def test_double_names_are_told_apart(tmp_path):
    table = read_table(written(tmp_path, "a,a,y\n1,2,1\n3,5,2\n4,4,5\n"), "y")
    assert table.names == ("a", "a.1")
    assert "2 columns are called 'a'" in table.warnings[0]


@pytest.mark.parametrize(
    ("values", "task", "classes"),
    [
        (["u", "v", "u", "v"] * 5, "classification", ("u", "v")),
        ([True, False] * 10, "classification", ("0", "1")),
        ([3.5, -1.0] * 10, "classification", ("-1", "3.5")),
        ([1, 2, 3, 1] * 5, "classification", ("1", "2", "3")),
        ([1, 2, 3, 4, 5], "regression", ()),
        ([0.5, 1, 2, 0.5] * 5, "regression", ()),
        (list(range(20)), "regression", ()),
    ],
)
def test_what_the_task_is(values, task, classes):
    frame = pd.DataFrame({"a": np.arange(len(values)) ** 2, "y": values})
    table = table_of_frame(frame, "y")
    assert (table.task, table.classes) == (task, classes)
    if classes:
        named = np.array(table.classes)[table.target.astype(int)]
        assert [str(v) for v in named] == [v if isinstance(v, str) else f"{v:g}" for v in values]
        if not isinstance(values[0], str):
            assert table_of_frame(frame, "y", task="regression").task == "regression"


def test_a_file_that_changes_is_read_again_and_has_another_checksum(tmp_path):
    path = written(tmp_path, "a,y\n1,1\n2,2\n")
    first, record = read_table(path, "y"), file_record(path)
    assert read_table(path, "y") is first
    written(tmp_path, "a,y\n1,1\n2,2\n3,5\n")
    assert read_table(path, "y").rows == 3
    assert file_record(path)["sha256"] != record["sha256"]
    assert is_table_file(str(path)) and not is_table_file("synthetic")
