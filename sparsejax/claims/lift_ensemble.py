"""Many lifts of one size under one axis, for `gradient_flows`."""

import bisect
from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key

from sparsejax import graphs, lifts
from sparsejax.claims.setting import LiftDraw, LiftSetting
from sparsejax.dynamics import squared_loss


def parameter_count(dims: int, hidden: int, size: int, in_degree: int) -> int:
    """Weights and biases of a lifted perceptron of one output; a dense one has its size as degree.

    Example:
        >>> parameter_count(dims=8, hidden=2, size=48, in_degree=4)
        529
    """
    first = size * (min(in_degree, dims) + 1)
    return first + (hidden - 1) * size * (min(in_degree, size) + 1) + size + 1


def size_of(parameters: int, dims: int, hidden: int, in_degree: int | None) -> int:
    """The size at which a lift has nearest to so many parameters; `in_degree=None`: a dense one.

    A dense lift reads all coordinates; so does its first layer here.

    Raises:
        ValueError: fewer parameters than a lift of one vertex a layer has.

    Example:
        >>> size_of(529, dims=8, hidden=2, in_degree=None), size_of(529, 8, 2, 4)
        (18, 48)
    """

    def count(size: int) -> int:
        if in_degree is None:
            return size * (dims + 1) + (hidden - 1) * size * (size + 1) + size + 1
        return parameter_count(dims, hidden, size, in_degree)

    if parameters < count(1):
        raise ValueError(f"parameters: {parameters} are fewer than the {count(1)} of size 1")
    size = bisect.bisect_right(range(1, parameters + 1), parameters, key=count)
    return min((size, size + 1), key=lambda s: abs(count(s) - parameters))


@eqx.filter_jit
def drawn_lifts(draw: LiftDraw, keys: Key[Array, " m"]) -> tuple[lifts.Lift, lifts.Params]:
    """A lift a key, in one program; arrays have a leading axis of lifts."""
    return eqx.filter_vmap(draw)(keys)


@eqx.filter_jit
def losses_of(
    drawn: lifts.Lift,
    params: lifts.Params,
    x: Array,
    y: Array,
    weights: Array | None = None,
) -> Float[Array, " m"]:
    """The squared loss of every lift at its parameters, on data that all have in common."""

    def single(lane: tuple[lifts.Lift, lifts.Params]) -> Float[Array, ""]:
        return squared_loss(lane[0].apply, x, y, weights)(lane[1])

    # One after another: the activations of all at once may not fit.
    return jax.lax.map(single, (drawn, params))


def lift_ensemble(
    config: LiftSetting, dims: int, size: int, in_degree: int | None, numbers: Sequence[int]
) -> tuple[lifts.Lift, lifts.Params]:
    """The lifts with these numbers, and parameters that start with zero output weights.

    `in_degree=None`: dense lifts. Arrays have a leading axis of lifts. A number gives the same lift
    in whatever company, so that more can be drawn later.

    Example:
        >>> lift, params = lift_ensemble(LiftSetting(), 8, 16, 4, range(3))
        >>> params["h1->h2"].shape[0], bool((params["h2->y"] == 0).all())
        (3, True)
    """
    module = graphs.mlp(dims, config.hidden, 1, config.activation, input_as="coordinates")
    key = jax.random.fold_in(jax.random.key(config.seed), size)
    key = jax.random.fold_in(key, 0 if in_degree is None else in_degree)
    keys = jax.vmap(lambda number: jax.random.fold_in(key, number))(jnp.asarray(list(numbers)))
    degrees = None
    if in_degree is not None:
        degrees = tuple(
            (f"h{layer}", min(in_degree, dims if layer == 1 else size))
            for layer in range(1, config.hidden + 1)
        )
    draw = LiftDraw(module, size, degrees, config.gain, config.bias_scale, config.law)
    return drawn_lifts(draw, keys)
