"""What an ensemble of online runs leaves: curves, hitting times and an ending for each seed."""

from typing import Any

import equinox as eqx
import numpy as np
from jaxtyping import Array, Bool, Float, Int, PyTree

from sparsejax.dynamics.trajectory import COMPLETED, DIVERGED, NAN, REACHED

NAMES = {COMPLETED: "completed", REACHED: "reached", DIVERGED: "diverged", NAN: "nan"}
FAILED = (NAMES[DIVERGED], NAMES[NAN])


class OnlineRuns(eqx.Module):
    """Online runs of several seeds, at recorded steps.

    `steps` (k,). `losses` (seeds, k): the mean, over the steps since the record before, of the loss
    of each step's batch before that step; the first one is that of the first batch. On fresh data
    it is an unbiased estimate of the population loss. `probes`: name to (seeds, k, ...). `hitting`:
    event to (seeds, ...), in steps; infinite where it was not seen before the lane ended.
    `steps_run` (seeds,). `params`: at each lane's end, with a leading axis of seeds; `f`: the
    functions, with the same axis on the arrays that they hold. Records behind a lane's end are NaN.
    """

    steps: Int[np.ndarray, " k"]
    losses: Float[Array, "seeds k"]
    probes: dict[str, Float[Array, "seeds k ..."]]
    hitting: dict[str, Float[Array, "seeds ..."]]
    status_code: Int[Array, " seeds"]
    steps_run: Int[Array, " seeds"]
    params: PyTree
    f: Any

    @property
    def status(self) -> np.ndarray:
        """How each lane ended: completed, reached (all events), diverged or nan."""
        return np.asarray([NAMES[int(code)] for code in np.asarray(self.status_code)])

    @property
    def failed(self) -> Bool[np.ndarray, " seeds"]:
        """Which lanes have no end: those that diverged or left the numbers."""
        return np.isin(self.status, FAILED)
