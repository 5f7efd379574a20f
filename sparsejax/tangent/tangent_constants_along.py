"""Intervals for the tangent constant along a trajectory, each warm from those before it."""

import dataclasses

import jax
import numpy as np
from jaxtyping import Array, Float, Int, PyTree

from sparsejax.tangent.jacobian import Function
from sparsejax.tangent.tangent_constant_interval import tangent_constant_interval


@dataclasses.dataclass(frozen=True)
class TangentConstantsAlong:
    """`lower <= kappa_eps <= upper` (S,) at S states, statuses, and the products that each took."""

    lower: Float[np.ndarray, " s"]
    upper: Float[np.ndarray, " s"]
    statuses: tuple[str, ...]
    products: Int[np.ndarray, " s"]


def tangent_constants_along(
    f: Function,
    params: PyTree[Array],
    x: PyTree,
    targets: Array | np.ndarray,
    eps: float | int | Array,
    *,
    rtol: float = 1e-2,
    max_products: int = 1000,
    recycled: int = 2,
) -> TangentConstantsAlong:
    """`tangent_constant_interval` at all saved states of a trajectory (`Trajectory.params`).

    `params` has a leading axis S. Each state starts from its residual and the `recycled` last dual
    vectors. Both ends of the interval depend on these to second order, so that along a flow saved
    often a few products do; 0 starts each state cold. `upper` given to `bounds.tangent` as
    `kappas` keeps that bound sound.

    Raises:
        ValueError: as `tangent_constant_interval`, or a negative `recycled`.

    Example:
        >>> import jax.numpy as jnp
        >>> f, x, y = (lambda w, x: x @ w), jnp.array([[2.0]]), jnp.array([[4.0]])
        >>> found = tangent_constants_along(f, jnp.array([[[0.0]], [[0.5]]]), x, y, eps=1.0)
        >>> found.upper.round(4).tolist(), found.statuses
        ([1.5, 1.0], ('converged', 'converged'))
    """
    if recycled < 0:
        raise ValueError(f"recycled must not be negative, got {recycled}")
    duals: list[Array] = []
    found = []
    for number in range(len(jax.tree.leaves(params)[0])):
        at = jax.tree.map(lambda leaf, i=number: leaf[i], params)
        one = tangent_constant_interval(
            f, at, x, targets, eps, rtol=rtol, max_products=max_products, starts=duals
        )
        found.append(one)
        if recycled and np.isfinite(one.lower) and one.lower > 0:
            duals = [one.dual, *duals][:recycled]
    return TangentConstantsAlong(
        lower=np.array([one.lower for one in found]),
        upper=np.array([one.upper for one in found]),
        statuses=tuple(one.status for one in found),
        products=np.array([one.products for one in found]),
    )
