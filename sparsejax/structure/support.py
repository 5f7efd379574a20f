"""Which inputs a training has picked: read by a gap against a null level, and scored."""

import dataclasses
from collections.abc import Collection
from typing import NamedTuple

import numpy as np
from jaxtyping import Float

# Scores below this share of the largest are zero for all that gaps can say. Were it smaller, a step
# from next to nothing to exactly nothing, as dual averaging leaves them, would be the largest gap.
FLOOR = 1e-2


@dataclasses.dataclass(frozen=True)
class Support:
    """Inputs that stand out, most important first, counted from 1; none where nothing does.

    `gap`: of log scores, between the last input picked and the next. `null_gap`: what as large a
    gap must exceed. `p_value`: the share of null runs (and this one) with a gap at least as large.
    """

    inputs: tuple[int, ...]
    gap: float
    null_gap: float
    p_value: float


class SupportScore(NamedTuple):
    """How a support compares with the true one."""

    precision: float
    recall: float
    f1: float


def largest_gap(scores: Float[np.ndarray, " d"], most: int | None = None) -> tuple[int, float]:
    """How many of the largest scores stand before the largest gap of their logarithms, and the gap.

    `most`: of inputs that may be picked, half of them by default. Scores count from a hundredth of
    the largest on, so that exact zeros have a gap as well; equal scores have none, `(0, 0.0)`.

    Raises:
        ValueError: a negative score, one that is not finite, or `most` out of range.

    Example:
        >>> count, gap = largest_gap(np.array([0.1, 8.0, 4.0, 0.1]))
        >>> count, round(float(np.exp(gap)), 6)
        (2, 40.0)
    """
    count = len(scores)
    most = max(1, count // 2) if most is None else most
    if count < 2 or not 1 <= most < count:
        raise ValueError(f"most: from 1 to {count - 1} of {count} inputs, got {most}")
    if not np.isfinite(scores).all() or (scores < 0).any():
        raise ValueError("scores: finite and not negative, such as norms of weights")
    top = np.sort(scores)[::-1][: most + 1]
    if top[0] == 0:
        return 0, 0.0
    gaps = -np.diff(np.log(np.maximum(top, FLOOR * top[0])))
    best = int(np.argmax(gaps))
    return (best + 1, float(gaps[best])) if gaps[best] > 0 else (0, 0.0)


def support_by_gap(
    scores: Float[np.ndarray, " d"],
    null: Float[np.ndarray, "runs _"],
    *,
    level: float = 0.05,
    most: int | None = None,
) -> Support:
    """The inputs before the largest gap, if permuted targets hardly ever make one as large.

    `scores`: one of each input, such as `input_weight_norms`. `null`: those of trainings of the
    same kind on permuted targets, where no input matters. A gap is a ratio: the scale of all scores
    drops out, which a permuted target changes. With fewer than `1 / level - 1` null runs nothing
    can be significant at `level`: then the gap must exceed all of theirs.

    Raises:
        ValueError: as `largest_gap`; null scores of other inputs, or none.

    Example:
        >>> null = np.random.default_rng(0).uniform(1, 1.5, size=(19, 6))
        >>> support_by_gap(np.array([1.0, 9.0, 1.2, 1.1, 8.0, 1.3]), null).inputs
        (2, 5)
    """
    if null.ndim != 2 or null.shape[0] == 0 or null.shape[1] != len(scores):
        raise ValueError(f"null: scores of {len(scores)} inputs in one run or more: {null.shape}")
    count, gap = largest_gap(scores, most)
    others = np.array([largest_gap(row, most)[1] for row in null])
    p_value = (1 + int((others >= gap).sum())) / (1 + len(others))
    rank = min(len(others), int(np.ceil((1 - level) * (1 + len(others)))))
    null_gap = float(np.sort(others)[rank - 1])
    order = np.argsort(-scores, kind="stable")[: count if gap > null_gap else 0]
    return Support(tuple(int(at) + 1 for at in order), gap, null_gap, p_value)


def support_score(found: Collection[int], true: Collection[int]) -> SupportScore:
    """Precision, recall and F1 of a support; of an empty one precision and F1 are 0.

    Raises:
        ValueError: an empty true support.

    Example:
        >>> support_score((1, 2, 9), (1, 2, 3, 4))
        SupportScore(precision=0.6666666666666666, recall=0.5, f1=0.5714285714285714)
    """
    found, true = set(found), set(true)
    if not true:
        raise ValueError("true: at least one input")
    hits = len(found & true)
    return SupportScore(
        hits / len(found) if found else 0.0,
        hits / len(true),
        2 * hits / (len(found) + len(true)),
    )


def recovery_time(
    times: Float[np.ndarray, " k"],
    scores: Float[np.ndarray, "k d"],
    true: Collection[int],
    *,
    ratio: float | int = 1,
) -> float:
    """The first recorded time from which on all true inputs score above all others, to the end.

    `ratio`: by which factor at least. Infinite where the last record does not.

    Example:
        >>> scores = np.array([[1.0, 1.0], [2.0, 1.0], [1.0, 2.0], [3.0, 1.0], [4.0, 1.0]])
        >>> recovery_time(np.arange(5.0), scores, (1,)), recovery_time(np.arange(5.0), scores, (2,))
        (3.0, inf)
    """
    inside = np.array(sorted(true)) - 1
    outside = np.setdiff1d(np.arange(scores.shape[1]), inside)
    apart = scores[:, inside].min(axis=1) > ratio * scores[:, outside].max(axis=1, initial=0.0)
    if not apart[-1]:
        return float("inf")
    wrong = np.flatnonzero(~apart)
    return float(times[wrong[-1] + 1 if len(wrong) else 0])
