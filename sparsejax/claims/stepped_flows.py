"""Two flows whose distance is an error at every saved time: one at twice the step of the other."""

from collections.abc import Callable
from typing import Any

from jaxtyping import Array, Float, PyTree
from numpy import ndarray

from sparsejax.dynamics import Trajectory, gradient_flow


def stepped_flows(
    loss: Callable[[PyTree], Array],
    params: PyTree,
    ts: Float[ndarray, " s"],
    steps: int,
) -> tuple[Trajectory, Trajectory]:
    """A flow by the classical Runge-Kutta method in `steps` or more, and one at twice its step.

    For flows that are not stiff, saved at `ts` from 0 on. Steps end at the saved times: under error
    control two flows of like tolerance share what the interpolation between steps is off, to many
    digits. And no gap between saved times is so short that both flows take it in one step.

    Example:
        >>> import jax.numpy as jnp, numpy as np
        >>> loss, ts = lambda w: 0.5 * jnp.sum(w**2), np.array([0.0, 0.5, 1.0])
        >>> fine, rough = stepped_flows(loss, jnp.ones(2), ts, steps=10)
        >>> [int(flow.stats["steps"]) for flow in (fine, rough)]
        [10, 6]
    """
    dt = min(ts[-1] / steps, ts[1] / 2)

    def flow(step: Any) -> Trajectory:
        return gradient_flow(loss, params, ts[-1], saveat=ts, solver="rk4", dt=step)

    return flow(dt), flow(2 * dt)
