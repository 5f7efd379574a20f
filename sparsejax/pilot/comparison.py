"""Means over random splits, and paired differences, with intervals that know splits overlap."""

import dataclasses

import numpy as np
import scipy.stats
from jaxtyping import Float

from sparsejax.claims.statistics import mean_interval

MOST_SPLITS = 1000
CONFIDENCE = 0.95


@dataclasses.dataclass(frozen=True)
class Interval:
    """A mean with the ends of its interval."""

    mean: float
    low: float
    high: float


def resampled_interval(
    values: Float[np.ndarray, " s"], ratio: float, confidence: float = 0.95
) -> Interval:
    """The mean over random splits of one table, with the corrected resampled t interval.

    Splits share rows, so that their results vary together and Student's interval is too short.
    `ratio`: rows that judge over rows that train, in each split; the variance of the mean is taken
    as `(1 / s + ratio)` times that between splits. More splits never make it vanish: only more rows
    do. Infinite for a single value; where all are equal, no width.

    Source: Nadeau, Bengio, Machine Learning 2003.

    Example:
        >>> found = resampled_interval(np.array([1.0, 2.0, 3.0]), ratio=1 / 3)
        >>> round(found.mean, 2), round(found.high - found.mean, 2)  # 4.303 sqrt(1/3 + 1/3)
        (2.0, 3.51)
    """
    values = np.asarray(values, float)
    if not np.isfinite(values).all():
        return Interval(float(values.mean()), -np.inf, np.inf)
    mean, low, high = mean_interval(values, confidence)
    longer = float(np.sqrt(1 + ratio * len(values)))
    return Interval(mean, mean - longer * (mean - low), mean + longer * (high - mean))


def paired(
    first: Float[np.ndarray, " s"],
    second: Float[np.ndarray, " s"],
    ratio: float,
    confidence: float = 0.95,
) -> Interval:
    """`first - second`, split by split: what both have in common falls out.

    Example:
        >>> found = paired(np.array([1.0, 5.0]), np.array([2.0, 6.0]), ratio=0.5)
        >>> found.mean, found.high
        (-1.0, -1.0)
    """
    return resampled_interval(np.asarray(first) - np.asarray(second), ratio, confidence)


def together(intervals: int) -> float:
    """The confidence of each of so many intervals that hold together with 95% (Bonferroni)."""
    return 1 - (1 - CONFIDENCE) / max(intervals, 1)


def splits_to_tell(
    difference: Interval, splits: int, ratio: float, confidence: float = 0.95
) -> int | None:
    """About how many splits would part the interval from zero; None where not a thousand would.

    Mean and spread are taken to stay; Student's quantile, large for few splits, shrinks.

    Example:
        >>> splits_to_tell(Interval(1.0, -0.5, 2.5), splits=5, ratio=0.1)
        10
    """
    half = difference.high - difference.mean
    if not np.isfinite(half):
        return None
    numbers = np.arange(splits, max(splits, MOST_SPLITS) + 1)
    halves = scipy.stats.t.ppf((1 + confidence) / 2, numbers - 1) * np.sqrt(1 / numbers + ratio)
    enough = half * halves / halves[0] < abs(difference.mean)
    return int(numbers[enough.argmax()]) if enough.any() else None
