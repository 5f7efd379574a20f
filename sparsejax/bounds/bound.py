"""A bound: a curve that theory promises, with the hypotheses under which it does."""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal

import numpy as np
from jaxtyping import Array, Float

from sparsejax.dynamics import Trajectory


@dataclasses.dataclass(frozen=True)
class Hypothesis:
    """One condition of a theorem and whether the run at hand meets it."""

    name: str
    met: bool
    detail: str = ""


def flow_from_zero(trajectory: Trajectory) -> Hypothesis:
    """The hypothesis of every bound in continuous time: a gradient flow, saved from its start."""
    start = float(np.asarray(trajectory.ts)[0])
    return Hypothesis(
        "gradient flow from time 0",
        trajectory.integrated and start == 0.0,
        f"first saved time {start:g}" if trajectory.integrated else "a discrete method made it",
    )


def loss_agrees(
    name: str, loss: Callable[[Any], Array], trajectory: Trajectory, last: int
) -> Hypothesis:
    """The hypothesis that the trajectory is of this loss, at the first and last of `last` times.

    The start alone would not tell: where the outputs are zero and the targets of one length, all
    weights of the samples give the same loss.
    """
    recorded = np.asarray(trajectory.losses, float)[[0, last - 1]]
    recomputed = np.array([float(loss(trajectory.at(k))) for k in (0, last - 1)])
    # Of a loss that went down far, residuals are differences of numbers as large as at the start.
    near = np.isclose(recomputed, recorded, rtol=1e-5, atol=max(1e-12, 1e-5 * recorded[0]))
    at = 0 if not near[0] else 1
    return Hypothesis(
        name,
        bool(near.all()),
        f"at the {('start', 'end')[at]}, loss from the data {recomputed[at]:.6g}, recorded "
        f"{recorded[at]:.6g}",
    )


def finite_rows(*columns: Float[np.ndarray, " s"]) -> int:
    """How many saved times there are before the first entry that is not finite.

    Raises:
        ValueError: there are none.
    """
    finite = np.logical_and.reduce([np.isfinite(column) for column in columns])
    last = len(finite) if finite.all() else int(np.argmin(finite))
    if last == 0:
        raise ValueError("the trajectory has no finite loss at its first saved time")
    return last


@dataclasses.dataclass(frozen=True)
class Bound:
    """A promised curve for one quantity of a trajectory.

    `values` (S,) at times `ts` (S,), for `quantity`: `"losses"` or `"path_lengths"` of the
    trajectory, or `measured` (S,) where the bound brings what it speaks of (a mean over runs,
    `"flow_distances"`). `kind`: `"upper"` (the quantity stays at or below) or `"identity"`.
    `quadrature_error` (S,): how much the values change when every second probe time is left out.
    `sampling_error`, `integrator_error` (S,): errors of `measured` that the trajectory cannot show.
    `trivial`: at how many saved times from time 0 on it is true by construction.
    `initial`: the value above which an upper bound says nothing. `details`: curves that went into
    it, by name.
    """

    name: str
    source: str
    ts: Float[np.ndarray, " s"]
    values: Float[np.ndarray, " s"]
    quantity: Literal["losses", "path_lengths", "flow_distances"]
    kind: Literal["upper", "identity"]
    quadrature_error: Float[np.ndarray, " s"]
    initial: float
    hypotheses: tuple[Hypothesis, ...] = ()
    measured: Float[np.ndarray, " s"] | None = None
    sampling_error: Float[np.ndarray, " s"] | float = 0.0
    integrator_error: Float[np.ndarray, " s"] | float = 0.0
    trivial: int = 1
    details: dict[str, Any] = dataclasses.field(default_factory=dict)

    @property
    def vacuous(self) -> bool:
        """Whether an upper bound says nothing: nowhere finite and below the initial value."""
        if self.kind == "identity":
            return False
        return not bool(np.any(np.isfinite(self.values) & (self.values < self.initial)))
