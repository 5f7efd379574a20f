"""The mean of what lifts measured, with Student's interval, and with one for bounded numbers."""

import numpy as np
import scipy.stats
from jaxtyping import Float


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


def bounded_mean_interval(
    values: Float[np.ndarray, " n"],
    confidence: float = 0.95,
    *,
    bounds: tuple[float, float] = (0.0, 1.0),
    draws: int = 20_000,
) -> tuple[float, float, float]:
    """Mean of numbers that lie within bounds, with Gaffke's interval, which never has no width.

    Student's interval has none where all values are the same, however few they are. Here each end
    is a quantile of means under random (flat Dirichlet) weights of the values and of one more, the
    bound on that side. Of zeros and ones it is Clopper and Pearson's interval; in general its
    coverage is conjectured, and no counterexample is known. By Monte Carlo with a fixed seed.

    Raises:
        ValueError: no values, or one out of bounds.

    Source: Gaffke 2005; Learned-Miller, Thomas 2019 (arXiv 1905.06208).

    Example:
        >>> [round(end, 2) for end in bounded_mean_interval(np.ones(20))]
        [1.0, 0.83, 1.0]
    """
    values = np.asarray(values, float)
    lowest, highest = bounds
    if len(values) == 0 or not ((lowest <= values) & (values <= highest)).all():
        raise ValueError(f"values: at least one, all from {lowest:g} to {highest:g}, got {values}")
    weights = np.random.default_rng(0).dirichlet(np.ones(len(values) + 1), size=draws)
    # Equal values in another order must give the same interval.
    inner = weights[:, 1:] @ np.sort(values)
    low = np.quantile(inner + weights[:, 0] * lowest, (1 - confidence) / 2)
    high = np.quantile(inner + weights[:, 0] * highest, (1 + confidence) / 2)
    return float(values.mean()), float(min(low, values.mean())), float(max(high, values.mean()))
