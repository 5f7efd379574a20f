"""Bounds 2.1, 2.2 and 2.5 along real flows, their curves against their equations, their limits."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import solve_ivp

import sparsejax as sj
from sparsejax.bounds.quadrature import (
    inverse_square_integral,
    simpson_like_integral,
    thinning_error,
)
from sparsejax.bounds.tangent import convex_curve, squared_curve

RNG = np.random.default_rng(0)


def linear(w, x):
    return x @ w


def linear_case():
    return linear, jnp.zeros(6), RNG.normal(size=(4, 6)), RNG.normal(size=4)


def sparse_tanh_case():
    module = sj.graphs.mlp(inputs=3, hidden=2, outputs=1, activation="tanh")
    lift = sj.random_sparse_lift(jax.random.key(0), module, sizes=10, in_degree=4)
    x = RNG.uniform(-1, 1, size=(6, 3))
    params = lift.init(jax.random.key(1), gain=1.5, zero_outputs=True)
    return lift.apply, params, x, np.tanh(2 * x[:, :1] * x[:, 1:2])


def dense_relu_case_of_two_outputs():
    module = sj.graphs.mlp(inputs=3, hidden=1, outputs=2, activation="relu")
    lift = sj.dense_lift(module, sizes=12)
    x = RNG.uniform(-1, 1, size=(5, 3))
    return lift.apply, lift.init(jax.random.key(2)), x, np.stack([x[:, 0], x[:, 1] ** 2], axis=1)


CASES = {
    case.__name__: case for case in (linear_case, sparse_tanh_case, dense_relu_case_of_two_outputs)
}


@pytest.fixture(scope="module", params=CASES)
def case(request):
    f, params, x, y = CASES[request.param]()
    x, y = jnp.asarray(x), jnp.asarray(y)
    ts = np.linspace(0, 1, 41) ** 2 * 3
    flow = sj.gradient_flow(sj.squared_loss(f, x, y), params, 3.0, saveat=ts, solver="rk4", dt=0.01)
    assert flow.status == "completed"
    return f, flow, x, y, 0.2 * float(flow.losses[0])


def test_both_forms_hold_and_say_something(case):
    f, flow, x, y, eps = case
    bounds = {
        form: sj.bounds.tangent(f, flow, x, y, eps, form=form) for form in ("convex", "squared")
    }
    for bound in bounds.values():
        verdict = sj.bounds.compare(bound, flow)
        assert verdict.status == "holds", verdict
        assert not verdict.vacuous and not bound.vacuous
        assert (np.diff(bound.values) <= 0).all() and bound.values[0] == float(flow.losses[0])
        # While the loss is above eps, where the constant is no mere statement of that fact.
        away = np.asarray(flow.losses) > eps
        assert (bound.values[away] > eps).all()
        assert bound.values[away][-1] < 0.7 * bound.initial
    # Strictly sharper as soon as anything was gained.
    gained = (bounds["squared"].details["S"] > 0) & away
    assert (bounds["squared"].values[gained] < bounds["convex"].values[gained]).all()


def test_the_gradient_is_as_long_as_the_tangent_constant_says(case):
    f, flow, x, y, eps = case
    kappa = np.asarray(sj.bounds.tangent_constants(f, flow, x, y, eps))
    losses, norms = np.asarray(flow.losses), np.asarray(flow.grad_norms)
    away = losses > eps
    assert (kappa[~away] == 0).all() and (kappa[away] > 0).all()
    rho = np.sqrt(losses[away])
    sharp = 2 * rho * (rho - np.sqrt(eps)) / kappa[away]
    assert (norms[away] >= sharp * (1 - 1e-9)).all()
    assert (sharp >= (losses[away] - eps) / kappa[away]).all()
    one = sj.tangent_constant(f, flow.at(3), x, y, eps)
    np.testing.assert_allclose(kappa[3], one, rtol=1e-9)


def test_recorded_constants_replace_computed_ones(case):
    f, flow, x, y, eps = case
    own = sj.bounds.tangent(f, flow, x, y, eps)
    given = sj.bounds.tangent(f, flow, x, y, eps, kappas=2 * own.details["kappa"])
    np.testing.assert_allclose(given.details["S"], own.details["S"] / 4)
    values = squared_curve(own.initial, eps, own.details["S"] / 4)
    np.testing.assert_allclose(given.values, values)


@pytest.fixture(scope="module")
def single():
    """One parameter, one sample: `kappa = rho - q`, and 2.2 is an equality."""
    x, y = jnp.ones((1, 1)), jnp.array([1.0])
    ts = np.linspace(0, 0.3, 31)
    loss = sj.squared_loss(linear, x, y)
    flow = sj.gradient_flow(loss, jnp.zeros(1), 0.3, saveat=ts, solver="rk4", dt=0.005)
    return flow, x, y, 0.25


def test_the_sharper_form_is_an_equality_for_one_sample(single):
    flow, x, y, eps = single
    bound = sj.bounds.tangent(linear, flow, x, y, eps)
    np.testing.assert_allclose(flow.losses, np.exp(-4 * bound.ts), rtol=1e-7)
    np.testing.assert_allclose(bound.details["kappa"], np.exp(-2 * bound.ts) - 0.5, atol=1e-7)
    np.testing.assert_allclose(bound.values, flow.losses, atol=2e-3)
    assert (np.abs(bound.values - flow.losses) <= bound.quadrature_error + 1e-9).all()
    # Tight up to the quadrature error: no verdict in either direction.
    assert sj.bounds.compare(bound, flow).status == "inconclusive"


@pytest.mark.parametrize("factor", [2.0, 1.1])
def test_an_integral_that_is_too_large_is_seen(single, factor):
    flow, x, y, eps = single
    right = sj.bounds.tangent(linear, flow, x, y, eps)
    kappas = right.details["kappa"] / np.sqrt(factor)
    wrong = sj.bounds.tangent(linear, flow, x, y, eps, kappas=kappas)
    verdict = sj.bounds.compare(wrong, flow)
    assert verdict.status == "violated" and verdict.margin < 0


def test_the_convex_form_and_other_losses():
    x = jnp.asarray(RNG.normal(size=(6, 3)))
    labels = jnp.asarray(np.sign(RNG.normal(size=6)))
    loss = sj.logistic_loss(linear, x, labels)
    flow = sj.gradient_flow(
        loss, jnp.zeros(3), 4.0, saveat=np.linspace(0, 4, 21), solver="rk4", dt=0.02
    )
    with pytest.raises(ValueError, match="use form='convex'"):
        sj.bounds.tangent(linear, flow, x, labels, 0.4, loss=loss)
    best = float(flow.losses[-1])
    eps = best + 0.2 * (float(flow.losses[0]) - best)
    bound = sj.bounds.tangent(linear, flow, x, labels, eps, form="convex", loss=loss)
    assert sj.bounds.compare(bound, flow).status == "holds"
    assert bound.values[-1] < 0.97 * bound.initial
    # A linear model is its own linearisation: the constant is the distance to the level set.
    distance = np.linalg.norm(np.asarray(flow.params), axis=1)
    reached = np.flatnonzero(np.asarray(flow.losses) <= eps)[0]
    assert bound.details["kappa"][0] <= distance[reached]
    direct = np.linalg.norm(np.asarray(jax.grad(loss)(jnp.zeros(3))))
    assert bound.details["kappa"][0] >= (bound.initial - eps) / direct
    assert bound.details["kappa"][reached] == 0
    assert (
        sj.bounds.compare(
            sj.bounds.tangent(linear, flow, x, labels, eps, form="convex"), flow
        ).status
        == "not_applicable"
    ), "the squared loss is not the loss of this flow"


def test_the_wrong_data_fail_a_hypothesis(single):
    flow, x, y, eps = single
    verdict = sj.bounds.compare(sj.bounds.tangent(linear, flow, x, y + 1, eps), flow)
    assert verdict.status == "not_applicable"
    assert "of this loss" in verdict.reason


def test_an_unattainable_level_is_vacuous_and_not_applicable():
    # Two samples at the same input with different targets: no loss below 1.
    x, y = jnp.ones((2, 1)), jnp.array([2.0, 0.0])
    loss = sj.squared_loss(linear, x, y)
    flow = sj.gradient_flow(loss, jnp.full(1, 3.3), 1.0, solver="rk4", dt=0.05)
    for form in ("convex", "squared"):
        bound = sj.bounds.tangent(linear, flow, x, y, 0.5, form=form)
        assert np.isinf(bound.details["kappa"]).all()
        np.testing.assert_array_equal(bound.values, bound.initial)
        verdict = sj.bounds.compare(bound, flow)
        assert verdict.status == "not_applicable" and verdict.vacuous
        assert "finite somewhere" in verdict.reason


def test_a_flow_that_is_not_saved_from_the_start_or_no_flow_is_not_applicable(single):
    flow, x, y, eps = single
    late = dataclasses.replace(
        jax.tree.map(lambda leaf: leaf[1:] if leaf.ndim else leaf, flow), method=flow.method
    )
    verdict = sj.bounds.compare(sj.bounds.tangent(linear, late, x, y, eps), late)
    assert verdict.status == "not_applicable" and "first saved time 0.01" in verdict.reason
    discrete = dataclasses.replace(flow, method=(("solver", "gradient descent"),))
    verdict = sj.bounds.compare(sj.bounds.tangent(linear, discrete, x, y, eps), discrete)
    assert verdict.status == "not_applicable" and "discrete method" in verdict.reason


def test_a_flow_that_failed_is_bounded_as_far_as_it_went(single):
    flow, x, y, eps = single
    broken = dataclasses.replace(flow, losses=flow.losses.at[20:].set(jnp.nan))
    bound = sj.bounds.tangent(linear, broken, x, y, eps)
    assert len(bound.ts) == len(bound.values) == len(bound.quadrature_error) == 20
    assert sj.bounds.compare(bound, broken).summary["t_end"] == bound.ts[-1] == 0.19
    with pytest.raises(ValueError, match="no finite loss"):
        nothing = dataclasses.replace(flow, losses=jnp.full_like(flow.losses, jnp.nan))
        sj.bounds.tangent(linear, nothing, x, y, eps)


def test_options_out_of_range(single):
    flow, x, y, _ = single
    with pytest.raises(ValueError, match="eps must not be negative"):
        sj.bounds.tangent(linear, flow, x, y, -0.1)
    with pytest.raises(ValueError, match="eps must not be negative"):
        sj.bounds.tangent(linear, flow, x, y, float("nan"))


@pytest.mark.parametrize("eps", [0.0, 1e-30, 1e-8, 0.09, 0.8])
def test_the_squared_curve_solves_its_equation(eps):
    q, s = np.sqrt(eps), np.array([0.0, 1e-3, 0.1, 0.5, 2.0, 5.0])
    # In ds = dt / kappa^2: d rho / ds = -2 rho (rho - q)^2.
    solved = solve_ivp(
        lambda s, rho: -2 * rho * (rho - q) ** 2, (0, 5), [1.3], t_eval=s, rtol=1e-11, atol=1e-13
    )
    np.testing.assert_allclose(squared_curve(1.3**2, eps, s), solved.y[0] ** 2, rtol=1e-8)


def test_the_convex_curve_solves_its_equation():
    s = np.array([0.0, 1e-3, 0.5, 5.0])
    solved = solve_ivp(
        lambda s, loss: -((loss - 0.2) ** 2), (0, 5), [1.7], t_eval=s, rtol=1e-11, atol=1e-13
    )
    np.testing.assert_allclose(convex_curve(1.7, 0.2, s), solved.y[0], rtol=1e-8)


@pytest.mark.parametrize("curve", [convex_curve, squared_curve])
def test_the_ends_of_the_curves(curve):
    for initial in 1 + np.random.default_rng(1).uniform(size=50):
        # To the last digit: one unit below would pass for a bound that says something.
        for eps in (0.0, 0.37):
            np.testing.assert_array_equal(curve(initial, eps, np.zeros(2)), initial)
    np.testing.assert_allclose(curve(1.0, 0.3, np.array([np.inf])), 0.3, rtol=1e-12)
    np.testing.assert_array_equal(curve(0.2, 0.3, np.array([0.0, 1.0])), 0.2)
    assert (np.diff(curve(1.0, 0.3, np.geomspace(1e-6, 1e6, 200))) <= 0).all()


def test_the_a_priori_form_holds_with_the_constant_over_the_ball():
    # A linear model's kernel does not move: kappa is largest where the residual is.
    x, y = jnp.eye(2) * np.sqrt(2), jnp.array([3.0, 1.0])
    flow = sj.gradient_flow(sj.squared_loss(linear, x, y), jnp.zeros(2), 1.0, solver="rk4", dt=0.02)
    initial, eps, horizon = float(flow.losses[0]), 1.0, 1.0
    radius = sj.bounds.ball_radius(initial, horizon)
    np.testing.assert_allclose(radius, np.sqrt(initial * horizon))
    assert float(jnp.linalg.norm(flow.final)) <= radius
    # K = I: kappa = ||r|| - sqrt(eps), and over the ball ||r|| <= ||r_0|| + radius.
    kappa = np.sqrt(initial) + radius - np.sqrt(eps)
    bound = sj.bounds.a_priori(initial, eps, kappa, np.asarray(flow.ts))
    np.testing.assert_allclose(
        bound.values, eps + 1 / (1 / (initial - eps) + bound.ts / kappa**2), rtol=1e-12
    )
    assert sj.bounds.compare(bound, flow).status == "holds" and not bound.vacuous
    useless = sj.bounds.a_priori(initial, eps, np.inf, np.asarray(flow.ts))
    verdict = sj.bounds.compare(useless, flow)
    assert verdict.status == "not_applicable" and verdict.vacuous
    for bad in ({"kappa_over_ball": 0.0, "eps": 1.0}, {"kappa_over_ball": 1.0, "eps": -1.0}):
        with pytest.raises(ValueError, match="must"):
            sj.bounds.a_priori(initial, ts=np.asarray(flow.ts), **bad)


def test_the_integral_is_exact_for_piecewise_linear_constants():
    ts = np.array([0.0, 0.5, 2.0])
    integral = inverse_square_integral(ts, np.array([4.0, 3.0, 1.0]))

    def exact(a, b, h):
        s = np.linspace(0, 1, 200_001)
        return np.trapezoid(1 / (a + (b - a) * s) ** 2, s) * h

    expected = np.cumsum([0, exact(4, 3, 0.5), exact(3, 1, 1.5)])
    np.testing.assert_allclose(integral, expected, rtol=1e-8)
    # Infinite at one end: nothing; zero at one end: everything.
    mixed = inverse_square_integral(ts, np.array([np.inf, 3.0, 0.0]))
    np.testing.assert_array_equal(mixed, [0, 0, np.inf])
    np.testing.assert_array_equal(inverse_square_integral(ts, np.array([np.inf, 0, 0]))[:2], 0)


@pytest.mark.parametrize("n", [3, 4, 7, 8])
def test_the_thinning_error_is_that_of_every_second_time(n):
    ts = np.sort(RNG.uniform(size=n))
    values = RNG.uniform(size=n)
    kept_times = sorted({*range(0, n, 2), n - 1})

    def integral(kept):
        return np.array(
            [np.trapezoid(values[kept[:i]], ts[kept[:i]]) for i in range(1, len(kept) + 1)]
        )

    whole, thinned = integral(np.arange(n)), integral(np.array(kept_times))
    expected = []
    for i in range(n):
        following = next(k for k in kept_times if k >= i)
        expected.append(abs(whole[following] - thinned[kept_times.index(following)]))
    np.testing.assert_allclose(thinning_error(ts, integral), expected, atol=1e-15)
    assert np.isnan(thinning_error(ts[:2], integral)).all()


def test_the_spline_integral_is_of_fourth_order():
    errors = []
    for n in (20, 40, 80):
        ts = np.linspace(0, 2, n + 1)
        errors.append(np.abs(simpson_like_integral(ts, np.exp(-ts)) - 1 + np.exp(-ts)).max())
    assert np.log2(errors[0] / errors[1]) > 3.5 and np.log2(errors[1] / errors[2]) > 3.5
