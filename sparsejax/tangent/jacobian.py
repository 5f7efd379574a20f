"""Per-example Jacobians of any `f(params, x)` with respect to its raveled parameters."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, Int, PyTree

Function = Callable[[PyTree, PyTree], Any]


def sample_count(x: PyTree) -> int:
    """Number of samples of a batch; raises ValueError where leaves disagree."""
    counts = {leaf.shape[0] if leaf.ndim else 0 for leaf in jax.tree.leaves(x)}
    if len(counts) != 1 or 0 in counts:
        raise ValueError(f"x needs one leading axis of samples; its leaves have {sorted(counts)}")
    return counts.pop()


def outputs_of(f: Function, params: PyTree, x: PyTree) -> jax.ShapeDtypeStruct:
    """Shape and dtype of `f(params, x)`, without computing it.

    Raises:
        ValueError: no parameters, no samples, or outputs that are not one array with a row a
            sample.
    """
    n = sample_count(x)
    if not any(jnp.size(leaf) for leaf in jax.tree.leaves(params)):
        raise ValueError("params has no entries: there is nothing to differentiate in")
    found = jax.eval_shape(f, params, x)
    if not hasattr(found, "shape"):
        raise ValueError(f"f gives one array of outputs a sample, not a {type(found).__name__}")
    if not found.shape or found.shape[0] != n:
        raise ValueError(
            f"f gives outputs of shape {found.shape}, not a row for each of {n} samples"
        )
    return found


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


def grouped_jacobian(
    f: Function, params: PyTree, x: PyTree, grouped: Callable[[Array], Array]
) -> PyTree[Float[Array, "n d t f _"]]:
    """`J` by leaf of the parameters, each raveled, with outputs as `grouped` has them."""

    def of_sample(sample):
        rows = jax.jacrev(_outputs(f, sample, grouped))(params)
        return jax.tree.map(lambda leaf, row: row.reshape(*row.shape[:3], leaf.size), params, rows)

    return jax.vmap(of_sample)(x)


def jacobian_slice(
    f: Function,
    params: PyTree,
    x: PyTree,
    grouped: Callable[[Array], Array],
    start: Int[Array, ""],
    size: int,
) -> Float[Array, "n d t f size"]:
    """`J` in the raveled parameters from `start` on; zero beyond the last one.

    No more samples are differentiated at a time than fit in the memory of the result.
    """
    theta, unravel = ravel_pytree(params)
    padded = jnp.arange(size) + start < theta.shape[0]
    clipped = jnp.clip(jnp.arange(size) + start, 0, theta.shape[0] - 1)

    def of_sample(sample):
        rows = jax.jacrev(lambda v: _outputs(f, sample, grouped)(unravel(v)))(theta)
        return jnp.where(padded, rows[..., clipped], 0)

    at_once = max(1, sample_count(x) * size // theta.shape[0])
    return jax.lax.map(of_sample, x, batch_size=at_once)


def _outputs(f: Function, sample: PyTree, grouped: Callable[[Array], Array]):
    batch = jax.tree.map(lambda leaf: leaf[None], sample)
    return lambda params: grouped(f(params, batch).reshape(-1))
