"""The trajectory of a flow: what holds at the saved states, and what to call the ending."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PyTree

from sparsejax.dynamics.recording import at_saved_times, blank
from sparsejax.dynamics.trajectory import (
    COMPLETED,
    DIVERGED,
    NAN,
    STEP_UNDERFLOW,
    Trajectory,
)


def flow_field(loss, unravel):
    """The field of (theta, path length, dissipation): both integrals come at no extra gradient."""
    # Under jit the loss is traced once, however often the solver writes the field down.
    gradient_of = jax.jit(jax.grad(lambda theta: loss(unravel(theta))))

    def field(t, y, args):
        gradient = gradient_of(y[:-2])
        squared = jnp.sum(jnp.square(gradient))
        # sqrt has no derivative at a critical point, where the path has ended anyway.
        norm = jnp.where(squared > 0, jnp.sqrt(jnp.where(squared > 0, squared, 1)), 0)
        return jnp.concatenate([-gradient, jnp.stack([norm, squared])])

    return field


def measured_state(loss, unravel):
    """`state -> (loss, squared gradient norm)`, which is what stop conditions look at."""
    evaluate = jax.jit(jax.value_and_grad(lambda theta: loss(unravel(theta))))

    def measured(y):
        value, gradient = evaluate(y[:-2])
        return value, jnp.sum(jnp.square(gradient))

    return measured


def parameters_alone(state: Float[Array, " q"]) -> Float[Array, " q"]:
    """The state without its integrals, on which the field does not depend."""
    return state.at[-2:].set(0)


def at_rest(theta: Float[Array, " p"]) -> Float[Array, " q"]:
    """The state that the field moves: parameters, path length and dissipation at time zero."""
    return jnp.concatenate([theta, jnp.zeros(2, theta.dtype)])


def blow_up(
    first_loss: Float[Array, ""], theta0: Float[Array, " p"], last: Float[Array, " q"]
) -> Bool[Array, ""]:
    """Whether the state a flow ended in is one that only a diverging flow comes to."""
    grown = largest_entry(last[:-2]) > 1e6 * (largest_entry(theta0) + 1)
    return grown | (last[-1] > out_of_proportion(first_loss))


def out_of_proportion(first_loss: Float[Array, ""]) -> Float[Array, ""]:
    """A loss that is bounded below dissipates no more than it has: only a blow-up passes this."""
    return 1e6 * (jnp.abs(first_loss) + 1)


def largest_entry(theta: Float[Array, " p"]) -> Float[Array, ""]:
    """The largest absolute value; zero of none."""
    return jnp.max(jnp.abs(theta), initial=0)


def energy_error(
    losses: Float[Array, " s"],
    dissipation: Float[Array, " s"],
    first_loss: Float[Array, ""],
    last_loss: Float[Array, ""],
    dissipated: Float[Array, ""],
) -> Float[Array, ""]:
    """The largest defect of the energy identity, at saved times and the end, over the energy."""
    defects = jnp.append(losses - first_loss + dissipation, last_loss - first_loss + dissipated)
    largest = jnp.max(jnp.where(jnp.isfinite(defects), jnp.abs(defects), 0))
    scale = jnp.abs(first_loss) + jnp.where(jnp.isfinite(dissipated), jnp.abs(dissipated), 0)
    return largest / jnp.where(scale > 0, scale, 1)


def flow_trajectory(
    loss: Any,
    unravel: Any,
    ts: Float[Array, " s"],
    states: Float[Array, "s q"],
    filled: Bool[Array, " s"],
    code: Int[Array, ""],
    reached: Float[Array, ""],
    last: Float[Array, " q"],
    theta0: Float[Array, " p"],
    probes: Any,
    counts: dict[str, PyTree],
) -> Trajectory:
    """Losses, gradients and probes at the saved states, and what to call the ending.

    `filled`: which saved times were reached; `code` is what the integrator says of its end, at time
    `reached` in the state `last`.
    """
    finite = jnp.isfinite(states).all(axis=1) & filled
    states = jnp.where(finite[:, None], states, jnp.nan)
    record = at_saved_times(loss, unravel, ts, states[:, :-2], probes)
    ends = at_saved_times(
        loss,
        unravel,
        jnp.stack([jnp.zeros_like(reached), reached]),
        jnp.stack([theta0, last[:-2]]),
        {},
    )
    defined = jnp.isfinite(ends.losses) & jnp.isfinite(ends.grad_norms)
    grown = blow_up(ends.losses[0], theta0, last)
    stopped = (code == STEP_UNDERFLOW) | (code == NAN)
    code = jnp.where(stopped & ~defined[1], NAN, code)
    code = jnp.where(stopped & grown, DIVERGED, code)
    code = jnp.where(defined[0], code, NAN)
    reached = jnp.where(defined[0], reached, 0)

    # The integrator may have reached the end where the loss itself says that it should not have.
    without_loss = finite & jnp.isnan(record.losses)
    large = record.losses > out_of_proportion(ends.losses[0])
    too_large = finite & (large | jnp.isinf(record.losses))
    bad = (without_loss | too_large) & defined[0]
    first = jnp.argmax(bad)
    code = jnp.where(bad.any(), jnp.where(without_loss[first], NAN, DIVERGED), code)
    reached = jnp.where(bad.any(), ts[first], reached)
    shown = jnp.where(bad.any(), jnp.arange(ts.shape[0]) < first, True) & finite & defined[0]
    states = jnp.where(shown[:, None], states, jnp.nan)
    losses = blank(record.losses, shown)
    error = energy_error(losses, states[:, -1], ends.losses[0], ends.losses[1], last[-1])
    return Trajectory(
        ts=ts,
        params=jax.vmap(unravel)(states[:, :-2]),
        losses=losses,
        grad_norms=blank(record.grad_norms, shown),
        path_lengths=states[:, -2],
        dissipation=states[:, -1],
        probes=blank(record.probes, shown),
        status_code=code,
        status_time=jnp.where(code == COMPLETED, ts[-1], reached),
        counts=counts | {"energy_error": error},
        method=(),
        end=unravel(last[:-2]),
    )
