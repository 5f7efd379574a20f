"""Numbers that sum up a tangent kernel: effective ranks, alignment, shares of the residual."""

import math

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float


def effective_rank(
    eigenvalues: Float[Array, " m"], definition: str = "participation"
) -> Float[Array, ""]:
    """How many eigenvalues count: between 1 and m, and r for r equal ones among zeros.

    `"trace"`: `tr K / w_max` (also called the stable or intrinsic dimension); `"participation"`:
    `(tr K)^2 / tr K^2`; `"entropy"`: `exp(-sum p log p)` with `p = w / tr K`. Negative eigenvalues,
    which are rounding, count as zero. NaN for a kernel that is zero.

    Raises:
        ValueError: an unknown definition.

    Source: Roy, Vetterli 2007 (entropy); Bartlett et al. 2020 (trace).

    Example:
        >>> import jax.numpy as jnp
        >>> w = jnp.array([2.0, 2.0, 0.0])
        >>> [round(float(effective_rank(w, d)), 6) for d in ("trace", "participation", "entropy")]
        [2.0, 2.0, 2.0]
    """
    w = jnp.maximum(jnp.asarray(eigenvalues), 0)
    total = jnp.sum(w)
    if definition == "trace":
        return total / jnp.max(w)
    if definition == "participation":
        return jnp.square(total) / jnp.sum(jnp.square(w))
    if definition == "entropy":
        p = w / total
        entropy = -jnp.sum(jnp.where(p > 0, p * jnp.log(jnp.where(p > 0, p, 1)), 0))
        return jnp.where(total > 0, jnp.exp(entropy), jnp.nan)
    raise ValueError(f"definition is 'trace', 'participation' or 'entropy', not {definition!r}")


def target_alignment(
    kernel: Float[Array, "m m"], targets: Array | np.ndarray, *, centred: bool = False
) -> Float[Array, ""]:
    """`<K, y y^T> / (||K||_F ||y||^2)`, at most 1: how far the kernel is that of the targets.

    `kernel` is (m, m) with a row per output of each sample, outputs next to their sample, as
    `residual_and_kernel` gives it; `targets` (n, *c) has m entries. `centred` takes the mean over
    samples out of both first, output by output.

    Raises:
        ValueError: kernel and targets do not fit.

    Source: Cristianini et al. 2001; Cortes, Mohri, Rostamizadeh 2012 (centred).

    Example:
        >>> import jax.numpy as jnp
        >>> y = jnp.array([1.0, -2.0])
        >>> round(float(target_alignment(3.0 * jnp.outer(y, y), y)), 6)
        1.0
    """
    y = jnp.asarray(targets, kernel.dtype)
    if kernel.shape != (y.size, y.size):
        raise ValueError(
            f"kernel has shape {kernel.shape}; {y.size} targets need ({y.size}, {y.size})"
        )
    if centred:
        n, c = len(y), math.prod(y.shape[1:])
        y = y - jnp.mean(y, axis=0, keepdims=True)
        grouped = kernel.reshape(n, c, n, c)
        for axis in (0, 2):
            grouped = grouped - jnp.mean(grouped, axis=axis, keepdims=True)
        kernel = grouped.reshape(kernel.shape)
    y = y.reshape(-1)
    return y @ kernel @ y / (jnp.linalg.norm(kernel) * jnp.sum(jnp.square(y)))


def residual_shares(
    eigenvectors: Float[Array, "..."], residual: Array | np.ndarray
) -> Float[Array, " m"]:
    """The share of `||r||^2` in the span of the first i eigenvectors, i = 1 to m; ends at 1.

    `eigenvectors` (n, *c, m) as `kernel_spectrum` gives them, `residual` (n, *c) or raveled. What
    lies in the leading ones is learned first.

    Raises:
        ValueError: the residual has another number of entries.

    Example:
        >>> import jax.numpy as jnp
        >>> residual_shares(jnp.eye(2), jnp.array([3.0, 4.0])).tolist()
        [0.36..., 1.0]
    """
    count = eigenvectors.shape[-1]
    columns, r = eigenvectors.reshape(-1, count), jnp.asarray(residual, eigenvectors.dtype)
    if r.size != len(columns):
        raise ValueError(f"the eigenvectors have {len(columns)} entries, the residual {r.size}")
    energies = jnp.square(r.reshape(-1) @ columns)
    return jnp.cumsum(energies) / jnp.sum(jnp.square(r))
