"""Hold a bound against the trajectory that it speaks of."""

import numpy as np
from jaxtyping import Float

from sparsejax.bounds.bound import Bound
from sparsejax.bounds.verdict import Verdict
from sparsejax.dynamics import Trajectory

Vector = Float[np.ndarray, " s"]


def compare(
    bound: Bound,
    trajectory: Trajectory,
    *,
    refined: tuple[Bound, Trajectory] | None = None,
    integrator_reference: Trajectory | None = None,
    sampling_error: float = 0.0,
) -> Verdict:
    """The verdict on a bound, with an error budget at every saved time.

    Budget: `integrator` is the difference from the trajectory of a `refined` pair, or from an
    `integrator_reference` (half the tolerance or less), or without either the defect of the energy
    identity (only gradient flows have it; of a path length, the share that the defect is of the
    energy); `quadrature` is the bound's own error, or its
    difference from the `refined` bound (half the probe spacing); `sampling` is given by the
    caller; `floating_point` is 64 roundings of the initial loss or of the longest path.

    `violated`: somewhere the measurement exceeds the bound by more than the budget. `holds`: at
    every time behind 0, or behind what is true by construction (`Bound.trivial`), the slack exceeds
    the budget (an identity: the difference stays within it). `inconclusive`: the slack is inside
    the budget somewhere, a number is NaN, or an identity's budget is nowhere below the change that
    it speaks of. `not_applicable`: a hypothesis fails.
    The decisive time, where margin and budget are read, has the least slack relative to budget.

    Raises:
        ValueError: the bound's times are not the first times of the trajectory, or the refinement
            lacks some of them.

    Example:
        >>> import jax.numpy as jnp, sparsejax as sj
        >>> flow = sj.gradient_flow(lambda w: 0.5 * jnp.sum(w**2), jnp.ones(1), t1=1.0, rtol=1e-9)
        >>> compare(sj.bounds.path_length(flow), flow).status
        'holds'
    """
    count = len(bound.ts)
    times = np.asarray(trajectory.ts, float)
    times = (times if times.ndim == 1 else times[0])[:count]  # of an ensemble, the first run's
    if times.shape != bound.ts.shape or not np.allclose(times, bound.ts, rtol=1e-6, atol=0):
        raise ValueError("the bound's times are not the first saved times of the trajectory")
    measured = bound.measured
    if measured is None:
        measured = np.asarray(getattr(trajectory, bound.quantity), float)[:count]
    initial = float(np.asarray(trajectory.losses, float)[..., 0].mean())
    scale = abs(initial) if bound.quantity == "losses" else float(np.max(np.abs(measured)))
    scale = max(scale, np.finfo(float).tiny)
    dtype = np.asarray(trajectory.losses).dtype
    budget = {
        "integrator": _integrator_error(
            bound, trajectory, measured, integrator_reference if refined is None else refined[1]
        )
        + bound.integrator_error,
        "quadrature": _quadrature_error(bound, refined),
        "sampling": np.full(count, float(sampling_error)) + bound.sampling_error,
        "floating_point": np.full(count, 64 * float(np.finfo(dtype).eps) * scale),
    }
    total = np.sum(list(budget.values()), axis=0)
    with np.errstate(invalid="ignore"):
        slack = bound.values - measured
    summary = {
        "initial": initial,
        "measured_end": float(measured[-1]),
        "bound_end": float(bound.values[-1]),
        "t_end": float(bound.ts[-1]),
    }
    failed = [h for h in bound.hypotheses if not h.met]
    behind = np.arange(count) >= (bound.trivial if bound.ts[0] == 0.0 else 0)
    if failed or bound.vacuous or not behind.any():
        if failed:
            reason = f"hypothesis fails: {failed[0].name} ({failed[0].detail or 'not met'})"
        elif bound.vacuous:
            reason = "the bound is vacuous: nowhere below the initial value"
        else:
            reason = "nothing was saved behind time 0"
        return Verdict(
            "not_applicable",
            vacuous=bound.vacuous,
            margin=float(slack[-1]),
            error_budget={name: float(part[-1]) for name, part in budget.items()},
            reason=reason,
            summary=summary,
        )
    gap = np.abs(slack) if bound.kind == "identity" else -slack
    with np.errstate(invalid="ignore"):
        excess = np.where(behind, gap / total, -np.inf)
    unknown = np.isnan(excess)
    excess = np.where(unknown, -np.inf, excess)
    if unknown.any() and excess.max() <= 1:
        at = int(np.argmax(unknown))
    else:
        at = int(np.argmax(excess))
    worst, time = float(excess[at]), float(bound.ts[at])
    moved = np.abs(measured - measured[0])
    if unknown[at]:
        status, reason = (
            "inconclusive",
            f"the slack or its budget is not a number at t = {time:.3g}",
        )
    elif bound.kind == "identity" and worst > 1:
        status = "violated"
        reason = f"the two sides differ by {worst:.2g} error budgets at t = {time:.3g}"
    elif bound.kind == "identity" and not np.any(behind & (total < moved)):
        status, reason = "inconclusive", "the error budget exceeds all that the quantity changed"
    elif bound.kind == "identity":
        status = "holds"
        reason = f"the two sides differ by at most {worst:.2g} error budgets (t = {time:.3g})"
    elif worst > 1:
        status, reason = "violated", f"exceeded by {worst:.2g} error budgets at t = {time:.3g}"
    elif worst <= -1:
        status = "holds"
        reason = f"the least slack is {-worst:.2g} error budgets, at t = {time:.3g}"
    else:
        status = "inconclusive"
        reason = f"the margin at t = {time:.3g} lies inside the error budget"
    return Verdict(
        status,
        vacuous=False,
        margin=float(slack[at]),
        error_budget={name: float(part[at]) for name, part in budget.items()},
        reason=reason,
        summary=summary | {"decisive_time": time},
    )


def _integrator_error(
    bound: Bound,
    trajectory: Trajectory,
    measured: Vector,
    reference: Trajectory | None,
) -> Vector:
    count = len(bound.ts)
    if reference is not None:
        times = np.asarray(reference.ts, float)
        values = np.asarray(getattr(reference, bound.quantity), float)
        return np.abs(measured - _at_times(bound.ts, times, values))
    if not trajectory.integrated or bound.measured is not None:
        return np.zeros(count)  # a discrete method is what it is: nothing was integrated
    defect = np.abs(np.asarray(trajectory.energy_defect, float)[:count])
    if bound.quantity == "losses":
        return defect
    losses = np.asarray(trajectory.losses, float)[:count]
    energy = losses[0] - losses
    return measured * np.divide(defect, energy, out=np.zeros(count), where=energy > 0)


def _quadrature_error(bound: Bound, refined: tuple[Bound, Trajectory] | None) -> Vector:
    if refined is None:
        return bound.quadrature_error
    with np.errstate(invalid="ignore"):
        error = np.abs(bound.values - _at_times(bound.ts, refined[0].ts, refined[0].values))
    return np.where(np.isnan(error), 0.0, error)


def _at_times(
    wanted: Vector, times: Float[np.ndarray, " r"], values: Float[np.ndarray, " r"]
) -> Vector:
    """Values at the wanted times, which must be among the times of the refinement."""
    index = np.clip(np.searchsorted(times, wanted - 1e-9 * times[-1]), 0, len(times) - 1)
    if not np.allclose(times[index], wanted, rtol=1e-6, atol=1e-9 * float(times[-1])):
        raise ValueError("the refinement must be saved at all times of the bound, and more")
    return values[index]
