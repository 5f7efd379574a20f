"""Regularised dual averaging against its definition and the lasso; ISTA along the lasso's path."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
from sklearn.datasets import load_diabetes
from sklearn.linear_model import Lasso, lars_path

import sparsejax as sj
from sparsejax.dynamics import dual_averaging, group_lasso, l1, proximal_l1

X, Y = load_diabetes(return_X_y=True)
X, Y = (X - X.mean(axis=0)) / X.std(axis=0), (Y - Y.mean()) / Y.std()
NAMES = load_diabetes().feature_names
LOSS = sj.squared_loss(lambda w, x: x @ w, jnp.asarray(X), jnp.asarray(Y))


def test_steps_are_the_minimisers_of_their_definition():
    rng, gamma = np.random.default_rng(0), 0.7
    start, gradients = rng.normal(size=4), rng.normal(size=(6, 4))
    for growth, strength in ((0.5, 0.3), (0.0, 0.3), (1.0, 0.1)):
        method = dual_averaging(l1(strength), gamma, growth=growth)
        params = jnp.asarray(start)
        state = method.init(params)
        for t in range(1, 7):
            update, state = method.update(jnp.asarray(gradients[t - 1]), state, params)
            params = optax.apply_updates(params, update)
            # Stationarity of <g, u> + strength |u| + beta / (2 t) (u - start)^2, entry by entry.
            w = np.asarray(params)
            slope = gradients[:t].mean(axis=0) + gamma * t**growth / t * (w - start)
            zero = w == 0
            np.testing.assert_allclose(slope[~zero], -strength * np.sign(w[~zero]), atol=1e-12)
            assert (np.abs(slope[zero]) <= strength + 1e-12).all()


def test_groups_become_zero_together():
    method = dual_averaging(group_lasso(1.0, {"w": 0}), 1.0)
    params = {"w": jnp.zeros((3, 2)), "free": jnp.ones(2)}
    gradient = {"w": jnp.asarray([[3.0, 4.0], [0.1, 0.2], [-6.0, 8.0]]), "free": jnp.ones(2)}
    update, _ = method.update(gradient, method.init(params), params)
    moved = optax.apply_updates(params, update)
    root = np.sqrt(2.0)  # of the group's size
    expected = [[-3 * (1 - root / 5), -4 * (1 - root / 5)], [0, 0]]
    np.testing.assert_allclose(moved["w"][:2], expected, rtol=1e-12)
    np.testing.assert_array_equal(moved["free"], [0.0, 0.0])


def strengths_between_knots():
    """Midpoints of the lasso's path on diabetes: at each knot an input enters, or leaves."""
    knots = lars_path(X, Y, method="lasso")[0]
    return (knots[:-1] + knots[1:]) / 2


def test_proximal_descent_follows_the_lasso_s_path_and_its_order_of_entry():
    alphas = strengths_between_knots()
    expected = np.array(
        [
            Lasso(alpha=a, fit_intercept=False, tol=1e-12, max_iter=10**6).fit(X, Y).coef_
            for a in alphas
        ]
    )

    @jax.jit
    @jax.vmap
    def end(strength):
        # scikit-learn minimises half of our loss.
        method = optax.chain(optax.sgd(0.12), proximal_l1(2 * strength, 0.12))
        run = sj.gradient_descent(LOSS, jnp.zeros(10), method, 8000, save_every=8000)
        return run.final

    found = np.asarray(end(jnp.asarray(alphas)))
    np.testing.assert_allclose(found, expected, atol=1e-6)
    np.testing.assert_array_equal(found == 0, expected == 0)
    # Efron, Hastie, Johnstone, Tibshirani 2004: bmi, s5, bp, s3, sex, s6, s1, s4, s2, age.
    first = [int(np.flatnonzero(found[:, j])[0]) for j in range(10)]
    order = [NAMES[j] for j in np.argsort(first)]
    assert order == ["bmi", "s5", "bp", "s3", "sex", "s6", "s1", "s4", "s2", "age"]


def test_full_gradients_converge_to_the_lasso():
    alpha = strengths_between_knots()[4]
    expected = Lasso(alpha=alpha, fit_intercept=False, tol=1e-12).fit(X, Y).coef_
    gamma = 2 * np.linalg.eigvalsh(X.T @ X / len(X))[-1]
    method = dual_averaging(l1(2 * alpha), gamma, growth=0)
    final = sj.gradient_descent(LOSS, jnp.zeros(10), method, 3000, save_every=3000).final
    np.testing.assert_allclose(final, expected, atol=1e-6)
    np.testing.assert_array_equal(np.asarray(final) == 0, expected == 0)
    assert (expected == 0).sum() == 5


def test_minibatches_leave_exact_zeros_where_proximal_steps_do_not():
    rng = np.random.default_rng(1)
    x = rng.normal(size=(200, 40))
    w = np.zeros(40)
    w[:4] = [2.0, -1.5, 1.0, 1.0]
    loss = sj.squared_loss(
        lambda w, x: x @ w, jnp.asarray(x), jnp.asarray(x @ w + rng.normal(size=200))
    )
    strength, options = 0.6, {"batch_size": 8, "save_every": 2000, "key": jax.random.key(0)}
    chained = optax.chain(optax.sgd(0.02), proximal_l1(strength, 0.02))
    proximal = sj.dynamics.sgd(loss, jnp.zeros(40), chained, 2000, **options).final
    averaging = dual_averaging(l1(strength), 5.0)
    averaged = sj.dynamics.sgd(loss, jnp.zeros(40), averaging, 2000, **options).final
    assert (np.asarray(averaged)[:4] != 0).all()
    assert (np.asarray(averaged)[4:] == 0).sum() >= 34
    assert (np.asarray(proximal)[4:] == 0).sum() < 20


def test_bad_input_is_refused_and_float32_stays():
    with pytest.raises(ValueError, match="growth: from 0 to 1, got 2"):
        dual_averaging(l1(1.0), 1.0, growth=2)
    with pytest.raises(ValueError, match="gamma: must be positive"):
        dual_averaging(l1(1.0), 0.0)
    with pytest.raises(ValueError, match="no leaf 'q'"):
        dual_averaging(l1(1.0, leaves=["q"]), 1.0).init({"w": jnp.ones(2)})
    method = dual_averaging(l1(0.1), 1.0)
    params = jnp.ones(2, jnp.float32)
    with pytest.raises(ValueError, match="needs the parameters"):
        method.update(params, method.init(params))
    update, state = method.update(params, method.init(params), params)
    assert update.dtype == state.gradient_sum.dtype == jnp.float32
