"""How a time to a level grows with size: an exponent with an interval, against one that is predicted."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from sparsejax.claims.statistics import (
    MedianTime,
    bootstrap_slope_interval,
    lifts_to_place_slope,
    median_hitting_time,
    underpowered,
)


@dataclasses.dataclass(frozen=True)
class HittingExponent:
    """An exponent of median times over a ladder of sizes, and how a prediction fares against it.

    `slope`, `low`, `high`: of the logarithm of the median time against the logarithm of the size;
    ends are infinite where censored runs decide them, and all three NaN where no exponent is to be
    had. `status`: `consistent` (the interval lies within `tolerance` of the prediction), `refuted`
    (it lies outside), `underpowered` (neither), `not_predicted`. `needed`: about how many runs a
    size would decide. `medians`: a size each; `censored`: runs a size that did not reach.
    """

    slope: float
    low: float
    high: float
    predicted: tuple[float, float] | None
    tolerance: float
    status: str
    needed: float
    medians: tuple[MedianTime, ...]
    censored: tuple[int, ...]
    reason: str


def hitting_exponent(
    sizes: Sequence[float | int] | Float[np.ndarray, " sizes"],
    times: Sequence[Float[np.ndarray, " _"]],
    stopped: float | Sequence[float],
    *,
    predicted: float | tuple[float, float] | None = None,
    tolerance: float = 0.5,
    confidence: float = 0.95,
    rng: np.random.Generator | None = None,
) -> HittingExponent:
    """The exponent of median hitting times over sizes, with a bootstrap interval over runs.

    `times`: for each size, one time of each run, infinite where it was stopped before, at the time
    `stopped` (one number, or one a size). Runs that were stopped count as later than all others and
    are never dropped. A size at which half or more were stopped has no median: it bounds the
    exponent from below if it is the largest, and is left out of the slope otherwise.

    `predicted`: an exponent, or an interval of them. Theory has logarithms that look like a part of
    an exponent over any ladder (`d log d` from 25 to 200: 1.2), so that what is asked is whether
    the interval lies within `tolerance` of it.

    Raises:
        ValueError: sizes that are not positive and different, fewer than two runs of a size, times
            that are NaN, negative, or after the end.

    Example:
        >>> sizes = [25.0, 50.0, 100.0]
        >>> times = [d * np.array([0.9, 1.0, 1.1, 1.2, 0.8]) for d in sizes]
        >>> found = hitting_exponent(sizes, times, 1000.0, predicted=1.0)
        >>> round(found.slope, 6), found.status
        (1.0, 'consistent')
        >>> hitting_exponent(sizes, times, 1000.0, predicted=2.0).status
        'refuted'
    """
    x = np.asarray(sizes, float)
    ends = np.broadcast_to(np.asarray(stopped, float), x.shape)
    found = [np.asarray(sample, float) for sample in times]
    _check(x, found, ends, tolerance, confidence)
    # A step of zero counts as one: an exponent is of positive times.
    found = [np.maximum(sample, 1.0) for sample in found]
    medians = tuple(
        median_hitting_time(
            np.where(np.isfinite(sample), sample, end), np.isfinite(sample), confidence
        )
        for sample, end in zip(found, ends, strict=True)
    )
    censored = tuple(int(np.isinf(sample).sum()) for sample in found)
    goal = None if predicted is None else _pair(predicted)
    seen = [k for k, sample in enumerate(found) if np.isfinite(np.median(sample))]
    said = "".join(
        f"; at size {size:g} {count} of {len(sample)} runs had not reached after {end:g}"
        for size, count, sample, end in zip(x, censored, found, ends, strict=True)
        if count
    )
    if len(seen) < 2:
        return HittingExponent(
            *[math.nan] * 3,
            goal,
            tolerance,
            "underpowered" if goal else "not_predicted",
            math.nan,
            medians,
            censored,
            f"no exponent: medians were reached at {len(seen)} of {len(x)} sizes{said}",
        )
    rng = np.random.default_rng(0) if rng is None else rng
    used = [found[k] for k in seen]
    slope, low, high = bootstrap_slope_interval(x[seen], used, rng, confidence, summary="median")
    beyond = [k for k in range(len(x)) if k not in seen and x[k] > x[seen].max()]
    if beyond:
        # Its median lies beyond the end, and would raise the slope or leave it.
        high = math.inf
        said += "; larger sizes have no median, so that the exponent has no upper end"
    runs = min(len(sample) for sample in used)
    status, needed = "not_predicted", math.nan
    reason = f"exponent {slope:.2f} [{low:.2f}, {high:.2f}]"
    if goal is not None:
        status, needed = _placed(slope, low, high, goal, tolerance, runs)
        name = f"{goal[0]:g}" if goal[0] == goal[1] else f"{goal[0]:g} to {goal[1]:g}"
        reason += f", predicted {name} up to {tolerance:g}: {status}"
        if status == "underpowered":
            reason += f" ({underpowered(needed, runs).partition(': ')[2]}, of each size)"
    return HittingExponent(
        slope, low, high, goal, tolerance, status, needed, medians, censored, reason + said
    )


def _placed(
    slope: float, low: float, high: float, goal: tuple[float, float], tolerance: float, runs: int
) -> tuple[str, float]:
    least, most = goal[0] - tolerance, goal[1] + tolerance
    if least <= low and high <= most:
        return "consistent", float(runs)
    if high < least or low > most:
        return "refuted", float(runs)
    # The edge that is nearest is the one to be told apart from.
    edge = least if abs(slope - least) < abs(slope - most) else most
    # Rounding may leave the estimate a last digit outside of its own interval.
    low, high = min(low, slope), max(high, slope)
    return "underpowered", lifts_to_place_slope(slope, low, high, runs, edge)


def _pair(predicted: float | tuple[float, float]) -> tuple[float, float]:
    if isinstance(predicted, tuple):
        return float(predicted[0]), float(predicted[1])
    return float(predicted), float(predicted)


def _check(x, times, ends, tolerance, confidence) -> None:
    if len(set(x.tolist())) < 2 or len(x) != len(times) or not (x > 0).all():
        raise ValueError(
            f"an exponent needs two different positive sizes, and the times of each; got {x} with "
            f"{len(times)} samples"
        )
    for size, sample, end in zip(x, times, ends, strict=True):
        if len(sample) < 2:
            raise ValueError(f"size {size:g} has {len(sample)} runs; resampling needs two")
        late = np.isfinite(sample) & (sample > end)
        if np.isnan(sample).any() or (sample < 0).any() or late.any():
            raise ValueError(
                f"size {size:g}: times lie in [0, {end:g}], where runs were stopped, or are "
                f"infinite, got {sample}"
            )
    if not tolerance > 0 or not 0 < confidence < 1:
        raise ValueError(
            f"tolerance is positive and confidence in (0, 1), got {tolerance}, {confidence}"
        )
