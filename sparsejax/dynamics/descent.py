"""Steps of an optax optimiser: the loop, what it carries, and the trajectory that it leaves."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int, Key, PyTree

from sparsejax.dynamics.checkpoint import identity_of
from sparsejax.dynamics.finiteness import require_finite
from sparsejax.dynamics.long_run import host_watch
from sparsejax.dynamics.recording import Probe, at_saved_times, blank, checked_probes
from sparsejax.dynamics.sampling import Sampling
from sparsejax.dynamics.stop import Stop, margins
from sparsejax.dynamics.trajectory import (
    COMPLETED,
    DIVERGED,
    NAN,
    UNDER_WAY,
    Trajectory,
    code_once_stopped,
)


class Track(eqx.Module):
    """What is recorded of a state: parameters, time, path length and dissipation."""

    theta: Float[Array, "*s p"]
    t: Float[Array, "*s"]
    path_length: Float[Array, "*s"]
    dissipation: Float[Array, "*s"]


class DescentPosition(eqx.Module):
    """How far a descent has come, with all that it takes to go on.

    `now`: the state after `steps` steps; `rows`: the saved ones (None where the loop stacks them);
    `eta`: size of the last step; `code`: `UNDER_WAY`, or how it ended, at `now`; `value` and
    `first_value`: the loss that the last step and the first one saw; `increases`: steps that saw a
    larger loss than the one before; `first_loss` and `first_margins`: what stop conditions are
    relative to.
    """

    now: Track
    optimizer_state: PyTree
    steps: Int[Array, ""]
    eta: Float[Array, ""]
    code: Int[Array, ""]
    value: Float[Array, ""]
    first_value: Float[Array, ""]
    increases: Int[Array, ""]
    first_loss: Float[Array, ""]
    first_margins: Float[Array, " k"]
    rows: Track | None


class Descent(eqx.Module):
    """One descent: what goes into its compiled programs."""

    loss: Any
    params: PyTree
    optimizer: optax.GradientTransformation
    optimizer_state: PyTree
    sampling: Sampling | None
    key: Key[Array, ""] | None
    thresholds: dict[str, Array]
    saves: int = eqx.field(static=True)
    save_every: int = eqx.field(static=True)

    def _measured(self, theta: Float[Array, " p"]) -> tuple[Array, Array]:
        """The loss on all samples and its squared gradient norm."""
        unravel = ravel_pytree(self.params)[1]
        value, gradient = jax.value_and_grad(lambda v: self.loss(unravel(v)))(theta)
        return value, jnp.sum(jnp.square(gradient))

    def begin(self) -> DescentPosition:
        """Before the first step, without rows."""
        theta, unravel = ravel_pytree(self.params)
        zero, none = jnp.zeros((), theta.dtype), jnp.zeros((), jnp.int32)
        seen = jax.eval_shape(lambda v: self.loss(unravel(v)), theta)
        loss, start = zero, jnp.zeros(0, theta.dtype)
        if self.thresholds:
            loss, squared = self._measured(theta)
            start = margins(self.thresholds, loss, squared, loss)
        return DescentPosition(
            now=Track(theta, zero, zero, zero),
            optimizer_state=jax.tree.map(jnp.asarray, self.optimizer_state),
            steps=none,
            eta=zero,
            code=none + UNDER_WAY,
            value=jnp.full((), jnp.inf, seen.dtype),
            first_value=jnp.zeros((), seen.dtype),
            increases=none,
            first_loss=loss,
            first_margins=start,
            rows=None,
        )

    def with_rows(self, position: DescentPosition) -> DescentPosition:
        """The same with room for all rows, each of them a state that can be looked at."""
        room = self.saves + 1
        rows = jax.tree.map(lambda x: jnp.broadcast_to(x, (room, *x.shape)), position.now)
        return dataclasses.replace(position, rows=rows)

    def step(self, position: DescentPosition) -> DescentPosition:
        """One step, or none where the run has ended or ends here."""
        unravel = ravel_pytree(self.params)[1]
        now, dtype = position.now, position.now.theta.dtype
        params = unravel(now.theta)
        seen = self.loss
        if self.sampling is not None and self.key is not None:
            seen = self.sampling.at_step(self.loss, self.key, position.steps)
        value, gradient = jax.value_and_grad(seen)(params)
        updates, optimizer_state = self.optimizer.update(gradient, position.optimizer_state, params)
        flat_update, flat_gradient = ravel_pytree(updates)[0], ravel_pytree(gradient)[0]
        squared = jnp.sum(jnp.square(flat_gradient))
        along = -jnp.sum(flat_update * flat_gradient) / jnp.where(squared > 0, squared, 1)
        # At a critical point the update says nothing; time goes on at the last step size.
        eta = jnp.where(squared > 0, along, position.eta)
        # A proximal step rests at its solution, where the gradient does not vanish.
        said = optax.tree_utils.tree_get_all_with_path(optimizer_state, "proximal_step_size")
        eta = said[0][1].astype(dtype) if said else eta

        first_value = jnp.where(position.steps == 0, value, position.first_value)
        code = failure(position.code, value, first_value)
        if self.thresholds:
            measured = (value, squared) if self.sampling is None else self._measured(now.theta)
            code = self._stopped(code, position, *measured)
        still = dataclasses.replace(
            position,
            code=code,
            value=value,
            first_value=first_value,
            increases=position.increases + (value > position.value).astype(jnp.int32),
        )
        moved = dataclasses.replace(
            still,
            now=Track(
                theta=ravel_pytree(optax.apply_updates(params, updates))[0],
                t=now.t + eta,
                path_length=now.path_length + jnp.sqrt(jnp.sum(jnp.square(flat_update))),
                dissipation=now.dissipation + eta * squared,
            ),
            optimizer_state=optimizer_state,
            steps=position.steps + 1,
            eta=eta,
        )
        going = code == UNDER_WAY
        return jax.tree.map(lambda new, old: jnp.where(going, new, old), moved, still)

    def _stopped(self, code, position, loss, squared) -> Int[Array, ""]:
        found = margins(self.thresholds, loss, squared, position.first_loss)
        return code_once_stopped(code, self.thresholds, found, position.first_margins)

    def through(self) -> DescentPosition:
        """All steps, in loops of fixed length: those that can be differentiated backwards."""

        def save(position, _):
            after, _ = jax.lax.scan(
                lambda p, _: (self.step(p), None), position, length=self.save_every
            )
            return after, position.now

        end, rows = jax.lax.scan(save, self.begin(), length=self.saves)
        rows = jax.tree.map(lambda column, last: jnp.append(column, last[None], 0), rows, end.now)
        return dataclasses.replace(end, rows=rows)

    def advance(self, position: DescentPosition, goal: Int[Array, ""]) -> DescentPosition:
        """On until `goal` steps have been taken in all, or until the run ends."""
        goal = jnp.minimum(goal, self.saves * self.save_every)

        def body(carry):
            bare, rows = carry
            bare = self.step(bare)
            # A row is written over until its time has come.
            row = (bare.steps + self.save_every - 1) // self.save_every
            rows = jax.tree.map(
                lambda column, x: jax.lax.dynamic_update_index_in_dim(column, x, row, 0),
                rows,
                bare.now,
            )
            return bare, rows

        bare, rows = jax.lax.while_loop(
            lambda carry: (carry[0].code == UNDER_WAY) & (carry[0].steps < goal),
            body,
            (dataclasses.replace(position, rows=None), position.rows),
        )
        done = (bare.code == UNDER_WAY) & (bare.steps == self.saves * self.save_every)
        code = jnp.where(done, COMPLETED, bare.code)
        return dataclasses.replace(bare, rows=rows, code=code)

    def trajectory(self, position: DescentPosition, probes: Mapping[str, Probe]) -> Trajectory:
        """What has been saved, and how it ended."""
        unravel = ravel_pytree(self.params)[1]
        rows, total = position.rows, self.saves * self.save_every
        assert rows is not None
        record = at_saved_times(self.loss, unravel, rows.t, rows.theta, probes)
        # No step has looked at the last state.
        last = record.losses[-1]
        at_end = position.steps == total
        looked_at = jnp.where(position.code == COMPLETED, UNDER_WAY, position.code)
        code = jnp.where(at_end, failure(looked_at, last, position.first_value), looked_at)
        if self.thresholds:
            squared = jnp.square(record.grad_norms[-1])
            code = jnp.where(at_end, self._stopped(code, position, last, squared), code)
        code = jnp.where(code == UNDER_WAY, COMPLETED, code)
        bad = (code == NAN) | (code == DIVERGED)
        # The state of the first bad step is where the run ended; what follows it means nothing.
        index = jnp.arange(self.saves + 1, dtype=jnp.int32) * self.save_every
        shown = jnp.where(bad, index < position.steps, index <= position.steps)
        counts = {"steps": position.steps, "gradient_evaluations": position.steps}
        if self.sampling is None:  # of one loss, not of one batch against the next
            more = at_end & (last > position.value)
            counts["loss_increases"] = position.increases + more.astype(jnp.int32)
        elif self.thresholds:
            counts["stop_evaluations"] = position.steps + 1
        return Trajectory(
            ts=blank(rows.t, shown),
            params=blank(jax.vmap(unravel)(rows.theta), shown),
            losses=blank(record.losses, shown),
            grad_norms=blank(record.grad_norms, shown),
            path_lengths=blank(rows.path_length, shown),
            dissipation=blank(rows.dissipation, shown),
            probes=blank(record.probes, shown),
            status_code=code,
            status_time=position.now.t,
            counts=counts,
            method=(),
            end=unravel(position.now.theta),
        )


def failure(code: Int[Array, ""], value: Array, first_value: Array) -> Int[Array, ""]:
    """The code of a run under way, another where a loss says that it has failed."""
    too_large = (value > 1e6 * (jnp.abs(first_value) + 1)) | jnp.isinf(value)
    failed = jnp.where(jnp.isnan(value), NAN, DIVERGED)
    return jnp.where((code == UNDER_WAY) & (jnp.isnan(value) | too_large), failed, code)


def descend(
    loss: Callable[[PyTree], Array],
    params: PyTree,
    optimizer: optax.GradientTransformation,
    steps: int,
    *,
    save_every: int,
    sampling: Sampling | None,
    key: Key[Array, ""] | None,
    probes: Mapping[str, Probe] | None,
    optimizer_state: optax.OptState | None,
    stop: Stop | None,
    checkpoint: str | Path | None,
    checkpoint_every: int,
    progress: bool,
    method: tuple,
) -> Trajectory:
    """The run that `gradient_descent` and `sgd` describe; raises ValueError on bad input."""
    if steps < 1 or save_every < 1:
        raise ValueError(f"steps and save_every must be positive, got {steps} and {save_every}")
    if steps % save_every:
        raise ValueError(f"steps ({steps}) must be a multiple of save_every ({save_every})")
    require_finite(params, "params")
    probes = checked_probes(probes)
    if optimizer_state is None:
        optimizer_state = optimizer.init(params)
    descent = Descent(
        loss=loss,
        params=params,
        optimizer=optimizer,
        optimizer_state=optimizer_state,
        sampling=sampling,
        key=key,
        thresholds={} if stop is None else stop.thresholds,
        saves=steps // save_every,
        save_every=save_every,
    )
    watch = host_watch(descent, stop, checkpoint, checkpoint_every, progress)
    if watch is not None:
        position = watch.run(
            functools.partial(_begin, descent),
            functools.partial(_advance, descent),
            _glance,
            _identity(descent),
            max_steps=steps,
            total=float(steps),
            unit="step",
        )
        run = _trajectory(descent, position, probes)
    elif descent.thresholds:
        run = _until_stopped(descent, probes)
    else:
        run = _at_once(descent, probes)
    return dataclasses.replace(run, method=method)


@eqx.filter_jit
def _at_once(descent: Descent, probes: Any) -> Trajectory:
    return descent.trajectory(descent.through(), probes)


@eqx.filter_jit
def _until_stopped(descent: Descent, probes: Any) -> Trajectory:
    goal = jnp.asarray(descent.saves * descent.save_every, jnp.int32)
    position = descent.advance(descent.with_rows(descent.begin()), goal)
    return descent.trajectory(position, probes)


@eqx.filter_jit
def _begin(descent: Descent) -> DescentPosition:
    return descent.with_rows(descent.begin())


@eqx.filter_jit
def _advance(descent: Descent, position: DescentPosition, goal: Int[Array, ""]) -> DescentPosition:
    return descent.advance(position, goal)


@eqx.filter_jit
def _trajectory(descent: Descent, position: DescentPosition, probes: Any) -> Trajectory:
    return descent.trajectory(position, probes)


def _glance(position: DescentPosition) -> dict[str, Array]:
    """What a progress bar shows; the loss is the one that the last step saw."""
    steps = position.steps
    return {"at": steps, "loss": position.value, "gradient_evaluations": steps}


def _identity(descent: Descent) -> dict[str, str]:
    return identity_of(
        loss=descent.loss,
        params=descent.params,
        optimizer=[descent.optimizer, descent.optimizer_state],
        steps=[descent.saves, descent.save_every],
        # The law of the batches is static, not among the leaves.
        sampling=[repr(eqx.filter(descent.sampling, eqx.is_array)), descent.sampling, descent.key],
        stop=descent.thresholds,
        jax=[jax.__version__, jax.default_backend()],
    )
