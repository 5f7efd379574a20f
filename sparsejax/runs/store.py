"""A run's folder: its config, and each trial as it ends, so that a killed run resumes."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from sparsejax.claims.claim import Trial
from sparsejax.runs.settings import differences
from sparsejax.runs.strict_json import dumps, encode
from sparsejax.whole_files import (
    PARTIAL,
    DamagedFile,
    checksummed_npz,
    read_checksummed_npz,
    write_whole as _write_whole,
)

_RECORD = "__trial__"
_FAILED = ".failed-process-"


class FolderError(Exception):
    """A folder that cannot take this run, or does not hold one; the message says what to do."""


class DamagedTrial(Exception):
    """A stored trial that does not read back as it was written."""


@dataclass(frozen=True)
class StoredTrial:
    """What a trial's file holds.

    Args:
        arrays: as `Claim.measure` gave them.
        parameters: the trial's own.
        environment: what it was measured with.
        seconds: wall-clock time that it took.
    """

    arrays: dict[str, np.ndarray]
    parameters: dict[str, Any]
    environment: dict[str, Any]
    seconds: float


@dataclass(frozen=True)
class RunFolder:
    """An open run folder.

    `config.json` is written first, trials go to `trials/NAME.npz`. Every file is written under
    another name, flushed to the disk and renamed: a file with its own name is whole.

    Args:
        path: the folder.
        header: what `config.json` says: `claim`, `control`, `config`, `requested`, `environment`,
            and `data_file` where the data are a user's.
    """

    path: Path
    header: dict[str, Any]

    @classmethod
    def create(cls, path: str | Path, header: Mapping[str, Any]) -> RunFolder:
        """Start a run in `path`, or continue the one that is there.

        Raises:
            FolderError: when the folder holds another claim, config or precision, or other files,
                or cannot be written.
        """
        path = Path(path)
        encoded = encode(header)
        with _named_failure(path):
            path.mkdir(parents=True, exist_ok=True)
            if not (path / "config.json").exists():
                _refuse_foreign_files(path)
                write_whole(path / "config.json", dumps(encoded).encode())
            (path / "trials").mkdir(exist_ok=True)
        folder = cls.existing(path)
        _refuse_another_run(path, folder.header, encoded)
        return folder

    @classmethod
    def existing(cls, path: str | Path) -> RunFolder:
        """Open a folder that holds a run, finished or not.

        Raises:
            FolderError: when it holds none, or its `config.json` does not read.
        """
        path = Path(path)
        try:
            header = json.loads((path / "config.json").read_text(encoding="utf-8"))
        except (FileNotFoundError, NotADirectoryError):
            raise FolderError(f"{path} holds no run: there is no config.json in it") from None
        except (OSError, ValueError) as error:
            raise FolderError(f"{path / 'config.json'} does not read: {error}") from None
        missing = {"claim", "control", "config", "requested", "environment"} - set(header)
        if missing:
            raise FolderError(f"{path / 'config.json'} lacks {', '.join(sorted(missing))}")
        return cls(path, header)

    @classmethod
    def joined(cls, path: str | Path, header: Mapping[str, Any]) -> RunFolder:
        """Open the run that another process has started in `path`; writes nothing.

        Raises:
            FolderError: as `create`.
        """
        folder = cls.existing(path)
        _refuse_another_run(folder.path, folder.header, encode(header))
        return folder

    def trial_path(self, trial: Trial) -> Path:
        """Where a trial's arrays are, once it has ended."""
        return self.path / "trials" / f"{trial.name}.npz"

    def save(
        self,
        trial: Trial,
        arrays: Mapping[str, Any],
        environment: Mapping[str, Any],
        seconds: float,
    ) -> StoredTrial:
        """Store one trial, whole or not at all; what reads back.

        Raises:
            TypeError: for an array that is not of numbers, booleans or fixed-length strings.
            ValueError: for an array's name that is reserved.
            FolderError: when it cannot be written.
        """
        plain = {}
        for name, value in arrays.items():
            array = np.asarray(value)
            if array.dtype.kind not in "biufcUS":
                raise TypeError(
                    f"trial {trial.name}: {name!r} is an array of {array.dtype}, which a plain "
                    "npz file cannot hold: return numbers, booleans or fixed-length strings"
                )
            if name == _RECORD:
                raise ValueError(f"trial {trial.name}: the name {name!r} is reserved")
            plain[name] = array
        record = {
            "parameters": trial.parameters,
            "environment": environment,
            "seconds": seconds,
        }
        plain[_RECORD] = np.array(json.dumps(encode(record), allow_nan=False))
        write_whole(self.trial_path(trial), checksummed_npz(plain))
        stored = self.load(trial)
        if stored is None:
            raise FolderError(f"{self.trial_path(trial)} was removed while the run was at work")
        return stored

    def load(self, trial: Trial) -> StoredTrial | None:
        """A stored trial; None when it has not been measured.

        Raises:
            DamagedTrial: when the file is cut short, altered, or of other parameters.
        """
        path = self.trial_path(trial)
        try:
            stored = _read(path)
        except FileNotFoundError:
            return None
        if stored.parameters != encode(trial.parameters):
            raise DamagedTrial(f"{path} was measured with other parameters")
        return stored

    def stored_names(self) -> list[str]:
        """Of all trials that have a file, damaged or not, sorted; one look, however many."""
        return sorted(path.stem for path in (self.path / "trials").glob("*.npz"))

    def read(self, name: str) -> StoredTrial:
        """The stored trial of this name, whatever its parameters.

        Raises:
            FileNotFoundError: there is none.
            DamagedTrial: when the file is cut short or altered.
        """
        return _read(self.path / "trials" / f"{name}.npz")

    def note_failure(self, process: int) -> None:
        """Leave word for the other processes of this run, which wait for trials of this one."""
        # An empty file has a place on a full disk too; on a lost one the others fail themselves.
        with contextlib.suppress(OSError):
            (self.path / f"{_FAILED}{process}{PARTIAL}").touch()

    def failure_noted(self) -> bool:
        """Whether a process has left word that it failed."""
        return any(self.path.glob(f"{_FAILED}*"))

    def forget_failures(self) -> None:
        """Remove what processes of an earlier run left."""
        for mark in self.path.glob(f"{_FAILED}*"):
            mark.unlink(missing_ok=True)

    def write(self, name: str, content: bytes) -> None:
        """Write a file of the folder, whole or not at all."""
        write_whole(self.path / name, content)

    def sweep(self) -> None:
        """Remove what killed runs left half-written."""
        for folder in (self.path, self.path / "trials"):
            for partial in folder.glob(f".*{PARTIAL}"):
                partial.unlink(missing_ok=True)


def _read(path: Path) -> StoredTrial:
    try:
        arrays = read_checksummed_npz(path)
    except DamagedFile as error:
        raise DamagedTrial(str(error)) from None
    return StoredTrial(arrays, **json.loads(str(arrays.pop(_RECORD))))


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that its name never stands for half of it, not even after a power cut.

    Raises:
        FolderError: when it cannot be written.
    """
    with _named_failure(path):
        _write_whole(path, content)


@contextlib.contextmanager
def _named_failure(path: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise FolderError(
            f"{path} cannot be written: {error.strerror or error}; choose another output folder"
        ) from None


def _refuse_foreign_files(path: Path) -> None:
    for item in path.iterdir():
        if not item.name.endswith(PARTIAL):
            raise FolderError(
                f"{path} is not empty and holds no run ({item.name} is in it): "
                "choose another output folder"
            )


def _refuse_another_run(path: Path, there: dict[str, Any], here: dict[str, Any]) -> None:
    lines = differences(
        {"claim": there["claim"], "control": there["control"]},
        {"claim": here["claim"], "control": here["control"]},
    ) or differences(
        {**there["config"], **_beside(there)},
        {**here["config"], **_beside(here)},
    )
    if lines:
        raise FolderError(
            f"{path} holds another config ({'; '.join(lines)}): "
            "choose another output folder, or give the options that it was run with"
        )


def _beside(header: dict[str, Any]) -> dict[str, Any]:
    """What two runs have in common beside their configs to be one."""
    data = header.get("data_file")
    checksum = {} if data is None else {"sha256 of the data": data["sha256"]}
    return {"precision": header["environment"].get("dtype"), **checksum}
