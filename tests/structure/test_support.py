"""Supports read from scores: gaps, their null, scores against truth, and stability selection."""

import numpy as np
import pytest
import sklearn.metrics
from hypothesis import given, strategies as st

from sparsejax.structure import (
    half_samples,
    largest_gap,
    recovery_time,
    stability_selection,
    support_by_gap,
    support_score,
)

RNG = np.random.default_rng(0)


def test_the_gap_is_that_of_all_cuts():
    """Brute force over the number of inputs that are picked."""
    for _ in range(20):
        scores = RNG.exponential(size=9)
        ordered = np.sort(scores)[::-1]
        ratios = [ordered[k - 1] / ordered[k] for k in range(1, 5)]
        count, gap = largest_gap(scores)
        assert count == 1 + int(np.argmax(ratios))
        assert np.exp(gap) == pytest.approx(max(ratios))


def test_scale_and_order_of_inputs_do_not_matter():
    null = RNG.uniform(1, 1.4, size=(30, 12))
    scores = RNG.uniform(1, 1.2, size=12)
    scores[[2, 7]] = 5.0, 9.0
    order = RNG.permutation(12)
    found = support_by_gap(scores, null)
    assert found.inputs == (8, 3) and found.gap > found.null_gap
    assert found.p_value == pytest.approx(1 / 31)
    moved = support_by_gap(100 * scores[order], 7 * null[:, order])
    assert tuple(order[np.array(moved.inputs) - 1] + 1) == (8, 3)


def test_exact_zeros_are_a_gap():
    scores = np.array([0.0, 2.0, 0.0, 1.0, 0.0, 0.0])
    assert support_by_gap(scores, RNG.uniform(1, 2, (20, 6))).inputs == (2, 4)
    # Next to nothing is as good as nothing: a step from one to the other is no gap.
    scores = np.array([0.03, 2.0, 0.04, 1.0, 0.05, 0.0, 0.0, 0.0])
    assert support_by_gap(scores, RNG.uniform(1, 2, (20, 8))).inputs == (2, 4)
    assert largest_gap(np.zeros(4)) == (0, 0.0) == largest_gap(np.ones(4))


def test_of_scores_like_those_of_the_null_few_are_significant():
    """At a level of 0.2, of 100 fresh draws about 20; of exchangeable ones, so with the null's."""
    null = RNG.exponential(size=(39, 20))
    found = [support_by_gap(RNG.exponential(size=20), null, level=0.2) for _ in range(100)]
    # Binomial, and beta with the 39 null runs: a standard deviation of 7.5.
    assert abs(sum(bool(s.inputs) for s in found) - 20) < 4 * 7.5
    for support in found:
        assert bool(support.inputs) == (support.p_value <= 0.2)


@given(st.sets(st.integers(1, 8)), st.sets(st.integers(1, 8), min_size=1))
def test_scores_are_scikit_learn_s(found, true):
    def indicator(inputs):
        return [at in inputs for at in range(1, 9)]

    expected = sklearn.metrics.precision_recall_fscore_support(
        indicator(true), indicator(found), average="binary", zero_division=0
    )
    np.testing.assert_allclose(support_score(found, true), expected[:3])


def test_recovery_is_for_good():
    scores = np.array([[1, 1, 0], [3, 2, 0], [1, 2, 0], [3, 1, 0], [4, 1, 2]], float)
    times = 10.0 * np.arange(5)
    assert recovery_time(times, scores, (1,)) == 30
    assert recovery_time(times, scores, (1,), ratio=2.5) == np.inf
    assert recovery_time(times, scores, (1, 2)) == np.inf
    assert recovery_time(times[:4], scores[:4], (1, 2)) == 0


def test_halves_are_complementary_and_each_sample_comes_as_often():
    halves = half_samples(11, 6, seed=3)
    assert halves.shape == (12, 5)
    for first, second in halves.reshape(6, 2, 5):
        assert len(set(first) | set(second)) == 10
    np.testing.assert_array_equal(halves, half_samples(11, 6, seed=3))


def test_stability_selection_keeps_what_is_picked_and_its_bound_is_kept():
    """The lasso's first picks on halves: two inputs matter, of 40; the bound is in expectation."""
    false, bounds = [], []
    for seed in range(20):
        rng = np.random.default_rng(seed)
        x = rng.normal(size=(160, 40))
        y = 3 * x[:, 0] - 3 * x[:, 1] + rng.normal(size=160)
        picked = np.zeros((40, 40), bool)
        for row, half in zip(picked, half_samples(160, 20, seed), strict=True):
            row[np.argsort(-np.abs(x[half].T @ y[half]))[:4]] = True
        chosen = stability_selection(picked, 0.75)
        assert set(chosen.inputs[:2]) == {1, 2}
        false.append(len(set(chosen.inputs) - {1, 2}))
        bounds.append(chosen.false_bound)
    assert bounds[0] == pytest.approx(4**2 / (0.5 * 40))
    assert np.mean(false) <= bounds[0]


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="finite and not negative"):
        largest_gap(np.array([1.0, -1.0]))
    with pytest.raises(ValueError, match="most: from 1 to 2 of 3"):
        largest_gap(np.ones(3), most=3)
    with pytest.raises(ValueError, match="null: scores of 3 inputs"):
        support_by_gap(np.ones(3), np.ones((4, 2)))
    with pytest.raises(ValueError, match="true: at least one"):
        support_score((1,), ())
    with pytest.raises(ValueError, match="threshold: from 0.5 to 1"):
        stability_selection(np.ones((2, 2), bool), 0.4)
    with pytest.raises(ValueError, match="at least two samples"):
        half_samples(1, 3, 0)
