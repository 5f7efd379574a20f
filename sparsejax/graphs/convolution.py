"""Convolutions: edges between images, whose weight is a small filter."""

import dataclasses
import math
from collections.abc import Iterator

import jax
import numpy as np
from jaxtyping import Array

from sparsejax.graphs.edge_maps import EdgeMap, Shape

Padding = str | int | tuple[int | tuple[int, int], ...]


@dataclasses.dataclass(frozen=True)
class Convolution(EdgeMap):
    """A filter moved over an image: `Z[p] = sum over taps t of w[t] y[stride p + t - low]`.

    Images are arrays of shape `(length,)` or `(height, width)`, as many axes as `filter_shape`
    has: channels are lifted vertices, not an axis. A source with one axis more (an RGB image) has
    its channels there, last, and the weight then has one filter a channel. `stride` is a number or
    one per axis; `padding` is `"SAME"` (the result has `ceil(size / stride)` entries), `"VALID"`
    (the filter stays inside), or a number of zeros on each side: one for all axes, one per axis,
    or a pair `(low, high)` per axis. The filter is not flipped, as everywhere in deep learning.

    Raises:
        ValueError: no one- or two-dimensional filter, or a stride or padding that does not fit it.

    Example:
        >>> import jax.numpy as jnp
        >>> difference = Convolution((2,), padding="VALID")
        >>> difference(jnp.array([-1.0, 1.0]), jnp.array([1.0, 4.0, 9.0])).tolist()
        [3.0, 5.0]
        >>> Convolution((3, 3), stride=2).output_shape((28, 28))
        (14, 14)
    """

    filter_shape: Shape
    stride: int | tuple[int, ...] = 1
    padding: Padding = "SAME"

    def __post_init__(self) -> None:
        axes = len(self.filter_shape)
        if axes not in (1, 2) or min(self.filter_shape) < 1:
            raise ValueError(
                f"filter_shape has one or two positive axes, got {tuple(self.filter_shape)}"
            )
        if len(self.strides) != axes or min(self.strides) < 1:
            raise ValueError(
                f"stride is a positive number or one per axis of the filter {self.filter_shape}, "
                f"got {self.stride}"
            )
        if isinstance(self.padding, str):
            if self.padding not in ("SAME", "VALID"):
                raise ValueError(
                    f"padding is 'SAME', 'VALID' or numbers of zeros, not {self.padding!r}"
                )
        elif len(self._numbers()) != axes or min(min(pair) for pair in self._numbers()) < 0:
            raise ValueError(
                f"padding is a number of zeros, at least 0, or one, or a pair, per axis of the "
                f"filter {self.filter_shape}; got {self.padding}"
            )

    @property
    def strides(self) -> tuple[int, ...]:
        """The step along each axis of the image."""
        if isinstance(self.stride, int):
            return (self.stride,) * len(self.filter_shape)
        return tuple(self.stride)

    def _numbers(self) -> tuple[tuple[int, int], ...]:
        assert not isinstance(self.padding, str)
        each = self.padding
        if isinstance(each, int):
            each = (each,) * len(self.filter_shape)
        return tuple((n, n) if isinstance(n, int) else (n[0], n[1]) for n in each)

    def paddings(self, source_shape: Shape) -> tuple[tuple[int, int], ...]:
        """Zeros added below and above each axis of an image."""
        if not isinstance(self.padding, str):
            return self._numbers()
        image = source_shape[: len(self.filter_shape)]
        pads = jax.lax.padtype_to_pads(image, self.filter_shape, self.strides, self.padding)
        return tuple((int(low), int(high)) for low, high in pads)

    def _axes(self, source_shape: Shape) -> Iterator[tuple[int, int, int, tuple[int, int]]]:
        """Size, filter, stride and padding of every axis of an image."""
        image = source_shape[: len(self.filter_shape)]
        pads = self.paddings(source_shape)
        return zip(image, self.filter_shape, self.strides, pads, strict=True)

    def channels(self, source_shape: Shape) -> Shape:
        """The channel axis of the source, `()` where it has none; raises ValueError."""
        axes = len(self.filter_shape)
        if len(source_shape) not in (axes, axes + 1):
            raise ValueError(
                f"a filter of shape {self.filter_shape} takes images of {axes} axes, or of "
                f"{axes + 1} with channels last; got shape {source_shape}"
            )
        return source_shape[axes:]

    def weight_shape(self, source_shape: Shape) -> Shape:
        """`filter_shape`, and the number of channels where the source has them."""
        return (*self.filter_shape, *self.channels(source_shape))

    def output_shape(self, source_shape: Shape) -> Shape:
        """That of the image that the filter's positions make."""
        self.channels(source_shape)
        sizes = [
            (size + sum(pad) - k) // step + 1 for size, k, step, pad in self._axes(source_shape)
        ]
        if min(sizes) < 1:
            raise ValueError(
                f"a filter of shape {self.filter_shape} with padding {self.padding!r} has no "
                f"place in an image of shape {source_shape}"
            )
        return tuple(sizes)

    def __call__(self, weight: Array, activation: Array) -> Array:
        """One filter over one image."""
        axes = len(self.filter_shape)
        y, w = activation[..., None], weight[..., None]
        if activation.ndim == axes:
            y, w = y[..., None], w[..., None]
        # Now image, channels, batch of one; and filter, channels, one output.
        letters = "HW"[:axes]
        return jax.lax.conv_general_dilated(
            y,
            w,
            self.strides,
            self.paddings(activation.shape),
            dimension_numbers=(f"{letters}CN", f"{letters}IO", f"{letters}CN"),
        )[..., 0, 0]

    def fan_in(self, source_shape: Shape) -> int:
        """The entries of the source that the filter covers, where it covers the most of them.

        That is the size of the filter, but in images that are smaller than it.
        """
        covered = math.prod(self.channels(source_shape))
        out = self.output_shape(source_shape)
        for number, (size, k, step, (low, _)) in enumerate(self._axes(source_shape)):
            places = np.arange(out[number])[:, None] * step + np.arange(k) - low
            covered *= int(np.max(np.sum((places >= 0) & (places < size), axis=1)))
        return covered
