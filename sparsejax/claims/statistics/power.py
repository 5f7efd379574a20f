"""How many lifts would have decided, where an interval did not.

All numbers here are for what was measured so far staying exactly as it is: the fraction, the
slope. They say of what order the effort is, and that many lifts decide about every second time.
"""

import math

import scipy.stats

from sparsejax.claims.statistics.proportions import newcombe
from sparsejax.claims.statistics.sequential import interval_ends, least_number


def lifts_to_place_proportion(
    fraction: float, goal: float, confidence: float = 0.95, *, sequential: bool = False
) -> int | float:
    """The least number of lifts whose Clopper-Pearson interval lies on one side of the goal.

    With `sequential` that of `confidence_sequence`, which is wider.

    `fraction`: observed so far, and taken to stay. The interval is the exact one for that many
    successes, whole number or not; `goal`, such as `1 - delta`, counts as reached by a lower end of
    at least it, and as missed by an upper end below it. Infinite where the fraction is the goal.

    Raises:
        ValueError: a fraction outside of [0, 1], a goal or confidence outside of (0, 1).

    Example:
        >>> lifts_to_place_proportion(1.0, 0.8), lifts_to_place_proportion(0.9, 0.8)
        (17, 65)
    """
    if not 0 <= fraction <= 1 or not 0 < goal < 1 or not 0 < confidence < 1:
        raise ValueError(
            "fraction must lie in [0, 1], goal and confidence in (0, 1), got "
            f"{fraction}, {goal}, {confidence}"
        )
    tail = (1 - confidence) / 2

    def decides(lifts: int) -> bool:
        successes = fraction * lifts
        failures = lifts - successes
        if sequential:
            low, high = interval_ends(successes, lifts, confidence)
            return low >= goal if fraction > goal else high < goal
        if fraction > goal:
            return bool(scipy.stats.beta.ppf(tail, successes, failures + 1) >= goal)
        return bool(scipy.stats.beta.isf(tail, successes + 1, failures) < goal)

    return _least(decides, math.isclose(fraction, goal, rel_tol=1e-12))


def lifts_to_tell_proportions_apart(
    fraction_a: float, fraction_b: float, confidence: float = 0.95
) -> int | float:
    """The least number of lifts of each of two conditions whose difference then has a sign.

    By Newcombe's interval at the observed fractions. Infinite where they are the same.

    Raises:
        ValueError: a fraction outside of [0, 1], confidence outside of (0, 1).

    Example:
        >>> lifts_to_tell_proportions_apart(0.9, 0.6), lifts_to_tell_proportions_apart(0.5, 0.5)
        (17, inf)
    """
    if not (0 <= fraction_a <= 1 and 0 <= fraction_b <= 1 and 0 < confidence < 1):
        raise ValueError(
            "fractions must lie in [0, 1] and confidence in (0, 1), got "
            f"{fraction_a}, {fraction_b}, {confidence}"
        )
    high, low = max(fraction_a, fraction_b), min(fraction_a, fraction_b)

    def decides(lifts: int) -> bool:
        return newcombe(high, lifts, low, lifts, confidence)[0] > 0

    return _least(decides, math.isclose(high, low, rel_tol=1e-12))


def lifts_to_place_slope(
    slope: float, low: float, high: float, lifts: int, threshold: float
) -> int | float:
    """About how many lifts a size would bring the interval of a slope to one side of a threshold.

    `slope`, `low`, `high`: estimate and interval from `lifts` lifts a size. The error of a slope
    falls like the root of their number. Infinite where the slope is the threshold; NaN where the
    interval is infinite, so that there is no error to go by.

    Raises:
        ValueError: a slope outside of its interval, or no lifts.

    Example:
        >>> lifts_to_place_slope(-0.9, -1.5, -0.3, 10, threshold=-0.6)
        40
    """
    if not low <= slope <= high or lifts < 1:
        raise ValueError(f"no interval of a slope: {slope} in [{low}, {high}] from {lifts} lifts")
    reach = slope - low if slope > threshold else high - slope
    if not math.isfinite(reach):
        return math.nan
    away = abs(slope - threshold)
    # A last digit beyond a whole number is rounding.
    return math.ceil(lifts * (reach / away) ** 2 * (1 - 1e-12)) if away > 0 else math.inf


def lifts_to_place_estimate(
    estimate: float, low: float, high: float, lifts: int, threshold: float | int
) -> int | float:
    """As `lifts_to_place_slope`, of an estimate that may lie beyond its own interval.

    That of a bootstrap of few lifts does, or of times that were cut off.

    Example:
        >>> lifts_to_place_estimate(2.0, 0.5, 1.9, 10, threshold=1.5)
        90
    """
    return lifts_to_place_slope(estimate, min(low, estimate), max(high, estimate), lifts, threshold)


def underpowered(needed: float | int, drawn: int | None = None) -> str:
    """The phrase for a verdict's reason: how many lifts would have decided.

    `needed`: from a function of this file; infinite and NaN are said in words. `drawn`: how many
    there are already.

    Example:
        >>> underpowered(70, 20)
        'underpowered: about 70 lifts would decide, 50 more than there are'
        >>> underpowered(math.inf)
        'underpowered: the estimate lies exactly at the goal, and no number of lifts would decide'
    """
    if math.isnan(needed):
        return "underpowered: too few lifts to say how many would decide"
    if math.isinf(needed):
        return (
            "underpowered: the estimate lies exactly at the goal, and no number of lifts would "
            "decide"
        )
    more = "" if drawn is None or drawn >= needed else f", {needed - drawn:.0f} more than there are"
    return f"underpowered: about {needed:.0f} lifts would decide{more}"


def _least(decides, never: bool) -> int | float:
    # Beyond a thousand million lifts the fraction is the goal for all that anyone could see.
    try:
        return math.inf if never else least_number(decides)
    except ValueError:
        return math.inf
