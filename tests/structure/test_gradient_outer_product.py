"""The average gradient outer product in closed form."""

import jax.numpy as jnp
import numpy as np

from sparsejax.structure import average_gradient_outer_product, input_shares

RNG = np.random.default_rng(0)


def test_linear_maps():
    w = jnp.asarray(RNG.normal(size=(4, 2)))
    x = jnp.asarray(RNG.normal(size=(9, 4)))
    found = average_gradient_outer_product(lambda w, x: x @ w, w, x)
    np.testing.assert_allclose(found, w @ w.T, rtol=1e-12)


def test_products_of_coordinates():
    x = jnp.asarray(RNG.normal(size=(9, 3)))
    found = average_gradient_outer_product(lambda _, x: x[:, 0] * x[:, 1], None, x)
    np.testing.assert_allclose(found[0, 0], np.mean(x[:, 1] ** 2), rtol=1e-12)
    np.testing.assert_allclose(found[0, 1], np.mean(x[:, 0] * x[:, 1]), rtol=1e-12)
    assert found[2, 2] == 0
    shares = input_shares(lambda _, x: x[:, 0] * x[:, 1], None, x)
    np.testing.assert_allclose(shares.sum(), 1)
    assert shares[2] == 0
