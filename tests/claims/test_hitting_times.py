"""Medians of censored times: by hand, in simple cases, and how often the interval is right."""

import numpy as np
import pytest
import scipy.stats

from sparsejax.claims.statistics import median_hitting_time


def test_by_hand():
    # At risk 6, 4, 3, 1 when lifts reach at 1, 3, 4, 6: fractions left 5/6, 5/8, 5/12, 0.
    times = np.array([4.0, 1.0, 2.0, 3.0, 5.0, 6.0])
    reached = np.array([True, True, False, True, False, True])
    at, left = np.array([1.0, 3.0, 4.0]), np.array([5 / 6, 5 / 8, 5 / 12])
    greenwood = np.cumsum([1 / (6 * 5), 1 / (4 * 3), 1 / (3 * 2)])
    for confidence in (0.2, 0.5, 0.9):
        found = median_hitting_time(times, reached, confidence)
        assert found.median == 4.0
        spread = scipy.stats.norm.ppf((1 + confidence) / 2) * np.sqrt(greenwood) / -np.log(left)
        low = at[left ** np.exp(spread) <= 0.5]
        high = at[left ** np.exp(-spread) <= 0.5]
        assert found.low == low[0]
        assert found.high == (high[0] if len(high) else np.inf)
    # The levels tell all cases apart.
    ends = [median_hitting_time(times, reached, c) for c in (0.2, 0.5, 0.9)]
    assert [e.low for e in ends] == [4.0, 3.0, 1.0]
    assert [e.high for e in ends] == [4.0, np.inf, np.inf]


def test_without_censoring_it_is_the_median():
    times = np.random.default_rng(0).exponential(size=21)
    found = median_hitting_time(times, np.ones(21, bool))
    assert found.median == np.median(times)
    assert found.low < found.median < found.high < np.inf
    assert median_hitting_time(np.array([2.0]), np.array([True])).low == 2.0


def test_lifts_that_were_stopped_leave_the_end_open():
    times = np.array([1.0, 2.0, 3.0, *[10.0] * 7])
    for confidence, low in ((0.95, 1.0), (0.8, 3.0), (0.5, 3.0)):
        found = median_hitting_time(times, times < 10, confidence)
        assert found.median == found.high == np.inf and found.low == low
    # None was seen to reach: six have outlasted a median of 2.5, with probability 1 / 64 < 0.025.
    stopped = np.array([1.0, 2.0, 2.5, 2.5, 3.0, 4.0, 5.0, 6.0])
    assert median_hitting_time(stopped, np.zeros(8, bool)).low == 2.5
    assert median_hitting_time(stopped[:5], np.zeros(5, bool)).low == 0.0


@pytest.mark.parametrize("end", [1.5, 0.8])
def test_the_interval_covers_where_many_are_stopped(end):
    rng, runs = np.random.default_rng(0), 300
    lost = {"below": 0, "above": 0}
    for _ in range(runs):
        drawn = rng.exponential(size=25)
        found = median_hitting_time(np.minimum(drawn, end), drawn <= end, 0.9)
        lost["below"] += np.log(2) < found.low
        lost["above"] += np.log(2) > found.high
    # Three standard errors of the count, at a level that is approximate for 25 lifts.
    assert sum(lost.values()) / runs < 0.1 + 3 * np.sqrt(0.09 / runs)
    assert sum(lost.values()) > 0


@pytest.mark.parametrize(
    ("times", "reached", "confidence", "said"),
    [
        ([], [], 0.9, "one flag for each"),
        ([np.inf], [False], 0.9, "finite and not negative"),
        ([1.0], [True], 1.0, "confidence must lie"),
    ],
)
def test_bad_times_are_refused(times, reached, confidence, said):
    with pytest.raises(ValueError, match=said):
        median_hitting_time(np.array(times, float), np.array(reached, bool), confidence)
