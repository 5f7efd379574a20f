"""Learners that read images and sequences patch by patch, with shared weights and without."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from sparsejax.graphs import Pointwise, convnet
from sparsejax.learners.learner import InputLeaf, Learner, check_positive
from sparsejax.learners.lifted import Gain, sparse_lift, widest
from sparsejax.lifts.construction import InDegrees, Sizes


def cnn(
    inputs: int | tuple[int, ...],
    hidden: int,
    sizes: Sizes,
    in_degree: InDegrees | None = None,
    *,
    outputs: int = 1,
    activation: str = "relu",
    channels: int | None = None,
    filter_size: int | Sequence[int] = 3,
    stride: int | Sequence[int] = 1,
    padding: Any = "SAME",
    pooling: Any = None,
    pool_window: int | Sequence[int] = 2,
    readout: Literal["mean", "max", "dense"] = "mean",
    gain: Gain | None = None,
    bias_scale: float | int = 0.1,
    zero_outputs: bool = False,
) -> Learner:
    """A convolutional network: the lift of `graphs.convnet`, whose fibres are its channels.

    Samples are flat: `(n, length)`, or `(n, length * channels)` with the channels of one place side
    by side, as one-hot symbols are. `in_degree=None` joins all channels. The other arguments are
    those of `graphs.convnet` and `sparse_lift`. Filters of side `s` with stride `s`, in `L` layers
    over `s^L` places, match a hierarchy of that shape: `tree_cnn`.

    Raises:
        ValueError: as `graphs.convnet` and `sparse_lift`.

    Example:
        >>> cnn((6, 6), hidden=1, sizes=4).parameters  # four filters of 9, a bias each, readout
        45
    """
    module = convnet(
        inputs, hidden, outputs, activation, channels=channels, filter_size=filter_size,
        stride=stride, padding=padding, pooling=pooling, pool_window=pool_window, readout=readout,
    )  # fmt: skip
    return sparse_lift(
        module,
        sizes,
        in_degree,
        gain=gain,
        bias_scale=bias_scale,
        zero_outputs=zero_outputs,
        name=f"cnn-{hidden}x{widest(sizes)}",
    )


def tree_cnn(
    branching: int, depth: int, symbols: int, width: int, *, outputs: int = 1, activation="relu"
) -> Learner:
    """The convolutional network of a hierarchy's shape: filters and strides of `branching`.

    Samples are `branching^depth` symbols, one-hot among `symbols`, flat; with `symbols=1` they are
    numbers. As deep as the hierarchy, dense in its channels.

    Raises:
        ValueError: as `cnn`.

    Source: the deep networks of Cagnetta et al. 2024 (theory 4.6).

    Example:
        >>> tree_cnn(branching=2, depth=3, symbols=4, width=8, outputs=4).dims
        32
    """
    return cnn(
        branching**depth,
        depth,
        width,
        outputs=outputs,
        activation=activation,
        channels=symbols,
        filter_size=branching,
        stride=branching,
        padding="VALID",
        readout="dense",
    )


class LocalFunction(eqx.Module):
    """Layers of patches with weights of their own at every place, and a dense readout."""

    layers: tuple[tuple[int, int, int], ...] = eqx.field(static=True)
    channels: int = eqx.field(static=True)
    activation: Pointwise = eqx.field(static=True)

    def __call__(self, params: PyTree, x: Float[Array, "n ..."]) -> Float[Array, "n c"]:
        """The network's function."""
        n = x.shape[0]
        # Batch last: products of one place with its weights are then products of whole rows.
        h = jnp.moveaxis(x.astype(params["y/w"].dtype).reshape(n, -1, self.channels), 0, -1)
        for number, (places, size, stride) in enumerate(self.layers, start=1):
            if size == stride:  # patches that tile the sequence need no gather
                seen = h[: places * size]
            else:
                seen = h[np.arange(places)[:, None] * stride + np.arange(size)]
            seen = seen.reshape(places, -1, n)
            z = jnp.einsum("pio,pin->pon", params[f"h{number}/w"], seen)
            h = self.activation(z + params[f"h{number}/b"][..., None])
        return h.reshape(-1, n).T @ params["y/w"] + params["y/b"][None]


@dataclasses.dataclass(frozen=True)
class _Builder:
    layers: tuple[tuple[int, int, int], ...]
    channels: int
    width: int
    outputs: int
    activation: Pointwise
    bias_scale: float

    def __call__(self, key):
        gain = math.sqrt(2) if self.activation == Pointwise("relu") else 1.0
        params, channels = {}, self.channels
        shapes: list[tuple[str, tuple[int, ...], tuple[int, ...], float]] = []
        for number, (places, size, _) in enumerate(self.layers, start=1):
            scale = (1.0 if number == 1 else gain) / math.sqrt(size * channels)
            weights = (places, size * channels, self.width)
            shapes.append((f"h{number}", weights, (places, self.width), scale))
            channels = self.width
        ends = self.layers[-1][0] * self.width
        shapes.append(("y", (ends, self.outputs), (self.outputs,), gain / math.sqrt(ends)))
        # One draw for all: a program's compilation takes as long for each as for many layers.
        wanted = [
            entry
            for name, kernel, biases, scale in shapes
            for entry in ((f"{name}/w", kernel, scale), (f"{name}/b", biases, self.bias_scale))
        ]
        ends_at = np.cumsum([math.prod(shape) for _, shape, _ in wanted])
        drawn = jnp.split(jax.random.normal(key, (int(ends_at[-1]),)), ends_at[:-1])
        for (name, sized, scale), values in zip(wanted, drawn, strict=True):
            params[name] = scale * values.reshape(sized)
        return LocalFunction(self.layers, self.channels, self.activation), params


def locally_connected(
    length: int,
    hidden: int,
    width: int,
    *,
    outputs: int = 1,
    activation: str = "relu",
    channels: int = 1,
    filter_size: int = 2,
    stride: int | None = None,
    bias_scale: float | int = 0.1,
) -> Learner:
    """A network that reads a sequence patch by patch, with weights of its own at every place.

    `hidden` layers: each reads patches of `filter_size` places, `stride` apart (`filter_size`
    unless given), into `width` units a patch; then a dense readout. Samples are flat,
    `(n, length * channels)`, the channels of one place side by side. With `filter_size=2` and
    `hidden=log2 length` it is the dense lift of a binary tree, in few arrays. There is no padding:
    places that fill no patch are not read.

    Raises:
        ValueError: a number that is not positive, a stride above the filter, or a layer whose
            filter has no place left.

    Example:
        >>> locally_connected(length=8, hidden=3, width=4).parameters  # 48 + 72 + 36 + 5
        161
    """
    stride = filter_size if stride is None else stride
    check_positive(
        "locally_connected",
        length=length,
        hidden=hidden,
        width=width,
        outputs=outputs,
        channels=channels,
        filter_size=filter_size,
        stride=stride,
    )
    if stride > filter_size:
        raise ValueError(
            f"locally_connected: stride {stride} would leave places between filters of "
            f"{filter_size} unread"
        )
    layers, left = [], length
    for layer in range(1, hidden + 1):
        places = (left - filter_size) // stride + 1
        if places < 1:
            raise ValueError(f"layer {layer}: a filter of {filter_size} has no place among {left}")
        layers.append((places, filter_size, stride))
        left = places
    builder = _Builder(
        tuple(layers), channels, width, outputs, Pointwise(activation), float(bias_scale)
    )
    # Overlapping patches read a coordinate in several places of the array: no axes tell them apart.
    read = layers[0][0] * filter_size * channels
    tiles = stride == filter_size
    reads = InputLeaf("h1/w", (0, 1) if tiles else (), tuple(range(1, read + 1)) if tiles else ())
    names = [*(f"h{layer}" for layer in range(1, hidden + 1)), "y"]
    return Learner(
        f"local-{hidden}x{width}",
        length * channels,
        outputs,
        builder,
        (reads,),
        tuple((f"{name}/w", f"{name}/b") for name in names),
    )
