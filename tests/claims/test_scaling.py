"""The scaling harness on times of known laws: exponents, censoring, collapses, warnings."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sparsejax.claims.scaling import (
    collapse,
    compare_times,
    finite_size_warnings,
    hermite_strengths,
    hitting_exponent,
)

SIZES = np.array([25.0, 50.0, 100.0, 200.0])


def power_law(exponent, runs=9, spread=0.1, constant=10.0, stopped=np.inf, seed=0):
    """Lognormal times whose median is exactly `constant d^exponent`; late ones are infinite."""
    rng, found = np.random.default_rng(seed), []
    for size in SIZES:
        noise = np.sort(rng.normal(size=runs))
        noise -= np.median(noise)
        times = constant * size**exponent * np.exp(spread * noise)
        found.append(np.where(times <= stopped, times, np.inf))
    return found


@pytest.mark.parametrize(
    "exponent, predicted, status",
    [
        (1.0, 1.0, "consistent"),
        (1.2, 1.0, "consistent"),  # d log d looks like this
        (2.0, 1.0, "refuted"),
        (0.2, 1.0, "refuted"),
        (1.5, (1.0, 2.0), "consistent"),
        (2.7, (1.0, 2.0), "refuted"),
        (2.0, None, "not_predicted"),
    ],
)
def test_exponents_of_exact_power_laws(exponent, predicted, status):
    found = hitting_exponent(SIZES, power_law(exponent), 1e9, predicted=predicted)
    assert found.slope == pytest.approx(exponent) and found.status == status
    assert found.low < exponent < found.high and found.censored == (0, 0, 0, 0)


def test_few_noisy_runs_are_underpowered_and_as_many_as_it_says_decide():
    noisy = hitting_exponent(SIZES, power_law(1.3, runs=5, spread=2.0), 1e9, predicted=1.0)
    assert noisy.status == "underpowered" and "lifts" in noisy.reason
    assert noisy.needed > 5
    enough = power_law(1.3, runs=2 * int(noisy.needed) + 1, spread=2.0)
    assert hitting_exponent(SIZES, enough, 1e12, predicted=1.0).status == "consistent"


def test_stopped_runs_are_late_and_not_missing():
    """Half of them dropped would lower the exponent; a size without a median bounds it from below."""
    whole = hitting_exponent(SIZES, power_law(2.0, spread=0.8), 1e9)
    cut = power_law(2.0, spread=0.8, stopped=10 * 200**2 * 1.05)
    assert 0 < np.isinf(cut[-1]).sum() < 5
    found = hitting_exponent(SIZES, cut, 10 * 200**2 * 1.05, predicted=2.0)
    assert found.slope == whole.slope and found.censored[-1] > 0
    assert "of 9 runs had not reached" in found.reason
    early = power_law(2.0, stopped=10 * 100**2 * 2.0)
    found = hitting_exponent(SIZES, early, 10 * 100**2 * 2.0, predicted=1.0)
    assert np.isinf(found.high) and found.slope == pytest.approx(2.0) and found.status == "refuted"
    assert np.isinf(found.medians[-1].median)
    none = hitting_exponent(SIZES, power_law(2.0, stopped=1.0), 1.0, predicted=2.0)
    assert none.status == "underpowered" and np.isnan(none.slope)


def test_the_bootstrap_covers_the_truth():
    """Of 60 ladders, about 57 intervals hold the exponent."""
    rng, inside = np.random.default_rng(1), 0
    for _ in range(60):
        times = [size**1.5 * rng.lognormal(sigma=0.5, size=15) * 100 for size in SIZES]
        found = hitting_exponent(SIZES, times, 1e9, rng=rng)
        inside += found.low <= 1.5 <= found.high
    assert inside >= 51


@pytest.mark.parametrize(
    "change, said",
    [
        ({"sizes": [5.0]}, "two different positive sizes"),
        ({"times": [np.ones(1)] * 4}, "has 1 runs"),
        ({"times": [np.array([1.0, np.nan])] * 4}, r"times lie in \[0, 100\]"),
        ({"times": [np.array([1.0, 101.0])] * 4}, r"times lie in \[0, 100\]"),
        ({"tolerance": 0.0}, "tolerance is positive"),
    ],
)
def test_bad_ladders_are_refused(change, said):
    given = {"sizes": SIZES, "times": [np.ones(3)] * 4, "stopped": 100.0}
    with pytest.raises(ValueError, match=said):
        hitting_exponent(**given | change)


def test_levels_and_exponents_of_two_conditions_are_told_apart():
    fast, slow = power_law(1.0), power_law(2.0, constant=3.0)
    expected = np.mean(np.log(0.3 * SIZES))
    level = compare_times(SIZES, fast, slow, 1e9)
    assert level.estimate == pytest.approx(expected) and level.status(0.0) == "holds"
    assert compare_times(SIZES, slow, fast, 1e9).status(0.0) == "violated"
    exponent = compare_times(SIZES, fast, slow, 1e9, of="exponent")
    assert exponent.estimate == pytest.approx(1.0) and exponent.status(0.5) == "holds"
    same = compare_times(SIZES, fast, power_law(1.0, seed=1), 1e9)
    assert same.status(0.0) == "inconclusive" and same.needed(0.0) > 9


def test_an_order_may_be_certain_though_runs_were_stopped():
    stopped = 5e4
    fast, slow = power_law(1.0), power_law(2.0, stopped=stopped)
    assert np.isinf(slow[-1]).all()
    found = compare_times(SIZES, fast, slow, stopped)
    assert found.status(0.0) == "holds" and np.isinf(found.high)
    # As large as if all stopped runs had come at once then.
    at_end = [np.minimum(times, stopped) for times in slow]
    np.testing.assert_allclose(
        found.low, compare_times(SIZES, fast, at_end, stopped).low, rtol=1e-9
    )
    # The other way round nothing is certain that might be late without bound.
    assert np.isneginf(compare_times(SIZES, slow, fast, stopped).low)
    both = compare_times(SIZES[2:], slow[2:], slow[2:], stopped)
    assert both.status(0.0) == "inconclusive"
    with pytest.raises(ValueError, match="two different sizes"):
        compare_times([5], fast[:1], slow[:1], 1e9, of="exponent")


def curves_of(scale, x, seeds=8, seed=0, spread=0.1):
    rng = np.random.default_rng([seed, int(scale)])
    return np.tanh(x / scale * rng.lognormal(sigma=spread, size=(seeds, 1)))


def test_collapse_of_curves_that_collapse_and_of_others():
    x = np.geomspace(1.0, 1e5, 80)
    scales = [30.0, 300.0, 900.0]
    curves = [curves_of(scale, x) for scale in scales]
    good = collapse([x] * 3, curves, scales)
    assert good.status == "consistent" and good.left < 0.2 and good.p_value > 0.05
    wrong = collapse([x] * 3, curves, np.sqrt(scales))
    assert wrong.status == "refuted" and wrong.p_value < 0.01
    assert 2.0 < good.covered < 5.0
    # A small but real difference is found by the null, and small in what is left.
    near = collapse([x] * 3, curves, [30.0, 300.0, 1300.0])
    assert near.status == "consistent" and near.p_value < 0.05


def test_curves_that_were_together_before_say_nothing_of_a_collapse():
    x = np.geomspace(1.0, 1e4, 50)
    found = collapse([x, x], [curves_of(100.0, x), curves_of(100.0, x, seed=1)], [1.0, 1.0])
    assert found.status == "underpowered" and "not apart" in found.reason


@pytest.mark.parametrize(
    "x, seeds, scales, said",
    [
        ([1.0, 2.0], 1, [1.0, 1.0], "two seeds at least"),
        ([0.0, 2.0], 2, [1.0, 1.0], "positive and increasing"),
        ([1.0, 2.0], 2, [1.0, 0.0], "scales must be positive"),
        ([1.0, 2.0], 2, [1.0, 100.0], "no range of the abscissa in common"),
        ([1.0, 2.0], 2, [1.0], "an abscissa and a scale each"),
    ],
)
def test_bad_collapses_are_refused(x, seeds, scales, said):
    x = np.array(x)
    with pytest.raises(ValueError, match=said):
        collapse([x, x], [np.ones((seeds, 2))] * 2, scales)


def test_hermite_strengths_are_those_of_known_expansions():
    # E relu(z) = 1/sqrt(2 pi), E relu(z) z = 1/2, E relu(z) (z^2 - 1)/sqrt 2 = 1/(2 sqrt pi).
    expected = [1 / np.sqrt(2 * np.pi), 0.5, 0.5 / np.sqrt(np.pi), 0.0]
    # A kink costs the rule its order.
    np.testing.assert_allclose(hermite_strengths(jax.nn.relu, 3, nodes=200), expected, atol=5e-3)
    # (x + b)^2 with b uniform on [-1, 1]: degree 1 is 2 b, of mean square 4 / 3.
    found = hermite_strengths(jnp.square, 2, (-1.0, 1.0))
    np.testing.assert_allclose(found[1:], [np.sqrt(4 / 3), np.sqrt(2)], rtol=1e-10)


def test_what_turns_conclusions_around_is_warned_of():
    assert finite_size_warnings(jax.nn.relu, biases=(-1.0, 1.0), degrees=(1, 2, 3)) == ()
    odd = finite_size_warnings(jnp.tanh)
    assert len(odd) == 1 and "no part of degree 2" in odd[0]
    assert finite_size_warnings(jnp.tanh, biases=(-1.0, 1.0)) == ()
    mean_field = finite_size_warnings(jax.nn.relu, biases=(-1.0, 1.0), output_power=1.0)
    assert len(mean_field) == 1 and "beyond degree 1" in mean_field[0]
    short = finite_size_warnings(
        jax.nn.relu, biases=(-1.0, 1.0), sizes=(50, 80), exponents=(1.0, 2.0)
    )
    assert len(short) == 1 and "factor of 1.6" in short[0]
    assert not finite_size_warnings(
        jax.nn.relu, biases=(-1.0, 1.0), sizes=(25, 200), exponents=(1.0, 2.0)
    )
