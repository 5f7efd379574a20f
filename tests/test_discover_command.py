"""`sparsejax discover` on files: what it prints, what it writes, what it refuses."""

import json
import re

import numpy as np
import pytest

from sparsejax.cli import main


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    rng = np.random.default_rng(0)
    x = rng.uniform(-1, 1, size=(300, 4)).round(4)
    kind = rng.choice(["red", "blue"], 300)
    y = (3 * x[:, 0] * x[:, 2] + (kind == "red")).round(4)
    lines = ["wide,idle,high,rest,kind,price"]
    lines += [
        ",".join([*("" if i % 29 == 0 else str(v) for v in row), k, str(goal)])
        for i, (row, k, goal) in enumerate(zip(x, kind, y, strict=True))
    ]
    path = tmp_path_factory.mktemp("tables") / "prices.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_json_has_the_keys_that_programs_read(file, capsys):
    assert main(["discover", str(file), "--target", "price", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    assert set(printed["support"]) == {"wide", "high", "kind"}
    assert sorted(map(sorted, printed["groups"])) == [["high", "wide"], ["kind"]]
    assert printed["additive"] is False and 0 < printed["null_level"] < 0.1
    assert "from_target" in printed["suggested_module"] and printed["warnings"] == []
    assert printed["dag"]["nodes"][printed["dag"]["root"]]


def test_words_and_a_page_with_a_picture(file, tmp_path, capsys):
    out = tmp_path / "report"
    assert main(["discover", str(file), "--target", "price", "--out", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "3 of 5 columns matter, in 2 groups of at most 2" in printed
    assert re.search("\nroot\n.*(wide|high)", printed, re.DOTALL)
    page = (out / "report.html").read_text()
    assert "data:image/png;base64" in page and "http" not in page.split("<body>")[1]
    assert json.loads((out / "structure.json").read_text())["rows"] == 300
    assert (out / "composition.png").stat().st_size > 5000


@pytest.mark.parametrize(
    ("content", "target", "words"),
    [
        ("a,b\n1,2\n", "b", ""),
        ("", "b", "empty"),
        ("a,b\n" + "1,2\n" * 30, "b", ""),
        ("a,b\n" + "".join(f"{i},{i}\n" for i in range(30)), "c", "c"),
        ("a,b\n" + "".join(f"{i},{i}\n" for i in range(10)), "b", "at least 20"),
    ],
)
def test_bad_tables_are_refused_with_code_2(tmp_path, capsys, content, target, words):
    path = tmp_path / "bad.csv"
    path.write_text(content)
    assert main(["discover", str(path), "--target", target]) == 2
    said = capsys.readouterr().err
    assert said.startswith("sparsejax: ") and words in said and "Traceback" not in said


def test_parquet_tells_what_the_same_table_as_text_tells(file, tmp_path, capsys):
    pytest.importorskip("pyarrow")
    import pandas as pd

    path = tmp_path / "prices.parquet"
    frame = pd.read_csv(file)
    # What text cannot have: categories, and integers with gaps.
    frame["kind"] = frame["kind"].astype("category")
    frame["gaps"] = pd.array([None if k % 7 == 0 else k % 50 for k in range(300)], dtype="Int64")
    frame.to_parquet(path)
    printed = []
    for name in (file, path):
        assert main(["discover", str(name), "--target", "price", "--json"]) == 0
        printed.append(json.loads(capsys.readouterr().out))
    assert printed[0]["support"] == printed[1]["support"]
    assert printed[0]["groups"] == printed[1]["groups"]
    assert "gaps" in printed[1]["columns"]
    path.write_bytes(b"no such thing")
    assert main(["discover", str(path), "--target", "price"]) == 2
    assert "does not read as Parquet" in capsys.readouterr().err


def test_a_folder_that_cannot_be_written(file, tmp_path, capsys):
    (tmp_path / "taken").write_text("")
    out = str(tmp_path / "taken" / "report")
    assert main(["discover", str(file), "--target", "price", "--out", out]) == 2
    assert "cannot be written" in capsys.readouterr().err
