"""Every verdict can be reached, and none can be reached by a bound that says nothing."""

import dataclasses
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sparsejax as sj
from sparsejax.bounds import Bound, Hypothesis, Verdict, compare


def quadratic(w):
    return 0.5 * jnp.sum(w**2)


def flow_of(points, dt=0.01):
    ts = np.linspace(0, 1, points)
    return sj.gradient_flow(quadratic, jnp.ones(2), 1.0, saveat=ts, solver="rk4", dt=dt)


@pytest.fixture(scope="module")
def flow():
    """Loss `exp(-2 t)` at 11 times."""
    return flow_of(11)


def bound_of(values, flow, **options):
    options = {
        "name": "test",
        "source": "",
        "ts": np.asarray(flow.ts),
        "values": np.asarray(values, float),
        "quantity": "losses",
        "kind": "upper",
        "quadrature_error": np.zeros(len(flow.ts)),
        "initial": 1.0,
    } | options
    return Bound(**options)


@pytest.fixture(scope="module")
def decay(flow):
    return np.exp(-2 * np.asarray(flow.ts))


def test_a_true_bound_holds_with_its_least_slack(flow, decay):
    slack = 0.1 * np.asarray(flow.ts) + 0.05
    slack[7] = 0.02
    verdict = compare(bound_of(decay + slack, flow), flow)
    assert verdict.status == "holds" and verdict.holds and not verdict.vacuous
    np.testing.assert_allclose(verdict.margin, 0.02, atol=1e-8)
    np.testing.assert_allclose(verdict.summary["decisive_time"], 0.7)
    np.testing.assert_allclose(verdict.summary["measured_end"], np.exp(-2), rtol=1e-8)
    np.testing.assert_allclose(verdict.summary["bound_end"], np.exp(-2) + 0.15, rtol=1e-8)
    assert verdict.summary["t_end"] == 1.0 and abs(verdict.summary["initial"] - 1) < 1e-12


def test_one_time_below_is_violated(flow, decay):
    values = decay + 0.05
    values[4] = decay[4] - 1e-4
    verdict = compare(bound_of(values, flow), flow)
    assert verdict.status == "violated" and not verdict.holds
    np.testing.assert_allclose(verdict.margin, -1e-4, rtol=1e-3)
    np.testing.assert_allclose(verdict.summary["decisive_time"], 0.4)
    assert "t = 0.4" in verdict.reason


def test_the_start_decides_nothing(flow, decay):
    values = decay + 0.05
    values[0] = decay[0]  # every bound is tight at 0
    assert compare(bound_of(values, flow), flow).status == "holds"


@pytest.mark.parametrize("sign", [1, -1])
def test_a_margin_inside_the_budget_is_inconclusive(flow, decay, sign):
    bound = bound_of(decay + sign * 0.01, flow)
    assert compare(bound, flow).status == ("holds" if sign > 0 else "violated")
    verdict = compare(bound, flow, sampling_error=0.02)
    assert verdict.status == "inconclusive"
    assert verdict.error_budget["sampling"] == 0.02
    wide = dataclasses.replace(bound, quadrature_error=np.full(11, 0.02))
    verdict = compare(wide, flow)
    assert verdict.status == "inconclusive" and verdict.error_budget["quadrature"] == 0.02


def test_the_parts_of_the_budget_add_up(flow, decay):
    bound = bound_of(decay + 0.02, flow, quadrature_error=np.full(11, 0.012))
    assert compare(bound, flow, sampling_error=0.007).status == "holds"
    verdict = compare(bound, flow, sampling_error=0.009)
    assert verdict.status == "inconclusive"
    assert set(verdict.error_budget) == {"integrator", "quadrature", "sampling", "floating_point"}
    np.testing.assert_allclose(verdict.total_error, 0.021, rtol=1e-4)
    np.testing.assert_allclose(verdict.error_budget["floating_point"], 64 * 2.0**-52)
    in_float32 = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), flow)
    rough = compare(bound, in_float32).error_budget["floating_point"]
    np.testing.assert_allclose(rough, 64 * 2.0**-23)


def test_the_energy_defect_is_the_integrators_error():
    coarse = sj.gradient_flow(
        quadratic, jnp.ones(2), 1.0, saveat=np.linspace(0, 1, 11), solver="euler", dt=0.1
    )
    losses = np.asarray(coarse.losses)
    defect = np.abs(np.asarray(coarse.energy_defect))
    assert defect[-1] > 0.01
    # A promise that is missed by less than the defect is not broken.
    verdict = compare(bound_of(losses - 0.5 * defect, coarse), coarse)
    assert verdict.status == "inconclusive"
    assert compare(bound_of(losses - 1.5 * defect, coarse), coarse).status == "violated"
    at = np.flatnonzero(np.isclose(coarse.ts, verdict.summary["decisive_time"]))[0]
    np.testing.assert_allclose(verdict.error_budget["integrator"], defect[at])
    # A discrete method is what it is.
    steps = dataclasses.replace(coarse, method=(("solver", "gradient descent"),))
    verdict = compare(bound_of(losses - 0.5 * defect, steps), steps)
    assert verdict.status == "violated" and verdict.error_budget["integrator"] == 0


def test_a_refined_pair_measures_both_errors():
    coarse = sj.gradient_flow(
        quadratic, jnp.ones(2), 1.0, saveat=np.linspace(0, 1, 11), solver="euler", dt=0.1
    )
    fine = flow_of(21)
    bound = bound_of(np.asarray(coarse.losses) + 0.05, coarse, quadrature_error=np.full(11, 9.0))
    fine_values = np.exp(-2 * np.asarray(fine.ts)) + 0.04
    refined = (bound_of(fine_values, fine, quadrature_error=np.zeros(21)), fine)
    verdict = compare(bound, coarse, refined=refined)
    at = np.flatnonzero(np.isclose(coarse.ts, verdict.summary["decisive_time"]))[0]
    np.testing.assert_allclose(
        verdict.error_budget["integrator"],
        abs(float(coarse.losses[at]) - np.exp(-2 * coarse.ts[at])),
        rtol=1e-6,
    )
    np.testing.assert_allclose(
        verdict.error_budget["quadrature"], abs(bound.values[at] - fine_values[2 * at]), rtol=1e-9
    )
    alone = compare(bound, coarse, integrator_reference=fine)
    np.testing.assert_allclose(
        alone.error_budget["integrator"], verdict.error_budget["integrator"], rtol=1e-6
    )
    assert alone.error_budget["quadrature"] == 9.0
    with pytest.raises(ValueError, match="saved at all times of the bound"):
        compare(bound, coarse, integrator_reference=flow_of(8))


def test_a_failing_hypothesis_is_named_before_anything_else(flow, decay):
    hypotheses = (Hypothesis("first", True), Hypothesis("second", False, "seen to fail"))
    for values in (decay + 0.1, decay - 0.1):
        verdict = compare(bound_of(values, flow, hypotheses=hypotheses), flow)
        assert verdict.status == "not_applicable" and not verdict.vacuous
        assert verdict.reason == "hypothesis fails: second (seen to fail)"
        np.testing.assert_allclose(verdict.margin, values[-1] - decay[-1], rtol=1e-6)


@pytest.mark.parametrize("level", [1.0, 1.5, np.inf, np.nan])
def test_a_bound_nowhere_below_the_start_is_vacuous_and_never_holds(flow, level):
    bound = bound_of(np.full(11, level), flow)
    verdict = compare(bound, flow)
    assert bound.vacuous and verdict.vacuous and verdict.status == "not_applicable"
    # One time at which it says something is enough to be judged there and everywhere.
    values = np.full(11, np.inf if math.isnan(level) else level)
    values[-1] = 0.5
    assert compare(bound_of(values, flow), flow).status == "holds"
    values[-1] = 0.1
    assert compare(bound_of(values, flow), flow).status == "violated"


@pytest.mark.parametrize("kind", ["upper", "identity"])
def test_what_is_not_a_number_is_inconclusive_unless_a_violation_is_plain(flow, decay, kind):
    values = decay + (0.05 if kind == "upper" else 0.0)
    values[5] = np.nan
    verdict = compare(bound_of(values, flow, kind=kind), flow)
    assert verdict.status == "inconclusive" and "not a number at t = 0.5" in verdict.reason
    budget = np.zeros(11)
    budget[3] = np.nan
    values[5] = decay[5] + (0.05 if kind == "upper" else 0.0)
    unknown = bound_of(values, flow, kind=kind, quadrature_error=budget)
    assert compare(unknown, flow).status == "inconclusive"
    values[8] -= 0.1
    assert (
        compare(bound_of(values, flow, kind=kind, quadrature_error=budget), flow).status
        == "violated"
    )


def test_an_identity_is_broken_on_either_side(flow, decay):
    assert compare(bound_of(decay, flow, kind="identity"), flow).status == "holds"
    for sign in (1, -1):
        values = decay.copy()
        values[6] += sign * 0.01
        bound = bound_of(values, flow, kind="identity")
        verdict = compare(bound, flow)
        assert verdict.status == "violated"
        np.testing.assert_allclose(verdict.margin, sign * 0.01, rtol=1e-4)
        assert compare(bound, flow, sampling_error=0.02).status == "holds"


def test_an_identity_with_a_budget_above_all_change_says_nothing(flow, decay):
    bound = bound_of(np.ones(11), flow, kind="identity")
    assert compare(bound, flow).status == "violated"
    verdict = compare(bound, flow, sampling_error=1.0)
    assert verdict.status == "inconclusive" and "exceeds all" in verdict.reason


def test_times_of_another_trajectory_are_refused(flow, decay):
    late = bound_of(decay + 0.1, flow, ts=np.asarray(flow.ts) + 0.01)
    longer = bound_of(np.ones(12), flow, ts=np.linspace(0, 1.1, 12), quadrature_error=np.zeros(12))
    for bound in (late, longer):
        with pytest.raises(ValueError, match="not the first saved times"):
            compare(bound, flow)


def test_a_bound_on_the_first_times_alone_is_compared_there(flow, decay):
    values = (decay + 0.1)[:4]
    short = bound_of(values, flow, ts=np.asarray(flow.ts)[:4], quadrature_error=np.zeros(4))
    verdict = compare(short, flow)
    assert verdict.status == "holds" and abs(verdict.summary["t_end"] - 0.3) < 1e-12
    start = bound_of([0.9], flow, ts=np.zeros(1), quadrature_error=np.zeros(1))
    verdict = compare(start, flow)
    assert (
        verdict.status == "not_applicable" and "nothing was saved behind time 0" in verdict.reason
    )


def test_a_path_length_has_a_budget_in_its_own_units(flow):
    tiny = sj.gradient_flow(
        lambda w: quadratic(w) * 1e-12, jnp.ones(2), 1.0,
        saveat=np.linspace(0, 1, 11), solver="rk4", dt=0.1,
    )  # fmt: skip
    path = np.asarray(tiny.path_lengths)
    bound = bound_of(path * 1.01, tiny, quantity="path_lengths", initial=math.inf)
    verdict = compare(bound, tiny)
    at = np.flatnonzero(np.isclose(tiny.ts, verdict.summary["decisive_time"]))[0]
    np.testing.assert_allclose(verdict.margin, 0.01 * path[at], rtol=1e-6)
    np.testing.assert_allclose(verdict.error_budget["floating_point"], 64 * 2.0**-52 * path[-1])
    coarse = sj.gradient_flow(
        quadratic, jnp.ones(2), 1.0, saveat=np.linspace(0, 1, 3), solver="euler", dt=0.5
    )
    verdict = compare(sj.bounds.path_length(coarse), coarse)
    at = np.flatnonzero(np.isclose(coarse.ts, verdict.summary["decisive_time"]))[0]
    share = abs(float(coarse.energy_defect[at])) / float(coarse.losses[0] - coarse.losses[at])
    np.testing.assert_allclose(
        verdict.error_budget["integrator"], share * float(coarse.path_lengths[at]), rtol=1e-9
    )


def test_a_verdict_has_one_of_four_statuses():
    with pytest.raises(ValueError, match="'true'"):
        Verdict("true")
    verdict = Verdict("inconclusive", error_budget={"a": 0.25, "b": 0.5})
    assert verdict.total_error == 0.75 and not verdict.holds and math.isnan(verdict.margin)
