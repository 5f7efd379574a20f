"""Fractions of lifts: against their definitions, published values and enumerated tables."""

import numpy as np
import pytest
import scipy.stats

from sparsejax.claims.statistics import (
    clopper_pearson,
    compare_proportions,
    difference_of_proportions,
    learning_number,
)
from sparsejax.claims.statistics.proportions import wilson


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
def test_bad_counts_are_refused(successes, trials, level):
    with pytest.raises(ValueError, match="no interval"):
        clopper_pearson(successes, trials, level)
    for test in (difference_of_proportions, compare_proportions):
        with pytest.raises(ValueError, match="no interval"):
            test(1, 2, successes, trials, level)


def test_learning_number_needs_all_larger_sizes():
    trials = {8: 20, 16: 20, 32: 20}
    assert learning_number({8: 20, 16: 10, 32: 20}, trials, 0.2, 0.95) == 32
    assert learning_number({8: 20, 16: 20, 32: 19}, trials, 0.2, 0.95) is None
    assert learning_number({8: 20, 16: 20, 32: 20}, trials, 0.2, 0.95) == 8


@pytest.mark.parametrize(("successes", "trials"), [(0, 7), (7, 7), (3, 11)])
def test_wilson_is_the_library_s(successes, trials):
    theirs = scipy.stats.binomtest(successes, trials).proportion_ci(0.9, method="wilson")
    np.testing.assert_allclose(wilson(successes / trials, trials, 0.9), theirs, atol=1e-12)


@pytest.mark.parametrize(
    ("counts", "low", "high"),
    [
        # Newcombe 1998, table II, method 10.
        ((56, 70, 48, 80), 0.0524, 0.3339),
        ((9, 10, 3, 10), 0.1705, 0.8090),
        ((10, 10, 0, 20), 0.6791, 1.0),
        ((0, 10, 0, 20), -0.1611, 0.2775),
    ],
)
def test_difference_of_proportions_as_published(counts, low, high):
    a, n, b, m = counts
    found = difference_of_proportions(*counts)
    np.testing.assert_allclose(found, (a / n - b / m, low, high), atol=6e-5)
    turned = difference_of_proportions(b, m, a, n)
    np.testing.assert_allclose(turned, (b / m - a / n, -high, -low), atol=6e-5)


def test_the_comparison_errs_at_most_at_its_level_and_finds_what_fisher_misses():
    n = 6
    # Conditions can be exchanged, and so can success and failure.
    p_values = np.ones((n + 1, n + 1))
    for a in range(n + 1):
        for b in range(a, n + 1 - a):
            value = compare_proportions(a, n, b, n).p_value
            for i, j in ((a, b), (n - a, n - b)):
                p_values[i, j] = p_values[j, i] = value
    for p in (0.1, 0.3, 0.5):
        law = scipy.stats.binom.pmf(np.arange(n + 1), n, p)
        rejected = np.outer(law, law)[p_values <= 0.05].sum()
        assert rejected <= 0.05
    assert rejected > 0.03  # at 1/2: it is not just timid
    tables = [[[a, b], [n - a, n - b]] for a in range(n + 1) for b in range(n + 1)]
    fisher = np.array([scipy.stats.fisher_exact(table).pvalue for table in tables])
    assert (p_values.ravel() <= 0.05).sum() > (fisher <= 0.05).sum()
    assert compare_proportions(6, 6, 6, 6).p_value == 1.0
