"""Losses against their formulas, on whole data and on batches; bad data named before compute."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sparsejax as sj
from sparsejax.dynamics import modified_loss

RNG = np.random.default_rng(0)


def linear(w, x):
    return x @ w


def test_squared_loss_sums_over_outputs_and_averages_over_samples():
    x, w, y = RNG.normal(size=(5, 3)), RNG.normal(size=(3, 2)), RNG.normal(size=(5, 2))
    loss = sj.squared_loss(linear, jnp.asarray(x), jnp.asarray(y))
    expected = sum(np.linalg.norm(x[n] @ w - y[n]) ** 2 for n in range(5)) / 5
    assert loss.samples == 5
    np.testing.assert_allclose(loss(jnp.asarray(w)), expected, rtol=1e-14)
    gradient = 2 * x.T @ (x @ w - y) / 5
    np.testing.assert_allclose(jax.grad(loss)(jnp.asarray(w)), gradient, rtol=1e-12)


def test_logistic_loss_and_its_stability_at_large_margins():
    x, w = RNG.normal(size=(6, 3)), RNG.normal(size=3)
    labels = np.array([1.0, -1, -1, 1, 1, -1])
    loss = sj.logistic_loss(linear, jnp.asarray(x), jnp.asarray(labels))
    np.testing.assert_allclose(
        loss(jnp.asarray(w)), np.mean(np.log1p(np.exp(-labels * (x @ w)))), rtol=1e-14
    )
    far = 1e4 * w
    expected = np.mean(np.maximum(-labels * (x @ far), 0))
    np.testing.assert_allclose(loss(jnp.asarray(far)), expected, rtol=1e-6)
    assert np.isfinite(jax.grad(loss)(jnp.asarray(far))).all()


def test_restrict_is_the_loss_of_those_samples_of_a_pytree_of_data():
    def f(w, x):
        return x["a"] @ w + x["b"]

    x = {"a": jnp.asarray(RNG.normal(size=(5, 3))), "b": jnp.asarray(RNG.normal(size=5))}
    y, w = jnp.asarray(RNG.normal(size=5)), jnp.asarray(RNG.normal(size=3))
    loss, index = sj.squared_loss(f, x, y), jnp.array([4, 1])
    batch = loss.restrict(index)
    assert batch.samples == 2
    expected = np.mean(np.square(np.asarray(f(w, x) - y))[np.asarray(index)])
    np.testing.assert_allclose(batch(w), expected, rtol=1e-14)
    # The mean of the batches of a partition is the whole.
    parts = [loss.restrict(jnp.array(i))(w) * len(i) for i in ([0, 2], [1, 3, 4])]
    np.testing.assert_allclose(sum(parts) / 5, loss(w), rtol=1e-14)


def test_one_output_meets_targets_with_and_without_its_axis():
    x, w = jnp.asarray(RNG.normal(size=(4, 3))), jnp.asarray(RNG.normal(size=(3, 1)))
    y = jnp.asarray(RNG.normal(size=4))
    flat, column = sj.squared_loss(linear, x, y), sj.squared_loss(linear, x, y[:, None])
    np.testing.assert_allclose(flat(w), column(w), rtol=1e-14)
    # (4, 1) against (4,) would broadcast to (4, 4) where nobody looks.
    with pytest.raises(ValueError, match=r"outputs of shape \(4,\), targets have \(4, 1\)"):
        sj.squared_loss(linear, x, y[:, None])(w[:, 0])


def test_integer_targets_and_labels_serve():
    x, w = jnp.asarray(RNG.normal(size=(2, 3))), jnp.asarray(RNG.normal(size=3))
    whole = sj.squared_loss(linear, x, np.array([3, -1]))(w)
    np.testing.assert_allclose(whole, np.mean((np.asarray(x @ w) - [3, -1]) ** 2))
    labelled = sj.logistic_loss(linear, x, np.array([1, -1]))(w)
    np.testing.assert_allclose(labelled, np.mean(np.log1p(np.exp(np.asarray(x @ w) * [-1, 1]))))
    assert (
        sj.squared_loss(linear, x.astype(jnp.float32), np.ones(2))(w.astype(jnp.float32)).dtype
        == jnp.float32
    )


@pytest.mark.parametrize(
    "x, y, message",
    [
        (np.ones((3, 2)), np.ones(4), "x has 3 samples but targets has 4"),
        ({"a": np.ones((4, 2)), "b": np.ones(3)}, np.ones(4), "x has 3 samples but targets has 4"),
        (np.ones((0, 2)), np.ones(0), "no samples"),
        (np.ones((3, 2)), np.array(1.0), "leading axis"),
        (np.array([[1.0], [np.nan]]), np.ones(2), r"x is not finite at index \(1, 0\)"),
        ({"a": np.array([np.inf, 1])}, np.ones(2), r"x\['a'\] is not finite at index \(0,\)"),
        (np.ones((2, 1)), np.array([1, np.nan]), r"targets is not finite at index \(1,\)"),
    ],
)
def test_bad_data_are_named(x, y, message):
    with pytest.raises(ValueError, match=message):
        sj.squared_loss(linear, x, y)


def test_labels_other_than_plus_and_minus_one_are_refused():
    with pytest.raises(ValueError, match="labels must be -1 or"):
        sj.logistic_loss(linear, np.ones((2, 1)), np.array([0.0, 1.0]))


def test_modified_loss_of_a_quadratic():
    h = np.diag([1.0, 3.0])
    loss = modified_loss(lambda w: 0.5 * w @ jnp.asarray(h) @ w, 0.3)
    w = np.array([2.0, -1.0])
    expected = 0.5 * w @ h @ w + 0.3 / 4 * w @ h @ h @ w
    np.testing.assert_allclose(loss(jnp.asarray(w)), expected, rtol=1e-14)
    for eta in (-0.1, np.nan):
        with pytest.raises(ValueError, match="step size"):
            modified_loss(loss, eta)
