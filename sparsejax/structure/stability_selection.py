"""Stability selection: inputs that are picked again and again when data are drawn anew."""

import dataclasses
import math

import numpy as np
from jaxtyping import Bool, Float, Int


@dataclasses.dataclass(frozen=True)
class StabilitySelection:
    """How often each input was picked (`frequencies`, `(d,)`), and those picked often enough.

    `inputs`: counted from 1, most frequent first. `false_bound`: at most so many irrelevant inputs
    are among them in expectation, if irrelevant inputs are exchangeable and no worse than a guess;
    infinite for a threshold of one half.
    """

    frequencies: Float[np.ndarray, " d"]
    inputs: tuple[int, ...]
    false_bound: float


def half_samples(samples: int, pairs: int, seed: int) -> Int[np.ndarray, "resamples half"]:
    """Random halves of the samples in complementary pairs: rows of indices, two a pair.

    Raises:
        ValueError: fewer than two samples, or no pairs.

    Source: Shah, Samworth 2013.

    Example:
        >>> halves = half_samples(6, 2, seed=0)
        >>> halves.shape, sorted(halves[:2].ravel().tolist())
        ((4, 3), [0, 1, 2, 3, 4, 5])
    """
    if samples < 2 or pairs < 1:
        raise ValueError(f"at least two samples and one pair, got {samples} and {pairs}")
    draw, half = np.random.default_rng(seed), samples // 2
    orders = [draw.permutation(samples) for _ in range(pairs)]
    return np.stack([part for order in orders for part in (order[:half], order[half : 2 * half])])


def stability_selection(
    picked: Bool[np.ndarray, "resamples d"], threshold: float = 0.6
) -> StabilitySelection:
    """The inputs that are picked in at least this share of the resamples.

    `picked`: what a selection of any kind picks on each of `half_samples`: exact zeros of a lasso
    or of dual averaging, a gap of norms. With `q` inputs picked on average, the expected number of
    irrelevant ones that are selected is at most `q^2 / ((2 threshold - 1) d)`.

    Raises:
        ValueError: a threshold outside of [0.5, 1], or no resamples.

    Source: Meinshausen, Buehlmann 2010, theorem 1.

    Example:
        >>> picked = np.array([[True, False, True], [True, False, False], [True, True, False]])
        >>> found = stability_selection(picked, threshold=0.9)
        >>> found.inputs, round(found.false_bound, 3)
        ((1,), 1.157)
    """
    if not 0.5 <= threshold <= 1:
        raise ValueError(f"threshold: from 0.5 to 1, got {threshold}")
    if picked.shape[0] == 0:
        raise ValueError("picked: no resamples")
    frequencies = picked.mean(axis=0)
    order = np.argsort(-frequencies, kind="stable")
    inputs = tuple(int(at) + 1 for at in order if frequencies[at] >= threshold)
    spare = 2 * threshold - 1
    mean = float(picked.sum(axis=1).mean())
    bound = mean**2 / (spare * picked.shape[1]) if spare > 0 else math.inf
    return StabilitySelection(frequencies, inputs, float(bound))
