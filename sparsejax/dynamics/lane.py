"""A flow somewhere in its own integration, and the point where it wants loss and gradient."""

import dataclasses

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int

from sparsejax.dynamics.solvers.spectral_radius import random_direction
from sparsejax.dynamics.trajectory import UNDER_WAY

# What the gradient that a lane asks for is needed for.
START, FIRST_RADIUS, FIRST_STEP, STAGE, END, RADIUS, CROSSING, SAVE = range(8)


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
    aside = jnp.where(looks_for_radius(phase), displacement(lane), 0)
    return y.at[:-2].add(aside * lane.direction)


def with_values(lane: Lane, **changes: Array) -> Lane:
    """The lane with other values, in the dtypes that it has."""
    return dataclasses.replace(
        lane,
        **{name: jnp.asarray(v).astype(getattr(lane, name).dtype) for name, v in changes.items()},
    )


def looks_for_radius(phase: Int[Array, ""]) -> Bool[Array, ""]:
    """Whether the gradient is one of a power iteration."""
    return (phase == FIRST_RADIUS) | (phase == RADIUS)


def displacement(lane: Lane) -> Float[Array, ""]:
    """How far to look aside for the spectral radius; the direction has length one.

    Shorter than the root of the roundoff that is usual: across kinks of an activation differences
    over a longer way find curvature that a step does not meet, and change with every direction.
    """
    dtype = lane.base.dtype
    length = jnp.sqrt(jnp.sum(jnp.square(lane.base[:-2])))
    share = jnp.asarray(float(jnp.finfo(dtype).eps) ** (2 / 3), dtype)
    return share * jnp.maximum(length, 1)


def _hermite(lane: Lane, s: Float[Array, ""]) -> tuple[Array, Array, Array]:
    """Weights of the increment and of both slopes."""
    size = lane.size
    return s * s * (3 - 2 * s), size * s * jnp.square(1 - s), size * s * s * (s - 1)
