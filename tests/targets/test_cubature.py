"""Cubature rules against closed-form means, and the weighted loss against them."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import sparsejax as sj
from sparsejax import targets
from sparsejax.dynamics import stochastic_modified_flow
from sparsejax.dynamics.sampling import LabelNoise, WholeData


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


def linear(w, x):
    return x @ w


def test_weighted_nodes_are_never_taken_for_a_sample_of_equal_weights():
    rule = targets.uniform_cubature(1, 4)
    x, y = jnp.asarray(rule.nodes), jnp.array([[1.0], [-1.0], [1.0], [1.0]])
    f, start, key = linear, jnp.zeros((1, 1)), jax.random.key(0)
    loss = sj.squared_loss(f, x, y, rule.weights)
    other, zero = sj.squared_loss(f, x, y), jnp.zeros((1, 1))
    # As many fresh samples as there are nodes: they are equal.
    fresh = loss.with_data(other.x, other.targets)
    assert fresh(zero + 1) == other(zero + 1) != loss(zero + 1)
    # Noise on the labels changes labels alone.
    noisy = LabelNoise(WholeData(), jnp.asarray(0.0)).at_step(loss, key, jnp.asarray(0))
    assert noisy(zero + 1) == loss(zero + 1)
    for refused in (sj.sgd, stochastic_modified_flow):
        step = optax.sgd(0.1) if refused is sj.sgd else 0.1
        with pytest.raises(ValueError, match="minibatches need equal weights"):
            refused(loss, start, step, 2, key=key, batch_size=2)
    # At the start, where outputs are zero and targets +1 and -1, both losses are 1.
    flow = sj.gradient_flow(loss, start, 2.0, saveat=np.linspace(0, 2, 9), solver="rk4", dt=0.05)
    assert loss(start) == pytest.approx(float(other(start)), rel=1e-15)
    for bound in (
        sj.bounds.tangent(f, flow, x, y, 0.95),
        sj.bounds.rayleigh(f, flow, x, y),
    ):
        (unmet,) = [h for h in bound.hypotheses if not h.met]
        assert "at the end, loss from the data" in unmet.detail


@pytest.mark.slow
def test_the_tangent_bound_of_a_weighted_loss_is_that_of_rescaled_residuals():
    rule = targets.uniform_cubature(1, 4)
    f, x, y = linear, jnp.asarray(rule.nodes), jnp.array([[1.0], [-1.0], [1.0], [1.0]])
    loss = sj.squared_loss(f, x, y, rule.weights)
    flow = sj.gradient_flow(loss, jnp.zeros((1, 1)), 2.0, saveat=np.linspace(0, 2, 9))
    root = jnp.sqrt(len(x) * rule.weights)[:, None]
    rescaled = sj.bounds.tangent(f, flow, root * x, root * y, 0.9)
    weighted = sj.bounds.tangent(f, flow, x, y, 0.9, loss=loss)
    assert sj.bounds.compare(weighted, flow).status == "holds"
    np.testing.assert_allclose(weighted.values, rescaled.values, rtol=2e-3)
