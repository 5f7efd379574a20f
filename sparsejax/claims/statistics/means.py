"""The mean of what lifts measured, with Student's interval."""

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
