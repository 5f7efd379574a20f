"""Exponents and their intervals over lifts, against powers that are known."""

import numpy as np
import pytest

from sparsejax.claims.statistics import bootstrap_slope_interval, log_log_slope

X = np.array([8.0, 16.0, 32.0, 64.0])


def test_slope_of_a_power():
    x = np.geomspace(0.01, 1, 6)
    assert log_log_slope(x, 5 * x**1.5) == pytest.approx(1.5)


@pytest.mark.parametrize("summary", ["mean", "median"])
def test_the_bootstrap_covers_with_unequal_numbers_of_lifts(summary):
    rng, runs, missed, widths = np.random.default_rng(0), 60, 0, []
    counts = (12, 15, 18, 20)
    for _ in range(runs):
        values = [
            x**-1.5 * rng.lognormal(sigma=0.4, size=n) for x, n in zip(X, counts, strict=True)
        ]
        slope, low, high = bootstrap_slope_interval(
            X, values, rng, 0.9, summary=summary, resamples=300
        )
        assert low <= slope <= high
        missed += not low <= -1.5 <= high
        widths.append(high - low)
    assert 0 < missed / runs < 0.1 + 3 * np.sqrt(0.09 / runs)
    # The error of a sum of independent logarithms, known for lognormal means and medians.
    weights = np.log(X) - np.log(X).mean()
    weights /= weights @ weights
    factor = 1.0 if summary == "mean" else np.pi / 2
    error = 0.4 * np.sqrt(factor * (weights**2 / counts).sum())
    assert np.median(widths) == pytest.approx(2 * 1.645 * error, rel=0.15)


def test_the_same_generator_gives_the_same_interval():
    values = [x * np.random.default_rng(1).lognormal(size=9) for x in X]
    one, two, other = (
        bootstrap_slope_interval(X, values, np.random.default_rng(seed), resamples=200)
        for seed in (0, 0, 1)
    )
    assert one == two and one[0] == other[0] and one != other
    sums = np.array([sample.mean() for sample in values])
    assert one[0] == pytest.approx(log_log_slope(X, sums))


def test_lifts_that_are_all_the_same_have_a_slope_without_error():
    values = [x**2 * np.ones(5) for x in X]
    found = bootstrap_slope_interval(X, values, np.random.default_rng(0), resamples=100)
    np.testing.assert_allclose(found, 2.0)


def test_medians_of_stopped_lifts():
    rng = np.random.default_rng(2)
    values = [x * rng.lognormal(sigma=0.3, size=30) for x in X]
    options = {"summary": "median", "resamples": 500}
    slope, _, high = bootstrap_slope_interval(X, values, np.random.default_rng(0), **options)
    # A few stopped at the largest size change no median: the slope stays, the end may rise.
    few = [*values[:3], np.where(values[3] > np.quantile(values[3], 0.85), np.inf, values[3])]
    found = bootstrap_slope_interval(X, few, np.random.default_rng(0), **options)
    assert found[0] == slope and found[1] < slope < found[2] < np.inf
    # Half of them: the slope has no upper end. Half of the smallest too: no end at all.
    half = [*values[:3], np.where(values[3] > np.quantile(values[3], 0.52), np.inf, values[3])]
    found = bootstrap_slope_interval(X, half, np.random.default_rng(0), **options)
    assert np.isfinite(found[1]) and found[2] == np.inf
    both = [np.where(values[0] > np.quantile(values[0], 0.52), np.inf, values[0]), *half[1:]]
    found = bootstrap_slope_interval(X, both, np.random.default_rng(0), **options)
    assert found[1:] == (-np.inf, np.inf)


@pytest.mark.parametrize(
    ("x", "values", "options", "said"),
    [
        ([8.0], [[1.0, 2.0]], {}, "two different positive sizes"),
        ([8.0, 16.0], [[1.0, 2.0]], {}, "two different positive sizes"),
        ([8.0, 16.0], [[1.0, 2.0], [1.0]], {}, "size 16 has 1 lifts"),
        ([8.0, 16.0], [[1.0, 2.0], [1.0, 0.0]], {}, "size 16: logarithms"),
        ([8.0, 16.0], [[1.0, 2.0], [1.0, np.inf]], {}, "use the median"),
        ([8.0, 16.0], [[1.0, 2.0], [1.0, 2.0]], {"confidence": 0.0}, "confidence must"),
    ],
)
def test_bad_samples_are_refused(x, values, options, said):
    samples = [np.array(v) for v in values]
    with pytest.raises(ValueError, match=said):
        bootstrap_slope_interval(np.array(x), samples, np.random.default_rng(0), **options)
