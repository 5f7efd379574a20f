"""Bound 5.3 on the distance from the flow: closed forms on quadratics, and a real network."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import optax
import pytest

import sparsejax as sj
from sparsejax.bounds import compare, flow_distance
from sparsejax.dynamics import effective_times, modified_rate

CURVATURES = np.array([0.5, 2.0, 4.0])
RNG = np.random.default_rng(0)
X, Y = jnp.asarray(RNG.uniform(-1, 1, (5, 2))), jnp.asarray(RNG.normal(size=5))
START = {"in": jnp.asarray(RNG.normal(size=(2, 6))), "out": jnp.asarray(RNG.normal(size=6))}
NETWORK = sj.squared_loss(lambda p, x: jnp.tanh(x @ p["in"]) @ p["out"], X, Y)
STEPS = 24
DESCENT = optax.inject_hyperparams(optax.sgd)(learning_rate=0.0)


def quadratic(w):
    return 0.5 * jnp.sum(jnp.asarray(CURVATURES) * w**2)


def descend(loss, start, eta, steps=STEPS):
    state = DESCENT.init(start)._replace(hyperparams={"learning_rate": jnp.asarray(eta)})
    return sj.gradient_descent(loss, start, DESCENT, steps, optimizer_state=state)


def flows(loss, start, ts, dt=0.01):
    """A flow and a finer one, at the same times."""
    ts = np.asarray(ts)
    return [
        sj.gradient_flow(loss, start, float(ts[-1]), saveat=ts, solver="rk4", dt=h)
        for h in (dt, dt / 2)
    ]


def with_halves(ts):
    """Each time and the middle of each step."""
    ts = np.asarray(ts)
    return np.sort(np.concatenate([ts, (ts[1:] + ts[:-1]) / 2]))


def test_on_a_quadratic_everything_is_known():
    start, eta = jnp.ones(3), 0.1
    run = descend(quadratic, start, eta)
    flow, fine = flows(quadratic, start, run.ts)
    bound = flow_distance(quadratic, run, flow, reference=fine)
    k = np.arange(STEPS + 1)[:, None]
    distance = np.linalg.norm((1 - eta * CURVATURES) ** k - np.exp(-eta * CURVATURES * k), axis=1)
    np.testing.assert_allclose(bound.measured, distance, atol=1e-7)
    gradients = np.linalg.norm(CURVATURES * np.exp(-eta * CURVATURES * k), axis=1)
    expected = [0.0]
    for gamma in gradients[:-1]:  # the gradient norm falls: greatest at the start of a step
        expected.append((1 - eta * 0.5) * expected[-1] + eta**2 * 4.0 * gamma / 2)
    np.testing.assert_allclose(bound.values, expected, rtol=1e-6)
    assert compare(bound, run).status == "holds" and not bound.vacuous
    np.testing.assert_allclose(bound.details["beta"], 4.0, rtol=1e-9)


def test_counted_with_the_modified_rate_one_mode_is_followed_exactly():
    # (5.4): with the gradient in one eigenvector the flow at the effective time is the step.
    start, eta = jnp.array([0.0, 0.0, 1.0]), 0.1
    run = descend(quadratic, start, eta)
    times = effective_times(quadratic, run)
    rate = float(modified_rate(eta, 4.0))
    np.testing.assert_allclose(rate, -np.log(1 - eta * 4.0) / eta, rtol=1e-12)
    np.testing.assert_allclose(4.0 * np.asarray(times), rate * np.asarray(run.ts), rtol=1e-12)
    np.testing.assert_allclose(np.exp(-4.0 * np.asarray(times)), run.params[:, 2], rtol=1e-10)
    flow, fine = flows(quadratic, start, times, 0.005)
    bound = flow_distance(quadratic, run, flow, reference=fine, times=times)
    assert np.max(bound.measured) < 1e-7 and np.max(bound.values) < 1e-7


def test_effective_times_of_any_curvature():
    z = np.array([-3.0, -1e-6, 0.0, 1e-9, 1e-3, 0.9, 1.0, 1.5])
    with np.errstate(divide="ignore", invalid="ignore"):
        exact = np.where(np.abs(z) < 1e-5, z + z**2 / 2, -np.log1p(-z))
    rate = np.asarray(modified_rate(np.ones(8), z))
    np.testing.assert_allclose(rate[:6], exact[:6], rtol=1e-9, atol=1e-16)
    assert np.isinf(rate[6:]).all()
    skipping = sj.gradient_descent(quadratic, jnp.ones(3), DESCENT, 4, save_every=2)
    with pytest.raises(ValueError, match="every step"):
        effective_times(quadratic, skipping)


@pytest.fixture(scope="module")
def network():
    run = descend(NETWORK, START, 0.05)
    return run, *flows(NETWORK, START, with_halves(run.ts))


@pytest.mark.slow
def test_it_holds_for_a_network_at_both_kinds_of_times(network):
    run, flow, fine = network
    bound = flow_distance(NETWORK, run, flow, reference=fine)
    verdict = compare(bound, run)
    assert verdict.status == "holds", verdict
    assert not bound.vacuous and verdict.error_budget["integrator"] < 1e-6
    assert (bound.details["m"] < 0).any()  # a region where distances may grow
    times = np.asarray(effective_times(NETWORK, run))
    slower, checked = flows(NETWORK, START, times)
    other = flow_distance(NETWORK, run, slower, reference=checked, times=times)
    assert compare(other, run).status == "holds"
    lowered = dataclasses.replace(bound, values=0.9 * bound.measured)
    assert compare(lowered, run).status == "violated"


def test_the_loss_of_one_step_is_that_of_the_flow_at_its_effective_time_to_third_order():
    plain, effective = [], []
    for eta in (0.04, 0.02):
        run = descend(NETWORK, START, eta)
        for gaps, times in ((plain, run.ts), (effective, effective_times(NETWORK, run))):
            flow, _ = flows(NETWORK, START, times, 0.005)
            gaps.append(abs(float(run.losses[1] - flow.losses[1])))
    assert abs(np.log2(plain[0] / plain[1]) - 2) < 0.2
    assert abs(np.log2(effective[0] / effective[1]) - 3) < 0.2


def test_a_step_that_is_too_large_is_named():
    run = descend(NETWORK, START, 0.6)
    flow, fine = flows(NETWORK, START, run.ts)
    bound = flow_distance(NETWORK, run, flow, reference=fine)
    verdict = compare(bound, run)
    step = bound.details["stopped_at_step"]
    assert verdict.status == "not_applicable" and f"step {step} has eta beta" in verdict.reason
    assert len(bound.ts) == step + 1 and np.isfinite(bound.values).all()


def test_what_it_does_not_speak_of_and_bad_input(network):
    run, flow, fine = network
    elsewhere = dataclasses.replace(flow, params={k: v + 0.1 for k, v in flow.params.items()})
    verdict = compare(flow_distance(NETWORK, run, elsewhere, reference=fine), run)
    assert verdict.status == "not_applicable" and "same parameters" in verdict.reason
    with pytest.raises(ValueError, match="the flow was not saved at t = 0.01:"):
        flow_distance(NETWORK, run, flow, reference=fine, times=np.asarray(run.ts) + 0.01)
    with pytest.raises(ValueError, match="times has shape"):
        flow_distance(NETWORK, run, flow, reference=fine, times=np.zeros(3))
