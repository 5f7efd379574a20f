"""Stop conditions, checkpoints and kills of discrete methods: it stays the same trajectory."""

import functools
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import sparsejax as sj
from sparsejax.dynamics import Checkpoints, Stop, identity_of
from sparsejax.dynamics.flow_progress import FlowProgress

from .killed import killed_after

RNG = np.random.default_rng(0)
A, Y = RNG.normal(size=(12, 3)), RNG.normal(size=12)
START = jnp.asarray(RNG.normal(size=3))
LOSS = sj.squared_loss(lambda w, x: jnp.tanh(x) @ w, jnp.asarray(A), jnp.asarray(Y))
METHOD = optax.sgd(0.05, momentum=0.9)
KEY = jax.random.key(3)


def noisy(folder=None, **options):
    """Momentum, batches that do not divide the samples, noisy labels: all that has a state."""
    options = {"checkpoint_every": 7, "save_every": 5, "checkpoint": folder} | options
    options = {"key": KEY, "batch_size": 5, "label_noise": 0.1} | options
    return sj.sgd(LOSS, START, METHOD, 40, **options)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    found = noisy(tmp_path_factory.mktemp("undisturbed"))
    assert found.status == "completed" and found.stats["steps"] == 40
    return found


def assert_same_bits(one, other):
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(a, b)
    assert one.stats == other.stats and one.status == other.status


class Killed(BaseException):
    """Nothing that code at work would catch."""


@pytest.mark.parametrize("moment", ["before", "writing", "written"])
def test_a_kill_at_any_moment_changes_no_bit(moment, undisturbed, tmp_path, monkeypatch):
    replace, writes = Path.replace, []

    def interrupted(self, target):
        writes.append(target)
        if len(writes) % 3 == 0:  # the last write of its process
            if moment == "before":
                self.unlink()
            if moment == "written":
                replace(self, target)
            raise Killed
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", interrupted)
    for kills in range(9):  # noqa: B007
        try:
            found = noisy(tmp_path)
            break
        except Killed:
            continue
    assert kills >= 2
    assert_same_bits(found, undisturbed)
    # Asked once more, it is read off the last checkpoint.
    count = len(writes)
    assert_same_bits(noisy(tmp_path), undisturbed)
    assert len(writes) == count and not list(tmp_path.glob(".*"))


def test_pieces_of_any_length_are_the_steps_of_a_single_loop(undisturbed, tmp_path):
    assert_same_bits(noisy(tmp_path, checkpoint_every=1), undisturbed)
    # The program without a host in it takes the same steps, up to how XLA compiles it.
    at_once = noisy()
    assert at_once.stats == undisturbed.stats
    for a, b in zip(jax.tree.leaves(at_once), jax.tree.leaves(undisturbed), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-12)


def test_a_damaged_checkpoint_is_passed_over(undisturbed, tmp_path, monkeypatch):
    ticks = iter(np.arange(1000.0))
    with monkeypatch.context() as patch:
        patch.setattr(time, "monotonic", lambda: next(ticks))
        part = noisy(tmp_path, stop=Stop(wall_clock=20))
    assert part.status == "wall_clock_exhausted"
    steps = part.stats["steps"]
    assert 7 < steps < 40
    shown = np.arange(9) * 5 <= steps
    np.testing.assert_array_equal(part.params[shown], undisturbed.params[shown])
    assert np.isnan(part.losses[~shown]).all()
    newest = max(tmp_path.glob("*.npz"))
    content = bytearray(newest.read_bytes())
    content[len(content) // 2] ^= 1
    newest.write_bytes(content)
    with pytest.warns(UserWarning, match=rf"{newest.name} is damaged .*: the checkpoint before it"):
        found = noisy(tmp_path)
    assert_same_bits(found, undisturbed)


@pytest.mark.parametrize(
    "options, part",
    [({"key": jax.random.key(4)}, "sampling"), ({"sampling": "subsets"}, "sampling")],
)
def test_the_checkpoint_of_another_run_is_refused(options, part, undisturbed, tmp_path):
    noisy(tmp_path)
    with pytest.raises(ValueError, match=rf"another run \({part} differ\): choose another folder"):
        noisy(tmp_path, **options)
    with pytest.raises(ValueError, match=r"another run \(optimizer, steps differ\)"):
        sj.sgd(
            LOSS,
            START,
            optax.sgd(0.06, momentum=0.9),
            35,
            save_every=5,
            **{"key": KEY, "batch_size": 5, "label_noise": 0.1, "checkpoint": tmp_path},
        )


def test_functions_differ_by_what_they_close_over():
    def closed(value):
        return identity_of(f=lambda w: value * w)

    assert closed(0.1) == closed(0.1) != closed(0.2)
    assert closed(jnp.ones(2)) != closed(jnp.zeros(2))
    partial = [identity_of(f=functools.partial(closed, v)) for v in (1, 1, 2)]
    assert partial[0] == partial[1] != partial[2]

    def endless(n):
        return endless(n)

    assert identity_of(f=endless) == identity_of(f=endless)
    assert identity_of(o=optax.adam(0.1, b1=0.9)) != identity_of(o=optax.adam(0.1, b1=0.8))


RATES = np.array([1.0, 0.3])
ETA, STEPS = 0.1, 60


def bowl(w):
    return 0.5 * jnp.sum(jnp.asarray(RATES) * w**2)


def exact(k):
    """Loss and squared gradient norm of plain descent from (1, 1) after `k` steps."""
    w = (1 - ETA * RATES) ** np.asarray(k)[..., None]
    return 0.5 * (RATES * w**2).sum(axis=-1), (RATES**2 * w**2).sum(axis=-1)


@pytest.mark.parametrize(
    "stop, holds",
    [
        (Stop(loss=0.1), lambda loss, squared: loss <= 0.1),
        (Stop(relative_loss=0.2), lambda loss, squared: loss <= 0.2 * loss[0]),
        (Stop(grad_norm=0.2), lambda loss, squared: squared <= 0.04),
        (Stop(decay_rate=0.7), lambda loss, squared: squared <= 0.7 * loss),
        # The first of several.
        (Stop(loss=0.1, grad_norm=0.5), lambda loss, squared: (loss <= 0.1) | (squared <= 0.25)),
        # From the start; never.
        (Stop(loss=1.0), lambda loss, squared: loss <= 1.0),
        (Stop(loss=1e-9), lambda loss, squared: loss <= 1e-9),
    ],
)
def test_a_stop_is_the_first_step_at_which_it_holds(stop, holds):
    held = np.flatnonzero(holds(*exact(np.arange(STEPS + 1))))
    run = sj.gradient_descent(bowl, jnp.ones(2), optax.sgd(ETA), STEPS, save_every=4, stop=stop)
    k = held[0] if held.size else STEPS
    if held.size:
        assert str(run.status).removeprefix("reached_") in stop.thresholds
    else:
        assert run.status == "completed"
    assert run.stats["steps"] == k
    np.testing.assert_allclose(run.status_time, k * ETA, rtol=1e-12)
    np.testing.assert_allclose(run.end, (1 - ETA * RATES) ** k, rtol=1e-12)
    shown = np.arange(0, STEPS + 1, 4) <= k
    np.testing.assert_array_equal(np.isfinite(run.losses), shown)
    np.testing.assert_allclose(run.losses[shown], exact(4 * np.arange(16))[0][shown], rtol=1e-12)


def test_the_last_state_is_looked_at_too_and_failures_come_first():
    stop = Stop(loss=float(exact(20)[0]) * (1 + 1e-12))
    run = sj.gradient_descent(bowl, jnp.ones(2), optax.sgd(ETA), 20, save_every=20, stop=stop)
    assert run.status == "reached_loss" and run.stats["steps"] == 20

    def leaves(w):  # to minus infinity, and NaN from there on
        return jnp.sum(jnp.log(w))

    run = sj.gradient_descent(leaves, jnp.ones(1), optax.sgd(1.0), 5, stop=Stop(loss=-1e9))
    assert run.status == "diverged" and float(run.status_time) == 1.0
    np.testing.assert_array_equal(np.isfinite(run.losses), [True, *[False] * 5])


def test_a_stochastic_run_stops_by_the_loss_of_all_samples():
    keys = jnp.stack([KEY, *jax.random.split(KEY, 4)])

    @jax.jit
    @jax.vmap
    def ensemble(key):
        return noisy(key=key, save_every=1, stop=Stop(relative_loss=0.75))

    runs, counts = ensemble(keys), set()
    for lane in range(5):
        k = int(runs.stats["steps"][lane])
        counts.add(k)
        losses = np.asarray(runs.losses[lane])
        assert runs.status[lane] == "reached_relative_loss"
        assert np.flatnonzero(losses <= 0.75 * losses[0])[0] == k == np.isfinite(losses).sum() - 1
        assert runs.stats["stop_evaluations"][lane] == k + 1
        np.testing.assert_array_equal(runs.end[lane], runs.params[lane, k])
    assert len(counts) > 1


def test_host_options_are_refused_inside_a_trace(tmp_path):
    for options in ({"checkpoint": tmp_path}, {"progress": True}, {"stop": Stop(wall_clock=1.0)}):
        with pytest.raises(ValueError, match="not work under jit or vmap"):
            jax.vmap(lambda key, o=options: noisy(key=key, **o).losses)(jax.random.split(KEY))
    with pytest.raises(ValueError, match="checkpoint_every must be positive, got 0"):
        noisy(checkpoint_every=0)


def test_the_bar_counts_steps_and_no_terminal_is_no_bar(undisturbed, capsys, monkeypatch):
    seen = []
    show = FlowProgress.show

    def watched(self, *args):
        show(self, *args)
        seen.append(self.text)

    monkeypatch.setattr(FlowProgress, "show", watched)
    found = noisy(progress=True)
    assert capsys.readouterr() == ("", "")
    assert_same_bits(found, undisturbed)
    assert seen[-1].startswith("step 40 of 40, loss ") and "40 gradients" in seen[-1]


@pytest.mark.slow
def test_a_process_that_is_killed_leaves_the_same_trajectory(undisturbed, tmp_path):
    killed_after((1, 2, 2), "test_long_descent", "noisy", tmp_path)
    assert len(Checkpoints(tmp_path, {})._files()) == 2
    assert_same_bits(noisy(tmp_path), undisturbed)
