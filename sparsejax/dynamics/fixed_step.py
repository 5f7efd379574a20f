"""Explicit Runge-Kutta steps of fixed size: a bare loop, without an ODE library's bookkeeping."""

import dataclasses
from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

Field = Callable[..., Array]


def _euler(field: Field, t: Array, y: Array, h: Array) -> Array:
    return y + h * field(t, y, None)


def _rk4(field: Field, t: Array, y: Array, h: Array) -> Array:
    k1 = field(t, y, None)
    k2 = field(t + h / 2, y + h / 2 * k1, None)
    k3 = field(t + h / 2, y + h / 2 * k2, None)
    k4 = field(t + h, y + h * k3, None)
    return y + h / 6 * (k1 + 2 * k2 + 2 * k3 + k4)


@dataclasses.dataclass(frozen=True)
class FixedStepRule:
    """One explicit step `y(t) -> y(t + h)` and its number of field evaluations."""

    step: Callable[[Field, Array, Array, Array], Array]
    evaluations: int
    order: int


FIXED_STEP_RULES = {
    "euler": FixedStepRule(_euler, evaluations=1, order=1),
    "rk4": FixedStepRule(_rk4, evaluations=4, order=4),
}


class FixedStepPath(NamedTuple):
    """States at the saved times, NaN where they were not reached, and how the work ended.

    `last` is the last finite state, at time `reached`; `exhausted`: `max_steps` did not suffice.
    """

    states: Float[Array, "s p"]
    last: Float[Array, " p"]
    reached: Float[Array, ""]
    finite: Bool[Array, ""]
    exhausted: Bool[Array, ""]
    steps: Int[Array, ""]


def fixed_step_states(
    rule: str,
    field: Field,
    y0: Float[Array, " p"],
    ts: Float[Array, " s"],
    dt: Float[Array, ""],
    max_steps: int,
    *,
    halved: bool = False,
) -> FixedStepPath:
    """States at the saved times from time 0, by steps of one rule.

    Between two saved times the step is the largest one not above `dt` that divides the gap, so
    that every saved state is the end of a step. A gap that would take more than `max_steps` in all
    is not begun, and a state that is not finite ends the work. `halved`: every step in two.
    """
    step = FIXED_STEP_RULES[rule].step
    # A gap that is a whole number of steps up to rounding is not given one step more.
    rounding = 8 * jnp.finfo(ts.dtype).eps

    def advance(path, t_next):
        t, y, reached, finite, exhausted, taken = path
        gap = t_next - t
        wanted = jnp.ceil((gap - rounding * t_next) / dt)
        wanted = jnp.maximum(wanted, (gap > 0).astype(wanted.dtype))
        wanted = 2 * wanted if halved else wanted
        left = max_steps - taken
        exhausted = exhausted | (wanted > left.astype(wanted.dtype))
        count = jnp.where(exhausted, 0, wanted).astype(jnp.int32)
        h = gap / jnp.maximum(wanted, 1)

        def body(i, state):
            y, reached, finite = state
            at = t + i.astype(t.dtype) * h
            new = step(field, at, y, h)
            finite = finite & jnp.isfinite(new).all()
            return jnp.where(finite, new, y), jnp.where(finite, at + h, reached), finite

        y, reached, finite = jax.lax.fori_loop(
            0, jnp.where(finite, count, 0), body, (y, reached, finite)
        )
        there = finite & ~exhausted
        reached = jnp.where(there, t_next, reached)
        path = (t_next, y, reached, finite, exhausted, taken + count)
        return path, jnp.where(there, y, jnp.nan)

    zero, no = jnp.zeros((), ts.dtype), jnp.zeros((), bool)
    start = (zero, y0, zero, ~no, no, jnp.zeros((), jnp.int32))
    (_, last, reached, finite, exhausted, steps), states = jax.lax.scan(advance, start, ts)
    return FixedStepPath(states, last, reached, finite, exhausted & finite, steps)
