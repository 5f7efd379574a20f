"""Two processes on this machine that share a run, as two hosts would that share a disk."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import time

import mean_claim
import numpy as np
import pytest
from mean_claim import MeanConfig, SharedMeanClaim

from sparsejax.runs import AnotherProcessFailed, run_claim
from sparsejax.runs.processes import all_or_none, gathered, join_slurm, wait_until

CONFIG = MeanConfig(seeds=5)
NAME = SharedMeanClaim.name


def start(out, process, port, **environment):
    words = ["--coordinator", f"127.0.0.1:{port}", "--processes", "2", "--process", str(process)]
    return subprocess.Popen(
        [sys.executable, mean_claim.__file__, "verify", NAME, "--seeds", "5"]
        + ["--out", str(out), *words],
        env={**os.environ, "JAX_PLATFORMS": "cpu", **environment},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def start_two(out, **environment):
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    return [start(out, process, port, **environment) for process in (0, 1)]


def ended(children, timeout=180):
    """Code, output and errors of each."""
    try:
        told = [child.communicate(timeout=timeout) for child in children]
    finally:
        for child in children:
            child.kill()
    return [(child.returncode, *texts) for child, texts in zip(children, told, strict=True)]


def arrays(out):
    found = {}
    for path in (out / "trials").glob("*.npz"):
        with np.load(path) as archive:
            found[path.stem] = {name: archive[name] for name in archive.files}
    return found


def written_at(out):
    return {path.name: path.stat().st_mtime_ns for path in (out / "trials").glob("*.npz")}


def test_two_processes_share_the_batches_and_store_what_one_does(tmp_path):
    (code0, out0, err0), (code1, out1, err1) = ended(start_two(tmp_path / "two"))
    assert (code0, code1) == (0, 0), err0 + err1
    # One table, and lines that say whose they are.
    assert f"{NAME} holds." in out0
    assert out1 == ""
    assert "process 0: 10 of 10 trials are missing; 6 of them here:" in err0
    assert "process 1: 10 of 10 trials are missing; 4 of them here:" in err1
    one = run_claim(SharedMeanClaim(), CONFIG, tmp_path / "one")
    two = arrays(tmp_path / "two")
    assert len(two) == 16
    for name, alone in arrays(tmp_path / "one").items():
        np.testing.assert_allclose(two[name]["mean"], alone["mean"], rtol=1e-15)
    # Batches of each size are three and two: dealt out in turn. Each process computes on its own
    # devices, and writes what it has measured.
    process = {name: int(found["process"]) for name, found in two.items()}
    assert [process[f"size0010-seed{k}"] for k in range(5)] == [0, 0, 0, 1, 1]
    assert [process[f"size1000-seed{k}"] for k in range(5)] == [0, 0, 0, 1, 1]
    assert {int(found["devices"]) for found in two.values()} == {1}
    record = json.loads((tmp_path / "two" / "verdict.json").read_text())
    assert record["summary"] == one.record["summary"]
    assert record["rounds"] == one.record["rounds"] == [10, 2, 2, 2]
    environment = record["environment"]
    assert (environment["process_count"], environment["local_device_count"]) == (2, 1)
    assert environment["device_count"] == 2
    assert record["other_environments"] == []


@pytest.mark.slow
def test_where_one_fails_the_other_ends_its_share_and_both_end(tmp_path):
    failing = {"MEAN_CLAIM_FAIL": "size0010-seed3"}
    (code0, out0, err0), (code1, _, err1) = ended(start_two(tmp_path / "run", **failing))
    assert (code0, code1) == (70, 70)
    assert "process 1 failed, and says why in its own output" in err0
    assert "Traceback" not in err0
    assert "the trial that fails" in err1
    assert out0 == ""
    assert not (tmp_path / "run" / "verdict.json").exists()
    held = {f"size{size}-seed{k}" for size in ("0010", "1000") for k in range(3)}
    assert arrays(tmp_path / "run").keys() == held
    # The word that it failed does not stop those who continue.
    (code0, *_), (code1, *_) = ended(start_two(tmp_path / "run"))
    assert (code0, code1) == (0, 0)


@pytest.mark.slow
def test_another_config_in_the_folder_is_an_input_error_of_both(tmp_path):
    run_claim(SharedMeanClaim(), MeanConfig(seeds=4), tmp_path)
    (code0, _, err0), (code1, _, err1) = ended(start_two(tmp_path))
    assert (code0, code1) == (2, 2)
    assert "another config (seeds: 4 there, 5 here)" in err0
    assert "process 0 failed" in err1


@pytest.mark.slow
@pytest.mark.parametrize("killed", [0, 1])
def test_a_killed_process_takes_the_other_with_it_and_the_run_resumes(tmp_path, killed):
    out = tmp_path / "run"
    # The second trial of the second batch of the one that is killed.
    stall = tmp_path / ("size1000-seed1", "size1000-seed4")[killed]
    children = start_two(out, MEAN_CLAIM_STALL=str(stall), MEAN_CLAIM_HEARTBEAT="10")
    other = children[1 - killed]
    while not stall.exists():
        assert all(child.poll() is None for child in children)
        time.sleep(0.1)
    share = [["size0010-seed3", "size0010-seed4", "size1000-seed3", "size1000-seed4"]]
    share.append([f"size{size}-seed{k}" for size in ("0010", "1000") for k in range(3)])
    assert wait_until(
        lambda: {f"{name}.npz" for name in share[killed]} <= written_at(out).keys(), patience=60
    )
    assert other.poll() is None
    children[killed].send_signal(signal.SIGKILL)
    codes = [code for code, *_ in ended(children)]
    assert codes[killed] == -signal.SIGKILL
    # JAX ends it, since it would wait for ever.
    assert codes[1 - killed] not in (0, 1, 2, 3)
    times = written_at(out)
    # All of the other's share, and the first batch of the killed one's.
    lost = {0: ["size1000-seed0", "size1000-seed1", "size1000-seed2"]}.get(
        killed, ["size1000-seed3", "size1000-seed4"]
    )
    assert len(times) == 10 - len(lost)
    assert not {f"{name}.npz" for name in lost} & times.keys()

    shutil.copytree(out, tmp_path / "again")
    claim = SharedMeanClaim()
    resumed = run_claim(claim, CONFIG, out)
    assert claim.measured[: len(lost)] == lost
    assert len(claim.measured) == len(lost) + 6
    assert times.items() <= written_at(out).items()
    kept = written_at(tmp_path / "again")
    (code0, _, err0), (code1, *_) = ended(start_two(tmp_path / "again"))
    assert (code0, code1) == (0, 0)
    assert f"process 0: {len(lost)} of 10 trials are missing" in err0
    assert kept.items() <= written_at(tmp_path / "again").items()
    record = json.loads((tmp_path / "again" / "verdict.json").read_text())
    assert record["summary"] == resumed.record["summary"]


def test_alone_a_process_agrees_with_itself():
    assert gathered([3, 0]).tolist() == [[3, 0]]
    with all_or_none():
        pass
    with pytest.raises(ZeroDivisionError), all_or_none():
        _ = 1 / 0


def test_what_failed_elsewhere_fails_here(monkeypatch):
    rows = np.array([[True], [False], [True]])
    monkeypatch.setattr("sparsejax.runs.processes.gathered", lambda values: rows)
    with pytest.raises(AnotherProcessFailed, match="process 1 failed"), all_or_none():
        pass


def test_waiting_looks_again_and_has_an_end(monkeypatch):
    monkeypatch.setattr("sparsejax.runs.processes._PAUSE", 0.001)
    answers = iter([False, False, True])
    assert wait_until(lambda: next(answers), patience=60)
    assert not wait_until(lambda: False, patience=0.0)


@pytest.mark.parametrize(
    ("environment", "joins"),
    [
        ({}, False),
        ({"SLURM_JOB_ID": "7", "SLURM_NTASKS": "4"}, False),  # a batch script
        ({"SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0"}, False),
        ({"SLURM_STEP_NUM_TASKS": "4", "SLURM_PROCID": "0"}, True),
    ],
)
def test_tasks_of_one_srun_join_and_a_batch_script_does_not(monkeypatch, environment, joins):
    calls = []
    monkeypatch.setattr("jax.distributed.initialize", lambda *words, **options: calls.append(words))
    assert join_slurm(environment) is joins
    # Nothing is told: JAX asks SLURM.
    assert calls == [()] * joins
