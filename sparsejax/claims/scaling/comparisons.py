"""Two conditions on a ladder of sizes: how much later one is, and how times grow apart."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Literal

import numpy as np
from jaxtyping import Float

from sparsejax.claims.scaling.censored_medians import slope_weights, sum_of_log_medians
from sparsejax.claims.statistics import decided, lifts_to_place_estimate

Times = Sequence[Float[np.ndarray, " _"]]


@dataclasses.dataclass(frozen=True)
class Comparison:
    """A difference `later - earlier`; ends are infinite where stopped runs decide them.

    `estimate`: of what was seen, with stopped runs at the time of their end, so that it is a lower
    bound where they are among the later ones.
    """

    estimate: float
    low: float
    high: float
    runs: int

    def status(self, goal: float | int) -> str:
        """Whether the difference is above the goal: `holds`, `violated` or `inconclusive`."""
        return decided(self.low, self.high, goal, strictly=True)

    def needed(self, goal: float | int) -> float | int:
        """About how many runs of each size and condition would decide."""
        return lifts_to_place_estimate(self.estimate, self.low, self.high, self.runs, goal)


def compare_times(
    sizes: Sequence[float | int] | Float[np.ndarray, " sizes"],
    earlier: Times,
    later: Times,
    stopped: float | int | Sequence[float | int],
    *,
    stopped_earlier: float | int | Sequence[float | int] | None = None,
    of: Literal["level", "exponent"] = "level",
    confidence: float = 0.95,
    resamples: int = 4000,
    rng: np.random.Generator | None = None,
) -> Comparison:
    """How much later times of one condition are than those of another, on a ladder of sizes.

    `earlier`, `later`: for each size one time a run, in steps, infinite where it was stopped at
    `stopped` (one number, or one a size; for the earlier condition `stopped_earlier`, if that was
    another). `of="level"`: the logarithm of the ratio of median times, averaged over sizes.
    `of="exponent"`: the difference of the exponents of median times over sizes. The interval is of
    the bootstrap over runs, within sizes and conditions. A median among stopped runs lies anywhere
    from `stopped` on: the lower end takes what makes the difference small, the upper what makes it
    large, so that an order may be certain though not all runs have arrived.

    Raises:
        ValueError: sizes and samples that do not match, fewer than two runs, times that are NaN or
            after the end, or one size where an exponent is asked for.

    Example:
        >>> fast = [d * np.array([0.9, 1.0, 1.1]) for d in (10.0, 100.0)]
        >>> slow = [np.array([90.0, 100.0, 110.0]), np.array([9e3, 1e4, np.inf])]
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
        weights = slope_weights(x)
    else:
        weights = np.full(len(x), 1 / len(x))
    ends = [
        np.broadcast_to(np.asarray(end, float), x.shape)
        for end in (stopped if stopped_earlier is None else stopped_earlier, stopped)
    ]
    # A time of zero counts as one step.
    samples = [np.maximum(np.asarray(s, float), 1.0) for s in (*earlier, *later)]
    signed, end = np.concatenate([-weights, weights]), np.maximum(np.concatenate(ends), 1.0)
    for sample, last in zip(samples, end, strict=True):
        if len(sample) < 2 or np.isnan(sample).any():
            raise ValueError(f"two runs of each size at least, none of them NaN; got {sample}")
        if (np.isfinite(sample) & (sample > last)).any():
            raise ValueError(f"a time is after {last:g}, where its runs were stopped: {sample}")
    rng = np.random.default_rng(0) if rng is None else rng
    estimate, low, high = sum_of_log_medians(signed, samples, end, confidence, resamples, rng)
    return Comparison(estimate, low, high, runs=min(len(s) for s in samples))


def ratio(difference: float) -> float:
    """A difference of logarithms as a ratio of times.

    >>> ratio(math.log(5.0)), ratio(math.inf)
    (5.0, inf)
    """
    return round(math.exp(difference), 12) if difference < 700 else math.inf
