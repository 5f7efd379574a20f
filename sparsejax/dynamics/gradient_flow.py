"""Gradient flow `d theta/dt = -grad L(theta)`, error-controlled or at a fixed step."""

import dataclasses
import math
from collections.abc import Callable, Mapping
from typing import Any

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree

from sparsejax.dynamics.finiteness import require_finite
from sparsejax.dynamics.fixed_step import FIXED_STEP_RULES, fixed_step_states
from sparsejax.dynamics.recording import Probe, at_saved_times, blank, checked_probes
from sparsejax.dynamics.solvers import RKC2, evaluation_counts
from sparsejax.dynamics.trajectory import (
    COMPLETED,
    DIVERGED,
    NAN,
    STEP_BUDGET,
    STEP_UNDERFLOW,
    Trajectory,
)

_ADAPTIVE: dict[str, Callable[[], diffrax.AbstractSolver]] = {
    "rkc2": RKC2,
    "tsit5": diffrax.Tsit5,
    "dopri5": diffrax.Dopri5,
    "dopri8": diffrax.Dopri8,
    "bosh3": diffrax.Bosh3,
    "heun": diffrax.Heun,
    "kvaerno5": diffrax.Kvaerno5,
}
_WHY_DEFAULT = (
    "gradient flow is stiff with a real spectrum; a stabilised explicit method spends "
    "O(sqrt(stiffness)) gradients where an ordinary explicit one spends O(stiffness)"
)


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
) -> Trajectory:
    """Integrate `d theta/dt = -grad loss(theta)` from `params` over flow time `[0, t1]`.

    `loss`: any scalar function of a pytree; give it as a pytree callable (`squared_loss`, an
    equinox module, `jax.tree_util.Partial`) and new data do not recompile. `saveat`: increasing
    times in `[0, t1]`, 101 equidistant ones by default. `solver`: a diffrax solver or one of
    `"rkc2"` (default), `"tsit5"`, `"dopri5"`, `"dopri8"`, `"bosh3"`, `"heun"`, `"kvaerno5"` under
    error control with `rtol` and `atol` (default `rtol`), or `"euler"`, `"rk4"` at steps of at
    most `dt`. `probes`: pure functions `(t, params) -> array` recorded at the saved times.

    The result never hides a failure: `Trajectory.status` is `completed`, `diverged`, `nan`,
    `step_budget_exhausted` or `step_size_underflow`, with `status_time`.

    Raises:
        ValueError: times, tolerances or the solver's name out of range, parameters not finite.

    Example:
        >>> import jax.numpy as jnp
        >>> flow = gradient_flow(lambda w: 0.5 * jnp.sum(w**2), jnp.ones(2), t1=1.0, rtol=1e-8)
        >>> abs(float(flow.final[0]) - 0.36787944) < 1e-6
        True
    """
    ts = _save_times(saveat, t1)
    probes = checked_probes(probes)
    require_finite(params, "params")
    if not rtol > 0 or (atol is not None and not atol > 0):
        raise ValueError(f"tolerances must be positive, got rtol={rtol}, atol={atol}")
    if max_steps < 1:
        raise ValueError(f"max_steps must be positive, got {max_steps}")
    if dt is not None and not (dt > 0 and math.isfinite(dt)):
        raise ValueError(f"dt must be positive and finite, got {dt}")
    if isinstance(solver, str) and solver in FIXED_STEP_RULES:
        if dt is None:
            raise ValueError(f"solver {solver!r} runs at a fixed step: give dt > 0")
        method = (("solver", solver), ("why", "asked for"), ("dt", float(dt)))
        flow = _fixed(loss, params, ts, probes, solver, jnp.asarray(dt, float), max_steps)
        return dataclasses.replace(flow, method=method)
    if solver is not None and not isinstance(solver, str):
        chosen, name, why = solver, type(solver).__name__, "asked for"
    elif solver is None:
        chosen, name, why = RKC2(), "rkc2", _WHY_DEFAULT
    elif solver in _ADAPTIVE:
        chosen, name, why = _ADAPTIVE[solver](), solver, "asked for"
    else:
        known = ", ".join([*_ADAPTIVE, *FIXED_STEP_RULES])
        raise ValueError(f"unknown solver {solver!r}; known are {known}")
    atol = rtol if atol is None else atol
    controlled = (("solver", name), ("why", why), ("rtol", float(rtol)), ("atol", float(atol)))
    # Numbers go in as arrays, and the method's description not at all: no recompilation for them.
    tolerances = (jnp.asarray(rtol, float), jnp.asarray(atol, float))
    first = None if dt is None else jnp.asarray(dt, float)
    flow = _adaptive(loss, params, ts, probes, chosen, tolerances, first, max_steps)
    return dataclasses.replace(flow, method=controlled)


def _save_times(saveat: Any, t1: float | int) -> Float[Array, " s"]:
    if not (t1 > 0 and math.isfinite(t1)):
        raise ValueError(f"t1 must be positive and finite, got {t1}")
    ts = np.linspace(0.0, t1, 101) if saveat is None else np.asarray(saveat, float)
    if ts.ndim != 1 or ts.size == 0 or not np.isfinite(ts).all() or not np.all(np.diff(ts) > 0):
        raise ValueError("saveat must be a non-empty, strictly increasing vector of finite times")
    if ts[0] < 0 or ts[-1] > t1 * (1 + 1e-12):
        raise ValueError(f"saveat runs from {ts[0]} to {ts[-1]}, outside [0, t1={t1}]")
    return jnp.asarray(ts)


def _flow_field(loss, unravel):
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


@eqx.filter_jit
def _adaptive(loss, params, ts, probes, solver, tolerances, dt, max_steps) -> Trajectory:
    theta, unravel = ravel_pytree(params)
    field = _flow_field(loss, unravel)
    rtol, atol = (tolerance.astype(theta.dtype) for tolerance in tolerances)
    ts = ts.astype(theta.dtype)
    t1 = ts[-1]
    sol = diffrax.diffeqsolve(
        diffrax.ODETerm(field),
        solver,
        t0=jnp.zeros((), theta.dtype),
        t1=t1,
        dt0=None if dt is None else dt.astype(theta.dtype),
        y0=jnp.concatenate([theta, jnp.zeros(2, theta.dtype)]),
        # Where the least step is still too long the solve stops: forced on, it would step over
        # a singularity and return numbers that mean nothing.
        stepsize_controller=diffrax.PIDController(
            rtol=rtol,
            atol=atol,
            dtmin=max(1e-13, float(jnp.finfo(theta.dtype).eps)) * t1,
            force_dtmin=False,
        ),
        saveat=diffrax.SaveAt(
            subs=[
                diffrax.SubSaveAt(ts=ts),
                diffrax.SubSaveAt(t1=True),
            ],
            solver_state=True,
        ),
        max_steps=max_steps,
        throw=False,
    )
    reached, last = sol.ts[1][-1], sol.ys[1][-1]
    budget = sol.result == diffrax.RESULTS.max_steps_reached
    code = jnp.where(budget, STEP_BUDGET, STEP_UNDERFLOW)
    code = jnp.where((sol.result == diffrax.RESULTS.successful) | (reached >= t1), COMPLETED, code)
    counts = evaluation_counts(solver, sol)
    return _finish(loss, unravel, ts, sol.ys[0], code, reached, last, theta, probes, counts)


@eqx.filter_jit
def _fixed(loss, params, ts, probes, rule, dt, max_steps) -> Trajectory:
    theta, unravel = ravel_pytree(params)
    field = _flow_field(loss, unravel)
    ts = ts.astype(theta.dtype)
    y0 = jnp.concatenate([theta, jnp.zeros(2, theta.dtype)])
    path = fixed_step_states(rule, field, y0, ts, dt.astype(theta.dtype), max_steps)
    code = jnp.where(path.exhausted, STEP_BUDGET, COMPLETED)
    code = jnp.where(path.finite, code, NAN)
    counts = {
        "steps": path.steps,
        "gradient_evaluations": path.steps * FIXED_STEP_RULES[rule].evaluations,
    }
    return _finish(
        loss, unravel, ts, path.states, code, path.reached, path.last, theta, probes, counts
    )


def _finish(loss, unravel, ts, states, code, reached, last, theta0, probes, counts) -> Trajectory:
    """Losses, gradients and probes at the saved states, and what to call the ending.

    `code` is what the integrator says of its end, at time `reached` in the state `last`.
    """
    finite = jnp.isfinite(states).all(axis=1)
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
    # A loss that is bounded below dissipates no more than it has: only a blow-up passes this.
    large = 1e6 * (jnp.abs(ends.losses[0]) + 1)
    grown = jnp.max(jnp.abs(last[:-2])) > 1e6 * (jnp.max(jnp.abs(theta0)) + 1)
    grown = grown | (last[-1] > large)
    stopped = (code == STEP_UNDERFLOW) | (code == NAN)
    code = jnp.where(stopped & ~defined[1], NAN, code)
    code = jnp.where(stopped & grown, DIVERGED, code)
    code = jnp.where(defined[0], code, NAN)
    reached = jnp.where(defined[0], reached, 0)

    # The integrator may have reached the end where the loss itself says that it should not have.
    without_loss = finite & jnp.isnan(record.losses)
    too_large = finite & ((record.losses > large) | jnp.isinf(record.losses))
    bad = (without_loss | too_large) & defined[0]
    first = jnp.argmax(bad)
    code = jnp.where(bad.any(), jnp.where(without_loss[first], NAN, DIVERGED), code)
    reached = jnp.where(bad.any(), ts[first], reached)
    shown = jnp.where(bad.any(), jnp.arange(ts.shape[0]) < first, True) & finite & defined[0]
    states = jnp.where(shown[:, None], states, jnp.nan)
    return Trajectory(
        ts=ts,
        params=jax.vmap(unravel)(states[:, :-2]),
        losses=blank(record.losses, shown),
        grad_norms=blank(record.grad_norms, shown),
        path_lengths=states[:, -2],
        dissipation=states[:, -1],
        probes=blank(record.probes, shown),
        status_code=code,
        status_time=jnp.where(code == COMPLETED, ts[-1], reached),
        counts=counts,
        method=(),
    )
