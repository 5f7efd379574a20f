"""Tables from files: CSV, TSV or Parquet, with a word about everything that was put right."""

import csv
import difflib
import functools
import hashlib
import warnings
from pathlib import Path
from typing import Any, Literal

from sparsejax.targets.frame import table_of_frame
from sparsejax.targets.table import Table, TableError

DELIMITERS = (",", ";", "\t", "|")
_NAMES = {",": "commas", ";": "semicolons", "\t": "tabs", "|": "bars"}
_PARQUET = (".parquet", ".pq")
SUFFIXES = (".csv", ".tsv", ".tab", ".txt", ".data", *_PARQUET)
_HEAD = 1 << 16


def is_table_file(name: str | None) -> bool:
    """Whether a name of data means a file: by its ending, a folder in it, or as it is there.

    >>> is_table_file("mine.csv"), is_table_file("diabetes")
    (True, False)
    """
    if not name:
        return False
    path = Path(name)
    return path.suffix.lower() in SUFFIXES or len(path.parts) > 1 or path.is_file()


def read_table(
    path: str | Path,
    target: str,
    *,
    task: Literal["auto", "regression", "classification"] = "auto",
) -> Table:
    r"""The table in a CSV, TSV or Parquet file, with one column as the target.

    The delimiter (comma, semicolon, tab or bar) and the encoding (UTF-8, UTF-16 with its mark, else
    Windows-1252) are found out. Missing: empty, `NA`, `NaN`, `null`, `?` and what else pandas takes
    for it. `warnings` of the table name what was left out or changed: columns without information,
    rows without target, infinite values, names that come twice, texts of very many levels.
    What the task is, if `"auto"`: see `table_of_frame`.

    Raises:
        TableError: no such file, or one that is empty, binary, ragged, or of a single column; a
            target that is not there, or has one value only.

    Example:
        >>> import pathlib, tempfile
        >>> file = pathlib.Path(tempfile.mkdtemp(), "small.csv")
        >>> _ = file.write_text("a,b,y\n1,u,2.5\n2,v,3.5\n,u,4.25\n")
        >>> read_table(file, "y").columns[1].levels
        ('u', 'v')
    """
    path = Path(path)
    try:
        state = path.stat()
    except OSError as error:
        raise TableError(f"{path}: {error.strerror}; give a CSV, TSV or Parquet file") from None
    if not path.is_file():
        raise TableError(f"{path} is no file; give a CSV, TSV or Parquet file")
    if state.st_size == 0:
        raise TableError(f"{path} is empty: a header and at least two rows are needed")
    # Trials of a run ask for the same table again and again.
    return _read(path.resolve(), str(path), target, task, state.st_mtime_ns, state.st_size)


def file_record(path: str | Path) -> dict[str, Any]:
    """What a run keeps of a file that it has read: its path, size in bytes and SHA-256.

    Raises:
        TableError: it cannot be read.
    """
    path = Path(path)
    try:
        with path.open("rb") as file:
            digest = hashlib.file_digest(file, "sha256").hexdigest()
    except OSError as error:
        raise TableError(f"{path}: {error.strerror}") from None
    return {"path": str(path), "bytes": path.stat().st_size, "sha256": digest}


@functools.lru_cache(maxsize=4)
def _read(path: Path, name: str, target: str, task: Any, changed: int, size: int) -> Table:
    del changed, size  # of the file, so that another content is not taken for this one
    said: list[str] = []
    comma = False
    if path.suffix.lower() in _PARQUET:
        frame = _parquet(path, name)
    else:
        frame, comma = _text(path, name, target, said)
    if target not in frame.columns:
        close = difflib.get_close_matches(target, [str(c) for c in frame.columns])
        hint = f"did you mean {' or '.join(map(repr, close))}? " if close else ""
        raise TableError(
            f"{name}: no column {target!r} to be the target; {hint}"
            f"there are {_listed([str(c) for c in frame.columns])}"
        )
    return table_of_frame(frame, target, task=task, name=name, said=said, decimal_comma=comma)


def _parquet(path: Path, name: str) -> Any:
    import pandas as pd

    try:
        return pd.read_parquet(path)
    except ImportError:
        raise TableError(
            f'{name}: Parquet needs `pip install "sparsejax[parquet]"`; CSV needs nothing'
        ) from None
    except Exception as error:  # of whichever library pandas reads it with
        raise TableError(f"{name} does not read as Parquet: {error}") from None


def _text(path: Path, name: str, target: str, said: list[str]) -> tuple[Any, bool]:
    """The columns of a text file, and whether a comma may be the decimal sign in it."""
    with path.open("rb") as file:
        head = file.read(_HEAD)
    encoding = "utf-8-sig"
    if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
        encoding = "utf-16"
    elif b"\0" in head:
        raise TableError(f"{name} is not text (it has zero bytes): give CSV, TSV or Parquet")
    try:
        with path.open(encoding=encoding) as text:
            for _ in iter(lambda: text.read(1 << 20), ""):
                pass
    except UnicodeDecodeError as error:
        encoding = "cp1252"
        said.append(
            f"not UTF-8 (byte 0x{error.object[error.start]:02x}): read as Windows-1252; "
            "save it as UTF-8 if names or texts look wrong"
        )
    with path.open(encoding=encoding, errors="replace", newline="") as text:
        lines = [line for line in (text.readline() for _ in range(20)) if line.strip()]
    if not lines:
        raise TableError(f"{name} is empty: a header and at least two rows are needed")
    delimiter = _delimiter(lines)
    header = next(csv.reader(lines, delimiter=delimiter))
    if len(header) == 1:
        raise TableError(
            f"{name}: one column only, {_listed(header)}; columns are to be separated by commas, "
            "semicolons, tabs or bars, and there is to be an input beside the target"
        )
    expected = "\t" if path.suffix.lower() in (".tsv", ".tab") else ","
    if delimiter != expected:
        said.append(f"columns are separated by {_NAMES[delimiter]}, not {_NAMES[expected]}")
    twice = sorted({column for column in header if column and header.count(column) > 1})
    if target in twice:
        raise TableError(
            f"{name}: {header.count(target)} columns are called {target!r}, and one of them is to "
            "be the target: rename the others"
        )
    for column in twice:
        said.append(
            f"{header.count(column)} columns are called {column!r}: the later ones are "
            f"{column}.1 and so on here"
        )
    return _parsed(path, name, delimiter, encoding), delimiter != ","


def _parsed(path: Path, name: str, delimiter: str, encoding: str) -> Any:
    import pandas as pd

    try:
        with warnings.catch_warnings():
            # Fields beyond the header would be dropped with a warning.
            warnings.simplefilter("error", pd.errors.ParserWarning)
            frame = pd.read_csv(
                path,
                sep=delimiter,
                encoding=encoding,
                encoding_errors="replace",
                index_col=False,
                low_memory=False,
                na_values=["?"],
                skipinitialspace=True,
            )
    except pd.errors.EmptyDataError:
        raise TableError(f"{name} is empty: a header and at least two rows are needed") from None
    except (pd.errors.ParserError, pd.errors.ParserWarning) as error:
        raise TableError(
            f"{name}: rows do not have as many fields as the header, separated by "
            f"{_NAMES[delimiter]} ({str(error).strip()})"
        ) from None
    frame.columns = [str(column).strip() for column in frame.columns]
    return frame


def _delimiter(lines: list[str]) -> str:
    """The one that makes most columns of the header, where rows agree with it; commas else."""

    def fit(delimiter: str) -> tuple[bool, int]:
        counts = [len(row) for row in csv.reader(lines, delimiter=delimiter)]
        return len(set(counts)) == 1 and counts[0] > 1, counts[0]

    return max(DELIMITERS, key=fit)


def _listed(names: list[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:12])
    return shown if len(names) <= 12 else f"{shown} and {len(names) - 12} more"
