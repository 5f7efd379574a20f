"""How far one kernel is from another: relative change, alignment, rotation of leading spaces."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from sparsejax.tangent.spectrum import eigendecomposition


class KernelDrift(eqx.Module):
    """`relative_change` is `||K - K_0||_F / ||K_0||_F`, `alignment` the cosine of the two.

    `rotation`: the largest principal angle, in radians, between the spaces of their `top` leading
    eigenvectors; 0 to pi/2. It means nothing where the eigenvalue after the last of them is equal
    to it.
    """

    relative_change: Float[Array, ""]
    alignment: Float[Array, ""]
    rotation: Float[Array, ""]


def kernel_drift(
    reference: Float[Array, "m m"], kernel: Float[Array, "m m"], *, top: int = 1
) -> KernelDrift:
    """The drift of `kernel` from `reference`, in any one normalisation of both.

    Raises:
        ValueError: shapes differ, or `top` is not between 1 and their size.

    Source: Fort et al. 2020 (kernel distance); Bjoerck, Golub 1973 (angles).

    Example:
        >>> import jax.numpy as jnp
        >>> drift = kernel_drift(jnp.diag(jnp.array([2.0, 1.0])), jnp.diag(jnp.array([4.0, 2.0])))
        >>> float(drift.relative_change), round(float(drift.alignment), 6), float(drift.rotation)
        (1.0, 1.0, 0.0)
    """
    if reference.shape != kernel.shape or kernel.shape != (len(kernel),) * 2:
        raise ValueError(
            f"kernels of shapes {reference.shape} and {kernel.shape} do not compare: both are "
            "(m, m), as residual_and_kernel gives them"
        )
    if not 1 <= top <= len(kernel):
        raise ValueError(f"top must lie in [1, {len(kernel)}], got {top}")
    spaces = [eigendecomposition(matrix)[1][:, :top] for matrix in (reference, kernel)]
    return drift_of(reference, kernel, *spaces)


def drift_of(
    reference: Float[Array, "m m"],
    kernel: Float[Array, "m m"],
    reference_space: Float[Array, "m k"],
    space: Float[Array, "m k"],
) -> KernelDrift:
    """`kernel_drift` where the leading eigenvectors of both are at hand."""
    norms = jnp.linalg.norm(reference), jnp.linalg.norm(kernel)
    return KernelDrift(
        relative_change=jnp.linalg.norm(kernel - reference) / norms[0],
        alignment=jnp.vdot(reference, kernel, precision="highest") / (norms[0] * norms[1]),
        rotation=largest_principal_angle(reference_space, space),
    )


def largest_principal_angle(a: Float[Array, "m k"], b: Float[Array, "m k"]) -> Float[Array, ""]:
    """The largest angle, in radians, between the spaces of two orthonormal sets of columns."""
    inside = jnp.matmul(a.T, b, precision="highest")
    cosine = jnp.linalg.svd(inside, compute_uv=False)[-1]
    # The cosine resolves no angle below the root of a rounding; the sine does.
    sine = jnp.linalg.svd(b - jnp.matmul(a, inside, precision="highest"), compute_uv=False)[0]
    return jnp.arctan2(sine, cosine)
