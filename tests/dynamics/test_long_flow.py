"""Checkpoints, kills and budgets of a flow on the host's watch: it stays the same trajectory."""

import io
import time
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from rich.console import Console

import sparsejax as sj
from sparsejax.dynamics import Checkpoints, Stop, identity_of
from sparsejax.dynamics.flow_progress import FlowProgress

from .killed import killed_after

START = jnp.array([0.01, 0.6, -0.3])
TS = np.linspace(0, 8, 9)


def double_well(w):
    return 0.25 * (w[0] ** 2 - 1) ** 2 + 20 * w[1] ** 2 + 0.1 * w[0] * w[2] ** 2


def flow(folder=None, **options):
    options = {"rtol": 1e-5, "checkpoint_every": 5, "checkpoint": folder} | options
    return sj.gradient_flow(double_well, START, 8.0, saveat=TS, **options)


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory):
    found = flow(tmp_path_factory.mktemp("undisturbed"))
    assert found.status == "completed" and found.stats["steps"] > 30
    return found


def assert_same_bits(one, other):
    for a, b in zip(jax.tree.leaves(one), jax.tree.leaves(other), strict=True):
        np.testing.assert_array_equal(a, b)
    assert one.stats == other.stats and one.status == other.status


class Killed(BaseException):
    """Nothing that code at work would catch."""


@pytest.mark.parametrize(
    "moment",
    [pytest.param("before", marks=pytest.mark.slow), "writing", "written"],
)
def test_a_kill_at_any_moment_changes_no_bit(moment, undisturbed, tmp_path, monkeypatch):
    replace, writes = Path.replace, []

    def interrupted(self, target):
        writes.append(target)
        # Every third write is the last of its process.
        if len(writes) % 3 == 0:
            if moment == "before":
                self.unlink()
            if moment == "written":
                replace(self, target)
            raise Killed
        return replace(self, target)

    monkeypatch.setattr(Path, "replace", interrupted)
    kills = 0
    while True:
        try:
            found = flow(tmp_path)
            break
        except Killed:
            kills += 1
            assert len(list(tmp_path.glob("[0-9]*.npz"))) <= 3
    assert kills >= 3
    assert_same_bits(found, undisturbed)
    # Asked once more, it is read off the last checkpoint; no piece is left over.
    count = len(writes)
    assert_same_bits(flow(tmp_path), undisturbed)
    assert len(writes) == count and not list(tmp_path.glob(".*"))


@pytest.mark.slow
def test_pieces_of_any_length_are_the_same_steps(undisturbed, tmp_path):
    assert_same_bits(flow(tmp_path / "single", checkpoint_every=1), undisturbed)
    # The program without a host in it takes the same steps, up to how XLA compiles it.
    at_once = flow()
    assert at_once.stats["steps"] == undisturbed.stats["steps"]
    assert at_once.stats["gradient_evaluations"] == undisturbed.stats["gradient_evaluations"]
    np.testing.assert_allclose(at_once.params, undisturbed.params, rtol=1e-9, atol=1e-12)


@pytest.mark.parametrize("damage", ["flipped", "cut", "both"])
def test_a_damaged_checkpoint_is_passed_over(damage, undisturbed, tmp_path):
    assert flow(tmp_path, max_steps=17).status == "step_budget_exhausted"
    older, newer = sorted(tmp_path.glob("*.npz"))
    assert int(older.stem) == 10 and int(newer.stem) == 15
    content = bytearray(newer.read_bytes())
    if damage == "cut":
        content = content[:-200]
    else:
        content[len(content) // 2] ^= 1
    newer.write_bytes(content)
    if damage == "both":
        older.write_bytes(b"")
    with pytest.warns(UserWarning, match="is damaged .*: the checkpoint before it") as told:
        found = flow(tmp_path)
    named = [path.name for path in (newer, older) if path == newer or damage == "both"]
    assert [Path(str(w.message).split(" is ")[0]).name for w in told] == named
    assert_same_bits(found, undisturbed)


@pytest.mark.parametrize(
    "options, part", [({"rtol": 1e-4}, "method"), ({"atol": 1e-7}, "method"), ({}, "params")]
)
def test_the_checkpoint_of_another_flow_is_refused(options, part, undisturbed, tmp_path):
    flow(tmp_path, max_steps=6)
    with pytest.raises(ValueError, match=rf"another run \({part} differ\): choose another folder"):
        start = START if options else START + 1e-9
        given = {"rtol": 1e-5} | options
        sj.gradient_flow(double_well, start, 8.0, saveat=TS, checkpoint=tmp_path, **given)


def test_a_wall_clock_budget_ends_by_name_and_can_be_taken_up_again(undisturbed, tmp_path):
    spent = flow(tmp_path, stop=Stop(wall_clock=0))
    assert spent.status == "wall_clock_exhausted" and float(spent.status_time) == 0
    ticks = iter(np.arange(1000.0))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(time, "monotonic", lambda: next(ticks))
        part = flow(tmp_path, stop=Stop(wall_clock=10))
    assert part.status == "wall_clock_exhausted"
    reached = float(part.status_time)
    assert 0 < reached < 8
    shown = TS <= reached
    np.testing.assert_array_equal(part.params[shown], undisturbed.params[shown])
    assert np.isnan(part.losses[~shown]).all()
    assert_same_bits(flow(tmp_path), undisturbed)


def test_host_options_are_refused_inside_a_trace(tmp_path):
    for options in ({"checkpoint": tmp_path}, {"progress": True}, {"stop": Stop(wall_clock=1.0)}):
        with pytest.raises(ValueError, match="not work under jit or vmap"):
            jax.jit(lambda w, o=options: sj.gradient_flow(double_well, w, 1.0, **o).losses)(START)


def test_checkpoints_hold_any_pytree_of_arrays_and_keys(tmp_path):
    state = {"theta": jnp.arange(3.0), "key": jax.random.key(7), "step": jnp.asarray(4, jnp.int32)}
    checkpoints = Checkpoints(tmp_path, identity_of(start=state["theta"]))
    assert checkpoints.latest(state) is None
    for number in (1, 2, 3):
        checkpoints.save(number, state | {"step": jnp.asarray(number, jnp.int32)})
    assert [path.name for path in sorted(tmp_path.iterdir())] == [
        "000000000002.npz",
        "000000000003.npz",
    ]
    number, found = checkpoints.latest(jax.tree.map(jnp.zeros_like, state))
    assert number == 3 and int(found["step"]) == 3 and found["step"].dtype == jnp.int32
    np.testing.assert_array_equal(
        jax.random.normal(found["key"], 2), jax.random.normal(state["key"], 2)
    )
    with np.load(tmp_path / "000000000003.npz", allow_pickle=False) as plain:
        assert len(plain.files) == 4


class Terminal(io.StringIO):
    def isatty(self):
        return True


def test_the_bar_shows_where_the_flow_is_and_what_is_left(monkeypatch):
    now = iter(np.arange(0, 100, 2.0))
    monkeypatch.setattr(time, "monotonic", lambda: next(now))
    out = Terminal()
    with FlowProgress(10.0, Console(file=out, width=120, force_terminal=True)) as bar:
        bar.show(2.0, loss=0.25, evaluations=40, sharpness=85.0)
        # Two seconds for 2 of 10 units of flow time.
        assert bar.text == "t 2 of 10, loss 0.25, 40 gradients, sharpness 85, 0:00:08 left"
    assert "sharpness 85" in out.getvalue()


def test_no_terminal_no_bar_and_the_same_flow(undisturbed, capsys):
    found = flow(progress=True)
    assert capsys.readouterr() == ("", "")
    np.testing.assert_array_equal(found.params, undisturbed.params)


@pytest.mark.slow
def test_a_process_that_is_killed_leaves_the_same_trajectory(undisturbed, tmp_path):
    killed_after((1, 3, 2), "test_long_flow", "flow", tmp_path)
    assert_same_bits(flow(tmp_path), undisturbed)
