"""An Equinox module as the pure `f(params, x)` that every other room takes."""

from typing import Any

import equinox as eqx
import jax
from jaxtyping import PyTree

from sparsejax.interop.pure_function import PureFunction, trainable


class EquinoxFunction(eqx.Module):
    """`f(params, x)` of an Equinox module: `rest` is all of it but its parameters."""

    rest: PyTree
    per_example: bool = eqx.field(static=True)

    def __call__(self, params: PyTree, x: PyTree) -> Any:
        """The module's outputs on a batch."""
        model = eqx.combine(params, self.rest)
        return jax.vmap(model)(x) if self.per_example else model(x)


def from_equinox(model: eqx.Module, *, per_example: bool = True) -> PureFunction:
    """`(f, params)` of an Equinox module: `params` is the module with its inexact arrays alone.

    `per_example=True`: the module takes one example, as those of `equinox.nn` do, and `f` maps it
    over the leading axis of `x`; `False`: it takes the batch. The module after training is
    `equinox.combine(params, f.rest)`. Put dropout in inference mode first
    (`equinox.nn.inference_mode`).

    Raises:
        ValueError: the module has no inexact arrays, or keeps state between calls.

    Example:
        >>> import equinox, jax, jax.numpy as jnp
        >>> f, params = from_equinox(equinox.nn.Linear(3, 2, key=jax.random.key(0)))
        >>> f(params, jnp.ones((5, 3))).shape
        (5, 2)
    """
    nodes = jax.tree.leaves(model, is_leaf=lambda node: isinstance(node, eqx.nn.StateIndex))
    if any(isinstance(node, eqx.nn.StateIndex) for node in nodes):
        raise ValueError(
            f"{type(model).__name__} keeps state between calls (equinox.nn.State), so it is no "
            "function of (params, x); give a module that closes over its state"
        )
    params, rest = eqx.partition(model, eqx.is_inexact_array)
    return PureFunction(EquinoxFunction(rest, per_example), trainable(params, model))
