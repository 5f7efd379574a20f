"""How much of the first layer reads each input: norms of its weights, input by input."""

from collections.abc import Callable, Mapping

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from sparsejax.dynamics.proximal import named_leaves

Axes = Mapping[str, int | tuple[int, ...]]


def input_weight_norms(params: PyTree, axes: Axes) -> Float[Array, " d"]:
    """The Euclidean norm of all weights that read each input.

    `axes`: of every leaf that reads inputs, by name (`dynamics.proximal.named_leaves`), the axis
    that numbers them, or several, taken together in row-major order; a learner's `input_axes`.

    Raises:
        ValueError: no leaves, one that there is not, one without such axes, or leaves with
            different numbers of inputs.

    Example:
        >>> input_weight_norms({"w": jnp.array([[3.0, 4.0], [0.0, 1.0]])}, {"w": 0}).tolist()
        [5.0, 1.0]
    """
    leaves, squares = named_leaves(params), []
    for name, given in axes.items():
        at = (given,) if isinstance(given, int) else given
        if name not in leaves:
            raise ValueError(f"no leaf {name!r}; the parameters have {', '.join(leaves)}")
        if not at:
            raise ValueError(f"leaf {name!r} has no axis that numbers the inputs")
        front = jnp.moveaxis(leaves[name], at, tuple(range(len(at))))
        others = tuple(range(len(at), front.ndim))
        squares.append(jnp.sum(jnp.square(front), axis=others).reshape(-1))
    counts = {len(square) for square in squares}
    if len(counts) != 1:
        raise ValueError(f"leaves that read inputs agree on their number, got {sorted(counts)}")
    return jnp.sqrt(sum(squares[1:], squares[0]))


class InputWeightNorms(eqx.Module):
    """`input_weight_norms` as a probe of an online run.

    Example:
        >>> probe = InputWeightNorms({"w": 0})
        >>> probe(None, {"w": jnp.array([[3.0, 4.0], [0.0, 1.0]])}).tolist()
        [5.0, 1.0]
    """

    axes: tuple[tuple[str, int | tuple[int, ...]], ...] = eqx.field(static=True)

    def __init__(self, axes: Axes) -> None:
        self.axes = tuple(axes.items())

    def __call__(self, f: Callable | None, params: PyTree) -> Float[Array, " d"]:
        """The norms."""
        return input_weight_norms(params, dict(self.axes))
