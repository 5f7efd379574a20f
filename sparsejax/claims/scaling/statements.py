"""Several statements, each with an interval and a goal: one verdict of all of them."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from sparsejax.bounds import Verdict
from sparsejax.claims.scaling.comparisons import Comparison
from sparsejax.claims.statistics import (
    clopper_pearson,
    decided,
    lifts_to_place_proportion,
    lifts_to_place_slope,
    underpowered,
    worst_of,
)


@dataclasses.dataclass(frozen=True)
class Statement:
    """That a quantity is above a goal; `said` puts estimate and interval into words.

    `needed`: about how many runs would decide, of each condition; `runs`: how many there are;
    `integrator`: the part of the interval that an integrator made.
    """

    said: str
    estimate: float
    low: float
    high: float
    goal: float
    runs: int
    needed: float | int
    integrator: float = 0.0

    @property
    def status(self) -> str:
        """`holds`, `violated` or `inconclusive`."""
        return decided(self.low, self.high, self.goal)

    @property
    def slack(self) -> float:
        """How far the interval is from the goal, negative where the goal lies inside."""
        return max(self.low - self.goal, self.goal - self.high)


def later_by(said: str, comparison: Comparison, goal: float | int = 0.0) -> Statement:
    """That one condition's times are larger than another's by more than the goal."""
    return Statement(
        said,
        comparison.estimate,
        comparison.low,
        comparison.high,
        goal,
        comparison.runs,
        comparison.needed(goal),
    )


def in_at_least(
    said: str,
    successes: int,
    runs: int,
    goal: float,
    confidence: float = 0.95,
    *,
    undecided: int = 0,
) -> Statement:
    """That something comes about with a probability of at least the goal, by the exact interval.

    Runs that are `undecided`, as they were stopped before, may be either.

    Example:
        >>> in_at_least("in order", 20, 20, 0.8).status
        'holds'
        >>> in_at_least("in order", 0, 20, 0.8, undecided=20).status
        'inconclusive'
    """
    low, _ = clopper_pearson(successes, runs, confidence)
    _, high = clopper_pearson(successes + undecided, runs, confidence)
    needed = lifts_to_place_proportion(successes / runs, goal, confidence)
    # More runs that are stopped as soon would not decide.
    needed = math.nan if undecided else needed
    return Statement(said, successes / runs, low, high, goal, runs, needed)


def within(
    said: str,
    interval: tuple[float, float, float],
    predicted: float | tuple[float, float],
    tolerance: float,
    runs: int,
) -> Statement:
    """That a quantity is a predicted one, or between two, up to a tolerance.

    `interval`: estimate, low, high. The quantity of the statement is minus the distance from what
    is predicted, and its goal minus the tolerance.

    Example:
        >>> within("a slope", (1.1, 1.0, 1.2), 1.0, 0.5, 9).status
        'holds'
        >>> within("a slope", (1.1, 1.0, 1.2), (1.8, 2.0), 0.5, 9).status
        'violated'
    """
    least, most = predicted if isinstance(predicted, tuple) else (predicted, predicted)
    middle, low, high = interval
    if math.isnan(middle):
        return Statement(said, math.nan, -math.inf, 0.0, -tolerance, runs, math.nan)

    def off(value: float) -> float:
        return max(least - value, value - most, 0.0)

    nearest = 0.0 if low <= most and high >= least else min(off(low), off(high))
    ends = -max(off(low), off(high)), -nearest
    # Rounding, or a bootstrap of few runs, may leave the estimate outside of its own interval.
    low, high = min(ends[0], -off(middle)), max(ends[1], -off(middle))
    needed = lifts_to_place_slope(-off(middle), low, high, runs, -tolerance)
    return Statement(said, -off(middle), *ends, -tolerance, runs, needed)


def verdict_of(statements: Sequence[Statement], summary: dict[str, Any]) -> Verdict:
    """Holds where all do, is violated where one is; the margin is that of the closest one.

    Intervals are to be so wide that all of them hold together. Of the budget, what no integrator
    made is sampling: SGD in the precision that was asked for is the subject, no approximation.

    Raises:
        ValueError: no statements.

    Example:
        >>> found = verdict_of([in_at_least("a", 20, 20, 0.8), in_at_least("b", 6, 8, 0.5)], {})
        >>> found.status, found.reason
        ('inconclusive', 'b; underpowered: about 19 runs would decide, 11 more than there are')
    """
    if not statements:
        raise ValueError("there is nothing to judge")
    status = worst_of(s.status for s in statements)
    worst = [s for s in statements if s.status == status]
    closest = min(worst, key=lambda s: s.slack)
    margin = closest.estimate - closest.goal
    # Towards the goal, and beyond where that decides nothing.
    sampling = abs(closest.estimate - (closest.high if margin < 0 else closest.low))
    if not math.isfinite(sampling):
        sampling = abs(margin) + 1.0
    integrator = min(closest.integrator, sampling)
    budget = {
        "integrator": integrator,
        "quadrature": 0.0,
        "sampling": sampling - integrator,
        "floating_point": 0.0,
    }
    said = [s.said for s in (statements if status == "holds" else worst)]
    if status == "inconclusive":
        more = underpowered(closest.needed, closest.runs).replace("lifts", "runs")
        said.append("underpowered: longer runs are needed" if math.isnan(closest.needed) else more)
    return Verdict(status, False, margin, budget, "; ".join(said), summary)
