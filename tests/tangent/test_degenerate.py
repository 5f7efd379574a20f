"""Singular, broken and oddly shaped problems: the right number, or a name for what is wrong."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sparsejax as sj
from sparsejax import tangent
from sparsejax.tangent import convex_tangent_constant

X = jnp.array([[1.0, 2.0], [3.0, 4.0], [5.0, 6.0], [7.0, 9.0]])
WEIGHTS = jnp.array([1.0, -1.0])
START = jnp.zeros(2)


def linear(w, x):
    return x @ w


def broken(w, x):
    return (x @ w) * jnp.nan


def kinked(w, x):
    """Finite, with a Jacobian that is not."""
    return jnp.sqrt(jnp.abs(x @ w))


@pytest.mark.parametrize("points", [X, X[jnp.array([0, 1, 1, 0])]])
def test_zero_loss_is_within_reach_of_a_singular_kernel(points):
    """Fewer weights than samples, or samples twice: what rounding leaves of the loss is none."""
    found = sj.tangent_constant(linear, START, points, points @ WEIGHTS, 0.0)
    np.testing.assert_allclose(found, np.sqrt(2), rtol=1e-10)
    # Targets that are out of reach stay so.
    far = sj.tangent_constant(linear, START, points, points @ WEIGHTS + jnp.arange(4.0) ** 2, 0.0)
    assert far == np.inf


@pytest.mark.slow
def test_a_network_that_is_not_finite_is_nan_and_not_zero_or_infinite():
    key = jax.random.key(0)
    targets = X @ WEIGHTS
    for f in (broken, kinked):
        loss = sj.squared_loss(f, X, targets)
        assert np.isnan(sj.tangent_constant(f, START, X, targets, 0.1))
        assert np.isnan(convex_tangent_constant(loss, START, 0.1))
        assert np.isnan(tangent.log_determinant(f, START, X, 1.0, key).value)
        assert np.isnan(tangent.spectral_density(f, START, X, key).moment(1).value)
    assert np.isnan(tangent.effective_rank(jnp.array([1.0, jnp.nan]), "entropy"))
    for definition in ("trace", "participation", "entropy"):
        assert np.isnan(tangent.effective_rank(jnp.zeros(3), definition))


class Huber(eqx.Module):
    """Convex, and without curvature for residuals beyond one."""

    x: jax.Array
    targets: jax.Array

    def f(self, w, x):
        return linear(w, x)

    def of_outputs(self, outputs):
        size = jnp.abs(outputs - self.targets)
        return jnp.mean(jnp.where(size < 1, size**2 / 2, size - 0.5))


@pytest.mark.parametrize("fraction", [1e-3, 0.3])
def test_a_step_that_is_not_proved_the_shortest_is_not_given(fraction):
    """With kinks in the curvature Newton may fail: then NaN, never a wrong constant or infinity."""
    loss = Huber(X, 10 * (X @ WEIGHTS))
    eps = fraction * float(loss.of_outputs(linear(START, X)))
    found = float(convex_tangent_constant(loss, START, eps))
    # Along the straight way to the solution the loss falls from one side of eps to the other.
    there = 10 * np.sqrt(2)
    assert np.isnan(found) or 0 < found <= there


@pytest.mark.slow
def test_integer_targets_and_levels_that_are_no_integers():
    targets = np.array([1, 2, 3, 4])
    probe = tangent.KernelProbe(linear, X, targets, top=1, eps=[0.25])
    wanted = sj.tangent_constant(linear, START, X, targets, 0.25)
    assert 0 < wanted < np.inf
    np.testing.assert_allclose(probe(0.0, START).kappas[0], wanted, rtol=1e-12)


def test_blocks_are_no_larger_than_what_fills_them():
    def temporaries(chunk):
        kernel = jax.jit(lambda w: sj.ntk(linear, w, X, X[:3], chunk=chunk))
        return kernel.lower(START).compile().memory_analysis().temp_size_in_bytes

    assert temporaries(4000) == temporaries(4)
    np.testing.assert_allclose(sj.ntk(linear, START, X, X[:3], chunk=4000), X @ X[:3].T)


def test_refused():
    y = X @ WEIGHTS
    with pytest.raises(ValueError, match="eps is one number"):
        sj.tangent_constant(linear, START, X, y, jnp.array([0.4, 0.3, 0.2, 0.1]))
    with pytest.raises(ValueError, match="no entries"):
        sj.ntk(lambda p, x: x, {}, X)
    with pytest.raises(ValueError, match="not a row for each"):
        sj.ntk(lambda w, x: jnp.mean(x @ w), START, X)
    with pytest.raises(ValueError, match="one array of outputs"):
        sj.tangent_constant(lambda w, x: {"y": x @ w}, START, X, y, 0.1)
    with pytest.raises(ValueError, match="must not be zero"):
        tangent.extreme_eigenvalues(linear, START, X, start=jnp.zeros(4))
