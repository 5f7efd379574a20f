"""Successes of many lifts up a ladder of sizes, and what may be concluded from them."""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool

from sparsejax.bounds import PARTS
from sparsejax.claims.statistics import (
    clopper_pearson,
    confidence_sequence,
    decided,
    least_size_at,
    lifts_to_place_proportion,
    underpowered,
)

Flags = Sequence[bool] | Bool[np.ndarray, " m"]


@dataclasses.dataclass(frozen=True)
class Rung:
    """One size: how many of its lifts succeeded, and the interval for their fraction.

    `undecided`: lifts whose loss is within its own error of the level; `broken`: lifts whose flow
    was ended by its numerics (NaN, steps too many or too small). Neither is a success, and neither
    may be held against the lift: the lower limit takes them for failures, the upper one for
    successes. `best`: the least loss of any lift of the size at its end, over that of the function
    zero.
    """

    size: int
    lifts: int
    successes: int
    confidence: float
    undecided: int = 0
    broken: int = 0
    sequential: bool = False
    best: float = math.nan

    @property
    def fraction(self) -> float:
        """Of successes."""
        return self.successes / self.lifts

    @property
    def low(self) -> float:
        """The lower limit."""
        return self._interval(self.successes, self.confidence)[0]

    @property
    def high(self) -> float:
        """The upper limit."""
        return self.upper()

    def upper(self, comparisons: int = 1) -> float:
        """The upper limit, with the same confidence in as many of them at once (Bonferroni)."""
        known_failures = self.lifts - self.successes - self.undecided - self.broken
        confidence = 1 - (1 - self.confidence) / comparisons
        return self._interval(self.lifts - known_failures, confidence)[1]

    def status(self, goal: float, comparisons: int = 1) -> str:
        """Is the probability of success at least the goal?

        "violated" is said with the confidence that holds for all `comparisons` at once: one of
        them is enough to refute a claim. Who claims that all hold needs no correction.
        """
        return decided(self.low, self.upper(comparisons), goal)

    def needed(self, goal: float) -> str:
        """How many lifts would have decided, in words."""
        lifts = lifts_to_place_proportion(
            self.fraction, goal, self.confidence, sequential=self.sequential
        )
        return underpowered(lifts, self.lifts)

    def margin(self, goal: float) -> float:
        """The fraction of successes less the goal."""
        return self.fraction - goal

    def budget(self, goal: float, comparisons: int = 1) -> dict[str, float]:
        """What the margin has to exceed, as fractions of lifts, on the side on which it lies."""
        parts = dict.fromkeys(PARTS, 0.0)
        if self.margin(goal) >= 0:
            return parts | {"sampling": self.fraction - self.low}
        undecided, broken = self.undecided / self.lifts, self.broken / self.lifts
        sampling = self.upper(comparisons) - self.fraction - undecided - broken
        return parts | {"integrator": broken, "quadrature": undecided, "sampling": sampling}

    def _interval(self, successes: int, confidence: float) -> tuple[float, float]:
        interval = confidence_sequence if self.sequential else clopper_pearson
        return interval(successes, self.lifts, confidence)


@dataclasses.dataclass(frozen=True)
class Ladder:
    """All sizes of one condition, small ones first, and what is asked of them.

    `goal`: 1 - delta. `eps`: the level, over the loss of the function zero. `comparisons`: how many
    ladders are judged together.
    """

    rungs: tuple[Rung, ...]
    goal: float
    eps: float
    comparisons: int = 1

    @property
    def learning_number(self) -> int | None:
        """The least size at and beyond which every lower limit is at least the goal."""
        return least_size_at({rung.size: rung.low for rung in self.rungs}, self.goal)

    @property
    def approximation_number(self) -> int | None:
        """The least size at which some lift was seen to have a loss of at most the level."""
        return next((rung.size for rung in self.rungs if rung.best <= self.eps), None)

    @property
    def status(self) -> str:
        """As of a verdict; without a witness of the level the theorem says nothing."""
        if self.learning_number is not None:
            return "holds"
        if self.approximation_number is None:
            return "not_applicable"
        return self.rungs[-1].status(self.goal, self.comparisons)

    @property
    def reason(self) -> str:
        """Why the status is what it is, in words."""
        last = self.rungs[-1]
        if self.learning_number is not None:
            return (
                f"from size {self.learning_number} on every lower limit is at least {self.goal:g}"
            )
        if self.approximation_number is None:
            best = min((r.best for r in self.rungs if not math.isnan(r.best)), default=math.nan)
            return f"no lift up to size {last.size} came below {best:.2g} of the loss of zero"
        return f"at size {last.size} {place(last, self.goal, self.comparisons)}"


def place(rung: Rung, goal: float, comparisons: int = 1) -> str:
    """Where the fraction lies that does not reach the goal, and what is open, in words."""
    text = f"the fraction lies in [{rung.low:.2f}, {rung.high:.2f}]"
    if rung.undecided + rung.broken:
        text += (
            f" (of {rung.lifts} lifts {rung.undecided} undecided and {rung.broken} broken off by "
            "numerics)"
        )
    if rung.status(goal, comparisons) == "violated":
        return f"{text}, below {goal:g}"
    if rung.high < goal:
        return f"{text}, below {goal:g}, but not so for all {comparisons} conditions at once"
    alone = dataclasses.replace(rung, undecided=0, broken=0)
    if alone.status(goal, comparisons) == "violated":
        return f"{text}, which does not decide {goal:g} for these alone"
    return f"{text}, which does not decide {goal:g}; {rung.needed(goal)}"


def rung(
    size: int,
    reached: Flags,
    confidence: float,
    *,
    undecided: Flags = (),
    broken: Flags = (),
    sequential: bool = False,
    best: float = math.nan,
) -> Rung:
    """Successes at one size with their interval.

    Clopper and Pearson's; with `sequential` one that holds however often it was looked at.
    """
    successes, open_ones, ended = (sum(map(bool, which)) for which in (reached, undecided, broken))
    return Rung(size, len(reached), successes, confidence, open_ones, ended, sequential, best)


def decisive(rungs: Sequence[Rung], status: str) -> Rung:
    """The one that came closest to failing; where the verdict is failure, that which fails most."""
    return min(rungs, key=lambda r: r.high if status == "violated" else r.low)


def overall(statuses: Sequence[str]) -> str:
    """The status of a claim about several conditions: one that fails or is open decides.

    >>> overall(["holds", "not_applicable"]), overall(["holds", "inconclusive"])
    ('holds', 'inconclusive')
    """
    for status in ("violated", "inconclusive", "holds"):
        if status in statuses:
            return status
    return "not_applicable"
