"""Random parts of a table, each encoded, and explored, by its own training rows alone."""

import dataclasses

import numpy as np
from jaxtyping import Float

from sparsejax.structure.discover import FEWEST_ROWS, Structure, discover
from sparsejax.targets.encoded import Encoded, encoded
from sparsejax.targets.table import Table, split

# To train on, to choose by, to test on.
FRACTIONS = (0.6, 0.2, 0.2)
FEWEST = 40
# More rows would not change which model is enough, and a pilot is to be cheap.
MOST = 20_000
# The share of rows from which on rows that equal another are told of.
MOST_REPEATED = 0.02


@dataclasses.dataclass(frozen=True, eq=False)
class Part:
    """Rows of one role: encoded inputs `x`, outputs `y`, and the rows of the table they are."""

    x: Float[np.ndarray, "n q"]
    y: Float[np.ndarray, "n c"]
    table: Table


@dataclasses.dataclass(frozen=True, eq=False)
class Fold:
    """One random split. `groups`: of each column of the table its columns of `x`, from 0."""

    train: Part
    validation: Part
    test: Part
    structure: Structure
    columns: tuple[str, ...]
    groups: tuple[tuple[int, ...], ...]


def folds(table: Table, splits: int, seed: int) -> list[Fold]:
    """Random splits of a table; structure, means, spreads and fillings are of training rows alone.

    Raises:
        ValueError: fewer than two splits, too few rows, or a split whose training rows have one
            value of the target.

    Example:
        >>> from sparsejax.targets import real_table
        >>> first, second = folds(real_table("iris"), 2, seed=0)
        >>> [len(part.x) for part in (first.train, first.validation, first.test)]
        [90, 30, 30]
    """
    if splits < 2:
        raise ValueError(f"splits: two at least are needed to tell how they differ, got {splits}")
    if table.rows < FEWEST:
        raise ValueError(
            f"{table.name}: {table.rows} rows; at least {FEWEST} are needed, of which "
            f"{FRACTIONS[0]:.0%} (no fewer than {FEWEST_ROWS}) to train on"
        )
    return [_fold(table, seed + number) for number in range(splits)]


def some_rows(table: Table, seed: int, most: int = MOST) -> tuple[Table, str]:
    """At most so many rows, at random, and a word on it ("" where all are taken)."""
    if table.rows <= most:
        return table, ""
    rows = np.sort(np.random.default_rng(seed).permutation(table.rows)[:most])
    return table.take(rows), f"{most} of {table.rows} rows, at random, were used"


def repeated_rows(table: Table) -> str:
    """A word on rows that equal others, target included, which splits part; "" where few do.

    Example:
        >>> from sparsejax.targets import real_table
        >>> whole = real_table("diabetes")
        >>> repeated_rows(whole), repeated_rows(whole.take(np.arange(100) % 80))[:19]
        ('', 'repeated rows: 40 o')
    """
    whole = np.column_stack([table.values, table.target])
    _, inverse, counts = np.unique(
        np.nan_to_num(whole, nan=np.inf), axis=0, return_inverse=True, return_counts=True
    )
    repeated = int((counts[inverse.ravel()] > 1).sum())
    if repeated < MOST_REPEATED * table.rows:
        return ""
    return (
        f"repeated rows: {repeated} of {table.rows} equal another in every column; where one "
        "trains and one tests, losses say less of new rows"
    )


def _fold(table: Table, seed: int) -> Fold:
    rows = split(table, seed, FRACTIONS)
    goal = table.target[rows.train]
    if np.ptp(goal) == 0:
        raise ValueError(
            f"target {table.target_name!r}: one value only, {goal[0]:g}, on the {len(goal)} "
            f"training rows of the split of seed {seed}; rows with other values are needed"
        )
    # Whether to have channels for gaps is of the table: splits are lanes of one shape. What fills
    # them is of training rows.
    imputation = "mask" if table.missing.any() else "mean"
    whole: Encoded = encoded(table, rows.train, imputation=imputation)
    train, validation, test = (
        Part(whole.x[part], whole.y[part], table.take(part)) for part in rows
    )
    return Fold(train, validation, test, discover(train.table, seed), whole.columns, whole.groups)
