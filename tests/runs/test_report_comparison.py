import copy
import dataclasses
import json
import re
import shutil
from pathlib import Path
from types import SimpleNamespace

import jax.numpy as jnp
import numpy as np
import pytest
from matplotlib import pyplot as plt
from matplotlib.figure import Figure
from mean_claim import MeanClaim, MeanConfig

from sparsejax import cli
from sparsejax.bounds import Verdict
from sparsejax.claims.pac_comparison import draw_comparison
from sparsejax.claims.registry import Registry
from sparsejax.runs import FolderError, run_claim
from sparsejax.runs.comparison import compare_runs


class Other(MeanClaim):
    name = "another-mean"


@pytest.fixture(scope="module")
def made(tmp_path_factory):
    """A run that holds, one that differs in two fields, and one of another claim."""
    folder = tmp_path_factory.mktemp("made")
    settings = {
        "a/first": (MeanClaim(), MeanConfig()),
        "b/first": (MeanClaim(), MeanConfig(tolerance=0.01, seeds=3)),
        "c": (Other(), MeanConfig()),
    }
    return folder, {
        name: (claim, run_claim(claim, config, folder / name))
        for name, (claim, config) in settings.items()
    }


@pytest.fixture
def folders(made, tmp_path, monkeypatch):
    """Copies of the three in the current folder, where the command knows their claims."""
    registry = Registry([])
    registry.register(MeanClaim())
    registry.register(Other())
    monkeypatch.setattr(cli, "CLAIMS", registry)
    shutil.copytree(made[0], tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return [
        (claim, dataclasses.replace(copy.deepcopy(run), folder=Path(name)))
        for name, (claim, run) in made[1].items()
    ]


def text_of(page):
    """Words of a page, a cell or paragraph a word."""
    words = re.sub(r"<style>.*?</style>|base64,[^\"]*", "", page, flags=re.S)
    return [word.strip() for word in re.split(r"<[^>]*>", words) if word.strip()]


def test_the_page_of_a_run_says_how_it_was_run_and_how_to_run_it_again(tmp_path):
    class Seeded(MeanClaim):
        def judge(self, config, measurements):
            return Verdict("violated", False, -0.06, {"sampling": 0.01, "integrator": 0.02})

        def draw(self, config, measurements, verdict):
            return plt.figure()

        def table(self, config, measurements, verdict):
            return []

    run = run_claim(Seeded(), MeanConfig(), tmp_path, control=True)
    words = text_of((tmp_path / "report.html").read_text())
    made_with = run.record["environment"]
    expected = {
        "trials drawn": "4",
        "seeds": "seeds: 2",
        "dtype": str(jnp.zeros(()).dtype),
        "devices": f"{made_with['device_count']} x {made_with['device_kind']} "
        f"({made_with['platform']})",
    }
    start = words.index("How it was run")
    assert {name: words[words.index(name, start) + 1] for name in expected} == expected
    assert words[words.index("error budget, total") + 1] == "0.03"
    text = " ".join(words)
    assert "The margin is 2 times the error budget" in text
    assert "The control changed, of what was asked for (there): shift: 0.0 there, 1.0 here" in text
    assert f"jax=={made_with['versions']['jax']}" in text
    assert "in float64" in text and "as a library" not in text


def test_only_what_differs_is_named(folders):
    page = compare_runs(folders[:2], "out")
    record = json.loads((page.parent / "comparison.json").read_text())
    assert record["differing_settings"] == {
        "seeds": {"a/first": 2, "b/first": 3},
        "tolerance": {"a/first": 0.4, "b/first": 0.01},
    }
    assert record["differing_environments"] == {}
    words = text_of(page.read_text())
    place = words.index("verdict")
    assert words[place : place + 3] == ["verdict", "holds", "violated"]
    budget = words.index("error budget, sampling")
    assert words[budget + 1 : budget + 3] == ["0.01", "0.01"]
    # The joined table has 4 + 6 rows.
    assert sum(word.startswith("size") and "-seed" in word for word in words) == 10
    names = ["comparison.html", "comparison.json", "comparison.pdf", "comparison.png"]
    assert sorted(path.name for path in page.parent.iterdir()) == names
    assert not re.search(r"https?://|<script|<link|url\(", page.read_text())
    assert not plt.get_fignums()


def test_environments_that_differ_are_named_by_field(folders):
    claim, run = folders[1]
    elsewhere = {**run.record["environment"], "device_kind": "an accelerator"}
    elsewhere["versions"] = {**elsewhere["versions"], "jax": "0.9"}
    run.record["environment"] = {**elsewhere, "time": "another"}
    page = compare_runs(folders[:2], "out")
    record = json.loads((page.parent / "comparison.json").read_text())
    assert set(record["differing_environments"]) == {"device_kind", "jax"}
    assert record["differing_environments"]["jax"]["b/first"] == "0.9"


def test_a_claim_s_own_comparison_gets_label_config_measurements_and_verdict(folders, monkeypatch):
    seen = []

    def draw(runs):
        seen.extend(runs)
        return Figure()

    monkeypatch.setattr(MeanClaim, "draw_comparison", staticmethod(draw), raising=False)
    compare_runs(folders[:2], "out")
    labels, configs, measurements, verdicts = zip(*seen, strict=True)
    assert labels == ("seeds 2, tolerance 0.4", "seeds 3, tolerance 0.01")
    assert configs == (MeanConfig(), MeanConfig(tolerance=0.01, seeds=3))
    assert list(map(len, measurements)) == [4, 6]
    expected = np.random.default_rng(2).random(10)
    np.testing.assert_array_equal(measurements[1]["size0010-seed2"]["samples"], expected)
    assert [verdict.status for verdict in verdicts] == ["holds", "violated"]
    # Not where another claim is among them.
    seen.clear()
    page = compare_runs(folders, "out").read_text()
    assert not seen
    assert page.count("data:image/png") == 3


def test_runs_of_several_claims_have_a_table_each(folders):
    words = text_of(compare_runs(folders[1:], "out").read_text())
    tables = words[words.index("Tables") : words.index("How to reproduce")]
    assert tables.index(MeanClaim.name) < tables.index(Other.name)
    assert tables.count("mean") == 2
    assert tables.count("first") == 6 and tables.count("c") == 4


def test_report_compares_what_it_can_and_names_the_rest(folders, capsys, tmp_path):
    (tmp_path / "c" / "trials" / "size0010-seed0.npz").unlink()
    damaged = tmp_path / "b" / "first" / "trials" / "size0010-seed1.npz"
    damaged.write_bytes(damaged.read_bytes()[:-70] + b"\0" * 70)
    run_claim(MeanClaim(), MeanConfig(shift=0.1), "d")
    # Twice the same folder is one run.
    words = ["report", "a/first", "b/first", "c", "nowhere", "d", "a/../a/first"]
    assert cli.main(words) == cli.USAGE
    out, err = capsys.readouterr()
    assert "b/first holds 5 of 6 trials" in err and "is damaged" in err
    assert "c holds 3 of 4 trials" in err and "nowhere holds no run" in err
    assert "compared in results/comparison/comparison.html" in out
    record = json.loads((tmp_path / "results/comparison/comparison.json").read_text())
    assert set(record["runs"]) == {"first", "d"}
    assert set(record["left_out"]) == {"b/first", "c", "nowhere"}
    assert "nowhere holds no run" in (tmp_path / "results/comparison/comparison.html").read_text()


def test_a_run_s_folder_is_not_overwritten_and_one_run_is_not_compared(folders, capsys, tmp_path):
    assert cli.main(["report", "a/first", "b/first", "--out", "c"]) == cli.USAGE
    assert "c holds a run: choose another folder" in capsys.readouterr().err
    assert cli.main(["report", "a/first", "nowhere", "--out", "cmp"]) == cli.USAGE
    assert "nothing to compare" in capsys.readouterr().err
    assert not (tmp_path / "cmp").exists()
    with pytest.raises(FolderError, match="holds a run"):
        compare_runs(folders, "a/first")
    with pytest.raises(ValueError, match="two runs or more, not of 1"):
        compare_runs(folders[:1], "out")


@pytest.mark.parametrize("named", [False, True])
def test_learning_numbers_are_the_least_size_from_which_every_lower_limit_is_enough(named):
    def verdict(lows):
        summary = {
            "success_fraction": {size: min(1.0, low + 0.1) for size, low in lows.items()},
            "interval_low": lows,
            "interval_high": {size: min(1.0, low + 0.2) for size, low in lows.items()},
        }
        if named:
            summary = {"conditions": {"mlp": summary}}
        return Verdict("holds", summary=summary)

    config = SimpleNamespace(delta=0.2)
    runs = [
        # Sizes as words: "128" sorts before "16".
        ("falls back", config, {}, verdict({"16": 0.9, "32": 0.7, "64": 0.85, "128": 0.9})),
        ("never", config, {}, verdict({"16": 0.9, "128": 0.79})),
        ("strict", SimpleNamespace(delta=0.1), {}, verdict({"32": 0.85, "128": 0.9})),
    ]
    figure = draw_comparison(runs)
    (axes,) = figure.axes
    labels = [text.get_text() for text in axes.get_legend().get_texts()]
    assert set(labels) == {
        "falls back: learning number 64",
        "never: learning number none",
        "strict: learning number 128",
        r"$1 - \delta$ = 0.8",
        r"$1 - \delta$ = 0.9",
    }
    bars = axes.containers
    assert len(bars) == 3
    for (_, _, _, judged), bar in zip(runs, bars, strict=True):
        summary = judged.summary["conditions"]["mlp"] if named else judged.summary
        lows = summary["interval_low"]
        line, _, (segments,) = bar
        ends = np.array([segment[:, 1] for segment in segments.get_segments()])
        np.testing.assert_allclose(ends[:, 0], [lows[s] for s in sorted(lows, key=int)])
        np.testing.assert_allclose(
            np.round(np.log2(line.get_xdata())), np.log2(sorted(map(int, lows)))
        )
    assert len({bar[0].get_color() for bar in bars}) == 3
    assert len({bar[0].get_marker() for bar in bars}) == 3
