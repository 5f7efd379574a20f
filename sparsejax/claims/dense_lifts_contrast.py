"""Sparse against dense lifts at one size: who reaches the level more often, and is it decided."""

import dataclasses
import functools
import math

from sparsejax.claims.statistics import compare_proportions, lifts_to_tell_proportions_apart
from sparsejax.claims.statistics.proportions import newcombe
from sparsejax.claims.statistics.sequential import least_number

BETTER, WORSE, NOT_SEPARATED = "better", "worse", "not separated"


@dataclasses.dataclass(frozen=True)
class Contrast:
    """Success fractions of sparse lifts and of the dense ones beside them.

    `difference` is sparse minus dense, with Newcombe's interval; `p_value` is of Boschloo's exact
    test that they are equal. `answer` says of sparse lifts whether they are better, worse or not
    separated from dense ones, by that test; `lifts_to_separate` is how many lifts of each would
    separate them if the fractions stayed. `no_worse` is True where the whole interval, widened by
    `doubt`, lies above `-tolerance`, False where it lies below, None where it does not decide;
    `lifts_to_decide` is how many would. `saturated`: all lifts of both reach the level, or none.
    """

    sparse: float
    dense: float
    difference: float
    low: float
    high: float
    p_value: float
    answer: str
    lifts_to_separate: int | float
    no_worse: bool | None
    lifts_to_decide: int | float
    saturated: bool


# The exact test maximises over an unknown probability: its time grows like the square of the lifts.
@functools.cache
def contrast(
    sparse: tuple[int, int],
    dense: tuple[int, int],
    tolerance: float,
    confidence: float,
    doubt: float = 0.0,
) -> Contrast:
    """Compare two (successes, lifts); the p-value is held against `1 - confidence`.

    `doubt`: by how much the difference may be off for other reasons than the number of lifts.

    Raises:
        ValueError: counts or confidence out of range.

    Example:
        >>> found = contrast((30, 30), (12, 30), tolerance=0.1, confidence=0.95)
        >>> found.answer, found.no_worse, round(found.difference, 2)
        ('better', True, 0.6)
    """
    found = compare_proportions(*sparse, *dense, confidence)
    a, b = sparse[0] / sparse[1], dense[0] / dense[1]
    answer = NOT_SEPARATED
    if found.p_value < 1 - confidence:
        answer = BETTER if found.difference > 0 else WORSE
    no_worse = None
    if found.low - doubt >= -tolerance:
        no_worse = True
    elif found.high + doubt < -tolerance:
        no_worse = False
    return Contrast(
        sparse=a,
        dense=b,
        difference=found.difference,
        low=found.low,
        high=found.high,
        p_value=found.p_value,
        answer=answer,
        lifts_to_separate=lifts_to_tell_proportions_apart(a, b, confidence),
        no_worse=no_worse,
        lifts_to_decide=lifts_to_place_difference(a, b, -tolerance, confidence),
        saturated=sparse[0] + dense[0] in (0, sparse[1] + dense[1]),
    )


def lifts_to_place_difference(a: float, b: float, goal: float, confidence: float) -> int | float:
    """The least number of lifts of each whose interval of `a - b` lies on one side of `goal`.

    At the observed fractions; infinite where their difference is the goal.

    Example:
        >>> lifts_to_place_difference(1.0, 1.0, -0.1, 0.95)
        35
    """

    def decides(lifts: int) -> bool:
        low, high = newcombe(a, lifts, b, lifts, confidence)
        return low >= goal if a - b > goal else high < goal

    if math.isclose(a - b, goal, abs_tol=1e-12):
        return math.inf
    try:
        return least_number(decides)
    except ValueError:
        return math.inf
