"""Several statements, each with an interval and a goal: one verdict of all of them."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

from sparsejax.bounds import Verdict
from sparsejax.claims.scaling.comparisons import Comparison
from sparsejax.claims.statistics import (
    clopper_pearson,
    lifts_to_place_proportion,
    underpowered,
)

RANK = ("violated", "inconclusive", "holds")


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
        if self.low >= self.goal:
            return "holds"
        return "violated" if self.high < self.goal else "inconclusive"

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


def verdict_of(statements: Sequence[Statement], summary: dict[str, Any]) -> Verdict:
    """Holds where all do, is violated where one is; the margin is that of the closest one.

    Intervals are to be so wide that all of them hold together. Of the budget, what no integrator
    made is sampling: SGD in the precision that was asked for is the subject, no approximation.

    Raises:
        ValueError: no statements.

    Example:
        >>> found = verdict_of([in_at_least("a", 20, 20, 0.8), in_at_least("b", 6, 8, 0.5)], {})
        >>> found.status, found.reason
        ('inconclusive', 'b; underpowered: about 17 runs would decide, 9 more than there are')
    """
    if not statements:
        raise ValueError("there is nothing to judge")
    status = min((s.status for s in statements), key=RANK.index)
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
