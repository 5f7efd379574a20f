"""Per-example Jacobians of any `f(params, x)` with respect to its raveled parameters."""

from collections.abc import Callable
from typing import Any

import jax
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree

Function = Callable[[PyTree, PyTree], Any]


def sample_count(x: PyTree) -> int:
    """Number of samples of a batch; raises ValueError where leaves disagree."""
    counts = {leaf.shape[0] if leaf.ndim else 0 for leaf in jax.tree.leaves(x)}
    if len(counts) != 1 or 0 in counts:
        raise ValueError(f"x needs one leading axis of samples; its leaves have {sorted(counts)}")
    return counts.pop()


def jacobian(f: Function, params: PyTree, x: PyTree) -> Float[Array, "n c p"]:
    """`J[n, c, :] = d f(params, x_n)_c / d params`, outputs and parameters raveled.

    Shapes: `f(params, x)` is `(n, *outputs)`; the last axis is that of
    `ravel_pytree(params)`. Memory: all `n c p` entries.

    Example:
        >>> import jax.numpy as jnp
        >>> jacobian(lambda w, x: x @ w, jnp.ones((2, 1)), jnp.array([[3.0, 4.0]])).tolist()
        [[[3.0, 4.0]]]
    """
    theta, unravel = ravel_pytree(params)

    def of_sample(sample):
        batch = jax.tree.map(lambda leaf: leaf[None], sample)

        def outputs(v):
            return f(unravel(v), batch).reshape(-1)

        return jax.jacrev(outputs)(theta)

    return jax.vmap(of_sample)(x)
