"""Claims about online SGD: verdicts on made-up times, the early law, and small real runs."""

import dataclasses

import jax
import numpy as np
import pytest

from sparsejax.claims import CLAIMS
from sparsejax.claims.early_stages import early_weights
from sparsejax.claims.online_claim import orders, trial_name

from .any_claim import assert_settings_are_valid, measured

STAIRCASE = CLAIMS["merged-staircase"]
SHARED = CLAIMS["shared-against-disjoint"]
STAGES = CLAIMS["stagewise-learning"]
BUDGET = {"integrator", "quadrature", "sampling", "floating_point"}


def run_with(times, stopped=40_000):
    """What one run gives whose terms are learned at these times, each in an instant."""
    times = np.asarray(times, float)
    steps = np.arange(0, stopped + 1, stopped // 100)
    return {
        "steps": steps,
        "shares": (steps[:, None] >= times).astype(float),
        "losses": np.ones(len(steps)),
        "times": np.where(times <= stopped, times, np.inf),
        "status": np.asarray("completed"),
        "steps_run": np.asarray(stopped),
    }


def made_up_ladder(config, exponents, constants, swapped=False):
    """Times of median `constant d^exponent`; terms before the last come soon."""
    noise, found = np.exp(np.linspace(-0.1, 0.1, config.seeds)), {}
    for dims in config.dims:
        for number, text in enumerate(config.targets):
            terms = text.count("+") + 1
            for run in range(config.seeds):
                last = constants[number] * dims ** exponents[number] * noise[run]
                times = np.append(np.linspace(20.0, 60.0, terms - 1), last)
                found[trial_name(dims, number, run)] = run_with(
                    times[::-1] if swapped else times, config.steps
                )
    return found


CONFIG = STAIRCASE.Config()


@pytest.mark.parametrize(
    "exponents, constants, options, status",
    [
        ((1.0, 1.0, 2.0, 2.0), (10, 20, 0.9, 0.9), {}, "holds"),
        # All leap-3 runs are censored at d = 200: the order is certain all the same.
        ((1.0, 1.0, 2.0, 2.0), (10, 20, 3, 3), {}, "holds"),
        ((1.0, 1.0, 1.0, 1.0), (10, 20, 40, 40), {}, "inconclusive"),  # no exponent is larger
        ((2.0, 2.0, 1.0, 1.0), (1, 1, 10, 10), {}, "violated"),
        ((1.0, 1.0, 2.0, 2.0), (10, 20, 4, 4), {"swapped": True}, "violated"),
    ],
)
def test_staircase_judges_orders(exponents, constants, options, status):
    found = made_up_ladder(CONFIG, exponents, constants, **options)
    verdict = STAIRCASE.judge(CONFIG, found)
    assert verdict.status == status, verdict
    assert set(verdict.error_budget) == BUDGET
    if status == "holds":
        assert verdict.margin > verdict.total_error >= 0
    if status == "inconclusive":
        assert "underpowered" in verdict.reason and verdict.total_error > abs(verdict.margin)
    for text, exponent in zip(CONFIG.targets, exponents, strict=True):
        assert verdict.summary["exponents"][text]["exponent"] == pytest.approx(exponent, abs=0.2)
    rows = STAIRCASE.table(CONFIG, found, verdict)
    assert len(rows) == 16 and all(row.keys() == rows[0].keys() for row in rows)


def test_staircase_draws_censored_times():
    found = made_up_ladder(CONFIG, (1.0, 1.0, 2.0, 2.0), (10, 20, 9, 9))
    figure = STAIRCASE.draw(CONFIG, found, STAIRCASE.judge(CONFIG, found))
    assert all(axes.get_xlabel() and axes.get_ylabel() for axes in figure.axes)


def test_runs_that_diverged_are_no_evidence():
    found = made_up_ladder(CONFIG, (1.0, 1.0, 2.0, 2.0), (10, 20, 4, 4))
    found[trial_name(25, 0, 0)]["status"] = np.asarray("diverged")
    assert STAIRCASE.judge(CONFIG, found).status == "not_applicable"


def test_order_of_terms_is_theory_s_and_two_unlearned_terms_have_none():
    found = {
        trial_name(9, 0, seed): run_with(times, 100)
        for seed, times in enumerate([(1, 2, 3), (1, 3, 2), (1, 2, 300), (1, 200, 300)])
    }
    formula, ordering = "x1 + x1*x2 + x1*x2*x3", ((1,), (1, 2), (1, 2, 3))
    kept, broken = orders(found, 9, 0, formula, ordering)
    assert kept.tolist() == [True, False, True, False]
    assert broken.tolist() == [False, True, False, False]


def made_up_pairs(config, factor):
    noise, found = np.exp(np.linspace(-0.1, 0.1, config.seeds)), {}
    for dims in config.dims:
        for number, text in enumerate(SHARED.formulas(config)):
            for run in range(config.seeds):
                last = 2000 * (factor if number else 1) * noise[run]
                times = last * np.linspace(0.3, 1.0, text.count("+") + 1)
                found[trial_name(dims, number, run)] = run_with(times, config.steps)
    return found


@pytest.mark.parametrize(
    "factor, status", [(8.0, "holds"), (100.0, "holds"), (5.0, "inconclusive"), (2.0, "violated")]
)
def test_shared_is_compared_at_the_factor(factor, status):
    config = SHARED.Config()
    found = made_up_pairs(config, factor)
    verdict = SHARED.judge(config, found)
    assert verdict.status == status, verdict
    assert ("were stopped" in verdict.reason) == (factor == 100.0)
    assert np.isfinite(verdict.total_error)
    rows = SHARED.table(config, found, verdict)
    assert len(rows) == 3 and all(row.keys() == rows[0].keys() for row in rows)
    figure = SHARED.draw(config, found, verdict)
    assert all(axes.get_xlabel() and axes.get_ylabel() for axes in figure.axes)


def early(seed=0, order=3, activation="tanh", scale=1.0):
    times = scale * np.array([0.005, 0.01, 0.02])
    found = early_weights(jax.random.key(seed), order, 3, activation, times)
    return found | {"times": times}


def test_early_weights_are_the_leading_powers_of_time():
    """What is left over is of the order of the time itself: half the time, half of it."""
    found = early()
    off = found["sizes"] / found["law"] - 1
    assert (np.abs(off[:, -1]) < 0.05).all()
    np.testing.assert_allclose(off[:, 1] / off[:, 2], 0.5, rtol=0.1)
    np.testing.assert_allclose(off[:, 0] / off[:, 1], 0.5, rtol=0.1)
    slopes = np.log(found["sizes"][:, 2] / found["sizes"][:, 1]) / np.log(2)
    np.testing.assert_allclose(slopes, [1, 2, 4], rtol=0.02)
    assert (found["error"] < 1e-4 * found["sizes"]).all()


def made_up_stages(config, *, factor=2.0, exponents=(1, 2, 4), spread=0.05, seed=0):
    rng, found = np.random.default_rng(seed), {}
    times = config.early_time * np.array([0.25, 0.5, 1.0])
    terms = config.target.count("+") + 1
    for run in range(config.seeds):
        sizes = np.stack([times**p for p in exponents])
        found[f"early-seed{run:03d}"] = {
            "sizes": sizes,
            "law": sizes,
            "error": 1e-9 * sizes,
            "times": times,
        }
        for dims in config.dims:
            stages = (
                20 * dims * factor ** np.arange(terms) * rng.lognormal(sigma=spread, size=terms)
            )
            found[trial_name(dims, 0, run)] = run_with(stages, config.steps)
    return found


@pytest.mark.parametrize(
    "made, status",
    [
        ({}, "holds"),
        ({"exponents": (1, 2, 3)}, "violated"),
        ({"factor": 1.0}, "violated"),
        ({"factor": 0.7}, "violated"),
        ({"factor": 1.25, "spread": 0.3}, "inconclusive"),
    ],
)
def test_stages_are_judged_by_order_distance_and_first_moments(made, status):
    config = STAGES.Config(early_order=3, seeds=11)
    found = made_up_stages(config, **made)
    verdict = STAGES.judge(config, found)
    assert verdict.status == status, verdict
    assert set(verdict.error_budget) == BUDGET
    rows = STAGES.table(config, found, verdict)
    assert len(rows) == 8 and all(row.keys() == rows[0].keys() for row in rows)
    if status == "holds":
        figure = STAGES.draw(config, found, verdict)
        assert all(axes.get_xlabel() and axes.get_ylabel() for axes in figure.axes)


@pytest.mark.parametrize("claim", [STAIRCASE, SHARED, STAGES])
def test_defaults_controls_and_presets_are_valid(claim):
    assert_settings_are_valid(claim)


@pytest.mark.parametrize(
    "claim, change, said",
    [
        (STAIRCASE, {"seeds": 1}, "seeds: at least two"),
        (STAIRCASE, {"steps": 50}, "record_every: must divide"),
        (STAIRCASE, {"width": 0}, "width: must be positive"),
        (STAIRCASE, {"step_size": 0.0}, "step_size: must be positive"),
        (STAIRCASE, {"level": 1.0}, "level: must lie"),
        (STAIRCASE, {"activation": "step"}, "unknown activation"),
        (STAIRCASE, {"dims": (25,)}, "dims: at least two"),
        (STAIRCASE, {"dims": (25, 25)}, "dims: give at least one, each once"),
        (STAIRCASE, {"dims": (5, 25)}, "beyond|x6|out of"),
        (STAIRCASE, {"targets": ("x1", "x2")}, "two different leaps"),
        (STAIRCASE, {"in_order": 1.0}, "in_order: must lie"),
        (SHARED, {"disjoint": ()}, "disjoint: give one"),
        (SHARED, {"disjoint": ("x1 + x2*x3",)}, "targets of one degree"),
        (SHARED, {"factor": 0.5}, "factor: must be 1 or more"),
        (STAGES, {"target": "x1"}, "two terms at least"),
        (STAGES, {"apart": 0.9}, "apart is 1 or more"),
        (STAGES, {"early_order": 9}, "early_order is 1 to 5"),
        (STAGES, {"early_time": 0.0}, "early_time is positive"),
    ],
)
def test_bad_settings_are_refused(claim, change, said):
    with pytest.raises(ValueError, match=said):
        claim.validate(dataclasses.replace(claim.Config(), **change))


@pytest.mark.slow
@pytest.mark.parametrize("claim", [STAIRCASE, SHARED, STAGES])
def test_small_runs_measure_what_they_say(claim):
    config = claim.Config(dims=(10, 12), width=8, batch=8, seeds=2, steps=40)
    claim.validate(config)
    found = measured(claim, config)
    verdict = claim.judge(config, found)
    assert verdict.status in ("inconclusive", "violated")
    claim.draw(config, found, verdict)
    assert claim.table(config, found, verdict)
    # Whatever the batch was, a run is its own.
    last = claim.trials(config)[-1]
    alone = claim.measure(config, last)
    np.testing.assert_allclose(alone["shares"], found[last.name]["shares"], atol=1e-5)
