"""Are the numbers that a user hands over finite? Asked before any compute, where they are known."""

import jax
import numpy as np
from jaxtyping import ArrayLike, PyTree


def concrete(array: ArrayLike) -> np.ndarray | None:
    """The values of an array, or None inside a trace, where they are unknown."""
    try:
        return np.asarray(array)
    except jax.errors.TracerArrayConversionError:
        return None


def require_finite(tree: PyTree, name: str) -> None:
    """Raise ValueError that names the first entry of a pytree that is not finite.

    Example:
        >>> import jax.numpy as jnp
        >>> require_finite({"w": jnp.array([1.0, jnp.nan])}, "params")
        Traceback (most recent call last):
            ...
        ValueError: params['w'] is not finite at index (1,)
    """
    for path, leaf in jax.tree_util.tree_leaves_with_path(tree):
        values = concrete(leaf)
        if values is None or not np.issubdtype(values.dtype, np.inexact):
            continue
        bad = np.argwhere(~np.isfinite(values))
        if len(bad):
            where = jax.tree_util.keystr(path)
            raise ValueError(f"{name}{where} is not finite at index {tuple(bad[0].tolist())}")
