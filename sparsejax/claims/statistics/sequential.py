"""An interval for a probability that one may look at after every trial."""

import math
from collections.abc import Callable

import scipy.optimize
from scipy.special import betaln, log_expit

from sparsejax.claims.statistics.proportions import check_counts


def confidence_sequence(
    successes: int, trials: int, confidence: float = 0.95
) -> tuple[float, float]:
    """An interval for a probability that holds at all numbers of trials at once.

    The probability that the truth is *ever* outside, over all n, is at most `1 - confidence`: so a
    run may be looked at after every lift, and stopped when the interval decides. (Clopper and
    Pearson's interval, looked at often enough, excludes every truth.) It is

        { p : p^k (1 - p)^(n - k) / B(k + 1, n - k + 1) >= 1 - confidence },

    because the likelihood of a uniform mixture of probabilities over that of the true one,
    `B(k + 1, n - k + 1) / (p^k (1 - p)^(n - k))`, is a martingale of mean 1, which by Ville's
    inequality ever reaches `1 / alpha` with probability at most `alpha`. The price is width: about
    `sqrt(log n)` times more.

    Raises:
        ValueError: counts or confidence out of range.

    Source: Robbins, Annals of Mathematical Statistics 1970; Howard, Ramdas, McAuliffe, Sekhon,
    Annals of Statistics 2021.

    Example:
        >>> [round(end, 3) for end in confidence_sequence(20, 20)]
        [0.739, 1.0]
    """
    check_counts(successes, trials, confidence)
    return interval_ends(successes, trials, confidence)


def lifts_for_width(width: float, fraction: float = 0.5, confidence: float = 0.95) -> int:
    """About how many trials until `confidence_sequence` is at most `width` wide.

    For a run whose fraction of successes is `fraction` throughout, whole number or not.

    Raises:
        ValueError: a width or confidence outside of (0, 1), a fraction outside of [0, 1].

    Example:
        >>> lifts_for_width(0.2), lifts_for_width(0.2, fraction=1.0)
        (274, 29)
    """
    if not 0 < width < 1:
        raise ValueError(f"width must lie between 0 and 1, got {width}")
    if not 0 <= fraction <= 1 or not 0 < confidence < 1:
        raise ValueError(
            f"fraction must lie in [0, 1] and confidence in (0, 1), got {fraction}, {confidence}"
        )

    def narrow(trials: int) -> bool:
        low, high = interval_ends(fraction * trials, trials, confidence)
        return high - low <= width

    return least_number(narrow)


def least_number(enough: Callable[[int], bool], most: int = 10**9) -> int:
    """The least positive number that is `enough`, where all larger ones are too; by bisection.

    Raises:
        ValueError: none up to `most` is.

    Example:
        >>> least_number(lambda n: n * n > 50)
        8
    """
    high = 1
    while not enough(high):
        high *= 2
        if high > most:
            raise ValueError(f"no number up to {most} is enough")
    low = high // 2
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if enough(middle) else (middle, high)
    return high


def interval_ends(
    successes: float | int, trials: float | int, confidence: float
) -> tuple[float, float]:
    """`confidence_sequence`, also where successes are no whole number."""
    return (
        _lower_end(successes, trials, confidence),
        1 - _lower_end(trials - successes, trials, confidence),
    )


def _lower_end(successes: float | int, trials: float | int, confidence: float) -> float:
    """The root below `successes / trials`, sought in `log(p / (1 - p))`: it may be very small."""
    if successes == 0:
        return 0.0
    failures = trials - successes
    level = float(betaln(successes + 1, failures + 1)) + math.log1p(-confidence)

    if failures == 0:
        return math.exp(level / successes)
    # The logarithm of p is below its logit, so that the excess is negative at the first end; at the
    # second it is largest.
    ends = level / successes - 1, math.log(successes / failures)
    logit = scipy.optimize.brentq(_excess, *ends, (successes, failures, level), xtol=1e-12)
    return math.exp(float(log_expit(logit)))


def _excess(logit, successes, failures, level):
    """The logarithm of the likelihood at `p`, above `level`."""
    return successes * log_expit(logit) + failures * log_expit(-logit) - level
