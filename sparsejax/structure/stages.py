"""When the parts of a function are learned: times of rise and change points of curves, over seeds."""

import dataclasses
from typing import Any

import numpy as np
import scipy.stats
from jaxtyping import Bool, Float


@dataclasses.dataclass(frozen=True)
class Stages:
    """Times of each part, by seed, with medians over seeds and their intervals.

    `times`: (seeds, parts); infinite where a part was not seen to rise. `median`, `low`, `high`:
    (parts,), the interval exact by order statistics, infinite where too few seeds decide.
    """

    times: Float[np.ndarray, "seeds parts"]
    median: Float[np.ndarray, " parts"]
    low: Float[np.ndarray, " parts"]
    high: Float[np.ndarray, " parts"]

    @property
    def in_order(self) -> Bool[np.ndarray, " seeds"]:
        """Of each seed, whether every part was seen to rise after the one before it.

        A last part that was not seen at all rises after those that were; of two such parts the
        order is not known, and counts as broken.
        """
        earlier, later = self.times[:, :-1], self.times[:, 1:]
        return (earlier < later).all(axis=1)


def stages(times: Float[np.ndarray, "seeds parts"], confidence: float = 0.95) -> Stages:
    """Medians over seeds of the times of several parts, with exact intervals.

    Seeds that were stopped before a part rose have an infinite time; all are to be stopped at one.

    Raises:
        ValueError: no seeds, a time that is NaN, confidence out of range.

    Source: the interval of order statistics, Thompson 1936, by `scipy.stats.quantile_test`.

    Example:
        >>> found = stages(np.array([[1.0, 5.0], [2.0, 6.0], [3.0, np.inf]]))
        >>> found.median.tolist(), found.in_order.tolist()
        ([2.0, 6.0], [True, True, True])
    """
    if times.ndim != 2 or not len(times) or np.isnan(times).any():
        raise ValueError("times: (seeds, parts), one seed at least, infinite where not reached")
    if not 0 < confidence < 1:
        raise ValueError(f"confidence must lie between 0 and 1, got {confidence}")
    ends = [_median_interval(column, confidence) for column in times.T]
    low, high = (np.array(end, float) for end in zip(*ends, strict=True))
    with np.errstate(invalid="ignore"):
        median = np.median(times, axis=0)
    # Between a time and none lies none.
    return Stages(times, np.where(np.isnan(median), np.inf, median), low, high)


def rise_times(
    steps: Float[np.ndarray, " k"] | Any,
    curves: Float[np.ndarray, "seeds k parts"],
    levels: Float[np.ndarray, " parts"] | float,
) -> Float[np.ndarray, "seeds parts"]:
    """When each curve is first at its level or beyond, linear between two records.

    A negative level is one to fall to. Infinite where the level was not seen; NaN records (behind a
    lane's end) are passed over.

    Example:
        >>> curves = np.array([[[0.0], [0.5], [1.0]]])
        >>> rise_times(np.array([0, 10, 20]), curves, 0.75).tolist()
        [[15.0]]
    """
    levels = np.broadcast_to(np.asarray(levels, float), curves.shape[2:])
    if (levels == 0).any():
        raise ValueError("levels: a level of 0 has no direction to be reached from")
    # Signs turned, so that all rise.
    heights, goals = np.asarray(curves, float) * np.sign(levels), np.abs(levels)
    there = heights >= goals  # NaN is not
    first = there.argmax(axis=1)
    before = np.maximum(first - 1, 0)
    times = np.asarray(steps, float)
    low = np.take_along_axis(heights, before[:, None], 1)[:, 0]
    high = np.take_along_axis(heights, first[:, None], 1)[:, 0]
    share = np.clip((goals - low) / np.where(high > low, high - low, 1), 0, 1)
    found = times[before] + share * (times[first] - times[before])
    return np.where(there.any(axis=1), found, np.inf)


def change_points(
    steps: Float[np.ndarray, " k"] | Any, curves: Float[np.ndarray, "seeds k parts"]
) -> Float[np.ndarray, "seeds parts"]:
    """When each curve steps from one level to another: the two constants that fit it best.

    Needs no level to be chosen, and a curve that is flat has one as well: ask first whether it rose.
    The time is midway between the two records; NaN records at the end are passed over.

    Raises:
        ValueError: a curve with fewer than two records.

    Source: least squares with one change point, Hinkley, Biometrika 1970.

    Example:
        >>> curves = np.array([[[0.0], [0.1], [0.9], [1.0]]])
        >>> change_points(np.array([0, 10, 20, 30]), curves).tolist()
        [[15.0]]
    """
    times = np.asarray(steps, float)
    found = np.empty((curves.shape[0], curves.shape[2]))
    for seed, part in np.ndindex(found.shape):
        curve = np.asarray(curves[seed, :, part], float)
        curve = curve[np.isfinite(curve)]
        if len(curve) < 2:
            raise ValueError(f"seed {seed}, part {part}: a change point needs two records")
        before = np.arange(1, len(curve))
        # Of squares about two means only their means' part depends on where the cut is.
        sums = np.cumsum(curve)[:-1]
        between = sums**2 / before + (curve.sum() - sums) ** 2 / (len(curve) - before)
        cut = int(between.argmax())
        found[seed, part] = (times[cut] + times[cut + 1]) / 2
    return found


def _median_interval(times: np.ndarray, confidence: float) -> tuple[float, float]:
    interval = scipy.stats.quantile_test(times).confidence_interval(confidence_level=confidence)
    low, high = float(interval.low), float(interval.high)
    return (-np.inf if np.isnan(low) else low), (np.inf if np.isnan(high) else high)
