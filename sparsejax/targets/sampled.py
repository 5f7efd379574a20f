"""Data sets by name: samples of a compositional target, bundled tables, or a user's own."""

import jax
import numpy as np
from jaxtyping import Array, Float

from sparsejax.targets.compositional import product_tree
from sparsejax.targets.dataset import Dataset
from sparsejax.targets.encoded import encoded
from sparsejax.targets.read_table import is_table_file, read_table
from sparsejax.targets.real_tables import REAL, real_table
from sparsejax.targets.table import Table, TableError
from sparsejax.targets.target import Target

NAMES = ("synthetic", *REAL)
USUAL_SAMPLES = 400
TEST_FRACTION = 0.25


def sampled(target: Target, samples: int, seed: int, *, test_samples: int = 1000) -> Dataset:
    """Samples of a target by the law of its inputs, training and test drawn apart.

    Raises:
        ValueError: fewer than one training sample, or a negative number of test samples.

    Example:
        >>> sampled(product_tree(), samples=5, seed=0).x_train.shape
        (5, 8)
    """
    if samples < 1 or test_samples < 0:
        raise ValueError(
            f"samples must be positive, test_samples not negative; got {samples}, {test_samples}"
        )
    keys = jax.random.split(jax.random.key(seed))
    parts = []
    for key, count in zip(keys, (samples, test_samples), strict=True):
        # No samples at all are the first none of one.
        parts += [_numpy(array[:count]) for array in target.sample(key, max(count, 1))]
    return Dataset("synthetic", *parts)


def table_data(
    table: Table,
    samples: int | None,
    seed: int,
    *,
    test_fraction: float = TEST_FRACTION,
    imputation: str = "mean",
) -> Dataset:
    """A table shuffled, split, encoded and standardised by its training part (see `encoded`).

    `samples` bounds the training part. Missing values are filled as `imputation` says.

    Raises:
        ValueError: more samples than the training part has, or a test fraction outside [0, 1).

    Example:
        >>> table_data(real_table("penguins"), samples=100, seed=0).x_train.shape
        (100, 9)
    """
    if not 0 <= test_fraction < 1:
        raise ValueError(f"test_fraction must be at least 0 and below 1, got {test_fraction}")
    order = np.random.default_rng(seed).permutation(table.rows)
    count = _training_rows(table, test_fraction)
    if samples is not None and not 1 <= samples <= count:
        raise ValueError(
            f"samples: {table.name} has {count} training samples; {samples} were asked for"
        )
    train, test = order[: samples or count], order[count:]
    found = encoded(table, train, imputation=imputation)
    return Dataset(table.name, found.x[train], found.y[train], found.x[test], found.y[test])


def real_data(
    name: str, samples: int | None, seed: int, *, test_fraction: float = TEST_FRACTION
) -> Dataset:
    """A bundled table (see `real_table`) as training and test samples (see `table_data`).

    `"diabetes"`: 10 measurements, disease progression (standardised). `"digits"`: 64 pixels, the
    label whether the digit is even (+1) or odd (-1). Columns that are constant on the training part
    become zero.

    Raises:
        ValueError: an unknown name; as `table_data`.

    Example:
        >>> real_data("diabetes", samples=100, seed=0).x_train.shape
        (100, 10)
    """
    if name not in REAL:
        raise ValueError(f"unknown data set {name!r}; known are {', '.join(NAMES)}")
    return table_data(real_table(name), samples, seed, test_fraction=test_fraction)


def data_by_name(name: str, samples: int | None, seed: int, target: str | None = None) -> Dataset:
    """`"synthetic"` (samples of `product_tree`), a bundled data set, or the table in a file.

    `samples=None`: 400, or all training samples that there are where that is fewer. `target`: the
    column of a file that is learned.

    Raises:
        ValueError: an unknown name, a file without `target` or `target` without a file; as
            `sampled`, `real_data` and `read_table`.
    """
    if is_table_file(name):
        if target is None:
            raise TableError(f"target: say which column of {name} is to be learned")
        table = read_table(name, target)
    elif target is not None:
        raise ValueError(f"target: {target!r} is a column of a file, and data is {name!r}")
    elif name == "synthetic":
        return sampled(product_tree(), USUAL_SAMPLES if samples is None else samples, seed)
    elif name in REAL:
        table = real_table(name)
    else:
        raise ValueError(
            f"data: unknown data set {name!r}; known are {', '.join(NAMES)}, and files such as "
            "mine.csv"
        )
    if samples is None:
        samples = min(USUAL_SAMPLES, _training_rows(table, TEST_FRACTION))
    return table_data(table, samples, seed)


def _training_rows(table: Table, test_fraction: float) -> int:
    return table.rows - round(test_fraction * table.rows)


def _numpy(array: Float[Array, "..."]) -> Float[np.ndarray, "..."]:
    return np.asarray(array)
