"""Successes of many lifts up a ladder of sizes, and what may be concluded from them."""

import dataclasses
import math
from collections.abc import Callable, Sequence

from sparsejax.claims.statistics import (
    clopper_pearson,
    confidence_sequence,
    lifts_to_place_proportion,
    underpowered,
)

Interval = Callable[[int, int, float], tuple[float, float]]


@dataclasses.dataclass(frozen=True)
class Rung:
    """One size: how many of its lifts succeeded, and the interval for their fraction.

    `best`: the least loss that any lift of the size ever reached, over that of the function zero.
    """

    size: int
    lifts: int
    successes: int
    low: float
    high: float
    best: float = math.nan

    @property
    def fraction(self) -> float:
        """Of successes."""
        return self.successes / self.lifts


@dataclasses.dataclass(frozen=True)
class Ladder:
    """All sizes of one condition, small ones first, and what is asked of them.

    `goal`: 1 - delta. `eps`: the level, over the loss of the function zero.
    """

    rungs: tuple[Rung, ...]
    goal: float
    eps: float
    confidence: float
    sequential: bool = False

    @property
    def learning_number(self) -> int | None:
        """The least size at and beyond which every lower limit is at least the goal."""
        found = None
        for rung in reversed(self.rungs):
            if rung.low < self.goal:
                break
            found = rung.size
        return found

    @property
    def approximation_number(self) -> int | None:
        """The least size at which some lift has a loss of at most the level."""
        return next((rung.size for rung in self.rungs if rung.best <= self.eps), None)

    @property
    def status(self) -> str:
        """As of a verdict; without a witness of the level the theorem says nothing."""
        if self.learning_number is not None:
            return "holds"
        if self.approximation_number is None:
            return "not_applicable"
        return "violated" if self.rungs[-1].high < self.goal else "inconclusive"

    @property
    def margin(self) -> float:
        """The lower limit at the largest size, less the goal."""
        return self.rungs[-1].low - self.goal

    @property
    def reason(self) -> str:
        """Why the status is what it is, in words."""
        last = self.rungs[-1]
        if self.learning_number is not None:
            return (
                f"from size {self.learning_number} on every lower limit is at least {self.goal:g}"
            )
        if self.approximation_number is None:
            best = min(rung.best for rung in self.rungs)
            return f"no lift up to size {last.size} came below {best:.2g} of the loss of zero"
        interval = f"[{last.low:.2f}, {last.high:.2f}]"
        if last.high < self.goal:
            return f"at size {last.size} the fraction lies in {interval}, below {self.goal:g}"
        needed = lifts_to_place_proportion(last.fraction, self.goal, self.confidence)
        return (
            f"at size {last.size} the fraction lies in {interval}, which does not decide "
            f"{self.goal:g}; {underpowered(needed, last.lifts)}"
        )


def rung(
    size: int,
    reached: Sequence[bool],
    confidence: float,
    *,
    sequential: bool = False,
    best: float = math.nan,
) -> Rung:
    """Successes at one size with their interval.

    Clopper and Pearson's; with `sequential` one that holds however often it was looked at.
    """
    interval: Interval = confidence_sequence if sequential else clopper_pearson
    successes = sum(map(bool, reached))
    low, high = interval(successes, len(reached), confidence)
    return Rung(size, len(reached), successes, low, high, best)


def overall(statuses: Sequence[str]) -> str:
    """The status of a claim about several conditions: one that fails or is open decides.

    >>> overall(["holds", "not_applicable"]), overall(["holds", "inconclusive"])
    ('holds', 'inconclusive')
    """
    for status in ("violated", "inconclusive", "holds"):
        if status in statuses:
            return status
    return "not_applicable"
