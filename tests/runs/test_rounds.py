"""Trials in batches and in rounds: what is stored, when, and that a resumed run is the same run."""

import shutil

import pytest
from mean_claim import BatchedMeanClaim, MeanClaim, MeanConfig, SequentialMeanClaim

from sparsejax.claims.claim import BatchedClaim, PresetClaim, SequentialClaim, Trial
from sparsejax.runs import FolderError, RunProgress, recreate, run_claim

CONFIG = MeanConfig(seeds=5)


def test_what_a_claim_offers_beside_its_duty_is_seen():
    plain, batched, sequential = MeanClaim(), BatchedMeanClaim(), SequentialMeanClaim()
    assert [isinstance(plain, kind) for kind in (BatchedClaim, SequentialClaim)] == [False, False]
    assert isinstance(batched, BatchedClaim)
    assert isinstance(batched, PresetClaim)
    assert not isinstance(batched, SequentialClaim)
    assert isinstance(sequential, SequentialClaim)


def test_trials_measured_together_are_those_measured_alone(tmp_path):
    alone = run_claim(MeanClaim(), CONFIG, tmp_path / "alone")
    claim = BatchedMeanClaim()
    together = run_claim(claim, CONFIG, tmp_path / "together")
    # By size, three at most.
    assert [len(batch) for batch in claim.together] == [3, 2, 3, 2]
    assert together.record["summary"] == alone.record["summary"]
    assert together.record["rounds"] == [10]


def test_only_what_is_missing_is_put_into_batches(tmp_path):
    whole = run_claim(BatchedMeanClaim(), CONFIG, tmp_path)
    for name in ("size0010-seed1", "size0010-seed4", "size1000-seed0"):
        (tmp_path / "trials" / f"{name}.npz").unlink()
    claim = BatchedMeanClaim()
    again = run_claim(claim, CONFIG, tmp_path)
    assert claim.together == [["size0010-seed1", "size0010-seed4"], ["size1000-seed0"]]
    assert again.record["summary"] == whole.record["summary"]


def test_what_a_batch_yielded_before_it_failed_is_stored(tmp_path):
    class Failing(BatchedMeanClaim):
        def measure_batch(self, config, trials):
            yield self.measure(config, trials[0])
            raise MemoryError

    with pytest.raises(MemoryError):
        run_claim(Failing(), CONFIG, tmp_path)
    assert [path.name for path in (tmp_path / "trials").iterdir()] == ["size0010-seed0.npz"]


def test_progress_counts_trials_and_the_time_of_a_batch_is_shared(tmp_path):
    class Told(RunProgress):
        def __init__(self):
            self.begun, self.ended = [], []

        def begin(self, name):
            self.begun.append(name)

        def finish(self, name, seconds):
            self.ended.append(seconds)

    told = Told()
    run = run_claim(BatchedMeanClaim(), CONFIG, tmp_path, progress=told)
    assert told.begun[:2] == ["size0010-seed0 and 2 more", "size0010-seed3 and 1 more"]
    assert len(told.ended) == 10
    assert min(told.ended) > 0
    assert run.record["seconds"] == pytest.approx(sum(told.ended))


@pytest.mark.parametrize(
    ("batches", "wrong"),
    [
        (lambda trials: [trials[1:]], "size0010-seed0"),
        (lambda trials: [trials, trials[:1]], "size0010-seed0"),
        (lambda trials: [trials, [Trial("another")]], "another"),
    ],
)
def test_batches_that_lose_or_repeat_a_trial_are_refused(tmp_path, batches, wrong):
    claim = BatchedMeanClaim()
    claim.batches = lambda config, trials: batches(trials)
    with pytest.raises(ValueError, match=f"every trial once; it does not for {wrong}"):
        run_claim(claim, CONFIG, tmp_path)
    assert claim.measured == []


@pytest.mark.parametrize(("change", "message"), [(-1, "gave 2 results for 3"), (1, "more results")])
def test_a_batch_with_another_number_of_results_is_an_error(tmp_path, change, message):
    class Miscounting(BatchedMeanClaim):
        def measure_batch(self, config, trials):
            return [self.measure(config, trials[0])] * (len(trials) + change)

    with pytest.raises(ValueError, match=message):
        run_claim(Miscounting(), CONFIG, tmp_path)


def test_a_claim_draws_more_until_it_is_content(tmp_path):
    class Told(RunProgress):
        totals = ()

        def start(self, title, total, done):
            self.totals = (*self.totals, (total, done))

        def extend(self, total, done):
            self.totals = (*self.totals, (total, done))

    told = Told()
    run = run_claim(SequentialMeanClaim(), CONFIG, tmp_path, progress=told)
    # Ten to begin with, then two at a time up to sixteen.
    assert told.totals == ((10, 0), (2, 0), (2, 0), (2, 0))
    assert (run.record["trials"], run.record["rounds"]) == (16, [10, 2, 2, 2])
    again = recreate(SequentialMeanClaim(), tmp_path)
    assert again.record == run.record


def test_rounds_are_replayed_from_what_is_stored(tmp_path):
    whole = run_claim(SequentialMeanClaim(), CONFIG, tmp_path / "whole")

    class Failing(SequentialMeanClaim):
        def measure(self, config, trial):
            if len(self.measured) == 13:
                raise MemoryError
            return super().measure(config, trial)

    with pytest.raises(MemoryError):
        run_claim(Failing(), CONFIG, tmp_path / "run")
    with pytest.raises(FolderError, match="holds 13 of 14 trials"):
        recreate(SequentialMeanClaim(), tmp_path / "run")
    claim = SequentialMeanClaim()
    resumed = run_claim(claim, CONFIG, tmp_path / "run")
    assert len(claim.measured) == 3
    assert resumed.record["summary"] == whole.record["summary"]
    assert resumed.record["rounds"] == whole.record["rounds"]


def test_a_trial_drawn_again_is_refused(tmp_path):
    claim = SequentialMeanClaim()
    claim.more_trials = lambda config, measurements: claim.trials(config)[:1]
    with pytest.raises(ValueError, match="two trials alike: size0010-seed0"):
        run_claim(claim, CONFIG, tmp_path)


def test_trials_of_another_folder_of_the_same_config_are_as_good(tmp_path):
    # Two machines without a common disk, each stopped after its half.
    whole = run_claim(MeanClaim(), CONFIG, tmp_path / "one")
    run_claim(MeanClaim(), CONFIG, tmp_path / "other")
    trials = sorted(path.name for path in (tmp_path / "one" / "trials").iterdir())
    for name in trials[:5]:
        (tmp_path / "one" / "trials" / name).unlink()
    for name in ("verdict.json", "figure.png", "report.html"):
        (tmp_path / "one" / name).unlink()
    with pytest.raises(FolderError, match="holds 5 of 10 trials"):
        recreate(MeanClaim(), tmp_path / "one")
    for name in trials[:5]:
        shutil.copy(tmp_path / "other" / "trials" / name, tmp_path / "one" / "trials")
    claim = MeanClaim()
    merged = recreate(claim, tmp_path / "one")
    assert merged.record["summary"] == whole.record["summary"]
    assert (tmp_path / "one" / "report.html").exists()
    assert run_claim(claim, CONFIG, tmp_path / "one").record == merged.record
    assert claim.measured == []
