"""Explicit Runge-Kutta steps of fixed size: a bare loop, without an ODE library's bookkeeping."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Int

from sparsejax.dynamics.stop import margins
from sparsejax.dynamics.trajectory import COMPLETED, NAN, UNDER_WAY, code_once_stopped

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


class StepPlan(eqx.Module):
    """Which steps lead to the saved times, known before the first of them.

    Between two saved times the step is the largest one not above `dt` that divides the gap, so that
    every saved state is the end of a step. `before`, `ts` (S,): the ends of the gap that leads to
    each saved time; `sizes` (S,), `counts` (S,): its steps; `ends` (S,): steps taken at its end;
    `budget`: steps that may be taken, those of whole gaps.
    """

    before: Float[Array, " s"]
    ts: Float[Array, " s"]
    sizes: Float[Array, " s"]
    counts: Int[Array, " s"]
    ends: Int[Array, " s"]
    budget: Int[Array, ""]


def step_plan(
    ts: np.ndarray, dt: float | int, max_steps: int, dtype: Any, *, halved: bool = False
) -> StepPlan:
    """The steps from time 0 to the times `ts`, in the arithmetic of `dtype`.

    A gap that would take more than `max_steps` in all is not begun. `halved`: every step in two.

    Example:
        >>> plan = step_plan(np.array([0.3, 0.35, 1.0]), 0.1, 10, np.float64)
        >>> plan.counts.tolist(), plan.ends.tolist(), int(plan.budget)
        ([3, 1, 7], [3, 4, 11], 4)
    """
    usual = np.dtype(jnp.result_type(float))
    ts, largest = ts.astype(usual).astype(dtype), np.asarray(dt, usual).astype(dtype)
    before = np.append(np.zeros(1, dtype), ts[:-1])
    gaps = ts - before
    # A gap that is a whole number of steps up to rounding is not given one step more.
    rounding = (8 * np.finfo(dtype).eps).astype(dtype)
    wanted = np.maximum(np.ceil((gaps - rounding * ts) / largest), gaps > 0).astype(dtype)
    wanted = 2 * wanted if halved else wanted
    most = np.iinfo(np.int32).max
    counts = np.minimum(wanted.astype(float), float(most)).astype(np.int64)
    ends = np.cumsum(counts)
    affordable = int(ends[ends <= max_steps].max(initial=0))
    return StepPlan(
        before=jnp.asarray(before),
        ts=jnp.asarray(ts),
        sizes=jnp.asarray(gaps / np.maximum(wanted, 1)),
        counts=jnp.asarray(counts, jnp.int32),
        ends=jnp.asarray(np.minimum(ends, most), jnp.int32),
        budget=jnp.asarray(affordable, jnp.int32),
    )


class FixedStepPosition(eqx.Module):
    """How far the steps have come, with all that it takes to go on.

    `y`: the last finite state, at time `t`; `states` (S, p): the saved ones as far as `t`; `code`:
    `UNDER_WAY` or how it ended; `first_loss` and `first_margins`: what stop conditions are relative
    to.
    """

    y: Float[Array, " p"]
    t: Float[Array, ""]
    steps: Int[Array, ""]
    code: Int[Array, ""]
    states: Float[Array, "s p"]
    first_loss: Float[Array, ""]
    first_margins: Float[Array, " k"]


class FixedSteps(NamedTuple):
    """A rule, a field and a plan; `measured(y) -> (loss, squared gradient norm)`.

    `thresholds`: of the stop conditions, each looked at when a step ends.
    """

    rule: FixedStepRule
    field: Field
    plan: StepPlan
    measured: Callable[[Array], tuple[Array, Array]]
    thresholds: Mapping[str, Array]

    def begin(self, y0: Float[Array, " p"]) -> FixedStepPosition:
        """At time zero, before the first step."""
        zero, none = jnp.zeros((), y0.dtype), jnp.zeros((), jnp.int32)
        code, loss, start = none + UNDER_WAY, zero, jnp.zeros(0, y0.dtype)
        if self.thresholds:
            loss, squared = self.measured(y0)
            start = margins(self.thresholds, loss, squared, loss)
            code = code_once_stopped(code, self.thresholds, start, start)
        states = jnp.broadcast_to(y0, (*self.plan.ts.shape, *y0.shape))
        return FixedStepPosition(y0, zero, none, code, states, loss, start)

    def through(self, y0: Float[Array, " p"]) -> FixedStepPosition:
        """All steps in one bare loop, without a look at stop conditions."""

        def gap(carry, at):
            before, t_next, h, count, affordable = at
            count = jnp.where(affordable, count, 0)

            def body(i, carry):
                y, t, taken, finite = carry
                at = before + i.astype(t.dtype) * h
                new = self.rule.step(self.field, at, y, h)
                taken = taken + finite.astype(jnp.int32)
                finite = finite & jnp.isfinite(new).all()
                return jnp.where(finite, new, y), jnp.where(finite, at + h, t), taken, finite

            finite = carry[3]
            y, t, taken, finite = jax.lax.fori_loop(0, jnp.where(finite, count, 0), body, carry)
            t = jnp.where(finite & affordable, t_next, t)
            return (y, t, taken, finite), y

        plan, start = self.plan, self.begin(y0)
        affordable = plan.ends <= plan.budget
        (y, t, taken, finite), states = jax.lax.scan(
            gap,
            (y0, start.t, start.steps, jnp.ones((), bool)),
            (plan.before, plan.ts, plan.sizes, plan.counts, affordable),
        )
        position = dataclasses.replace(start, y=y, t=t, steps=taken, states=states)
        return self._ended(position, ~finite)

    def advance(self, position: FixedStepPosition, goal: Int[Array, ""]) -> FixedStepPosition:
        """On until `goal` steps have been taken in all, or until the work ends."""
        plan = self.plan
        goal = jnp.minimum(goal, plan.budget)

        def body(position):
            row = jnp.searchsorted(plan.ends, position.steps, side="right").astype(jnp.int32)
            h, left = plan.sizes[row], plan.ends[row] - position.steps
            at = plan.before[row] + (plan.counts[row] - left).astype(h.dtype) * h
            y = self.rule.step(self.field, at, position.y, h)
            t = jnp.where(left == 1, plan.ts[row], at + h)
            finite = jnp.isfinite(y).all()
            y, t = jnp.where(finite, y, position.y), jnp.where(finite, t, position.t)
            position = dataclasses.replace(
                position,
                y=y,
                t=t,
                steps=position.steps + 1,
                # A row is written over until its time has come.
                states=jax.lax.dynamic_update_index_in_dim(position.states, y, row, 0),
            )
            position = self._ended(position, ~finite)
            if not self.thresholds:
                return position
            found = margins(self.thresholds, *self.measured(y), position.first_loss)
            # The end of the time is the lesser news.
            open_end = jnp.where(position.code == COMPLETED, UNDER_WAY, position.code)
            met = code_once_stopped(open_end, self.thresholds, found, position.first_margins)
            code = jnp.where(met == UNDER_WAY, position.code, met)
            return dataclasses.replace(position, code=code)

        return jax.lax.while_loop(
            lambda p: (p.code == UNDER_WAY) & (p.steps < goal),
            body,
            position,
        )

    def _ended(self, position: FixedStepPosition, failed: Bool[Array, ""]) -> FixedStepPosition:
        code = jnp.where(position.steps == self.plan.ends[-1], COMPLETED, position.code)
        code = jnp.where(position.code == UNDER_WAY, code, position.code)
        return dataclasses.replace(position, code=jnp.where(failed, NAN, code))
