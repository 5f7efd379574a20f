"""Ratios of times: the law of the rank test by enumeration, coverage, and what stopped runs do."""

import itertools
import math

import numpy as np
import pytest
import scipy.stats

from sparsejax.claims.statistics import time_ratio
from sparsejax.claims.statistics.time_ratios import _mann_whitney_law


@pytest.mark.parametrize("m, n", [(1, 1), (3, 4), (5, 2)])
def test_the_law_of_the_rank_test_is_that_of_all_orders(m, n):
    counts = np.zeros(m * n + 1)
    for places in itertools.combinations(range(m + n), m):
        counts[sum(places) - m * (m - 1) // 2] += 1
    np.testing.assert_allclose(_mann_whitney_law(m, n), np.cumsum(counts) / math.comb(m + n, n))


def test_the_interval_is_the_one_that_the_exact_test_accepts():
    """A ratio lies inside just where the times, brought together by it, are not told apart."""
    rng = np.random.default_rng(0)
    slow, fast = 3 * rng.lognormal(size=8), rng.lognormal(size=7)
    found = time_ratio(slow, fast, 1e9)
    for ratio in (found.low, found.high):
        for factor, told_apart in ((0.999, ratio == found.low), (1.001, ratio == found.high)):
            test = scipy.stats.mannwhitneyu(slow / (ratio * factor), fast, method="exact")
            assert (test.pvalue <= 0.05) == told_apart
    assert found.low < found.ratio < found.high


def test_it_covers_as_often_as_it_says():
    rng = np.random.default_rng(1)
    hits = 0
    for _ in range(400):
        found = time_ratio(2 * rng.lognormal(size=6), rng.lognormal(size=6), 1e9, 0.9)
        hits += found.low <= 2 <= found.high
    # Exact, and a little more for whole ranks: 90.7%.
    assert scipy.stats.binomtest(hits, 400, 0.9).pvalue > 1e-3


def test_stopped_runs_are_the_worst_for_each_end():
    slow, fast = np.array([50.0] * 5 + [np.inf] * 5), np.full(10, 10.0)
    found = time_ratio(slow, fast, 100.0)
    assert found.bounded and found.low == 5 and math.isinf(found.high)
    assert 5 <= found.ratio <= 10
    # A fast condition that never arrives is no sooner, for all that was seen.
    none = time_ratio(np.full(10, 50.0), np.full(10, np.inf), 100.0)
    assert none.ratio == none.low == 0 and none.high == 0.5


@pytest.mark.parametrize(
    "slow, fast, confidence, said",
    [
        ([], [1.0], 0.95, "both conditions"),
        ([0.0], [1.0], 0.95, "must be positive"),
        ([1.0], [1.0], 1.0, "between 0 and 1"),
        ([1.0] * 3, [1.0] * 3, 0.95, "give no interval"),
    ],
)
def test_bad_times_are_refused(slow, fast, confidence, said):
    with pytest.raises(ValueError, match=said):
        time_ratio(np.array(slow), np.array(fast), 10.0, confidence)
