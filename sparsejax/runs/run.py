"""A claim, from config to verdict, figure and report, in a folder that survives being killed."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import jax
from matplotlib import pyplot as plt

from sparsejax.bounds.verdict import Verdict
from sparsejax.claims.claim import Claim, Measurements
from sparsejax.runs.data_file import data_file
from sparsejax.runs.environment import current_environment
from sparsejax.runs.processes import AnotherProcessFailed, all_or_none, wait_until
from sparsejax.runs.progress import RunProgress
from sparsejax.runs.rendering import rendered
from sparsejax.runs.report import report_page
from sparsejax.runs.rounds import load, measure_rounds, measurements_of, next_round, unique
from sparsejax.runs.settings import config_from_json
from sparsejax.runs.store import FolderError, RunFolder, StoredTrial
from sparsejax.runs.strict_json import dumps, encode
from sparsejax.targets import TableError

# Seconds until a file that one host has written is seen by all; network disks remember for a minute
# that there was none.
_DISK_PATIENCE = 120.0


class InvalidConfig(ValueError):
    """A config that the claim refuses; nothing was computed."""


@dataclass(frozen=True)
class Run:
    """A finished run.

    Args:
        folder: where it is stored.
        verdict: as the claim judged.
        rows: the claim's table.
        record: what `verdict.json` says.
        measurements: what was judged; none where another process has judged it.
    """

    folder: Path
    verdict: Verdict
    rows: list[dict[str, Any]]
    record: dict[str, Any]
    measurements: Measurements


def run_claim(
    claim: Claim,
    config: Any,
    out: str | Path,
    *,
    control: bool = False,
    progress: RunProgress | None = None,
) -> Run:
    """Measure what `out` does not hold yet, then judge, draw and write the report.

    A run that was killed continues where it was: each trial is stored as it ends, and judged from
    what is stored. A `BatchedClaim` is given its missing trials in batches, a `SequentialClaim` is
    asked for more of them until it wants none; `rounds` in the record says how many each time drew.

    In processes that `jax.distributed` has joined, all of which see `out`, every one takes a share
    of the batches, on its own devices; the first alone writes verdict, figure and report, and the
    others return a `Run` with the same record and no rows. Where one fails, all end, after the work
    in progress.

    Args:
        claim: what to verify.
        config: an instance of `claim.Config`.
        out: the run's folder; made when it is not there.
        control: run `claim.control(config)` instead, which must not come out as holding.
        progress: told of each trial; silent by default.

    Raises:
        InvalidConfig: when the claim refuses the config.
        FolderError: when the folder holds another run or cannot be written.
        AnotherProcessFailed: when another process of this run failed.
    """
    requested = config
    try:
        claim.validate(requested)
        if control:
            config = claim.control(requested)
            claim.validate(config)
    except ValueError as error:
        raise InvalidConfig(str(error)) from error
    trials = unique(claim, claim.trials(config))
    here = current_environment()
    data = data_file(config)
    folder = _opened(
        Path(out),
        {
            "claim": claim.name,
            "control": control,
            "config": config,
            "requested": requested,
            "environment": here,
            **({} if data is None else {"data_file": data}),
        },
    )
    with progress or RunProgress() as told:
        for warning in [] if data is None else data["warnings"]:
            told.note(f"{config.data}: {warning}")
        stored, rounds = measure_rounds(claim, config, trials, folder, here, told)
    with all_or_none():
        if jax.process_index() == 0:
            return _conclude(claim, config, folder, stored, rounds)
    return _concluded(folder)


def _opened(path: Path, header: dict[str, Any]) -> RunFolder:
    first = jax.process_index() == 0
    try:
        with all_or_none():
            if first:
                folder = RunFolder.create(path, header)
                folder.forget_failures()
        with all_or_none():
            if not first:
                wait_until((path / "config.json").exists, _DISK_PATIENCE)
                folder = RunFolder.joined(path, header)
    except AnotherProcessFailed as failure:
        raise FolderError(f"{path}: {failure}") from None
    return folder


def _concluded(folder: RunFolder) -> Run:
    """What another process has concluded."""
    path = folder.path / "verdict.json"
    wait_until(path.exists, _DISK_PATIENCE)
    record = json.loads(path.read_text(encoding="utf-8"))
    verdict = Verdict(
        record["verdict"],
        record["vacuous"],
        float(record["margin"]),
        {name: float(size) for name, size in record["error_budget"].items()},
        record["reason"],
        record["summary"],
    )
    return Run(folder.path, verdict, [], record, {})


def recreate(claim: Claim, out: str | Path) -> Run:
    """Judge, draw and report again from a folder alone, measuring nothing.

    Raises:
        FolderError: when the folder holds no run of this claim, or not all of its trials.
    """
    folder = RunFolder.existing(out)
    if folder.header["claim"] != claim.name:
        raise FolderError(f"{out} holds a run of {folder.header['claim']}, not of {claim.name}")
    try:
        config = config_from_json(claim.Config, folder.header["config"])
    except ValueError as error:
        raise FolderError(f"{folder.path / 'config.json'}: {error}") from None
    trials = unique(claim, claim.trials(config))
    stored: dict[str, StoredTrial] = {}
    rounds: list[int] = []
    damages = _Notes()
    while trials:
        held = load(folder, trials, damages)
        if len(held) < len(trials):
            details = "".join(f"; {text}" for text in damages.texts)
            raise FolderError(
                f"{out} holds {len(stored | held)} of {len(stored) + len(trials)} trials{details}: "
                "the command that began the run completes it"
            )
        stored |= held
        rounds.append(len(trials))
        trials = next_round(claim, config, stored)
    return _conclude(claim, config, folder, stored, rounds)


class _Notes(RunProgress):
    def __init__(self) -> None:
        self.texts: list[str] = []

    def note(self, text: str) -> None:
        self.texts.append(text)


def _conclude(
    claim: Claim,
    config: Any,
    folder: RunFolder,
    stored: dict[str, StoredTrial],
    rounds: list[int],
) -> Run:
    measurements = measurements_of(stored)
    try:
        verdict = claim.judge(config, measurements)
    except TableError as error:
        # Some claims ask for the number of inputs again.
        raise FolderError(f"the table that {folder.path} was run on: {error}") from None
    rows = encode(claim.table(config, measurements, verdict))
    figure = claim.draw(config, measurements, verdict)
    record = _record(claim, folder, verdict, stored, rounds)
    picture = rendered(figure, "png")
    folder.write("figure.png", picture)
    folder.write("figure.pdf", rendered(figure, "pdf"))
    plt.close(figure)
    page = report_page(folder.header, record, rows, picture)
    folder.write("report.html", page.encode())
    # Last: a folder with a verdict is complete.
    folder.write("verdict.json", dumps(record).encode())
    folder.sweep()
    return Run(folder.path, verdict, rows, record, measurements)


def _record(
    claim: Claim,
    folder: RunFolder,
    verdict: Verdict,
    stored: dict[str, StoredTrial],
    rounds: list[int],
) -> dict[str, Any]:
    began_with = folder.header["environment"]
    return encode(
        {
            "claim": claim.name,
            "statement": claim.statement,
            "source": claim.source,
            "verdict": verdict.status,
            "vacuous": verdict.vacuous,
            "margin": verdict.margin,
            "error_budget": verdict.error_budget,
            "reason": verdict.reason,
            "control": folder.header["control"],
            "summary": verdict.summary,
            "config": folder.header["config"],
            "environment": began_with,
            **({"data_file": folder.header["data_file"]} if "data_file" in folder.header else {}),
            "other_environments": _others(began_with, stored),
            "trials": len(stored),
            "rounds": rounds,
            "seconds": sum(trial.seconds for trial in stored.values()),
        }
    )


def _others(began_with: dict[str, Any], stored: dict[str, StoredTrial]) -> list[dict[str, Any]]:
    # A resumed run may end on another machine or another version: the record says so.
    def lasting(made_with: dict[str, Any]) -> dict[str, Any]:
        return {name: value for name, value in made_with.items() if name != "time"}

    others: list[dict[str, Any]] = []
    for trial in stored.values():
        made_with = lasting(trial.environment)
        if made_with != lasting(began_with) and made_with not in others:
            others.append(made_with)
    return others
