"""The diffusions that SGD is close to in law: stochastic modified equations of orders 1 and 2."""

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import diffrax
import equinox as eqx
import jax
import jax.numpy as jnp
import lineax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Key, PyTree

from sparsejax.dynamics.finiteness import require_finite
from sparsejax.dynamics.loss import Loss
from sparsejax.dynamics.modified_loss import ModifiedLoss
from sparsejax.dynamics.recording import Probe, at_saved_times, blank, checked_probes
from sparsejax.dynamics.sampling import checked_sampling
from sparsejax.dynamics.trajectory import COMPLETED, DIVERGED, NAN, Trajectory


class ItoHeun(diffrax.AbstractItoSolver):
    """Heun's rule on the drift, Euler's on the noise: converges to the Ito solution.

    One step: `y' = y + b(y) h + s(y) dW`, then `y + (b(y) + b(y')) h / 2 + s(y) dW`. The weak error
    is `O(h^2)` in the drift and `O(h)` times the variance of the noise; where that variance is of
    the size of the step of SGD, as in its modified equations, the whole is of second order.
    """

    term_structure: ClassVar = diffrax.MultiTerm[
        tuple[diffrax.ODETerm, diffrax.AbstractTerm[Any, Any]]
    ]
    interpolation_cls: ClassVar[Callable[..., diffrax.LocalLinearInterpolation]] = (
        diffrax.LocalLinearInterpolation
    )

    def order(self, terms):
        """Order on an equation without noise."""
        return 2

    def strong_order(self, terms):
        """Strong order, that of Euler and Maruyama."""
        return 0.5

    def init(self, terms, t0, t1, y0, args):
        """No state."""
        return None

    def step(self, terms, t0, t1, y0, args, solver_state, made_jump):
        """One step from `t0` to `t1`."""
        drift, noise = terms.terms
        h = drift.contr(t0, t1)
        shock = noise.vf_prod(t0, y0, args, noise.contr(t0, t1))
        first = drift.vf_prod(t0, y0, args, h)
        second = drift.vf_prod(t1, y0 + first + shock, args, h)
        y1 = y0 + (first + second) / 2 + shock
        return y1, None, {"y0": y0, "y1": y1}, None, diffrax.RESULTS.successful

    def func(self, terms, t0, y0, args):
        """The vector field, as diffrax asks for it."""
        return terms.vf(t0, y0, args)


def noise_variance_factor(samples: int, batch_size: int, sampling: str) -> float:
    """Covariance of a batch's gradient over that of one sample's: `1/B`, or less for subsets.

    Batches of distinct samples have `(n - B) / (B (n - 1))`.

    Example:
        >>> [round(noise_variance_factor(10, 5, law), 4) for law in ("replacement", "subsets")]
        [0.2, 0.1111]
    """
    if sampling == "replacement":
        return 1 / batch_size
    return (samples - batch_size) / (batch_size * max(samples - 1, 1))


def gradient_noise(loss: Loss, theta: Array, unravel, weights: Float[Array, " n"]) -> Array:
    """`sum_i (g_i - mean g) w_i / sqrt(n)`: per-sample gradients as a linear map of `n` weights.

    Its covariance under standard normal weights is that of the gradient of one sample drawn at
    random. One gradient of a weighted loss: neither the gradients nor the covariance are formed.
    """
    centred = (weights - jnp.mean(weights)) / jnp.sqrt(jnp.asarray(loss.samples, weights.dtype))
    return jax.grad(lambda t: jnp.sum(centred * loss.of_samples(unravel(t))))(theta)


def stochastic_modified_flow(
    loss: Loss,
    params: PyTree,
    eta: float | int,
    steps: int,
    *,
    key: Key[Array, ""],
    batch_size: int,
    sampling: str = "replacement",
    order: int = 2,
    substeps: int = 4,
    save_every: int = 1,
    probes: Mapping[str, Probe] | None = None,
) -> Trajectory:
    """One path of the diffusion that SGD of step `eta` follows in law, over time `steps * eta`.

    `d theta = -grad L dt + sqrt(eta Sigma) dW` for `order=1`, and with `L + eta/4 ||grad L||^2` in
    place of `L` for `order=2`: expectations of smooth functions agree with those of `sgd` to
    `O(eta)` and `O(eta^2)` over a fixed time (Li, Tai, E 2017). `Sigma` is the covariance of the
    minibatch gradient at the current parameters; the noise has one dimension per sample and `Sigma`
    is never formed. `sampling`: `"replacement"` or `"subsets"` (batches of `sgd` within epochs are
    not independent and follow another equation).

    Integrated by `ItoHeun` at `eta / substeps`, saved after every `save_every` steps of `eta`.
    A path of a diffusion has infinite length: `path_lengths` is infinite behind time 0. `jax.vmap`
    over `key` gives an ensemble.

    Raises:
        ValueError: counts or `order` out of range, a loss without samples, batches within epochs.

    Example:
        >>> import jax, jax.numpy as jnp, sparsejax as sj
        >>> loss = sj.squared_loss(lambda w, x: x * w, jnp.ones(4), jnp.array([0.0, 1.0, 2.0, 3.0]))
        >>> path = stochastic_modified_flow(
        ...     loss, jnp.asarray(5.0), 0.1, 40, key=jax.random.key(0), batch_size=2, save_every=40
        ... )
        >>> path.status, abs(float(path.final) - 1.5) < 2.0
        ('completed', True)
    """
    chosen = checked_sampling(loss, key, batch_size, sampling)
    if not chosen.independent:
        raise ValueError("batches within epochs are not independent: 'replacement' or 'subsets'")
    if order not in (1, 2):
        raise ValueError(f"order is 1 or 2, not {order}")
    if min(steps, substeps, save_every) < 1 or steps % save_every:
        raise ValueError(
            f"steps ({steps}), substeps ({substeps}) and save_every ({save_every}) must be "
            "positive, and steps a multiple of save_every"
        )
    if not eta > 0:
        raise ValueError(f"eta is a step size and must be positive, got {eta}")
    require_finite(params, "params")
    method = (
        ("solver", "ItoHeun"),
        ("why", "first-order weak error times the variance of the noise"),
        ("batch_size", batch_size),
        ("sampling", sampling),
        ("order", order),
        ("substeps", substeps),
    )
    factor = noise_variance_factor(loss.samples, batch_size, sampling)
    return _diffuse(
        loss,
        params,
        jnp.asarray(eta, float),
        jnp.asarray(factor, float),
        key,
        steps,
        order,
        substeps,
        save_every,
        checked_probes(probes),
        method,
    )


@eqx.filter_jit
def _diffuse(
    loss, params, eta, factor, key, steps, order, substeps, save_every, probes, method
) -> Trajectory:
    theta0, unravel = ravel_pytree(params)
    dtype = theta0.dtype
    eta, factor = eta.astype(dtype), factor.astype(dtype)
    drifting = ModifiedLoss(loss, eta) if order == 2 else loss
    descent = jax.grad(lambda theta: drifting(unravel(theta)))
    slope = jax.grad(lambda theta: loss(unravel(theta)))
    dimension = jax.ShapeDtypeStruct((loss.samples,), dtype)

    # The dissipation goes along as one more coordinate, without noise of its own.
    def drift(t, y, args):
        squared = jnp.sum(jnp.square(slope(y[:-1])))
        return jnp.concatenate([-descent(y[:-1]), squared[None]])

    def diffusion(t, y, args):
        def apply(weights):
            shock = gradient_noise(loss, y[:-1], unravel, weights)
            return jnp.append(jnp.sqrt(eta * factor) * shock, jnp.zeros((), dtype))

        return lineax.FunctionLinearOperator(apply, dimension)

    count = steps * substeps
    h = eta / substeps
    saves = steps // save_every
    ts = jnp.arange(saves + 1, dtype=dtype) * (eta * save_every)
    brownian = diffrax.UnsafeBrownianPath(shape=dimension, key=key)
    solution = diffrax.diffeqsolve(
        diffrax.MultiTerm(diffrax.ODETerm(drift), diffrax.ControlTerm(diffusion, brownian)),
        ItoHeun(),
        t0=jnp.zeros((), dtype),
        t1=ts[-1],
        dt0=None,
        y0=jnp.append(theta0, jnp.zeros((), dtype)),
        stepsize_controller=diffrax.StepTo(ts=jnp.arange(count + 1, dtype=dtype) * h),
        saveat=diffrax.SaveAt(ts=ts),
        # The noise is not stored: no derivative runs backwards through a path.
        adjoint=diffrax.ForwardMode(),
        max_steps=count + 8,
        throw=False,
    )
    states = solution.ys
    record = at_saved_times(loss, unravel, ts, states[:, :-1], probes)
    large = 1e6 * (jnp.abs(record.losses[0]) + 1)
    with_nan = jnp.isnan(record.losses)
    bad = with_nan | (record.losses > large) | jnp.isinf(record.losses)
    first = jnp.argmax(bad)
    shown = jnp.where(bad.any(), jnp.arange(saves + 1) < first, True)
    code = jnp.where(bad.any(), jnp.where(with_nan[first], NAN, DIVERGED), COMPLETED)
    length = jnp.where(jnp.arange(saves + 1) > 0, jnp.inf, 0).astype(dtype)
    evaluations = jnp.asarray(count, jnp.int32)
    return Trajectory(
        ts=ts,
        params=blank(jax.vmap(unravel)(states[:, :-1]), shown),
        losses=blank(record.losses, shown),
        grad_norms=blank(record.grad_norms, shown),
        path_lengths=blank(length, shown),
        dissipation=blank(states[:, -1], shown),
        probes=blank(record.probes, shown),
        status_code=code,
        status_time=jnp.where(bad.any(), ts[first], ts[-1]),
        counts={"steps": evaluations, "gradient_evaluations": 3 * evaluations},
        method=method,
    )
