"""RKC2 as a machine that asks for one gradient at a time, so that lanes need not march in step.

A lane is one flow somewhere in its own integration: at a stage of a step, at the end of one, in the
estimate of the spectral radius, at a time to be saved. In each phase it names one point and is told
loss and gradient there. Many lanes advance side by side, one gradient each, and none waits for the
stages, rejections or steps of another. Steps, error control and first step are those of
`gradient_flow(..., solver="rkc2")`; only the spectral radius is found by differences of gradients
in place of Hessian-vector products, as in the authors' code, so that it too is one gradient.
"""

from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from sparsejax.dynamics.lane import (
    CROSSING,
    END,
    FIRST_RADIUS,
    FIRST_STEP,
    RADIUS,
    SAVE,
    STAGE,
    START,
    Lane,
    Rules,
    displacement,
    looks_for_radius,
    with_values,
)
from sparsejax.dynamics.segments import largest_error
from sparsejax.dynamics.solvers.rkc2 import RKC2
from sparsejax.dynamics.solvers.spectral_radius import mixed
from sparsejax.dynamics.solvers.stabilised import (
    FIRST_ITERATIONS,
    ITERATIONS,
    REPETITIONS,
    TOLERANCE,
)
from sparsejax.dynamics.stop import first_met, margins
from sparsejax.dynamics.trajectory import (
    COMPLETED,
    DIVERGED,
    NAN,
    REACHED,
    STEP_BUDGET,
    STEP_UNDERFLOW,
    UNDER_WAY,
)

# Of the step size controller, as diffrax has them.
LEAST_FACTOR, LARGEST_FACTOR, SAFETY = 0.2, 10.0, 0.9


class Told(NamedTuple):
    """What a lane has to say after a gradient: the row it saves, if any, and whether it ended."""

    save: Bool[Array, ""]
    finished: Bool[Array, ""]


def advance(
    lane: Lane,
    thresholds: dict[str, Array],
    rules: Rules,
    loss: Float[Array, ""],
    gradient: Float[Array, " p"],
) -> tuple[Lane, Told]:
    """The lane after it has been told loss and gradient at its point."""
    phase = lane.phase
    field, squared, good = _field(loss, gradient)
    counting = (phase != SAVE) & (phase != CROSSING)
    lane = with_values(
        lane,
        evaluations=lane.evaluations + _one(counting),
        radius_evaluations=lane.radius_evaluations + _one(looks_for_radius(phase)),
        stop_evaluations=lane.stop_evaluations + _one(phase == CROSSING),
    )
    at_start = phase == START
    save = (phase == SAVE) | (at_start & good & (rules.ts[0] <= 0))
    lane = with_values(
        lane,
        saved=lane.saved + _one(save),
        slope=jnp.where(at_start, field, lane.slope),
        loss=jnp.where(at_start, loss, lane.loss),
        first_loss=jnp.where(at_start, loss, lane.first_loss),
        first_squared=jnp.where(at_start, squared, lane.first_squared),
        end_slope=jnp.where(at_start | ((phase == END) & good), field, lane.end_slope),
        end_loss=jnp.where(at_start | (phase == END), loss, lane.end_loss),
        code=jnp.where(at_start & ~good, NAN, lane.code),
        phase=jnp.where(at_start, FIRST_RADIUS, phase),
    )
    met_at_start = _met(lane, thresholds, loss, squared, at_start & good)
    lane = with_values(lane, code=jnp.where(met_at_start >= 0, REACHED + met_at_start, lane.code))
    finished = at_start & (lane.code != UNDER_WAY)

    lane, settled = _looked(lane, phase, field, good)
    lane = with_values(
        lane, phase=jnp.where(settled & (phase == FIRST_RADIUS), FIRST_STEP, lane.phase)
    )
    lane = with_values(
        lane,
        proposed=jnp.where(
            settled & (phase == FIRST_RADIUS), _trial_step(lane, rules), lane.proposed
        ),
        radius=jnp.where(settled & (phase == FIRST_RADIUS), lane.end_radius, lane.radius),
    )
    first = phase == FIRST_STEP
    lane = with_values(
        lane, proposed=jnp.where(first, _first_step(lane, rules, field, good), lane.proposed)
    )

    lane = _staged(lane, phase, field, good)
    lane, rejected = _judged(lane, rules, phase, good)
    # A step whose end is stiffer than its stages cover is repeated at once with more of them.
    intervals = jnp.asarray(RKC2().table.intervals, lane.base.dtype)
    done = settled & (phase == RADIUS)
    covered = lane.size * lane.end_radius <= intervals[lane.member]
    again = done & ~covered & (lane.trips < REPETITIONS)
    rejected = rejected | (done & ~covered & ~again)
    accepted = done & covered
    lane = with_values(
        lane,
        radius=jnp.where(done & ~covered, jnp.maximum(lane.radius, lane.end_radius), lane.radius),
        trips=jnp.where(again, lane.trips + 1, lane.trips),
        proposed=jnp.where(again, lane.size, lane.proposed),
        steps=lane.steps + _one(accepted | rejected),
        rejected=lane.rejected + _one(rejected),
    )
    lane = with_values(
        lane,
        proposed=jnp.where(rejected & (phase != END), LEAST_FACTOR * lane.size, lane.proposed),
    )

    lane = _crossed(lane, thresholds, rules, loss, squared, phase, accepted)
    too_large = accepted & (lane.end_loss > 1e6 * (jnp.abs(lane.first_loss) + 1))
    lane = with_values(lane, code=jnp.where(too_large, DIVERGED, lane.code))

    # What is left of an accepted step: times to save, and its end.
    inside = (accepted | (phase == SAVE) | (phase == CROSSING)) & (lane.phase != CROSSING)
    count = rules.ts.shape[0]
    due = rules.ts[jnp.minimum(lane.saved, count - 1)] <= lane.ending
    due = inside & (lane.saved < count) & due
    through = inside & ~due
    arrived = (lane.code == UNDER_WAY) & (lane.goal >= rules.t1)
    lane = with_values(lane, code=jnp.where(through & arrived, COMPLETED, lane.code))
    lane = with_values(lane, phase=jnp.where(due, SAVE, lane.phase))
    finished = finished | (through & (lane.code != UNDER_WAY))
    onward = through & ~finished
    spent = (lane.steps >= rules.max_steps) & (onward | rejected)
    lane = _moved(lane, onward)
    lane, stuck = _begun(lane, rules, onward | rejected | again | first, again)
    failed = (spent | stuck) & ~finished
    code = jnp.where(spent, STEP_BUDGET, STEP_UNDERFLOW)
    # A lane that fails ends where its last accepted step did.
    lane = with_values(
        lane,
        code=jnp.where(failed, code, lane.code),
        upper=jnp.where(failed, 0, lane.upper),
        end_loss=jnp.where(failed, lane.loss, lane.end_loss),
    )
    return lane, Told(save, finished | failed)


def _field(loss, gradient) -> tuple[Array, Array, Array]:
    """The field of parameters, path length and dissipation; `||grad L||^2`; is all of it finite."""
    squared = jnp.sum(jnp.square(gradient))
    good = jnp.isfinite(loss) & jnp.isfinite(squared)
    field = jnp.concatenate([-gradient, jnp.stack([jnp.sqrt(squared), squared])])
    return jnp.where(good, field, 0), squared, good


def _one(condition: Bool[Array, ""]) -> Int[Array, ""]:
    return condition.astype(jnp.int32)


def _looked(lane: Lane, phase, field, good) -> tuple[Lane, Bool[Array, ""]]:
    """After one power iteration by a difference of gradients; and whether it has settled."""
    looking = looks_for_radius(phase)
    image = (field[:-2] - lane.end_slope[:-2]) / displacement(lane)
    found = jnp.sqrt(jnp.sum(jnp.square(image)))
    usable = good & jnp.isfinite(found)
    settled = ~usable | (jnp.abs(found - lane.end_radius) <= TOLERANCE * found)
    allowed = jnp.where(phase == FIRST_RADIUS, FIRST_ITERATIONS, ITERATIONS)
    settled = looking & (settled | (lane.iterations + 1 >= allowed))
    turned = looking & usable & (found > 0)
    image = jnp.where(turned, image, 0) / jnp.where(turned, found, 1)
    return with_values(
        lane,
        iterations=lane.iterations + _one(looking),
        end_radius=jnp.where(looking & usable, found, lane.end_radius),
        direction=jnp.where(turned, image, lane.direction),
    ), settled


def _scaled(lane: Lane, rules: Rules, error, *states) -> Float[Array, ""]:
    """The size of an error in tolerances."""
    largest = jnp.abs(states[0])
    for state in states[1:]:
        largest = jnp.maximum(largest, jnp.abs(state))
    scaled = error / (rules.atol + rules.rtol * largest)
    return largest_error(scaled)


def _trial_step(lane: Lane, rules: Rules) -> Float[Array, ""]:
    """The Euler step that looks ahead for the first step (Hairer, Norsett, Wanner, II.4)."""
    d0 = _scaled(lane, rules, lane.base, lane.base)
    d1 = _scaled(lane, rules, lane.slope, lane.base)
    small = (d0 < 1e-5) | (d1 < 1e-5)
    return jnp.where(small, 1e-6, 0.01 * d0 / jnp.where(small, 1, d1))


def _first_step(lane: Lane, rules: Rules, field, good) -> Float[Array, ""]:
    trial = jnp.where(lane.proposed > 0, lane.proposed, 1)
    d1 = _scaled(lane, rules, lane.slope, lane.base)
    d2 = _scaled(lane, rules, field - lane.slope, lane.base) / trial
    largest = jnp.maximum(d1, d2)
    flat = largest <= 1e-15
    long = jnp.cbrt(0.01 / jnp.where(flat, 1, largest))
    step = jnp.minimum(100 * trial, jnp.where(flat, jnp.maximum(1e-6, 1e-3 * trial), long))
    return jnp.where(good, step, 1e-3 * trial)


def _staged(lane: Lane, phase, field, good) -> Lane:
    """After a stage of the recurrence."""
    table = RKC2().table
    rows = jnp.asarray(table.rows, lane.base.dtype)
    here = (phase == STAGE) & good
    row = rows[jnp.asarray(table.starts, jnp.int32)[lane.member] + lane.stage]
    r, q, m, g = row[0], row[1], lane.size * row[2], lane.size * row[3]
    difference = r * lane.increment + q * lane.difference + m * field + g * lane.slope
    # What overflowed is as good as not finite: the end of the step finds out.
    sound = here & jnp.isfinite(jnp.sum(jnp.abs(difference)))
    stage = jnp.where(here, lane.stage + 1, lane.stage)
    last = stage >= jnp.asarray(table.lengths, jnp.int32)[lane.member]
    return with_values(
        lane,
        difference=jnp.where(sound, difference, lane.difference),
        increment=jnp.where(sound, lane.increment + difference, lane.increment),
        stage=stage,
        phase=jnp.where(here & last, END, lane.phase),
    )


def _judged(lane: Lane, rules: Rules, phase, good) -> tuple[Lane, Bool[Array, ""]]:
    """After the end of a step: is the error as asked, how long is the next step, is it rejected."""
    at_end = phase == END
    half = 0.4 * lane.size
    estimate = half * (lane.slope + lane.end_slope) - 0.8 * lane.increment
    error = _scaled(lane, rules, estimate, lane.base, lane.base + lane.increment)
    good = good & jnp.isfinite(error)
    kept = good & (error < 1)
    factor = jnp.where(good, SAFETY / jnp.cbrt(jnp.where(good & (error > 0), error, 1e-30)), 0)
    largest = jnp.where(kept, LARGEST_FACTOR, SAFETY)
    factor = jnp.clip(factor, jnp.where(kept, 1, LEAST_FACTOR), largest)
    ahead = mixed(lane.direction, lane.difference[:-2])
    lane = with_values(
        lane,
        proposed=jnp.where(at_end, factor * lane.size, lane.proposed),
        phase=jnp.where(at_end & kept, RADIUS, lane.phase),
        iterations=jnp.where(at_end, 0, lane.iterations),
        end_radius=jnp.where(at_end, lane.radius, lane.end_radius),
        direction=jnp.where(at_end & kept, ahead, lane.direction),
    )
    return lane, (at_end & ~kept) | ((phase == STAGE) & ~good)


def _met(lane: Lane, thresholds, loss, squared, here) -> Int[Array, ""]:
    """Which stop condition holds at what has been evaluated, or -1."""
    nothing = jnp.full((), -1, jnp.int32)
    if not thresholds:
        return nothing
    found = margins(thresholds, loss, squared, lane.first_loss)
    at_start = margins(thresholds, lane.first_loss, lane.first_squared, lane.first_loss)
    return jnp.where(here & (jnp.min(found) <= 0), first_met(thresholds, found, at_start), nothing)


def _crossed(lane: Lane, thresholds, rules, loss, squared, phase, accepted) -> Lane:
    """Is a stop condition met at the end of this step, and where in it: by bisection."""
    if not thresholds:
        return lane
    # The gradient at the end of the step, not the one just told, which was aside.
    end_squared = lane.end_slope[-1]
    at_end = _met(lane, thresholds, lane.end_loss, end_squared, accepted)
    started = at_end >= 0
    inside = phase == CROSSING
    middle = 0.5 * (lane.lower + lane.upper)
    below = _met(lane, thresholds, loss, squared, inside)
    lower = jnp.where(inside & (below < 0), middle, jnp.where(started, 0, lane.lower))
    upper = jnp.where(below >= 0, middle, lane.upper)
    code = jnp.where(below >= 0, REACHED + below, lane.code)
    resolved = jnp.maximum(rules.rtol, 8 * jnp.finfo(rules.ts.dtype).eps)
    width = resolved * (lane.t + upper * lane.size + 1e-3 * rules.t1)
    narrow = inside & ((upper - lower) * lane.size <= width)
    crossing = (started | inside) & ~narrow
    return with_values(
        lane,
        lower=lower,
        upper=upper,
        code=jnp.where(started, REACHED + at_end, code),
        end_loss=jnp.where(below >= 0, loss, lane.end_loss),
        phase=jnp.where(crossing, CROSSING, jnp.where(narrow, SAVE, lane.phase)),
    )


def _moved(lane: Lane, onward: Bool[Array, ""]) -> Lane:
    """At the end of the step, which is where the next one starts."""
    return with_values(
        lane,
        t=jnp.where(onward, lane.goal, lane.t),
        base=jnp.where(onward, lane.base + lane.increment, lane.base),
        slope=jnp.where(onward, lane.end_slope, lane.slope),
        loss=jnp.where(onward, lane.end_loss, lane.loss),
        radius=jnp.where(onward, lane.end_radius, lane.radius),
    )


def _begun(lane: Lane, rules: Rules, begins, again) -> tuple[Lane, Bool[Array, ""]]:
    """The first stage, of the field at the start of the step; and whether the step is too short."""
    table = RKC2().table
    intervals = jnp.asarray(table.intervals, lane.base.dtype)
    wanted = RKC2().safety * lane.radius
    largest = intervals[-1] / jnp.where(wanted > 0, wanted, 1)
    size = jnp.where(wanted > 0, jnp.minimum(lane.proposed, largest), lane.proposed)
    goal = lane.t + size
    eps = jnp.finfo(rules.ts.dtype).eps
    goal = jnp.where(goal > rules.t1 * (1 - 128 * eps), rules.t1, goal)
    size = goal - lane.t
    stuck = begins & (size < jnp.maximum(rules.least_step, 10 * eps * lane.t))
    # A search would be a loop of its own.
    member = jnp.sum(intervals < wanted * size, dtype=jnp.int32)
    member = jnp.minimum(member, intervals.shape[0] - 1)
    weight = jnp.asarray(table.rows[:, 2], lane.base.dtype)
    weight = weight[jnp.asarray(table.starts, jnp.int32)[member]]
    first = weight * size * lane.slope
    return with_values(
        lane,
        goal=jnp.where(begins, goal, lane.goal),
        member=jnp.where(begins, member, lane.member),
        stage=jnp.where(begins, 1, lane.stage),
        trips=jnp.where(begins & ~again, 0, lane.trips),
        increment=jnp.where(begins, first, lane.increment),
        difference=jnp.where(begins, first, lane.difference),
        phase=jnp.where(begins, STAGE, lane.phase),
        upper=jnp.where(begins, 1, lane.upper),
    ), stuck
