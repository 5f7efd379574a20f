"""Two conditions on a ladder of sizes: how much later one is, and how much faster its times grow."""

import dataclasses
import math
import warnings
from collections.abc import Sequence
from typing import Literal

import numpy as np
import scipy.stats
from jaxtyping import Float

from sparsejax.claims.statistics import lifts_to_place_slope

Times = Sequence[Float[np.ndarray, " _"]]


@dataclasses.dataclass(frozen=True)
class Comparison:
    """A difference `later - earlier` with its interval; ends are infinite where stopped runs decide.

    `estimate`: of what was seen, with stopped runs at the time of their end, so that it is a lower
    bound where they are among the later ones.
    """

    estimate: float
    low: float
    high: float
    runs: int

    def status(self, goal: float) -> str:
        """Whether the difference is above the goal: `holds`, `violated` or `inconclusive`."""
        return "holds" if self.low > goal else "violated" if self.high < goal else "inconclusive"

    def needed(self, goal: float) -> float:
        """About how many runs of each size and condition would decide."""
        low, high = min(self.low, self.estimate), max(self.high, self.estimate)
        return lifts_to_place_slope(self.estimate, low, high, self.runs, goal)


def compare_times(
    sizes: Sequence[float | int] | Float[np.ndarray, " sizes"],
    earlier: Times,
    later: Times,
    stopped: float,
    *,
    of: Literal["level", "exponent"] = "level",
    confidence: float = 0.95,
    resamples: int = 4000,
    rng: np.random.Generator | None = None,
) -> Comparison:
    """How much later times of one condition are than those of another, on a ladder of sizes.

    `earlier`, `later`: for each size one time a run, in steps, infinite where it was stopped at
    `stopped`. `of="level"`: the logarithm of the ratio of median times, averaged over sizes.
    `of="exponent"`: the difference of the exponents of median times over sizes. The interval is of
    the bootstrap over runs, within sizes and conditions. A median among stopped runs lies anywhere
    from `stopped` on: the lower end takes what makes the difference small, the upper what makes it
    large, so that an order may be certain though not all runs have arrived.

    Raises:
        ValueError: sizes and samples that do not match, fewer than two runs, or one size where an
            exponent is asked for.

    Example:
        >>> fast = [d * np.array([0.9, 1.0, 1.1]) for d in (10.0, 100.0)]
        >>> slow = [d**2 * np.array([0.9, 1.0, np.inf]) for d in (10.0, 100.0)]
        >>> found = compare_times([10, 100], fast, slow, 2e4, of="exponent")
        >>> round(found.estimate, 6), found.status(0.0), found.high
        (1.0, 'holds', inf)
    """
    x = np.asarray(sizes, float)
    if not len(x) == len(earlier) == len(later) or not (x > 0).all():
        raise ValueError(
            f"positive sizes, with samples of both conditions: got {len(x)} sizes, {len(earlier)} "
            f"and {len(later)} samples"
        )
    if of == "exponent":
        if len(set(x.tolist())) < 2:
            raise ValueError("an exponent needs two different sizes")
        logs = np.log(x) - np.log(x).mean()
        weights = logs / (logs @ logs)
    else:
        weights = np.full(len(x), 1 / len(x))
    signed = np.concatenate([-weights, weights])
    # A time of zero counts as one step.
    samples = [np.maximum(np.asarray(s, float), 1.0) for s in (*earlier, *later)]
    for sample in samples:
        if len(sample) < 2 or np.isnan(sample).any():
            raise ValueError(f"two runs of each size at least, none of them NaN; got {sample}")

    def difference(*drawn: np.ndarray, ends: np.ndarray, axis: int = -1) -> np.ndarray:
        found = 0.0
        for weight, end, sample in zip(signed, ends, drawn, strict=True):
            if weight == 0:
                continue
            median = np.median(sample, axis=axis)
            found = found + weight * np.log(np.where(np.isfinite(median), median, end))
        return np.asarray(found)

    # What a stopped median stands for, where the difference is to be small, and large.
    least = np.where(signed > 0, stopped, np.inf)
    most = np.where(signed > 0, np.inf, stopped)
    rng = np.random.default_rng(0) if rng is None else rng
    tail, ends = (1 - confidence) / 2, []
    for standing, level, method in ((least, tail, "lower"), (most, 1 - tail, "higher")):
        drawn = _resampled(samples, difference, standing, resamples, rng)
        # The median of an even number may lie between a time and none: of a sum without a sign.
        drawn = np.where(np.isnan(drawn), -np.inf if method == "lower" else np.inf, drawn)
        ends.append(float(np.quantile(drawn, level, method=method)))
    estimate = float(difference(*samples, ends=np.full(len(signed), stopped)))
    return Comparison(estimate, *ends, runs=min(len(s) for s in samples))


def _resampled(samples, difference, standing, resamples, rng) -> np.ndarray:
    with warnings.catch_warnings(), np.errstate(invalid="ignore", divide="ignore"):
        # Runs that are all the same, and infinite medians: both are meant.
        warnings.simplefilter("ignore", scipy.stats.DegenerateDataWarning)
        warnings.simplefilter("ignore", RuntimeWarning)
        return scipy.stats.bootstrap(
            samples,
            lambda *drawn, axis=-1: difference(*drawn, ends=standing, axis=axis),
            n_resamples=resamples,
            vectorized=True,
            method="percentile",
            rng=rng,
        ).bootstrap_distribution


def ratio(difference: float) -> float:
    """A difference of logarithms as a ratio of times.

    >>> ratio(math.log(5.0)), ratio(math.inf)
    (5.0, inf)
    """
    return round(math.exp(difference), 12) if difference < 700 else math.inf
