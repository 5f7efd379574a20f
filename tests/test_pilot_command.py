"""`sparsejax pilot` on files: what it prints, what it writes, what it refuses."""

import json

import numpy as np
import pytest

from sparsejax.cli import main


@pytest.fixture(scope="module")
def file(tmp_path_factory):
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 3)).round(4), rng.normal(size=60).round(4)
    lines = ["a,b,c,y", *(",".join(map(str, (*row, goal))) for row, goal in zip(x, y, strict=True))]
    path = tmp_path_factory.mktemp("tables") / "noise.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


@pytest.mark.slow
def test_a_few_rows_of_noise_make_a_page_that_says_so(file, tmp_path, capsys):
    out = tmp_path / "pilot"
    words = ["pilot", str(file), "--target", "y", "--out", str(out), "--splits", "2"]
    assert main([*words, "--steps", "30", "--json"]) == 0
    printed = json.loads(capsys.readouterr().out)
    # Sixty rows and two splits do not show that there is nothing.
    assert printed["verdict"] == "cannot tell"
    assert printed == json.loads((out / "pilot.json").read_text())
    assert len(printed["provenance"]["file"]["sha256"]) == 64
    made = printed["provenance"]
    assert made["dtype"] == "float64" and printed["seed"] == 0 and made["options"]["steps"] == 30
    assert made["versions"]["scikit-learn"] and made["versions"]["pandas"]
    page = (out / "report.html").read_text()
    assert "Cannot tell" in page and "data:image/png;base64" in page
    assert "http" not in page.split("<body>")[1]
    assert (out / "figure.png").stat().st_size > 5000
    assert (out / "figure.pdf").read_bytes().startswith(b"%PDF")


@pytest.mark.parametrize(
    ("content", "options", "words"),
    [
        ("", [], "empty"),
        ("a,y\n" + "".join(f"{i},{i}\n" for i in range(20)), [], "at least 40"),
        ("a,b\n" + "".join(f"{i},{i}\n" for i in range(50)), [], "no column 'y'"),
        ("a,y\n" + "".join(f"{i},{i}\n" for i in range(50)), ["--splits", "1"], "splits"),
        ("a,y\n" + "".join(f"{i},{i}\n" for i in range(50)), ["--steps", "1"], "steps"),
    ],
)
def test_bad_input_is_refused_with_code_2(tmp_path, capsys, content, options, words):
    path = tmp_path / "bad.csv"
    path.write_text(content)
    assert main(["pilot", str(path), "--target", "y", *options]) == 2
    said = capsys.readouterr().err
    assert words in said and "Traceback" not in said


def test_a_folder_that_cannot_be_written_is_told_before_the_work(
    file, tmp_path, capsys, monkeypatch
):
    (tmp_path / "taken").write_text("")
    words = ["pilot", str(file), "--target", "y", "--out"]
    for taken in ("taken/pilot", "taken"):
        assert main([*words, str(tmp_path / taken)]) == 2
        assert "cannot be written" in capsys.readouterr().err
    # Who may do everything may write everywhere: the system's answer is put in its mouth.
    monkeypatch.setattr("os.access", lambda *_: False)
    assert main([*words, str(tmp_path)]) == 2
    said = capsys.readouterr().err
    assert "cannot be written: Permission denied" in said and "discovery" not in said
