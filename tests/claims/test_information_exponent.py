"""information-exponent: its verdict on made-up times, its laws, and small runs."""

import dataclasses

import jax
import numpy as np
import pytest

from sparsejax.claims import CLAIMS
from sparsejax.claims.information_exponent import foretold, stop_of
from sparsejax.claims.scaling import within
from sparsejax.claims.spherical_runs import OnHemisphere, link_of, population_time, step_of

from .any_claim import assert_settings_are_valid

CLAIM = CLAIMS["information-exponent"]
CONFIG = CLAIM.Config()
SMALL = CLAIM.Config(orders=(1,), dims=(6, 8), step_sizes=(0.1,), seeds=2)
BUDGET = {"integrator", "quadrature", "sampling", "floating_point"}


def made_up(powers=(1.0, 1.2, 2.0), spread=0.2, censored=0.0, config=CONFIG):
    rng, found = np.random.default_rng(0), {}
    for order, power in zip(config.orders, powers, strict=True):
        for dims in config.dims:
            for seed in range(config.seeds):
                time = 75 * (dims / 25) ** power * rng.lognormal(0, spread)
                time = min(time, stop_of(config, order, dims))
                stopped = seed < censored * config.seeds
                found[f"k{order:02d}-d{dims:04d}-seed{seed:03d}"] = {
                    "steps": np.array([0, 10, 20]),
                    "overlap": np.array([0.1, 0.2, 0.6]),
                    "hit": np.asarray(np.inf if stopped else time),
                    "status": np.asarray("completed" if stopped else "reached"),
                }
    return found


@pytest.mark.parametrize(
    ("made", "status", "said"),
    [
        ({}, "holds", "k = 3: exponent"),
        ({"powers": (1.0, 1.2, 1.0)}, "violated", "k = 3: exponent"),
        ({"powers": (2.0, 1.2, 2.0)}, "violated", "k = 1: exponent 2"),
        ({"spread": 3.0}, "inconclusive", "runs would decide"),
        ({"censored": 1.0}, "inconclusive", "underpowered"),
    ],
)
def test_judges_what_it_says(made, status, said):
    found = made_up(**made)
    verdict = CLAIM.judge(CONFIG, found)
    assert verdict.status == status and said in verdict.reason, verdict.reason
    assert set(verdict.error_budget) == BUDGET
    if status == "holds":
        assert verdict.margin > verdict.total_error
    rows = CLAIM.table(CONFIG, found, verdict)
    assert len(rows) == 12
    if made and "censored" not in made:
        return
    figure = CLAIM.draw(CONFIG, found, verdict)
    assert all(axes.get_xlabel() and axes.get_ylabel() for axes in figure.axes)


@pytest.mark.parametrize(
    ("interval", "status", "slack"),
    [
        ((1.1, 1.0, 1.2), "holds", 0.3),  # the far end decides
        ((1.1, 1.0, 1.7), "inconclusive", -0.2),
        ((1.1, 0.3, 1.2), "inconclusive", -0.2),
        ((1.9, 1.7, 2.2), "violated", 0.2),  # the near one
        ((np.nan, -np.inf, np.inf), "inconclusive", None),
    ],
)
def test_near_a_prediction(interval, status, slack):
    found = within("a slope", interval, 1.0, 0.5, 9)
    assert found.status == status
    if slack is not None:
        np.testing.assert_allclose(found.slack, slack)
        assert found.low <= found.estimate <= found.high


def test_stopped_runs_of_a_link_lie_at_their_own_end():
    """Each link and dimension is stopped at a time of its own: no other stands in for it."""
    found = made_up(spread=0.0)
    for name, run in found.items():
        if name.startswith(("k02-d0200", "k03-d0025")):
            run["hit"] = np.asarray(np.inf)
    steeper = CLAIM.statements(CONFIG, found, CLAIM.exponents(CONFIG, found))[-1]
    d = np.array(CONFIG.dims, float)
    quadratic, cubic = 75 * (d / 25) ** 1.2, 75 * (d / 25) ** 2
    # Patience times d^(k - 1), up to the next multiple of 2000 records.
    quadratic[-1], cubic[0] = 20_000, 64_000
    slopes = [np.polyfit(np.log(d), np.log(times), 1)[0] for times in (quadratic, cubic)]
    np.testing.assert_allclose(steeper.estimate, slopes[1] - slopes[0])
    assert steeper.status == "violated" and "larger than that of k = 2" in steeper.said


def test_a_run_that_diverged_judges_nothing():
    found = made_up()
    next(iter(found.values()))["status"] = np.asarray("nan")
    assert CLAIM.judge(CONFIG, found).status == "not_applicable"


def test_laws_over_a_ladder():
    assert [foretold(k, (10, 100)) for k in (1, 3, 4)] == [1, 2, 3]
    # d log d from 10 to 100 grows by 10 times 2.
    np.testing.assert_allclose(foretold(2, (10, 100)), 1 + np.log10(2))


def test_the_population_s_time_is_that_of_its_equation():
    # k = 1: artanh of the overlap grows by eta a step.
    exact = (np.arctanh(0.5) - np.arctanh(0.1)) / 0.01
    np.testing.assert_allclose(population_time(1, 100, 0.01, 0.5), exact, rtol=1e-8)
    ratio = np.log2(population_time(3, 10**6, step_of(1.0, 10**6, 3), 0.5)) - np.log2(
        population_time(3, 10**6 // 2, step_of(1.0, 10**6 // 2, 3), 0.5)
    )
    np.testing.assert_allclose(ratio, 2, atol=0.01)


def test_starts_lie_on_the_hemisphere():
    for start in ("uniform", "typical"):
        build = OnHemisphere(30, link_of(3, 0.0), start)
        for seed in range(4):
            w = np.asarray(build(jax.random.key(seed))[1])
            np.testing.assert_allclose(np.linalg.norm(w), 1)
            assert w[0] > 0
        if start == "typical":
            np.testing.assert_allclose(w[0], 30**-0.5)


def test_the_control_learns_by_the_first_order():
    control = CLAIM.control(CONFIG)
    assert stop_of(control, 3, 100) == 100 * 100  # a time of order d, not d^2
    np.testing.assert_allclose(link_of(3, 1.0), [0, 0.5**0.5, 0, 0.5**0.5])


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"orders": ()}, "orders: give at least one"),
        ({"orders": (0, 1, 2)}, "orders: must be positive"),
        ({"step_sizes": (0.1,)}, "step_sizes: a positive one for each of 3"),
        ({"dims": (5,)}, "dims: two at least"),
        ({"batch": 0}, "batch: must be positive"),
        ({"seeds": 1}, "seeds: at least two"),
        ({"level": 1.0}, "level: must lie"),
        ({"patience": 0.0}, "patience: must be positive"),
        ({"first_order": -1.0}, "first_order: must not"),
    ],
)
def test_bad_settings_are_refused(change, said):
    with pytest.raises(ValueError, match=said):
        CLAIM.validate(dataclasses.replace(CONFIG, **change))


def test_defaults_control_and_preset_are_valid():
    assert_settings_are_valid(CLAIM, SMALL)


@pytest.mark.slow
def test_small_runs_are_measured_alike_alone_and_together():
    trials = CLAIM.trials(SMALL)[:2]
    together = list(CLAIM.measure_batch(SMALL, trials))
    alone = CLAIM.measure(SMALL, trials[1])
    np.testing.assert_allclose(together[1]["hit"], alone["hit"], rtol=1e-4)
    assert together[1]["status"] == alone["status"] == "reached"
    assert alone["overlap"][-1] >= 0.5 > alone["overlap"][0]
