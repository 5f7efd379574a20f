"""The interval that one may look at after every trial, against all paths of trials."""

import numpy as np
import pytest
import scipy.stats

from sparsejax.claims.statistics import clopper_pearson, confidence_sequence, lifts_for_width


def ever_excluded(interval, p, most, confidence):
    """The exact probability that `p` is outside after some of the first `most` trials.

    All paths at once: the probability of each number of successes among those that were never
    outside. Ends rise with the successes, so that those inside are a range, whose ends move by at
    most one a trial.
    """
    inside, lost, low, high = np.array([1.0]), 0.0, 0, 0
    for n in range(1, most + 1):
        inside = np.append(inside * (1 - p), 0.0) + np.append(0.0, inside * p)
        while interval(low, n, confidence)[1] < p:
            low += 1
        high += 1
        while interval(high, n, confidence)[0] > p:
            high -= 1
        keep = (np.arange(n + 1) >= low) & (np.arange(n + 1) <= high)
        lost += inside[~keep].sum()
        inside = np.where(keep, inside, 0.0)
    assert inside.sum() + lost == pytest.approx(1.0)
    return lost


@pytest.mark.parametrize("p", [0.5, 0.9])
def test_one_may_look_after_every_trial(p):
    for confidence in (0.9, 0.99):
        lost = ever_excluded(confidence_sequence, p, 200, confidence)
        # Below the level at all times together, and not by having no power.
        assert (1 - confidence) / 10 < lost <= 1 - confidence


def test_of_clopper_pearson_one_may_not():
    assert ever_excluded(clopper_pearson, 0.5, 60, 0.9) > 2 * (1 - 0.9)


@pytest.mark.parametrize(("successes", "trials"), [(0, 1), (0, 40), (40, 40), (3, 11), (999, 1000)])
def test_the_ends_are_where_the_mixture_outweighs_the_truth(successes, trials):
    low, high = confidence_sequence(successes, trials, 0.95)
    for end in {low, high} - {0.0, 1.0}:
        # The uniform mixture gives every number of successes the probability 1 / (trials + 1).
        ratio = (trials + 1) * scipy.stats.binom.pmf(successes, trials, end)
        assert ratio == pytest.approx(0.05, rel=1e-6)
    assert (low == 0.0) == (successes == 0) and (high == 1.0) == (successes == trials)
    exact = clopper_pearson(successes, trials, 0.95)
    assert low <= exact[0] and exact[1] <= high + 1e-12
    turned = confidence_sequence(trials - successes, trials, 0.95)
    np.testing.assert_allclose(turned, (1 - high, 1 - low), atol=1e-12)


@pytest.mark.parametrize(("width", "fraction"), [(0.3, 0.5), (0.1, 1.0), (0.25, 0.2)])
def test_lifts_for_width_is_the_first_number_that_is_enough(width, fraction):
    found = lifts_for_width(width, fraction)

    def wide(trials):
        low, high = confidence_sequence(round(fraction * trials), trials)
        return high - low

    # A whole number of successes may be half a trial off.
    slack = 1 / found
    assert wide(found) <= width + slack and wide(found - 1) > width - slack
    if fraction == 1.0:
        assert wide(found) <= width < wide(found - 1)


@pytest.mark.parametrize("change", [{"width": 0.0}, {"fraction": 1.5}, {"confidence": 1.0}])
def test_bad_settings_are_refused(change):
    with pytest.raises(ValueError, match="must lie"):
        lifts_for_width(**({"width": 0.1} | change))
    with pytest.raises(ValueError, match="no interval"):
        confidence_sequence(3, 2)
