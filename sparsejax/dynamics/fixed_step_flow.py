"""Gradient flow at a fixed step, at once or on the host's watch."""

import dataclasses
import functools
from collections.abc import Callable, Mapping
from typing import Any

import equinox as eqx
import jax
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int, PyTree

from sparsejax.dynamics.checkpoint import identity_of
from sparsejax.dynamics.fixed_step import (
    FIXED_STEP_RULES,
    FixedStepPosition,
    FixedSteps,
    StepPlan,
    step_plan,
)
from sparsejax.dynamics.flow_trajectory import (
    at_rest,
    flow_field,
    flow_trajectory,
    measured_state,
)
from sparsejax.dynamics.long_run import HostWatch
from sparsejax.dynamics.recording import Probe
from sparsejax.dynamics.segments import ended
from sparsejax.dynamics.stop import Stop
from sparsejax.dynamics.trajectory import Trajectory


def fixed_step_flow(
    loss: Callable[[PyTree], Array],
    params: PyTree,
    ts: Float[np.ndarray, " s"],
    rule: str,
    dt: float | int,
    max_steps: int,
    probes: Mapping[str, Probe] | None = None,
    stop: Stop | None = None,
    watch: HostWatch | None = None,
    *,
    halved: bool = False,
) -> Trajectory:
    """The flow that `gradient_flow` describes, by one of `FIXED_STEP_RULES`.

    `halved`: every step in two.
    """
    dtype = jax.eval_shape(lambda p: ravel_pytree(p)[0], params).dtype
    plan = step_plan(ts, dt, max_steps, dtype, halved=halved)
    problem = FixedStepProblem(loss, params, plan, {} if stop is None else stop.thresholds, rule)
    probes = dict(probes or {})
    if watch is not None:
        position = watch.run(
            functools.partial(_begin, problem),
            functools.partial(_advance, problem),
            functools.partial(_glance, problem),
            _identity(problem),
            max_steps=int(plan.budget),
            total=float(ts[-1]),
            unit="t",
        )
        flow = _trajectory(problem, position, probes)
    elif problem.thresholds:
        flow = _until_stopped(problem, probes)
    else:
        flow = _at_once(problem, probes)
    method = (("solver", rule), ("why", "asked for"), ("dt", float(dt)))
    return dataclasses.replace(flow, method=method)


class FixedStepProblem(eqx.Module):
    """One flow at fixed steps: what goes into its compiled programs."""

    loss: Callable[[PyTree], Array]
    params: PyTree
    plan: StepPlan
    thresholds: dict[str, Array]
    rule: str = eqx.field(static=True)

    def work(self) -> tuple[FixedSteps, Array, Callable[[Array], PyTree]]:
        """The steps, the parameters as a vector, and the way back from a vector."""
        theta, unravel = ravel_pytree(self.params)
        steps = FixedSteps(
            rule=FIXED_STEP_RULES[self.rule],
            field=flow_field(self.loss, unravel),
            plan=self.plan,
            measured=measured_state(self.loss, unravel),
            thresholds=self.thresholds,
        )
        return steps, theta, unravel

    def trajectory(self, position: FixedStepPosition, probes: Any) -> Trajectory:
        """What has been saved, and how it ended."""
        work, theta, unravel = self.work()
        counts = {
            "steps": position.steps,
            "gradient_evaluations": position.steps * work.rule.evaluations,
        }
        if self.thresholds:
            counts["stop_evaluations"] = position.steps + 1
        return flow_trajectory(
            self.loss,
            unravel,
            self.plan.ts,
            position.states,
            self.plan.ts <= position.t,
            ended(position.code),
            position.t,
            position.y,
            theta,
            probes,
            counts,
        )


@eqx.filter_jit
def _at_once(problem: FixedStepProblem, probes: Any) -> Trajectory:
    work, theta, _ = problem.work()
    return problem.trajectory(work.through(at_rest(theta)), probes)


@eqx.filter_jit
def _until_stopped(problem: FixedStepProblem, probes: Any) -> Trajectory:
    work, theta, _ = problem.work()
    position = work.advance(work.begin(at_rest(theta)), problem.plan.budget)
    return problem.trajectory(position, probes)


@eqx.filter_jit
def _begin(problem: FixedStepProblem) -> FixedStepPosition:
    work, theta, _ = problem.work()
    return work.begin(at_rest(theta))


@eqx.filter_jit
def _advance(
    problem: FixedStepProblem, position: FixedStepPosition, goal: Int[Array, ""]
) -> FixedStepPosition:
    return problem.work()[0].advance(position, goal)


@eqx.filter_jit
def _trajectory(problem: FixedStepProblem, position: FixedStepPosition, probes: Any) -> Trajectory:
    return problem.trajectory(position, probes)


@eqx.filter_jit
def _glance(problem: FixedStepProblem, position: FixedStepPosition) -> dict[str, Array]:
    """What a progress bar shows."""
    work = problem.work()[0]
    return {
        "at": position.t,
        "loss": work.measured(position.y)[0],
        "gradient_evaluations": position.steps * work.rule.evaluations,
    }


def _identity(problem: FixedStepProblem) -> dict[str, str]:
    plan = problem.plan
    return identity_of(
        loss=problem.loss,
        params=problem.params,
        saveat=plan.ts,
        # Not the budget: more of it goes on where less of it ended.
        method=[problem.rule, plan.sizes, plan.ends],
        stop=problem.thresholds,
        jax=[jax.__version__, jax.default_backend()],
    )
