"""Backwards through the stabilised solvers: the derivative of the numbers that they return."""

import diffrax
import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sparsejax.dynamics.solvers import RKC2, RKC4, ROCK2, ROCK4
from sparsejax.dynamics.solvers.reverse import loop_in_blocks

START = (jnp.array([1.0, 0.5]), jnp.asarray(3e4), jnp.asarray(3.0))


def weighted_path(solver, adjoint, start):
    """A function of the path of a field that closes over a rate and is given a frequency.

    At half time it turns stiff all at once: steps are repeated with more stages, and rejected
    where no stage count covers them.
    """
    w, rate, frequency = start

    def field(t, y, args):
        stiff = 1 + rate * jax.nn.sigmoid(300 * (t - 0.5))
        return {"w": -stiff * (y["w"] - jnp.cos(args * t))}

    solution = diffrax.diffeqsolve(
        diffrax.ODETerm(field),
        solver,
        0.0,
        1.0,
        None,
        {"w": w},
        args=frequency,
        adjoint=adjoint,
        max_steps=1000,
        stepsize_controller=diffrax.PIDController(rtol=1e-4, atol=1e-6),
        saveat=diffrax.SaveAt(ts=jnp.linspace(0.1, 1, 5), solver_state=True),
    )
    value = jnp.sum(jnp.arange(1.0, 6.0) * jnp.sum(solution.ys["w"] ** 2, axis=1))
    return value, (solution.stats["num_rejected_steps"], solution.solver_state.evaluations)


@pytest.mark.parametrize(
    "method",
    [
        pytest.param(lambda mode: RKC2(max_stages=20, derivative=mode), marks=pytest.mark.slow),
        pytest.param(lambda mode: ROCK2(max_stages=40, derivative=mode), marks=pytest.mark.slow),
        pytest.param(lambda mode: ROCK4(derivative=mode), marks=pytest.mark.slow),
        pytest.param(lambda mode: RKC4(max_stages=40, derivative=mode), marks=pytest.mark.slow),
    ],
)
def test_backwards_is_forwards_to_roundoff(method):
    backwards, forwards = diffrax.RecursiveCheckpointAdjoint(), diffrax.ForwardMode()
    found, (rejected, evaluations) = jax.jit(
        jax.grad(lambda s: weighted_path(method("reverse"), backwards, s), has_aux=True)
    )(START)
    expected, (same, before) = jax.jit(
        jax.jacfwd(lambda s: weighted_path(method("forward"), forwards, s), has_aux=True)
    )(START)
    # The same steps, but for one evaluation at the start.
    assert rejected == same > 20 and evaluations == before + 1
    scales = [1.0, 1e-6, 1.0]
    for one, other, scale in zip(found, expected, scales, strict=True):
        assert np.isfinite(one).all()
        np.testing.assert_allclose(one, other, rtol=1e-8, atol=1e-9 * scale)
    assert np.abs(found[0]).min() > 1 and np.abs(found[2]) > 1e-2


@pytest.mark.slow
def test_the_error_estimate_is_differentiated_too():
    # diffrax's own controllers hold it fixed, so no solve shows it.
    term = diffrax.ODETerm(lambda t, y, args: -jnp.array([1.0, 80.0]) * y + jnp.cos(args * y))

    def error(solver, y, h):
        zero = jnp.zeros(())
        state = solver.init(term, zero, h, y, 2.0)
        estimate = solver.step(term, zero, h, y, 2.0, state, False)[1]
        return jnp.sum(estimate * jnp.array([1.0, -3.0]))

    for method in (RKC2, ROCK4):
        at = jnp.array([1.0, 0.5]), jnp.asarray(0.3)
        found = jax.jit(jax.grad(lambda at: error(method(derivative="reverse"), *at)))(at)
        expected = jax.jit(jax.jacfwd(lambda at: error(method(), *at)))(at)
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(one, other, rtol=1e-9)
        assert float(jnp.abs(expected[1])) > 1e-3


def test_a_loop_in_blocks_is_the_loop():
    def loop(length, x):
        def stage(carry):
            return carry[0] + 1, jnp.sin(carry[1]) + 0.1 * x

        return loop_in_blocks(11)(length, stage, (jnp.ones((), jnp.int32), x))[1]

    def plain(length, x):
        y = x
        for _ in range(1, length):
            y = jnp.sin(y) + 0.1 * x
        return y

    both = jax.jit(jax.value_and_grad(loop, argnums=1))
    for length in (1, 2, 6, 12):
        found = both(jnp.asarray(length, jnp.int32), 0.8)
        expected = jax.value_and_grad(plain, argnums=1)(length, 0.8)
        np.testing.assert_allclose(found, expected, rtol=1e-12)


def test_a_mode_is_one_of_two():
    with pytest.raises(ValueError, match="'forward' or 'reverse', not 'backward'"):
        RKC2(derivative="backward")
