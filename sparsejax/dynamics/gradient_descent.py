"""Discrete gradient methods: any optax optimiser, full batch or minibatch, as a trajectory."""

from collections.abc import Callable, Mapping

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Key, PyTree

from sparsejax.dynamics.finiteness import require_finite
from sparsejax.dynamics.recording import Probe, at_saved_times, blank, checked_probes
from sparsejax.dynamics.sampling import Sampling, checked_sampling
from sparsejax.dynamics.trajectory import COMPLETED, DIVERGED, NAN, Trajectory


def gradient_descent(
    loss: Callable[[PyTree], Array],
    params: PyTree,
    optimizer: optax.GradientTransformation,
    steps: int,
    *,
    save_every: int = 1,
    batch_size: int | None = None,
    key: Key[Array, ""] | None = None,
    probes: Mapping[str, Probe] | None = None,
    optimizer_state: optax.OptState | None = None,
) -> Trajectory:
    """Run `steps` steps of an optax optimiser from `params` and save every `save_every`-th state.

    Time is the sum of step sizes. The size of a step is read off the step itself, as the component
    of the update along the negative gradient, `-<update, g> / <g, g>`: the learning rate for plain
    gradient descent under any schedule, the effective step of any other optimiser; a proximal step
    (`proximal_l1` and its like) says its own size. With
    `batch_size` each step sees that many samples, drawn without replacement within an epoch in an
    order that `key` alone fixes; `loss` must then be a `Loss` such as `squared_loss` makes, and
    losses and gradient norms are recorded on all samples.

    A new optimiser object compiles anew. To run many step sizes through one compiled program, make
    one `optax.inject_hyperparams(optax.sgd)(learning_rate=0.0)` and pass `optimizer_state`, whose
    `hyperparams["learning_rate"]` says the step size of this run; the default is
    `optimizer.init(params)`.

    `Trajectory.status` is `completed`, `diverged` (the loss exceeds `1e6 (|L_0| + 1)` or is
    infinite) or `nan`, with the time of the first such step.

    Raises:
        ValueError: counts out of range, a batch without a key or without a `Loss`.

    Example:
        >>> import jax.numpy as jnp, optax
        >>> run = gradient_descent(lambda w: 0.5 * w**2, jnp.asarray(1.0), optax.sgd(0.1), steps=2)
        >>> [round(float(w), 3) for w in run.params], [round(float(t), 3) for t in run.ts]
        ([1.0, 0.9, 0.81], [0.0, 0.1, 0.2])
    """
    sampling = None if batch_size is None else checked_sampling(loss, key, batch_size, "epochs")
    method = (
        ("solver", "gradient descent" if batch_size is None else "stochastic gradient descent"),
        ("why", "asked for"),
        ("batch_size", batch_size),
    )
    return descend(
        loss,
        params,
        optimizer,
        steps,
        save_every=save_every,
        sampling=sampling,
        key=key,
        probes=probes,
        optimizer_state=optimizer_state,
        method=method,
    )


def descend(
    loss: Callable[[PyTree], Array],
    params: PyTree,
    optimizer: optax.GradientTransformation,
    steps: int,
    *,
    save_every: int,
    sampling: Sampling | None,
    key: Key[Array, ""] | None,
    probes: Mapping[str, Probe] | None,
    optimizer_state: optax.OptState | None,
    method: tuple,
) -> Trajectory:
    """The run that `gradient_descent` and `sgd` describe; raises ValueError on bad input."""
    if steps < 1 or save_every < 1:
        raise ValueError(f"steps and save_every must be positive, got {steps} and {save_every}")
    if steps % save_every:
        raise ValueError(f"steps ({steps}) must be a multiple of save_every ({save_every})")
    require_finite(params, "params")
    probes = checked_probes(probes)
    if optimizer_state is None:
        optimizer_state = optimizer.init(params)
    saves = steps // save_every
    return _descend(
        loss, params, optimizer, optimizer_state, saves, save_every, sampling, key, probes, method
    )


@eqx.filter_jit
def _descend(
    loss, params, optimizer, optimizer_state, saves, save_every, sampling, key, probes, method
) -> Trajectory:
    theta0, unravel = ravel_pytree(params)
    dtype = theta0.dtype

    def seen_at(step):
        return loss if sampling is None else sampling.at_step(loss, key, step)

    def one_step(carry, _):
        theta, optimizer_state, step, t, path, dissipation, last_eta = carry
        params = unravel(theta)
        value, gradient = jax.value_and_grad(seen_at(step))(params)
        updates, optimizer_state = optimizer.update(gradient, optimizer_state, params)
        flat_update, flat_gradient = ravel_pytree(updates)[0], ravel_pytree(gradient)[0]
        squared = jnp.sum(jnp.square(flat_gradient))
        along = -jnp.sum(flat_update * flat_gradient) / jnp.where(squared > 0, squared, 1)
        # At a critical point the update says nothing; time goes on at the last step size.
        eta = jnp.where(squared > 0, along, last_eta)
        # A proximal step rests at its solution, where the gradient does not vanish.
        said = optax.tree_utils.tree_get_all_with_path(optimizer_state, "proximal_step_size")
        eta = said[0][1].astype(dtype) if said else eta
        theta = ravel_pytree(optax.apply_updates(params, updates))[0]
        path = path + jnp.sqrt(jnp.sum(jnp.square(flat_update)))
        carry = (theta, optimizer_state, step + 1, t + eta, path, dissipation + eta * squared, eta)
        return carry, (value, t)

    def save(carry, _):
        after, (values, times) = jax.lax.scan(one_step, carry, length=save_every)
        return after, ((carry[0], carry[3], carry[4], carry[5]), values, times)

    zero = jnp.zeros((), dtype)
    start = (theta0, optimizer_state, jnp.zeros((), jnp.int32), zero, zero, zero, zero)
    end, (saved, values, times) = jax.lax.scan(save, start, length=saves)
    thetas, ts, path, dissipation = (
        jnp.concatenate([column, last[None]])
        for column, last in zip(saved, (end[0], end[3], end[4], end[5]), strict=True)
    )
    values, times = values.ravel(), times.ravel()

    record = at_saved_times(loss, unravel, ts, thetas, probes)
    values = jnp.concatenate([values, record.losses[-1:]])
    times = jnp.concatenate([times, ts[-1:]])
    with_nan = jnp.isnan(values)
    too_large = (values > 1e6 * (jnp.abs(values[0]) + 1)) | jnp.isinf(values)
    bad = with_nan | too_large
    first = jnp.argmax(bad)
    code = jnp.where(bad.any(), jnp.where(with_nan[first], NAN, DIVERGED), COMPLETED)
    status_time = jnp.where(bad.any(), times[first], ts[-1])
    counts = {"steps": end[2], "gradient_evaluations": end[2]}
    if sampling is None:  # of one loss, not of one batch against the next
        counts["loss_increases"] = jnp.sum(values[1:] > values[:-1], dtype=jnp.int32)
    index = jnp.arange(ts.shape[0]) * save_every
    # The state of the first bad step is where the run ended; what follows it means nothing.
    shown = jnp.where(bad.any(), index < first, True)
    return Trajectory(
        ts=blank(ts, shown),
        params=blank(jax.vmap(unravel)(thetas), shown),
        losses=blank(record.losses, shown),
        grad_norms=blank(record.grad_norms, shown),
        path_lengths=blank(path, shown),
        dissipation=blank(dissipation, shown),
        probes=blank(record.probes, shown),
        status_code=code,
        status_time=status_time,
        counts=counts,
        method=method,
    )
