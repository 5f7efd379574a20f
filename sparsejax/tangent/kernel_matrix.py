"""The full kernel as one symmetric matrix, and what its eigenvalues can tell from zero."""

import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from sparsejax.tangent.jacobian import Function
from sparsejax.tangent.ntk import ntk


def kernel_matrix(
    f: Function, params: PyTree, x: PyTree, *, chunk: int | None = None
) -> Float[Array, "m m"]:
    """`J J^T` (m, m), `m = n c`, with the outputs of a sample next to each other.

    Not divided by the number of samples; errors are those of `ntk`.
    """
    kernel = ntk(f, params, x, outputs="full", chunk=chunk)
    m = kernel.shape[0] * kernel.shape[2]
    return jnp.moveaxis(kernel, 2, 1).reshape(m, m)


def resolution(
    eigenvalues: Float[Array, " m"], rounding: float | Array | None = None
) -> Float[Array, ""]:
    """`m` roundings of the largest eigenvalue: what lies below cannot be told from zero.

    `rounding`: that of the kernel, where eigenvalues were computed in a higher precision.
    """
    own = float(jnp.finfo(eigenvalues.dtype).eps)
    share = len(eigenvalues) * jnp.asarray(own if rounding is None else rounding)
    return share.astype(eigenvalues.dtype) * jnp.max(jnp.abs(eigenvalues))
