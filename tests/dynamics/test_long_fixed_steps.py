"""Fixed steps with checkpoints, stop conditions and a bar: the same path, or its beginning."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sparsejax as sj
from sparsejax.dynamics import Stop
from sparsejax.dynamics.fixed_step import step_plan
from sparsejax.dynamics.flow_progress import FlowProgress

RATES, DT = np.array([1.0, 0.3]), 0.1
# Gaps that are no multiple of the step, and one that ends between two of them.
TS = np.array([0.0, 0.35, 1.0, 2.5, 2.55, 6.0])


def bowl(w):
    return 0.5 * jnp.sum(jnp.asarray(RATES) * w**2)


def flow(folder=None, **options):
    options = {"solver": "euler", "dt": DT, "checkpoint": folder, "checkpoint_every": 7} | options
    return sj.gradient_flow(bowl, jnp.ones(2), 6.0, saveat=TS, **options)


def assert_same_bits(one, other):
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(a, b)
    assert one.stats == other.stats and one.status == other.status


class Killed(BaseException):
    """Nothing that code at work would catch."""


def test_a_kill_at_any_write_changes_no_bit(tmp_path, monkeypatch):
    solver = "rk4"
    undisturbed = flow(tmp_path / "undisturbed", solver=solver, checkpoint_every=1)
    assert undisturbed.status == "completed" and undisturbed.stats["steps"] == 62
    replace, writes, bars = Path.replace, [], []

    def interrupted(self, target):
        writes.append(target)
        if len(writes) % 2 == 0:
            raise Killed
        return replace(self, target)

    show = FlowProgress.show
    monkeypatch.setattr(
        FlowProgress, "show", lambda self, *at: (show(self, *at), bars.append(self.text))
    )
    # A smaller budget ends in the middle, by name, and is taken up like a kill.
    part = flow(tmp_path / "run", solver=solver, max_steps=40)
    assert part.status == "step_budget_exhausted" and part.stats["steps"] == 27
    np.testing.assert_array_equal(part.params[:5], undisturbed.params[:5])
    assert np.isnan(part.losses[5])
    monkeypatch.setattr(Path, "replace", interrupted)
    for _ in range(9):
        try:
            found = flow(tmp_path / "run", solver=solver, progress=True)
            break
        except Killed:
            continue
    assert len(writes) >= 4
    assert_same_bits(found, undisturbed)
    assert bars[-1].startswith("t 6 of 6, loss ")
    at_once = flow(solver=solver)
    assert at_once.stats["gradient_evaluations"] == undisturbed.stats["gradient_evaluations"]
    for a, b in zip(jax.tree.leaves(at_once), jax.tree.leaves(undisturbed), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-9, atol=1e-15)
    with pytest.raises(ValueError, match=r"another run \(method differ\)"):
        flow(tmp_path / "run", solver=solver, dt=0.05)


@pytest.mark.parametrize(
    "stop, holds",
    [
        (Stop(grad_norm=0.2, loss=1e-3), lambda loss, squared: squared <= 0.04),
        (Stop(decay_rate=0.7), lambda loss, squared: squared <= 0.7 * loss),
        (Stop(loss=1.0), lambda loss, squared: loss <= 1.0),  # from the start
        (Stop(loss=1e-9), lambda loss, squared: loss <= 1e-9),  # never
    ],
)
def test_a_stop_is_the_first_step_at_whose_end_it_holds(stop, holds):
    plan = step_plan(TS, DT, 1000, np.dtype(float))
    sizes = np.repeat(np.asarray(plan.sizes), np.asarray(plan.counts))
    w = np.cumprod(np.vstack([np.ones(2), 1 - sizes[:, None] * RATES]), axis=0)
    t = np.append(0, np.cumsum(sizes))
    held = np.flatnonzero(holds(0.5 * (RATES * w**2).sum(axis=1), (RATES**2 * w**2).sum(axis=1)))
    found = flow(stop=stop)
    k = held[0] if held.size else len(sizes)
    assert (found.status == "completed") is (held.size == 0)
    assert found.stats["steps"] == k and found.stats["stop_evaluations"] == k + 1
    np.testing.assert_allclose(found.status_time, t[k], rtol=1e-12)
    np.testing.assert_allclose(found.end, w[k], rtol=1e-12)
    shown = TS <= t[k] + 1e-9
    np.testing.assert_array_equal(np.isfinite(found.losses), shown)
    at = np.searchsorted(t + 1e-9, TS[shown])
    np.testing.assert_allclose(found.params[shown], w[at], rtol=1e-12)


def test_a_field_that_is_not_finite_ends_both_loops_at_the_same_step():
    def edge(w):  # w' = -1.9 until w < 0, which is no place
        return jnp.sum(1.9 * w + 0 * jnp.sqrt(w))

    runs = [
        sj.gradient_flow(edge, jnp.array([0.5]), 1.0, solver="euler", dt=0.1, **options)
        for options in ({}, {"stop": Stop(loss=-1.0)})
    ]
    for run in runs:
        assert run.status == "nan" and run.stats["steps"] == runs[0].stats["steps"] > 0
        np.testing.assert_array_equal(run.status_time, runs[0].status_time)
        np.testing.assert_allclose(run.params, runs[0].params, rtol=1e-12)
    with pytest.raises(ValueError, match="'euler' differentiates forward alone"):
        flow(derivative="reverse")
