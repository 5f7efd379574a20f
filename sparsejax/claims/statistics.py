"""Intervals for what an ensemble measured: fractions, means, and the empirical learning number."""

from collections.abc import Callable, Mapping

import numpy as np
import scipy.stats
from jaxtyping import Float


def clopper_pearson(successes: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """The exact two-sided interval for a probability after `successes` in `trials`.

    Raises:
        ValueError: counts or confidence out of range.

    Example:
        >>> [round(end, 4) for end in clopper_pearson(20, 20)]
        [0.8316, 1.0]
    """
    if not 0 <= successes <= trials or trials < 1 or not 0 < confidence < 1:
        raise ValueError(f"no interval for {successes} of {trials} at confidence {confidence}")
    interval = scipy.stats.binomtest(successes, trials).proportion_ci(confidence, method="exact")
    return float(interval.low), float(interval.high)


def learning_number(
    successes: Mapping[int, int], trials: Mapping[int, int], delta: float, confidence: float
) -> int | None:
    """The least tested size at and beyond which every lower confidence limit is >= 1 - delta.

    None where the largest tested size misses it.

    Example:
        >>> learning_number({8: 3, 16: 20, 32: 20}, {8: 20, 16: 20, 32: 20}, 0.2, 0.95)
        16
    """
    found = None
    for size in sorted(successes, reverse=True):
        if clopper_pearson(successes[size], trials[size], confidence)[0] < 1 - delta:
            break
        found = size
    return found


def mean_interval(
    values: Float[np.ndarray, " n"], confidence: float = 0.95
) -> tuple[float, float, float]:
    """Mean with Student's interval; the interval is infinite for a single value.

    Example:
        >>> [round(end, 3) for end in mean_interval(np.array([1.0, 2.0, 3.0]))]
        [2.0, -0.484, 4.484]
    """
    mean = float(np.mean(values))
    if len(values) < 2:
        return mean, -np.inf, np.inf
    half = float(scipy.stats.t.ppf((1 + confidence) / 2, len(values) - 1))
    half *= float(np.std(values, ddof=1)) / np.sqrt(len(values))
    return mean, float(mean - half), float(mean + half)


def log_log_slope(x: Float[np.ndarray, " n"], y: Float[np.ndarray, " n"]) -> float:
    """Least-squares slope of `log y` against `log x`.

    Example:
        >>> round(log_log_slope(np.array([1.0, 2.0, 4.0]), np.array([3.0, 12.0, 48.0])), 12)
        2.0
    """
    return float(scipy.stats.linregress(np.log(x), np.log(y)).slope)


def ladder_slope_interval(
    x: Float[np.ndarray, " sizes"],
    values: Float[np.ndarray, "lifts sizes"],
    confidence: float = 0.95,
) -> tuple[float, float, float]:
    """Slope of the logarithm of the mean over lifts against `log x`, with a jackknife interval.

    Means come first, so single zeros do no harm; where a mean is zero the slope is NaN. The
    interval leaves out one lift at a time and is Student's.

    Example:
        >>> slope, low, high = ladder_slope_interval(
        ...     np.array([1.0, 2.0, 4.0]), np.array([[2.0, 5.0, 8.0], [4.0, 7.0, 16.0]])
        ... )
        >>> round(slope, 3), low < slope < high
        (1.0, True)
    """
    lifts = len(values)
    if lifts < 2 or not (values.sum(axis=0) > 0).all():
        slope = np.nan if not (values > 0).any(axis=0).all() else log_log_slope(x, values.mean(0))
        return slope, -np.inf, np.inf
    others = (values.sum(axis=0) - values) / (lifts - 1)
    if not (others > 0).all():
        return log_log_slope(x, values.mean(axis=0)), -np.inf, np.inf
    return jackknife_slope_interval(x, values, lambda v: v.mean(axis=0), confidence)


def jackknife_slope_interval(
    x: Float[np.ndarray, " sizes"],
    values: Float[np.ndarray, "lifts sizes ..."],
    summed_up: Callable[[np.ndarray], np.ndarray],
    confidence: float = 0.95,
) -> tuple[float, float, float]:
    """Slope of the logarithm of `summed_up(values)`, a number a size, against `log x`.

    The interval leaves out one lift at a time and is Student's.

    Example:
        >>> values = np.array([[2.0, 5.0, 8.0], [4.0, 7.0, 16.0]])
        >>> largest = jackknife_slope_interval(
        ...     np.array([1.0, 2.0, 4.0]), values, lambda v: v.max(axis=0)
        ... )
        >>> [round(end, 2) for end in largest]
        [1.0, 1.0, 1.0]
    """
    lifts, slope = len(values), log_log_slope(x, summed_up(values))
    left_out = [log_log_slope(x, summed_up(np.delete(values, i, 0))) for i in range(lifts)]
    error = float(np.std(left_out)) * np.sqrt(lifts - 1)
    half = float(scipy.stats.t.ppf((1 + confidence) / 2, lifts - 1)) * error
    return slope, float(slope - half), float(slope + half)
