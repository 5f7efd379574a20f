import csv
import importlib.util

import numpy as np
import pytest

from sparsejax import cli
from sparsejax.claims.claim import Trial
from sparsejax.runs import FolderError, RunFolder
from sparsejax.runs.export import MissingExtra, arrays_file, export_runs

ENVIRONMENT = {"dtype": "float64", "device_kind": "cpu"}
VALUES = np.array([0.1, 1 / 3, np.pi * 1e300, 5e-324, -0.0, np.inf, -np.inf, np.nan])
TRIALS = {
    "one": (
        {"size": 8, "level": "low"},
        {
            "ts": np.linspace(0, 1, 8) ** 3,
            "losses": VALUES,
            "level": np.float64(1 / 3),
            "single": np.float32(0.1),
            "count": np.int64(2**62 + 1),
            "reached": np.bool_(True),
            "status": np.array("completed"),
            "eigenvalue": np.complex128(1 / 3 + 2j),
            "grid": np.arange(16, dtype=np.float32).reshape(8, 2) / 3,
        },
    ),
    "two": (
        {"size": 16, "level": "high"},
        {"names": np.array(["a", "b,\n"]), "large": np.array([2**53 + 1, 3]), "level": 2.0},
    ),
}


def stored_run(path, config, trials=TRIALS, claim="a-claim"):
    header = {
        "claim": claim,
        "control": False,
        "config": config,
        "requested": config,
        "environment": ENVIRONMENT,
    }
    folder = RunFolder.create(path, header)
    for name, (parameters, arrays) in trials.items():
        folder.save(Trial(name, parameters), arrays, ENVIRONMENT, 0.1 + 0.2)
    return path


def read_csv(path):
    with path.open(newline="") as file:
        return list(csv.DictReader(file))


def bits(values):
    return np.array(values, float).tobytes()


def test_csv_reads_back_to_the_last_bit(tmp_path):
    to = tmp_path / "new" / "m.csv"
    exported = export_runs([stored_run(tmp_path / "run", {"seed": 0})], to)
    assert exported.problems == []
    one, two = read_csv(to)
    # One run: no column says which, and no setting differs.
    assert list(one)[:3] == ["trial", "size", "level"]
    assert {"run", "seed", "config.seed"}.isdisjoint(one)
    assert list(one)[-3:] == ["seconds", "dtype", "device"]
    # A name that a parameter and an array share.
    assert (one["level"], float(one["measured.level"])) == ("low", 1 / 3)
    assert float(one["seconds"]) == 0.1 + 0.2 and one["dtype"] == "float64"
    assert np.float32(one["single"]) == np.float32(0.1)
    assert int(one["count"]) == 2**62 + 1 and one["reached"] == "True"
    assert complex(float(one["eigenvalue.real"]), float(one["eigenvalue.imag"])) == 1 / 3 + 2j
    # What a trial did not measure is empty.
    assert two["status"] == "" and two["measured.level"] == "2.0"
    rows = read_csv(arrays_file(to))
    assert exported.written == {to: 2, arrays_file(to): len(rows)}
    losses = [row for row in rows if row["name"] == "losses"]
    assert bits([row["value"] for row in losses]) == VALUES.tobytes()
    assert bits([row["ts"] for row in losses]) == (np.linspace(0, 1, 8) ** 3).tobytes()
    assert [int(row["index"]) for row in losses] == list(range(8))
    grid = np.full((8, 2), np.nan, np.float32)
    for row in rows:
        if row["name"] == "grid":
            grid[int(row["index"]), int(row["index_1"])] = row["value"]
            assert float(row["ts"]) == np.linspace(0, 1, 8)[int(row["index"])] ** 3
    np.testing.assert_array_equal(grid, TRIALS["one"][1]["grid"])
    rest = [row for row in rows if row["trial"] == "two"]
    assert [(row["value"], row["text"], row["ts"]) for row in rest] == [
        ("", "a", ""),
        ("", "b,\n", ""),
        ("", str(2**53 + 1), ""),
        ("3.0", "", ""),
    ]


def test_several_runs_have_a_column_for_run_claim_and_what_differs(tmp_path):
    first = stored_run(tmp_path / "a" / "run", {"seed": 0, "size": 1, "t1": 5.0})
    trials = {"one": ({"size": 8}, {"level": 0.5})}
    second = stored_run(tmp_path / "b" / "run", {"seed": 0, "size": 2.5}, trials, claim="other")
    export_runs([first, second], tmp_path / "m.csv")
    rows = read_csv(tmp_path / "m.csv")
    assert [row["run"] for row in rows] == ["a/run", "a/run", "b/run"]
    assert [row["claim"] for row in rows] == ["a-claim", "a-claim", "other"]
    # Different in both runs; a trial's parameter of that name has to stand beside it.
    assert [float(row["size"]) for row in rows] == [1, 1, 2.5]
    assert [row["parameter.size"] for row in rows] == ["8", "16", "8"]
    assert {"seed", "t1"}.isdisjoint(rows[0])
    assert {row["run"] for row in read_csv(tmp_path / "m-arrays.csv")} == {"a/run"}


def test_unfinished_and_damaged_runs_give_what_they_hold(tmp_path, monkeypatch, capsys):
    run = stored_run(tmp_path / "run", {})
    damaged = run / "trials" / "one.npz"
    damaged.write_bytes(damaged.read_bytes()[:100])
    monkeypatch.chdir(tmp_path)
    assert cli.main(["export", "run", "nowhere"]) == cli.USAGE
    out, err = capsys.readouterr()
    assert "one.npz is damaged" in err and "nowhere holds no run" in err
    assert "measurements.csv: 1 rows" in out
    assert [row["trial"] for row in read_csv(tmp_path / "measurements.csv")] == ["two"]
    with pytest.raises(FolderError, match="no trial to export; .*nowhere"):
        export_runs([tmp_path / "nowhere"], tmp_path / "none.csv")
    assert not (tmp_path / "none.csv").exists()
    assert cli.main(["export", "run", "--to", "m.xlsx"]) == cli.USAGE
    assert "m.xlsx should end in .csv or .parquet" in capsys.readouterr().err


def test_a_format_without_its_library_names_the_extra(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "pyarrow", None)
    with pytest.raises(MissingExtra, match=r"sparsejax\[parquet\]"):
        export_runs([tmp_path / "nowhere"], tmp_path / "m.parquet")


@pytest.mark.skipif(not importlib.util.find_spec("pyarrow"), reason="the parquet extra")
def test_parquet_reads_back_to_the_last_bit_and_with_types(tmp_path):
    parquet = pytest.importorskip("pyarrow.parquet")
    to = tmp_path / "m.parquet"
    export_runs([stored_run(tmp_path / "run", {"seed": 0})], to)
    one, two = parquet.read_table(to).to_pylist()
    assert one["reached"] is True and one["count"] == 2**62 + 1 and one["measured.level"] == 1 / 3
    assert two["reached"] is None and two["size"] == 16
    rows = parquet.read_table(arrays_file(to)).to_pylist()
    losses = [row["value"] for row in rows if row["name"] == "losses"]
    assert bits(losses) == VALUES.tobytes()
    assert [row["text"] for row in rows if row["trial"] == "two"] == [
        "a",
        "b,\n",
        str(2**53 + 1),
        None,
    ]
