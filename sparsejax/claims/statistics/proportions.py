"""Fractions of lifts: exact intervals, the learning number, and two conditions against each other.

All intervals here are for a number of lifts that was fixed beforehand. Who looks after every lift
and stops when it pleases needs `confidence_sequence`.
"""

import dataclasses
import math
from collections.abc import Mapping

import scipy.stats


@dataclasses.dataclass(frozen=True)
class ProportionDifference:
    """Two success probabilities apart: `a - b`, its interval, and a p-value for no difference."""

    difference: float
    low: float
    high: float
    p_value: float


def check_counts(successes: int, trials: int, confidence: float) -> None:
    """Raises ValueError where there is no interval for these counts at this confidence."""
    if not 0 <= successes <= trials or trials < 1 or not 0 < confidence < 1:
        raise ValueError(
            f"no interval for {successes} of {trials} at confidence {confidence}: give at least "
            "one trial, no more successes than trials, and a confidence between 0 and 1"
        )


def clopper_pearson(successes: int, trials: int, confidence: float = 0.95) -> tuple[float, float]:
    """The exact two-sided interval for a probability after `successes` in `trials`.

    Raises:
        ValueError: counts or confidence out of range.

    Source: Clopper, Pearson, Biometrika 1934.

    Example:
        >>> [round(end, 4) for end in clopper_pearson(20, 20)]
        [0.8316, 1.0]
    """
    check_counts(successes, trials, confidence)
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
    lows = {s: clopper_pearson(successes[s], trials[s], confidence)[0] for s in successes}
    return least_size_at(lows, 1 - delta)


def least_size_at(lows: Mapping[int, float], goal: float) -> int | None:
    """The least size at and beyond which every lower limit is at least the goal; None: none is.

    Example:
        >>> least_size_at({8: 0.9, 16: 0.7, 32: 0.9, 64: 0.8}, 0.8)
        32
    """
    found = None
    for size in sorted(lows, reverse=True):
        if lows[size] < goal:
            break
        found = size
    return found


def wilson(fraction: float, trials: float | int, confidence: float) -> tuple[float, float]:
    """Wilson's score interval for a fraction, which need not be a whole number of trials.

    Example:
        >>> [round(end, 4) for end in wilson(0.5, 10, 0.95)]
        [0.2366, 0.7634]
    """
    z = float(scipy.stats.norm.ppf((1 + confidence) / 2))
    centre = fraction + z**2 / (2 * trials)
    half = z * math.sqrt(fraction * (1 - fraction) / trials + (z / (2 * trials)) ** 2)
    scale = 1 + z**2 / trials
    return max((centre - half) / scale, 0.0), min((centre + half) / scale, 1.0)


def newcombe(
    fraction_a: float,
    trials_a: float | int,
    fraction_b: float,
    trials_b: float | int,
    confidence: float,
) -> tuple[float, float]:
    """Newcombe's hybrid score interval for `a - b`, from two of Wilson's.

    Source: Newcombe, Statistics in Medicine 1998, method 10.

    Example:
        >>> [round(end, 4) for end in newcombe(56 / 70, 70, 48 / 80, 80, 0.95)]
        [0.0524, 0.3339]
    """
    low_a, high_a = wilson(fraction_a, trials_a, confidence)
    low_b, high_b = wilson(fraction_b, trials_b, confidence)
    difference = fraction_a - fraction_b
    low = difference - math.hypot(fraction_a - low_a, high_b - fraction_b)
    high = difference + math.hypot(high_a - fraction_a, fraction_b - low_b)
    return max(low, -1.0), min(high, 1.0)


def difference_of_proportions(
    successes_a: int, trials_a: int, successes_b: int, trials_b: int, confidence: float = 0.95
) -> tuple[float, float, float]:
    """The difference `a - b` of two fractions of independent lifts, with Newcombe's score interval.

    Approximate, but near its level already for a few lifts and for fractions of 0 and 1, where the
    usual normal interval has no width.

    Raises:
        ValueError: counts or confidence out of range.

    Source: Newcombe, Statistics in Medicine 1998, method 10.

    Example:
        >>> [round(end, 3) for end in difference_of_proportions(18, 20, 5, 20)]
        [0.65, 0.353, 0.806]
    """
    check_counts(successes_a, trials_a, confidence)
    check_counts(successes_b, trials_b, confidence)
    a, b = successes_a / trials_a, successes_b / trials_b
    return a - b, *newcombe(a, trials_a, b, trials_b, confidence)


def compare_proportions(
    successes_a: int, trials_a: int, successes_b: int, trials_b: int, confidence: float = 0.95
) -> ProportionDifference:
    """Do two conditions succeed equally often? Boschloo's exact test, with Newcombe's interval.

    The test fixes the numbers of lifts, as the experiment does, and not the number of successes, as
    Fisher's test does: its error is exactly at most its level whatever the common probability is,
    and, Fisher's p-value being its statistic, it is never the weaker one of the two. Barnard's test
    orders the tables by a normal approximation instead. Near the level, test and interval may
    disagree: the interval is approximate.

    Raises:
        ValueError: counts or confidence out of range.

    Source: Boschloo, Statistica Neerlandica 1970; Newcombe, Statistics in Medicine 1998.

    Example:
        >>> found = compare_proportions(18, 20, 5, 20)
        >>> found.p_value < 1e-3, round(found.low, 3)
        (True, 0.353)
    """
    difference, low, high = difference_of_proportions(
        successes_a, trials_a, successes_b, trials_b, confidence
    )
    if successes_a + successes_b in (0, trials_a + trials_b):
        # Nothing speaks against equality; the library's statistic is 0/0 here.
        return ProportionDifference(difference, low, high, 1.0)
    table = [[successes_a, successes_b], [trials_a - successes_a, trials_b - successes_b]]
    p_value = float(scipy.stats.boschloo_exact(table).pvalue)
    return ProportionDifference(difference, low, high, min(p_value, 1.0))
