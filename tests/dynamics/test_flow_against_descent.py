"""Gradient descent stays within O(eta) of the flow, and within O(eta^2) of the modified flow."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from jax.flatten_util import ravel_pytree

import sparsejax as sj
from sparsejax.dynamics import modified_loss

HORIZON = 1.6
ETAS = np.array([0.08, 0.04, 0.02])


def network(p, x):
    return jnp.tanh(x @ p["in"]) @ p["out"]


@pytest.fixture(scope="module")
def problem():
    rng = np.random.default_rng(1)
    params = {"in": jnp.asarray(rng.normal(size=(2, 5))), "out": jnp.asarray(rng.normal(size=5))}
    x = rng.uniform(-1, 1, size=(8, 2))
    return sj.squared_loss(network, x, np.tanh(2 * x[:, 0] * x[:, 1])), params


@pytest.fixture(scope="module")
def ends(problem):
    """Where descent, the flow and the modified flows are after `HORIZON`, for each step size."""
    loss, params = problem

    def flow_end(of):
        flow = sj.gradient_flow(
            of, params, HORIZON, saveat=np.array([HORIZON]), solver="rk4", dt=0.01
        )
        assert flow.status == "completed"
        return ravel_pytree(flow.final)[0]

    descents = []
    for eta in ETAS:
        steps = round(HORIZON / eta)
        run = sj.gradient_descent(loss, params, optax.sgd(eta), steps, save_every=steps)
        np.testing.assert_allclose(run.ts[-1], HORIZON)
        descents.append(ravel_pytree(run.final)[0])
    modified = [flow_end(modified_loss(loss, eta)) for eta in ETAS]
    return descents, flow_end(loss), modified


def slopes(errors):
    return np.diff(np.log(errors)) / np.diff(np.log(ETAS))


def test_descent_is_first_order_close_to_the_flow(ends):
    descents, flow, _ = ends
    errors = [np.linalg.norm(d - flow) for d in descents]
    np.testing.assert_allclose(slopes(errors), 1, atol=0.15)


def test_descent_is_second_order_close_to_the_modified_flow(ends):
    descents, flow, modified = ends
    errors = [np.linalg.norm(d - m) for d, m in zip(descents, modified, strict=True)]
    np.testing.assert_allclose(slopes(errors), 2, atol=0.15)
    assert errors[-1] < 0.1 * np.linalg.norm(descents[-1] - flow)


def test_the_modified_flow_of_a_quadratic_has_the_rates_of_the_expansion():
    # -ln(1 - eta c) / eta = c + eta c^2 / 2 + O(eta^2), and the modified loss has curvature
    # c + eta c^2 / 2 exactly.
    c, eta = np.array([0.5, 2.0]), 0.1
    loss = modified_loss(lambda w: 0.5 * jnp.sum(jnp.asarray(c) * w**2), eta)
    hessian = jax.hessian(loss)(jnp.ones(2))
    np.testing.assert_allclose(hessian, np.diag(c + eta * c**2 / 2), rtol=1e-12)
    exact = -np.log(1 - eta * c) / eta
    assert (np.abs(np.diag(hessian) - exact) < 0.5 * eta**2 * c**3).all()
