"""Means, and how many lifts would have decided: by looking at that many, and at one fewer."""

import math

import numpy as np
import pytest

from sparsejax.claims.statistics import (
    clopper_pearson,
    confidence_sequence,
    difference_of_proportions,
    ladder_slope_interval,
    lifts_to_place_proportion,
    lifts_to_place_slope,
    lifts_to_tell_proportions_apart,
    mean_interval,
    underpowered,
)


def test_mean_interval_covers():
    rng = np.random.default_rng(1)
    samples = rng.normal(2.0, 3.0, size=(2000, 5))
    ends = [mean_interval(row, 0.9)[1:] for row in samples]
    covered = np.mean([low <= 2.0 <= high for low, high in ends])
    assert abs(covered - 0.9) < 0.02


@pytest.mark.parametrize("interval", [clopper_pearson, confidence_sequence])
@pytest.mark.parametrize(("fraction", "goal"), [(1.0, 0.8), (0.0, 0.8), (0.5, 0.8), (0.9, 0.8)])
def test_that_many_lifts_place_a_proportion_and_one_batch_fewer_does_not(fraction, goal, interval):
    sequential = interval is confidence_sequence
    needed = lifts_to_place_proportion(fraction, goal, 0.95, sequential=sequential)

    def decides(lifts):
        low, high = interval(round(fraction * lifts), lifts, 0.95)
        return low >= goal if fraction > goal else high < goal

    # Numbers of lifts at which the fraction is one.
    step = {1.0: 1, 0.0: 1, 0.5: 2, 0.9: 10}[fraction]
    above = step * math.ceil(needed / step)
    assert decides(above) and not decides(above - step)


def test_what_was_seen_and_did_not_decide_needs_more():
    low, high = clopper_pearson(18, 20, 0.95)
    assert low < 0.8 < high and lifts_to_place_proportion(18 / 20, 0.8, 0.95) > 20


@pytest.mark.parametrize(("a", "b"), [(0.5, 0.0), (0.5, 1.0), (0.75, 0.5)])
def test_that_many_lifts_tell_two_proportions_apart(a, b):
    needed = lifts_to_tell_proportions_apart(a, b, 0.9)
    assert needed == lifts_to_tell_proportions_apart(b, a, 0.9)

    def decides(lifts):
        _, low, high = difference_of_proportions(
            round(a * lifts), lifts, round(b * lifts), lifts, 0.9
        )
        return low > 0 or high < 0

    above = 4 * math.ceil(needed / 4)
    assert decides(above) and not decides(above - 4)


def test_the_lifts_that_a_slope_needs_bring_it_to_one_side():
    rng, x, threshold = np.random.default_rng(0), np.array([1.0, 2.0, 4.0, 8.0]), -0.7
    drawn = x**-1.0 * rng.lognormal(sigma=0.5, size=(10, 4))
    slope, low, high = ladder_slope_interval(x, drawn)
    assert slope < threshold < high
    needed = lifts_to_place_slope(slope, low, high, 10, threshold)

    def decides(copies):
        """The same lifts again and again: the slope stays as it is."""
        return ladder_slope_interval(x, np.tile(drawn, (copies, 1)))[2] < threshold

    # Student's quantile falls too, by less than 2.3 to 1.9: fewer will do, but not half as many.
    assert decides(math.ceil(needed / 10)) and not decides(math.floor(needed / 20))
    mirrored = lifts_to_place_slope(-slope, -high, -low, 10, -threshold)
    assert mirrored == needed


def test_the_phrase_says_how_many_or_why_not():
    assert underpowered(65, 20) == (
        "underpowered: about 65 lifts would decide, 45 more than there are"
    )
    assert underpowered(65) == "underpowered: about 65 lifts would decide"
    never = [
        lifts_to_place_proportion(0.8, 1 - 0.2),
        lifts_to_place_proportion(16 / 20, 0.8),
        lifts_to_tell_proportions_apart(0.3, 0.3),
        lifts_to_place_slope(-1.0, -1.1, -0.9, 5, -1.0),
    ]
    assert all("no number of lifts would decide" in underpowered(number) for number in never)
    unknown = lifts_to_place_slope(-1.0, -np.inf, np.inf, 1, -0.5)
    assert "too few lifts to say" in underpowered(unknown)


def test_bad_settings_are_refused():
    for bad in ((1.5, 0.8), (0.5, 1.0), (0.5, 0.5, 0.0)):
        with pytest.raises(ValueError, match="must lie"):
            lifts_to_place_proportion(*bad)
    with pytest.raises(ValueError, match="must lie"):
        lifts_to_tell_proportions_apart(-0.5, 0.5)
    with pytest.raises(ValueError, match="no interval"):
        lifts_to_place_slope(0.0, 1.0, 2.0, 5, 0.5)
