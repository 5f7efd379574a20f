"""What a target is: a function of an input of known law, with the graph of its composition."""

from typing import Any, Protocol, runtime_checkable

import numpy as np
from jaxtyping import Array, Float

from sparsejax.graphs import Dag


@runtime_checkable
class Target(Protocol):
    """A function to be learned, together with the law of its inputs; frozen and hashable.

    Everything here is static: a target may be closed over by, or be a static argument of, a
    compiled program. What theory predicts of one: `predicted`.

    Attributes:
        dims: number of input coordinates.
        law: of the inputs: `"cube"` (uniform on the vertices), `"gaussian"`, `"uniform"` (on
            `[-1, 1]^dims`), or `"hierarchy"` (the production rules of a random hierarchy).
        support: coordinates that the function depends on, counted from 1.
        dag: which constituent function reads which coordinates and constituents.
        arity: the largest number of variables of a constituent.
    """

    @property
    def dims(self) -> int:
        """Number of input coordinates."""

    @property
    def law(self) -> str:
        """The law of the inputs."""

    @property
    def support(self) -> tuple[int, ...]:
        """Coordinates that the function depends on, counted from 1."""

    @property
    def dag(self) -> Dag:
        """The graph of the composition."""

    @property
    def arity(self) -> int:
        """The largest number of variables of a constituent."""

    def __call__(self, x: Float[Array | np.ndarray, "n d"]) -> Float[Array, "n 1"]:
        """The function on every sample."""
        ...

    def sample(
        self, key: Array, n: int, dtype: Any = float
    ) -> tuple[Float[Array, "n d"], Float[Array, "n 1"]]:
        """`n` independent inputs and the function there; pure, and may run inside `jit`."""
        ...


def check_inputs(x: Any, dims: int) -> None:
    """Refuse inputs of another shape.

    Raises:
        ValueError: `x` is not of shape `(n, dims)`.
    """
    if x.ndim != 2 or x.shape[1] != dims:
        raise ValueError(f"the target takes x of shape (n, {dims}), got {x.shape}")
