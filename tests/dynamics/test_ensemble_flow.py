"""Ensembles of gradient flows against exact solutions and against single flows."""

import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sparsejax as sj
from sparsejax.dynamics import Stop, gradient_flows

TRACES = []
TS = np.array([0.0, 0.03, 0.4, 0.41, 1.7])
RATES = np.array([[1.0, 2.0], [1.0, 3000.0], [0.01, 0.5], [20.0, 300.0], [5.0, 5.0]])


def decaying(rates, w):
    TRACES.append("decaying")
    return 0.5 * jnp.sum(rates * jnp.square(w))


def decay(rates, **options):
    loss = jax.tree_util.Partial(decaying, jnp.asarray(rates))
    options = {"saveat": TS, "rtol": 1e-7} | options
    return gradient_flows(loss, jnp.ones(rates.shape), 2.0, **options)


def exact(rates):
    return np.exp(-rates[:, None, :] * TS[None, :, None])


@pytest.fixture(scope="module")
def one_by_one():
    return decay(RATES)


def test_lanes_of_all_stiffnesses_follow_their_exact_flows(one_by_one):
    flows = one_by_one
    assert flows.status.tolist() == ["completed"] * 5
    # (3.1): w = exp(-rate t), by stiffness from 0.5 to 3000; then losses, norms, both integrals.
    w = exact(RATES)
    np.testing.assert_allclose(flows.params, w, atol=3e-5)
    squares = RATES[:, None] * w**2
    np.testing.assert_allclose(flows.losses, squares.sum(-1) / 2, atol=2e-4, rtol=1e-4)
    norms = np.sqrt((RATES[:, None] * squares).sum(-1))
    np.testing.assert_allclose(flows.grad_norms, norms, atol=2e-3, rtol=1e-3)
    # Before the stiff transient is over, the dissipation is as small as the loss that is left.
    defect = np.abs(flows.energy_defect) / flows.losses[:, :1]
    assert defect.max() < 1e-4 and defect[:, 1:].min() > 0
    energy = np.asarray(flows.losses[:, 0] + flows.dissipation[:, -1])
    largest = np.abs(flows.energy_defect).max(axis=1) / energy
    np.testing.assert_allclose(flows.stats["energy_error"], largest, rtol=1e-6)
    np.testing.assert_allclose(flows.end, w[:, -1], atol=3e-5)
    np.testing.assert_array_equal(flows.ts, np.broadcast_to(TS, (5, 5)))
    # A lane pays for its own steps alone.
    work = flows.stats["gradient_evaluations"]
    assert work[1] > 4 * work[2] and (work > flows.stats["radius_evaluations"]).all()


def test_neither_slots_nor_neighbours_nor_order_change_a_lane(one_by_one):
    order = np.array([3, 0, 4, 2, 1])
    flows = decay(RATES[order], chunk=2)
    np.testing.assert_allclose(flows.params, one_by_one.params[order], rtol=1e-9, atol=1e-12)
    np.testing.assert_array_equal(flows.counts["steps"], one_by_one.counts["steps"][order])


def test_other_lanes_of_one_size_are_the_same_program(one_by_one):
    before = len(TRACES)
    flows = decay(RATES + 0.5, rtol=1e-6, saveat=TS + 0.01)
    assert len(TRACES) == before
    np.testing.assert_allclose(flows.params[0, 0], np.exp(-0.01 * (RATES[0] + 0.5)), atol=1e-5)


@pytest.mark.slow
def test_a_lane_ends_where_its_loss_is_down(one_by_one):
    # L = exp(-2 a t) a for equal rates a; met at the start; never met.
    rates = np.array([[1.0, 1.0], [4.0, 4.0], [1.0, 1.0], [1.0, 1.0]])
    flows = decay(rates, stop=np.array([0.5, 0.04, 1.0, 1e-9]), chunk=2, rtol=1e-9)
    assert flows.status.tolist() == ["reached_loss"] * 3 + ["completed"]
    times = np.array([np.log(2) / 2, np.log(100) / 8, 0.0, 1.7])
    np.testing.assert_allclose(flows.status_time, times, atol=1e-6)
    np.testing.assert_allclose(flows.end, np.exp(-rates * times[:, None]), atol=1e-6)
    np.testing.assert_array_equal(np.isfinite(flows.losses), TS <= times[:, None])
    np.testing.assert_array_equal(flows.stats["stop_evaluations"] > 0, [True, True, False, False])
    many = decay(rates, stop=Stop(relative_loss=0.25), keep_params=False)
    assert many.params is None
    np.testing.assert_allclose(many.status_time, np.log(2) / rates[:, 0], rtol=1e-5)


def cubic(kind, w):
    """Falls to minus infinity in finite time, has no value below 1/2, or is a parabola."""
    # The pole of the flow dw/dt = 3 w^2 from 1 is at t = 1/3.
    blown = -jnp.sum(w**3)
    # Neither value nor gradient below 1/2; u = w - 1/2 falls as u^(3/2) = 2^(-3/2) - 3 t / 4.
    undefined = jnp.sum(jnp.sqrt(jnp.where(kind == 1, w - 0.5, 1)))
    return jnp.where(kind == 0, blown, jnp.where(kind == 1, undefined, 0.5 * jnp.sum(w**2)))


def test_a_lane_that_fails_has_a_name_and_no_influence():
    kinds = jnp.array([2, 0, 2, 1, 2, 3])
    start = jnp.ones((6, 1))
    loss = jax.tree_util.Partial(cubic, kinds)
    flows = gradient_flows(loss, start, 2.0, saveat=TS, rtol=1e-7, chunk=9)
    names = ["completed", "diverged", "completed", "step_size_underflow", "completed", "completed"]
    assert flows.status.tolist() == names
    np.testing.assert_allclose(flows.status_time[1], 1 / 3, rtol=1e-3)
    np.testing.assert_allclose(flows.status_time[3], 0.5**1.5 / 0.75, rtol=1e-3)
    assert np.isnan(flows.losses[1, 2:]).all() and np.isfinite(flows.losses[1, :2]).all()
    for lane in (0, 2, 4, 5):
        np.testing.assert_allclose(flows.params[lane, :, 0], np.exp(-TS), atol=1e-5)
    # Not a number from the start; and out of steps.
    start = start.at[3].set(0.25)
    few = gradient_flows(loss, start, 2.0, saveat=TS, chunk=9, max_steps=4)
    assert few.status[3] == "nan" and few.status[0] == "step_budget_exhausted"
    assert few.end[3] == 0.25 and few.status_time[3] == 0
    assert np.isnan(few.params[3]).all() and np.all(few.counts["steps"] <= 4)


def lifts_of_one_size(count):
    module = sj.graphs.mlp(inputs=3, hidden=2, outputs=1, activation="tanh")

    def draw(key):
        lift = sj.random_sparse_lift(key, module, 6, 2, law="regular")
        return lift, lift.init(key)

    return jax.jit(jax.vmap(draw))(jax.random.split(jax.random.key(3), count))


@pytest.mark.slow
def test_lifts_flow_as_they_do_alone():
    lifts, params = lifts_of_one_size(3)
    x = jax.random.normal(jax.random.key(0), (12, 3))
    y = jnp.sin(2 * x[:, :1]) + x[:, 1:2]
    flows = gradient_flows(
        sj.squared_loss(lifts.apply, x, y),
        params,
        9.0,
        rtol=1e-6,
        saveat=np.array([1.0, 7.3]),
        shared=lambda loss: (loss.x, loss.targets),
    )
    for k in range(3):
        lift, start, mine = jax.tree.map(lambda leaf: leaf[k], (lifts, params, flows))
        alone = sj.gradient_flow(
            sj.squared_loss(lift.apply, x, y),
            start,
            9.0,
            rtol=1e-6,
            saveat=np.array([1.0, 7.3]),
            solver="rkc2",
        )
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, atol=1e-5), mine.params, alone.params
        )
        for name in ("losses", "grad_norms", "path_lengths", "dissipation"):
            np.testing.assert_allclose(getattr(mine, name), getattr(alone, name), rtol=1e-4)
        # The same steps: what differs is how the spectral radius is found.
        assert abs(int(mine.counts["steps"]) - alone.stats["steps"]) <= 2


@pytest.mark.parametrize(
    "change, message",
    [
        ({"t1": 0.0}, "t1 must be positive"),
        ({"rtol": 0.0}, "tolerances must be positive"),
        ({"chunk": 0}, "chunk must be positive"),
        ({"saveat": np.array([0.5, 3.0])}, "outside"),
        ({"saveat": np.array([0.0])}, "nothing to integrate"),
        ({"params": jnp.ones(())}, "leading axis of lanes"),
        ({"params": jnp.ones((4, 2))}, "without the leading axis of 4 lanes"),
        ({"params": jnp.full((5, 2), jnp.nan)}, "not finite"),
        ({"stop": np.ones(3)}, "one loss for each of 5"),
        ({"stop": Stop(wall_clock=1.0)}, "wall_clock"),
        ({"devices": []}, "devices is empty"),
    ],
)
def test_bad_input_is_refused_by_name(change, message):
    loss = jax.tree_util.Partial(decaying, jnp.asarray(RATES))
    arguments = {"params": jnp.ones(RATES.shape), "t1": 2.0} | change
    with pytest.raises(ValueError, match=message):
        gradient_flows(loss, **arguments)


ON_TWO_DEVICES = """
import jax, jax.numpy as jnp, numpy as np
jax.config.update("jax_enable_x64", True)
from sparsejax.dynamics import Stop, gradient_flows
rates = jnp.array([[1.0], [900.0], [0.5], [30.0], [2.0]])
loss = jax.tree_util.Partial(lambda rate, w: 0.5 * jnp.sum(rate * w**2), rates)
ts = np.array([0.2, 0.9])
for chunk in (1, 2):
    flows = gradient_flows(loss, jnp.ones((5, 1)), 1.0, saveat=ts, chunk=chunk, rtol=1e-7,
                           devices=jax.devices())
    expected = np.exp(-np.asarray(rates)[:, None] * ts[None, :, None])
    np.testing.assert_allclose(flows.params, expected, atol=1e-5)
print(len(jax.devices()))
"""


@pytest.mark.slow
def test_lanes_dealt_out_to_two_devices_come_back_in_order():
    flags = "--xla_force_host_platform_device_count=2"
    done = subprocess.run(
        [sys.executable, "-c", ON_TWO_DEVICES],
        env=os.environ | {"XLA_FLAGS": flags},
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == "2"
