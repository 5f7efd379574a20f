"""The spectrum of the tangent kernel: all eigenvalues and eigenvectors."""

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, PyTree

from sparsejax.tangent.jacobian import Function, sample_count
from sparsejax.tangent.kernel_matrix import kernel_matrix, resolution


class KernelSpectrum(eqx.Module):
    """Eigenvalues (m,), decreasing, and eigenvectors (n, *c, m), the last axis theirs; `m = n c`.

    `resolution`: `m` roundings of the largest eigenvalue in the kernel's own precision. Eigenvalues
    are given as they come; the `unresolved` last ones, at most `resolution`, cannot be told from
    zero (and may be negative).
    """

    eigenvalues: Float[Array, " m"]
    eigenvectors: Float[Array, "n ..."]
    resolution: Float[Array, ""]
    unresolved: Int[Array, ""]


def kernel_spectrum(
    f: Function, params: PyTree, x: PyTree, *, chunk: int | None = None
) -> KernelSpectrum:
    """`K = V diag(w) V^T` in `L^2` of the samples: the kernel is `J J^T / n`.

    Along the i-th eigenvector the residual of the linearised flow decays like `exp(-2 w_i t)`, `t`
    being flow time on the mean squared loss. The decomposition runs in float64 even where JAX runs
    in float32, except inside a trace; the result has the kernel's precision. Memory: `m^2`
    (`extreme_eigenvalues` and `spectral_density` need no kernel).

    Raises:
        ValueError: no samples, or a chunk that is not positive.

    Source: Jacot, Gabriel, Hongler 2018.

    Example:
        >>> import jax.numpy as jnp
        >>> x = jnp.array([[2.0, 0.0], [0.0, 4.0], [0.0, 0.0]])
        >>> found = kernel_spectrum(lambda w, x: x @ w, jnp.zeros((2, 1)), x)
        >>> [round(w, 4) for w in found.eigenvalues.tolist()], int(found.unresolved)
        ([5.3333, 1.3333, 0.0], 1)
        >>> found.eigenvectors.shape
        (3, 1, 3)
    """
    x = jax.tree.map(jnp.asarray, x)
    kernel = _mean_kernel(f, params, x, chunk)
    eigenvalues, eigenvectors = eigendecomposition(kernel)
    shape = jax.eval_shape(f, params, x).shape
    limit = resolution(eigenvalues)
    return KernelSpectrum(
        eigenvalues=eigenvalues,
        eigenvectors=eigenvectors.reshape(*shape, -1),
        resolution=limit,
        unresolved=jnp.sum(eigenvalues <= limit),
    )


@eqx.filter_jit
def _mean_kernel(f, params, x, chunk):
    return kernel_matrix(f, params, x, chunk=chunk) / sample_count(x)


def eigendecomposition(
    kernel: Float[Array, "m m"],
) -> tuple[Float[Array, " m"], Float[Array, "m m"]]:
    """Eigenvalues, decreasing, and eigenvectors as columns; float64 inside, outside of a trace."""
    try:
        float(kernel[0, 0])
    except jax.errors.ConcretizationTypeError:
        return _decreasing(kernel)
    with jax.enable_x64(True):
        found = _decreasing(jnp.asarray(kernel, jnp.float64))
        # Outside of this context float64 arrays are truncated, with a warning, at their first use.
        eigenvalues, eigenvectors = jax.tree.map(lambda part: part.astype(kernel.dtype), found)
    return eigenvalues, eigenvectors


@jax.jit
def _decreasing(kernel):
    eigenvalues, eigenvectors = jnp.linalg.eigh(kernel)
    return eigenvalues[::-1], eigenvectors[:, ::-1]
