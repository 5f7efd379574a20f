"""Bound 2.7 on ensembles of real SGD: exact on quadratics, and where it does not speak."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import sparsejax as sj
from sparsejax.bounds import compare, stochastic_descent

RNG = np.random.default_rng(0)
KEYS = jax.random.split(jax.random.key(0), 400)
Y = RNG.normal(size=8)
X, T = RNG.uniform(-1, 1, (8, 2)), RNG.normal(size=8)
NETWORK = sj.squared_loss(
    lambda p, x: jnp.tanh(x @ p["in"]) @ p["out"], jnp.asarray(X), jnp.asarray(T)
)
START = {"in": jnp.asarray(RNG.normal(size=(2, 6))), "out": jnp.asarray(RNG.normal(size=6))}


@functools.partial(jax.jit, static_argnames="law")
def _ensemble(eta, law):
    def one(key):
        return sj.sgd(NETWORK, START, optax.sgd(eta), 20, key=key, batch_size=2, sampling=law)

    return jax.vmap(one)(KEYS)


@functools.cache
def network_runs(law="replacement", eta=0.15):
    return _ensemble(jnp.asarray(eta), law)


@pytest.fixture(scope="module")
def bound():
    return stochastic_descent(NETWORK, network_runs())


def test_it_holds_and_says_something(bound):
    runs = network_runs()
    verdict = compare(bound, runs)
    assert verdict.status == "holds", verdict
    assert not bound.vacuous and len(bound.ts) == 21
    assert verdict.error_budget["sampling"] > 0 == verdict.error_budget["integrator"]
    np.testing.assert_allclose(bound.measured, np.mean(runs.losses, axis=0), rtol=1e-12)
    assert bound.values[-1] < 0.9 * bound.initial
    # The noise is what carries the difference from plain descent.
    assert (bound.details["noise_variance"] > 0.1 * bound.details["squared_gradients"]).all()


@pytest.mark.parametrize("law, factor", [("replacement", 1.0), ("subsets", 6 / 7)])
def test_on_a_quadratic_in_one_direction_it_is_an_equality(law, factor):
    # L = mean (w - y)^2: curvature 2, noise of a batch of two 4 var(y) / 2, times (n - b)/(n - 1)
    # where its samples are distinct. Nothing is lost, so the slack is sampling error alone.
    loss = sj.squared_loss(lambda w, x: x @ w, jnp.ones((8, 1)), jnp.asarray(Y))

    @jax.jit
    @jax.vmap
    def ends(key):
        return sj.sgd(
            loss, jnp.array([3.0]), optax.sgd(0.1), 12, key=key, batch_size=2, sampling=law
        )

    runs = ends(jax.random.split(jax.random.key(1), 400))
    bound = stochastic_descent(loss, runs)
    np.testing.assert_allclose(bound.details["beta"], 2, rtol=1e-9)
    expected = 4 * np.var(Y) / 2 * factor
    measured = bound.details["noise_variance"]
    np.testing.assert_allclose(measured, expected, rtol=0.4)
    np.testing.assert_allclose(measured.mean(), expected, rtol=0.08)
    # E L_{k+1} in closed form, the variance of w included.
    second, curve = (3 - Y.mean()) ** 2, []
    for _ in range(13):
        curve.append(second + np.var(Y))
        second = 0.64 * second + 0.01 * expected
    assert (np.abs(bound.measured - bound.values) <= bound.sampling_error + 1e-12).all()
    np.testing.assert_allclose(bound.values, curve, atol=4 * np.max(bound.sampling_error) + 0.02)
    assert compare(bound, runs).status == "inconclusive"


def test_runs_of_which_it_does_not_speak(bound):
    runs = network_runs()
    epochs = compare(stochastic_descent(NETWORK, network_runs("epochs")), network_runs("epochs"))
    assert epochs.status == "not_applicable" and "within an epoch" in epochs.reason
    skipping = dataclasses.replace(runs, counts=runs.counts | {"steps": runs.counts["steps"] * 2})
    verdict = compare(stochastic_descent(NETWORK, skipping), skipping)
    assert verdict.status == "not_applicable" and "every step was saved" in verdict.reason
    bent = dataclasses.replace(runs, path_lengths=1.1 * runs.path_lengths)
    assert "sampled gradient" in compare(stochastic_descent(NETWORK, bent), bent).reason


def test_a_step_that_is_too_large_is_named_and_ends_the_promise():
    runs = network_runs(eta=1.2)
    bound = stochastic_descent(NETWORK, runs)
    verdict = compare(bound, runs)
    assert verdict.status == "not_applicable"
    step = bound.details["stopped_at_step"]
    beta = bound.details["beta"]
    assert 1.2 * beta[step] >= 2 and (1.2 * beta[:step] < 2).all()
    assert f"step {step} has eta beta" in verdict.reason or "stays finite" in verdict.reason
    assert len(bound.ts) == step + 1


def test_a_lowered_bound_is_violated(bound):
    lowered = dataclasses.replace(bound, values=0.5 * bound.measured)
    assert compare(lowered, network_runs()).status == "violated"


def test_bad_input_is_refused(bound):
    runs = network_runs()
    with pytest.raises(ValueError, match="confidence must lie"):
        stochastic_descent(NETWORK, runs, confidence=1.0)
    single = jax.tree.map(lambda leaf: leaf[0], runs)
    with pytest.raises(ValueError, match="leading axis of at least two runs"):
        stochastic_descent(NETWORK, single)
