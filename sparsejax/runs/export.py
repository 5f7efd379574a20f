"""The raw measurements of runs as two tidy tables: a row a trial, and a row an array's element."""

from __future__ import annotations

import contextlib
import csv
import json
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from sparsejax.runs.comparison import differing, distinct_names
from sparsejax.runs.store import DamagedTrial, FolderError, RunFolder, StoredTrial
from sparsejax.whole_files import PARTIAL

_EXACT = 2**53  # integers beyond are not all floats


class MissingExtra(Exception):
    """A file format whose library is not installed; the message names the extra."""


@dataclass(frozen=True)
class Exported:
    """What `export_runs` wrote.

    Args:
        written: number of rows by file: the table of trials, then that of arrays.
        problems: folders and trials that could not be read, a sentence each.
    """

    written: dict[Path, int]
    problems: list[str]


def check_destination(to: Path) -> None:
    """Refuse a file name of no known format, before any work.

    Raises:
        ValueError: for another ending than `.csv` or `.parquet`.
        MissingExtra: for `.parquet` without pyarrow.

    >>> check_destination(Path("trials.xlsx"))
    Traceback (most recent call last):
    ValueError: to: trials.xlsx should end in .csv or .parquet
    """
    if to.suffix == ".parquet":
        _parquet()
    elif to.suffix != ".csv":
        raise ValueError(f"to: {to} should end in .csv or .parquet")


def arrays_file(to: Path) -> Path:
    """Where the table of arrays goes.

    >>> arrays_file(Path("here/trials.csv")).as_posix()
    'here/trials-arrays.csv'
    """
    return to.with_name(f"{to.stem}-arrays{to.suffix}")


def export_runs(folders: Sequence[Path], to: Path) -> Exported:
    """Write what the folders hold, finished or not, as CSV or Parquet by the ending of `to`.

    `to` has a row a trial: the config's fields that differ between the runs, the trial's
    parameters, every scalar that it measured, `seconds`, `dtype` and `device`. `arrays_file(to)`
    has a row an element of every other array: `trial`, `name`, `index` (more axes: `index_1`, ...),
    `ts` where the array runs along the trial's times, `value`, and `text` for what is no float.
    Several folders add a column `run`, several claims a column `claim`. A name that two sources
    share is written as `parameter.NAME` or `measured.NAME`; complex numbers are `.real` and
    `.imag`. Numbers read back to the last bit.

    Raises:
        ValueError: for an unknown ending of `to`.
        MissingExtra: for `.parquet` without pyarrow.
        FolderError: where no folder holds a trial, or the files cannot be written.
    """
    check_destination(to)
    runs, problems = _open(folders)
    table = _Trials()
    rank, with_text = 1, False
    for name, trial_name, stored in _stored(runs, problems):
        numbers = _real(stored.arrays)
        table.add(runs[name], name, trial_name, stored, numbers)
        for array in numbers.values():
            rank = max(rank, array.ndim)
            with_text = with_text or (array.ndim > 0 and not _as_float(array)[1].all())
    if not table.rows:
        raise FolderError("; ".join(["there is no trial to export", *problems]))
    columns = table.columns()
    kinds: dict[str, type] = {"run": str} if len(runs) > 1 else {}
    kinds |= {"trial": str, "name": str, "dtype": str, "index": int}
    kinds |= {f"index_{axis}": int for axis in range(1, rank)}
    kinds |= {"ts": float, "value": float} | ({"text": str} if with_text else {})
    written = {to: len(table.rows), arrays_file(to): 0}
    with _writer(to, {name: _kind(values) for name, values in columns.items()}) as file:
        file.write(columns)
    with _writer(arrays_file(to), kinds) as file:
        # Read a second time, one trial in memory: arrays may be many.
        for name, trial_name, stored in _stored(runs, []):
            for elements in _elements(stored, {"run": name, "trial": trial_name}, rank):
                file.write({column: elements[column] for column in kinds})
                written[arrays_file(to)] += len(elements["value"])
    return Exported(written, problems)


def _open(folders: Sequence[Path]) -> tuple[dict[str, RunFolder], list[str]]:
    opened, problems = [], []
    for folder in folders:
        try:
            opened.append(RunFolder.existing(folder))
        except FolderError as error:
            problems.append(str(error))
    names = distinct_names(folder.path for folder in opened)
    return dict(zip(names, opened, strict=True)), problems


def _stored(
    runs: Mapping[str, RunFolder], problems: list[str]
) -> Iterator[tuple[str, str, StoredTrial]]:
    for name, folder in runs.items():
        for trial_name in folder.stored_names():
            try:
                yield name, trial_name, folder.read(trial_name)
            except DamagedTrial as damage:
                problems.append(str(damage))


def _real(arrays: Mapping[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The arrays, complex ones in two parts."""
    parts: dict[str, np.ndarray] = {}
    for name, array in arrays.items():
        if array.dtype.kind == "c":
            parts |= {f"{name}.real": array.real, f"{name}.imag": array.imag}
        else:
            parts[name] = array
    return parts


@dataclass
class _Trials:
    """The table of trials; names are settled when all have been seen."""

    rows: list[dict[str, dict[str, Any]]] = field(default_factory=list)
    headers: dict[str, dict[str, Any]] = field(default_factory=dict)

    def add(
        self,
        folder: RunFolder,
        run: str,
        trial: str,
        stored: StoredTrial,
        numbers: Mapping[str, np.ndarray],
    ) -> None:
        self.headers[run] = folder.header
        made_with = stored.environment
        scalars = {name: array.item() for name, array in numbers.items() if array.ndim == 0}
        self.rows.append(
            {
                "": {"run": run, "trial": trial},
                "parameter": {name: _plain(value) for name, value in stored.parameters.items()},
                "measured": {
                    name: _plain(value.decode() if isinstance(value, bytes) else value)
                    for name, value in scalars.items()
                },
                "last": {
                    "seconds": stored.seconds,
                    "dtype": made_with.get("dtype"),
                    "device": made_with.get("device_kind"),
                },
            }
        )

    def columns(self) -> dict[str, list[Any]]:
        runs = list(self.headers)
        claims = [self.headers[run]["claim"] for run in runs]
        fields = differing([self.headers[run]["config"] for run in runs])
        found: dict[str, list[Any]] = {}
        here = [runs.index(row[""]["run"]) for row in self.rows]
        if len(runs) > 1:
            found["run"] = [runs[place] for place in here]
        if len(set(claims)) > 1:
            found["claim"] = [claims[place] for place in here]
        found["trial"] = [row[""]["trial"] for row in self.rows]
        taken = {*found, "seconds", "dtype", "device"}
        for name, values in fields.items():
            found[f"config.{name}" if name in taken else name] = [
                _plain(values[place]) for place in here
            ]
        for source in ("parameter", "measured"):
            taken |= set(found)
            names = dict.fromkeys(name for row in self.rows for name in row[source])
            for name in names:
                column = f"{source}.{name}" if name in taken else name
                found[column] = [row[source].get(name) for row in self.rows]
        for name in ("seconds", "dtype", "device"):
            found[name] = [row["last"][name] for row in self.rows]
        return {name: _of_one_kind(values) for name, values in found.items()}


def _plain(value: Any) -> Any:
    """Scalars as they are, lists and mappings as JSON."""
    return json.dumps(value) if isinstance(value, list | dict) else value


def _kind(values: Iterable[Any]) -> type:
    return next((type(value) for value in values if value is not None), str)


def _of_one_kind(values: list[Any]) -> list[Any]:
    """A column's values, all of one type: a table's column has one."""
    kinds = {type(value) for value in values if value is not None}
    if len(kinds) < 2 and not (kinds == {int} and any(abs(v or 0) >= 2**63 for v in values)):
        return values
    if kinds == {int, float} and all(v is None or float(v) == v or v != v for v in values):
        return [None if value is None else float(value) for value in values]
    return [None if value is None else str(value) for value in values]


def _as_float(array: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The array as float64, and where that is exact."""
    if array.dtype.kind in "US":
        return np.full(array.shape, np.nan), np.zeros(array.shape, bool)
    exact = np.ones(array.shape, bool)
    if array.dtype.kind in "iu":
        exact = (array <= _EXACT) & (array >= (0 if array.dtype.kind == "u" else -_EXACT))
    elif array.dtype.kind == "f" and array.dtype.itemsize > 8:
        exact = array.astype(float).astype(array.dtype) == array
    return array.astype(float), exact


def _elements(stored: StoredTrial, common: dict[str, str], rank: int) -> Iterator[dict[str, Any]]:
    """The columns of each array that is no scalar."""
    times = stored.arrays.get("ts")
    for name, array in _real(stored.arrays).items():
        if array.ndim == 0 or not array.size:
            continue
        floats, exact = (part.ravel() for part in _as_float(array))
        indices = np.indices(array.shape).reshape(array.ndim, -1)
        along = times is not None and times.ndim == 1 and len(times) == len(array) and name != "ts"
        words = [
            None if e else (v.decode() if isinstance(v, bytes) else str(v))
            for v, e in zip(array.ravel().tolist(), exact.tolist(), strict=True)
        ]
        count = array.size
        columns: dict[str, Any] = {column: [value] * count for column, value in common.items()}
        columns |= {"name": [name] * count, "dtype": [array.dtype.name] * count}
        columns["index"] = indices[0].tolist()
        for axis in range(1, rank):
            columns[f"index_{axis}"] = (
                indices[axis].tolist() if axis < array.ndim else [None] * count
            )
        columns["ts"] = (
            times[indices[0]].astype(float).tolist()
            if along and times is not None
            else [None] * count
        )
        columns["value"] = [
            v if e else None for v, e in zip(floats.tolist(), exact.tolist(), strict=True)
        ]
        yield {**columns, "text": words}


def _writer(path: Path, kinds: Mapping[str, type]) -> contextlib.AbstractContextManager[Any]:
    return _parquet_file(path, kinds) if path.suffix == ".parquet" else _csv_file(path, kinds)


@contextlib.contextmanager
def _whole_file(path: Path) -> Iterator[Path]:
    """A path to write to that becomes `path` when all is written."""
    partial = path.with_name(f".{path.name}.{os.getpid()}{PARTIAL}")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        yield partial
        partial.replace(path)
    except OSError as error:
        raise FolderError(f"{path} cannot be written: {error.strerror or error}") from None
    finally:
        with contextlib.suppress(OSError):
            partial.unlink(missing_ok=True)


class _CsvFile:
    def __init__(self, file: Any) -> None:
        self._rows = csv.writer(file)

    def write(self, columns: Mapping[str, list[Any]]) -> None:
        # A float's repr is the shortest text that reads back as the same float.
        self._rows.writerows(
            [repr(value) if isinstance(value, float) else value for value in row]
            for row in zip(*columns.values(), strict=True)
        )


@contextlib.contextmanager
def _csv_file(path: Path, kinds: Mapping[str, type]) -> Iterator[_CsvFile]:
    with _whole_file(path) as partial, partial.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerow(kinds)
        yield _CsvFile(file)


def _parquet() -> tuple[Any, Any]:
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise MissingExtra(
            "a .parquet file needs pyarrow, which is not installed: "
            'pip install "sparsejax[parquet]", or choose a .csv file'
        ) from None
    return pyarrow, pyarrow.parquet


class _ParquetFile:
    def __init__(self, file: Any, schema: Any, pyarrow: Any) -> None:
        self._file, self._schema, self._pyarrow = file, schema, pyarrow

    def write(self, columns: Mapping[str, list[Any]]) -> None:
        # By columns and types given: NaN stays NaN, and only None is null.
        self._file.write_table(self._pyarrow.table(dict(columns), schema=self._schema))


@contextlib.contextmanager
def _parquet_file(path: Path, kinds: Mapping[str, type]) -> Iterator[_ParquetFile]:
    pyarrow, parquet = _parquet()
    types = {
        float: pyarrow.float64(),
        int: pyarrow.int64(),
        bool: pyarrow.bool_(),
        str: pyarrow.string(),
    }
    schema = pyarrow.schema([(name, types[kind]) for name, kind in kinds.items()])
    with _whole_file(path) as partial, parquet.ParquetWriter(partial, schema) as file:
        yield _ParquetFile(file, schema, pyarrow)
