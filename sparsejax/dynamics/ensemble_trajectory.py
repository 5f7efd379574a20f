"""The trajectories of an ensemble: what to call each ending."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sparsejax.dynamics.flow_trajectory import blow_up, energy_error
from sparsejax.dynamics.lane_queue import COUNTS, Ledger
from sparsejax.dynamics.trajectory import COMPLETED, DIVERGED, STEP_UNDERFLOW, Trajectory


def ensemble_trajectory(
    ledger: Ledger, ts: Float[Array, " s"], thetas: Float[Array, "m p"], unravel: Any
) -> Trajectory:
    """A trajectory with a leading axis of lanes, from what the lanes have left behind."""
    end_times, end_losses, first = ledger.ends[:, :3].T
    last = ledger.ends[:, 3:]
    losses, grad_norms, path_lengths, dissipation = jnp.moveaxis(ledger.saves[..., :4], -1, 0)
    states = ledger.saves[..., 4:]
    codes, *counts = ledger.tallies.T
    grown = jax.vmap(blow_up)(first, thetas, last)
    code = jnp.where((codes == STEP_UNDERFLOW) & grown, DIVERGED, codes)
    error = jax.vmap(energy_error)(losses, dissipation, first, end_losses, last[:, -1])
    kept = states.shape[-1] == thetas.shape[-1]
    return Trajectory(
        ts=jnp.broadcast_to(ts, losses.shape),
        params=jax.vmap(jax.vmap(unravel))(states) if kept else None,
        losses=losses,
        grad_norms=grad_norms,
        path_lengths=path_lengths,
        dissipation=dissipation,
        probes={},
        status_code=code,
        status_time=jnp.where(code == COMPLETED, ts[-1], end_times),
        counts=dict(zip(COUNTS, counts, strict=True)) | {"energy_error": error},
        method=(),
        end=jax.vmap(unravel)(last[:, :-2]),
    )
