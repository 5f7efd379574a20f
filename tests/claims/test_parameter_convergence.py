"""parameter-convergence: exponents against closed forms, verdicts on made-up flows, small lifts."""

import dataclasses

import numpy as np
import pytest
import scipy.stats

import sparsejax as sj
from sparsejax.claims import CLAIMS
from sparsejax.claims.finite_length import LiftTail, _limit, finite_length
from sparsejax.claims.lift_ensemble import lift_ensemble, parameter_count, size_of
from sparsejax.claims.parameter_convergence import lift_tails, of_kind, save_times
from sparsejax.claims.tail_exponent import Tail, agreed, tail_exponent

from .any_claim import assert_settings_are_valid

BUDGET = {"integrator", "quadrature", "sampling", "floating_point"}
CLAIM = CLAIMS["parameter-convergence"]
SMALL = CLAIM.Config(
    samples=6,
    in_degree=2,
    size=8,
    hidden=1,
    lifts=2,
    t1=300.0,
    t1_logistic=1e4,
    noisy_samples=30,
    noisy_size=6,
    rtol=1e-7,
)
TS = save_times(1e6)


def tail(norms, lengths=None, unit=1.0, window=0.5, usable=None):
    usable = TS > 0 if usable is None else usable
    lengths = np.zeros_like(TS) if lengths is None else lengths
    return tail_exponent(TS, norms, lengths, usable, window=window, unit=unit)


def shape(law):
    """Gradient norms of known laws from a time of about 1 on; the first is 1."""
    t = 1 + TS
    return {
        "power 2": t**-2.0,
        "power 1.2": t**-1.2,
        "power 0.7": t**-0.7,
        "logarithm": t**-1 * (1 + np.log(t)) ** -0.7,
        "steeper late": t**-0.8 * (1 + t / 2e6) ** -1.5,
        "exponential": np.exp(-t / 6e4) / t**0.5,
    }[law]


@pytest.mark.parametrize("exponent", [0.6, 1.0, 1.7, 3.0])
def test_a_power_law_has_its_exponent_and_its_length(exponent):
    t = np.where(TS > 0, TS, 1.0)
    found = tail(t**-exponent, lengths=2 - t ** (1 - exponent) / max(exponent - 1, 0.1))
    np.testing.assert_allclose([found.last, found.previous, found.limit], exponent, rtol=1e-9)
    assert found.end == TS[-1]
    # The integral of t^-p from the end on, where it is finite.
    if exponent > 1.1:
        np.testing.assert_allclose(found.length + found.remaining(found.last), 2, rtol=1e-9)
    if exponent < 1:
        assert found.remaining(found.last) == np.inf


def test_logarithms_do_not_pass_for_a_larger_exponent():
    """`t^-1 (log t)^-a`: the slope is 1 + a / log t, above 1 at every time; its length infinite."""
    logarithm = np.log1p(np.where(TS > 0, TS, 1.0))
    found = tail(np.where(TS > 0, TS, 1.0) ** -1 / logarithm**0.7)
    assert found.last > 1.04 and found.previous > found.last
    np.testing.assert_allclose(found.limit, 1, atol=2e-3)
    # On the border between finite and infinite, up to log log t: their slope less 1 is `borders`.
    assert found.last - found.borders[0] < 1
    border = tail(np.where(TS > 0, TS, 1.0) ** -1 / logarithm)
    np.testing.assert_allclose(border.last - border.borders[0], 1, atol=2e-3)
    # In other units of time the slope is the same, and where it leads is not.
    assert abs(tail(1 / (np.where(TS > 0, TS, 1) * logarithm**0.7), unit=1e3).limit - 1) > 0.01


def test_agreement_ends_at_the_first_difference():
    fine = np.array([1.0, 0.5, 0.1, 0.01, np.nan])
    coarse = np.array([1.0, 0.51, 0.2, 0.01, np.nan])
    assert agreed(fine, coarse, 0.05).tolist() == [True, True, False, False, False]
    assert agreed(fine, fine, 0.05).tolist() == [True] * 4 + [False]
    assert agreed(fine[:2], np.array([1.0, np.nan]), 0.05).tolist() == [True, False]


def test_too_short_a_flow_has_no_exponent():
    found = tail(np.ones_like(TS), usable=TS < 0.02)
    assert np.isnan(found.last) and not found.low > 1
    judged = finite_length([LiftTail(found, 0.0, 0.0)] * 20, 0.2, 0.95)
    assert judged.status == "inconclusive" and "too short" in judged.reason


def lifts_of(exponents, limit=None, off=0.0):
    return [
        LiftTail(Tail(p, p, p if limit is None else limit, 1e4, 1e-6, 1.0), off, 0.0)
        for p in exponents
    ]


@pytest.mark.parametrize(
    "found, status",
    [
        (lifts_of([1.5] * 20), "holds"),
        (lifts_of([1.5] * 19 + [0.5]), "inconclusive"),  # 0.2-quantile: sampling decides
        (lifts_of([1.5] * 99 + [0.5]), "holds"),
        (lifts_of([0.8] * 20), "violated"),
        (lifts_of([1.5] * 20 + [0.8] * 80), "violated"),
        (lifts_of([1.05] * 20, limit=0.99), "inconclusive"),
        (lifts_of([0.95] * 20, limit=1.01), "inconclusive"),
        (lifts_of([1.05] * 20, off=0.1), "inconclusive"),
        (lifts_of([1.5] * 16), "inconclusive"),  # too few for any interval
    ],
)
def test_judges_what_it_says(found, status):
    verdict = finite_length(found, 0.2, 0.95)
    assert verdict.status == status, verdict
    assert set(verdict.error_budget) == BUDGET
    assert (verdict.status == "holds") == (verdict.margin > verdict.total_error)
    assert (verdict.status == "violated") == (-verdict.margin > verdict.total_error)


def test_says_how_many_lifts_would_decide():
    assert (
        "at this share of finite ones 17 lifts would decide"
        in finite_length(lifts_of([1.5] * 16), 0.2, 0.95).reason
    )
    half = lifts_of([1.5] * 10) + lifts_of([1.05] * 10, limit=0.99)
    reason = finite_length(half, 0.2, 0.95).reason
    assert "more lifts at this share would not decide" in reason


@pytest.mark.parametrize(("lifts", "p"), [(20, 0.2), (100, 0.2), (35, 0.5)])
def test_limits_of_a_quantile_are_those_of_scipy(lifts, p):
    values = np.random.default_rng(0).normal(size=lifts)
    interval = scipy.stats.quantile_test(values, q=0, p=p).confidence_interval(0.9)
    assert _limit(values, p, 0.9, -1) == interval.low
    assert _limit(values, p, 0.9, +1) == interval.high


@pytest.mark.slow
def test_holds_by_chance_as_seldom_as_it_says():
    """Where just a share of delta does not converge, at most 2.5% of runs may hold."""
    rng = np.random.default_rng(0)
    held = sum(
        finite_length(lifts_of(1 + rng.uniform(-0.2, 0.8, size=30)), 0.2, 0.95).holds
        for _ in range(100)
    )
    assert held <= 0.06 * 100


def flows(norms, lifts, *, lost=1e-6, error=0.0, well=True, drift=0.0):
    """Measurements of lifts with the same gradient norms, but for a few percent."""
    rows = norms * np.exp(0.02 * np.random.default_rng(0).normal(size=(lifts, 1)))
    losses = np.geomspace(1.0, lost, len(TS)) * np.ones((lifts, 1))
    lengths = np.cumsum(rows * np.gradient(TS), axis=1)
    return {
        "ts": TS * np.ones((lifts, 1)),
        "losses": losses,
        "grad_norms": rows,
        "coarse_grad_norms": rows * (1 + drift * np.log1p(TS)),
        "path_lengths": lengths,
        "training_error": np.full(lifts, error),
        "distance": lengths[:, -1],
        "energy_error": np.zeros(lifts),
        "well": np.full(lifts, well),
        "rounding": np.full(lifts, 2e-16),
        "parameters": np.full(lifts, 100),
        "size": np.full(lifts, 10),
    }


def made_up(config, law, lifts=20, **settings):
    return {
        trial.name: flows(shape(law), lifts, **settings)
        for trial in CLAIM.trials(dataclasses.replace(config, lifts=10))
    }


@pytest.mark.parametrize(
    "law, settings, status",
    [
        ("power 2", {}, "holds"),
        ("power 1.2", {}, "holds"),
        ("power 0.7", {}, "violated"),
        ("logarithm", {}, "inconclusive"),
        ("steeper late", {}, "inconclusive"),
        ("exponential", {}, "holds"),
        ("power 1.2", {"drift": 0.003}, "holds"),
        ("power 2", {"well": False}, "not_applicable"),
        ("power 2", {"lost": 0.1}, "not_applicable"),
    ],
)
def test_made_up_flows_under_squared_loss(law, settings, status):
    config = CLAIM.Config()
    verdict = CLAIM.judge(config, made_up(config, law, **settings))
    assert verdict.status == status, verdict
    # Where lifts are not to fit their samples, what is left of the loss is no matter.
    if "lost" in settings:
        assert verdict.summary["sparse, noisy"]["status"] == "holds"


def test_made_up_flows_under_logistic_loss():
    config = CLAIM.control(CLAIM.Config())
    # Infinite by the exponents, and where they lead is on the border.
    verdict = CLAIM.judge(config, made_up(config, "logarithm"))
    assert verdict.status == "inconclusive" and verdict.summary["sparse, logistic"]["finite"] == 0
    verdict = CLAIM.judge(config, made_up(config, "logarithm", error=0.02))
    assert verdict.status == "not_applicable" and "do not separate" in verdict.reason


def test_figure_and_table():
    config = CLAIM.Config()
    measurements = made_up(config, "power 1.2")
    for name in measurements:
        if "logistic" in name:
            measurements[name] = flows(shape("power 0.7"), 20)
    verdict = CLAIM.judge(config, measurements)
    figure = CLAIM.draw(config, measurements, verdict)
    assert all(axes.get_xlabel() and axes.get_ylabel() for axes in figure.axes)
    rows = CLAIM.table(config, measurements, verdict)
    assert [row["flow"] for row in rows] == [
        f"{kind}, {condition}"
        for condition in ("squared", "noisy", "logistic")
        for kind in ("sparse", "dense")
    ]
    assert rows[0]["verdict"] == "holds" and rows[-1]["its limit at most"] == np.inf
    # The length of (1 + t)^-1.2 from 0 on is 5.
    np.testing.assert_allclose(rows[0]["its limit at most"], 5, rtol=0.05)


def test_rounding_is_in_the_budget():
    config = CLAIM.Config()
    values = flows(shape("power 2"), 1)
    values["rounding"][:] = 1e-13
    (found,) = lift_tails(config, values)
    # The last gradient is 1e-12 of the first: a tenth of it may be rounding.
    np.testing.assert_allclose(found.floating_point, 2 * 0.1 / (0.5 * np.log(10)), rtol=0.01)


def test_sizes_of_equal_parameters():
    for dims, hidden, size, degree in ((8, 2, 48, 4), (3, 1, 10, 2), (10, 3, 6, 6)):
        count = parameter_count(dims, hidden, size, degree)
        assert size_of(count, dims, hidden, degree) == size
    with pytest.raises(ValueError, match="parameters: 3 are fewer"):
        size_of(3, 8, 2, None)


@pytest.mark.parametrize(
    "change, said",
    [
        ({"lifts": 1}, "lifts: at least two"),
        ({"delta": 1.0}, "delta: must lie"),
        ({"rtol": 0.0}, "rtol: must be positive"),
        ({"t1": 0.05}, "t1: 0.05 leaves no room for two windows"),
        ({"noisy_data": "nonsense"}, "unknown data set 'nonsense'"),
        ({"noisy_size": 2}, "parameters: 9 are fewer than the 13 of size 1"),
        ({"noisy_size": 0}, "sizes: a size must be positive"),
        ({"in_degree": 500}, "in_degree: 500 is above"),
    ],
)
def test_bad_settings_are_refused(change, said):
    with pytest.raises(ValueError, match=said):
        CLAIM.validate(dataclasses.replace(SMALL, **change))


def test_defaults_control_and_preset_are_valid():
    assert_settings_are_valid(CLAIM, SMALL)


@pytest.mark.slow
def test_small_lifts_are_measured():
    found = {trial.name: CLAIM.measure(SMALL, trial) for trial in CLAIM.trials(SMALL)}
    values = of_kind(found, "squared", "sparse")
    assert values["well"].all() and (values["energy_error"] < 1e-3).all()
    assert (values["distance"] <= np.nanmax(values["path_lengths"], axis=1) * (1 + 1e-6)).all()
    verdict = CLAIM.judge(SMALL, found)
    assert set(verdict.summary) == {
        f"{kind}, {condition}"
        for condition in ("squared", "noisy", "logistic")
        for kind in ("sparse", "dense")
    }
    # One lift again, on its own, by another program.
    lift, params = lift_ensemble(SMALL, 8, 8, 2, [1])
    import equinox as eqx
    import jax

    data = sj.targets.data_by_name("synthetic", 6, 0)
    one = jax.tree.map(lambda leaf: leaf[0] if eqx.is_array(leaf) else leaf, (lift, params))
    at = int(np.argmin(abs(values["ts"][1] - 10.0)))
    loss = sj.squared_loss(one[0].apply, data.x_train, data.y_train)
    flow = sj.gradient_flow(loss, one[1], float(values["ts"][1, at]), rtol=1e-9)
    np.testing.assert_allclose(values["grad_norms"][1, at], flow.grad_norms[-1], rtol=1e-4)
    np.testing.assert_allclose(values["path_lengths"][1, at], flow.path_lengths[-1], rtol=1e-4)
