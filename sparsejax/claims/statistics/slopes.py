"""Exponents: slopes on a log-log plot over sizes, with intervals over lifts."""

import warnings
from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import scipy.stats
from jaxtyping import Float


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


def bootstrap_slope_interval(
    x: Float[np.ndarray, " sizes"],
    values: Sequence[Float[np.ndarray, " _"]],
    rng: np.random.Generator,
    confidence: float = 0.95,
    *,
    summary: Literal["mean", "median"] = "mean",
    resamples: int = 4000,
) -> tuple[float, float, float]:
    """Slope of the logarithm of the mean, or median, over lifts against `log x`, by the bootstrap.

    `values`: for each size, one number of each of its lifts, as many as there are. Lifts are drawn
    again within each size, so that sizes need not share anything. The interval is BCa (bias
    corrected and accelerated) for means, and takes percentiles for medians, whose acceleration the
    jackknife cannot estimate.

    Of the median, lifts that were stopped before they had a value (times to a level) may be given
    as infinite, if at each size all were stopped at one time. A resample with infinite medians
    stands for any slope that it could have: an end is infinite where such resamples decide it.

    Raises:
        ValueError: sizes or values that are not positive, fewer than two lifts or different sizes,
            an infinite value in a mean, confidence out of range.

    Source: Efron, JASA 1987, by `scipy.stats.bootstrap`.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> x = np.array([1.0, 2.0, 4.0])
        >>> values = [size**2 * rng.lognormal(sigma=0.1, size=20) for size in x]
        >>> slope, low, high = bootstrap_slope_interval(x, values, np.random.default_rng(1))
        >>> low < 2 < high, high - low < 0.2
        (True, True)
    """
    _check_samples(x, values, confidence, summary)
    logs = np.log(x) - np.log(x).mean()
    weights = logs / (logs @ logs)

    def slopes(*samples: np.ndarray, axis: int = -1) -> np.ndarray:
        sums = np.stack([getattr(np, summary)(sample, axis=axis) for sample in samples])
        with np.errstate(invalid="ignore"):
            return np.tensordot(weights, np.log(sums), axes=1)

    measured = float(slopes(*values))
    with warnings.catch_warnings(), np.errstate(invalid="ignore", divide="ignore"):
        # Infinite medians, and lifts that are all the same: both are seen below.
        warnings.simplefilter("ignore", scipy.stats.DegenerateDataWarning)
        found = scipy.stats.bootstrap(
            values,
            slopes,
            n_resamples=resamples,
            vectorized=True,
            confidence_level=confidence,
            method="BCa" if summary == "mean" else "percentile",
            rng=rng,
        )
    low, high = (float(end) for end in found.confidence_interval)
    if np.isfinite(low + high):
        return measured, low, high
    # Some medians were infinite (NaN: at both ends of the ladder), or all lifts are the same.
    drawn, tail = found.bootstrap_distribution, (1 - confidence) / 2
    low = np.quantile(np.where(np.isnan(drawn), -np.inf, drawn), tail, method="lower")
    high = np.quantile(np.where(np.isnan(drawn), np.inf, drawn), 1 - tail, method="higher")
    return measured, float(low), float(high)


def _check_samples(x, values, confidence, summary) -> None:
    if len(set(x.tolist())) < 2 or len(x) != len(values) or not (x > 0).all():
        raise ValueError(
            f"a slope needs two different positive sizes, and the lifts of each; got {x} with "
            f"{len(values)} samples"
        )
    for size, sample in zip(x, values, strict=True):
        if len(sample) < 2:
            raise ValueError(f"size {size:g} has {len(sample)} lifts; resampling needs two")
        if not (sample > 0).all():
            raise ValueError(f"size {size:g}: logarithms are of positive numbers, got {sample}")
        if summary == "mean" and not np.isfinite(sample).all():
            raise ValueError(f"size {size:g}: the mean of an infinite value; use the median")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, got {confidence}")
    if summary not in ("mean", "median"):
        raise ValueError(f"summary is 'mean' or 'median', not {summary!r}")
