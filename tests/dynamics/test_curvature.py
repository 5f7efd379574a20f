"""Curvatures along trajectories against dense eigenvalues and closed forms."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import sparsejax as sj
from sparsejax.dynamics import gradient_curvatures, hessian_ranges, sharpness_along

RNG = np.random.default_rng(0)


def quartic(signs):
    """Hessian `diag(s_i w_i^2)`."""
    return lambda w: jnp.sum(jnp.asarray(signs) * w**4) / 12


@pytest.fixture(scope="module")
def network():
    x, y = jnp.asarray(RNG.uniform(-1, 1, (6, 2))), jnp.asarray(RNG.normal(size=6))
    start = {"in": jnp.asarray(RNG.normal(size=(2, 8))), "out": jnp.asarray(RNG.normal(size=8))}
    loss = sj.squared_loss(lambda p, x: jnp.tanh(x @ p["in"]) @ p["out"], x, y)
    run = sj.gradient_descent(loss, start, optax.sgd(0.05), 40, save_every=8)

    def dense(theta):
        split = {"in": theta[:16].reshape(2, 8), "out": theta[16:]}
        return loss(split)

    thetas = np.concatenate([run.params["in"].reshape(6, 16), run.params["out"]], axis=1)
    hessians = np.asarray(jax.jit(jax.vmap(jax.hessian(dense)))(jnp.asarray(thetas)))
    gradients = np.asarray(jax.jit(jax.vmap(jax.grad(dense)))(jnp.asarray(thetas)))
    return loss, run, hessians, gradients


def test_sharpness_along_descent_is_the_dense_eigenvalue(network):
    loss, run, hessians, _ = network
    expected = np.linalg.eigvalsh(hessians)[:, -1]
    assert np.ptp(expected) > 0.02 * expected[0]
    np.testing.assert_allclose(sharpness_along(loss, run.params), expected, rtol=1e-8)
    np.testing.assert_allclose(
        hessian_ranges(loss, run.params), np.linalg.eigvalsh(hessians)[:, [0, -1]].T, rtol=1e-9
    )


def test_the_curvature_along_the_gradient(network):
    loss, run, hessians, g = network
    expected = np.einsum("si,sij,sj->s", g, hessians, g) / np.sum(g * g, axis=1)
    np.testing.assert_allclose(gradient_curvatures(loss, run.params), expected, rtol=1e-9)


def test_an_eigenvector_that_overtakes_is_found():
    # Component 7 grows past component 3, at right angles to all that was followed before.
    w = np.full((12, 40), 0.1) * RNG.uniform(0.5, 1, (1, 40))
    w[:, 3], w[:, 5], w[:, 7] = np.linspace(2, 0.2, 12), 0.4, np.linspace(0.05, 2.2, 12)
    few = sharpness_along(quartic(np.ones(40)), jnp.asarray(w), max_iterations=20)
    np.testing.assert_allclose(few, np.max(w**2, axis=1), rtol=1e-6)


def test_warm_starts_need_few_iterations():
    # A spectrum without a gap: a cold start of four iterations is far off, a warm one is not.
    w = np.sqrt(np.linspace(1, 2, 400))[None] * np.linspace(1, 1.01, 8)[:, None]
    loss = quartic(np.ones(400))
    exact = np.max(w**2, axis=1)
    warm = np.asarray(sharpness_along(loss, jnp.asarray(w), max_iterations=4))
    assert abs(warm[0] / exact[0] - 1) > 3 * abs(warm[-1] / exact[-1] - 1)
    assert abs(warm[-1] / exact[-1] - 1) < 0.01


def test_both_ends_of_a_large_spectrum():
    signs = np.where(np.arange(400) % 2, 1.0, -1.0)
    w = RNG.uniform(0, 1, (2, 400))
    w[:, 10], w[:, 11] = [2.0, 2.5], [3.0, 2.2]
    least, largest = hessian_ranges(quartic(signs), jnp.asarray(w))
    np.testing.assert_allclose(least, [-4.0, -6.25], rtol=1e-8)
    np.testing.assert_allclose(largest, [9.0, 4.84], rtol=1e-8)


def test_states_that_are_not_finite_and_flat_losses():
    w = np.full((3, 20), 0.5)
    w[1, 0] = np.nan
    along = np.asarray(sharpness_along(quartic(np.ones(20)), jnp.asarray(w)))
    np.testing.assert_allclose(along[[0, 2]], 0.25, rtol=1e-9)
    assert np.isnan(along[1])
    flat = sharpness_along(lambda p: jnp.sum(p), jnp.asarray(w[:1]))
    assert float(flat[0]) == 0.0
