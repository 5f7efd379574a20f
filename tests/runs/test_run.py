import base64
import json
import math
import os
import re
import signal
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import mean_claim
import numpy as np
import pytest
from matplotlib import pyplot as plt
from mean_claim import MeanClaim, MeanConfig

from sparsejax.runs import (
    FolderError,
    InvalidConfig,
    RunProgress,
    current_environment,
    recreate,
    run_claim,
)

FILES = ["config.json", "figure.pdf", "figure.png", "report.html", "trials", "verdict.json"]


class Told(RunProgress):
    def __init__(self):
        self.words = []

    def start(self, title, total, done):
        self.words.append((title, total, done))

    def begin(self, name):
        self.words.append(name)

    def finish(self, name, seconds):
        self.words.append(f"{name} ended")

    def note(self, text):
        self.words.append(text)


def written_at(folder):
    return {path.name: path.stat().st_mtime_ns for path in (folder / "trials").iterdir()}


def test_a_run_leaves_its_whole_folder_and_a_record_of_strict_json(tmp_path):
    told = Told()
    run = run_claim(MeanClaim(), MeanConfig(tolerance=math.inf), tmp_path / "run", progress=told)
    assert sorted(path.name for path in run.folder.iterdir()) == FILES
    assert told.words[:3] == [("mean-near-half", 4, 0), "size0010-seed0", "size0010-seed0 ended"]
    record = json.loads((run.folder / "verdict.json").read_text(), parse_constant=pytest.fail)
    assert record == run.record
    expected = {
        "claim": "mean-near-half",
        "statement": MeanClaim.statement,
        "source": MeanClaim.source,
        "verdict": "holds",
        "vacuous": True,
        "margin": "inf",
        "error_budget": {"sampling": 0.01},
        "reason": "The farthest mean decides.",
        "control": False,
        "other_environments": [],
    }
    assert {name: record[name] for name in expected} == expected
    assert record["config"]["sizes"] == [10, 1000]
    assert record["environment"]["versions"]["numpy"] == np.__version__
    assert record["environment"]["dtype"] == "float64"
    assert record["summary"]["means"]["size0010-seed1"] == pytest.approx(
        np.random.default_rng(1).random(10).mean(), abs=0
    )
    assert not plt.get_fignums()


def test_the_figure_has_at_least_150_dots_an_inch(tmp_path):
    run = run_claim(MeanClaim(), MeanConfig(), tmp_path)
    height, width, _ = plt.imread(run.folder / "figure.png").shape
    # The claim draws 3 by 2 inches.
    assert width >= 450
    assert height >= 300


def test_the_report_carries_everything_and_fetches_nothing(tmp_path):
    run = run_claim(MeanClaim(), MeanConfig(), tmp_path, control=True)
    page = (tmp_path / "report.html").read_text()
    picture = re.search(r'src="data:image/png;base64,([^"]+)"', page)
    assert base64.b64decode(picture[1]) == (tmp_path / "figure.png").read_bytes()
    assert not re.search(r"https?://|<script|<link|url\(", page)
    for text in (
        "Control of mean-near-half",
        MeanClaim.statement,
        "large numbers &lt;1713&gt;",
        "a control must not hold, and it does not",
        "size1000-seed1",
        "error budget, sampling",
        "sparsejax verify mean-near-half --control --sizes 10 1000",
        # The command gives the control's own starting point, not what the control made of it.
        "--shift 0.0",
        run.record["environment"]["versions"]["jax"],
    ):
        assert text in page


def test_stored_trials_are_not_measured_again(tmp_path):
    first = run_claim(MeanClaim(), MeanConfig(), tmp_path)
    times = written_at(tmp_path)
    claim, told = MeanClaim(), Told()
    again = run_claim(claim, MeanConfig(), tmp_path, progress=told)
    assert claim.measured == []
    assert told.words == [("mean-near-half", 4, 4)]
    assert again.record == first.record
    assert written_at(tmp_path) == times


def test_a_run_that_fails_in_a_trial_keeps_those_before_and_ends_the_same(tmp_path):
    whole = run_claim(MeanClaim(), MeanConfig(), tmp_path / "whole")

    class Failing(MeanClaim):
        def measure(self, config, trial):
            if trial.name == "size1000-seed0":
                raise MemoryError
            return super().measure(config, trial)

    with pytest.raises(MemoryError):
        run_claim(Failing(), MeanConfig(), tmp_path / "run")
    times = written_at(tmp_path / "run")
    assert sorted(times) == ["size0010-seed0.npz", "size0010-seed1.npz"]
    assert not (tmp_path / "run" / "verdict.json").exists()
    # The first trial is lost too: what is measured late must not come last in the judgement.
    (tmp_path / "run" / "trials" / "size0010-seed0.npz").unlink()
    claim = MeanClaim()
    resumed = run_claim(claim, MeanConfig(), tmp_path / "run")
    assert claim.measured == ["size0010-seed0", "size1000-seed0", "size1000-seed1"]
    assert resumed.record["summary"] == whole.record["summary"]
    assert list(resumed.record["summary"]["means"]) == list(whole.record["summary"]["means"])


@pytest.mark.parametrize("damage", [lambda content: content[:50], lambda content: b""])
def test_a_damaged_trial_is_reported_and_measured_again(tmp_path, damage):
    whole = run_claim(MeanClaim(), MeanConfig(), tmp_path)
    path = tmp_path / "trials" / "size0010-seed1.npz"
    path.write_bytes(damage(path.read_bytes()))
    with pytest.raises(FolderError, match=r"3 of 4 trials.*size0010-seed1\.npz is damaged"):
        recreate(MeanClaim(), tmp_path)
    claim, told = MeanClaim(), Told()
    again = run_claim(claim, MeanConfig(), tmp_path, progress=told)
    assert claim.measured == ["size0010-seed1"]
    assert "size0010-seed1.npz is damaged" in told.words[0]
    assert told.words[1] == ("mean-near-half", 4, 3)
    assert again.record["summary"] == whole.record["summary"]


def test_the_folder_alone_gives_figure_and_report_again(tmp_path):
    run = run_claim(MeanClaim(), MeanConfig(), tmp_path, control=True)
    made = ["figure.pdf", "figure.png", "report.html", "verdict.json"]
    before = {name: (tmp_path / name).read_bytes() for name in made}
    for name in made:
        (tmp_path / name).unlink()
    claim = MeanClaim()
    again = recreate(claim, tmp_path)
    assert claim.measured == []
    assert again.record == run.record
    assert {name: (tmp_path / name).read_bytes() for name in made} == before


def test_recreating_another_claim_s_run_is_refused(tmp_path):
    run_claim(MeanClaim(), MeanConfig(), tmp_path)
    other = MeanClaim()
    other.name = "another"
    with pytest.raises(FolderError, match="holds a run of mean-near-half, not of another"):
        recreate(other, tmp_path)


def test_the_control_runs_the_control_s_config_and_fails(tmp_path):
    run = run_claim(MeanClaim(), MeanConfig(shift=0.25), tmp_path, control=True)
    assert run.verdict.status == "violated"
    assert run.record["control"] is True
    assert run.record["config"]["shift"] == 1.25
    header = json.loads((tmp_path / "config.json").read_text())
    assert header["requested"]["shift"] == 0.25
    with pytest.raises(FolderError, match="control: True there, False here"):
        run_claim(MeanClaim(), MeanConfig(shift=1.25), tmp_path)


def test_a_refused_config_touches_nothing(tmp_path):
    with pytest.raises(InvalidConfig, match=r"sizes: \(0,\)"):
        run_claim(MeanClaim(), MeanConfig(sizes=(0,)), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_two_trials_of_one_name_are_refused(tmp_path):
    class Twice(MeanClaim):
        def trials(self, config):
            return super().trials(config) * 2

    with pytest.raises(ValueError, match="two trials alike: size0010-seed0"):
        run_claim(Twice(), MeanConfig(), tmp_path / "run")
    assert not (tmp_path / "run").exists()


def test_a_run_that_ends_under_other_versions_says_so(tmp_path, monkeypatch):
    here = current_environment()
    run_claim(MeanClaim(), MeanConfig(), tmp_path)
    (tmp_path / "trials" / "size0010-seed0.npz").unlink()
    elsewhere = {**here, "device_kind": "an accelerator"}
    monkeypatch.setattr("sparsejax.runs.run.current_environment", lambda: elsewhere)
    record = run_claim(MeanClaim(), MeanConfig(), tmp_path).record
    assert record["environment"]["device_kind"] == here["device_kind"]
    assert [other["device_kind"] for other in record["other_environments"]] == ["an accelerator"]
    assert "an accelerator" in (tmp_path / "report.html").read_text()


def test_a_killed_run_loses_the_trial_in_progress_and_ends_with_the_same_numbers(tmp_path):
    out, stall = tmp_path / "run", tmp_path / "size1000-seed0"
    words = ["verify", "mean-near-half", "--out", str(out), "--tolerance", "0.3"]
    child = subprocess.Popen(
        [sys.executable, mean_claim.__file__, *words],
        env={**os.environ, "MEAN_CLAIM_STALL": str(stall)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    try:
        while not stall.exists():
            assert child.poll() is None, child.stderr.read().decode()
            time.sleep(0.05)
    finally:
        child.send_signal(signal.SIGKILL)
        child.communicate()
    times = written_at(out)
    assert sorted(times) == ["size0010-seed0.npz", "size0010-seed1.npz"]
    # The file of the trial in progress, cut short under its temporary name.
    (out / "trials" / ".size1000-seed0.npz.1.partial").write_bytes(b"PK")

    claim, config = MeanClaim(), replace(MeanConfig(), tolerance=0.3)
    resumed = run_claim(claim, config, out)
    assert claim.measured == ["size1000-seed0", "size1000-seed1"]
    assert times.items() <= written_at(out).items()
    assert len(written_at(out)) == 4
    whole = run_claim(MeanClaim(), config, tmp_path / "whole")
    for name in ("verdict", "vacuous", "margin", "error_budget", "summary", "config"):
        assert resumed.record[name] == whole.record[name]
    assert Path(out / "figure.png").read_bytes() == Path(whole.folder / "figure.png").read_bytes()
