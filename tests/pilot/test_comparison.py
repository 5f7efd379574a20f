"""Intervals over random splits: the formula by hand, invariances, and how often they cover."""

import hypothesis.strategies as st
import numpy as np
import pytest
import scipy.stats
from hypothesis import given

from sparsejax.claims.statistics import mean_interval
from sparsejax.pilot.comparison import paired, resampled_interval, splits_to_tell

values = st.lists(st.floats(-5, 5), min_size=3, max_size=12).map(np.array)


@given(values, st.floats(0.0, 1.0))
def test_shared_rows_lengthen_student_s_interval_by_a_known_factor(x, ratio):
    student = mean_interval(x)
    alone, shared = resampled_interval(x, 0.0), resampled_interval(x, ratio)
    np.testing.assert_allclose([alone.mean, alone.low, alone.high], student, atol=1e-12)
    factor = np.sqrt(1 + ratio * len(x))
    np.testing.assert_allclose(shared.high - x.mean(), factor * (alone.high - x.mean()), atol=1e-12)


@given(values, values, st.floats(-3, 3))
def test_what_both_have_in_common_falls_out_and_sides_are_exchanged(x, y, shift):
    n = min(len(x), len(y))
    x, y = x[:n], y[:n]
    common = shift * np.arange(n) ** 2
    one, other = paired(x, y, 0.3), paired(x + common, y + common, 0.3)
    np.testing.assert_allclose([one.low, one.high], [other.low, other.high], atol=1e-9)
    back = paired(y, x, 0.3)
    np.testing.assert_allclose([back.low, back.high], [-one.high, -one.low], atol=1e-12)


def test_by_hand():
    # Differences -1, 0, 1, 2: mean 1/2, variance 5/3; Student's t with 3 degrees: 3.182446.
    found = paired(np.array([0.0, 1.0, 2.0, 3.0]), np.ones(4), 0.25)
    half = 3.182446 * np.sqrt(5 / 3 * (1 / 4 + 1 / 4))
    np.testing.assert_allclose([found.low, found.high], [0.5 - half, 0.5 + half], rtol=1e-6)


def test_what_is_no_number_gives_no_interval():
    found = resampled_interval(np.array([1.0, np.inf]), 0.3)
    assert (found.low, found.high) == (-np.inf, np.inf)
    assert resampled_interval(np.array([1.0]), 0.3).high == np.inf


def test_it_covers_where_student_s_interval_of_overlapping_splits_does_not():
    # The mean of test rows minus the mean of training rows, whose expectation is zero.
    rng, ours, students = np.random.default_rng(0), 0, 0
    for _ in range(400):
        rows = rng.normal(size=50)
        losses = []
        for _ in range(10):
            order = rng.permutation(50)
            losses.append(rows[order[:10]].mean() - rows[order[10:40]].mean() + rows.mean())
        found = resampled_interval(np.array(losses), 10 / 30)
        _, low, high = mean_interval(np.array(losses))
        ours += found.low <= 0 <= found.high
        students += low <= 0 <= high
    assert ours >= 0.93 * 400 and students < 0.9 * 400


@pytest.mark.parametrize("splits", [5, 20])
def test_splits_to_tell_is_where_the_interval_would_leave_zero(splits):
    x = np.tile([-0.2, 0.5], splits // 2 + 1)[:splits]
    found = resampled_interval(x, 0.01)
    needed = splits_to_tell(found, splits, 0.01)

    def low(n):
        half = scipy.stats.t.ppf(0.975, n - 1) * x.std(ddof=1) * np.sqrt(1 / n + 0.01)
        return x.mean() - half

    assert needed > splits and low(needed) > 0 >= low(needed - 1)
    # Rows are shared: beyond some size of the difference no number of splits helps.
    assert splits_to_tell(resampled_interval(x, 1.0), splits, 1.0) is None


def test_the_long_quantile_of_two_splits_is_not_taken_for_what_rows_can_show():
    found = resampled_interval(np.array([0.9, 1.0]), 1 / 3, 0.99)
    assert found.low < 0 and splits_to_tell(found, 2, 1 / 3, 0.99) == 3
