"""The trajectories of an ensemble: what to call each ending."""

from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sparsejax.dynamics.lane_queue import COUNTS, Ledger
from sparsejax.dynamics.trajectory import COMPLETED, DIVERGED, STEP_UNDERFLOW, Trajectory


def ensemble_trajectory(
    ledger: Ledger, ts: Float[Array, " s"], thetas: Float[Array, "m p"], unravel: Any
) -> Trajectory:
    """A trajectory with a leading axis of lanes, from what the lanes have left behind."""
    end_times, end_losses, first = ledger.ends[:, :3].T
    ends = ledger.ends[:, 3:-2]
    dissipated = ledger.ends[:, -1]
    losses, grad_norms, path_lengths, dissipation = jnp.moveaxis(ledger.saves[..., :4], -1, 0)
    states = ledger.saves[..., 4:]
    codes, *counts = ledger.tallies.T
    # A loss that is bounded below dissipates no more than it has: only a blow-up passes this.
    large = 1e6 * (jnp.abs(first) + 1)
    reach, reach0 = (jnp.max(jnp.abs(vectors), axis=1, initial=0) for vectors in (ends, thetas))
    grown = (reach > 1e6 * (reach0 + 1)) | (dissipated > large)
    code = jnp.where((codes == STEP_UNDERFLOW) & grown, DIVERGED, codes)
    # The energy identity, at every saved time and at the end.
    at_saves = losses - first[:, None] + dissipation
    at_end = end_losses - first + dissipated
    defects = jnp.abs(jnp.concatenate([at_saves, at_end[:, None]], axis=1))
    largest = jnp.max(jnp.where(jnp.isfinite(defects), defects, 0), axis=1)
    scale = jnp.abs(first) + dissipated
    energy_error = largest / jnp.where(scale > 0, scale, 1)
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
        counts=dict(zip(COUNTS, counts, strict=True)) | {"energy_error": energy_error},
        method=(),
        end=jax.vmap(unravel)(ends),
    )
