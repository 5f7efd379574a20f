"""The largest and smallest eigenvalues of the tangent kernel, from products alone."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Key, PyTree

from sparsejax.tangent.jacobian import Function, outputs_of
from sparsejax.tangent.krylov import Product, kernel_products, krylov
from sparsejax.tangent.tangent_constant_interval import CONVERGED, NOT_A_NUMBER, NOT_CONVERGED

# Roundings of one product, relative to the largest eigenvalue, that an error leaves room for.
ROUNDINGS = 16


@dataclasses.dataclass(frozen=True)
class ExtremeEigenvalues:
    """Ritz values at both ends of the spectrum, each with a bound on its error.

    `largest` is decreasing, `smallest` increasing. Within `largest_errors` and `smallest_errors`
    of each there is an eigenvalue of the kernel: the norm of `K y - w y` for the unit vector `y`,
    evaluated on the network itself. `vectors` (count, *outputs) are those `y`, for what is not
    known exactly; their sum is a warm start for a kernel nearby. `products`: with `K`.
    `status`: `"converged"`, `"not_converged"` or `"nan"`.
    """

    largest: Float[np.ndarray, " l"]
    largest_errors: Float[np.ndarray, " l"]
    smallest: Float[np.ndarray, " s"]
    smallest_errors: Float[np.ndarray, " s"]
    vectors: Float[Array, "v ..."]
    products: int
    status: str


def extreme_eigenvalues(
    f: Function,
    params: PyTree,
    x: PyTree,
    *,
    count: int = 1,
    smallest: int = 1,
    max_products: int = 64,
    rtol: float = 1e-3,
    start: Array | None = None,
    key: Key[Array, ""] | None = None,
) -> ExtremeEigenvalues:
    """The `count` largest and the `smallest` least eigenvalues of `K = J J^T / n`, by Lanczos.

    `max_products` products from `start` (the shape of the outputs), or from a normal vector drawn
    with `key`; then one more per eigenvalue for its error. It is converged where each error is at
    most `rtol` of its eigenvalue, or the eigenvalue is below the resolution (`m` roundings of the
    largest). The k-th largest Ritz value never exceeds the k-th largest eigenvalue.

    **The smallest eigenvalues converge slowly**, if at all: they crowd together in most kernels,
    and as many products as samples may be needed. Until then their Ritz value is only an upper end
    of the least eigenvalue. An error says that an eigenvalue is near, not that none lies beyond: of
    a repeated eigenvalue Lanczos may find one copy alone, and a start from nearby eigenvectors may
    miss a new one. With more outputs than
    parameters the kernel is singular: as many zeros are given, exactly, and the rest is found among
    the eigenvalues of `J^T J / n`. Memory: `max_products` vectors of the outputs (of the parameters
    where these are fewer).

    Raises:
        ValueError: counts out of range, or a start that is zero or of another shape.

    Source: Lanczos 1950; matfree (Kraemer et al. 2024) runs it.

    Example:
        >>> import jax.numpy as jnp
        >>> x = jnp.array([[2.0, 0.0], [0.0, 4.0]])
        >>> found = extreme_eigenvalues(lambda w, x: x @ w, jnp.zeros((2, 1)), x)
        >>> found.largest.round(4).tolist(), found.smallest.round(4).tolist(), found.status
        ([8.0], [2.0], 'converged')
    """
    params, x = jax.tree.map(jnp.asarray, (params, x))
    outputs, size = checked_counts(f, params, x, count, smallest, max_products)
    if not rtol > 0:
        raise ValueError(f"rtol must be positive, got {rtol}")
    if start is None:
        start = jax.random.normal(
            jax.random.key(0) if key is None else key, outputs.shape, outputs.dtype
        )
    elif start.shape != outputs.shape:
        raise ValueError(f"start has shape {start.shape}; expected that of the outputs, {outputs}")
    elif not bool(jnp.any(start != 0)):
        raise ValueError("start must not be zero")
    found = lanczos_extremes(f, params, x, start, count, smallest, size)
    status = CONVERGED if found.converged(rtol) else NOT_CONVERGED
    if not np.isfinite(found.scale):
        status = NOT_A_NUMBER
    return ExtremeEigenvalues(
        largest=np.asarray(found.largest),
        largest_errors=np.asarray(found.largest_errors),
        smallest=np.asarray(found.smallest),
        smallest_errors=np.asarray(found.smallest_errors),
        vectors=found.vectors,
        products=size + len(found.vectors),
        status=status,
    )


def checked_counts(f, params, x, count: int, smallest: int, max_products: int):
    """The outputs' shape and the size of the Krylov space; raises ValueError by name."""
    outputs = outputs_of(f, params, x)
    parameters = sum(leaf.size for leaf in jax.tree.leaves(params))
    if max_products < 1:
        raise ValueError(f"max_products must be positive, got {max_products}")
    size = min(max_products, outputs.size, parameters)
    zeros = max(outputs.size - parameters, 0)
    if not 1 <= count <= size:
        raise ValueError(f"count must lie in [1, {size}] for these products, got {count}")
    if not 0 <= smallest <= size + zeros:
        raise ValueError(f"smallest must lie in [0, {size + zeros}], got {smallest}")
    return outputs, size


class Extremes(eqx.Module):
    """What `lanczos_extremes` found; `scale` is the largest eigenvalue, NaN where nothing is."""

    largest: Float[Array, " l"]
    largest_errors: Float[Array, " l"]
    smallest: Float[Array, " s"]
    smallest_errors: Float[Array, " s"]
    vectors: Float[Array, "v ..."]
    scale: Float[Array, ""]
    resolution: Float[Array, ""]

    def converged(self, rtol: float) -> Bool[Array, ""]:
        """Whether every error is at most `rtol` of its eigenvalue, or that below resolution."""
        small = self.smallest_errors <= rtol * self.smallest
        unseen = self.smallest + self.smallest_errors <= self.resolution
        large = self.largest_errors <= rtol * self.largest
        return jnp.all(small | unseen) & jnp.all(large | (self.largest <= self.resolution))


@eqx.filter_jit
def lanczos_extremes(f, params, x, start, count: int, smallest: int, size: int) -> Extremes:
    """Both ends of the spectrum from `size` products; also inside `jit`."""
    products = kernel_products(f, params, x)
    start, dtype = start.reshape(-1).astype(products.dtype), products.dtype
    product: Product = products.kernel
    zeros = min(max(products.m - products.p, 0), smallest)
    if products.m > products.p:
        # The smaller of the two spaces; zeros that this one lacks are known.
        product, start = products.gram, products.pull(start)
        start = jnp.where(jnp.linalg.norm(start) > 0, start, 1)
    space = krylov(product, start, size)
    up = jnp.argsort(jnp.where(space.found, -space.values, jnp.inf))[:count]
    down = jnp.argsort(jnp.where(space.found, space.values, jnp.inf))[: smallest - zeros]
    chosen = jnp.concatenate([up, down])

    def checked(y):
        length = jnp.linalg.norm(y)
        y = y / length
        image = product(y)
        value = jnp.vdot(y, image)
        return value, jnp.linalg.norm(image - value * y)

    vectors = space.vectors(chosen)
    values, errors = jax.lax.map(checked, vectors)
    # A space that closed early has fewer pairs than asked for.
    values = jnp.where(space.found[chosen], values, jnp.nan)
    room = ROUNDINGS * jnp.finfo(dtype).eps * values[0]
    none = jnp.zeros(zeros, dtype)
    if products.m > products.p:
        vectors = jax.lax.map(products.push, vectors)
        lengths = jnp.linalg.norm(vectors, axis=1, keepdims=True)
        vectors = vectors / jnp.where(lengths > 0, lengths, 1)
    return Extremes(
        largest=values[:count],
        largest_errors=errors[:count] + room,
        smallest=jnp.concatenate([none, values[count:]]),
        smallest_errors=jnp.concatenate([none, errors[count:] + room]),
        vectors=vectors.reshape(-1, *products.outputs),
        scale=values[0],
        resolution=min(products.m, products.p) * jnp.finfo(dtype).eps * values[0],
    )
