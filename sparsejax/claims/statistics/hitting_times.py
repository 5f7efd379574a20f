"""Times at which lifts reach a level, where some were stopped before they did."""

import dataclasses
import math
import warnings

import numpy as np
import scipy.stats
from jaxtyping import Bool, Float


def hitting_time(
    ts: Float[np.ndarray, " s"], losses: Float[np.ndarray, " s"], level: float
) -> float:
    """When the loss first is at most `level`, between saved times linearly in its logarithm.

    Infinite where it never is. Times that were not reached (NaN losses) are passed over.

    >>> hitting_time(np.array([0.0, 2.0]), np.array([4.0, 1.0]), 2.0)
    1.0
    """
    known = np.isfinite(losses)
    order = np.argsort(ts[known], kind="stable")
    ts, losses = ts[known][order], losses[known][order]
    below = np.flatnonzero(losses <= level)
    if not len(below):
        return np.inf
    at = int(below[0])
    if at == 0:
        return float(ts[0])
    before, after = np.log(losses[at - 1 : at + 1])
    share = (before - np.log(level)) / (before - after)
    return float(ts[at - 1] + share * (ts[at] - ts[at - 1]))


@dataclasses.dataclass(frozen=True)
class MedianTime:
    """A median with its interval; infinite where too few lifts were seen to reach the level."""

    median: float
    low: float
    high: float


def median_hitting_time(
    times: Float[np.ndarray, " n"], reached: Bool[np.ndarray, " n"], confidence: float = 0.95
) -> MedianTime:
    """The median time to a level, by Kaplan and Meier, with Brookmeyer and Crowley's interval.

    `times`: when each lift reached the level (flow time, or steps), or, where `reached` is false,
    when it was stopped without having done so. Stopping must not depend on how the lift would have
    gone on (a fixed end does not).

    The median is the first time at which the fraction that has not reached is at most 1/2. The
    interval holds the times at which that fraction's own interval (Greenwood's error, in
    `log(-log)`) meets 1/2. The upper end is infinite where too few lifts were seen to reach: to
    drop those that were stopped, or to count them as arrived, would make it too small. Where none
    was seen, the lower end is exact: the time that enough lifts outlasted.

    Raises:
        ValueError: no times, a time that is negative or not finite, confidence out of range.

    Source: Kaplan, Meier, JASA 1958; Brookmeyer, Crowley, Biometrics 1982.

    Example:
        >>> times = np.array([1.0, 2.0, 3.0, 4.0, 5.0, 6.0])
        >>> median_hitting_time(times, np.array([True, False, True, True, False, True]))
        MedianTime(median=4.0, low=1.0, high=inf)
    """
    if not len(times) or len(times) != len(reached):
        raise ValueError(
            f"one flag for each of one or more times, got {len(times)} and {len(reached)}"
        )
    if not (np.isfinite(times) & (times >= 0)).all():
        raise ValueError(
            "times must be finite and not negative; a lift that did not reach the "
            "level has the time at which it was stopped, and reached=False"
        )
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, got {confidence}")
    if not reached.any():
        return MedianTime(np.inf, _outlasted(times, confidence), np.inf)
    data = scipy.stats.CensoredData(uncensored=times[reached], right=times[~reached])
    waiting = scipy.stats.ecdf(data).sf
    with warnings.catch_warnings():
        # Undefined where all or none have reached: treated by name below.
        warnings.simplefilter("ignore", RuntimeWarning)
        band = waiting.confidence_interval(confidence, method="log-log")
    at = waiting.quantiles
    # The fraction itself is 0 where all have reached, and so is the lower end of its interval.
    low = np.where(waiting.probabilities == 0, 0.0, band.low.probabilities)
    return MedianTime(
        _first_below(at, waiting.probabilities),
        min(_first_below(at, low), float(times[reached].max())),
        _first_below(at, band.high.probabilities),
    )


def _first_below(times: Float[np.ndarray, " n"], fractions: Float[np.ndarray, " n"]) -> float:
    """The first time with a fraction of at most 1/2; a fraction that is NaN tells nothing."""
    below = np.flatnonzero(fractions <= 0.5)
    return float(times[below[0]]) if len(below) else np.inf


def _outlasted(times: Float[np.ndarray, " n"], confidence: float) -> float:
    """The longest time that enough lifts were seen not to reach for the median to lie beyond.

    Were the median earlier, each of m lifts had missed it with probability 1/2 or less.
    """
    enough = math.ceil(math.log2(2 / (1 - confidence)))
    return float(np.sort(times)[-enough]) if len(times) >= enough else 0.0
