"""Mixing edges between arrays of shape `(tokens, features)`."""

import dataclasses

from jaxtyping import Array

from sparsejax.graphs.edge_maps import EdgeMap, Shape


@dataclasses.dataclass(frozen=True)
class TokenMixing(EdgeMap):
    """`M(W, y) = y W^T`: one matrix `(features, features of the source)` acts on every token.

    Queries, keys and values of attention, and the learned skip edges of mixing transformers.

    Raises:
        ValueError: `features` is not positive.

    Example:
        >>> import jax.numpy as jnp
        >>> TokenMixing(1)(jnp.array([[1.0, 1.0]]), jnp.array([[1.0, 2.0], [3.0, 4.0]])).tolist()
        [[3.0], [7.0]]
    """

    features: int

    def __post_init__(self) -> None:
        if self.features < 1:
            raise ValueError(f"features must be positive, got {self.features}")

    def weight_shape(self, source_shape: Shape) -> Shape:
        """`(features, features of the source)`."""
        return (self.features, source_shape[1])

    def output_shape(self, source_shape: Shape) -> Shape:
        """`(tokens, features)`."""
        if len(source_shape) != 2:
            raise ValueError(f"token mixing takes (tokens, features), not shape {source_shape}")
        return (source_shape[0], self.features)

    def __call__(self, weight: Array, activation: Array) -> Array:
        """`y W^T`."""
        return activation @ weight.T

    def fan_in(self, source_shape: Shape) -> int:
        """The number of features of the source."""
        return source_shape[1]


@dataclasses.dataclass(frozen=True)
class PositionMixing(EdgeMap):
    """`M(W, y) = W y`: a matrix `(tokens, tokens of the source)` mixes positions, not features.

    Raises:
        ValueError: `tokens` is not positive.

    Example:
        >>> import jax.numpy as jnp
        >>> PositionMixing(1)(jnp.array([[1.0, 1.0]]), jnp.array([[1.0, 2.0], [3.0, 4.0]])).tolist()
        [[4.0, 6.0]]
    """

    tokens: int

    def __post_init__(self) -> None:
        if self.tokens < 1:
            raise ValueError(f"tokens must be positive, got {self.tokens}")

    def weight_shape(self, source_shape: Shape) -> Shape:
        """`(tokens, tokens of the source)`."""
        return (self.tokens, source_shape[0])

    def output_shape(self, source_shape: Shape) -> Shape:
        """`(tokens, features)`."""
        if len(source_shape) != 2:
            raise ValueError(f"position mixing takes (tokens, features), not shape {source_shape}")
        return (self.tokens, source_shape[1])

    def __call__(self, weight: Array, activation: Array) -> Array:
        """`W y`."""
        return weight @ activation

    def fan_in(self, source_shape: Shape) -> int:
        """The number of tokens of the source."""
        return source_shape[0]
