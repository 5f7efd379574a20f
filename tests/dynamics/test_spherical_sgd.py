"""Steps on a sphere stay there, and see the tangential part of a gradient alone."""

import jax.numpy as jnp
import numpy as np
import optax
import pytest

from sparsejax.dynamics import spherical_sgd


def test_radius_and_tangent():
    rng = np.random.default_rng(0)
    params = {"u": jnp.asarray(rng.normal(size=5)), "v": jnp.asarray(rng.normal(size=(2, 3)))}
    gradients = {"u": jnp.asarray(rng.normal(size=5)), "v": 7.0 * params["v"]}
    descent = spherical_sgd(1e-3)
    updates, _ = descent.update(gradients, descent.init(params), params)
    moved = optax.apply_updates(params, updates)
    for name in params:
        np.testing.assert_allclose(
            np.linalg.norm(moved[name]), np.linalg.norm(params[name]), rtol=1e-12
        )
    # A radial gradient moves nothing; to first order the step is the tangential part.
    np.testing.assert_allclose(np.asarray(moved["v"]), np.asarray(params["v"]), atol=1e-12)
    u, g = (np.asarray(tree["u"]) for tree in (params, gradients))
    tangent = g - (g @ u) / (u @ u) * u
    np.testing.assert_allclose(np.asarray(updates["u"]), -1e-3 * tangent, atol=1e-5)


def test_a_large_step_leaves_the_radial_part_out():
    w, descent = jnp.array([1.0, 0.0]), spherical_sgd(1.0)
    updates, _ = descent.update(jnp.array([5.0, -1.0]), descent.init(w), w)
    np.testing.assert_allclose(np.asarray(w + updates), [0.5**0.5, 0.5**0.5])


def test_zero_stays_and_bad_input_is_refused():
    zero = jnp.zeros(3)
    descent = spherical_sgd(0.5)
    updates, _ = descent.update(zero, descent.init(zero), zero)
    np.testing.assert_array_equal(np.asarray(updates), np.zeros(3))
    with pytest.raises(ValueError, match="step_size must be positive"):
        spherical_sgd(0.0)
    with pytest.raises(ValueError, match="needs the parameters"):
        descent.update(zero, descent.init(zero))
