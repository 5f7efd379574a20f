"""Tables as matrices: standardised on the training rows, categories as indicators, none missing."""

import dataclasses

import numpy as np
from jaxtyping import Float

from sparsejax.targets.table import Column, Table

IMPUTATIONS = ("mean", "median", "mode", "mask")


@dataclasses.dataclass(frozen=True, eq=False)
class Encoded:
    """Inputs `x` `(n, q)` and outputs `y` `(n, c)` of a table, and what each column of `x` is of.

    `groups`: for every column of the table, in order, the columns of `x` that come from it: the
    indicators of a category, and the channel that says where a value was missing. `names`: of the
    columns of `x`. `y`: the standardised target; +1 and -1 for two classes, and one such column a
    class for more.
    """

    x: Float[np.ndarray, "n q"]
    y: Float[np.ndarray, "n c"]
    names: tuple[str, ...]
    columns: tuple[str, ...]
    groups: tuple[tuple[int, ...], ...]


def encoded(table: Table, train: np.ndarray | None = None, *, imputation: str = "mean") -> Encoded:
    """A table as numbers, with means, spreads, medians and modes of the rows `train` alone.

    `train`: rows, all by default. Missing values become the mean, median or mode (categories: the
    mode) of the training rows; with `"mask"` the mean (categories: their frequencies) with a
    further column that says where. A category of two levels is one column, one of more a column a
    level. Columns that are constant on the training rows become zero.

    Raises:
        ValueError: an imputation that there is not, or no training rows.

    Example:
        >>> values = np.array([[1.0, 0.0], [3.0, 1.0], [np.nan, 2.0]])
        >>> columns = (Column("a"), Column("b", "category", ("u", "v", "w")))
        >>> found = encoded(Table(columns, values, np.arange(3.0)), imputation="mask")
        >>> found.names, found.groups
        (('a', 'a missing', 'b = u', 'b = v', 'b = w'), ((0, 1), (2, 3, 4)))
        >>> found.x[:, 0].round(2).tolist()
        [-1.22, 1.22, 0.0]
    """
    if imputation not in IMPUTATIONS:
        raise ValueError(f"imputation: one of {', '.join(IMPUTATIONS)}, not {imputation!r}")
    rows = np.arange(table.rows) if train is None else np.asarray(train)
    if len(rows) == 0:
        raise ValueError("train: no rows to fit means and spreads on")
    parts: list[np.ndarray] = []
    names: list[str] = []
    groups: list[tuple[int, ...]] = []
    for place, column in enumerate(table.columns):
        # Column by column, so that no more than the result is held.
        part, labels = _encoded_column(table.values[:, place], column, rows, imputation)
        groups.append(tuple(range(len(names), len(names) + len(labels))))
        parts.append(part)
        names += labels
    return Encoded(
        np.concatenate(parts, axis=1),
        encoded_target(table, rows),
        tuple(names),
        table.names,
        tuple(groups),
    )


def encoded_target(table: Table, train: np.ndarray) -> Float[np.ndarray, "n c"]:
    """The target of all rows: standardised on those of `train`, or +1 and -1 for classes."""
    if table.task == "regression":
        return standardised(table.target[:, None], table.target[train][:, None])
    if len(table.classes) == 2:
        return 2 * table.target[:, None] - 1
    return np.where(table.target[:, None] == np.arange(len(table.classes)), 1.0, -1.0)


def standardised(
    values: Float[np.ndarray, "n d"], reference: Float[np.ndarray, "m d"]
) -> Float[np.ndarray, "n d"]:
    """Less the mean and over the spread of `reference`; zero where that is constant.

    Example:
        >>> standardised(np.array([[3.0, 3.0]]), np.array([[0.0, 1.0], [2.0, 1.0]])).tolist()
        [[2.0, 0.0]]
    """
    # Not `std > 0`: the standard deviation of equal numbers may be a rounding away from zero.
    varies = np.ptp(reference, axis=0) > 0
    spread = np.where(varies, reference.std(axis=0), 1.0)
    return np.where(varies, (values - reference.mean(axis=0)) / spread, 0.0)


def _encoded_column(
    values: np.ndarray, column: Column, train: np.ndarray, imputation: str
) -> tuple[np.ndarray, list[str]]:
    missing = np.isnan(values)
    known = values[train][~missing[train]]
    if column.kind == "number":
        labels = [column.name]
        columns = np.where(missing, _filling(known, imputation), values)[:, None]
        seen = missing & False
    else:
        levels = range(len(column.levels)) if len(column.levels) > 2 else (1,)
        labels = [f"{column.name} = {column.levels[level]}" for level in levels]
        if imputation != "mask":
            values = np.where(missing, _filling(known, "mode"), values)
            seen = missing & False
        else:
            seen = missing
        columns = (values[:, None] == np.array(levels)).astype(float)
        # The frequencies among what is known: zero once standardised by all.
        columns[seen] = columns[train][~seen[train]].mean(axis=0) if len(known) else 0.0
    result = standardised(columns, columns[train])
    if imputation == "mask" and missing.any():
        labels.append(f"{column.name} missing")
        channel = missing.astype(float)[:, None]
        result = np.concatenate([result, standardised(channel, channel[train])], axis=1)
    return result, labels


def _filling(known: np.ndarray, imputation: str) -> float:
    if len(known) == 0:
        return 0.0
    if imputation == "median":
        return float(np.median(known))
    if imputation == "mode":
        values, counts = np.unique(known, return_counts=True)
        return float(values[np.argmax(counts)])
    return float(known.mean())
