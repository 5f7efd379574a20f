"""Bound 2.6 along real gradient descent, and the runs of which it does not speak."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import sparsejax as sj
from sparsejax.bounds import compare, descent

RNG = np.random.default_rng(0)
X, Y = jnp.asarray(RNG.uniform(-1, 1, (5, 2))), jnp.asarray(RNG.normal(size=5))
START = {"in": jnp.asarray(RNG.normal(size=(2, 8))), "out": jnp.asarray(RNG.normal(size=8))}
STEPS = 60


def network(p, x):
    return jnp.tanh(x @ p["in"]) @ p["out"]


LOSS = sj.squared_loss(network, X, Y)


def run(optimizer, **options):
    return sj.gradient_descent(LOSS, START, optimizer, STEPS, **options)


@pytest.fixture(scope="module")
def steps():
    return run(optax.sgd(0.05))


@pytest.fixture(scope="module")
def eps(steps):
    return 0.5 * float(steps.losses[0] + steps.losses[-1])


def test_both_forms_hold_and_say_something(steps, eps):
    convex, squared = (
        descent(network, steps, X, Y, eps, form=form) for form in ("convex", "squared")
    )
    for bound in (convex, squared):
        verdict = compare(bound, steps)
        assert verdict.status == "holds", verdict
        assert verdict.error_budget["integrator"] == 0 and not bound.vacuous
        assert bound.values[-1] < 0.97 * bound.initial and len(bound.ts) == STEPS + 1
    assert (squared.values[1:] < convex.values[1:]).all()
    np.testing.assert_allclose(convex.details["eta"], 0.05, rtol=1e-10)
    # (2.6) itself, step by step.
    losses, norms = np.asarray(steps.losses), np.asarray(steps.grad_norms)
    beta = np.maximum(convex.details["beta"], 0)
    promised = losses[:-1] - 0.05 * (1 - 0.05 * beta / 2) * norms[:-1] ** 2
    assert (losses[1:] <= promised + 1e-4 * norms[:-1] ** 2).all()


def test_one_parameter_has_its_gain_in_closed_form():
    # L = (w - 1)^2: beta = 2, kappa = rho - q, and a step multiplies rho by 1 - 2 eta.
    def f(w, x):
        return x @ w

    x, y, eta = jnp.ones((1, 1)), jnp.array([1.0]), 0.1
    line = sj.gradient_descent(sj.squared_loss(f, x, y), jnp.zeros(1), optax.sgd(eta), 3)
    bound = descent(f, line, x, y, 0.01, form="convex")
    rho = 0.8 ** np.arange(4)
    np.testing.assert_allclose(line.losses, rho**2, rtol=1e-10)
    np.testing.assert_allclose(bound.details["beta"], 2, rtol=1e-10)
    gain = np.cumsum(np.append(0, eta * (1 - eta) / (rho[:3] - 0.1) ** 2))
    np.testing.assert_allclose(bound.values, 0.01 + 1 / (1 / 0.99 + gain), rtol=1e-9)
    np.testing.assert_allclose(bound.quadrature_error, 0, atol=1e-12)
    # Equality in (2.6) for a quadratic: L_k - L_{k+1} = eta (1 - eta beta / 2) g_k^2.
    np.testing.assert_allclose(
        -np.diff(line.losses), eta * (1 - eta) * np.asarray(line.grad_norms[:3]) ** 2, rtol=1e-9
    )


def test_below_eps_the_promise_is_eps(steps):
    bound = descent(network, steps, X, Y, 0.999 * float(steps.losses[0]))
    np.testing.assert_allclose(bound.values[2:], 0.999 * bound.initial, rtol=1e-12)
    assert compare(bound, steps).status == "holds"


def test_a_step_that_is_too_large_is_named_and_ends_the_promise(steps, eps):
    def schedule(count):
        return jnp.where(count == 7, 20.0, 0.05)

    verdict, bound = judged(run(optax.sgd(schedule)), eps)
    assert verdict.status == "not_applicable"
    assert "step size below 2 / curvature (step 7 has eta beta = " in verdict.reason
    assert len(bound.ts) == 8 and np.isfinite(bound.values).all()


def test_a_run_that_diverged_ends_the_promise_at_its_step_and_not_for_want_of_saved_ones(eps):
    diverged = run(optax.sgd(lambda count: jnp.array([0.05, 20.0, 1e6])[jnp.minimum(count, 2)]))
    assert diverged.status == "diverged" and len(diverged.ts) > diverged.stats["steps"] + 1
    verdict, bound = judged(diverged, eps)
    assert verdict.status == "not_applicable" and bound.details["stopped_at_step"] == 1
    assert "every step was saved (not met)" not in verdict.reason
    assert "step size below 2 / curvature (step 1 has eta beta = " in verdict.reason


def judged(trajectory, eps, targets=Y):
    bound = descent(network, trajectory, X, targets, eps)
    return compare(bound, trajectory), bound


def test_runs_of_which_it_does_not_speak(steps, eps):
    skipping, _ = judged(run(optax.sgd(0.05), save_every=2), eps)
    assert "every step was saved" in skipping.reason
    batches, _ = judged(run(optax.sgd(0.05), batch_size=2, key=jax.random.key(0)), eps)
    momentum, _ = judged(run(optax.sgd(0.01, momentum=0.5)), eps)
    for verdict in (batches, momentum):
        assert "along the negative gradient" in verdict.reason
    elsewhere, _ = judged(steps, eps, targets=Y + 0.5)
    assert "mean squared loss" in elsewhere.reason
    flow = dataclasses.replace(steps, method=(("dt", 0.05),))
    integrated, _ = judged(flow, eps)
    for verdict in (skipping, batches, momentum, elsewhere, integrated):
        assert verdict.status == "not_applicable"


def test_a_lowered_bound_is_violated(steps, eps):
    bound = descent(network, steps, X, Y, eps)
    lowered = dataclasses.replace(bound, values=0.99 * np.asarray(steps.losses))
    assert compare(lowered, steps).status == "violated"


def test_an_unattainable_level_and_options_out_of_range(steps):
    def constant(p, x):
        return jnp.broadcast_to(p[:1], x.shape[:1])

    x, y = jnp.ones((2, 1)), jnp.array([2.0, 0.0])
    line = sj.gradient_descent(sj.squared_loss(constant, x, y), jnp.full(1, 3.3), optax.sgd(0.1), 4)
    verdict = compare(descent(constant, line, x, y, 0.5), line)
    assert verdict.status == "not_applicable" and verdict.vacuous
    with pytest.raises(ValueError, match="eps must not be negative"):
        descent(network, steps, X, Y, -1.0)
    nothing = dataclasses.replace(steps, losses=jnp.full_like(steps.losses, jnp.nan))
    with pytest.raises(ValueError, match="no finite loss"):
        descent(network, nothing, X, Y, 0.1)
