"""How many times sooner: the ratio of two samples of times, where some were stopped before."""

import dataclasses
import math

import numpy as np
from jaxtyping import Float


@dataclasses.dataclass(frozen=True)
class TimeRatio:
    """A ratio of times with its interval; an end is infinite, or zero, where stopped runs decide.

    `bounded`: the estimate is a lower bound, since runs that were stopped count in it as arrived.
    """

    ratio: float
    low: float
    high: float
    bounded: bool


def time_ratio(
    slow: Float[np.ndarray, " n"],
    fast: Float[np.ndarray, " m"],
    stopped: float | int,
    confidence: float = 0.95,
) -> TimeRatio:
    """By what factor times of one condition exceed those of another, exactly for few runs.

    The median of all ratios of a slow time over a fast one, with the interval that the Mann-Whitney
    test leaves: exact for any number of runs if the two laws of log times differ by a shift. Times
    are positive; infinite ones were stopped at `stopped`, and lie anywhere beyond: each end of the
    interval takes what is worst for it, the estimate what is least.

    Raises:
        ValueError: no times, a time that is not positive or NaN, confidence out of range, or too
            few runs for any interval at this confidence.

    Source: Hodges, Lehmann 1963; Moses 1965 (Hollander, Wolfe, Chicken, section 4.3).

    Example:
        >>> rng = np.random.default_rng(0)
        >>> fast = rng.lognormal(sigma=0.3, size=10)
        >>> found = time_ratio(4 * rng.lognormal(sigma=0.3, size=10), fast, 100.0)
        >>> found.low < 4 < found.high, found.bounded
        (True, False)
        >>> time_ratio(np.full(10, np.inf), np.full(10, 2.0), 100.0)
        TimeRatio(ratio=50.0, low=50.0, high=inf, bounded=True)
    """
    slow, fast = np.asarray(slow, float), np.asarray(fast, float)
    if not len(slow) or not len(fast):
        raise ValueError("a ratio of times needs runs of both conditions")
    if not ((slow > 0).all() and (fast > 0).all()):
        raise ValueError("times must be positive; those that were stopped are infinite")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, got {confidence}")
    tail = (1 - confidence) / 2
    # The largest k with P(U < k) <= tail: the k-th of the sorted ratios from either end.
    at = int(np.searchsorted(_mann_whitney_law(len(slow), len(fast)), tail, side="right"))
    if at < 1:
        raise ValueError(
            f"{len(slow)} and {len(fast)} runs give no interval at confidence {confidence}"
        )
    cut_slow, cut_fast = (np.where(np.isinf(t), float(stopped), t) for t in (slow, fast))
    least = np.sort((cut_slow[:, None] / fast[None, :]).ravel())
    with np.errstate(invalid="ignore"):
        most = np.sort((slow[:, None] / cut_fast[None, :]).ravel())
    return TimeRatio(
        float(np.median(least)),
        float(least[at - 1]),
        float(most[len(most) - at]),
        bool(np.isinf(slow).any()),
    )


def _mann_whitney_law(m: int, n: int) -> Float[np.ndarray, " u"]:
    """P(U <= u) for u = 0, 1, ..., m n, under the null that both laws are the same.

    Source: Mann, Whitney 1947: the numbers of orders are the coefficients of a Gaussian binomial.
    """
    counts = [1] + [0] * (m * n)
    for i in range(1, n + 1):
        # Times (1 - q^(m + i)), then over (1 - q^i), in whole numbers.
        for u in range(m * n, m + i - 1, -1):
            counts[u] -= counts[u - m - i]
        for u in range(i, m * n + 1):
            counts[u] += counts[u - i]
    total = math.comb(m + n, n)
    summed, law = 0, []
    for count in counts:
        summed += count
        law.append(summed / total)
    return np.array(law)
