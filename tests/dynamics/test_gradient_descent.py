"""Discrete methods against hand-written loops, exact rates and known thresholds."""

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import sparsejax as sj
from sparsejax.dynamics.sampling import minibatch_indices
from sparsejax.dynamics.sharpness import sharpness

RNG = np.random.default_rng(0)
A, Y = RNG.normal(size=(12, 3)), RNG.normal(size=12)
START = {"w": jnp.asarray(RNG.normal(size=3)), "b": jnp.asarray(0.5)}


def affine(p, x):
    return x @ p["w"] + p["b"]


LOSS = sj.squared_loss(affine, jnp.asarray(A), jnp.asarray(Y))


def hand_gradient(w, b, rows=slice(None)):
    residual = A[rows] @ w + b - Y[rows]
    return 2 * A[rows].T @ residual / len(residual), 2 * residual.mean()


def hand_descent(etas, rows=None):
    """Parameters, times, path lengths and dissipation of plain descent, step by step."""
    w, b = np.asarray(START["w"]), float(START["b"])
    states, t, path, energy = [(w, b, 0.0, 0.0, 0.0)], 0.0, 0.0, 0.0
    for k, eta in enumerate(etas):
        gw, gb = hand_gradient(w, b, slice(None) if rows is None else rows[k])
        norm = np.sqrt(gw @ gw + gb**2)
        w, b = w - eta * gw, b - eta * gb
        t, path, energy = t + eta, path + eta * norm, energy + eta * norm**2
        states.append((w, b, t, path, energy))
    return [np.array(column) for column in zip(*states, strict=True)]


def assert_equals(run, hand, every=1):
    w, b, t, path, energy = (column[::every] for column in hand)
    np.testing.assert_allclose(run.params["w"], w, rtol=1e-10)
    np.testing.assert_allclose(run.params["b"], b, rtol=1e-10)
    np.testing.assert_allclose(run.ts, t, rtol=1e-10)
    np.testing.assert_allclose(run.path_lengths, path, rtol=1e-10)
    np.testing.assert_allclose(run.dissipation, energy, rtol=1e-10)


@pytest.mark.parametrize("every", [1, 4])
def test_plain_descent_is_the_hand_written_loop(every):
    probes = {"b": lambda t, p: p["b"] + t}
    run = sj.gradient_descent(LOSS, START, optax.sgd(0.05), 12, save_every=every, probes=probes)
    assert run.status == "completed"
    hand = hand_descent([0.05] * 12)
    assert_equals(run, hand, every)
    np.testing.assert_allclose(run.status_time, 0.6)
    w, b = hand[0][::every], hand[1][::every]
    residuals = A @ w.T + b - Y[:, None]
    np.testing.assert_allclose(run.losses, np.mean(residuals**2, axis=0), rtol=1e-10)
    norms = [np.sqrt(gw @ gw + gb**2) for gw, gb in map(hand_gradient, w, b)]
    np.testing.assert_allclose(run.grad_norms, norms, rtol=1e-10)
    np.testing.assert_allclose(run.probes["b"], hand[1][::every] + hand[2][::every])
    assert run.stats["steps"] == run.stats["gradient_evaluations"] == 12
    assert not run.integrated


def test_time_is_the_sum_of_a_schedules_step_sizes():
    def schedule(count):
        return 0.08 * 0.7 ** count.astype(float)

    run = sj.gradient_descent(LOSS, START, optax.sgd(schedule), 9, save_every=3)
    assert_equals(run, hand_descent(0.08 * 0.7 ** np.arange(9)), every=3)


def test_time_goes_on_at_a_critical_point():
    run = sj.gradient_descent(
        lambda w: 0.5 * jnp.sum(jnp.maximum(w - 1, 0) ** 2), jnp.array([2.0]), optax.sgd(1.0), 4
    )
    # One step of size 1 on curvature 1 ends at the minimum, where the gradient is exactly zero.
    np.testing.assert_array_equal(run.params[:, 0], [2, 1, 1, 1, 1])
    np.testing.assert_array_equal(run.ts, np.arange(5))


@pytest.mark.parametrize("optimizer", [optax.sgd(0.05, momentum=0.9), optax.adam(0.1)])
def test_other_optimisers_keep_their_state_between_saves(optimizer):
    with jax.numpy_dtype_promotion("standard"):  # optax's Adam mixes dtypes
        run = sj.gradient_descent(LOSS, START, optimizer, 20, save_every=5)
        params, state = START, optimizer.init(START)
        for _ in range(20):
            updates, state = optimizer.update(jax.grad(LOSS)(params), state, params)
            params = optax.apply_updates(params, updates)
    np.testing.assert_allclose(run.final["w"], params["w"], rtol=1e-10)
    np.testing.assert_allclose(run.final["b"], params["b"], rtol=1e-10)
    assert run.status == "completed" and float(run.losses[-1]) < float(run.losses[0])


def test_minibatches_see_each_sample_once_an_epoch():
    key = jax.random.key(5)
    batches = [np.asarray(minibatch_indices(key, jnp.int32(k), 12, 4)) for k in range(9)]
    epochs = [np.concatenate(batches[start : start + 3]) for start in (0, 3, 6)]
    for epoch in epochs:
        np.testing.assert_array_equal(np.sort(epoch), np.arange(12))
    assert (epochs[0] != epochs[1]).any() and (epochs[1] != epochs[2]).any()
    # Where the batch does not divide the samples, an epoch has no repetition and leaves a rest out.
    ragged = np.concatenate([minibatch_indices(key, jnp.int32(k), 12, 5) for k in (0, 1)])
    assert len(set(ragged.tolist())) == 10


def test_minibatch_descent_is_the_hand_written_loop_on_its_batches():
    key = jax.random.key(7)
    rows = [np.asarray(minibatch_indices(key, jnp.int32(k), 12, 4)) for k in range(12)]
    hand = hand_descent([0.03] * 12, rows)
    for every in (1, 6):
        run = sj.gradient_descent(
            LOSS, START, optax.sgd(0.03), 12, save_every=every, batch_size=4, key=key
        )
        assert_equals(run, hand, every)
        # Losses and gradients are those of all samples.
        full = [float(LOSS({"w": w, "b": b})) for w, b in zip(*hand[:2], strict=True)]
        np.testing.assert_allclose(run.losses, full[::every], rtol=1e-10)
    assert run.stats["batch_size"] == 4
    other = sj.gradient_descent(
        LOSS, START, optax.sgd(0.03), 12, save_every=6, batch_size=4, key=jax.random.key(8)
    )
    assert np.abs(np.asarray(other.final["w"] - run.final["w"])).max() > 1e-4


def test_a_new_data_set_does_not_trace_again():
    traces = []

    def counted(p, x):
        traces.append(1)
        return affine(p, x)

    optimizer = optax.sgd(0.05)
    for number in range(3):
        loss = sj.squared_loss(counted, jnp.asarray(A) + number, jnp.asarray(Y))
        sj.gradient_descent(loss, START, optimizer, 3)
        if number == 0:
            first = len(traces)
    assert len(traces) == first


CURVATURES = np.array([0.5, 2.0, 8.0])


def quadratic(w):
    return 0.5 * jnp.sum(jnp.asarray(CURVATURES, w.dtype) * w**2)


@pytest.mark.parametrize("factor, status", [(0.98, "completed"), (1.02, "diverged")])
def test_the_threshold_of_stability_is_two_over_the_sharpness(factor, status):
    top = float(sharpness(quadratic, jnp.ones(3)))
    np.testing.assert_allclose(top, 8.0, rtol=1e-10)
    eta = factor * 2 / top
    start = jnp.array([0.0, 0.0, 1.0])
    run = sj.gradient_descent(quadratic, start, optax.sgd(eta), 600, save_every=20)
    assert run.status == status
    if status == "completed":
        assert float(run.losses[-1]) < 1e-6 and np.isfinite(run.losses).all()
        np.testing.assert_allclose(run.status_time, 600 * eta)
        return
    # L_k = 4 (1 - 8 eta)^(2k) first exceeds 1e6 (L_0 + 1) = 5e6 at this step.
    k = int(np.ceil(np.log(5e6 / 4) / (2 * np.log(8 * eta - 1))))
    assert 20 < k < 600
    np.testing.assert_allclose(run.status_time, k * eta, rtol=1e-9)
    shown = 20 * np.arange(31) < k
    for column in (run.ts, run.losses, run.grad_norms, run.path_lengths, run.params[:, 2]):
        np.testing.assert_array_equal(np.isfinite(column), shown)


def test_nan_and_infinity_have_their_times():
    def loss(w):
        return jnp.sum(w + 0 * jnp.sqrt(w))  # NaN, with its gradient, below 0

    options = {"probes": {"w": lambda t, w: w[0], "count": lambda t, w: jnp.int32(7)}}
    run = sj.gradient_descent(loss, jnp.array([0.55]), optax.sgd(0.1), 10, **options)
    assert run.status == "nan"
    np.testing.assert_allclose(run.status_time, 0.6)
    for column in (run.ts, run.losses, run.grad_norms, run.params[:, 0], run.probes["w"]):
        np.testing.assert_array_equal(np.isnan(column), np.arange(11) > 5)
    assert (run.probes["count"] == 7).all()
    at_once = sj.gradient_descent(loss, jnp.array([-1.0]), optax.sgd(0.1), 2)
    assert at_once.status == "nan" and float(at_once.status_time) == 0.0
    infinite = sj.gradient_descent(
        lambda w: jnp.sum(jnp.exp(w)), jnp.array([1000.0]), optax.sgd(0.1), 3
    )
    assert infinite.status == "diverged" and float(infinite.status_time) == 0.0
    # Only the last step is bad: the end counts too.
    last = sj.gradient_descent(loss, jnp.array([0.25]), optax.sgd(0.1), 3)
    assert last.status == "nan"
    np.testing.assert_allclose(last.status_time, 0.3)


def test_descent_on_a_quadratic_follows_the_flow_at_a_faster_rate():
    # (5.4): GD with step eta on curvature c is the flow with rate -ln(1 - eta c) / eta.
    eta = 0.1
    run = sj.gradient_descent(quadratic, jnp.ones(3), optax.sgd(eta), 40, save_every=5)
    rate = -np.log(1 - eta * CURVATURES) / eta
    np.testing.assert_allclose(run.params, np.exp(-np.outer(run.ts, rate)), rtol=1e-10)


def test_float32_stays_float32():
    start = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), START)
    loss = sj.squared_loss(affine, jnp.asarray(A, jnp.float32), jnp.asarray(Y, jnp.float32))
    run = sj.gradient_descent(loss, start, optax.sgd(0.05), 12)
    assert {leaf.dtype for leaf in jax.tree.leaves((run.ts, run.params, run.losses))} == {
        jnp.dtype("float32")
    }
    np.testing.assert_allclose(run.params["w"], hand_descent([0.05] * 12)[0], atol=1e-5)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"steps": 0}, "must be positive"),
        ({"steps": 4, "save_every": 0}, "must be positive"),
        ({"steps": 5, "save_every": 2}, "multiple of save_every"),
        ({"steps": 2, "batch_size": 4}, "give a key"),
        ({"steps": 2, "batch_size": 13, "key": jax.random.key(0)}, r"lie in \[1, 12\], got 13"),
        ({"steps": 2, "batch_size": 0, "key": jax.random.key(0)}, r"lie in \[1, 12\], got 0"),
    ],
)
def test_bad_input_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        sj.gradient_descent(LOSS, START, optax.sgd(0.1), **options)


def test_minibatches_need_samples_and_parameters_must_be_finite():
    with pytest.raises(ValueError, match="need a Loss with samples"):
        sj.gradient_descent(
            quadratic, jnp.ones(3), optax.sgd(0.1), 2, batch_size=1, key=jax.random.key(0)
        )
    with pytest.raises(ValueError, match="params is not finite"):
        sj.gradient_descent(quadratic, jnp.array([1.0, jnp.nan]), optax.sgd(0.1), 2)
