"""How much of the first layer reads each input: norms of its weights, input by input."""

from collections.abc import Callable, Mapping

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from sparsejax.dynamics.proximal import named_leaves

Axes = Mapping[str, int | tuple[int, ...]]
Coordinates = Mapping[str, tuple[int, ...]]


def input_weight_norms(
    params: PyTree, axes: Axes, coordinates: Coordinates | None = None, dims: int | None = None
) -> Float[Array, " d"]:
    """The Euclidean norm of all weights that read each input.

    `axes`: of every leaf that reads inputs, by name (`dynamics.proximal.named_leaves`), the axis
    that numbers them, or several, taken together in row-major order; a learner's `input_axes`.
    `coordinates`: which inputs (from 1) those are, leaf by leaf; a learner's `input_coordinates`.
    Without it every leaf reads all inputs in their order. `dims`: their number, where the last ones
    are read by none: their norm is 0.

    Raises:
        ValueError: no leaves, one that there is not, one without such axes, or coordinates that do
            not fit; without coordinates, leaves with different numbers of inputs, or several of one
            input each.

    Example:
        >>> input_weight_norms({"w": jnp.array([[3.0, 4.0], [0.0, 1.0]])}, {"w": 0}).tolist()
        [5.0, 1.0]
        >>> params = {"v": jnp.array([[2.0]]), "w": jnp.array([[3.0, 4.0]])}
        >>> input_weight_norms(params, {"v": 0, "w": 0}, {"v": (3,), "w": (1,)}).tolist()
        [5.0, 0.0, 2.0]
    """
    found = input_rows(params, axes)
    squares = {name: jnp.sum(jnp.square(rows), axis=1) for name, rows in found.items()}
    if coordinates is None:
        if number_of_inputs(found) == 1 and len(squares) > 1:
            raise ValueError(
                f"leaves {', '.join(squares)} read one input each: say which, by coordinates"
            )
        return jnp.sqrt(sum(list(squares.values())[1:], next(iter(squares.values()))))
    places = {name: np.asarray(coordinates.get(name, ()), int) for name in squares}
    for name, square in squares.items():
        if len(places[name]) != len(square) or places[name].min(initial=1) < 1:
            raise ValueError(
                f"coordinates: leaf {name!r} reads {len(square)} inputs, counted from 1; got "
                f"{tuple(places[name].tolist())}"
            )
    last = max(int(place.max()) for place in places.values())
    if dims is not None and dims < last:
        raise ValueError(f"dims: input {last} is read, so that {dims} are too few")
    total = jnp.zeros(last if dims is None else dims, next(iter(squares.values())).dtype)
    for name, square in squares.items():
        total = total.at[places[name] - 1].add(square)
    return jnp.sqrt(total)


def input_rows(params: PyTree, axes: Axes) -> dict[str, Float[Array, "d weights"]]:
    """Of every leaf that reads inputs, by name, a row of weights an input.

    Raises:
        ValueError: no leaves, one that there is not, or one without axes that number inputs.

    Example:
        >>> input_rows({"w": jnp.ones((2, 3, 4))}, {"w": (0, 2)})["w"].shape
        (8, 3)
    """
    if not axes:
        raise ValueError("axes: name at least one leaf that reads the inputs")
    leaves, found = named_leaves(params), {}
    for name, given in axes.items():
        at = (given,) if isinstance(given, int) else given
        if name not in leaves:
            raise ValueError(f"no leaf {name!r}; the parameters have {', '.join(leaves)}")
        if not at:
            raise ValueError(f"leaf {name!r} has no axis that numbers the inputs")
        front = jnp.moveaxis(leaves[name], at, tuple(range(len(at))))
        count = int(np.prod(front.shape[: len(at)]))
        found[name] = front.reshape(count, front.size // max(count, 1))
    return found


def number_of_inputs(rows: Mapping[str, Float[Array, "d weights"]]) -> int:
    """How many inputs each of these leaves reads.

    Raises:
        ValueError: not all the same number.
    """
    counts = sorted({len(row) for row in rows.values()})
    if len(counts) != 1:
        raise ValueError(f"leaves that read inputs agree on their number, got {counts}")
    return counts[0]


class InputWeightNorms(eqx.Module):
    """`input_weight_norms` as a probe of an online run.

    Example:
        >>> probe = InputWeightNorms({"w": 0})
        >>> probe(None, {"w": jnp.array([[3.0, 4.0], [0.0, 1.0]])}).tolist()
        [5.0, 1.0]
    """

    axes: tuple[tuple[str, int | tuple[int, ...]], ...] = eqx.field(static=True)
    coordinates: tuple[tuple[str, tuple[int, ...]], ...] | None = eqx.field(static=True)
    dims: int | None = eqx.field(static=True)

    def __init__(
        self, axes: Axes, coordinates: Coordinates | None = None, dims: int | None = None
    ) -> None:
        self.axes = tuple(axes.items())
        self.coordinates = None if coordinates is None else tuple(coordinates.items())
        self.dims = dims

    def __call__(self, f: Callable | None, params: PyTree) -> Float[Array, " d"]:
        """The norms."""
        coordinates = None if self.coordinates is None else dict(self.coordinates)
        return input_weight_norms(params, dict(self.axes), coordinates, self.dims)
