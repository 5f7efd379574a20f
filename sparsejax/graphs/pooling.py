"""Pooling: the activation of a vertex that keeps a summary of its neighbourhoods."""

import dataclasses
from typing import Literal

import jax
import numpy as np
from jaxtyping import Array

from sparsejax.graphs.activations import Pointwise
from sparsejax.graphs.edge_maps import Shape


@dataclasses.dataclass(frozen=True)
class Pooling:
    """A pointwise function of the sum of all pre-activations, then a mean or maximum of windows.

    `window` and `stride` are a number for all axes or one per axis; `stride` is `window` unless
    told otherwise, so that windows tile the array, and windows stay inside. `window=None` pools
    the whole array to a scalar. `function` is a name that `Pointwise` accepts. The vertex has the
    shape of the result, `output_shape`; every in-edge delivers an array of the shape before it.

    Raises:
        ValueError: an unknown kind or function, or a window or stride that is not positive.

    Example:
        >>> import jax.numpy as jnp
        >>> Pooling("max", window=2)(jnp.array([3.0, 1.0, -5.0, -4.0])).tolist()
        [3.0, 0.0]
        >>> Pooling("mean", window=None, function="identity").output_shape((28, 28))
        ()
    """

    kind: Literal["mean", "max"]
    window: int | tuple[int, ...] | None = 2
    stride: int | tuple[int, ...] | None = None
    function: str = "relu"

    def __post_init__(self) -> None:
        if self.kind not in ("mean", "max"):
            raise ValueError(f"pooling is 'mean' or 'max', not {self.kind!r}")
        for what in ("window", "stride"):
            value = getattr(self, what)
            if value is not None and np.min(value, initial=1) < 1:
                raise ValueError(f"the {what} of a pooling must be positive, got {value}")
        if self.window is None and self.stride is not None:
            raise ValueError("pooling the whole array has no stride")
        Pointwise(self.function)

    @property
    def positively_homogeneous(self) -> bool:
        """As its function: means and maxima are positively homogeneous themselves."""
        return Pointwise(self.function).positively_homogeneous

    def _windows(self, shape: Shape) -> tuple[Shape, Shape]:
        window = shape if self.window is None else self.window
        stride = window if self.stride is None else self.stride
        both = []
        for what, value in (("window", window), ("stride", stride)):
            sizes = (value,) * len(shape) if isinstance(value, int) else tuple(value)
            if len(sizes) != len(shape):
                raise ValueError(f"the {what} {value} does not fit an array of shape {shape}")
            both.append(sizes)
        if any(k > n for k, n in zip(both[0], shape, strict=True)):
            raise ValueError(f"a window of shape {both[0]} has no place in shape {shape}")
        return both[0], both[1]

    def output_shape(self, shape: Shape) -> Shape:
        """The vertex's shape where pre-activations have `shape`; raises ValueError."""
        window, stride = self._windows(shape)
        if self.window is None:
            return ()
        return tuple((n - k) // step + 1 for n, k, step in zip(shape, window, stride, strict=True))

    def __call__(self, *preactivations: Array) -> Array:
        """The pooled array."""
        shapes = {z.shape for z in preactivations}
        if len(shapes) != 1:
            raise ValueError(f"pooling adds arrays of one shape, got {sorted(shapes)}")
        y = Pointwise(self.function)(*preactivations)
        window, stride = self._windows(y.shape)
        if self.window is None:
            return y.mean() if self.kind == "mean" else y.max()
        if self.kind == "max":
            start = np.asarray(-np.inf, y.dtype)
            return jax.lax.reduce_window(y, start, jax.lax.max, window, stride, "VALID")
        start = np.asarray(0, y.dtype)
        total = jax.lax.reduce_window(y, start, jax.lax.add, window, stride, "VALID")
        return total / int(np.prod(window))
