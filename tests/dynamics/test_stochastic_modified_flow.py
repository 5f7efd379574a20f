"""Stochastic modified equations: their coefficients, their law, and SGD's weak orders 1 and 2."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg
from jax.flatten_util import ravel_pytree

import sparsejax as sj
from sparsejax.dynamics import gradient_noise, stochastic_modified_flow
from sparsejax.dynamics.stochastic_modified_flow import noise_variance_factor

RNG = np.random.default_rng(0)
KEY = jax.random.key(0)
# Per-sample losses (a_i w - y_i)^2 with curvatures that differ, so that the noise depends on w.
A, Y = np.array([0.5, 1.0, 1.6, 0.8]), np.array([1.0, -0.5, 0.7, 0.2])
SCALAR = sj.squared_loss(lambda w, x: x * w, jnp.asarray(A), jnp.asarray(Y))
C, B0 = 2 * A**2, 2 * A * Y  # gradient of sample i: C_i w - B0_i


@pytest.mark.parametrize("law", ["replacement", "subsets"])
def test_the_noise_is_the_covariance_of_a_batch(law):
    x, y = RNG.normal(size=(5, 2)), RNG.normal(size=5)
    params = {"in": jnp.asarray(RNG.normal(size=(2, 2))), "out": jnp.asarray(RNG.normal(size=2))}
    theta, unravel = ravel_pytree(params)
    loss = sj.squared_loss(lambda p, x: jnp.tanh(x @ p["in"]) @ p["out"], x, y)
    columns = np.asarray(
        jax.jit(jax.vmap(lambda v: gradient_noise(loss, theta, unravel, v)))(jnp.eye(5))
    )
    covariance = columns.T @ columns
    each = np.asarray(jax.jit(jax.jacrev(lambda t: loss.of_samples(unravel(t))))(theta))
    np.testing.assert_allclose(covariance, np.cov(each.T, bias=True), rtol=1e-9, atol=1e-12)
    # All batches of two, enumerated.
    if law == "replacement":
        batches = list(itertools.product(range(5), repeat=2))
    else:
        batches = list(itertools.combinations(range(5), 2))
    means = np.array([each[list(batch)].mean(axis=0) for batch in batches])
    np.testing.assert_allclose(
        covariance * noise_variance_factor(5, 2, law),
        np.cov(means.T, bias=True),
        rtol=1e-9,
        atol=1e-12,
    )


def sgd_moments(eta, steps, w0):
    """E w and E w^2 of SGD on single samples: `w' = (1 - eta C_i) w + eta B_i`, exactly."""
    a, b = 1 - eta * C, eta * B0
    m1, m2 = w0, w0**2
    for _ in range(steps):
        m2 = np.mean(a**2) * m2 + 2 * np.mean(a * b) * m1 + np.mean(b**2)
        m1 = np.mean(a) * m1 + np.mean(b)
    return np.array([m1, m2])


def equation_moments(eta, t, w0, order):
    """E w and E w^2 of the equation whose coefficients are those of the package, by one expm."""
    slope = jax.grad(SCALAR if order == 1 else sj.modified_loss(SCALAR, eta))
    points = jnp.array([0.0, 1.0, 2.0])
    drift = -np.asarray(jax.vmap(slope)(points))
    unravel = ravel_pytree(jnp.zeros(()))[1]
    noise = jax.vmap(
        lambda w: jax.vmap(lambda v: gradient_noise(SCALAR, w[None], unravel, v)[0])(jnp.eye(4))
    )(points)
    variance = eta * np.sum(np.asarray(noise) ** 2, axis=1)
    p0, p1 = drift[0], drift[1] - drift[0]  # the drift is p0 + p1 w ...
    np.testing.assert_allclose(drift[2], p0 + 2 * p1, rtol=1e-12)
    q0, (q1, q2) = (
        variance[0],
        np.linalg.solve(  # ... and the variance a quadratic
            np.array([[1.0, 1.0], [2.0, 4.0]]), variance[1:] - variance[0]
        ),
    )
    # d(1, m1, m2)/dt, by Ito: dm1 = p0 + p1 m1, dm2 = 2 (p0 m1 + p1 m2) + E variance.
    generator = np.array([[0, 0, 0], [p0, p1, 0], [q0, 2 * p0 + q1, 2 * p1 + q2]])
    return (scipy.linalg.expm(t * generator) @ np.array([1.0, w0, w0**2]))[1:]


@pytest.mark.parametrize("order", [1, 2])
def test_sgd_agrees_to_the_order_of_the_equation(order):
    # Weak error at a fixed time in E w and E w^2, both sides exact; the flow alone has order 1.
    t, w0, counts = 1.6, 2.0, np.array([16, 32, 64, 128])
    errors = np.array(
        [np.abs(sgd_moments(t / n, n, w0) - equation_moments(t / n, t, w0, order)) for n in counts]
    )
    slopes = np.log2(errors[:-1] / errors[1:])
    np.testing.assert_allclose(slopes[-1], order, atol=0.15)
    assert (errors[-1] > 1e-12).all()


@pytest.fixture(scope="module")
def ensemble():
    """4,000 paths of the equation of order 2 at a step that is not small."""
    eta, steps = 0.2, 8

    @jax.jit
    @jax.vmap
    def ends(key):
        path = stochastic_modified_flow(
            SCALAR, jnp.asarray(2.0), eta, steps, key=key, batch_size=1, save_every=4
        )
        return path.params, path.status_code, path.dissipation, path.ts

    return eta, steps, ends(jax.random.split(KEY, 4000))


@pytest.mark.slow
def test_paths_have_the_moments_of_their_equation(ensemble):
    eta, steps, (w, codes, dissipation, ts) = ensemble
    w = np.asarray(w)
    np.testing.assert_allclose(ts[0], [0, 0.8, 1.6], rtol=1e-12)
    assert (np.asarray(codes) == 0).all() and (np.diff(dissipation, axis=1) > 0).all()
    for column, t in ((1, 0.8), (2, 1.6)):
        m1, m2 = equation_moments(eta, t, 2.0, 2)
        deviation = np.sqrt(m2 - m1**2)
        assert abs(w[:, column].mean() - m1) < 4 * deviation / np.sqrt(4000)
        squares = w[:, column] ** 2
        assert abs(squares.mean() - m2) < 4 * squares.std() / np.sqrt(4000) + 0.002
    # Close to SGD, and told apart from the equation without the drift's correction.
    sgd = sgd_moments(eta, steps, 2.0)
    error = 4 * w[:, 2].std() / np.sqrt(4000)
    assert abs(w[:, 2].mean() - sgd[0]) < error + 0.01
    assert abs(equation_moments(eta, 1.6, 2.0, 1)[0] - sgd[0]) > error + 0.01


def test_without_noise_it_is_the_modified_flow():
    # Equal samples: no noise, and curvature 2 becomes 2 + eta 2^2 / 2; Heun's error is O(h^2).
    loss = sj.squared_loss(lambda w, x: x * w, jnp.ones(4), jnp.zeros(4))
    path = stochastic_modified_flow(
        loss, jnp.asarray(1.0), 0.1, 10, key=KEY, batch_size=2, sampling="subsets", substeps=8
    )
    np.testing.assert_allclose(path.params, np.exp(-2.2 * np.asarray(path.ts)), atol=2e-4)
    np.testing.assert_allclose(path.losses, np.exp(-4.4 * np.asarray(path.ts)), atol=4e-4)
    assert path.status == "completed" and not path.integrated
    assert np.isinf(path.path_lengths[1:]).all() and path.stats["order"] == 2


@pytest.mark.parametrize(
    "options, message",
    [
        ({"sampling": "epochs"}, "not independent"),
        ({"order": 3}, "order is 1 or 2"),
        ({"steps": 5, "save_every": 2}, "multiple of save_every"),
        ({"eta": -0.1}, "must be positive, got -0.1"),
        ({"batch_size": 9}, r"lie in \[1, 4\], got 9"),
    ],
)
def test_bad_input_is_refused(options, message):
    settings = {"eta": 0.1, "steps": 4, "batch_size": 2} | options
    with pytest.raises(ValueError, match=message):
        stochastic_modified_flow(SCALAR, jnp.asarray(1.0), key=KEY, **settings)
