"""Trials, round by round: what the folder does not hold is measured, and stored as it ends.

Several processes (`jax.distributed`) share the work by batches: dealt out in turn, each measured
and written by one process, read by all.
"""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from typing import Any

import jax
import numpy as np

from sparsejax.claims.claim import BatchedClaim, Claim, Measurements, SequentialClaim, Trial
from sparsejax.runs.processes import all_or_none, gathered, wait_until
from sparsejax.runs.progress import RunProgress
from sparsejax.runs.store import DamagedTrial, RunFolder, StoredTrial


def measure_rounds(
    claim: Claim,
    config: Any,
    first: list[Trial],
    folder: RunFolder,
    environment: dict[str, Any],
    progress: RunProgress,
) -> tuple[dict[str, StoredTrial], list[int]]:
    """All trials of a run by name, in their order, and how many each round drew.

    A claim without `more_trials` has one round. What is stored is judged as it reads back, so that
    a resumed run and an uninterrupted one see the same bytes.
    """
    stored: dict[str, StoredTrial] = {}
    rounds: list[int] = []
    trials = first
    while trials:
        told = progress.extend if rounds else partial(progress.start, claim.name)
        stored |= _measure_round(claim, config, trials, folder, environment, progress, told)
        rounds.append(len(trials))
        trials = next_round(claim, config, stored)
    return stored, rounds


def _measure_round(
    claim: Claim,
    config: Any,
    trials: list[Trial],
    folder: RunFolder,
    environment: dict[str, Any],
    progress: RunProgress,
    announce: Callable[..., None],
) -> dict[str, StoredTrial]:
    process, processes = jax.process_index(), jax.process_count()
    held = load(folder, trials, progress)
    # A shared disk may show different things to different hosts: process 0 decides.
    missing = _seen_missing_by_first(trials, held)
    batches = in_batches(claim, config, missing)[process::processes]
    if processes == 1:
        announce(total=len(trials), done=len(held))
    else:
        share = sum(map(len, batches))
        progress.note(f"{len(missing)} of {len(trials)} trials are missing; {share} of them here:")
        announce(total=share, done=0)
    with all_or_none():
        try:
            for batch in batches:
                progress.begin(_batch_name(batch))
                for trial, arrays, seconds in _measured(claim, config, batch):
                    held[trial.name] = folder.save(trial, arrays, environment, seconds)
                    progress.finish(trial.name, seconds)
        except Exception:
            if processes > 1:
                folder.note_failure(process)
            raise
        wait_until(lambda: _all_stored(folder, trials, held) or folder.failure_noted())
    return {trial.name: held[trial.name] for trial in trials}


def _seen_missing_by_first(trials: list[Trial], held: dict[str, StoredTrial]) -> list[Trial]:
    """Those that process 0 does not hold; no process holds them after this."""
    there = gathered([trial.name in held for trial in trials])[0]
    missing = [trial for trial, is_there in zip(trials, there, strict=True) if not is_there]
    for trial in missing:
        held.pop(trial.name, None)
    return missing


def _all_stored(folder: RunFolder, trials: list[Trial], held: dict[str, StoredTrial]) -> bool:
    """Whether all are held, with what other processes have stored by now."""
    waited_for = [trial for trial in trials if trial.name not in held]
    if waited_for:
        there = set(folder.stored_names())
        arrived = [trial for trial in waited_for if trial.name in there]
        # Silent: one that is damaged is being measured again.
        held |= load(folder, arrived, RunProgress())
    return len(held) == len(trials)


def next_round(claim: Claim, config: Any, stored: dict[str, StoredTrial]) -> list[Trial]:
    """The trials that the claim draws after these; none where it draws no more."""
    if not isinstance(claim, SequentialClaim):
        return []
    return unique(claim, claim.more_trials(config, measurements_of(stored)), stored)


def measurements_of(stored: dict[str, StoredTrial]) -> Measurements:
    """The arrays alone, as a claim judges them."""
    return {name: trial.arrays for name, trial in stored.items()}


def unique(claim: Claim, trials: list[Trial], drawn: Sequence[str] | dict = ()) -> list[Trial]:
    """The trials, if no two of them, and none of those drawn before, have one name; ValueError."""
    counts = Counter([*drawn, *(trial.name for trial in trials)])
    twice = [name for name, count in counts.items() if count > 1]
    if twice:
        raise ValueError(f"{claim.name} names two trials alike: {', '.join(twice)}")
    return trials


def load(folder: RunFolder, trials: list[Trial], progress: RunProgress) -> dict[str, StoredTrial]:
    """Those that are stored; of a damaged one the reader is told."""
    held = {}
    for trial in trials:
        try:
            found = folder.load(trial)
        except DamagedTrial as damage:
            progress.note(f"{damage}; it has to be measured again")
            continue
        if found is not None:
            held[trial.name] = found
    return held


def in_batches(claim: Claim, config: Any, trials: list[Trial]) -> list[list[Trial]]:
    """As the claim puts them together, else one by one.

    Raises:
        ValueError: when its batches are not the trials, each of them once.
    """
    if not isinstance(claim, BatchedClaim) or not trials:
        return [[trial] for trial in trials]
    batches = [list(batch) for batch in claim.batches(config, trials)]
    asked = Counter(trial.name for trial in trials)
    given = Counter(trial.name for batch in batches for trial in batch)
    if asked != given:
        wrong = sorted(name for name in asked | given if asked[name] != given[name])
        raise ValueError(
            f"{claim.name}.batches should hold every trial once; it does not for {', '.join(wrong)}"
        )
    return [batch for batch in batches if batch]


def _measured(
    claim: Claim, config: Any, batch: list[Trial]
) -> Iterator[tuple[Trial, dict[str, np.ndarray], float]]:
    since = time.perf_counter()
    if not isinstance(claim, BatchedClaim):
        (trial,) = batch
        arrays = claim.measure(config, trial)
        yield trial, arrays, time.perf_counter() - since
        return
    results = claim.measure_batch(config, batch)
    # Measured at one go, the trials share the time; yielded one by one, each has its own.
    share = (time.perf_counter() - since) / len(batch)
    results = iter(results)
    for done, trial in enumerate(batch):
        since = time.perf_counter()
        try:
            arrays = next(results)
        except StopIteration:
            raise ValueError(
                f"{claim.name}.measure_batch gave {done} results for {len(batch)} trials"
            ) from None
        yield trial, arrays, share + time.perf_counter() - since
    # A generator may have work left after its last result, and one too many is a mistake.
    if next(results, None) is not None:
        raise ValueError(
            f"{claim.name}.measure_batch gave more results than the {len(batch)} trials"
        )


def _batch_name(batch: list[Trial]) -> str:
    more = f" and {len(batch) - 1} more" if len(batch) > 1 else ""
    return f"{batch[0].name}{more}"
