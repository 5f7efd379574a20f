"""Stochastic descent against hand-written loops on the same draws, and the laws of the draws."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import sparsejax as sj
from sparsejax.dynamics.sampling import checked_sampling, minibatch_indices

RNG = np.random.default_rng(0)
A, Y = RNG.normal(size=(12, 3)), RNG.normal(size=12)
START = jnp.asarray(RNG.normal(size=3))
LOSS = sj.squared_loss(lambda w, x: x @ w, jnp.asarray(A), jnp.asarray(Y))
KEY, ETA, STEPS = jax.random.key(3), 0.03, 12
METHOD = optax.sgd(ETA)


@functools.partial(jax.jit, static_argnames=("count", "samples", "size", "law"))
def batches_of(count, samples, size, law):
    return jax.vmap(lambda k: minibatch_indices(KEY, k, samples, size, law=law))(jnp.arange(count))


def loop(data):
    """Plain descent in NumPy on the data `(a, y)` of each step."""
    w, path = np.asarray(START), [np.asarray(START)]
    for a, y in data:
        w = w - ETA * 2 * a.T @ (a @ w - y) / len(y)
        path.append(w)
    return np.array(path)


def generator(key, step):
    x = jax.random.normal(key, (5, 3))
    return x, x @ jnp.array([1.0, -2.0, 0.5]) + step.astype(x.dtype)


@pytest.mark.parametrize("law", ["epochs", "subsets", "replacement"])
def test_descent_is_the_hand_written_loop_on_its_batches(law):
    rows = np.asarray(batches_of(STEPS, 12, 4, law))
    expected = loop([(A[r], Y[r]) for r in rows])
    for every in (1, 6) if law == "epochs" else (6,):  # what is saved changes nothing
        run = sj.sgd(
            LOSS, START, METHOD, STEPS, key=KEY, batch_size=4, sampling=law, save_every=every
        )
        np.testing.assert_allclose(run.params, expected[::every], rtol=1e-10)
        np.testing.assert_allclose(
            run.losses, np.mean((A @ expected[::every].T - Y[:, None]) ** 2, axis=0), rtol=1e-10
        )
    assert run.stats["sampling"] == law
    assert run.stats["independent_batches"] is (law != "epochs")
    if law == "epochs":
        plain = sj.gradient_descent(LOSS, START, METHOD, STEPS, batch_size=4, key=KEY, save_every=6)
        np.testing.assert_array_equal(plain.params, run.params)


def test_the_laws_of_the_batches():
    subsets, drawn = (np.asarray(batches_of(3000, 6, 3, law)) for law in ("subsets", "replacement"))
    assert all(len(set(row)) == 3 for row in subsets.tolist())
    # Three draws with replacement from six are distinct with probability 5/6 * 4/6.
    distinct = np.mean([len(set(row)) == 3 for row in drawn.tolist()])
    assert abs(distinct - 20 / 36) < 4 * np.sqrt(20 / 36 * 16 / 36 / 3000)
    for batches in (subsets, drawn):
        counts = np.bincount(batches.ravel(), minlength=6) / batches.size
        assert np.abs(counts - 1 / 6).max() < 4 * np.sqrt(1 / 6 / batches.size)
        # Nothing carries over from one step to the next.
        indicator = (batches == 0).any(axis=1)
        assert abs(np.corrcoef(indicator[1:], indicator[:-1])[0, 1]) < 4 / np.sqrt(3000)


def test_fresh_samples_come_from_the_generator():
    drawn = [generator(jax.random.fold_in(KEY, k), jnp.int32(k)) for k in range(STEPS)]
    expected = loop([(np.asarray(x), np.asarray(y)) for x, y in drawn])
    run = sj.sgd(LOSS, START, METHOD, STEPS, key=KEY, generator=generator, save_every=3)
    np.testing.assert_allclose(run.params, expected[::3], rtol=1e-10)
    # The loss that is recorded is that of the data at hand, not of the fresh ones.
    np.testing.assert_allclose(run.losses[-1], np.mean((A @ expected[-1] - Y) ** 2), rtol=1e-10)
    assert run.stats["sampling"] == "fresh samples" and run.stats["batch_size"] is None


def test_label_noise_is_what_it_adds():
    # With x = 1 and one weight, a step averages the noise of its batch: w' = w - 2 eta (w - mean).
    x, y, scale, eta = jnp.ones((4, 1)), jnp.zeros(4), 0.7, 0.25
    loss = sj.squared_loss(lambda w, x: x @ w, x, y)

    @jax.jit
    @jax.vmap
    def ends(key):
        return sj.sgd(
            loss, jnp.zeros(1), optax.sgd(eta), 2, key=key, batch_size=2, label_noise=scale
        ).params[:, 0]

    w = np.asarray(ends(jax.random.split(KEY, 4000)))
    first, second = w[:, 1] / (2 * eta), (w[:, 2] - (1 - 2 * eta) * w[:, 1]) / (2 * eta)
    for mean in (first, second):
        assert abs(mean.mean()) < 4 * scale / np.sqrt(2 * 4000)
        np.testing.assert_allclose(mean.std(), scale / np.sqrt(2), rtol=4 / np.sqrt(2 * 4000))
    assert abs(np.corrcoef(first, second)[0, 1]) < 4 / np.sqrt(4000)
    # The noise of the labels is a stream of its own: the batches stay what the key says.
    quiet = checked_sampling(LOSS, KEY, 4, "epochs", None, 0.0)
    noisy = checked_sampling(LOSS, KEY, 4, "epochs", None, 1e-12)
    base = jax.random.split(KEY)[0]
    np.testing.assert_array_equal(
        noisy.at_step(LOSS, KEY, jnp.int32(1)).x, quiet.at_step(LOSS, base, jnp.int32(1)).x
    )


def test_an_ensemble_is_one_program_and_each_lane_its_own_run():
    keys = jax.random.split(KEY, 3)

    def one(key):
        return sj.sgd(LOSS, START, METHOD, STEPS, key=key, batch_size=4, save_every=6)

    runs = jax.vmap(one)(keys)
    assert runs.losses.shape == (3, 3) and list(runs.status) == ["completed"] * 3
    np.testing.assert_allclose(runs.params[1], one(keys[1]).params, rtol=1e-12)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"batch_size": 13}, r"lie in \[1, 12\], got 13"),
        ({"batch_size": 4, "label_noise": -0.1}, "standard deviation, got -0.1"),
        ({"batch_size": 4, "generator": generator}, "leave batch_size out"),
        ({"generator": lambda key, step: jnp.ones((5, 3))}, "must return a pair"),
        ({"generator": lambda key, step: (jnp.ones((5, 2)), jnp.ones(5))}, r"shapes \(\(2,\), "),
        ({"generator": lambda key, step: (jnp.ones((5, 3)), jnp.ones(4))}, r"numbers.*\[4, 5\]"),
    ],
)
def test_bad_input_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        sj.sgd(LOSS, START, METHOD, 2, key=KEY, **options)


def test_label_noise_needs_targets_and_sampling_a_known_law():
    logistic = sj.logistic_loss(lambda w, x: x @ w, jnp.asarray(A), jnp.sign(jnp.asarray(Y)))
    with pytest.raises(ValueError, match="needs a squared loss"):
        sj.sgd(logistic, START, METHOD, 2, key=KEY, label_noise=0.1)
    with pytest.raises(ValueError, match="epochs, subsets, replacement, not 'stratified'"):
        checked_sampling(LOSS, KEY, 4, "stratified")
