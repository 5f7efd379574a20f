import json
import os

import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, strategies as st
from hypothesis.extra import numpy as arrays_of

from sparsejax.claims.claim import Trial
from sparsejax.runs.store import DamagedTrial, FolderError, RunFolder, write_whole

ENVIRONMENT = {"dtype": "float64", "jax": "0.10.1"}
HEADER = {
    "claim": "mean-near-half",
    "control": False,
    "config": {"sizes": (10, 20), "tolerance": float("inf")},
    "requested": {"sizes": (10, 20), "tolerance": float("inf")},
    "environment": ENVIRONMENT,
}
TRIAL = Trial("size10-seed0", {"size": 10, "rate": float("inf")})


@pytest.fixture(scope="module")
def shared(tmp_path_factory):
    return RunFolder.create(tmp_path_factory.mktemp("run") / "deep" / "er", HEADER)


@given(
    arrays_of.arrays(
        st.sampled_from(
            [np.float64, np.float32, np.int32, np.bool_, np.complex128, np.dtype("U5")]
        ),
        arrays_of.array_shapes(min_dims=0, max_dims=3, min_side=0, max_side=4),
    )
)
def test_arrays_come_back_to_the_last_bit(shared, array):
    shared.save(TRIAL, {"x": array, "y": jnp.arange(3.0)}, ENVIRONMENT, seconds=1.5)
    stored = shared.load(TRIAL)
    assert stored.arrays["x"].dtype == array.dtype
    assert stored.arrays["x"].shape == array.shape
    assert stored.arrays["x"].tobytes() == array.tobytes()
    assert stored.arrays.keys() == {"x", "y"}
    assert stored.parameters == {"size": 10, "rate": "inf"}
    assert stored.environment == ENVIRONMENT
    assert stored.seconds == 1.5


def test_a_trial_not_measured_is_none_and_one_measured_otherwise_is_named(shared):
    assert shared.load(Trial("other")) is None
    shared.save(TRIAL, {"x": np.ones(2)}, ENVIRONMENT, 0.0)
    with pytest.raises(DamagedTrial, match="other parameters"):
        shared.load(Trial(TRIAL.name, {"size": 11}))


def test_any_flipped_bit_and_any_lost_byte_is_noticed(shared):
    shared.save(TRIAL, {"x": np.arange(20.0)}, ENVIRONMENT, 0.0)
    path = shared.trial_path(TRIAL)
    whole = path.read_bytes()
    for place in range(len(whole)):
        flipped = bytearray(whole)
        flipped[place] ^= 1 << place % 8
        for damaged in (bytes(flipped), whole[:place]):
            path.write_bytes(damaged)
            with pytest.raises(DamagedTrial):
                shared.load(TRIAL)
    path.write_bytes(whole)
    assert shared.load(TRIAL).arrays["x"][3] == 3.0


def test_trials_are_plain_npz_files_that_anyone_reads(shared):
    shared.save(TRIAL, {"x": np.arange(3)}, ENVIRONMENT, 0.0)
    with np.load(shared.trial_path(TRIAL), allow_pickle=False) as archive:
        assert archive["x"].tolist() == [0, 1, 2]
        assert json.loads(str(archive["__trial__"]))["parameters"]["size"] == 10


@pytest.mark.parametrize("bad", [np.array([None]), [{"a": 1}], jnp.ones(2, jnp.bfloat16)])
def test_arrays_that_need_a_pickle_are_refused(shared, bad):
    with pytest.raises(TypeError, match="'bad' is an array of"):
        shared.save(Trial("t"), {"bad": bad}, ENVIRONMENT, 0.0)
    assert shared.load(Trial("t")) is None


def test_the_record_s_name_is_reserved(shared):
    with pytest.raises(ValueError, match="__trial__"):
        shared.save(Trial("t"), {"__trial__": 1.0}, ENVIRONMENT, 0.0)


def test_a_write_that_fails_leaves_the_old_file_whole(tmp_path, monkeypatch):
    path = tmp_path / "file"
    write_whole(path, b"old")

    def no_space(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", no_space)
    with pytest.raises(FolderError, match="No space left on device"):
        write_whole(path, b"new")
    assert path.read_bytes() == b"old"


def test_the_same_run_reopens_and_keeps_its_header(tmp_path):
    first = RunFolder.create(tmp_path / "run", HEADER)
    again = RunFolder.create(
        tmp_path / "run", {**HEADER, "environment": {**ENVIRONMENT, "jax": "0.11.0"}}
    )
    assert again.header == first.header
    assert again.header["environment"]["jax"] == "0.10.1"


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"claim": "another"}, "claim: mean-near-half there, another here"),
        ({"control": True}, "control: False there, True here"),
        ({"config": {"sizes": (10,), "tolerance": float("inf")}}, "sizes: 10 20 there, 10 here"),
        ({"environment": {"dtype": "float32"}}, "precision: float64 there, float32 here"),
    ],
)
def test_another_run_in_the_folder_is_refused_by_what_differs(tmp_path, change, named):
    RunFolder.create(tmp_path, HEADER)
    with pytest.raises(FolderError, match=named):
        RunFolder.create(tmp_path, {**HEADER, **change})


def test_folders_with_other_files_are_refused_but_not_those_of_a_killed_run(tmp_path):
    (tmp_path / ".config.json.12.partial").write_text("{")
    RunFolder.create(tmp_path, HEADER).sweep()
    assert sorted(item.name for item in tmp_path.iterdir()) == ["config.json", "trials"]
    (tmp_path / "trials" / "photo.png").touch()
    with pytest.raises(FolderError, match=r"holds no run \(photo.png is in it\)"):
        RunFolder.create(tmp_path / "trials", HEADER)


def test_a_path_that_is_a_file_cannot_be_written(tmp_path):
    (tmp_path / "file").touch()
    for path in (tmp_path / "file", tmp_path / "file" / "run"):
        with pytest.raises(FolderError, match="cannot be written"):
            RunFolder.create(path, HEADER)


@pytest.mark.parametrize("text", ["{", "[]", '{"claim": "x"}', None])
def test_a_folder_without_a_readable_config_holds_no_run(tmp_path, text):
    if text is not None:
        (tmp_path / "config.json").write_text(text)
    with pytest.raises(FolderError, match=r"config\.json"):
        RunFolder.existing(tmp_path)


@pytest.mark.parametrize("name", ["", "a/b", "../a", ".hidden", "a b", "x" * 101, "a\n"])
def test_a_trial_s_name_is_safe_as_a_file_s(name):
    with pytest.raises(ValueError, match="becomes a file's name"):
        Trial(name)
