"""Claims about dynamics on small settings: each holds, its control does not, bad input is named."""

import dataclasses

import numpy as np
import pytest

from sparsejax.claims import CLAIMS
from sparsejax.claims.deep_linear_modes import _mode, _time_to
from sparsejax.claims.diagonal_linear_bias import potential_minimiser

SMALL = {
    "conservation": {
        "size": 8,
        "samples": 12,
        "in_degree": 2,
        "lifts": 1,
        "halvings": 1,
        "coarsest_steps": 16,
    },
    "deep-linear-modes": {"depths": (2, 3), "width": 3, "strengths": (2.0, 1.0)},
    "diagonal-linear-bias": {"samples": 4, "dims": 8, "sparsity": 1, "alphas": (0.03, 2.0)},
    "discrete-time": {
        "size": 24,
        "samples": 10,
        "in_degree": 3,
        "lifts": 1,
        "steps": 12,
        "scaled_steps": (0.3, 1.0, 16.0),
    },
}
BUDGET = {"integrator", "quadrature", "sampling", "floating_point"}


def run(name, *, control=False):
    claim = CLAIMS[name]
    config = claim.Config(**SMALL[name])
    if control:
        config = claim.control(config)
    claim.validate(config)
    measurements = {t.name: claim.measure(config, t) for t in claim.trials(config)}
    return claim, config, measurements, claim.judge(config, measurements)


# Those that compile a network at each turn take minutes; their judgement is put to the test below.
QUICK = ("deep-linear-modes",)
NAMES = [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in SMALL]
CONTROLS = {
    "conservation": "not_applicable",
    "deep-linear-modes": "violated",
    "diagonal-linear-bias": "violated",
    "discrete-time": "not_applicable",
}


@pytest.fixture(scope="module", params=NAMES)
def outcome(request):
    return run(request.param)


def test_holds_with_a_budget_and_a_picture(outcome):
    claim, config, measurements, verdict = outcome
    assert verdict.status == "holds", verdict
    assert set(verdict.error_budget) == BUDGET
    assert all(np.isfinite(part) and part >= 0 for part in verdict.error_budget.values())
    assert verdict.margin > verdict.total_error
    figure = claim.draw(config, measurements, verdict)
    assert all(axes.get_xlabel() and axes.get_ylabel() for axes in figure.axes)
    rows = claim.table(config, measurements, verdict)
    assert rows and all(row.keys() == rows[0].keys() for row in rows)


@pytest.mark.parametrize("name", NAMES)
def test_control_does_not_hold(name):
    claim, config, measurements, verdict = run(name, control=True)
    assert verdict.status == CONTROLS[name], verdict
    assert verdict.reason
    claim.draw(config, measurements, verdict)
    claim.table(config, measurements, verdict)


def edited(measurements, **columns):
    """The measurements with some columns put through functions."""
    return {
        name: values | {key: change(values[key]) for key, change in columns.items()}
        for name, values in measurements.items()
    }


BREAKS = {
    "conservation": {"drift": lambda a: a + 0.1, "drift_refined": lambda a: a + 0.1},
    "deep-linear-modes": {"modes": lambda a: 1.01 * a, "modes_refined": lambda a: 1.01 * a},
    "diagonal-linear-bias": {"end": lambda a: 1.05 * a, "end_coarse": lambda a: 1.05 * a},
    "discrete-time": {"statuses": lambda a: np.where(a == "holds", "violated", a)},
}


def test_a_broken_measurement_is_seen(outcome):
    claim, config, measurements, _ = outcome
    broken = edited(measurements, **BREAKS[claim.name])
    assert claim.judge(config, broken).status == "violated"


def drifting(drift, refined, homogeneous=True):
    """The measurements of one lift of conservation, made up."""
    claim = CLAIMS["conservation"]
    ts = np.linspace(0, 1, 5)
    values = {
        "ts": ts,
        "drift": drift * ts,
        "drift_refined": refined * ts,
        "losses": 1 - ts / 2,
        "etas": np.array([0.1, 0.05]),
        "sharpness": np.asarray(10.0),
        "descent_drift": np.array([0.2, 0.1]),
        "homogeneous": np.asarray(homogeneous),
        "linear_layers": np.asarray(0),
        "floating_point": np.asarray(1e-13),
        "flow_status": np.asarray("completed"),
    }
    return claim, claim.Config(), {"sparse-lift000": values}


@pytest.mark.parametrize(
    "drift, refined, homogeneous, status",
    [
        (1e-5, 1e-6, True, "holds"),
        (0.1, 0.1, True, "violated"),
        (0.1, 1e-4, True, "inconclusive"),  # the integrator's, as the finer flow says
        (9.5e-4, 5e-4, True, "inconclusive"),
        (0.1, 0.1, False, "not_applicable"),
    ],
)
def test_conservation_judges_what_it_says(drift, refined, homogeneous, status):
    claim, config, measurements = drifting(drift, refined, homogeneous)
    verdict = claim.judge(config, measurements)
    assert verdict.status == status, verdict
    assert set(verdict.error_budget) == BUDGET
    claim.draw(config, measurements, verdict)
    assert len(claim.table(config, measurements, verdict)) == 1


@pytest.mark.parametrize(
    "statuses, status",
    [
        (("holds", "holds", "not_applicable"), "holds"),
        (("holds", "violated", "not_applicable"), "violated"),
        (("holds", "inconclusive", "not_applicable"), "inconclusive"),
        (("not_applicable",) * 3, "not_applicable"),
    ],
)
def test_discrete_time_judges_what_it_says(statuses, status):
    claim = CLAIMS["discrete-time"]
    config = claim.Config(scaled_steps=(0.5, 1.0, 4.0), steps=2)
    losses = np.array([[1.0, 0.8, 0.6], [1.0, 0.7, 0.5], [1.0, 40.0, np.nan]])
    stopped = [-1 if s != "not_applicable" else 1 for s in statuses]
    values = {
        "scaled_steps": np.array([0.5, 1.0, 4.0]),
        "sharpness": np.asarray(10.0),
        "losses": losses,
        "bounds": np.array([[1.0, 0.9, 0.8], [1.0, 0.9, 0.8], [1.0, 0.9, np.nan]]),
        "statuses": np.array(statuses),
        "margins": np.array([0.1, 0.1, np.nan]),
        "stopped_at_step": np.array(stopped),
        "run_statuses": np.array(["completed", "completed", "diverged"]),
        "budgets": np.full((3, 4), 1e-6),
    }
    verdict = claim.judge(config, {"lift000": values})
    assert verdict.status == status, verdict
    if status == "not_applicable":
        assert "the bound ends to apply is 1" in verdict.reason
    if status == "holds":
        assert verdict.summary["holds_up_to"] == 1.0 and verdict.summary["diverges_from"] == 4.0
    claim.draw(config, {"lift000": values}, verdict)
    assert len(claim.table(config, {"lift000": values}, verdict)) == 3


def hovering(ratio, increases, losses=(1.0, 0.1)):
    """The measurements of a run of edge-of-stability, made up."""
    claim = CLAIMS["edge-of-stability"]
    config = claim.Config(records=8, steps=80)
    wave = 1 + 0.02 * np.cos(np.arange(8))
    values = {
        "steps": 10 * np.arange(1, 9),
        "losses": np.linspace(*losses, 8),
        "sharpness": ratio * wave * 2 / config.step_size,
        "increases": np.array([0.0, increases]),
        "run_statuses": np.array(["completed", "completed"]),
        "parameters": np.asarray(10),
    }
    return claim, config, {"run": values}


@pytest.mark.parametrize(
    "ratio, increases, losses, status",
    [
        (1.0, 0.4, (1.0, 0.1), "holds"),
        (1.0, 0.0, (1.0, 0.1), "violated"),  # no step increases the loss
        (1.0, 0.4, (0.1, 1.0), "violated"),  # nor does it fall in the long run
        (1.3, 0.4, (1.0, 0.1), "violated"),
        (0.5, 0.0, (1.0, 0.1), "not_applicable"),
        (1.09, 0.4, (1.0, 0.1), "inconclusive"),
    ],
)
def test_edge_of_stability_judges_what_it_says(ratio, increases, losses, status):
    claim, config, measurements = hovering(ratio, increases, losses)
    verdict = claim.judge(config, measurements)
    assert verdict.status == status, verdict
    claim.draw(config, measurements, verdict)
    assert len(claim.table(config, measurements, verdict)) == 4


@pytest.mark.slow
def test_edge_of_stability_control_stays_below():
    claim = CLAIMS["edge-of-stability"]
    config = claim.Config(samples=40, width=6, hidden=1, records=4, steps=40)
    control = claim.control(config)
    claim.validate(control)
    measurements = {t.name: claim.measure(control, t) for t in claim.trials(control)}
    assert claim.judge(control, measurements).status == "not_applicable"
    assert measurements["run"]["increases"].max() == 0


def test_modes_reach_half_their_strength_when_the_quadrature_says():
    for depth in (1, 2, 3, 4):
        t = _time_to(depth, 2.0, 0.05, 1.0)
        reached = _mode(depth, 2.0, 0.05, np.array([0.0, t]))[-1]
        np.testing.assert_allclose(reached, 1.0, rtol=1e-8)


def test_the_potential_of_diagonal_networks_by_a_general_method():
    import scipy.optimize

    rng = np.random.default_rng(0)
    x, y, alpha = rng.normal(size=(2, 4)), np.array([1.0, -0.5]), 0.4
    b, converged = potential_minimiser(x, y, alpha)
    assert converged

    def potential(b):
        z = b / alpha**2
        return np.sum(2 - np.sqrt(4 + z**2) + z * np.arcsinh(z / 2))

    general = scipy.optimize.minimize(
        potential,
        np.linalg.pinv(x) @ y,
        constraints={"type": "eq", "fun": lambda b: x @ b - y},
        method="SLSQP",
        options={"ftol": 1e-14, "maxiter": 500},
    )
    np.testing.assert_allclose(b, general.x, atol=1e-5)
    assert potential(b) <= potential(general.x) + 1e-9


@pytest.mark.parametrize(
    "name, change, said",
    [
        ("conservation", {"lifts": 0}, "lifts: at least"),
        ("conservation", {"tolerance": 0.0}, "tolerance: must be positive"),
        ("deep-linear-modes", {"depths": (0,)}, "depths: at least one factor"),
        ("deep-linear-modes", {"width": 1}, "width: 2 strengths need"),
        ("deep-linear-modes", {"start": 1.5}, "start: must lie between"),
        ("diagonal-linear-bias", {"samples": 8}, r"samples: must be positive and below dims \(8\)"),
        ("diagonal-linear-bias", {"alphas": (0.1,)}, "alphas: at least two"),
        ("discrete-time", {"scaled_steps": (0.0, 1.0)}, "scaled_steps: must be positive"),
        ("discrete-time", {"in_degree": 500}, "in_degree: 500 is above"),
    ],
)
def test_bad_settings_are_refused(name, change, said):
    claim = CLAIMS[name]
    with pytest.raises(ValueError, match=said):
        claim.validate(dataclasses.replace(claim.Config(**SMALL[name]), **change))


@pytest.mark.parametrize(
    "change, said",
    [
        ({"samples": 5000}, "there are 1797 digits"),
        ({"records": 5}, "records: must be even"),
        ({"steps": 3001}, "must be a multiple of records"),
        ({"activation": "step"}, "unknown activation 'step'"),
    ],
)
def test_edge_of_stability_refuses_bad_settings(change, said):
    claim = CLAIMS["edge-of-stability"]
    with pytest.raises(ValueError, match=said):
        claim.validate(dataclasses.replace(claim.Config(), **change))
