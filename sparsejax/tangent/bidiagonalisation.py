"""Golub-Kahan bidiagonalisation of the network's Jacobian, with reorthogonalisation."""

import functools
from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sparsejax.tangent.linearisation import Linearisation


class Basis:
    """Orthonormal vectors of one dimension, as rows; the memory doubles when it is full."""

    def __init__(self, dimension: int, dtype: jnp.dtype, capacity: int = 16):
        self.rows = jnp.zeros((capacity, dimension), dtype)
        self.count = 0

    def extend(self, vector: Float[Array, " d"], negligible: float) -> Float[np.ndarray, " k"]:
        """The coordinates of a vector; what is orthogonal to the basis becomes its next vector.

        A rest of a norm of at most `negligible` adds no vector.
        """
        if self.count == len(self.rows):
            self.rows = jnp.concatenate([self.rows, jnp.zeros_like(self.rows)])
        coordinates, rest, norm = _orthogonalise(self.rows, vector)
        found, norm = np.asarray(coordinates, np.float64)[: self.count], float(norm)
        if norm <= negligible:
            return found
        self.rows = _placed(self.rows, self.count, rest / norm)
        self.count += 1
        return np.append(found, norm)

    def combine(self, coordinates: Float[np.ndarray, " k"]) -> Float[Array, " d"]:
        """The vector with these coordinates."""
        padded = np.zeros(len(self.rows))
        padded[: len(coordinates)] = coordinates
        return _combined(self.rows, jnp.asarray(padded, self.rows.dtype))


@jax.jit
def _orthogonalise(rows, vector):
    """Gram and Schmidt twice, which is enough; rows that hold no vector yet are zero."""
    product = functools.partial(jnp.matmul, precision="highest")
    first = product(rows, vector)
    vector = vector - product(first, rows)
    second = product(rows, vector)
    vector = vector - product(second, rows)
    return first + second, vector, jnp.linalg.norm(vector)


@functools.partial(jax.jit, donate_argnums=0)
def _placed(rows, index, vector):
    return rows.at[index].set(vector)


@jax.jit
def _combined(rows, coordinates):
    return jnp.matmul(coordinates, rows, precision="highest")


class Bidiagonalisation:
    """Orthonormal `U`, `V` with `J V = U B` and `J^T U = V L^T`, grown from the residual.

    From the residual alone this is Golub and Kahan's: `B` and `L` are lower bidiagonal. With
    `starts`, more vectors of the output space, it is the block form; all coefficients are then kept
    as they come, which is what makes both relations hold to rounding. (matfree's takes one vector
    and a number of products fixed beforehand.) Memory: all of `U` and `V`.

    Example:
        >>> import jax.numpy as jnp
        >>> x, y = jnp.array([[3.0, 4.0]]), jnp.array([1.0])
        >>> found = Bidiagonalisation(Linearisation(lambda w, x: x @ w, jnp.zeros(2), x, y))
        >>> found.step(), found.step()  # the space of the outputs has one dimension
        (True, False)
        >>> found.lower.tolist(), found.upper.tolist()
        ([[5.0]], [[5.0]])
    """

    def __init__(self, linearised: Linearisation, starts: Sequence[Float[Array, " m"]] = ()):
        self.linearised = linearised
        residual = linearised.residual
        self.left = Basis(residual.size, residual.dtype)
        self.right = Basis(linearised.size, linearised.dtype)
        self.rounding = float(jnp.finfo(residual.dtype).eps)
        self.norm = 0.0  # of J, from below
        self.pulled: list[np.ndarray] = []
        self.pushed: list[np.ndarray] = []
        (self.length,) = self.left.extend(residual, 0.0)
        for start in starts:
            size = float(jnp.linalg.norm(start))
            if np.isfinite(size) and size > 0:
                self.left.extend(start / size, 1e3 * self.rounding)

    def step(self) -> bool:
        """One product with `J^T` and one with `J`; False where the spaces have closed."""
        moved = False
        if len(self.pulled) < self.left.count:
            image = self.linearised.pull(self.left.rows[len(self.pulled)])
            self.pulled.append(self._extended(self.right, image))
            moved = True
        if len(self.pushed) < self.right.count:
            image = self.linearised.push(self.right.rows[len(self.pushed)])
            self.pushed.append(self._extended(self.left, image))
            moved = True
        return moved

    def _extended(self, basis: Basis, image: Array) -> np.ndarray:
        size = float(jnp.linalg.norm(image))
        self.norm = max(self.norm, size) if np.isfinite(size) else np.nan
        return basis.extend(image, 32 * self.rounding * self.norm)

    @property
    def lower(self) -> Float[np.ndarray, "a v"]:
        """`L`: row `i` holds `J^T u_i` in `V`. Steps seen by it are at most as long as needed."""
        return _padded(self.pulled, self.right.count)

    @property
    def upper(self) -> Float[np.ndarray, "u b"]:
        """`B`: column `j` holds `J v_j` in `U`. Steps seen by it are steps of the network."""
        return _padded(self.pushed, self.left.count).T

    @property
    def defect(self) -> float:
        """How far the products with `J` and with `J^T` disagree: the norm of `B - L` on both.

        Their entries are the same numbers `<u_i, J v_j>`, found in two ways: what separates them is
        rounding (much of it where products run in reduced precision), or a wrong derivative rule.
        """
        upper, lower = self.upper, self.lower
        rows, columns = len(lower), upper.shape[1]
        return float(np.linalg.norm(upper[:rows] - lower[:, :columns], 2)) if columns else 0.0


def _padded(rows: list[np.ndarray], width: int) -> np.ndarray:
    matrix = np.zeros((len(rows), width))
    for number, row in enumerate(rows):
        matrix[number, : len(row)] = row
    return matrix
