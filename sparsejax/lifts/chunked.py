"""A function of samples, some at a time: memory for a chunk, whatever the number of samples."""

from collections.abc import Callable, Mapping
from typing import Any

import jax
import jax.numpy as jnp
from jax.typing import ArrayLike


def in_chunks(f: Callable[[Any], Any], x: ArrayLike | Mapping[str, ArrayLike], chunk: int) -> Any:
    """`f(x)` for a function of samples, one by one on axis 0, evaluated `chunk` at a time.

    Within a chunk nothing is kept for the gradient: it is computed again.

    Raises:
        ValueError: `chunk` is not positive.

    Example:
        >>> import jax.numpy as jnp
        >>> in_chunks(lambda x: 2 * x, jnp.arange(5.0), chunk=2).tolist()
        [0.0, 2.0, 4.0, 6.0, 8.0]
    """
    if isinstance(chunk, bool) or int(chunk) != chunk or chunk < 1:
        raise ValueError(f"chunk is a number of samples of at least 1, got {chunk}")
    x = jax.tree.map(jnp.asarray, dict(x) if isinstance(x, Mapping) else x)
    samples = min((len(leaf) for leaf in jax.tree.leaves(x) if leaf.ndim), default=0)
    if samples <= chunk:
        return f(x)
    chunks = -(-samples // chunk)

    def grouped(leaf):
        # The last chunk is filled with a sample rather than with zeros, at which `f` may have no
        # finite derivative.
        filling = jnp.broadcast_to(leaf[-1:], (chunks * chunk - samples, *leaf.shape[1:]))
        return jnp.concatenate([leaf, filling]).reshape(chunks, chunk, *leaf.shape[1:])

    def ungrouped(leaf):
        return leaf.reshape(chunks * chunk, *leaf.shape[2:])[:samples]

    return jax.tree.map(ungrouped, jax.lax.map(jax.checkpoint(f), jax.tree.map(grouped, x)))
