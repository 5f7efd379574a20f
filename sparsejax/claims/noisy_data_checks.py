"""What noisy-data asserts, each with its interval: supports found, curves that fall, chance."""

import dataclasses
import math
import warnings

import numpy as np
import scipy.stats
from jaxtyping import Float

from sparsejax.claims.statistics import (
    bounded_mean_interval,
    clopper_pearson,
    decided,
    lifts_to_place_estimate,
    lifts_to_place_proportion,
    mean_interval,
)

WORDS = {"f1": "F1 of the support", "rand_index": "Rand index of the groups"}


@dataclasses.dataclass(frozen=True)
class Curve:
    """A corruption: its levels from the least to the greatest, and the cell of each."""

    name: str
    levels: tuple[float, ...]
    cells: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Check:
    """A status, the estimate less its goal, the worse end of that, half the interval, and words.

    `needed`: how many targets would decide.
    """

    name: str
    status: str
    margin: float
    slack: float
    half: float
    said: str
    needed: float | int


def mild_check(f1: Float[np.ndarray, " n"], goal: float, confidence: float) -> Check:
    """Whether the mean F1 reaches the goal, by an interval that has a width for equal values.

    Example:
        >>> mild_check(np.ones(100), 0.95, 0.95).status, mild_check(np.ones(20), 0.95, 0.95).status
        ('holds', 'inconclusive')
    """
    mean, low, high = bounded_mean_interval(f1, confidence)
    said = f"mild corruption: mean F1 of the support {mean:.3f} [{low:.3f}, {high:.3f}]"
    needed = lifts_to_place_estimate(mean, low, high, len(f1), goal)
    return Check("mild", decided(low, high, goal), mean - goal, low - goal, (high - low) / 2, said,
                 needed)  # fmt: skip


def chance_check(shown: int, count: int, most: float, confidence: float) -> Check:
    """Whether at most this share of permuted targets shows anything.

    Example:
        >>> chance_check(0, 60, 0.1, 0.95).status, chance_check(30, 60, 0.1, 0.95).status
        ('holds', 'violated')
    """
    low, high = clopper_pearson(shown, count, confidence)
    share = shown / count
    return Check(
        "chance",
        decided(1 - high, 1 - low, 1 - most),
        most - share,
        most - high,
        (high - low) / 2,
        f"of {count} permuted targets {shown} show anything, a share of at most {high:.3f}",
        lifts_to_place_proportion(1 - share, 1 - most, confidence),
    )


def trend(values: Float[np.ndarray, "n k"]) -> float:
    """The p-value of Page's test of no trend against a fall from column to column.

    Each row is ranked by itself, equal values sharing their ranks: with many of them the test is
    cautious.

    Source: Page, J. American Statistical Association 1963 (scipy.stats.page_trend_test).

    Example:
        >>> falling = np.tile([3.0, 2.0, 1.0], (5, 1))
        >>> trend(falling) < 0.001, trend(falling[:, ::-1]) > 0.99
        (True, True)
    """
    # Its exact law is tabulated by a search that grows fast; the normal one is near for ten rows.
    method = "exact" if len(values) < 10 and values.shape[1] < 7 else "asymptotic"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return float(scipy.stats.page_trend_test(-values, method=method).pvalue)


def curve_check(
    curve: Curve, measure: str, values: Float[np.ndarray, "n k"], confidence: float
) -> Check:
    """Whether a measure falls along a curve: the trend, its ends, and no significant rise.

    `values`: a row a target, a column a level. Differences are taken target by target. Holds where
    Page's test and the interval of the fall from the first level to the last both tell; violated
    where it rises from the first level to the last, or between neighbours.
    """
    p_value = trend(values)
    fall, low, high = mean_interval(values[:, 0] - values[:, -1], confidence)
    steps = values.shape[1] - 1
    rises = [
        mean_interval(values[:, at + 1] - values[:, at], 1 - (1 - confidence) / steps)
        for at in range(steps)
    ]
    up = [at for at, (_, least, _) in enumerate(rises) if least > 0]
    what = f"{curve.name}: the {WORDS[measure]}"
    name = f"{curve.name}: {measure}"
    half = (high - low) / 2
    if up:
        at = max(up, key=lambda at: rises[at][1])
        mean, least, most = rises[at]
        said = (
            f"{what} rises by {mean:.3f} [{least:.3f}, {most:.3f}] from {curve.levels[at]:g} to "
            f"{curve.levels[at + 1]:g}"
        )
        return Check(name, "violated", -mean, -least, (most - least) / 2, said, math.nan)
    status = decided(low, high, strictly=True)
    said = (
        f"{what} falls by {fall:.3f} [{low:.3f}, {high:.3f}] from {curve.levels[0]:g} to "
        f"{curve.levels[-1]:g}, trend p = {p_value:.2g}"
    )
    if status == "holds" and p_value >= 1 - confidence:
        status = "inconclusive"
    needed = lifts_to_place_estimate(fall, low, high, len(values), 0.0)
    return Check(name, status, fall, low, half, said, max(needed, len(values) + 1))
