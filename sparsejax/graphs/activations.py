"""Activations: one argument per base in-edge, one value in the vertex's activation space."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array

_FUNCTIONS: dict[str, Callable[[Array], Array]] = {
    "tanh": jnp.tanh,
    "relu": jax.nn.relu,
    "leaky_relu": jax.nn.leaky_relu,
    "identity": lambda z: z,
    "sigmoid": jax.nn.sigmoid,
    "softplus": jax.nn.softplus,
    "gelu": jax.nn.gelu,
    "silu": jax.nn.silu,
    "erf": jax.lax.erf,
    "sin": jnp.sin,
    "cos": jnp.cos,
    "square": jnp.square,
}

# Degree-one homogeneous on the positive half-line: sigma(c z) = c sigma(z) for c >= 0.
_POSITIVELY_HOMOGENEOUS = frozenset({"relu", "leaky_relu", "identity"})


@dataclasses.dataclass(frozen=True)
class Pointwise:
    """Sum of all pre-activations, then a scalar function entry by entry.

    Every in-edge must deliver an array of the vertex's own shape. `name` is one of
    `Pointwise.names()`.

    Raises:
        ValueError: the name is not known.

    Example:
        >>> import jax.numpy as jnp
        >>> Pointwise("relu")(jnp.array([1.0, -3.0]), jnp.array([1.0, 1.0])).tolist()
        [2.0, 0.0]
    """

    name: str

    def __post_init__(self) -> None:
        if self.name not in _FUNCTIONS:
            raise ValueError(
                f"unknown activation {self.name!r}; known are {', '.join(self.names())}"
            )

    @staticmethod
    def names() -> tuple[str, ...]:
        """All names that `Pointwise` accepts."""
        return tuple(sorted(_FUNCTIONS))

    @property
    def positively_homogeneous(self) -> bool:
        """Whether sigma(c z) = c sigma(z) for every c >= 0 (theory: conservation laws)."""
        return self.name in _POSITIVELY_HOMOGENEOUS

    def __call__(self, *preactivations: Array) -> Array:
        """`sigma(z_1 + ... + z_m)`; the arguments may carry extra axes, all alike."""
        total = preactivations[0]
        for z in preactivations[1:]:
            total = total + z
        return _FUNCTIONS[self.name](total)


def as_activation(activation: "str | Callable[..., Array]") -> Callable[..., Array]:
    """A name becomes the `Pointwise` activation of that name; a callable stays as it is.

    Example:
        >>> as_activation("tanh")
        Pointwise(name='tanh')
    """
    return Pointwise(activation) if isinstance(activation, str) else activation
