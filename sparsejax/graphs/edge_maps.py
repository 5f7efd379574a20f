"""Edge maps `M_e : W_e x Y_a -> Z_e`: what one edge does to one activation."""

import abc
import dataclasses
import math

import jax.numpy as jnp
from jaxtyping import Array

Shape = tuple[int, ...]


class EdgeMap(abc.ABC):
    """A bilinear-or-more map of one edge: linear in the weight, any function of the activation.

    Subclasses are frozen dataclasses (hashable: they stay outside the trace). Shapes are those of
    one lifted vertex and one sample; the lift adds the fibre and batch axes.
    """

    @abc.abstractmethod
    def weight_shape(self, source_shape: Shape) -> Shape:
        """Shape of `W_e` for a source activation of `source_shape`."""

    @abc.abstractmethod
    def output_shape(self, source_shape: Shape) -> Shape:
        """Shape of `Z_e`; raises ValueError when the source does not fit."""

    @abc.abstractmethod
    def __call__(self, weight: Array, activation: Array) -> Array:
        """`M_e(w, y)` for one edge and one sample."""

    def fan_in(self, source_shape: Shape) -> int:
        """How many weighted entries of the source add up in one entry of `Z_e`."""
        return 1


@dataclasses.dataclass(frozen=True)
class Scale(EdgeMap):
    """`M(w, y) = w y` with one scalar weight; `Z = Y_a` of any shape.

    Example:
        >>> import jax.numpy as jnp
        >>> Scale()(jnp.asarray(2.0), jnp.array([1.0, 3.0])).tolist()
        [2.0, 6.0]
    """

    def weight_shape(self, source_shape: Shape) -> Shape:
        """The scalar shape."""
        return ()

    def output_shape(self, source_shape: Shape) -> Shape:
        """That of the source."""
        return source_shape

    def __call__(self, weight: Array, activation: Array) -> Array:
        """`w y`."""
        return weight * activation


@dataclasses.dataclass(frozen=True)
class Dense(EdgeMap):
    """`M(w, y) = sum over all entries i of w[..., i] y[i]`, into `Z` of shape `output`.

    The weight has shape `output + source_shape`.

    Example:
        >>> import jax.numpy as jnp
        >>> Dense(output=(2,))(jnp.eye(2, 3), jnp.array([5.0, 6.0, 7.0])).tolist()
        [5.0, 6.0]
    """

    output: Shape = ()

    def weight_shape(self, source_shape: Shape) -> Shape:
        """`output + source_shape`."""
        return self.output + source_shape

    def output_shape(self, source_shape: Shape) -> Shape:
        """`output`."""
        return self.output

    def __call__(self, weight: Array, activation: Array) -> Array:
        """The contraction over all axes of the activation."""
        return jnp.tensordot(weight, activation, axes=activation.ndim)

    def fan_in(self, source_shape: Shape) -> int:
        """The number of entries of the source."""
        return math.prod(source_shape)


@dataclasses.dataclass(frozen=True)
class Bias(EdgeMap):
    """`M(w, 1) = w`: the edge from a constant vertex, into `Z` of shape `shape`.

    The weight has the shape of `Z` without its `shared` axes, along which it is the same: one
    number a channel where `Z` is an image (`shared=(0, 1)`), one vector for all tokens where `Z`
    is an array `(tokens, features)` (`shared=(0,)`).

    Raises:
        ValueError: `shared` is not a set of axes of `shape`.

    Example:
        >>> import jax.numpy as jnp
        >>> Bias(shape=(2,))(jnp.array([3.0, 4.0]), jnp.asarray(1.0)).tolist()
        [3.0, 4.0]
        >>> Bias(shape=(2, 2), shared=(0,))(jnp.array([3.0, 4.0]), jnp.asarray(1.0)).tolist()
        [[3.0, 4.0], [3.0, 4.0]]
    """

    shape: Shape = ()
    shared: tuple[int, ...] = ()

    def __post_init__(self) -> None:
        if sorted(set(self.shared)) != sorted(self.shared) or not all(
            0 <= axis < len(self.shape) for axis in self.shared
        ):
            raise ValueError(
                f"a bias of shape {self.shape} has axes 0 to {len(self.shape) - 1}, each shared "
                f"once at most; got shared={self.shared}"
            )

    def weight_shape(self, source_shape: Shape) -> Shape:
        """`shape` without its shared axes."""
        return tuple(n for axis, n in enumerate(self.shape) if axis not in self.shared)

    def output_shape(self, source_shape: Shape) -> Shape:
        """`shape`; the source must be a scalar."""
        if source_shape != ():
            raise ValueError(f"a bias leaves a scalar constant vertex, not shape {source_shape}")
        return self.shape

    def __call__(self, weight: Array, activation: Array) -> Array:
        """`w` times the constant."""
        kept = tuple(1 if axis in self.shared else n for axis, n in enumerate(self.shape))
        return jnp.broadcast_to((weight * activation).reshape(kept), self.shape)
