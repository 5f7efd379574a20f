"""Data sets by name: samples of a compositional target, or bundled real data."""

import jax
import numpy as np
from jaxtyping import Array, Float

from sparsejax.targets.compositional import product_tree
from sparsejax.targets.dataset import Dataset
from sparsejax.targets.target import Target

REAL = ("diabetes", "digits")
NAMES = ("synthetic", *REAL)
USUAL_SAMPLES = 400


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


def real_data(name: str, samples: int | None, seed: int, *, test_fraction: float = 0.25) -> Dataset:
    """A bundled data set, shuffled, split, and standardised by its training part.

    `"diabetes"`: 10 measurements, disease progression (standardised). `"digits"`: 64 pixels, the
    label whether the digit is even (+1) or odd (-1). `samples` bounds the training part. Columns
    that are constant on the training part become zero.

    Raises:
        ValueError: an unknown name, more samples than the training part has, or a test fraction
            outside [0, 1).

    Example:
        >>> real_data("diabetes", samples=100, seed=0).x_train.shape
        (100, 10)
    """
    if name not in REAL:
        raise ValueError(f"unknown data set {name!r}; known are {', '.join(NAMES)}")
    if not 0 <= test_fraction < 1:
        raise ValueError(f"test_fraction must be at least 0 and below 1, got {test_fraction}")
    from sklearn import datasets

    if name == "diabetes":
        x, y = datasets.load_diabetes(return_X_y=True)
    else:
        x, digit = datasets.load_digits(return_X_y=True)
        y = np.where(digit % 2 == 0, 1.0, -1.0)
    order = np.random.default_rng(seed).permutation(len(x))
    split = len(x) - round(test_fraction * len(x))
    if samples is not None and not 1 <= samples <= split:
        raise ValueError(f"{name} has {split} training samples; {samples} were asked for")
    train, test = order[: samples or split], order[split:]
    x = _standardised(x, x[train])
    if name == "diabetes":
        y = _standardised(y[:, None], y[train][:, None])[:, 0]
    return Dataset(name, x[train], y[train][:, None], x[test], y[test][:, None])


def data_by_name(name: str, samples: int | None, seed: int) -> Dataset:
    """`"synthetic"` (samples of `product_tree`) or a bundled data set.

    `samples=None`: 400, or all training samples that there are where that is fewer.

    Raises:
        ValueError: an unknown name; as `sampled` and `real_data`.
    """
    if name == "synthetic":
        return sampled(product_tree(), USUAL_SAMPLES if samples is None else samples, seed)
    if samples is None:
        samples = min(USUAL_SAMPLES, len(real_data(name, None, seed).x_train))
    return real_data(name, samples, seed)


def _standardised(
    values: Float[np.ndarray, "n d"], reference: Float[np.ndarray, "m d"]
) -> Float[np.ndarray, "n d"]:
    # Not `std > 0`: the standard deviation of equal numbers may be a rounding away from zero.
    varies = np.ptp(reference, axis=0) > 0
    spread = np.where(varies, reference.std(axis=0), 1.0)
    return np.where(varies, (values - reference.mean(axis=0)) / spread, 0.0)


def _numpy(array: Float[Array, "..."]) -> Float[np.ndarray, "..."]:
    return np.asarray(array)
