"""The tangent constant against a generic optimiser, closed forms and its own optimality."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
from jax.flatten_util import ravel_pytree

import sparsejax as sj
from sparsejax.tangent import convex_tangent_constant

RNG = np.random.default_rng(0)
X = jnp.asarray(RNG.normal(size=(5, 3)))
Y = jnp.asarray(RNG.normal(size=(5, 2)))
PARAMS = {"w": jnp.asarray(RNG.normal(size=(3, 4))), "v": jnp.asarray(RNG.normal(size=(4, 2)))}


def network(params, x):
    return jnp.tanh(x @ params["w"]) @ params["v"]


def linearised(params=PARAMS, x=X):
    theta, unravel = ravel_pytree(params)
    outputs = network(params, x)
    jacobian = jax.jacobian(lambda t: network(unravel(t), x).ravel())(theta)
    return np.asarray(outputs), np.asarray(jacobian)


def generic(value, eps, size):
    """`min ||u||` with `value(u) <= eps`, by a solver that knows nothing of kernels."""
    found = scipy.optimize.minimize(
        lambda u: u @ u,
        np.full(size, 0.01),
        jac=lambda u: 2 * u,
        constraints={
            "type": "ineq",
            "fun": lambda u: eps - float(value(u)),
            "jac": lambda u: -np.asarray(jax.grad(value)(u)),
        },
        method="SLSQP",
        options={"maxiter": 500, "ftol": 1e-14},
    )
    assert found.success
    return float(np.sqrt(found.fun))


@pytest.mark.parametrize("fraction", [0.7, 0.2])
def test_squared_loss_against_a_generic_solver(fraction):
    outputs, jacobian = linearised()
    loss = sj.squared_loss(network, X, Y)
    eps = fraction * float(loss(PARAMS))

    @jax.jit
    def value(u):
        return jnp.sum((outputs.ravel() + jacobian @ u - Y.ravel()) ** 2) / 5

    expected = generic(value, eps, jacobian.shape[1])
    assert float(sj.tangent_constant(network, PARAMS, X, Y, eps)) == pytest.approx(
        expected, rel=1e-6
    )
    assert float(convex_tangent_constant(loss, PARAMS, eps)) == pytest.approx(expected, rel=1e-6)


def test_logistic_loss_against_a_generic_solver():
    outputs, jacobian = linearised()
    labels = jnp.sign(Y)
    loss = sj.logistic_loss(network, X, labels)
    eps = 0.5 * float(loss(PARAMS))

    @jax.jit
    def value(u):
        margins = labels.ravel() * (outputs.ravel() + jacobian @ u)
        return jnp.sum(jax.nn.softplus(-margins)) / 5

    expected = generic(value, eps, jacobian.shape[1])
    assert float(convex_tangent_constant(loss, PARAMS, eps)) == pytest.approx(expected, rel=1e-5)


def test_minimiser_is_feasible_and_has_the_norm():
    eps = 0.3 * float(sj.squared_loss(network, X, Y)(PARAMS))
    found = sj.tangent_approximation(network, PARAMS, X, Y, eps)
    _, pushed = jax.jvp(lambda p: network(p, X), (PARAMS,), (found.direction,))
    reached = float(jnp.mean(jnp.sum((network(PARAMS, X) + pushed - Y) ** 2, axis=1)))
    assert reached == pytest.approx(eps, rel=1e-9)
    assert float(found.attained) == pytest.approx(eps, rel=1e-9)
    norm = float(jnp.linalg.norm(ravel_pytree(found.direction)[0]))
    assert norm == pytest.approx(float(found.kappa), rel=1e-9)


def test_falls_with_eps_and_has_its_ends():
    start = float(sj.squared_loss(network, X, Y)(PARAMS))
    kappas = [
        float(sj.tangent_constant(network, PARAMS, X, Y, f * start)) for f in (0, 0.1, 0.5, 0.9, 1)
    ]
    assert all(a > b for a, b in zip(kappas, kappas[1:], strict=False))
    assert kappas[-1] < 1e-14  # the loss in another order of summation
    assert np.isfinite(kappas[0])  # 20 parameters, 10 outputs: all residuals can be met
    outputs, jacobian = linearised()
    exact = np.linalg.norm(np.linalg.pinv(jacobian) @ (Y - outputs).ravel())
    assert kappas[0] == pytest.approx(float(exact), rel=1e-6)


def test_infinite_where_no_step_reaches():
    x = jnp.asarray(RNG.normal(size=(60, 3)))
    y = jnp.asarray(RNG.normal(size=(60, 2)))
    outputs, jacobian = linearised(PARAMS, x)
    rest = (y - outputs).ravel() - jacobian @ np.linalg.lstsq(jacobian, (y - outputs).ravel())[0]
    floor = float(rest @ rest) / 60
    assert sj.tangent_constant(network, PARAMS, x, y, 0.99 * floor) == jnp.inf
    found = sj.tangent_approximation(network, PARAMS, x, y, 1.01 * floor)
    assert jnp.isfinite(found.kappa)
    assert float(found.floor) == pytest.approx(floor, rel=1e-9)


def test_closed_form_of_one_weight():
    """`f = w x`: the step `u` leaves `(y - (w + u) x)^2`."""
    x, y = jnp.array([[2.0]]), jnp.array([[4.0]])
    for eps in (0.0, 1.0, 9.0):
        kappa = sj.tangent_constant(lambda w, x: x @ w, jnp.zeros((1, 1)), x, y, eps)
        assert float(kappa) == pytest.approx((4 - np.sqrt(eps)) / 2, rel=1e-9)


def test_inside_jit_and_vmap():
    several = jax.tree.map(lambda leaf: jnp.stack([leaf, 0.5 * leaf]), PARAMS)
    found = jax.jit(jax.vmap(lambda p: sj.tangent_constant(network, p, X, Y, 0.2)))(several)
    singles = [
        float(
            sj.tangent_constant(
                network, jax.tree.map(lambda leaf, i=i: leaf[i], several), X, Y, 0.2
            )
        )
        for i in range(2)
    ]
    np.testing.assert_allclose(found, singles, rtol=1e-9)


def test_float32_is_close():
    def single(leaf):
        return leaf.astype(jnp.float32)

    eps = 0.3 * float(sj.squared_loss(network, X, Y)(PARAMS))
    exact = float(sj.tangent_constant(network, PARAMS, X, Y, eps))
    rough = sj.tangent_constant(network, jax.tree.map(single, PARAMS), single(X), single(Y), eps)
    assert float(rough) == pytest.approx(exact, rel=1e-3)


def test_negative_eps_is_refused():
    with pytest.raises(ValueError, match="eps must not be negative"):
        sj.tangent_constant(network, PARAMS, X, Y, -0.1)
