"""Gradient flow of the linearised network under any loss, in the space of its outputs."""

from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from sparsejax.dynamics import Trajectory, gradient_flow
from sparsejax.tangent.jacobian import Function
from sparsejax.tangent.linearised_modes import KernelModes, kernel_modes

OutputLoss = Callable[[Array, Array], Array]


class LinearisedFlow(eqx.Module):
    """The flow of `linearize(f, params)` under a loss, at the saved times of `trajectory`.

    `trajectory` is that of the whitened coordinates `z` (see `linearised_flow_of_loss`); its times,
    losses, gradient norms, path lengths, dissipation and status are those of the weights.
    """

    modes: KernelModes
    trajectory: Trajectory

    @property
    def ts(self) -> Float[Array, " s"]:
        """Saved times."""
        return self.trajectory.ts

    @property
    def losses(self) -> Float[Array, " s"]:
        """The loss at the saved times."""
        return self.trajectory.losses

    @property
    def status(self) -> str | np.ndarray:
        """How the flow ended, as `Trajectory.status`."""
        return self.trajectory.status

    @property
    def clipped(self) -> int:
        """How many eigenvalues count as zero, as in `LinearisedDynamics`."""
        return int(self.modes.clipped)

    @property
    def largest_clipped(self) -> float:
        """The size of the largest eigenvalue that counts as zero."""
        return float(self.modes.largest_clipped)

    @property
    def distances(self) -> Float[Array, " s"]:
        """`||theta(t) - theta_0||`: that of `z`, whose axes are orthonormal in the weights."""
        return jnp.linalg.norm(self.trajectory.params, axis=1)

    @property
    def outputs(self) -> Float[Array, "s n *c"]:
        """`f` on the training samples."""
        outputs, factor = _outputs_and_factor(self.modes)
        return jax.vmap(lambda z: _outputs(outputs, factor, z))(self.trajectory.params)

    @property
    def params(self) -> PyTree[Array]:
        """The weights, each leaf with the saved times in front."""
        return self.modes.weights_of(self._moves())

    def predict(self, x: PyTree) -> Float[Array, "s ..."]:
        """Outputs on any samples."""
        return self.modes.predictions_of(x, self._moves())

    def _moves(self) -> Array:
        w, z = self.modes.w, self.trajectory.params
        with self.modes.precise(z):
            seen = jnp.where(w > 0, jnp.sqrt(jnp.where(w > 0, w, 1)), jnp.inf)
            return -jnp.asarray(z, jnp.result_type(w)) / jnp.expand_dims(seen, 0)


def linearised_flow_of_loss(
    f: Function,
    params: PyTree,
    x: PyTree,
    targets: Array | np.ndarray,
    loss: OutputLoss,
    t1: float | int,
    *,
    chunk: int | None = None,
    **options: Any,
) -> LinearisedFlow:
    """Gradient flow of `loss(linearize(f, params)(theta, x), targets)` over flow time `[0, t1]`.

    `loss(outputs, targets)` is a scalar, e.g. a mean over samples; `options` are those of
    `gradient_flow` (`saveat`, `rtol`, `solver`, ...). For the mean squared loss `linearised_flow`
    has the closed form.

    The flow runs in the coordinates `z` of weights `theta_0 + J^T V diag(w)^{-1/2} z`, with the
    eigen-decomposition of `K = J J^T / n` and `J` divided by `sqrt(n)`. The axes of `z` are
    orthonormal and span all that the gradient can reach, so this is the gradient flow of the
    weights itself, in as many dimensions as there are outputs, and no network is evaluated on the
    way: outputs are `f + sqrt(n) V diag(w)^{1/2} z`.

    Raises:
        ValueError: shapes disagree, the loss gives no scalar, or as `gradient_flow`.

    Source: derived in this project.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> x, labels = jnp.array([[1.0], [-2.0]]), jnp.array([1.0, -1.0])
        >>> logistic = lambda outputs, y: jnp.mean(jax.nn.softplus(-y * outputs))
        >>> flow = linearised_flow_of_loss(
        ...     lambda w, x: x @ w, jnp.zeros(1), x, labels, logistic, 4.0, solver="rk4", dt=0.1
        ... )
        >>> flow.status, bool(jnp.allclose(flow.outputs[-1], x[:, 0] * flow.params[-1]))
        ('completed', True)
    """
    modes = kernel_modes(f, params, x, targets, chunk)
    shape = jax.eval_shape(loss, modes.targets, modes.targets).shape
    if shape != ():
        raise ValueError(f"loss gives an array of shape {shape}; a flow needs a scalar")
    outputs, factor = _outputs_and_factor(modes)
    whitened = _WhitenedLoss(loss, outputs, factor, modes.targets)
    start = jnp.zeros(factor.shape[1], factor.dtype)
    return LinearisedFlow(modes, gradient_flow(whitened, start, t1, **options))


class _WhitenedLoss(eqx.Module):
    """The loss as a function of `z`."""

    loss: OutputLoss
    outputs: Array
    factor: Array
    targets: Array

    def __call__(self, z: Array) -> Array:
        return self.loss(_outputs(self.outputs, self.factor, z), self.targets)


def _outputs(outputs: Array, factor: Array, z: Array) -> Array:
    return outputs + (factor @ z).reshape(outputs.shape)


def _outputs_and_factor(modes: KernelModes) -> tuple[Array, Array]:
    """Outputs at `z = 0`, and `sqrt(n) V diag(w)^{1/2}`, in the precision of the outputs."""
    dtype = modes.targets.dtype
    with modes.precise():
        factor = jnp.asarray(modes.v) * jnp.sqrt(jnp.expand_dims(modes.w, 0)) * modes.root
        factor = factor.astype(dtype)
    return modes.f(modes.params, modes.x), factor
