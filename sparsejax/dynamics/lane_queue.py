"""Many flows through a few slots: a slot whose flow has ended takes the next one that waits."""

from collections.abc import Callable
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int, PyTree

from sparsejax.dynamics.flow_trajectory import at_rest
from sparsejax.dynamics.interleaved_rkc2 import advance
from sparsejax.dynamics.lane import Lane, Rules, fresh, point, state_within


class Lanes(eqx.Module):
    """What lanes are made of: each leaf of `each` and of `thetas` has one row a lane.

    `combine(row, shared)` is the loss of one lane, a function of its parameters.
    """

    each: PyTree
    shared: PyTree
    thetas: Float[Array, "m p"]
    thresholds: dict[str, Float[Array, " m"]]
    waiting: Int[Array, ""]  # how many of the lanes are to be run
    combine: Callable[[PyTree, PyTree], Callable[[PyTree], Array]] = eqx.field(static=True)
    unravel: Callable[[Array], PyTree] = eqx.field(static=True)

    def row(self, index: Int[Array, ""]) -> tuple[PyTree, dict[str, Array]]:
        """The arrays of one lane's loss, and its thresholds."""
        return jax.tree.map(lambda leaf: leaf[index], (self.each, self.thresholds))

    def value_and_gradient(self, row: PyTree, theta: Float[Array, " p"]) -> tuple[Array, Array]:
        """Loss and gradient of one lane."""
        loss = self.combine(row, self.shared)
        return jax.value_and_grad(lambda vector: loss(self.unravel(vector)))(theta)


class Ledger(NamedTuple):
    """What lanes leave behind, one row a lane; few arrays, as each costs a write a gradient.

    `saves`: at every saved time loss, gradient norm, path length, dissipation, and the parameters
    if they are kept. `ends`: time and loss where the lane ended, the loss where it began, and its
    last state. `tallies`: status code, then `COUNTS`.
    """

    saves: Float[Array, "m s k"]
    ends: Float[Array, "m e"]
    tallies: Int[Array, "m n"]


COUNTS = {
    "steps": "steps",
    "rejected_steps": "rejected",
    "gradient_evaluations": "evaluations",
    "radius_evaluations": "radius_evaluations",
    "stop_evaluations": "stop_evaluations",
}


class Running(NamedTuple):
    """The slots, the lane in each (beyond the last one: none), and the next that waits.

    `points`: where each lane wants its gradient. Carried, and not computed where it is needed: XLA
    would compute it anew for every edge and sample that a weight is multiplied with.
    """

    slots: Lane
    points: Float[Array, "c q"]
    lane: Int[Array, " c"]
    row: Any
    following: Int[Array, ""]
    ledger: Ledger


def run_through(lanes: Lanes, rules: Rules, slots: int, keep_params: bool) -> Ledger:
    """All lanes, `slots` of them at a time, until the last one has ended."""
    count, size = lanes.thetas.shape

    def start(index: Int[Array, ""]) -> tuple[Lane, Any]:
        within = jnp.minimum(index, count - 1)
        return fresh(at_rest(lanes.thetas[within])), lanes.row(within)

    def asked(slot: Lane) -> Float[Array, "c q"]:
        return jax.vmap(point, in_axes=(0, None))(slot, rules)

    def body(running: Running) -> Running:
        points = running.points
        rows, thresholds = running.row
        values, gradients = _over_slots(lanes.value_and_gradient, slots, rows, points[:, :-2])
        after, told = jax.vmap(advance, in_axes=(0, 0, None, 0, 0))(
            running.slots, thresholds, rules, values, gradients
        )
        live = running.lane < lanes.waiting
        ended = told.finished & live
        ledger = running.ledger._replace(
            saves=_saved(running, told.save & live, values, gradients),
        )
        ledger = _closed(ledger, running.lane, after, ended)
        # The lanes that wait go into the slots that are free, in the order of the slots.
        place = running.following + jnp.cumsum(ended, dtype=jnp.int32) - 1
        lane = jnp.where(ended, place, running.lane)
        # Most gradients end no lane.
        slot, row = lax.cond(
            ended.any(),
            lambda: _chosen(ended, jax.vmap(start)(lane), (after, running.row)),
            lambda: (after, running.row),
        )
        following = running.following + jnp.sum(ended, dtype=jnp.int32)
        return Running(slot, asked(slot), lane, row, following, ledger)

    lane = jnp.arange(slots, dtype=jnp.int32)
    slot, row = jax.vmap(start)(lane)
    running = Running(
        slot,
        asked(slot),
        lane,
        row,
        jnp.asarray(slots, jnp.int32),
        _blank(count, rules.ts.shape[0], size, lanes.thetas.dtype, keep_params),
    )
    running = lax.while_loop(lambda r: (r.lane < lanes.waiting).any(), body, running)
    return running.ledger


def _over_slots(function: Callable, slots: int, *arguments: PyTree) -> PyTree:
    if slots > 1:
        return jax.vmap(function)(*arguments)
    # A batch of one costs a product of other shapes.
    single = function(*jax.tree.map(lambda leaf: leaf[0], arguments))
    return jax.tree.map(lambda leaf: leaf[None], single)


def _chosen(condition: Array, new: PyTree, old: PyTree) -> PyTree:
    def choose(a: Array, b: Array) -> Array:
        return jnp.where(jnp.expand_dims(condition, range(1, a.ndim)), a, b)

    return jax.tree.map(choose, new, old)


def _blank(count: int, times: int, size: int, dtype: Any, keep_params: bool) -> Ledger:
    return Ledger(
        saves=jnp.full((count, times, 4 + (size if keep_params else 0)), jnp.nan, dtype),
        ends=jnp.full((count, 3 + size + 2), jnp.nan, dtype),
        tallies=jnp.zeros((count, 1 + len(COUNTS)), jnp.int32),
    )


def _saved(running: Running, save, values, gradients) -> Float[Array, "m s k"]:
    saves = running.ledger.saves
    norms = jnp.sqrt(jnp.sum(jnp.square(gradients), axis=1))
    rows = jnp.concatenate(
        [values[:, None], norms[:, None], running.points[:, -2:], running.points[:, :-2]], axis=1
    )
    # Rows beyond the last lane are dropped.
    lane = jnp.where(save, running.lane, saves.shape[0])
    return saves.at[lane, running.slots.saved].set(rows[:, : saves.shape[-1]], mode="drop")


def _closed(ledger: Ledger, lane: Int[Array, " c"], after: Lane, ended: Array) -> Ledger:
    at = jnp.where(ended, lane, ledger.ends.shape[0])
    scalars = jnp.stack([after.ending, after.end_loss, after.first_loss], axis=1)
    ends = jnp.concatenate([scalars, jax.vmap(state_within)(after, after.upper)], axis=1)
    tallies = [after.code, *(getattr(after, field) for field in COUNTS.values())]
    return ledger._replace(
        ends=ledger.ends.at[at].set(ends, mode="drop"),
        tallies=ledger.tallies.at[at].set(jnp.stack(tallies, axis=1), mode="drop"),
    )
