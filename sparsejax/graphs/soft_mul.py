"""Attention as an activation: one vertex with three in-edges."""

import dataclasses
import math

import jax
import jax.numpy as jnp
from jaxtyping import Array


@dataclasses.dataclass(frozen=True)
class SoftMul:
    """`dSoftMul`: `softmax(q k^T / sqrt(c)) v`, the activation of an attention head.

    Three in-edges, listed in this order: queries `(tokens, c)`, keys `(others, c)` and values
    `(others, features)`, rows are tokens; the vertex has shape `(tokens, features)`. Lifted
    vertices are heads. With `causal` a token attends to those up to itself alone.

    The softmax runs along the keys. A module refuses the vertex where the shapes disagree.

    Source: Robin, Scaman, Lelarge 2024; its transformer blocks.

    Example:
        >>> import jax.numpy as jnp
        >>> q, k, v = jnp.zeros((2, 3)), jnp.ones((2, 3)), jnp.array([[0.0], [1.0]])
        >>> SoftMul()(q, k, v).tolist(), SoftMul(causal=True)(q, k, v).tolist()
        ([[0.5], [0.5]], [[0.0], [0.5]])
    """

    causal: bool = False

    @property
    def positively_homogeneous(self) -> bool:
        """False: it is homogeneous in the values, not in queries and keys."""
        return False

    def __call__(self, *preactivations: Array) -> Array:
        """The mixture of the values that every token's query asks for."""
        if len(preactivations) != 3:
            raise ValueError(
                f"dSoftMul takes three arguments, queries, keys and values; got "
                f"{len(preactivations)}"
            )
        q, k, v = preactivations
        fits = q.ndim == k.ndim == v.ndim == 2 and q.shape[1] == k.shape[1] and len(k) == len(v)
        if not fits or (self.causal and len(q) != len(k)):
            raise ValueError(
                "dSoftMul takes queries (tokens, c), keys (others, c) and values (others, "
                "features), as many others as tokens if causal; got shapes "
                f"{q.shape}, {k.shape}, {v.shape}"
            )
        scores = q @ k.T / math.sqrt(q.shape[1])
        if self.causal:
            scores = jnp.where(jnp.tri(len(q), dtype=bool), scores, -jnp.inf)
        return jax.nn.softmax(scores, axis=1) @ v
