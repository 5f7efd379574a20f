"""Cubature rules against closed-form means, and the weighted loss against them."""

import jax.numpy as jnp
import numpy as np
import pytest

import sparsejax as sj
from sparsejax import targets


@pytest.mark.parametrize(("dims", "points"), [(1, 5), (2, 25), (3, 130)])
def test_tensor_rules_are_exact_for_polynomials_of_their_degree_and_not_beyond(dims, points):
    rule = targets.uniform_cubature(dims, points)
    side = round(len(rule.weights) ** (1 / dims))
    assert side == 5
    assert np.isclose(rule.weights.sum(), 1, atol=1e-14)
    even = rule.nodes[:, -1] ** np.array([[2], [4], [8], [10]])
    exact = 1 / np.array([3, 5, 9, 11])
    off = np.abs(even @ rule.weights - exact)
    assert (off[:3] < 1e-14).all()
    assert off[3] > 1e-5
    product = np.prod(rule.nodes**2, axis=1)
    assert np.isclose(rule.weights @ product, 3.0**-dims, rtol=1e-13)


def test_sobol_rules_scramble_by_seed_and_beat_random_points():
    def mean(seed):
        rule = targets.uniform_cubature(5, 1000, seed)
        assert rule.nodes.shape == (512, 5) and rule.equal and not rule.exact
        return rule.weights @ np.prod(1 + rule.nodes / 2, axis=1)

    errors = np.array([mean(seed) - 1 for seed in range(20)])
    # Random points would have a standard error of sqrt((13/12)^5 - 1) / sqrt(512) = 0.031.
    assert 0 < np.sqrt(np.mean(errors**2)) < 0.01


def test_the_cube_is_all_of_it():
    rule = targets.cube_cubature(4)
    assert rule.exact and len({tuple(node) for node in rule.nodes}) == 16
    gram = rule.nodes.T * rule.weights @ rule.nodes
    assert np.array_equal(gram, np.eye(4))


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: targets.uniform_cubature(0, 8), "dims must be positive"),
        (lambda: targets.uniform_cubature(3, 7), "give 8 or more"),
        (lambda: targets.cube_cubature(17), "1 to 16 dimensions"),
    ],
)
def test_rules_that_cannot_be_are_refused(call, said):
    with pytest.raises(ValueError, match=said):
        call()


def test_the_weighted_loss_is_the_population_loss():
    rule = targets.uniform_cubature(2, 16)
    y = rule.nodes[:, :1] * rule.nodes[:, 1:]
    loss = sj.squared_loss(lambda w, x: w * x[:, :1] ** 2, rule.nodes, y, rule.weights)
    # E (w u^2 - u v)^2 = w^2 / 5 + 1 / 9.
    assert np.isclose(loss(jnp.asarray(0.5)), 0.25 / 5 + 1 / 9, rtol=1e-14)
    with pytest.raises(ValueError, match="minibatches need equal weights"):
        loss.restrict(jnp.arange(3))
    for weights in (np.full(16, 1 / 8), np.full(15, 1 / 15), -rule.weights):
        with pytest.raises(ValueError, match="weights"):
            sj.squared_loss(lambda w, x: w * x[:, :1], rule.nodes, y, weights)
