"""A long run on the host's watch: checkpoints, a progress bar, a wall-clock budget."""

import contextlib
import dataclasses
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, Protocol, TypeVar, runtime_checkable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from sparsejax.dynamics.checkpoint import Checkpoints
from sparsejax.dynamics.finiteness import concrete
from sparsejax.dynamics.flow_progress import FlowProgress
from sparsejax.dynamics.stop import Stop
from sparsejax.dynamics.trajectory import UNDER_WAY, WALL_CLOCK

# Wall-clock seconds between two looks from the host.
PIECE = 0.3


@runtime_checkable
class Resumable(Protocol):
    """How far a run has come, a dataclass and a pytree: steps taken, and `UNDER_WAY` or its end."""

    @property
    def steps(self) -> Any: ...  # noqa: D102

    @property
    def code(self) -> Any: ...  # noqa: D102


R = TypeVar("R", bound=Resumable)


@dataclasses.dataclass(frozen=True)
class HostWatch:
    """What the host does while a run goes on: checkpoints, a bar, a wall-clock budget."""

    folder: str | Path | None
    every: int
    progress: bool
    wall_clock: float | int | None

    def run(
        self,
        begin: Callable[[], R],
        advance: Callable[[R, Array], R],
        glance: Callable[[R], dict[str, Array]],
        identity: dict[str, str],
        *,
        max_steps: int,
        total: float,
        unit: str,
    ) -> R:
        """Go piece by piece to the end, from the last checkpoint of this identity if there is one.

        `advance(position, goal)`: on until `goal` steps have been taken in all. `glance`: what the
        bar shows, `at` (of `total`, in `unit`) and `loss` at least. The pieces are as long as
        `PIECE` asks: the steps are the same whatever they are.
        """
        since = time.monotonic()
        checkpoints = None if self.folder is None else Checkpoints(self.folder, identity)
        position, length = begin(), 4
        if checkpoints is not None:
            found = checkpoints.latest(position)
            if found is not None:
                position = found[1]
        with FlowProgress(total, unit=unit) if self.progress else contextlib.nullcontext() as bar:
            while int(position.code) == UNDER_WAY and (done := int(position.steps)) < max_steps:
                if self.wall_clock is not None and time.monotonic() - since >= self.wall_clock:
                    _save(checkpoints, position)
                    code = jnp.full_like(position.code, WALL_CLOCK)
                    return dataclasses.replace(position, code=code)  # type: ignore[type-var]
                # A checkpoint falls on whole multiples of its period.
                due = (done // self.every + 1) * self.every
                goal = min(done + length, max_steps, due)
                started = time.monotonic()
                position = jax.block_until_ready(advance(position, jnp.asarray(goal, jnp.int32)))
                length = _next_length(length, time.monotonic() - started)
                if int(position.steps) == due or int(position.code) != UNDER_WAY:
                    _save(checkpoints, position)
                if bar is not None:
                    seen = glance(position)
                    work, sharp = seen.get("gradient_evaluations"), seen.get("sharpness")
                    bar.show(
                        float(seen["at"]),
                        float(seen["loss"]),
                        None if work is None else int(work),
                        None if sharp is None else float(sharp),
                    )
        return position


def host_watch(
    arguments: PyTree,
    stop: Stop | None,
    checkpoint: str | Path | None,
    checkpoint_every: int,
    progress: bool,
) -> HostWatch | None:
    """The watch that is asked for, if any; raises ValueError where there can be none.

    `arguments`: what the run is made of, which must then be known outside any trace.
    """
    if checkpoint_every < 1:
        raise ValueError(f"checkpoint_every must be positive, got {checkpoint_every}")
    wall_clock = None if stop is None else stop.wall_clock
    if not progress and checkpoint is None and wall_clock is None:
        return None
    for leaf in jax.tree.leaves(eqx.filter(arguments, eqx.is_array)):
        if jnp.issubdtype(leaf.dtype, jax.dtypes.prng_key):
            leaf = jax.random.key_data(leaf)
        if concrete(leaf) is None:
            raise ValueError("checkpoint, progress and wall_clock do not work under jit or vmap")
    return HostWatch(checkpoint, checkpoint_every, progress, wall_clock)


def _next_length(length: int, elapsed: float) -> int:
    # The first piece compiles: its time says nothing, and the bounds on the factor forget it soon.
    factor = min(4.0, max(0.5, PIECE / max(elapsed, 1e-6)))
    return max(4, int(length * factor))


def _save(checkpoints: Checkpoints | None, position: Resumable) -> None:
    if checkpoints is not None:
        checkpoints.save(int(position.steps), position)
