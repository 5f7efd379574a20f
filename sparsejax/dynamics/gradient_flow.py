"""Gradient flow `d theta/dt = -grad L(theta)`, error-controlled or at a fixed step."""

import dataclasses
import functools
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int, PyTree

from sparsejax.dynamics.checkpoint import identity_of
from sparsejax.dynamics.finiteness import require_finite
from sparsejax.dynamics.fixed_step import FIXED_STEP_RULES
from sparsejax.dynamics.fixed_step_flow import fixed_step_flow
from sparsejax.dynamics.flow_method import flow_method
from sparsejax.dynamics.flow_trajectory import (
    at_rest,
    flow_field,
    flow_trajectory,
    measured_state,
    parameters_alone,
)
from sparsejax.dynamics.long_run import host_watch
from sparsejax.dynamics.recording import Probe, checked_probes
from sparsejax.dynamics.segments import Integration, Position, ended
from sparsejax.dynamics.solvers import AbstractStabilisedRungeKutta
from sparsejax.dynamics.stop import Stop
from sparsejax.dynamics.trajectory import Trajectory

# Tolerances of the second run that estimates the global error.
REFINEMENT = 0.01


def gradient_flow(
    loss: Callable[[PyTree], Array],
    params: PyTree,
    t1: float | int,
    *,
    saveat: Float[Array | np.ndarray, " s"] | None = None,
    solver: str | diffrax.AbstractSolver | None = None,
    rtol: float = 1e-6,
    atol: float | None = None,
    dt: float | int | None = None,
    max_steps: int = 100_000,
    probes: Mapping[str, Probe] | None = None,
    stop: Stop | None = None,
    error_estimate: bool = False,
    checkpoint: str | Path | None = None,
    checkpoint_every: int = 1000,
    progress: bool = False,
    derivative: Literal["forward", "reverse"] = "forward",
) -> Trajectory:
    """Integrate `d theta/dt = -grad loss(theta)` from `params` over flow time `[0, t1]`.

    `loss`: any scalar function of a pytree; give it as a pytree callable (`squared_loss`, an
    equinox module, `jax.tree_util.Partial`) and new data do not recompile. `saveat`: increasing
    times in `[0, t1]`, 101 equidistant ones by default. `probes`: pure functions
    `(t, params) -> array` recorded at the saved times.

    `solver`: a diffrax solver or one of `"rkc2"`, `"rkc4"`, `"rock2"`, `"rock4"`, `"tsit5"`,
    `"dopri5"`, `"dopri8"`, `"bosh3"`, `"heun"`, `"kvaerno3"`, `"kvaerno5"` under error control with
    `rtol` and `atol` (default `rtol`), or `"euler"`, `"rk4"` at steps of at most `dt`. By default
    `"rkc2"`, and `"rkc4"` for tight tolerances: `Trajectory.stats` says which and why, and counts
    steps, gradient evaluations and Hessian-vector products, those of rejected steps included.

    The result never hides a failure: `Trajectory.status` is `completed`, `diverged`, `nan`,
    `step_budget_exhausted` or `step_size_underflow`, with `status_time`; or names the condition of
    `stop` that was met, with the time of the crossing located to `rtol` (at fixed steps: of the
    first step at whose end it holds). `Trajectory.end` are the parameters at that time. Conditions
    are looked at when a step ends.
    `Trajectory.warnings` says where the energy identity `L_0 - L_t = int ||grad L||^2` does not
    hold as it should and where a tolerance lies below the resolution of the parameters' dtype.

    `error_estimate`: integrate once more at a hundredth of the tolerances (or with every step
    halved), and give the distance as `Trajectory.global_errors`.

    `checkpoint`: a folder for checkpoints, one every `checkpoint_every` steps. The same call after
    a kill goes on at the last one that is whole, and gives the same trajectory to the last bit on
    the same machine. `progress`: a bar on standard error, if that is a terminal. Both, and
    `Stop(wall_clock=...)`, work outside `jit` and `vmap` alone.

    `derivative`: `"forward"` differentiates by `jax.jvp` and `jax.jacfwd`, whatever the solver,
    with respect to `params` and the arrays of `loss`. `"reverse"` differentiates by `jax.grad`
    instead, under error control with an explicit solver; memory grows as the root of `max_steps`.

    Raises:
        ValueError: times, tolerances or the solver's name out of range, parameters not finite, a
            checkpoint of another flow, options that do not go together.

    Example:
        >>> import jax.numpy as jnp
        >>> flow = gradient_flow(lambda w: 0.5 * jnp.sum(w**2), jnp.ones(2), t1=1.0, rtol=1e-8)
        >>> abs(float(flow.final[0]) - 0.36787944) < 1e-6
        True
    """
    ts = save_times(saveat, t1)
    probes = checked_probes(probes)
    require_finite(params, "params")
    if not rtol > 0 or (atol is not None and not atol > 0):
        raise ValueError(f"tolerances must be positive, got rtol={rtol}, atol={atol}")
    if max_steps < 1:
        raise ValueError(f"max_steps must be positive, got {max_steps}")
    if dt is not None and not (dt > 0 and math.isfinite(dt)):
        raise ValueError(f"dt must be positive and finite, got {dt}")
    if derivative not in ("forward", "reverse"):
        raise ValueError(f"derivative is 'forward' or 'reverse', not {derivative!r}")
    watch = host_watch((params, loss), stop, checkpoint, checkpoint_every, progress)
    if isinstance(solver, str) and solver in FIXED_STEP_RULES:
        if dt is None:
            raise ValueError(f"solver {solver!r} runs at a fixed step: give dt > 0")
        if derivative == "reverse":
            raise ValueError(
                f"solver {solver!r} differentiates forward alone: its loops have no fixed length; "
                "give a solver under error control"
            )
        fixed = functools.partial(fixed_step_flow, loss, params, ts, solver, dt)
        flow = fixed(max_steps, probes, stop, watch)
        if not error_estimate:
            return flow
        share = 1 - 0.5 ** FIXED_STEP_RULES[solver].order
        return _with_errors(flow, fixed(2 * max_steps, halved=True), share)

    method = flow_method(solver, rtol, atol, ravelled_dtype(params))
    if derivative == "reverse" and not isinstance(
        method.solver, diffrax.AbstractERK | AbstractStabilisedRungeKutta
    ):
        raise ValueError(
            f"solver {dict(method.description)['solver']!r} differentiates forward alone: "
            "give an explicit one such as 'rkc2' or 'tsit5'"
        )
    problem = FlowProblem(
        loss=loss,
        params=params,
        ts=jnp.asarray(ts),
        solver=method.solver,
        # Numbers go in as arrays, and the method's description not at all: no recompilation.
        rtol=jnp.asarray(method.rtol, float),
        atol=jnp.asarray(method.atol, float),
        first_step=None if dt is None else jnp.asarray(dt, float),
        thresholds={} if stop is None else stop.thresholds,
        bound=max_steps if derivative == "reverse" else None,
    )
    budget = jnp.asarray(max_steps, jnp.int32)
    if watch is not None:
        position = watch.run(
            functools.partial(_begin, problem),
            functools.partial(_advance, problem),
            functools.partial(_glance, problem),
            _identity(problem, method.description),
            max_steps=max_steps,
            total=float(ts[-1]),
            unit="t",
        )
        flow = _trajectory(problem, position, probes)
    else:
        flow = _at_once(problem, budget, probes)
    flow = dataclasses.replace(flow, method=method.description)
    if not error_estimate:
        return flow
    refined = flow_method(solver, method.rtol * REFINEMENT, method.atol * REFINEMENT, flow.ts.dtype)
    finer = dataclasses.replace(
        problem,
        solver=method.solver,
        rtol=jnp.asarray(refined.rtol, float),
        atol=jnp.asarray(refined.atol, float),
        thresholds={},
    )
    return _with_errors(flow, _at_once(finer, budget, {}))


def ravelled_dtype(params: PyTree) -> Any:
    """The floating dtype in which all parameters are one vector."""
    dtypes = [jnp.result_type(leaf) for leaf in jax.tree.leaves(params)]
    with jax.numpy_dtype_promotion("standard"):
        dtype = jnp.result_type(*dtypes) if dtypes else jnp.result_type(float)
    return dtype if jnp.issubdtype(dtype, jnp.floating) else jnp.result_type(float)


def save_times(saveat: Any, t1: float | int, count: int = 101) -> Float[np.ndarray, " s"]:
    """The checked times at which to save: by default `count` equidistant ones in `[0, t1]`.

    Raises:
        ValueError: `t1` that is no end of a flow, times that do not increase or lie outside.
    """
    if not (t1 > 0 and math.isfinite(t1)):
        raise ValueError(f"t1 must be positive and finite, got {t1}")
    ts = np.linspace(0.0, t1, count) if saveat is None else np.asarray(saveat, float)
    if ts.ndim != 1 or ts.size == 0 or not np.isfinite(ts).all() or not np.all(np.diff(ts) > 0):
        raise ValueError("saveat must be a non-empty, strictly increasing vector of finite times")
    if ts[0] < 0 or ts[-1] > t1 * (1 + 1e-12):
        raise ValueError(f"saveat runs from {ts[0]} to {ts[-1]}, outside [0, t1={t1}]")
    return ts


class FlowProblem(eqx.Module):
    """One flow under error control: what goes into its compiled programs."""

    loss: Callable[[PyTree], Array]
    params: PyTree
    ts: Float[Array, " s"]
    solver: diffrax.AbstractSolver
    rtol: Float[Array, ""]
    atol: Float[Array, ""]
    first_step: Float[Array, ""] | None
    thresholds: dict[str, Array]
    bound: int | None = eqx.field(static=True)

    def integration(self) -> tuple[Integration, Array, Callable[[Array], PyTree]]:
        """The integration, its parameters as a vector, and the way back from a vector."""
        theta, unravel = ravel_pytree(self.params)
        first, solver = self.first_step, self.solver
        if isinstance(solver, AbstractStabilisedRungeKutta):
            # The radius that it carries is then that of the Hessian.
            solver = dataclasses.replace(
                solver,
                coupled=parameters_alone,
                derivative="forward" if self.bound is None else "reverse",
            )
        integration = Integration(
            field=flow_field(self.loss, unravel),
            measured=measured_state(self.loss, unravel),
            solver=solver,
            rtol=self.rtol.astype(theta.dtype),
            atol=self.atol.astype(theta.dtype),
            first_step=None if first is None else first.astype(theta.dtype),
            ts=self.ts.astype(theta.dtype),
            thresholds=self.thresholds,
            adjoint=(
                diffrax.ForwardMode()
                if self.bound is None
                else diffrax.RecursiveCheckpointAdjoint()
            ),
            bound=self.bound,
        )
        return integration, theta, unravel


@eqx.filter_jit
def _at_once(problem: FlowProblem, budget: Int[Array, ""], probes: Any) -> Trajectory:
    integration, theta, unravel = problem.integration()
    position = integration.advance(at_rest(theta), None, budget)
    return _told(problem.loss, integration, theta, unravel, position, probes)


@eqx.filter_jit
def _begin(problem: FlowProblem) -> Position:
    integration, theta, _ = problem.integration()
    return integration.begin(at_rest(theta))


@eqx.filter_jit
def _advance(problem: FlowProblem, position: Position, budget: Int[Array, ""]) -> Position:
    integration, theta, _ = problem.integration()
    return integration.advance(at_rest(theta), position, budget)


@eqx.filter_jit
def _glance(problem: FlowProblem, position: Position) -> dict[str, Array]:
    """What a progress bar shows."""
    integration, _, _ = problem.integration()
    shown = {"at": position.t, "loss": integration.measured(position.y)[0]}
    shown |= integration.counts(position)
    radius = getattr(position.solver_state, "radius", None)
    return shown if radius is None else shown | {"sharpness": radius}


@eqx.filter_jit
def _trajectory(problem: FlowProblem, position: Position, probes: Any) -> Trajectory:
    integration, theta, unravel = problem.integration()
    return _told(problem.loss, integration, theta, unravel, position, probes)


def _told(loss, integration, theta, unravel, position, probes) -> Trajectory:
    return flow_trajectory(
        loss,
        unravel,
        integration.ts,
        position.states,
        position.filled,
        ended(position.code),
        position.t,
        position.y,
        theta,
        probes,
        integration.counts(position),
    )


def _identity(problem: FlowProblem, description: tuple[tuple[str, Any], ...]) -> dict[str, str]:
    return identity_of(
        loss=problem.loss,
        params=problem.params,
        saveat=problem.ts,
        method=[list(map(str, description)), repr(problem.solver), problem.first_step],
        stop=problem.thresholds,
        jax=[jax.__version__, jax.default_backend()],
    )


def _with_errors(flow: Trajectory, finer: Trajectory, share: float = 1.0) -> Trajectory:
    """The flow with its distance to a finer one, which is the given share of its error."""
    squares = jax.tree.map(
        lambda a, b: jnp.sum(jnp.square(a - b).reshape(*flow.ts.shape, -1), axis=-1),
        flow.params,
        finer.params,
    )
    distance = jnp.sqrt(sum(jax.tree.leaves(squares), jnp.zeros_like(flow.ts)))
    counts = dict(flow.counts)
    for name in ("gradient_evaluations", "hessian_vector_products"):
        if name in finer.counts:
            counts[f"error_estimate_{name}"] = finer.counts[name]
    return dataclasses.replace(flow, global_errors=distance / share, counts=counts)
