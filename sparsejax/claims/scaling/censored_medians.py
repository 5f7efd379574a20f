"""Sums of logarithms of median times, where runs were stopped: levels and exponents of them."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float


def sum_of_log_medians(
    weights: Float[np.ndarray, " samples"],
    samples: Sequence[Float[np.ndarray, " _"]],
    ends: Float[np.ndarray, " samples"],
    confidence: float,
    resamples: int,
    rng: np.random.Generator,
) -> tuple[float, float, float]:
    """`sum_k w_k log median_k` with its interval, of the bootstrap over runs within samples.

    Infinite times were stopped at the sample's end. A median among them lies anywhere from the end
    on: the lower end of the interval takes what makes the sum small, the upper what makes it large.
    The estimate has them at the end.

    Source: Efron, JASA 1987 (percentiles, since the jackknife fails for medians).

    Example:
        >>> late = np.array([5.0, np.inf, np.inf])
        >>> found = sum_of_log_medians(
        ...     np.array([-1.0, 1.0]), [np.ones(3), late], np.array([9.0, 9.0]), 0.9, 500,
        ...     np.random.default_rng(0))
        >>> [round(float(np.exp(end)), 6) for end in found]
        [9.0, 5.0, inf]
    """
    # A weight that is zero but for rounding makes nothing of an infinite median.
    used = [k for k in range(len(weights)) if abs(weights[k]) > 1e-12 * np.abs(weights).max()]
    weights, ends = weights[used], ends[used]
    samples = [samples[k] for k in used]

    def medians(of: Sequence[np.ndarray]) -> np.ndarray:
        return np.stack([np.median(rows, axis=1) for rows in of])

    def least_and_most(late: Sequence[np.ndarray]) -> tuple[np.ndarray, np.ndarray]:
        early = medians([np.minimum(rows, end) for rows, end in zip(late, ends, strict=True)])
        ranges = np.log(early), np.log(medians(late))
        rising = (weights > 0)[:, None]
        return (
            weights @ np.where(rising, *ranges),
            weights @ np.where(rising, *reversed(ranges)),
        )

    drawn = [s[rng.integers(len(s), size=(resamples, len(s)))] for s in samples]
    least, most = least_and_most(drawn)
    at_ends = [np.minimum(s, end)[None] for s, end in zip(samples, ends, strict=True)]
    tail = (1 - confidence) / 2
    return (
        float((weights @ np.log(medians(at_ends)))[0]),
        float(np.quantile(least, tail, method="lower")),
        float(np.quantile(most, 1 - tail, method="higher")),
    )


def slope_weights(x: Float[np.ndarray, " sizes"]) -> Float[np.ndarray, " sizes"]:
    """Weights by which logarithms of values sum up to their slope against `log x`.

    Example:
        >>> slope_weights(np.array([1.0, np.e, np.e**2])).round(6).tolist()
        [-0.5, 0.0, 0.5]
    """
    logs = np.log(x) - np.log(x).mean()
    return np.asarray(logs / (logs @ logs))
