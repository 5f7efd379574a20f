"""When a run may end before its time."""

import dataclasses
import math
from collections.abc import Mapping

import jax.numpy as jnp
from jaxtyping import Array, Float, Int


@dataclasses.dataclass(frozen=True)
class Stop:
    """Conditions, any of which ends a run; a condition that is None is not looked at.

    For flows and discrete methods; losses and gradients are those of all samples. The run's status
    names the one that ended it: `reached_` and the field's name, or `wall_clock_exhausted`.

    Args:
        loss: the loss is at most this.
        relative_loss: the loss is at most this fraction of the loss at the start.
        grad_norm: the Euclidean norm of the gradient is at most this.
        decay_rate: the relative decrease of the loss per unit of flow time,
            `||grad L||^2 / |L| = -d ln L / dt`, is at most this: a plateau, or the end.
        wall_clock: seconds since the call, compilation included.

    Raises:
        ValueError: a threshold that is negative, not finite, or out of range.

    Example:
        >>> import jax.numpy as jnp, sparsejax as sj
        >>> flow = sj.gradient_flow(
        ...     lambda w: jnp.sum(w**2), jnp.ones(1), t1=10.0, stop=Stop(relative_loss=0.25))
        >>> flow.status, round(float(flow.status_time), 4)  # w = exp(-2 t), L = w^2
        ('reached_relative_loss', 0.3466)
    """

    loss: float | int | None = None
    relative_loss: float | int | None = None
    grad_norm: float | int | None = None
    decay_rate: float | int | None = None
    wall_clock: float | int | None = None

    def __post_init__(self) -> None:
        for name, value in dataclasses.asdict(self).items():
            if value is None:
                continue
            if not math.isfinite(value) or (value < 0 and name != "loss"):
                raise ValueError(f"stop: {name} must be finite and not negative, got {value}")
        if self.relative_loss is not None and self.relative_loss >= 1:
            raise ValueError(
                f"stop: relative_loss is a fraction of the first loss, below 1, "
                f"got {self.relative_loss}"
            )

    @property
    def thresholds(self) -> dict[str, Array]:
        """The conditions on the flow itself, by name, as arrays: new numbers do not recompile."""
        values = {name: getattr(self, name) for name in CONDITIONS}
        return {name: jnp.asarray(v, float) for name, v in values.items() if v is not None}


CONDITIONS = ("loss", "relative_loss", "grad_norm", "decay_rate")


def margins(
    thresholds: Mapping[str, Array],
    loss: Float[Array, ""],
    squared_norm: Float[Array, ""],
    first_loss: Float[Array, ""],
) -> Float[Array, " k"]:
    """How far each condition is from holding, in the order of `thresholds`; it does at 0 or less.

    `squared_norm`: of the gradient.
    """

    def margin(name: str, threshold: Array) -> Array:
        if name == "loss":
            return loss - threshold
        if name == "relative_loss":
            return loss - threshold * first_loss
        if name == "grad_norm":
            return squared_norm - jnp.square(threshold)
        # No quotient: at a minimum of value zero both sides vanish.
        return squared_norm - threshold * jnp.abs(loss)

    return jnp.stack([margin(name, x.astype(loss.dtype)) for name, x in thresholds.items()])


def first_met(
    thresholds: Mapping[str, Array], at_crossing: Float[Array, " k"], at_start: Float[Array, " k"]
) -> Int[Array, ""]:
    """Index in `CONDITIONS` of the condition that is nearest to its threshold, or beyond it."""
    indices = jnp.asarray([CONDITIONS.index(name) for name in thresholds], jnp.int32)
    scale = jnp.where(at_start > 0, at_start, 1)
    return indices[jnp.argmin(at_crossing / scale)]
