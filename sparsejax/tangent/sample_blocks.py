"""A kernel block by block: the memory of two blocks of samples, symmetric work done once."""

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree

from sparsejax.tangent.jacobian import sample_count

Features = Callable[[PyTree], Any]
Contract = Callable[[Any, Any], PyTree[Array]]


def kernel_of_blocks(
    features: Features, contract: Contract, x: PyTree, x2: PyTree | None, chunk: int | None
) -> PyTree[Array]:
    """`contract(features(x), features(x2))`, `chunk` samples of each at a time.

    `contract` gives arrays that start with the two axes of samples. Without `x2` it gets `None`
    for the right-hand features and blocks below the diagonal are left at zero.
    """
    n = sample_count(x)
    if chunk is None or (chunk >= n and x2 is None):
        left = features(x)
        return contract(left, None if x2 is None else features(x2))
    m = n if x2 is None else sample_count(x2)
    # No block is larger than what it is filled with.
    high, wide = min(chunk, n), min(chunk, m)
    rows = blocks(x, high)
    columns = rows if x2 is None else blocks(x2, wide)
    count = -(-m // wide)

    def row(block):
        index, samples = block
        left = features(samples)

        def entry(other):
            column, samples = other
            if x2 is not None:
                return contract(left, features(samples))
            shapes = jax.eval_shape(lambda: contract(left, features(samples)))
            # A branch that is not taken costs nothing.
            return jax.lax.cond(
                column >= index,
                lambda: contract(left, features(samples)),
                lambda: jax.tree.map(lambda s: jnp.zeros(s.shape, s.dtype), shapes),
            )

        return jax.lax.map(entry, (jnp.arange(count), columns))

    kernel = jax.lax.map(row, (jnp.arange(-(-n // high)), rows))

    def joined(k):  # (row blocks, column blocks, chunk, chunk, ...)
        k = jnp.moveaxis(k, 1, 2)
        return k.reshape(k.shape[0] * k.shape[1], k.shape[2] * k.shape[3], *k.shape[4:])[:n, :m]

    return jax.tree.map(joined, kernel)


def diagonal_of_blocks(
    features: Features, contract: Contract, x: PyTree, chunk: int | None
) -> PyTree[Array]:
    """`contract(features(x), None)`, of arrays that start with one axis of samples."""
    n = sample_count(x)
    if chunk is None or chunk >= n:
        return contract(features(x), None)
    kernel = jax.lax.map(lambda block: contract(features(block), None), blocks(x, chunk))
    return jax.tree.map(lambda k: k.reshape(-1, *k.shape[2:])[:n], kernel)


def blocks(x: PyTree, chunk: int) -> PyTree[Array]:
    """Blocks of `chunk` samples; the last one is filled up with copies of the first sample."""
    n = sample_count(x)
    count = -(-n // chunk)
    index = jnp.where(jnp.arange(count * chunk) < n, jnp.arange(count * chunk), 0)
    return jax.tree.map(lambda leaf: leaf[index].reshape(count, chunk, *leaf.shape[1:]), x)
