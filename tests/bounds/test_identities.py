"""The Rayleigh identity, the least-eigenvalue rate, the path length, and curvature along steps."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sparsejax as sj
from sparsejax.bounds import (
    compare,
    kernel_rates,
    least_eigenvalue,
    path_length,
    rayleigh,
    step_curvatures,
)
from sparsejax.bounds.quadrature import simpson_like_integral, summed_thinning_error

RNG = np.random.default_rng(0)
TS = np.linspace(0, 1, 33) ** 2 * 2


def linear(w, x):
    return x @ w


def tanh_network(p, x):
    return jnp.tanh(x @ p["in"]) @ p["out"]


def run(f, params, x, y):
    loss = sj.squared_loss(f, x, y)
    return sj.gradient_flow(loss, params, 2.0, saveat=TS, solver="rk4", dt=0.005)


@pytest.fixture(scope="module")
def tanh_flow():
    params = {
        "in": jnp.asarray(RNG.normal(size=(2, 8))),
        "out": jnp.asarray(RNG.normal(size=(8, 2))),
    }
    x, y = jnp.asarray(RNG.uniform(-1, 1, (4, 2))), jnp.asarray(RNG.normal(size=(4, 2)))
    return run(tanh_network, params, x, y), x, y


def test_the_rayleigh_identity_holds_within_its_budget(tanh_flow):
    flow, x, y = tanh_flow
    bound = rayleigh(tanh_network, flow, x, y)
    verdict = compare(bound, flow)
    assert verdict.status == "holds" and not verdict.vacuous
    assert verdict.total_error < 1e-3 * bound.initial
    assert float(flow.losses[-1]) < 0.5 * bound.initial
    # The rate is that of the loss: -4 R L = -||grad L||^2.
    rate = np.asarray(flow.grad_norms) ** 2 / (4 * np.asarray(flow.losses))
    np.testing.assert_allclose(bound.details["rate"], rate, rtol=1e-9)


@pytest.mark.parametrize("factor", [0.98, 1.02])
def test_another_rate_breaks_the_identity(tanh_flow, factor):
    flow, x, y = tanh_flow
    bound = rayleigh(tanh_network, flow, x, y)
    wrong = bound.initial * (bound.values / bound.initial) ** factor
    assert compare(dataclasses.replace(bound, values=wrong), flow).status == "violated"


def test_the_least_eigenvalue_bounds_the_loss(tanh_flow):
    flow, x, y = tanh_flow
    bound = least_eigenvalue(tanh_network, flow, x, y)
    assert compare(bound, flow).status == "holds" and not bound.vacuous
    jacobian = jax.jacobian(lambda p: tanh_network(p, x).reshape(-1))(flow.at(5))
    flat = np.concatenate([np.asarray(j).reshape(8, -1) for j in jax.tree.leaves(jacobian)], axis=1)
    least = np.linalg.eigvalsh(flat @ flat.T / 4)[0]
    np.testing.assert_allclose(bound.details["rate"][5], least, rtol=1e-8)
    assert (bound.details["rate"] <= rayleigh(tanh_network, flow, x, y).details["rate"]).all()


def test_one_sample_makes_the_least_eigenvalue_exact_and_too_few_parameters_vacuous():
    x, y = jnp.array([[1.0, 0.5]]), jnp.array([2.0])
    flow = run(linear, jnp.zeros(2), x, y)
    bound = least_eigenvalue(linear, flow, x, y)
    np.testing.assert_allclose(bound.values, 4 * np.exp(-4 * 1.25 * TS), rtol=1e-12)
    np.testing.assert_allclose(bound.values, flow.losses, rtol=1e-6)
    many = jnp.asarray(RNG.normal(size=(4, 2)))
    flow = run(linear, jnp.zeros(2), many, jnp.ones(4))
    verdict = compare(least_eigenvalue(linear, flow, many, jnp.ones(4)), flow)
    assert verdict.vacuous and verdict.status == "not_applicable"


def test_data_of_another_flow_fail_a_hypothesis(tanh_flow):
    flow, x, y = tanh_flow
    verdict = compare(rayleigh(tanh_network, flow, x, 2 * y), flow)
    assert verdict.status == "not_applicable" and "mean squared loss" in verdict.reason
    nothing = dataclasses.replace(flow, losses=jnp.full_like(flow.losses, jnp.nan))
    for promise in (lambda: rayleigh(tanh_network, nothing, x, y), lambda: path_length(nothing)):
        with pytest.raises(ValueError, match="no finite loss"):
            promise()
    discrete = dataclasses.replace(flow, method=(("solver", "gradient descent"),))
    for bound in (rayleigh(tanh_network, discrete, x, y), path_length(discrete)):
        assert compare(bound, discrete).status == "not_applicable"


def test_the_path_is_at_most_as_long_as_time_and_loss_allow(tanh_flow):
    flow, _, _ = tanh_flow
    bound = path_length(flow)
    verdict = compare(bound, flow)
    assert verdict.status == "holds" and bound.quantity == "path_lengths"
    dropped = float(flow.losses[0] - flow.losses[-1])
    np.testing.assert_allclose(bound.values[-1], np.sqrt(2.0 * dropped))
    shorter = dataclasses.replace(bound, values=0.5 * np.asarray(flow.path_lengths))
    assert compare(shorter, flow).status == "violated"


def test_a_constant_gradient_makes_the_path_as_long_as_can_be():
    slope = jnp.array([3.0, 4.0])
    flow = sj.gradient_flow(
        lambda w: jnp.sum(slope * w), jnp.zeros(2), 2.0, saveat=TS, solver="euler", dt=0.1
    )
    bound = path_length(flow)
    np.testing.assert_allclose(bound.values, 5 * TS, rtol=1e-9)
    np.testing.assert_allclose(flow.path_lengths, 5 * TS, rtol=1e-9)
    assert compare(bound, flow).status == "inconclusive"


def test_curvature_along_a_step_of_a_quadratic():
    h = np.array([[3.0, 1.0], [1.0, 2.0]])
    states = RNG.normal(size=(4, 2))
    found = step_curvatures(lambda w: 0.5 * w @ jnp.asarray(h) @ w, jnp.asarray(states), 5)
    d = np.diff(states, axis=0)
    expected = np.einsum("si,ij,sj->s", d, h, d) / np.sum(d**2, axis=1)
    np.testing.assert_allclose(found, np.repeat(expected[:, None], 5, axis=1), rtol=1e-12)
    resting = step_curvatures(lambda w: jnp.sum(w**2), jnp.ones((2, 2)), 3)
    np.testing.assert_array_equal(resting, 0)


def test_curvature_along_a_step_against_finite_differences():
    params = {
        "in": jnp.asarray(RNG.normal(size=(3, 2, 4))),
        "out": jnp.asarray(RNG.normal(size=(3, 4))),
    }
    x, y = jnp.asarray(RNG.normal(size=(5, 2))), jnp.asarray(RNG.normal(size=5))
    loss = sj.squared_loss(tanh_network, x, y)
    found = step_curvatures(loss, params, 4)
    assert found.shape == (2, 4)
    for step in (0, 1):
        direction = jax.tree.map(lambda leaf: leaf[step + 1] - leaf[step], params)
        length = np.sqrt(sum(float(jnp.sum(leaf**2)) for leaf in jax.tree.leaves(direction)))
        for point, s in enumerate(np.linspace(0, 1, 4)):
            losses = [
                float(
                    loss(jax.tree.map(lambda leaf, d: leaf[step] + (s + e) * d, params, direction))
                )
                for e in (-1e-4, 0.0, 1e-4)
            ]
            second = (losses[0] - 2 * losses[1] + losses[2]) / 1e-8
            np.testing.assert_allclose(found[step, point], second / length**2, rtol=1e-4, atol=1e-5)


def test_an_eigenvalue_of_rounding_promises_nothing():
    """That of a kernel of rank one comes out on either side of zero: here, above."""
    for seed in range(100):
        row = np.random.default_rng(seed).normal(size=(1, 2))
        x = jnp.asarray(np.repeat(row, 4, axis=0))
        kernel = np.asarray(sj.ntk(linear, jnp.zeros(2), x)) / 4
        if np.linalg.eigvalsh(kernel)[0] > 0:
            break
    else:
        pytest.fail("no kernel whose rounding shows")
    flow = run(linear, jnp.zeros(2), x, jnp.ones(4))
    rates = kernel_rates(linear, flow, x, jnp.ones(4))
    assert (np.asarray(rates.least) == 0).all()
    bound = least_eigenvalue(linear, flow, x, jnp.ones(4), rates=rates)
    np.testing.assert_array_equal(bound.values, bound.initial)


@pytest.mark.parametrize("power", [1, 2])
def test_the_error_of_a_rate_that_jumps_is_in_the_budget(power):
    """A kink of the network: wherever it lies, and at all times behind it."""
    ts = np.linspace(0, 1, 41) ** power
    for at in np.linspace(0.11, 0.89, 40):
        rates = np.where(ts < at, 1.0, 0.5) + 0.3 * np.exp(-3 * ts)
        exact = np.minimum(ts, at) + np.maximum(ts - at, 0) / 2 + 0.1 * (1 - np.exp(-3 * ts))
        actual = np.abs(simpson_like_integral(ts, rates) - exact)
        error = summed_thinning_error(ts, rates)
        assert (error >= actual - 1e-6).all()
        assert error[-1] < 0.05  # and says something
    smooth = np.exp(-3 * ts)
    assert summed_thinning_error(ts, smooth)[-1] < 1e-4
