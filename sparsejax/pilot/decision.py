"""What the numbers say, in words from which somebody can decide."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from sparsejax.pilot.comparison import CONFIDENCE, Interval, paired, splits_to_tell, together
from sparsejax.pilot.growth import Growth

VERDICTS = (
    "nothing to learn",
    "structure pays",
    "a small sparse model is enough",
    "structure does not pay here",
    "another kind of model is better",
    "cannot tell",
)
LIFT, GROWN, CONSTANT = "lift", "grown lift", "constant"
# Networks with as many parameters as the lift, and models of another kind.
EQUAL, OTHERS = ("dense", "shallow"), ("linear", "boosting")
WORDS = {
    LIFT: "matched sparse lift",
    GROWN: "matched sparse lift, grown",
    "dense": "dense network",
    "shallow": "shallow network",
    "linear": "linear model",
    "boosting": "gradient boosting",
    CONSTANT: "constant",
}
# As good as: worse by no more than this share of what the rival gains over a constant.
TOLERANCE = 0.1


@dataclasses.dataclass(frozen=True)
class Comparison:
    """The lift's test loss less a rival's on the same splits: below zero the lift is better."""

    rival: str
    difference: Interval
    tolerance: float

    @property
    def better(self) -> bool:
        """The lift is better, beyond the interval."""
        return self.difference.high < 0

    @property
    def worse(self) -> bool:
        """The lift is worse, beyond the interval."""
        return self.difference.low > 0

    @property
    def enough(self) -> bool:
        """The lift is worse by no more than the tolerance, if at all."""
        return self.difference.high <= self.tolerance


@dataclasses.dataclass(frozen=True)
class Decision:
    """`verdict`: one of `VERDICTS`; `why` and `next_step` in a sentence or two each."""

    verdict: str
    why: str
    next_step: str
    comparisons: tuple[Comparison, ...]


def decide(
    losses: Mapping[str, np.ndarray],
    ratio: float,
    growth: Growth | None = None,
    *,
    found: int | None = None,
) -> Decision:
    """The verdict from test losses, `{candidate: one a split}`, with `"lift"` and `"constant"`.

    `ratio`: test rows over training rows. Intervals hold together for all rivals (Bonferroni). The
    lift meets networks of equal parameters as it is, other models as far as it has grown. `found`:
    on how many splits any column was found to matter.

    Example:
        >>> lift = np.array([0.20, 0.22, 0.21])
        >>> decide({"lift": lift, "dense": lift + 0.3, "constant": lift + 0.8}, 0.1).verdict
        'structure pays'
    """
    splits = len(losses[CONSTANT])
    grown = losses.get(GROWN, losses[LIFT])
    rivals = [name for name in (*EQUAL, *OTHERS) if name in losses]
    learned = _learned(losses, rivals, ratio)
    floor = float(losses[CONSTANT].mean())
    confidence = together(len(rivals))
    comparisons = tuple(
        Comparison(
            rival,
            paired(losses[LIFT] if rival in EQUAL else grown, losses[rival], ratio, confidence),
            TOLERANCE * max(floor - float(losses[rival].mean()), 0.0),
        )
        for rival in rivals
    )
    if not learned:
        return Decision(*_nothing_learned(losses, rivals, ratio, found), comparisons)
    verdict, why = _judged(comparisons, splits, ratio)
    if LIFT not in learned and GROWN not in learned:
        why += " The lift itself does no better than a constant, beyond the interval."
        if found is not None:
            why += f" Columns were found to matter on {found} of {splits} splits."
    return Decision(verdict, why, _next_step(verdict, comparisons, growth), comparisons)


def _learned(losses: Mapping[str, np.ndarray], rivals: Sequence[str], ratio: float) -> list[str]:
    """Candidates that are better than a constant, the best first."""
    gains = _gains(losses, rivals, ratio)
    better = [name for name, gain in gains.items() if gain.low > 0]
    return sorted(better, key=lambda name: float(losses[name].mean()))


def _gains(
    losses: Mapping[str, np.ndarray],
    rivals: Sequence[str],
    ratio: float,
    confidence: float | None = None,
) -> dict[str, Interval]:
    """A constant's loss less each candidate's; without a confidence, they hold together."""
    candidates = [LIFT, *([GROWN] if GROWN in losses else []), *rivals]
    confidence = confidence or together(len(candidates))
    return {name: paired(losses[CONSTANT], losses[name], ratio, confidence) for name in candidates}


def _nothing_learned(
    losses: Mapping[str, np.ndarray], rivals: Sequence[str], ratio: float, found: int | None
) -> tuple[str, str, str]:
    """That there is nothing, only where the intervals are short enough to say so; else it is open.

    What did not show in few rows may be there all the same.
    """
    splits, floor = len(losses[CONSTANT]), float(losses[CONSTANT].mean())
    why = (
        "No model does better than a constant on test rows, beyond the interval over "
        f"{splits} splits"
    )
    # Only their upper ends count, and all must hold at once: each may have its own one-sided 95%.
    gains = _gains(losses, rivals, ratio, 2 * CONFIDENCE - 1)
    open_ones = [name for name, gain in gains.items() if not gain.high <= TOLERANCE * floor]
    if open_ones:
        best = max(open_ones, key=lambda name: gains[name].mean)
        jointly = _gains(losses, rivals, ratio)[best]
        needed = splits_to_tell(jointly, splits, ratio, together(len(gains)))
        if gains[best].mean > 0 and needed is not None:
            step = f"About {needed} splits would tell if means stay as they are, or more rows."
        else:
            step = "Get more rows before choosing a model: splits of the same rows will not tell."
        return (
            VERDICTS[5],
            f"{why}; but the intervals are too wide to say that there is nothing: the "
            f"{WORDS[best]} may gain up to {gains[best].high / floor:.0%} of the constant's loss "
            f"(mean {gains[best].mean / floor:.0%}).",
            step,
        )
    why += f", and none gains more than {TOLERANCE:.0%} of its loss (upper ends, 95%)."
    if found == 0:
        why += " No column was found to matter either."
    return VERDICTS[0], why, "Look for other columns; a larger model would fit noise."


def _judged(comparisons: Sequence[Comparison], splits: int, ratio: float) -> tuple[str, str]:
    worse = [each for each in comparisons if each.worse]
    equal = [each for each in comparisons if each.rival in EQUAL]
    if worse:
        worst = max(worse, key=lambda each: each.difference.mean)
        if any(each.rival in EQUAL for each in worse):
            verdict = VERDICTS[3]
        else:
            verdict = VERDICTS[4]
        return verdict, (
            f"The lift does worse than {_listed(worse)} beyond the interval, most against the "
            f"{WORDS[worst.rival]} ({_difference(worst.difference)})."
        )
    if equal and all(each.better for each in equal):
        return VERDICTS[1], (
            f"With as many parameters the lift does better than {_listed(equal)} beyond the "
            f"interval ({'; '.join(_difference(each.difference) for each in equal)}), and no "
            "other model is better than it beyond its own."
        )
    better = [each for each in comparisons if each.better]
    ahead = f"; it is ahead of {_listed(better)}" if better else ""
    if all(each.enough for each in comparisons):
        return VERDICTS[2], (
            f"On {splits} splits the lift is behind no other model by more than {TOLERANCE:.0%} of "
            f"that one's gain over a constant, whole intervals included{ahead}."
        )
    open_ones = [each for each in comparisons if not each.enough]
    confidence = together(len(comparisons))
    needed = [
        n
        for each in open_ones
        if (n := splits_to_tell(each.difference, splits, ratio, confidence)) is not None
    ]
    if len(needed) == len(open_ones):
        more = f"about {max(needed)} splits would tell them apart"
    else:
        more = (
            "splits of the same rows will not tell: the difference is small against what the "
            "rows can show, and only more rows would"
        )
    return VERDICTS[5], (
        f"The intervals of {splits} splits overlap: the lift may be better or worse than "
        f"{_listed(open_ones)}; {more}{ahead}."
    )


def _next_step(verdict: str, comparisons: Sequence[Comparison], growth: Growth | None) -> str:
    words = []
    if verdict in (VERDICTS[3], VERDICTS[4]):
        better = [each for each in comparisons if each.worse]
        name = max(better, key=lambda each: each.difference.mean).rival if better else "other"
        words.append(f"Start from the {WORDS.get(name, 'other model')}. If you stay with the lift:")
    if growth is None:
        words.append("Nothing was grown, so nothing is known of what to widen.")
        return " ".join(words)
    paid = [step for step in growth.steps if step.paid]
    if paid:
        words.append(f"Take the lift that has grown to {paid[-1].after:.0f} parameters.")
        if len(paid) == len(growth.steps):
            words.append("Growth paid to the last: allow more doublings.")
    paying = [each for each in growth.widenings if each.pays]
    if paying:
        best = paying[0]
        words.append(
            f"Widen next: {best.what}; this alone ({best.added:.0f} more parameters) lowers the "
            f"validation loss by {_interval(best.fall)}."
        )
    elif not paid:
        words.append(
            "Widen nothing yet: no group, doubled alone, nor the root, nor the columns that were "
            "left out lower the validation loss beyond its uncertainty."
        )
    return " ".join(words)


def _listed(comparisons: Sequence[Comparison]) -> str:
    names = [f"the {WORDS[each.rival]}" for each in comparisons]
    return names[0] if len(names) == 1 else f"{', '.join(names[:-1])} and {names[-1]}"


def _difference(each: Interval) -> str:
    return f"{each.mean:+.3g}, {each.low:+.3g} to {each.high:+.3g}"


def _interval(each: Interval) -> str:
    return f"{each.mean:.3g} ({each.low:.3g} to {each.high:.3g})"
