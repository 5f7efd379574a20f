"""Whether flows of random lifts have finite length: a verdict on the exponents of their tails."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
import scipy.stats

from sparsejax.bounds import Verdict
from sparsejax.claims.statistics import clopper_pearson
from sparsejax.claims.tail_exponent import Tail

MOST_LIFTS = 1000


@dataclasses.dataclass(frozen=True)
class LiftTail:
    """The tail of one lift's flow, and by how much its exponents may be off.

    `integrator`: between two tolerances. `floating_point`: by the rounding of a small gradient.
    """

    tail: Tail
    integrator: float
    floating_point: float

    @property
    def kind(self) -> str:
        """`finite`, `infinite` or `undecided`."""
        slack = self.integrator + self.floating_point
        if self.tail.low - slack > 1:
            return "finite"
        return "infinite" if self.tail.high + slack < 1 else "undecided"


def finite_length(found: Sequence[LiftTail], delta: float, confidence: float) -> Verdict:
    """Whether a random lift's flow has finite length with probability at least `1 - delta`.

    That is whether the delta-quantile over lifts of the exponents is above 1. Its interval is free
    of assumptions on their law (order statistics). The margin is the quantile of the last window's
    exponent, less 1; what logarithms and the trend may change of it is the budget's `quadrature`.

    Example:
        >>> tail = Tail(last=1.5, previous=1.5, limit=1.5, end=1e4, norm=1e-6, length=2.0)
        >>> finite_length([LiftTail(tail, 0.01, 0.0)] * 20, delta=0.2, confidence=0.95).status
        'holds'
    """
    kinds = [one.kind for one in found]
    finite = kinds.count("finite")
    share = clopper_pearson(finite, len(found), confidence)
    missing = sum(not np.isfinite(one.tail.low) for one in found)
    summary = {
        "lifts": len(found),
        **{kind: kinds.count(kind) for kind in ("finite", "infinite", "undecided")},
        "finite_share_low": share[0],
        "finite_share_high": share[1],
        "exponent_last": _quartiles([one.tail.last for one in found]),
        "exponent_low": _quartiles([one.tail.low for one in found]),
        "exponent_high": _quartiles([one.tail.high for one in found]),
    }
    if missing:
        why = f"{missing} of {len(found)} flows are too short for two windows"
        return Verdict("inconclusive", False, math.nan, {}, why, summary)
    last = np.array([one.tail.last for one in found])
    downward = _budget(found, delta, confidence, -1)
    upward = _budget(found, delta, confidence, +1)
    quantile = float(np.quantile(last, delta, method="inverted_cdf"))
    margin = quantile - 1
    said = (
        f"{finite} of {len(found)} flows have an exponent above 1 beyond doubt; at the "
        f"{delta:g}-quantile over lifts it is {quantile:.3g}"
    )
    if margin > sum(downward.values()):
        return Verdict("holds", False, margin, downward, said, summary)
    if -margin > sum(upward.values()):
        return Verdict("violated", False, margin, upward, said, summary)
    budget = downward if margin > 0 else upward
    low = quantile - sum(downward.values())
    high = quantile + sum(upward.values())
    need = _would_need(finite, found, delta, confidence)
    said += f", and the budget leaves [{low:.3g}, {high:.3g}]; {need}"
    return Verdict("inconclusive", False, margin, budget, said, summary)


def _budget(
    found: Sequence[LiftTail], delta: float, confidence: float, sign: int
) -> dict[str, float]:
    """What may lower (sign -1) or raise (+1) the quantile: each part moves the lifts further."""
    last = np.array([one.tail.last for one in found])
    trend = np.array([one.tail.low if sign < 0 else one.tail.high for one in found])
    integrated = trend + sign * np.array([one.integrator for one in found])
    rounded = integrated + sign * np.array([one.floating_point for one in found])
    steps = [
        float(np.quantile(values, delta, method="inverted_cdf"))
        for values in (last, trend, integrated, rounded)
    ]
    end = _limit(rounded, delta, confidence, sign)
    return {
        "integrator": abs(steps[2] - steps[1]),
        "quadrature": abs(steps[1] - steps[0]),
        "sampling": abs(end - steps[3]),
        "floating_point": abs(steps[3] - steps[2]),
    }


def _limit(values: np.ndarray, p: float, confidence: float, sign: int) -> float:
    """Lower (sign -1) or upper (+1) limit of a quantile: one of the values, whatever their law.

    Infinite where none of so few is beyond the quantile for sure. As `scipy.stats.quantile_test`,
    many times sooner.
    """
    ordered, tail = np.sort(values), (1 - confidence) / 2
    if sign < 0:
        place = int(scipy.stats.binom.ppf(tail, len(values), p)) - 1
        return float(ordered[place]) if place >= 0 else -np.inf
    place = int(scipy.stats.binom.isf(tail, len(values), p))
    return float(ordered[place]) if place < len(values) else np.inf


def _would_need(finite: int, found: Sequence[LiftTail], delta: float, confidence: float) -> str:
    """What would decide: more lifts at the same share of finite ones, or longer flows."""
    share = finite / len(found)
    more = np.arange(len(found) + 1, MOST_LIFTS)
    successes = np.floor(share * more)
    # The lower limits of Clopper and Pearson, all at once.
    low = scipy.stats.beta.ppf((1 - confidence) / 2, successes, more - successes + 1)
    if (low > 1 - delta).any():
        return f"at this share of finite ones {more[np.argmax(low > 1 - delta)]} lifts would decide"
    return "more lifts at this share would not decide, longer flows may"


def _quartiles(values: Sequence[float]) -> list[float]:
    return [float(v) for v in np.quantile(values, [0.25, 0.5, 0.75])]
