"""The empirical neural tangent kernel of any `f(params, x)`."""

from typing import Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from sparsejax.tangent.jacobian import Function, jacobian, sample_count

Outputs = Literal["traced", "full"]


def ntk(
    f: Function,
    params: PyTree,
    x: PyTree,
    x2: PyTree | None = None,
    *,
    outputs: Outputs = "traced",
    chunk: int | None = None,
) -> Float[Array, "n m"] | Float[Array, "n m c c"]:
    """`K = J J^T` between the samples of `x` and those of `x2` (default: `x` itself).

    `outputs="traced"` sums over outputs, `K[n, m] = sum_c <J[n, c], J[m, c]>`, shape `(n, m)`;
    `"full"` keeps them, `K[n, m, c, d]`. No division by the number of samples or outputs: the
    kernel of the mean squared loss is `K / n`. `chunk` bounds memory to the Jacobians of two
    blocks of that many samples, at the price of computing them again for every pair of blocks.

    Raises:
        ValueError: an unknown `outputs`, a chunk that is not positive, or no samples.

    Example:
        >>> import jax.numpy as jnp
        >>> ntk(lambda w, x: x @ w, jnp.ones((2, 1)), jnp.array([[3.0, 4.0], [1.0, 0.0]])).tolist()
        [[25.0, 3.0], [3.0, 1.0]]
    """
    if outputs not in ("traced", "full"):
        raise ValueError(f"outputs is 'traced' or 'full', not {outputs!r}")
    if chunk is not None and chunk < 1:
        raise ValueError(f"chunk must be positive, got {chunk}")
    sample_count(x)
    if x2 is not None:
        sample_count(x2)
    return _ntk(f, params, x, x2, outputs, chunk)


@eqx.filter_jit
def _ntk(f, params, x, x2, outputs: Outputs, chunk: int | None) -> Array:
    if chunk is None:
        left = jacobian(f, params, x)
        right = left if x2 is None else jacobian(f, params, x2)
        return _contract(left, right, outputs)
    n, m = sample_count(x), sample_count(x if x2 is None else x2)
    rows, columns = _blocks(x, chunk), _blocks(x if x2 is None else x2, chunk)

    def row(block):
        left = jacobian(f, params, block)
        return jax.lax.map(
            lambda other: _contract(left, jacobian(f, params, other), outputs), columns
        )

    kernel = jax.lax.map(row, rows)  # (row blocks, column blocks, chunk, chunk, ...)
    kernel = jnp.moveaxis(kernel, 1, 2)
    kernel = kernel.reshape(
        kernel.shape[0] * kernel.shape[1], kernel.shape[2] * kernel.shape[3], *kernel.shape[4:]
    )
    return kernel[:n, :m]


def _contract(left: Array, right: Array, outputs: Outputs) -> Array:
    if outputs == "traced":
        return jnp.einsum("ncp,mcp->nm", left, right, precision="highest")
    return jnp.einsum("ncp,mdp->nmcd", left, right, precision="highest")


def _blocks(x: PyTree, chunk: int) -> PyTree[Array]:
    """Blocks of `chunk` samples; the last one is filled up with copies of the first sample."""
    n = sample_count(x)
    count = -(-n // chunk)
    index = jnp.where(jnp.arange(count * chunk) < n, jnp.arange(count * chunk), 0)
    return jax.tree.map(lambda leaf: leaf[index].reshape(count, chunk, *leaf.shape[1:]), x)
