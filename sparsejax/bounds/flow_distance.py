"""How far gradient descent strays from the gradient flow (5.3), step by step."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree

from sparsejax.bounds.bound import Bound, Hypothesis, flow_from_zero
from sparsejax.dynamics import Trajectory, hessian_ranges

SOURCE = "derived here; the integral form is Elkabetz, Cohen 2021"


def flow_distance(
    loss: Callable[[PyTree], Array],
    run: Trajectory,
    flow: Trajectory,
    *,
    reference: Trajectory,
    times: Float[Array | np.ndarray, " s"] | None = None,
) -> Bound:
    """The promised distance between gradient descent, every step saved, and the gradient flow.

    `E_{k+1} <= (1 - eta m) E_k + eta^2 beta gamma / 2` for `eta <= 1 / beta`, from `E_0 = 0`: `m`
    is at most the least Hessian eigenvalue on the segment between the two, `beta` at least the
    greatest Hessian norm there and along the flow, `gamma` at least the gradient norm along the
    flow, each taken step by step over the states that are at hand. `flow` must be saved at
    `run.ts`; further times between them sharpen `beta` and `gamma`. `reference`: the same flow at
    the same times and a tenth of the tolerance; the difference is the integrator's error.

    `times` compares step k with the flow at other times, such as `effective_times(loss, run)`,
    where `flow` must then be saved. The error that a step adds is then measured, not bounded: it
    is how much the flow itself fails to be a gradient step, `||theta(t_{k+1}) - theta(t_k) +
    eta grad L(theta(t_k))||`.

    The measured distances are in `Bound.measured`. The promise ends at the first step with
    `eta beta > 1`.

    Raises:
        ValueError: a time that the flow or the reference was not saved at.

    Example:
        >>> import jax.numpy as jnp, optax, sparsejax as sj
        >>> loss, start = lambda w: 0.5 * jnp.sum(w**2), jnp.ones(1)
        >>> run = sj.gradient_descent(loss, start, optax.sgd(0.1), 10)
        >>> flow, fine = (
        ...     sj.gradient_flow(loss, start, t1=1.0, saveat=run.ts, solver="rk4", dt=dt)
        ...     for dt in (0.02, 0.01)
        ... )
        >>> sj.bounds.compare(flow_distance(loss, run, flow, reference=fine), run).status
        'holds'
    """
    steps = np.asarray(run.ts, float)
    wanted = steps if times is None else np.asarray(times, float)
    if wanted.shape != steps.shape:
        raise ValueError(f"times has shape {wanted.shape}, the run was saved at {steps.shape}")
    here = _flat(run.params)
    usable = np.isfinite(here).all(axis=1) & np.isfinite(wanted)
    last = len(usable) if usable.all() else int(np.argmin(usable))
    if last == 0:
        raise ValueError("the run has no finite state at its first saved time")
    steps, wanted, here = steps[:last], wanted[:last], here[:last]
    at, at_reference = _indices(wanted, flow, "flow"), _indices(wanted, reference, "reference")
    path, fine = _flat(flow.params), _flat(reference.params)
    there, etas = path[at], np.diff(steps)
    stop = int(at[-1]) + 1
    shown = jax.tree.map(lambda leaf: leaf[:stop], flow.params)
    gammas = np.asarray(flow.grad_norms, float)[:stop]
    least_flow, largest_flow = (np.asarray(end, float) for end in hessian_ranges(loss, shown))
    norm_flow = np.maximum(np.abs(least_flow), np.abs(largest_flow))
    between = _segments(loss, run, here, there, last)  # (S, 3) twice

    def recursion(points: slice, inner: bool) -> tuple[np.ndarray, np.ndarray]:
        values, betas = [0.0], []
        for k, eta in enumerate(etas):
            cell = slice(at[k], at[k + 1] + 1, None if inner else max(at[k + 1] - at[k], 1))
            beta = max(norm_flow[cell].max(), between[1][k, points].max())
            m = min(between[0][k, points].min(), least_flow[at[k]])
            if times is None:
                added = eta**2 * norm_flow[cell].max() * gammas[cell].max() / 2
            else:
                added = defects[k]
            betas.append(beta)
            # In one dimension and beyond the range of the hypothesis this may turn negative.
            values.append(max(1 - eta * m, 0.0) * values[-1] + added)
        return np.array(values), np.array(betas)

    gradients = _gradients(loss, flow.params, at)
    defects = np.linalg.norm(np.diff(there, axis=0) + etas[:, None] * gradients[:-1], axis=1)
    values, betas = recursion(slice(None), True)
    coarse, _ = recursion(slice(None, None, 2), False)
    too_large = etas * betas > 1 + 1e-9
    end = int(np.argmax(too_large)) if too_large.any() else len(etas)
    lengths = np.diff(np.asarray(run.path_lengths, float)[:last])
    norms = etas * np.asarray(run.grad_norms, float)[: last - 1]
    tolerance = 1e4 * float(np.finfo(np.asarray(run.losses).dtype).eps)
    start_gap = float(np.linalg.norm(here[0] - path[0]))
    scale = 1 + float(np.abs(here[0]).max())
    every_step = int(run.stats["steps"]) == run.ts.shape[0] - 1 and not run.integrated
    return Bound(
        name="distance from the flow" + ("" if times is None else ", times of its own"),
        source=SOURCE,
        ts=steps[: end + 1],
        values=values[: end + 1],
        quantity="flow_distances",
        kind="upper",
        quadrature_error=np.abs(values - coarse)[: end + 1],
        # Beyond the way that both have come together, a bound on their distance says nothing.
        initial=float(run.path_lengths[last - 1] + np.asarray(flow.path_lengths, float)[at[-1]]),
        measured=np.linalg.norm(here - there, axis=1)[: end + 1],
        # A measured defect is the whole distance after the first step.
        trivial=1 if times is None else 2,
        integrator_error=np.linalg.norm(there - fine[at_reference], axis=1)[: end + 1],
        hypotheses=(
            flow_from_zero(flow),
            Hypothesis("every step was saved", every_step),
            Hypothesis(
                "every step goes along the negative gradient",
                bool(
                    np.allclose(
                        lengths, norms, rtol=tolerance, atol=tolerance * norms.max(initial=0.0)
                    )
                ),
            ),
            Hypothesis("both start from the same parameters", start_gap <= tolerance * scale),
            Hypothesis(
                "step size at most 1 / curvature",
                end == len(etas),
                "at every step"
                if end == len(etas)
                else f"step {end} has eta beta = {etas[end] * betas[end]:.3g}",
            ),
            Hypothesis(
                "the run and its times stay finite",
                last == run.ts.shape[0],
                f"not finite behind step {last - 1}",
            ),
        ),
        details={
            "beta": betas,
            "m": np.minimum(between[0].min(axis=1), least_flow[at]),
            "eta": etas,
            "defects": defects,
            "times": wanted,
            "stopped_at_step": end if end < len(etas) else None,
        },
    )


def _flat(params: PyTree[Array]) -> Float[np.ndarray, "s p"]:
    leaves = [np.asarray(leaf, float) for leaf in jax.tree.leaves(params)]
    return np.concatenate([leaf.reshape(len(leaf), -1) for leaf in leaves], axis=1)


def _indices(wanted: np.ndarray, flow: Trajectory, name: str) -> np.ndarray:
    times = np.asarray(flow.ts, float)
    index = np.clip(np.searchsorted(times, wanted - 1e-9 * times[-1]), 0, len(times) - 1)
    off = ~np.isclose(times[index], wanted, rtol=1e-6, atol=1e-9 * float(times[-1]))
    if off.any():
        raise ValueError(
            f"the {name} was not saved at t = {wanted[int(np.argmax(off))]:.6g}: give it the "
            "times of the comparison in saveat"
        )
    return index


@eqx.filter_jit
def _gradients_at(loss, params):
    return jax.lax.map(lambda p: ravel_pytree(jax.grad(loss)(p))[0], params)


def _gradients(loss, params: PyTree[Array], at: np.ndarray) -> Float[np.ndarray, "s p"]:
    chosen = jax.tree.map(lambda leaf: leaf[at], params)
    return np.asarray(_gradients_at(loss, chosen), float)


def _segments(loss, run: Trajectory, here, there, last: int) -> tuple[np.ndarray, np.ndarray]:
    """Least eigenvalue and Hessian norm at both ends and the middle of each segment."""
    unravel = ravel_pytree(run.at(0))[1]
    shape = (last, 3)
    states = np.stack([here, (here + there) / 2, there], axis=1).reshape(3 * last, -1)
    params = jax.vmap(unravel)(jnp.asarray(states, run.ts.dtype))
    least, largest = (np.asarray(end, float) for end in hessian_ranges(loss, params))
    return least.reshape(shape), np.maximum(np.abs(least), np.abs(largest)).reshape(shape)
