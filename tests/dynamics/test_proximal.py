"""Proximal steps against their definition as minimisers, and ISTA against the lasso."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest
import scipy.optimize
from sklearn.linear_model import Lasso

import sparsejax as sj
from sparsejax.dynamics import (
    proximal,
    proximal_group_lasso,
    proximal_l1,
    proximal_non_negative,
)

RNG = np.random.default_rng(0)
PARAMS = {
    "w": jnp.asarray(RNG.normal(size=(4, 2, 3))),
    "b": jnp.asarray(RNG.normal(size=2)),
    "free": jnp.asarray(RNG.normal(size=3)),
}
UPDATE = jax.tree.map(lambda leaf: jnp.asarray(0.1 * RNG.normal(size=leaf.shape)), PARAMS)


def stepped(method):
    update, _ = method.update(UPDATE, method.init(PARAMS), PARAMS)
    return optax.apply_updates(PARAMS, update), optax.apply_updates(PARAMS, UPDATE)


def minimiser(penalty, v, step):
    """`argmin penalty(u) + ||u - v||^2 / (2 step)` by a method that knows nothing of it."""
    v = np.asarray(v).ravel()
    return scipy.optimize.minimize(
        lambda u: penalty(u) + np.sum((u - v) ** 2) / (2 * step),
        v,
        method="Nelder-Mead",
        options={"xatol": 1e-9, "fatol": 1e-14, "maxiter": 20000, "maxfev": 20000},
    ).x


def test_soft_thresholding_minimises_and_names_its_leaves():
    new, old = stepped(proximal_l1(0.8, 0.5, leaves=["b"]))
    expected = minimiser(lambda u: 0.8 * np.abs(u).sum(), old["b"], 0.5)
    np.testing.assert_allclose(new["b"], expected, atol=1e-7)
    for name in ("w", "free"):
        np.testing.assert_allclose(new[name], old[name], rtol=1e-14)
    everywhere, _ = stepped(proximal_l1(0.8, 0.5))
    for name in PARAMS:
        v = np.asarray(old[name])
        np.testing.assert_allclose(
            everywhere[name], np.sign(v) * np.maximum(np.abs(v) - 0.4, 0), atol=1e-15
        )
        np.testing.assert_array_equal(np.asarray(everywhere[name])[np.abs(v) < 0.4], 0.0)


def test_groups_run_across_leaves_and_shrink_together():
    # Group j: all of w[:, j, :] with b[j]; seven entries, so the penalty weighs sqrt(7).
    strength, step = 0.4, 0.5
    new, old = stepped(proximal_group_lasso(strength, step, {"w": 1, "b": 0}))
    for j in range(2):
        v = np.append(np.asarray(old["w"])[:, j].ravel(), old["b"][j])
        expected = max(0, 1 - step * strength * np.sqrt(13) / np.linalg.norm(v)) * v
        got = np.append(np.asarray(new["w"])[:, j].ravel(), new["b"][j])
        np.testing.assert_allclose(got, expected, rtol=1e-12)
    np.testing.assert_allclose(new["free"], old["free"], rtol=1e-14)


def test_the_group_step_minimises_its_penalty():
    new, old = stepped(proximal_group_lasso(0.7, 0.5, {"free": ()}, size_weighted=False))
    expected = minimiser(lambda u: 0.7 * np.linalg.norm(u), old["free"], 0.5)
    np.testing.assert_allclose(new["free"], expected, atol=1e-6)
    # Two axes that number the groups; a group that is small enough becomes exactly zero.
    new, old = stepped(proximal_group_lasso(2.0, 0.5, {"w": (0, 2)}, size_weighted=False))
    v = np.asarray(old["w"])
    norms = np.linalg.norm(v, axis=1, keepdims=True)
    np.testing.assert_allclose(new["w"], np.maximum(0, 1 - 1 / norms) * v, rtol=1e-12, atol=1e-15)
    assert (np.asarray(new["w"])[np.broadcast_to(norms < 1, v.shape)] == 0).all()
    single, _ = stepped(proximal_group_lasso(0.8, 0.5, {"b": 0}))
    np.testing.assert_allclose(single["b"], stepped(proximal_l1(0.8, 0.5))[0]["b"], rtol=1e-12)


def test_non_negativity_is_optax_own_projection():
    new, _ = stepped(proximal_non_negative(0.5))
    theirs, _ = stepped(optax.keep_params_nonnegative())
    # Theirs cuts at zero the same way, but starts from parameters that are not negative already.
    inside = jax.tree.map(jnp.abs, PARAMS)
    for method in (proximal_non_negative(0.5), optax.keep_params_nonnegative()):
        update, _ = method.update(UPDATE, method.init(inside), inside)
        theirs = optax.apply_updates(inside, update)
        expected = jax.tree.map(lambda p, u: np.maximum(p + u, 0), inside, UPDATE)
        jax.tree.map(lambda a, b: np.testing.assert_allclose(a, b, atol=1e-15), theirs, expected)
    assert all((np.asarray(leaf) >= 0).all() for leaf in new.values())


A = RNG.normal(size=(30, 8))
Y = A @ np.array([2.0, -1.0, 0, 0, 0, 0, 1.5, 0]) + 0.3 * RNG.normal(size=30)
LOSS = sj.squared_loss(lambda w, x: x @ w, jnp.asarray(A), jnp.asarray(Y))


@pytest.mark.parametrize("non_negative", [False, True])
def test_ista_converges_to_the_lasso(non_negative):
    strength, eta = 0.6, 0.2
    steps = [optax.sgd(eta), proximal_l1(strength, eta)]
    if non_negative:
        steps.append(proximal_non_negative(eta))
    run = sj.gradient_descent(LOSS, jnp.ones(8), optax.chain(*steps), 400, save_every=100)
    # scikit-learn minimises ||y - A w||^2 / (2 n) + alpha |w|: half of ours.
    oracle = Lasso(alpha=strength / 2, fit_intercept=False, tol=1e-12, positive=non_negative)
    expected = oracle.fit(A, Y).coef_
    np.testing.assert_allclose(run.final, expected, atol=1e-8)
    assert 0 < (expected == 0).sum() < 8
    np.testing.assert_array_equal(np.asarray(run.final) == 0, expected == 0)
    # Time goes on at rest, where the gradient of the smooth part does not vanish.
    np.testing.assert_allclose(run.ts, 100 * eta * np.arange(5))
    assert float(run.grad_norms[-1]) > 0.1


def test_the_group_lasso_satisfies_its_optimality_conditions():
    strength, eta, groups = 1.2, 0.2, {"u": (), "v": (), "z": ()}
    parts = {"u": slice(0, 2), "v": slice(2, 6), "z": slice(6, 8)}

    def f(p, x):
        return x @ jnp.concatenate([p["u"], p["v"], p["z"]])

    loss = sj.squared_loss(f, jnp.asarray(A), jnp.asarray(Y))
    start = {name: jnp.ones(8)[part] for name, part in parts.items()}
    # Three families, one a leaf: chained, since they share nothing.
    chain = optax.chain(
        optax.sgd(eta), *(proximal_group_lasso(strength, eta, {name: ()}) for name in groups)
    )
    w = sj.gradient_descent(loss, start, chain, 500, save_every=500).final
    gradient = 2 * A.T @ (A @ np.concatenate([w[n] for n in groups]) - Y) / 30
    zero = []
    for name, part in parts.items():
        bound = strength * np.sqrt(len(w[name]))
        norm = np.linalg.norm(w[name])
        zero.append(norm == 0)
        if norm == 0:
            assert np.linalg.norm(gradient[part]) <= bound * (1 + 1e-9)
        else:
            np.testing.assert_allclose(gradient[part], -bound * w[name] / norm, atol=1e-7)
    assert zero == [False, True, False]


def test_schedules_and_step_sizes_as_data():
    def schedule(count):
        return 0.2 / (1.0 + count.astype(float))

    chain = optax.chain(optax.sgd(schedule), proximal_l1(0.6, schedule))
    run = sj.gradient_descent(LOSS, jnp.ones(8), chain, 5)
    w = np.ones(8)
    for k in range(5):
        eta = 0.2 / (1 + k)
        w = w - eta * 2 * A.T @ (A @ w - Y) / 30
        w = np.sign(w) * np.maximum(np.abs(w) - eta * 0.6, 0)
    np.testing.assert_allclose(run.final, w, rtol=1e-10)
    np.testing.assert_allclose(np.diff(run.ts), 0.2 / np.arange(1, 6))

    @jax.jit
    def end(strength):
        chain = optax.chain(optax.sgd(0.2), proximal_l1(strength, 0.2))
        return sj.gradient_descent(LOSS, jnp.ones(8), chain, 20, save_every=20).final

    assert np.sum(np.asarray(end(jnp.asarray(2.0))) == 0) > np.sum(np.asarray(end(0.01)) == 0)


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match="no leaf 'q'; the parameters have b, free, w"):
        proximal_l1(1.0, 0.1, leaves=["q"]).init(PARAMS)
    with pytest.raises(ValueError, match="name at least one leaf"):
        proximal_group_lasso(1.0, 0.1, {})
    with pytest.raises(ValueError, match="leaf 'b' has 1 axes: there is no axis 1"):
        proximal_group_lasso(1.0, 0.1, {"b": 1}).init(PARAMS)
    with pytest.raises(ValueError, match="do not match in number"):
        proximal_group_lasso(1.0, 0.1, {"w": 0, "b": 0}).init(PARAMS)
    method = proximal(lambda v, s: v, 0.1)
    with pytest.raises(ValueError, match="needs the parameters"):
        method.update(UPDATE, method.init(PARAMS))


def test_float32_stays_float32():
    params = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), PARAMS)
    update = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), UPDATE)
    for method in (proximal_l1(0.1, 0.5), proximal_group_lasso(0.1, 0.5, {"w": 1, "b": 0})):
        moved, _ = method.update(update, method.init(params), params)
        assert {leaf.dtype for leaf in jax.tree.leaves(moved)} == {jnp.dtype("float32")}
