"""Training of the linearised network under the mean squared loss, in closed form."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Bool, Float, PyTree

from sparsejax.dynamics.finiteness import concrete
from sparsejax.tangent.jacobian import Function
from sparsejax.tangent.linearised_decay import Decay, DescentDecay, FlowDecay
from sparsejax.tangent.linearised_modes import KernelModes, kernel_modes

CONVERGES, DIVERGES, OSCILLATES, NAN = STATUSES = ("converges", "diverges", "oscillates", "nan")


class LinearisedDynamics(eqx.Module):
    """The path of `linearize(f, params)` under the mean squared loss, at any time.

    Times are one number or an array, infinity included; results have the times' axes in front. For
    a flow `t` is flow time, for descent a number of steps `k`, which flow time `k step_size`
    corresponds to. Times outside of a trace are checked: ValueError where one is negative or NaN,
    or no whole number of steps.

    Where the loss is infinite, be it that descent diverges or that it overflows, all else is
    infinite throughout: no direction is left. Where a mode oscillates for ever there is no limit,
    and all is NaN at infinity. `status` says so beforehand.

    `clipped` eigenvalues lie below the kernel's resolution (`m` roundings of the largest, in the
    kernel's own precision) or are negative; they count as zero, so that what the kernel does not
    see stays as it is. `largest_clipped` is the largest of their sizes.
    """

    modes: KernelModes
    decay: Decay

    @property
    def eigenvalues(self) -> Array | np.ndarray:
        """Of `K = J J^T / n`, ascending, after clipping."""
        return self.modes.w

    @property
    def clipped(self) -> int:
        """How many eigenvalues count as zero; of `m` outputs and `p` parameters at least `m - p`.

        Eigenvalues that are zero exactly are among them.
        """
        return int(self.modes.clipped)

    @property
    def largest_clipped(self) -> float:
        """The size of the largest eigenvalue that counts as zero."""
        return float(self.modes.largest_clipped)

    @property
    def status(self) -> str:
        """What happens as time goes to infinity: `converges`, `diverges`, `oscillates` or `nan`.

        Descent diverges where `step_size * (eigenvalue + ridge) > 1` for a mode of the residual;
        `nan` is said of a network whose outputs or Jacobian are not finite.
        """
        w, c = (np.asarray(a) for a in (self.modes.w, self.modes.c))
        if not (np.isfinite(w).all() and np.isfinite(c).all()):
            return NAN
        with self.modes.precise():
            grows, oscillates = self.decay.limits(jnp.asarray(w + self.decay.ridge))
        moving = (w > 0) & (c != 0)
        if (np.asarray(grows) & moving).any():
            return DIVERGES
        return OSCILLATES if (np.asarray(oscillates) & moving).any() else CONVERGES

    def outputs(self, t: ArrayLike) -> Float[Array, "..."]:
        """`f` on the training samples: `(*t, n, *outputs)`."""
        at = self._at(t)
        return _shown(self.modes.outputs_of(at.residuals), at.lost, t)

    def losses(self, t: ArrayLike) -> Float[Array, "..."]:
        """`mean over samples of ||f - targets||^2`, without the ridge's part."""
        at = self._at(t)
        return _shown(self._as_outputs(at.losses), at.lost, t)

    def params(self, t: ArrayLike) -> PyTree[Array]:
        """The weights `theta_0 - J^T a(t)`, each leaf with the times' axes in front."""
        at = self._at(t)
        weights = self.modes.weights_of(at.moves)
        return jax.tree.map(lambda leaf: _shown(leaf, at.lost, t), weights)

    def predict(self, x: PyTree, t: ArrayLike) -> Float[Array, "..."]:
        """`f(x) - K(x, samples) a(t)` on any samples: `(*t, n, *outputs)`.

        At infinity this is `f(x) - K(x, samples) (K + n ridge I)^+ (f - targets)`, with kernels as
        `ntk` gives them: the mean of the Gaussian process whose prior mean is `f`.
        """
        at = self._at(t)
        return _shown(self.modes.predictions_of(x, at.moves), at.lost, t)

    def distance(self, t: ArrayLike) -> Float[Array, "..."]:
        """`||theta(t) - theta_0||`."""
        at = self._at(t)
        with self.modes.precise(at.moves):
            found = _distances(self.modes.w, at.moves)
        return _shown(self._as_outputs(found), at.lost, t)

    def _at(self, t: ArrayLike) -> "_Coefficients":
        times = _checked_times(t, whole=isinstance(self.decay, DescentDecay))
        w, c, dtype = self.modes.w, self.modes.c, self.modes.targets.dtype
        with self.modes.precise(times):
            flat = jnp.asarray(times, jnp.result_type(w)).reshape(-1)
            return _coefficients(self.decay, w, c, flat, float(jnp.finfo(dtype).max))

    def _as_outputs(self, found: Array) -> Array:
        with self.modes.precise(found):
            return found.astype(self.modes.targets.dtype)


def linearised_flow(
    f: Function,
    params: PyTree,
    x: PyTree,
    targets: Array | np.ndarray,
    *,
    ridge: float | int | Array = 0.0,
    chunk: int | None = None,
) -> LinearisedDynamics:
    """Gradient flow of `linearize(f, params)` under the mean squared loss, in closed form.

    The loss is `mean over samples of ||f - targets||^2`, so in `L^2` of the samples (residual over
    `sqrt(n)`, kernel over `n`) the residual is `r(t) = exp(-2 K t) r(0)` and the weights are
    `theta(t) = theta_0 - J^T a(t)` with `a(t) = K^+ (1 - exp(-2 K t)) r(0)`. `ridge` adds
    `ridge ||theta - theta_0||^2` to the loss. `chunk` bounds the kernel's memory as in `ntk`. The
    decomposition runs in float64 even where JAX runs in float32, except inside a trace.

    Raises:
        ValueError: a negative ridge, or shapes disagree.

    Source: Jacot, Gabriel, Hongler 2018; Lee et al. 2019 (arXiv 1902.06720).

    Example:
        >>> import jax.numpy as jnp
        >>> x, y = jnp.array([[1.0], [2.0]]), jnp.array([1.0, 2.0])
        >>> path = linearised_flow(lambda w, x: x @ w, jnp.zeros(1), x, y)
        >>> [round(float(path.losses(t)), 4) for t in (0.0, 0.1, jnp.inf)]  # 2.5 exp(-10 t)
        [2.5, 0.9197, 0.0]
        >>> [round(float(w), 6) for w in path.params(jnp.inf)], path.clipped
        ([1.0], 1)
    """
    decay = FlowDecay(_checked("ridge", ridge, at_least_zero=True))
    return LinearisedDynamics(kernel_modes(f, params, x, targets, chunk), decay)


def linearised_descent(
    f: Function,
    params: PyTree,
    x: PyTree,
    targets: Array | np.ndarray,
    step_size: float | int | Array,
    *,
    ridge: float | int | Array = 0.0,
    chunk: int | None = None,
) -> LinearisedDynamics:
    """Gradient descent of `linearize(f, params)` under the mean squared loss, in closed form.

    As `linearised_flow`, with times that count steps: `r_k = (1 - 2 step_size K)^k r_0`. A mode
    with `step_size * eigenvalue > 1` diverges (`status`), one above 1/2 changes sign at every step.

    Raises:
        ValueError: a step size that is not positive, a negative ridge, or shapes disagree.

    Example:
        >>> import jax.numpy as jnp
        >>> x, y = jnp.array([[1.0], [2.0]]), jnp.array([1.0, 2.0])
        >>> f = lambda w, x: x @ w
        >>> path = linearised_descent(f, jnp.zeros(1), x, y, step_size=0.1)
        >>> [round(float(w), 6) for w in path.params(jnp.arange(3))[:, 0]], path.status
        ([0.0, 0.5, 0.75], 'converges')
        >>> path = linearised_descent(f, jnp.zeros(1), x, y, step_size=0.5)
        >>> path.status, float(path.losses(jnp.inf))
        ('diverges', inf)
    """
    decay = DescentDecay(
        _checked("ridge", ridge, at_least_zero=True), _checked("step_size", step_size)
    )
    return LinearisedDynamics(kernel_modes(f, params, x, targets, chunk), decay)


class _Coefficients(eqx.Module):
    """In the eigenbasis, a row a time: the residual, `a`, the loss, and where that is infinite."""

    residuals: Float[Array, "*t m"]
    moves: Float[Array, "*t m"]
    losses: Float[Array, "*t"]
    lost: Bool[Array, "*t"]


@jax.jit
def _coefficients(decay, w, c, times, limit):
    def at(t):
        remaining, moved = decay(w, t)
        # A mode of which there is nothing stays nothing, however fast it would grow.
        residual, move = (jnp.where(c == 0, 0, c * factor) for factor in (remaining, moved))
        loss = jnp.sum(jnp.square(residual))
        lost = loss > limit
        return _Coefficients(jnp.where(lost, 0, residual), jnp.where(lost, 0, move), loss, lost)

    return jax.vmap(at)(times)


@jax.jit
def _distances(w, moves):
    return jnp.sqrt(jnp.sum(jnp.expand_dims(w, 0) * jnp.square(moves), axis=1))


def _shown(found: Array, lost: Array, t: ArrayLike) -> Array:
    """Infinite where the loss is, in the shape of the times."""
    lost = lost.reshape(-1, *(1,) * (found.ndim - 1))
    shown = jnp.where(lost, jnp.asarray(jnp.inf, found.dtype), found)
    return shown.reshape(*jnp.shape(t), *found.shape[1:])


def _checked(name: str, value: float | int | Array, at_least_zero: bool = False) -> float | Array:
    known = concrete(jnp.asarray(value))
    if known is None:
        return jnp.asarray(value)
    number = float(value)
    if not (np.isfinite(number) and (number > 0 or (at_least_zero and number == 0))):
        least = "not be negative" if at_least_zero else "be positive"
        raise ValueError(f"{name} must {least} and be finite, got {number}")
    return number


def _checked_times(t: ArrayLike, whole: bool) -> ArrayLike:
    known = concrete(t)
    if known is None:
        return t
    times = known.astype(np.float64)
    if not (times >= 0).all():
        raise ValueError(f"t: times must not be negative or NaN, got {times[~(times >= 0)][0]}")
    if whole and not (np.isinf(times) | (times == np.round(times))).all():
        raise ValueError("t: descent takes whole numbers of steps")
    return times
