"""Regularised dual averaging as an optax transformation: exact zeros also from noisy gradients."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, PyTree

from sparsejax.dynamics.proximal import Penalty


class DualAveragingState(NamedTuple):
    """Steps taken, the sum of all gradients so far, and the parameters at the start."""

    steps_taken: Array
    gradient_sum: PyTree
    start: PyTree


def dual_averaging(
    penalty: Penalty, gamma: float | int | Array, *, growth: float | int = 0.5
) -> optax.GradientTransformation:
    """Each step minimises `<g, u> + R(u) + gamma t^growth / (2 t) ||u - start||^2`.

    `g` is the mean of all `t` gradients so far, `R` the penalty (`l1`, `group_lasso`), `start` the
    parameters at the start. Noise averages out of `g`, while a proximal gradient step thresholds
    a single minibatch's gradient: here small entries are exactly zero, there hardly ever. It is a
    method of its own, not to be chained behind a gradient step. `growth=0.5` is the method for
    stochastic gradients; with `growth=0` and `gamma` at least the curvature of a convex loss, full
    gradients converge like `1/t`. The size of a step, `t^(1 - growth) / gamma`, is no flow time.

    Raises:
        ValueError: a growth outside of [0, 1], a gamma that is not positive.

    Source: Xiao 2010, with the quadratic as its auxiliary function.

    Example:
        >>> import jax.numpy as jnp, sparsejax as sj
        >>> from sparsejax.dynamics import l1
        >>> loss = lambda w: 0.5 * jnp.sum((w - jnp.array([3.0, 0.5])) ** 2)
        >>> method = dual_averaging(l1(1.0), 1.0, growth=0)
        >>> sj.gradient_descent(loss, jnp.zeros(2), method, 60).final.round(6).tolist()
        [2.0, 0.0]
    """
    if not 0 <= growth <= 1:
        raise ValueError(f"growth: from 0 to 1, got {growth}")
    if not isinstance(gamma, Array) and not gamma > 0:
        raise ValueError(f"gamma: must be positive, got {gamma}")

    def init(params: PyTree) -> DualAveragingState:
        penalty.check(params)
        zeros = jax.tree.map(jnp.zeros_like, params)
        return DualAveragingState(jnp.zeros((), jnp.int32), zeros, params)

    def update(updates: PyTree, state: DualAveragingState, params: PyTree | None = None):
        if params is None:
            raise ValueError("dual averaging needs the parameters: update(updates, state, params)")
        taken = state.steps_taken + 1
        total = jax.tree.map(jnp.add, state.gradient_sum, updates)
        scale = jnp.asarray(gamma, float) * jnp.asarray(taken, float) ** growth
        # In the words of a proximal step: from start - (t / beta) g, of size t / beta.
        moved = penalty.prox(
            jax.tree.map(
                lambda start, gradient: start - gradient / scale.astype(gradient.dtype),
                state.start,
                total,
            ),
            jnp.asarray(taken, float) / scale,
        )
        steps = jax.tree.map(lambda new, old: new - old, moved, params)
        return steps, DualAveragingState(taken, total, state.start)

    return optax.GradientTransformation(init, update)
