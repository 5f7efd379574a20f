"""RKC2 as a machine that asks for one gradient at a time, so that lanes need not march in step.

A lane is one flow somewhere in its own integration: at a stage of a step, at the end of one, in the
estimate of the spectral radius, at a time to be saved. In each phase it names one point and is told
loss and gradient there. Many lanes advance side by side, one gradient each, and none waits for the
stages, rejections or steps of another. Steps, error control and first step are those of
`gradient_flow(..., solver="rkc2")`; only the spectral radius is found by differences of gradients
in place of Hessian-vector products, as in the authors' code, so that it too is one gradient.
"""

import dataclasses
from typing import NamedTuple

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from sparsejax.dynamics.solvers.rkc2 import RKC2
from sparsejax.dynamics.solvers.spectral_radius import mixed, random_direction
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

# What the gradient that a lane asks for is needed for.
START, FIRST_RADIUS, FIRST_STEP, STAGE, END, RADIUS, CROSSING, SAVE = range(8)
# Of the step size controller, as diffrax has them.
LEAST_FACTOR, LARGEST_FACTOR, SAFETY = 0.2, 10.0, 0.9


class Rules(eqx.Module):
    """What all lanes have in common: tolerances, saved times, most steps of one lane."""

    ts: Float[Array, " s"]
    rtol: Float[Array, ""]
    atol: Float[Array, ""]
    max_steps: Int[Array, ""]

    @property
    def t1(self) -> Float[Array, ""]:
        """The end of the flow: nothing is integrated that is not saved."""
        return self.ts[-1]

    @property
    def least_step(self) -> Float[Array, ""]:
        """A shorter step ends the lane."""
        return max(1e-13, float(jnp.finfo(self.ts.dtype).eps)) * self.t1


class Lane(eqx.Module):
    """One flow under way. Vectors hold parameters, path length and dissipation.

    The step goes from `t` to `goal`: `base` and `slope` are state and field at `t`, `increment` and
    `difference` the recurrence of the stages, `end_slope` the field at `base + increment`.
    All vectors are finite at all times: a point is a combination of them, and a weight of zero
    must remove what it multiplies.
    """

    t: Float[Array, ""]
    goal: Float[Array, ""]
    base: Float[Array, " q"]
    slope: Float[Array, " q"]
    increment: Float[Array, " q"]
    difference: Float[Array, " q"]
    end_slope: Float[Array, " q"]
    direction: Float[Array, " p"]
    phase: Int[Array, ""]
    member: Int[Array, ""]  # of the table of stage counts
    stage: Int[Array, ""]
    trips: Int[Array, ""]  # attempts at this step for want of stages
    iterations: Int[Array, ""]  # of this power iteration
    radius: Float[Array, ""]  # that this step is to cover
    end_radius: Float[Array, ""]
    proposed: Float[Array, ""]  # size of the next step
    lower: Float[Array, ""]  # the bracket of a crossing, in fractions of the step
    upper: Float[Array, ""]
    saved: Int[Array, ""]  # how many saved times lie behind
    code: Int[Array, ""]  # what to call the end, as soon as it is known
    loss: Float[Array, ""]  # at `base`
    end_loss: Float[Array, ""]
    first_loss: Float[Array, ""]
    first_squared: Float[Array, ""]
    steps: Int[Array, ""]
    rejected: Int[Array, ""]
    evaluations: Int[Array, ""]
    radius_evaluations: Int[Array, ""]
    stop_evaluations: Int[Array, ""]

    @property
    def size(self) -> Float[Array, "*lanes"]:
        """Of the step under way."""
        return self.goal - self.t

    @property
    def ending(self) -> Float[Array, "*lanes"]:
        """The time up to which this step counts: its end, or the crossing in it."""
        return jnp.where(self.upper < 1, self.t + self.upper * self.size, self.goal)


class Told(NamedTuple):
    """What a lane has to say after a gradient: the row it saves, if any, and whether it ended."""

    save: Bool[Array, ""]
    finished: Bool[Array, ""]


def fresh(state: Float[Array, " q"]) -> Lane:
    """A lane at time zero that has not been evaluated."""
    zero, none = jnp.zeros((), state.dtype), jnp.zeros((), jnp.int32)
    nowhere = jnp.zeros_like(state)
    return Lane(
        t=zero,
        goal=zero,
        base=state,
        slope=nowhere,
        increment=nowhere,
        difference=nowhere,
        end_slope=nowhere,
        direction=random_direction(state[:-2]),
        phase=jnp.full_like(none, START),
        member=none,
        stage=none,
        trips=none,
        iterations=none,
        radius=zero,
        end_radius=zero,
        proposed=zero,
        lower=zero,
        upper=jnp.ones_like(zero),
        saved=none,
        code=jnp.full_like(none, UNDER_WAY),
        loss=zero,
        end_loss=zero,
        first_loss=zero,
        first_squared=zero,
        steps=none,
        rejected=none,
        evaluations=none,
        radius_evaluations=none,
        stop_evaluations=none,
    )


def state_within(lane: Lane, fraction: Float[Array, ""]) -> Float[Array, " q"]:
    """Between `t` and `goal` by the cubic Hermite interpolant, exact at both ends."""
    weights = _hermite(lane, fraction)
    vectors = (lane.increment, lane.slope, lane.end_slope)
    return lane.base + sum(w * v for w, v in zip(weights, vectors, strict=True))


def point(lane: Lane, rules: Rules) -> Float[Array, " q"]:
    """Where the lane wants loss and gradient: one combination of its vectors in every phase."""
    phase, size = lane.phase, lane.size
    saving = rules.ts[jnp.minimum(lane.saved, rules.ts.shape[0] - 1)]
    fraction = jnp.where(
        phase == CROSSING,
        0.5 * (lane.lower + lane.upper),
        jnp.clip((saving - lane.t) / jnp.where(size > 0, size, 1), 0, 1),
    )
    inside = (phase == CROSSING) | (phase == SAVE)
    along, slope, end_slope = (jnp.where(inside, w, 0) for w in _hermite(lane, fraction))
    at_end = (phase == STAGE) | (phase == END) | (phase == RADIUS)
    along = jnp.where(at_end, 1, along)
    slope = jnp.where(phase == FIRST_STEP, lane.proposed, slope)
    y = lane.base + along * lane.increment + slope * lane.slope + end_slope * lane.end_slope
    aside = jnp.where(_looks_for_radius(phase), _displacement(lane), 0)
    return y.at[:-2].add(aside * lane.direction)


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
    lane = _with(
        lane,
        evaluations=lane.evaluations + _one(counting),
        radius_evaluations=lane.radius_evaluations + _one(_looks_for_radius(phase)),
        stop_evaluations=lane.stop_evaluations + _one(phase == CROSSING),
    )
    at_start = phase == START
    save = (phase == SAVE) | (at_start & good & (rules.ts[0] <= 0))
    lane = _with(
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
    lane = _with(lane, code=jnp.where(met_at_start >= 0, REACHED + met_at_start, lane.code))
    finished = at_start & (lane.code != UNDER_WAY)

    lane, settled = _looked(lane, phase, field, good)
    lane = _with(lane, phase=jnp.where(settled & (phase == FIRST_RADIUS), FIRST_STEP, lane.phase))
    lane = _with(
        lane,
        proposed=jnp.where(
            settled & (phase == FIRST_RADIUS), _trial_step(lane, rules), lane.proposed
        ),
        radius=jnp.where(settled & (phase == FIRST_RADIUS), lane.end_radius, lane.radius),
    )
    first = phase == FIRST_STEP
    lane = _with(
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
    lane = _with(
        lane,
        radius=jnp.where(done & ~covered, jnp.maximum(lane.radius, lane.end_radius), lane.radius),
        trips=jnp.where(again, lane.trips + 1, lane.trips),
        proposed=jnp.where(again, lane.size, lane.proposed),
        steps=lane.steps + _one(accepted | rejected),
        rejected=lane.rejected + _one(rejected),
    )
    lane = _with(
        lane,
        proposed=jnp.where(rejected & (phase != END), LEAST_FACTOR * lane.size, lane.proposed),
    )

    lane = _crossed(lane, thresholds, rules, loss, squared, phase, accepted)
    too_large = accepted & (lane.end_loss > 1e6 * (jnp.abs(lane.first_loss) + 1))
    lane = _with(lane, code=jnp.where(too_large, DIVERGED, lane.code))

    # What is left of an accepted step: times to save, and its end.
    inside = (accepted | (phase == SAVE) | (phase == CROSSING)) & (lane.phase != CROSSING)
    count = rules.ts.shape[0]
    due = rules.ts[jnp.minimum(lane.saved, count - 1)] <= lane.ending
    due = inside & (lane.saved < count) & due
    through = inside & ~due
    arrived = (lane.code == UNDER_WAY) & (lane.goal >= rules.t1)
    lane = _with(lane, code=jnp.where(through & arrived, COMPLETED, lane.code))
    lane = _with(lane, phase=jnp.where(due, SAVE, lane.phase))
    finished = finished | (through & (lane.code != UNDER_WAY))
    onward = through & ~finished
    spent = (lane.steps >= rules.max_steps) & (onward | rejected)
    lane = _moved(lane, onward)
    lane, stuck = _begun(lane, rules, onward | rejected | again | first, again)
    failed = (spent | stuck) & ~finished
    code = jnp.where(spent, STEP_BUDGET, STEP_UNDERFLOW)
    # A lane that fails ends where its last accepted step did.
    lane = _with(
        lane,
        code=jnp.where(failed, code, lane.code),
        upper=jnp.where(failed, 0, lane.upper),
        end_loss=jnp.where(failed, lane.loss, lane.end_loss),
    )
    return lane, Told(save, finished | failed)


def _with(lane: Lane, **changes: Array) -> Lane:
    """The lane with other values, in the dtypes that it has."""
    return dataclasses.replace(
        lane,
        **{name: jnp.asarray(v).astype(getattr(lane, name).dtype) for name, v in changes.items()},
    )


def _field(loss, gradient) -> tuple[Array, Array, Array]:
    """The field of parameters, path length and dissipation; `||grad L||^2`; is all of it finite."""
    squared = jnp.sum(jnp.square(gradient))
    good = jnp.isfinite(loss) & jnp.isfinite(squared)
    field = jnp.concatenate([-gradient, jnp.stack([jnp.sqrt(squared), squared])])
    return jnp.where(good, field, 0), squared, good


def _one(condition: Bool[Array, ""]) -> Int[Array, ""]:
    return condition.astype(jnp.int32)


def _looks_for_radius(phase: Int[Array, ""]) -> Bool[Array, ""]:
    return (phase == FIRST_RADIUS) | (phase == RADIUS)


def _hermite(lane: Lane, s: Float[Array, ""]) -> tuple[Array, Array, Array]:
    """Weights of the increment and of both slopes."""
    size = lane.size
    return s * s * (3 - 2 * s), size * s * jnp.square(1 - s), size * s * s * (s - 1)


def _displacement(lane: Lane) -> Float[Array, ""]:
    """How far to look aside for the spectral radius; the direction has length one.

    Shorter than the root of the roundoff that is usual: across kinks of an activation differences
    over a longer way find curvature that a step does not meet, and change with every direction.
    """
    dtype = lane.base.dtype
    length = jnp.sqrt(jnp.sum(jnp.square(lane.base[:-2])))
    share = jnp.asarray(float(jnp.finfo(dtype).eps) ** (2 / 3), dtype)
    return share * jnp.maximum(length, 1)


def _looked(lane: Lane, phase, field, good) -> tuple[Lane, Bool[Array, ""]]:
    """After one power iteration by a difference of gradients; and whether it has settled."""
    looking = _looks_for_radius(phase)
    image = (field[:-2] - lane.end_slope[:-2]) / _displacement(lane)
    found = jnp.sqrt(jnp.sum(jnp.square(image)))
    usable = good & jnp.isfinite(found)
    settled = ~usable | (jnp.abs(found - lane.end_radius) <= TOLERANCE * found)
    allowed = jnp.where(phase == FIRST_RADIUS, FIRST_ITERATIONS, ITERATIONS)
    settled = looking & (settled | (lane.iterations + 1 >= allowed))
    turned = looking & usable & (found > 0)
    image = jnp.where(turned, image, 0) / jnp.where(turned, found, 1)
    return _with(
        lane,
        iterations=lane.iterations + _one(looking),
        end_radius=jnp.where(looking & usable, found, lane.end_radius),
        direction=jnp.where(turned, image, lane.direction),
    ), settled


def _scaled(lane: Lane, rules: Rules, error, *states) -> Float[Array, ""]:
    """The size of an error in tolerances: of the parameters and of the dissipation.

    Among thousands of parameters the dissipation would not count; the length of the path does not.
    """
    largest = jnp.abs(states[0])
    for state in states[1:]:
        largest = jnp.maximum(largest, jnp.abs(state))
    scaled = error / (rules.atol + rules.rtol * largest)
    squares = jnp.square(scaled[:-2])
    # A flow without parameters has nothing to be wrong about.
    mean = jnp.sum(squares) / max(squares.shape[0], 1)
    return jnp.maximum(jnp.sqrt(mean), jnp.abs(scaled[-1]))


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
    return _with(
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
    lane = _with(
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
    return _with(
        lane,
        lower=lower,
        upper=upper,
        code=jnp.where(started, REACHED + at_end, code),
        end_loss=jnp.where(below >= 0, loss, lane.end_loss),
        phase=jnp.where(crossing, CROSSING, jnp.where(narrow, SAVE, lane.phase)),
    )


def _moved(lane: Lane, onward: Bool[Array, ""]) -> Lane:
    """At the end of the step, which is where the next one starts."""
    return _with(
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
    return _with(
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
