"""A table of a user's data: columns of numbers or categories, missing values, one target."""

import dataclasses
from collections.abc import Iterable
from typing import Any, Literal, NamedTuple

import numpy as np
from jaxtyping import Float, Int

Kind = Literal["number", "category"]
Task = Literal["regression", "classification"]


@dataclasses.dataclass(frozen=True)
class Column:
    """An input: its name, and what its values mean. `levels`: names of a category's codes."""

    name: str
    kind: Kind = "number"
    levels: tuple[str, ...] = ()


class TableError(ValueError):
    """A table that cannot be learned from; the message says what is wrong where, and what to do."""


@dataclasses.dataclass(frozen=True, eq=False)
class Table:
    """Inputs `values` `(n, p)`, NaN where missing, and a `target` `(n,)` that is never missing.

    Categories are codes from 0 into `levels`, classes codes into `classes`. `warnings`: what was
    done to get here from the file. `recorded`: what layers of corruption did, JSON-able.

    Raises:
        TableError: shapes that disagree, equal names, infinite values, a missing target, codes
            without a level, fewer than two rows.

    Example:
        >>> table = Table(
        ...     (Column("a"), Column("b", "category", ("no", "yes"))),
        ...     np.array([[1.5, 0.0], [np.nan, 1.0]]),
        ...     np.array([0.0, 2.0]),
        ... )
        >>> table.rows, table.names, int(table.missing.sum())
        (2, ('a', 'b'), 1)
    """

    columns: tuple[Column, ...]
    values: Float[np.ndarray, "n p"]
    target: Float[np.ndarray, " n"]
    task: Task = "regression"
    target_name: str = "y"
    classes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    recorded: tuple[dict[str, Any], ...] = ()
    name: str = "table"

    def __post_init__(self) -> None:
        if self.values.shape != (len(self.target), len(self.columns)):
            raise TableError(
                f"{self.name}: values of shape {self.values.shape} do not fit "
                f"{len(self.target)} targets and {len(self.columns)} columns"
            )
        if self.rows < 2:
            raise TableError(f"{self.name}: {self.rows} rows; at least two are needed")
        taken: set[str] = set()
        for column in self.columns:
            if column.name in taken:
                raise TableError(f"{self.name}: two columns are called {column.name!r}")
            taken.add(column.name)
        infinite = np.argwhere(np.isinf(self.values))
        if len(infinite):
            row, place = infinite[0].tolist()
            raise TableError(
                f"{self.name}: column {self.columns[place].name!r} is infinite in row {row}; "
                "use NaN where a value is missing"
            )
        if not np.isfinite(self.target).all():
            row = int(np.flatnonzero(~np.isfinite(self.target))[0])
            raise TableError(f"{self.name}: target {self.target_name!r} is not finite in row {row}")
        for place, column in enumerate(self.columns):
            if column.kind == "category":
                _check_codes(self.name, column.name, self.values[:, place], len(column.levels))
        if self.task == "classification":
            _check_codes(self.name, self.target_name, self.target, len(self.classes))

    @property
    def rows(self) -> int:
        """Number of samples."""
        return len(self.target)

    @property
    def names(self) -> tuple[str, ...]:
        """The names of the inputs."""
        return tuple(column.name for column in self.columns)

    @property
    def missing(self) -> np.ndarray:
        """Where a value is missing: `(n, p)`, boolean."""
        return np.isnan(self.values)

    def place(self, name: str) -> int:
        """The place of a column.

        Raises:
            TableError: there is none of this name.
        """
        if name not in self.names:
            raise TableError(f"{self.name}: no column {name!r}; there are {', '.join(self.names)}")
        return self.names.index(name)

    def take(self, rows: Iterable[int] | np.ndarray) -> "Table":
        """The table of these rows alone, in their order."""
        at = np.asarray(rows)
        return dataclasses.replace(self, values=self.values[at], target=self.target[at])


class Split(NamedTuple):
    """Rows of a table: to train on, to choose by, to test on. Together all, none twice."""

    train: Int[np.ndarray, "_"]
    validation: Int[np.ndarray, "_"]
    test: Int[np.ndarray, "_"]


def split(
    table: Table, seed: int, fractions: tuple[float, float, float] = (0.6, 0.2, 0.2)
) -> Split:
    """Random rows for training, validation and test; every class in the same fractions.

    Raises:
        ValueError: fractions that are negative or do not sum to one, or leave nothing to train on.

    Example:
        >>> table = Table((Column("a"),), np.arange(10.0)[:, None], np.arange(10.0))
        >>> [len(rows) for rows in split(table, seed=0)]
        [6, 2, 2]
    """
    if min(fractions) < 0 or not np.isclose(sum(fractions), 1):
        raise ValueError(f"fractions: three that sum to one, none negative; got {fractions}")
    order = np.random.default_rng(seed).permutation(table.rows)
    if table.task == "classification":
        # Class by class, each spread evenly over (0, 1): every cut takes the same share of all.
        order = order[np.argsort(table.target[order], kind="stable")]
        classes, counts = np.unique(table.target[order], return_counts=True)
        within = np.concatenate([(np.arange(count) + 0.5) / count for count in counts])
        order = order[np.argsort(within, kind="stable")]
    first, second = (round(part * table.rows) for part in np.cumsum(fractions[:2]))
    if first == 0:
        raise ValueError(f"fractions: {fractions} of {table.rows} rows leave none to train on")
    return Split(order[:first], order[first:second], order[second:])


def _check_codes(table: str, name: str, codes: np.ndarray, levels: int) -> None:
    known = codes[~np.isnan(codes)]
    if ((known < 0) | (known >= levels) | (known != np.round(known))).any():
        raise TableError(f"{table}: {name!r} needs codes from 0 to {levels - 1}, one a level")
