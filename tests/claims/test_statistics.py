"""Intervals against their definitions and by simulation."""

import numpy as np
import pytest
import scipy.stats

from sparsejax.claims.statistics import (
    clopper_pearson,
    learning_number,
    log_log_slope,
    mean_interval,
)


@pytest.mark.parametrize(("successes", "trials"), [(0, 7), (7, 7), (3, 11), (19, 20)])
def test_clopper_pearson_inverts_the_binomial_tails(successes, trials):
    low, high = clopper_pearson(successes, trials, 0.9)
    if successes:
        assert scipy.stats.binom.sf(successes - 1, trials, low) == pytest.approx(0.05)
    else:
        assert low == 0
    if successes < trials:
        assert scipy.stats.binom.cdf(successes, trials, high) == pytest.approx(0.05)
    else:
        assert high == 1


def test_clopper_pearson_covers():
    rng = np.random.default_rng(0)
    p = 0.3
    draws = rng.binomial(20, p, size=2000)
    ends = {k: clopper_pearson(k, 20, 0.95) for k in range(21)}
    covered = np.mean([ends[k][0] <= p <= ends[k][1] for k in draws])
    assert covered >= 0.95


@pytest.mark.parametrize(("successes", "trials", "level"), [(3, 2, 0.9), (-1, 2, 0.9), (1, 2, 1.0)])
def test_clopper_pearson_refuses(successes, trials, level):
    with pytest.raises(ValueError, match="no interval"):
        clopper_pearson(successes, trials, level)


def test_learning_number_needs_all_larger_sizes():
    trials = {8: 20, 16: 20, 32: 20}
    assert learning_number({8: 20, 16: 10, 32: 20}, trials, 0.2, 0.95) == 32
    assert learning_number({8: 20, 16: 20, 32: 19}, trials, 0.2, 0.95) is None
    assert learning_number({8: 20, 16: 20, 32: 20}, trials, 0.2, 0.95) == 8


def test_mean_interval_covers():
    rng = np.random.default_rng(1)
    samples = rng.normal(2.0, 3.0, size=(2000, 5))
    ends = [mean_interval(row, 0.9)[1:] for row in samples]
    covered = np.mean([low <= 2.0 <= high for low, high in ends])
    assert abs(covered - 0.9) < 0.02


def test_slope_of_a_power():
    x = np.geomspace(0.01, 1, 6)
    assert log_log_slope(x, 5 * x**1.5) == pytest.approx(1.5)
