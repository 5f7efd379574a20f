"""Lanczos on the tangent kernel: matfree's, with the ends of a Krylov space made safe."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Bool, Float, PyTree
from matfree import decomp

from sparsejax.tangent.jacobian import Function, sample_count

Product = Callable[[Float[Array, " d"]], Float[Array, " d"]]


class KernelProducts(NamedTuple):
    """Products in `L^2` of the samples, on raveled outputs (m,) and parameters (p,).

    `push` is `J u`, `pull` is `J^T y`, both over `sqrt(n)`; `kernel` is `J J^T / n`.
    """

    push: Callable[[Float[Array, " p"]], Float[Array, " m"]]
    pull: Callable[[Float[Array, " m"]], Float[Array, " p"]]
    outputs: tuple[int, ...]
    m: int
    p: int
    dtype: jnp.dtype

    def kernel(self, y: Float[Array, " m"]) -> Float[Array, " m"]:
        """`J J^T y / n`."""
        return self.push(self.pull(y))

    def gram(self, u: Float[Array, " p"]) -> Float[Array, " p"]:
        """`J^T J u / n`: the same eigenvalues but for zeros."""
        return self.pull(self.push(u))


def kernel_products(f: Function, params: PyTree, x: PyTree) -> KernelProducts:
    """The products at `params`; `f` is evaluated once, in the memory of its gradient."""
    theta, unravel = ravel_pytree(params)
    outputs, push = jax.linearize(lambda v: f(unravel(v), x), theta)
    pull = jax.linear_transpose(push, theta)
    root = jnp.sqrt(jnp.asarray(sample_count(x), outputs.dtype))
    return KernelProducts(
        push=lambda u: push(u.astype(theta.dtype)).reshape(-1) / root,
        pull=lambda y: pull((y / root).reshape(outputs.shape))[0].astype(outputs.dtype),
        outputs=outputs.shape,
        m=outputs.size,
        p=theta.size,
        dtype=outputs.dtype,
    )


class Krylov(NamedTuple):
    """Ritz values (k,), increasing, with the coordinates of their vectors in the basis (k, d).

    `found`: which of them are Ritz pairs; a Krylov space that closes early has fewer than `k`.
    """

    values: Float[Array, " k"]
    coordinates: Float[Array, "k k"]
    basis: Float[Array, "k d"]
    found: Bool[Array, " k"]

    def vectors(self, chosen: Array) -> Float[Array, "c d"]:
        """The Ritz vectors of some of the values."""
        return jnp.matmul(self.coordinates[:, chosen].T, self.basis, precision="highest")


def krylov(product: Product, start: Float[Array, " d"], size: int) -> Krylov:
    """Lanczos with full reorthogonalisation, `size` products from `start`.

    Where rounding keeps the space from closing, it goes on from that rounding, made orthogonal: so
    repeated eigenvalues are found more than once. Where it closes exactly, matfree divides by zero;
    what it gave before that is kept.
    """
    start = start / jnp.linalg.norm(start)
    # On a GPU products in reduced precision would leave the basis far from orthogonal.
    with jax.default_matmul_precision("highest"):
        tridiagonal = decomp.tridiag_sym(size, materialize=False, custom_vjp=False)
        basis, (diagonal, off), _, _ = tridiagonal(product, start)
    valid = jnp.cumprod(jnp.isfinite(diagonal).at[1:].min(jnp.isfinite(off))) > 0
    diagonal, off = jnp.where(valid, diagonal, 0), jnp.where(valid[1:], off, 0)
    # What was not found goes outside of all that was: no eigenvector mixes the two.
    bound = jnp.max(jnp.abs(diagonal)) + 2 * jnp.max(jnp.abs(off), initial=0)
    matrix = jnp.diag(jnp.where(valid, diagonal, 2 * bound + 1))
    matrix = matrix + jnp.diag(off, 1) + jnp.diag(off, -1)
    values, coordinates = jnp.linalg.eigh(matrix)
    found = jnp.sum(jnp.where(valid[:, None], jnp.square(coordinates), 0), axis=0) > 0.5
    return Krylov(values, coordinates, jnp.where(valid[:, None], basis, 0), found)
