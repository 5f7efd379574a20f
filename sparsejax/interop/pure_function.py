"""What a network of another library becomes here: a pure function and the parameters it takes."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, PyTree


class PureFunction(NamedTuple):
    """`f(params, x)`, from `(batch, *input)` to `(batch, *output)`, and the model's `params`.

    `f` is a pytree whose leaves are the arrays that are not trained, so that functions that take
    it compile once; `params` is a pytree of floating-point arrays. To compile `f` by itself use
    `equinox.filter_jit(f)`.

    Example:
        >>> import jax.numpy as jnp
        >>> f, params = PureFunction(lambda w, x: x @ w, jnp.ones((2, 1)))
        >>> f(params, jnp.ones((3, 2))).shape
        (3, 1)
    """

    f: Callable[[PyTree, PyTree], Any]
    params: PyTree[Array]


def trainable(params: PyTree, model: Any) -> PyTree[Array]:
    """`params` itself, if gradients with respect to it exist.

    Raises:
        ValueError: there are no parameters, or one is not a floating-point array; says where.
    """
    name = type(model).__name__
    leaves = jax.tree.leaves_with_path(params)
    if not leaves:
        raise ValueError(f"{name} has no parameters: there is nothing to train")
    for path, leaf in leaves:
        if not jnp.issubdtype(jnp.result_type(leaf), jnp.inexact):
            raise ValueError(
                f"{name}: parameter {jax.tree_util.keystr(path)} is {jnp.result_type(leaf)}; "
                "parameters are floating-point arrays"
            )
    return params
