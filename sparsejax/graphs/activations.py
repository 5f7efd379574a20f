"""Activations: one argument per base in-edge, one value in the vertex's activation space."""

import dataclasses
import math
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

# Largest absolute slopes; those of gelu (1.1290) and silu (1.0999) are rounded up.
_LIPSCHITZ = {
    "tanh": 1.0,
    "relu": 1.0,
    "leaky_relu": 1.0,
    "identity": 1.0,
    "sigmoid": 0.25,
    "softplus": 1.0,
    "gelu": 1.13,
    "silu": 1.1,
    "erf": 2 / math.sqrt(math.pi),
    "sin": 1.0,
    "cos": 1.0,
}
_BOUND = {"tanh": 1.0, "sigmoid": 1.0, "erf": 1.0, "sin": 1.0, "cos": 1.0}


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

    @property
    def lipschitz(self) -> float:
        """A Lipschitz constant of sigma on the whole line, infinite where there is none."""
        return _LIPSCHITZ.get(self.name, math.inf)

    @property
    def bound(self) -> float:
        """A bound on |sigma| on the whole line, infinite where there is none."""
        return _BOUND.get(self.name, math.inf)

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
