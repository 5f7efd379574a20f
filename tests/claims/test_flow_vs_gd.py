"""The flow against descent: what is measured, what is made of it, which settings are refused."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize

from sparsejax.claims import CLAIMS
from sparsejax.claims.descent_orders import (
    ensembles_needed,
    fits,
    mean_distances,
    measure_orders,
)
from sparsejax.claims.plain_descent import at_step_size, coupled_sgd, in_lanes
from sparsejax.claims.time_to_loss import (
    costs,
    fewest_gradients,
    largest_stable,
    measure_time_to_loss,
)
from sparsejax.dynamics import squared_loss

CLAIM = CLAIMS["flow-vs-gd"]
SMALL = CLAIM.Config(
    size=8,
    samples=24,
    in_degree=3,
    lifts=2,
    steepest=0.2,
    halvings=2,
    batch_sizes=(6,),
    ensembles=4,
    level=0.9,
    loss_steps=(1.0, 2000.0),
    seeds=2,
    longest=20.0,
)
# Enough runs to tell the order of SGD's mean.
POWERED = dataclasses.replace(
    SMALL, lifts=3, halvings=3, batch_sizes=(12,), ensembles=40, level=0.5, longest=1000.0
)
BUDGET = {"integrator", "quadrature", "sampling", "floating_point"}


def made_up(config, *, orders=(1.0, 2.0, 1.0, 0.5), noise=0.01, seed=0):
    """Measurements in which each exponent is as told, with 3 % of it differing between lifts."""
    rng = np.random.default_rng(seed)
    etas = config.steepest / 10 * 0.5 ** np.arange(config.halvings + 1)
    measurements = {}
    for number in range(config.lifts):
        flow, modified, mean, spread = (
            etas ** (order * (1 + 0.03 * rng.uniform(-1, 1))) for order in orders
        )
        far = rng.normal(size=7)
        ends = mean[:, None, None] * far / np.linalg.norm(far) + noise * mean[
            :, None, None
        ] * rng.normal(size=(len(etas), config.ensembles, 7))
        gram = np.einsum("egp,ehp->egh", ends, ends)
        measurements[f"orders-lift{number:03d}"] = {
            "etas": etas,
            "sharpness": np.asarray(10.0),
            "moved": np.asarray(1.0),
            "stable": etas * 10.0 < 2,
            "flow_error": np.asarray(1e-9),
            "distance_flow": flow,
            "distance_modified_flow": modified,
            "error_flow": 1e-9 * flow,
            "error_modified_flow": 1e-9 * modified,
            "sgd_gram": np.stack([gram] * len(config.batch_sizes)),
            "sgd_spread": np.stack([spread] * len(config.batch_sizes)),
        }
    steps = np.asarray(config.loss_steps) / 10
    points = np.geomspace(1, 1000, 5)
    fall = np.linspace(0.9, 0.2, 5)
    many = len(steps)
    for number in range(config.lifts):
        outcomes = np.array(["reached"] * (many - 1) + ["diverged"])
        counts = np.where(outcomes == "reached", 100.0 / steps * (1 + number), np.inf)
        measured = {
            "sharpness": np.asarray(10.0),
            "etas": steps,
            "samples": np.asarray(config.samples),
            "levels": np.array([0.8, config.level]),
            "first_loss": np.asarray(1.0),
            "flow_outcome": np.asarray("reached"),
            "flow_times": np.array([1.0, 100.0]),
            "flow_gradients": np.array([10.0, 50.0]),
            "flow_seconds": np.array([0.1, 0.5]),
        }
        for name, batches, runs in (
            ("descent", 1, 1),
            ("sgd", len(config.batch_sizes), config.seeds),
        ):
            measured |= {
                f"{name}_seconds_per_step": np.full(batches, 1e-3),
                f"{name}_steps": np.tile(counts[:, None], (batches, 1, runs)),
                f"{name}_outcomes": np.tile(outcomes[:, None], (batches, 1, runs)),
                f"{name}_curve_steps": np.tile(points, (batches, many, 1)),
                f"{name}_curves": np.tile(fall, (batches, many, 3, 1)),
            }
        measurements[f"time-to-loss-lift{number:03d}"] = measured
    return measurements


@functools.cache
def run(*, control=False):
    config = CLAIM.control(SMALL) if control else POWERED
    CLAIM.validate(config)
    return config, {t.name: CLAIM.measure(config, t) for t in CLAIM.trials(config)}


@pytest.mark.slow
def test_small_setting_holds_with_a_budget_a_picture_and_a_table():
    config, measurements = run()
    verdict = CLAIM.judge(config, measurements)
    assert verdict.status == "holds", verdict
    assert set(verdict.error_budget) == BUDGET
    figure = CLAIM.draw(config, measurements, verdict)
    assert len(figure.axes) == 5
    assert all(axes.get_xlabel() and axes.get_ylabel() for axes in figure.axes)
    rows = CLAIM.table(config, measurements, verdict)
    assert [row["runs that reach it"][:6] for row in rows[:3]] == ["3 of 3", "3 of 3", "0 of 3"]
    flow, descent, *_ = costs(config, [v for n, v in measurements.items() if n.startswith("time")])
    # Descent at half the stability limit stays on the flow: one time, other gradients.
    np.testing.assert_allclose(descent.flow_time[0], flow.flow_time[0], rtol=0.05)


@pytest.mark.slow
def test_control_is_not_applicable():
    config, measurements = run(control=True)
    verdict = CLAIM.judge(config, measurements)
    assert verdict.status == "not_applicable"
    assert "usable lifts 0 of 2" in verdict.reason
    CLAIM.draw(config, measurements, verdict)
    rows = CLAIM.table(config, measurements, verdict)
    assert all(row["seconds"] is None for row in rows if row["step x sharpness"] == 8.0)


def linear():
    """Linear regression with targets that it can meet: everything has a closed form."""
    rng = np.random.default_rng(0)
    x = rng.normal(size=(8, 2)) * np.array([1.0, 0.4])
    w, target = np.array([1.5, -1.0]), np.array([0.3, 1.0])
    hessian = 2 * x.T @ x / 8
    loss = squared_loss(_product, jnp.asarray(x), jnp.asarray(x @ target))
    return loss, w, w - target, hessian


def _product(w, x):
    return x @ w


def decayed(offset, hessian, t):
    """`exp(-t H)` applied to the offset from the minimum."""
    rates, basis = np.linalg.eigh(hessian)
    return basis @ (np.exp(-rates * t) * (basis.T @ offset))


@pytest.mark.slow
def test_distances_on_a_quadratic_are_those_of_the_closed_form():
    loss, w, offset, hessian = linear()
    config = dataclasses.replace(SMALL, batch_sizes=(8,), ensembles=40)
    v = measure_orders(config, loss, jnp.asarray(w), 0)
    etas, t1 = v["etas"], float(v["t1"])
    flow = decayed(offset, hessian, t1)
    steps = np.rint(t1 / etas).astype(int)
    descent = [
        np.linalg.matrix_power(np.eye(2) - eta * hessian, count) @ offset
        for eta, count in zip(etas, steps, strict=True)
    ]
    expected = [np.linalg.norm(end - flow) for end in descent]
    np.testing.assert_allclose(v["distance_flow"], expected, rtol=1e-6)
    bent = [decayed(offset, hessian + e / 2 * hessian @ hessian, t1) for e in etas]
    modified = [np.linalg.norm(a - b) for a, b in zip(descent, bent, strict=True)]
    np.testing.assert_allclose(v["distance_modified_flow"], modified, rtol=1e-4)
    # Where gradients are linear the mean of SGD is gradient descent itself.
    np.testing.assert_allclose(mean_distances(v, 0), expected, rtol=0.1)
    # One step of variance eta^2 after another: the spread falls like the root.
    ratios = v["sgd_spread"][0, 1:] / v["sgd_spread"][0, :-1]
    np.testing.assert_allclose(ratios, np.sqrt(0.5), rtol=0.1)


@pytest.mark.slow
def test_time_to_a_loss_on_a_quadratic_is_that_of_the_closed_form():
    loss, w, offset, hessian = linear()
    config = dataclasses.replace(
        SMALL,
        batch_sizes=(8,),
        level=0.01,
        loss_steps=(0.02, 1.9, 2.5),
        longest=30.0,
        flow_rtol=1e-6,
    )
    v = measure_time_to_loss(config, loss, jnp.asarray(w), 0)
    first = offset @ hessian @ offset / 2

    def excess(t):
        at = decayed(offset, hessian, t)
        return at @ hessian @ at / 2 - config.level * first

    t = scipy.optimize.brentq(excess, 0.0, 100.0)
    np.testing.assert_allclose(v["flow_times"][-1], t, rtol=1e-4)
    assert (np.diff(v["flow_gradients"]) >= 0).all() and v["flow_gradients"][0] > 0
    # The smallest step follows the flow, with a gradient a step and the crossing between records.
    np.testing.assert_allclose(v["descent_steps"][0, 0, 0] * v["etas"][0], t, rtol=0.02)
    assert v["descent_outcomes"][0, :, 0].tolist() == ["reached", "reached", "diverged"]
    assert v["descent_steps"][0, 2, 0] == np.inf
    assert (v["sgd_outcomes"][0, 0] == "reached").all()
    np.testing.assert_allclose(v["sgd_steps"][0, 0] * v["etas"][0], t, rtol=0.3)
    assert v["sgd_steps"][0, 0, 0] != v["sgd_steps"][0, 0, 1]
    out_of_time = dataclasses.replace(config, longest=t / 3)
    early = measure_time_to_loss(out_of_time, loss, jnp.asarray(w), 0)
    assert str(early["flow_outcome"]) == "not reached" and early["flow_times"][-1] == np.inf
    assert early["descent_outcomes"][0, 0, 0] == "not reached"


def test_coupled_runs_cancel_their_noise_to_first_order():
    # One linear step: the mean of the lanes is the step on all samples, and each lane is a batch's.
    key = jax.random.key(3)
    x, y = jax.random.normal(key, (9, 2)), jnp.arange(9.0)
    loss = squared_loss(lambda w, x: x @ w, x, y)
    w = jnp.array([0.5, -1.0])
    eta = 0.01
    ends = coupled_sgd(loss, in_lanes(w, 9), at_step_size(w, eta), key, batch_size=2, steps=1)
    np.testing.assert_allclose(ends.mean(axis=0), w - eta * jax.grad(loss)(w), rtol=1e-12)
    assert np.std(np.asarray(ends), axis=0).min() > 1e-3
    assert len(np.unique(np.asarray(ends)[:, 0])) == 9


@pytest.mark.parametrize(
    ("orders", "status"),
    [
        ((1.0, 2.0, 1.0, 0.5), "holds"),
        ((1.0, 1.0, 1.0, 0.5), "violated"),
        ((2.0, 2.0, 1.0, 0.5), "violated"),
        ((1.0, 2.0, 0.5, 0.5), "violated"),
        ((1.0, 2.0, 1.0, 1.0), "violated"),
    ],
)
def test_every_exponent_decides(orders, status):
    config = dataclasses.replace(CLAIM.Config(), batch_sizes=(10,))
    verdict = CLAIM.judge(config, made_up(config, orders=orders))
    assert verdict.status == status, verdict
    assert set(verdict.error_budget) == BUDGET
    if status == "holds":
        assert verdict.margin > 0
        for name, order in zip(verdict.summary["order"], orders, strict=True):
            assert abs(verdict.summary["order"][name] - order) < 0.05


def test_steps_beyond_the_limit_are_not_judged():
    config = CLAIM.Config()
    measurements = made_up(config)
    for values in measurements.values():
        if "stable" in values:
            values["stable"][0] = False
    verdict = CLAIM.judge(config, measurements)
    assert verdict.status == "not_applicable"
    assert "usable lifts 0 of 5" in verdict.reason
    CLAIM.draw(config, measurements, verdict)


def test_too_few_seeds_say_how_many_it_takes():
    config = dataclasses.replace(CLAIM.Config(), batch_sizes=(10,), ensembles=5)
    noisy = made_up(config, noise=1.2)
    verdict = CLAIM.judge(config, noisy)
    assert verdict.status == "inconclusive"
    fit = next(f for f in fits(config, list(noisy.values())[:5]) if f.name == "sgd_mean_10")
    needed = ensembles_needed(config, fit)
    assert f"underpowered: sampling alone leaves +-{fit.seeds:.2f}" in verdict.reason
    assert f"about {needed} ensembles" in verdict.reason
    more = dataclasses.replace(config, ensembles=2 * needed)
    assert CLAIM.judge(more, made_up(more, noise=1.2)).status == "holds"
    # Where the noise hides the distance altogether there is no order, and still a number.
    hidden = CLAIM.judge(config, made_up(config, noise=30.0))
    assert hidden.status == "inconclusive" and "underpowered" in hidden.reason


def test_the_sampling_error_is_what_repetition_gives():
    config = dataclasses.replace(CLAIM.Config(), batch_sizes=(10,), lifts=60, ensembles=6)
    lifts = [v for v in made_up(config, noise=0.2, orders=(1, 2, 1, 0.5)).values() if "moved" in v]
    fit = next(f for f in fits(config, lifts) if f.name == "sgd_mean_10")
    # The lifts' own differences are 3 % of 1, uniformly: 0.017 beside the sampling error.
    seen = (fit.high - fit.low) / 2
    expected = np.hypot(fit.seeds, 2.0 * 0.03 / np.sqrt(3) / np.sqrt(60))
    np.testing.assert_allclose(seen, expected, rtol=0.25)


def test_the_distance_of_the_mean_does_not_count_the_noise():
    rng = np.random.default_rng(1)
    ends = np.eye(7)[0] + 0.35 * rng.normal(size=(4000, 4, 7))
    gram = np.einsum("egp,ehp->egh", ends, ends)
    squares = mean_distances({"sgd_gram": gram[None]}, 0) ** 2
    # The squared distance of the mean of four is 1 + 7 0.35^2 / 4 = 1.21.
    np.testing.assert_allclose(np.nanmean(squares), 1.0, atol=0.03)


def test_a_run_that_never_gets_there_is_counted_not_dropped():
    config = CLAIM.Config()
    measurements = made_up(config)
    first = measurements["time-to-loss-lift000"]
    # One lift in which most seeds give up, one in which a single one does.
    first["sgd_steps"][0, 0, :5], first["sgd_outcomes"][0, 0, :5] = np.inf, "diverged"
    second = measurements["time-to-loss-lift001"]
    second["sgd_steps"][0, 0, 0] = np.inf
    times = [v for n, v in measurements.items() if n.startswith("time")]
    found = costs(config, times)
    sgd = next(c for c in found if c.batch_size == 10)
    assert (sgd.runs, sgd.reached, sgd.diverged, sgd.lifts) == (40, 35, 5, 4)
    descent = next(c for c in found if c.method == "gradient descent")
    np.testing.assert_allclose(
        descent.gradients[0], np.exp(np.mean(np.log(1000.0 * np.arange(1, 6))))
    )
    # Per lift and gradient alike, a batch of 10 of 100 samples is a tenth of a gradient.
    np.testing.assert_allclose(
        sgd.gradients[0], 100.0 * np.exp(np.mean(np.log(np.arange(2.0, 6.0))))
    )
    assert largest_stable(found).scaled_step == 2.8
    assert fewest_gradients(found, 10).scaled_step == 2.8
    verdict = CLAIM.judge(config, measurements)
    rows = CLAIM.table(config, measurements, verdict)
    assert all(row.keys() == rows[0].keys() for row in rows)
    assert [r["seconds"] for r in rows if r["step x sharpness"] == 4.0] == [None] * 3
    assert "35 of 40, 5 diverge" in [row["runs that reach it"] for row in rows]
    figure = CLAIM.draw(config, measurements, verdict)
    assert all(axes.get_xlabel() and axes.get_ylabel() for axes in figure.axes)


def test_what_a_loss_costs_decides_nothing():
    config = CLAIM.Config()
    measurements = made_up(config)
    before = CLAIM.judge(config, measurements)
    for values in measurements.values():
        for name in values:
            if name.endswith(("seconds", "seconds_per_step")):
                values[name] = values[name] * 1e3
    after = CLAIM.judge(config, measurements)
    assert (after.status, after.margin) == (before.status, before.margin) and after.holds


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"in_degree": 500}, "in_degree: 500 is above"),
        ({"samples": -3}, "samples: must be positive"),
        ({"data": "nonsense"}, "unknown data set 'nonsense'"),
        ({"activation": "step"}, "unknown activation 'step'"),
        ({"hidden": 0}, "hidden: at least one"),
        ({"lifts": 0}, "lifts: at least"),
        ({"ensembles": 2}, "ensembles: at least 3"),
        ({"seeds": 0}, "seeds: at least 1"),
        ({"rtol": 0.0}, "rtol: must be positive"),
        ({"flow_rtol": -1.0}, "flow_rtol: must be positive"),
        ({"longest": np.inf}, "longest: must be positive and finite"),
        ({"level": 1.0}, r"level: must lie in \(0, 1\)"),
        ({"batch_sizes": ()}, "batch_sizes: give at least one"),
        ({"batch_sizes": (10, 10)}, "batch_sizes: give at least one, each once"),
        ({"batch_sizes": (101,)}, r"batch_sizes: must lie in \[1, 100\]"),
        ({"loss_steps": (0.0,)}, "loss_steps: must be positive"),
    ],
)
def test_bad_settings_are_refused(change, said):
    with pytest.raises(ValueError, match=said):
        CLAIM.validate(dataclasses.replace(CLAIM.Config(), **change))


@pytest.mark.parametrize("data", ["synthetic", "diabetes", "digits"])
def test_every_data_set_goes_with_the_defaults(data):
    config = CLAIM.Config(data=data)
    CLAIM.validate(config)
    CLAIM.validate(CLAIM.control(config))
