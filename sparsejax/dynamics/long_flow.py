"""A long flow on the host's watch: checkpoints, a progress bar, a wall-clock budget."""

import contextlib
import dataclasses
import time
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array

from sparsejax.dynamics.checkpoint import Checkpoints
from sparsejax.dynamics.flow_progress import FlowProgress
from sparsejax.dynamics.segments import UNDER_WAY, Position
from sparsejax.dynamics.trajectory import WALL_CLOCK

# Wall-clock seconds between two looks from the host.
PIECE = 0.3


def in_pieces(
    begin: Callable[[], Position],
    advance: Callable[[Position, Array], Position],
    glance: Callable[[Position], dict[str, Array]],
    *,
    t1: float,
    max_steps: int,
    wall_clock: float | int | None,
    checkpoints: Checkpoints | None,
    checkpoint_every: int,
    progress: bool,
) -> Position:
    """Integrate piece by piece to the end, from the last checkpoint if there is one.

    The pieces are as long as `PIECE` asks: the steps are the same whatever they are.
    """
    since = time.monotonic()
    position, length = begin(), 4
    if checkpoints is not None:
        found = checkpoints.latest(position)
        if found is not None:
            position = found[1]
    with FlowProgress(t1) if progress else contextlib.nullcontext() as bar:
        while int(position.code) == UNDER_WAY and (done := int(position.ledger.steps)) < max_steps:
            if wall_clock is not None and time.monotonic() - since >= wall_clock:
                _save(checkpoints, position)
                code = jnp.full_like(position.code, WALL_CLOCK)
                return dataclasses.replace(position, code=code)
            # A checkpoint falls on whole multiples of its period.
            due = (done // checkpoint_every + 1) * checkpoint_every
            goal = min(done + length, max_steps, due)
            started = time.monotonic()
            position = jax.block_until_ready(advance(position, jnp.asarray(goal, jnp.int32)))
            elapsed = time.monotonic() - started
            length = _next_length(length, elapsed)
            if int(position.ledger.steps) == due or int(position.code) != UNDER_WAY:
                _save(checkpoints, position)
            if bar is not None:
                seen = glance(position)
                bar.show(
                    float(position.t),
                    float(seen["loss"]),
                    int(seen["gradient_evaluations"]) if "gradient_evaluations" in seen else None,
                    float(seen["sharpness"]) if "sharpness" in seen else None,
                )
    return position


def _next_length(length: int, elapsed: float) -> int:
    # The first piece compiles: its time says nothing, and the bounds on the factor forget it soon.
    factor = min(4.0, max(0.5, PIECE / max(elapsed, 1e-6)))
    return max(4, int(length * factor))


def _save(checkpoints: Checkpoints | None, position: Position) -> None:
    if checkpoints is not None:
        checkpoints.save(int(position.ledger.steps), position)
