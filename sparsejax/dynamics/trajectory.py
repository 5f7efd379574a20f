"""What a run leaves: parameters, losses and probes at saved times, and how it ended."""

from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree

from sparsejax.dynamics.stop import CONDITIONS, first_met

UNDER_WAY = -1  # of a run that has not ended; no trajectory has it
COMPLETED, DIVERGED, NAN, STEP_BUDGET, STEP_UNDERFLOW, REACHED = range(6)
STATUSES = (
    "completed",
    "diverged",
    "nan",
    "step_budget_exhausted",
    "step_size_underflow",
    # From `REACHED` on in the order of `stop.CONDITIONS`.
    *(f"reached_{condition}" for condition in CONDITIONS),
    "wall_clock_exhausted",
)
WALL_CLOCK = STATUSES.index("wall_clock_exhausted")
ENERGY_FACTOR, ENERGY_CEILING = 1000.0, 0.01


def code_once_stopped(
    code: Int[Array, ""],
    thresholds: Mapping[str, Array],
    found: Float[Array, " k"],
    at_start: Float[Array, " k"],
) -> Int[Array, ""]:
    """The code of a run under way whose margins are `found`: another where a condition is met."""
    met = REACHED + first_met(thresholds, found, at_start)
    return jnp.where((code == UNDER_WAY) & (jnp.min(found) <= 0), met, code)


class Trajectory(eqx.Module):
    """A path of the parameters under gradient flow or a discrete method, at saved times.

    `ts` (S,): flow time; for discrete methods the sum of step sizes. `params`: the parameters'
    pytree with a leading axis S. `losses`, `grad_norms` (S,). `path_lengths` (S,): the integral of
    `||d theta||`. `dissipation` (S,): the integral of `||grad L||^2` (a sum over steps of
    `eta ||grad L||^2` for discrete methods). `probes`: name to array with leading axis S.
    Entries behind `status_time` are NaN. `end`: the parameters at `status_time`, where the run
    stopped. `global_errors` (S,): on request, the estimated Euclidean
    distance of `params` to the exact flow. A pytree; under `vmap` every array gains an axis.
    """

    ts: Float[Array, "*lanes s"]
    params: PyTree[Array]
    losses: Float[Array, "*lanes s"]
    grad_norms: Float[Array, "*lanes s"]
    path_lengths: Float[Array, "*lanes s"]
    dissipation: Float[Array, "*lanes s"]
    probes: dict[str, PyTree[Array]]
    status_code: Int[Array, "*lanes"]
    status_time: Float[Array, "*lanes"]
    counts: dict[str, Array]
    method: tuple[tuple[str, Any], ...] = eqx.field(static=True)
    end: PyTree[Array] | None = None
    global_errors: Float[Array, "*lanes s"] | None = None

    @property
    def status(self) -> str | np.ndarray:
        """How it ended, one of `STATUSES`; an array of them for an ensemble."""
        names = np.asarray(STATUSES)[np.asarray(self.status_code)]
        return str(names) if names.ndim == 0 else names

    @property
    def stats(self) -> dict[str, Any]:
        """The method, why it was chosen, and how often gradients were evaluated.

        Of a flow also `energy_error`: the largest defect of the energy identity, as a fraction of
        the loss at the start and what was dissipated.
        """
        counts = {name: _plain(value) for name, value in self.counts.items()}
        return dict(self.method) | counts

    @property
    def warnings(self) -> tuple[str, ...]:
        """What a reader should know before trusting it; empty for an ensemble or run without flaw.

        The energy identity of a flow is to hold to `ENERGY_FACTOR` times the relative tolerance,
        and to `ENERGY_CEILING` in any case.
        """
        method = dict(self.method)
        found = list(method.get("notes", ()))
        if "energy_error" in self.counts:
            limit = min(ENERGY_CEILING, ENERGY_FACTOR * method.get("rtol", 1.0))
            worst = float(np.max(np.asarray(self.counts["energy_error"])))
            if worst > limit:
                found.append(
                    f"the energy identity is off by {worst:.2g} of the loss, above {limit:.2g}: "
                    "the flow is less accurate than asked for"
                )
        return tuple(found)

    @property
    def integrated(self) -> bool:
        """Whether an integrator made it (a gradient flow), not a discrete method."""
        return not {"rtol", "dt"}.isdisjoint(dict(self.method))

    @property
    def final(self) -> PyTree[Array]:
        """The parameters at the last saved time."""
        return self.at(-1)

    def at(self, index: int) -> PyTree[Array]:
        """The parameters at one saved time."""
        return jax.tree.map(lambda leaf: leaf[index], self.params)

    @property
    def energy_defect(self) -> Float[Array, "*lanes s"]:
        """`L_0 - L_t - int ||grad L||^2`: zero for an exact flow, so an estimate of its error."""
        return self.losses[..., :1] - self.losses - self.dissipation


def _plain(value: Array) -> Any:
    return value.item() if np.ndim(value) == 0 else np.asarray(value)
