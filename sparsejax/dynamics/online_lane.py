"""One lane of an online ensemble: its steps in chunks, what it records, and how it ends.

The loop, on two cores of an AMD EPYC: a scan of `record_every` steps inside a while loop that ends
with the lane. Keys, data and gradients of a step stay inside, without a round trip to the host.
"""

from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Float, Int, Key, PyTree

from sparsejax.dynamics.descent import failure
from sparsejax.dynamics.trajectory import COMPLETED, REACHED, UNDER_WAY

Side = Literal["above", "below"]


class Event(NamedTuple):
    """When a probe is first above, or below, its threshold; arrays are looked at by entry."""

    name: str
    probe: str
    side: Side


class OnlineProgram(eqx.Module):
    """What goes into the compiled program: numbers as arrays, so that new ones do not recompile."""

    build: Callable
    stream: Callable
    optimizer: optax.GradientTransformation
    loss: Callable
    probes: dict[str, Callable]
    thresholds: dict[str, Array]
    events: tuple[Event, ...] = eqx.field(static=True)
    saves: int = eqx.field(static=True)
    record_every: int = eqx.field(static=True)
    dtype: Any = eqx.field(static=True)

    def begin(self, key: Key[Array, ""]) -> tuple[Callable, PyTree, Callable, Array]:
        """Function, parameters, source of data and the key of the data, all from a lane's key."""
        build_key, stream_key, data_key = jax.random.split(key, 3)
        f, params = in_dtype(self.build(build_key), self.dtype)
        return f, params, in_dtype(self.stream(stream_key), self.dtype), data_key

    def batch(self, source: Callable, key: Array, step: Int[Array, ""]) -> tuple[PyTree, Array]:
        """The data of one step, a function of the lane's key and the step alone."""
        return in_dtype(source(jax.random.fold_in(key, step), step), self.dtype)

    def probed(self, f: Callable, params: PyTree) -> dict[str, Float[Array, "..."]]:
        """The values of all probes."""
        found = {name: jnp.asarray(probe(f, params)) for name, probe in self.probes.items()}
        return {name: value.astype(self.dtype) for name, value in found.items()}

    def run(self, key: Key[Array, ""]) -> "LaneRun":
        """The whole lane."""
        f, params, source, data_key = self.begin(key)

        def value_of(params: PyTree, step: Int[Array, ""]) -> Float[Array, ""]:
            x, y = self.batch(source, data_key, step)
            return jnp.mean(self.loss(f(params, x), y))

        def one_step(carry, step):
            params, state = carry
            value, gradient = jax.value_and_grad(value_of)(params, step)
            updates, state = self.optimizer.update(gradient, state, params)
            return (optax.apply_updates(params, updates), state), value

        def chunk(lane: LaneState) -> LaneState:
            first = lane.chunks * self.record_every
            (params, state), values = jax.lax.scan(
                one_step,
                (lane.params, lane.optimizer_state),
                first + jnp.arange(self.record_every, dtype=jnp.int32),
            )
            return self.recorded(lane, f, params, state, jnp.mean(values))

        first_value, found = value_of(params, jnp.zeros((), jnp.int32)), self.probed(f, params)
        # No event has been met, and the start counts for those that it meets.
        hitting = {
            event.name: jnp.where(self.met(event, found), 0.0, jnp.inf).astype(self.dtype)
            for event in self.events
        }
        lane = LaneState(
            params=params,
            optimizer_state=self.optimizer.init(params),
            chunks=jnp.zeros((), jnp.int32),
            code=self.ended(jnp.full((), UNDER_WAY, jnp.int32), hitting),
            first_value=first_value,
            watched=found,
            hitting=hitting,
            losses=self.column(first_value),
            probes={name: self.column(value) for name, value in found.items()},
        )
        lane = jax.lax.while_loop(lambda lane: lane.code == UNDER_WAY, chunk, lane)
        return LaneRun(
            f=eqx.filter(f, eqx.is_array),
            params=lane.params,
            code=lane.code,
            steps_run=lane.chunks * self.record_every,
            hitting=lane.hitting,
            losses=lane.losses,
            probes=lane.probes,
        )

    def recorded(
        self, lane: "LaneState", f: Callable, params: PyTree, state: PyTree, value: Array
    ) -> "LaneState":
        """The lane after a chunk that ended with these parameters; `value`: its mean loss."""
        chunks = lane.chunks + 1
        code = failure(lane.code, value, lane.first_value)
        alive, found = code == UNDER_WAY, self.probed(f, params)
        hitting = {
            event.name: jnp.where(alive, self.hit(event, lane, found), lane.hitting[event.name])
            for event in self.events
        }
        code = self.ended(code, hitting)
        done = (code == UNDER_WAY) & (chunks == self.saves)

        def put(column: Array, value: Array) -> Array:
            shown = jnp.where(alive, value, jnp.nan).astype(column.dtype)
            return jax.lax.dynamic_update_index_in_dim(column, shown, chunks, 0)

        return LaneState(
            params=params,
            optimizer_state=state,
            chunks=chunks,
            code=jnp.where(done, COMPLETED, code),
            first_value=lane.first_value,
            watched=found,
            hitting=hitting,
            losses=put(lane.losses, value),
            probes={name: put(column, found[name]) for name, column in lane.probes.items()},
        )

    def met(self, event: Event, found: dict[str, Array]) -> Array:
        """Whether each entry of the probe is beyond its threshold."""
        threshold = self.thresholds[event.name]
        value = found[event.probe]
        return value >= threshold if event.side == "above" else value <= threshold

    def hit(self, event: Event, lane: "LaneState", found: dict[str, Array]) -> Array:
        """When each entry first met its threshold, linear between two records; else infinite."""
        before, now = lane.watched[event.probe], found[event.probe]
        known, threshold = lane.hitting[event.name], self.thresholds[event.name]
        share = (threshold - before) / jnp.where(now == before, 1, now - before)
        at = (lane.chunks.astype(self.dtype) + jnp.clip(share, 0, 1)) * self.record_every
        return jnp.where(self.met(event, found) & jnp.isinf(known), at, known)

    def ended(self, code: Int[Array, ""], hitting: dict[str, Array]) -> Int[Array, ""]:
        """The code of a lane under way, another where all events have been met."""
        if not self.events:
            return code
        all_met = jnp.stack([jnp.all(jnp.isfinite(at)) for at in hitting.values()]).all()
        return jnp.where((code == UNDER_WAY) & all_met, REACHED, code)

    def column(self, value: Array) -> Array:
        """Room for all records, the first of them in place."""
        rows = jnp.full((self.saves + 1, *value.shape), jnp.nan, value.dtype)
        return rows.at[0].set(value)


class LaneState(NamedTuple):
    """What a lane carries from chunk to chunk; `watched`: the probes at its end."""

    params: PyTree
    optimizer_state: PyTree
    chunks: Int[Array, ""]
    code: Int[Array, ""]
    first_value: Float[Array, ""]
    watched: dict[str, Array]
    hitting: dict[str, Array]
    losses: Float[Array, " k"]
    probes: dict[str, Array]


class LaneRun(NamedTuple):
    """What a lane leaves; `f`: the arrays of its function."""

    f: PyTree
    params: PyTree
    code: Int[Array, ""]
    steps_run: Int[Array, ""]
    hitting: dict[str, Array]
    losses: Float[Array, " k"]
    probes: dict[str, Array]


def in_dtype(tree: PyTree, dtype: Any) -> PyTree:
    """The same with its real arrays in this dtype."""

    def cast(leaf: Any) -> Any:
        if eqx.is_array(leaf) and jnp.issubdtype(leaf.dtype, jnp.floating):
            return leaf.astype(dtype)
        return leaf

    return jax.tree.map(cast, tree)
