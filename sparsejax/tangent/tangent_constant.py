"""The tangent approximation constant: the shortest step that makes the linearised network good."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree

from sparsejax.tangent.jacobian import Function, outputs_of, sample_count
from sparsejax.tangent.kernel_matrix import kernel_matrix, resolution


class TangentApproximation(eqx.Module):
    """The minimiser of `||u||` subject to `||r + J u||^2 <= eps`, in `L^2` of the samples.

    `kappa`: its norm, infinite where no `u` attains `eps`. `direction`: `u` in the shape of the
    parameters (zero where `kappa` is infinite). `multiplier`: `mu` with
    `u = -J^T (K + mu I)^{-1} r`. `attained`: `||r + J u||^2`. `floor`: the least value that any
    `u` attains.
    """

    kappa: Float[Array, ""]
    direction: PyTree[Array]
    multiplier: Float[Array, ""]
    attained: Float[Array, ""]
    floor: Float[Array, ""]


class _Secular(eqx.Module):
    kappa: Float[Array, ""]
    coefficients: Float[Array, " n"]
    multiplier: Float[Array, ""]
    attained: Float[Array, ""]
    floor: Float[Array, ""]


def tangent_constant(
    f: Function,
    params: PyTree,
    x: PyTree,
    targets: Array | np.ndarray,
    eps: int | float | Array,
    *,
    chunk: int | None = None,
) -> Float[Array, ""]:
    """`kappa_eps = min { ||u|| : mean over samples of ||f + J u - targets||^2 <= eps }`.

    Exact, through the eigen-decomposition of the kernel: `K = V diag(w) V^T`, `c = V^T r`,
    `kappa^2 = sum w c^2 / (w + mu)^2` with `mu` the root of `sum (mu c / (w + mu))^2 = eps`.
    Infinite where `eps` is not attainable, zero where the loss is already at most `eps`, NaN where
    the network's outputs or Jacobian are not finite. The decomposition runs in float64 even where
    JAX runs in float32, except inside a trace; the result has the kernel's precision;
    eigenvalues below `m` roundings of the largest (`m` samples times outputs, in the kernel's own
    precision) count as zero, and so does an unattainable share of the loss below `m` roundings.

    Raises:
        ValueError: `eps` is negative, or shapes disagree.

    Source: Robin, Scaman, Lelarge 2024 (definition); the formula is derived in this project.

    Example:
        >>> import jax.numpy as jnp
        >>> f = lambda w, x: x @ w
        >>> x, y = jnp.array([[2.0]]), jnp.array([[4.0]])
        >>> float(tangent_constant(f, jnp.zeros((1, 1)), x, y, eps=1.0))
        1.5
    """
    checked_eps(eps)
    kernel, residual, _ = _checked_problem(f, params, x, targets, chunk)
    return _solve(kernel, residual, eps).kappa


def tangent_approximation(
    f: Function,
    params: PyTree,
    x: PyTree,
    targets: Array | np.ndarray,
    eps: int | float | Array,
    *,
    chunk: int | None = None,
) -> TangentApproximation:
    """`tangent_constant` with the minimising direction and its multiplier.

    Raises:
        ValueError: `eps` is negative, or shapes disagree.

    Example:
        >>> import jax.numpy as jnp
        >>> f = lambda w, x: x @ w
        >>> found = tangent_approximation(
        ...     f, jnp.zeros((1, 1)), jnp.array([[2.0]]), jnp.array([[4.0]]), eps=1.0
        ... )
        >>> found.direction.tolist(), round(float(found.attained), 12)
        ([[1.5]], 1.0)
    """
    checked_eps(eps)
    kernel, residual, n = _checked_problem(f, params, x, targets, chunk)
    solved = _solve(kernel, residual, eps)
    _, unravel = ravel_pytree(params)
    outputs, pullback = jax.vjp(lambda p: f(p, x), params)
    weights = (solved.coefficients / jnp.sqrt(n)).astype(outputs.dtype)
    (direction,) = pullback(weights.reshape(outputs.shape))
    return TangentApproximation(
        kappa=solved.kappa,
        direction=direction,
        multiplier=solved.multiplier,
        attained=solved.attained,
        floor=solved.floor,
    )


def residual_and_kernel(
    f: Function, params: PyTree, x: PyTree, targets: Array | np.ndarray, *, chunk: int | None = None
) -> tuple[Float[Array, " m"], Float[Array, "m m"]]:
    """`r` and `K` in `L^2` of the samples: residual over `sqrt(n)`, kernel over `n`; `m = n c`."""
    kernel, residual, _ = _checked_problem(f, params, x, targets, chunk)
    return residual, kernel


def _checked_problem(f, params, x, targets, chunk) -> tuple[Array, Array, int]:
    params, x = jax.tree.map(jnp.asarray, (params, x))
    outputs_of(f, params, x)
    return _kernel_and_residual(f, params, x, jnp.asarray(targets), chunk)


@eqx.filter_jit
def _kernel_and_residual(f, params, x, targets, chunk) -> tuple[Array, Array, int]:
    n = sample_count(x)
    outputs = f(params, x)
    residual = (outputs.reshape(n, -1) - _rows(targets, outputs)).reshape(-1) / jnp.sqrt(n).astype(
        outputs.dtype
    )
    return kernel_matrix(f, params, x, chunk=chunk) / n, residual, n


def _rows(targets: Array, outputs: Array) -> Array:
    if targets.shape != outputs.shape and (*targets.shape, 1) != outputs.shape:
        raise ValueError(f"f gives outputs of shape {outputs.shape}, targets have {targets.shape}")
    return targets.reshape(outputs.shape[0], -1).astype(outputs.dtype)


def checked_eps(eps: int | float | Array) -> int | float | Array:
    """`eps` itself; raises ValueError where it is no single number, or negative, or NaN."""
    if jnp.ndim(eps) > 0:
        raise ValueError(
            f"eps is one number, got an array of shape {jnp.shape(eps)}; several levels at once: "
            "tangent_constant_path, or vmap"
        )
    try:
        lowest = float(jnp.asarray(eps))
    except jax.errors.ConcretizationTypeError:
        return eps
    if not lowest >= 0:
        raise ValueError(f"eps must not be negative, got {lowest}")
    return eps


def _solve(kernel: Array, residual: Array, eps: int | float | Array) -> _Secular:
    rounding = jnp.finfo(kernel.dtype).eps
    try:
        float(kernel[0, 0])
    except jax.errors.ConcretizationTypeError:
        return _secular(kernel, residual, jnp.asarray(eps, kernel.dtype), rounding)
    with jax.enable_x64(True):
        solved = _secular(
            jnp.asarray(kernel, jnp.float64),
            jnp.asarray(residual, jnp.float64),
            jnp.asarray(eps, jnp.float64),
            jnp.asarray(rounding, jnp.float64),
        )
        # Outside of this context float64 arrays are truncated, with a warning, at their first use.
        return jax.tree.map(lambda array: array.astype(kernel.dtype), solved)


@jax.jit
def _secular(kernel: Array, residual: Array, eps: Array, rounding: Array) -> _Secular:
    w, v = jnp.linalg.eigh(kernel)
    return secular_solution(w, v, residual, eps, resolution(w, rounding))


def secular_solution(w: Array, v: Array, residual: Array, eps: Array, cutoff: Array) -> _Secular:
    """Minimise `||u||` subject to `||r + J u||^2 <= eps`, all in the eigenbasis of `K = J J^T`.

    `w` are the eigenvalues in any order, the columns of `v` their vectors; those of at most
    `cutoff` count as zero.
    """
    c = jnp.matmul(v.T, residual, precision="highest")
    seen = w > cutoff
    w_seen = jnp.where(seen, w, 1)
    squares = jnp.square(c)
    floor = jnp.sum(jnp.where(seen, 0, squares))
    total = jnp.sum(squares)
    # As with eigenvalues: a share of the loss that rounding alone can leave counts as none.
    rounding = cutoff / jnp.where(jnp.max(jnp.abs(w)) > 0, jnp.max(jnp.abs(w)), 1)
    floor = jnp.where(floor <= rounding * total, 0, floor)

    def misfit(nu):  # ||r + J u||^2 at mu = 1 / nu: decreasing from the loss to the floor
        return floor + jnp.sum(jnp.where(seen, squares / jnp.square(1 + nu * w_seen), 0))

    # 1 + nu w lies between 1 + nu w_min and 1 + nu w_max, which brackets the root.
    gap = jnp.where(eps > floor, eps - floor, 1)
    ratio = jnp.sqrt(jnp.maximum((total - floor) / gap, 1)) - 1
    w_min = jnp.min(jnp.where(seen, w, jnp.inf))
    tiny = jnp.finfo(w.dtype).tiny
    low = jnp.log(jnp.maximum(ratio / jnp.max(w_seen), tiny))
    high = jnp.log(jnp.maximum(ratio / w_min, tiny))

    def halve(_, bracket):
        low, high = bracket
        middle = (low + high) / 2
        above = misfit(jnp.exp(middle)) > eps
        return jnp.where(above, middle, low), jnp.where(above, high, middle)

    low, high = jax.lax.fori_loop(0, 100, halve, (low, high))
    nu = jnp.where(total <= eps, 0, jnp.exp(high))
    a = -jnp.where(seen, nu * c / (1 + nu * w_seen), 0)
    kappa = jnp.sqrt(jnp.sum(jnp.where(seen, w * jnp.square(a), 0)))
    # The floor itself is attained only in the limit mu = 0, by the pseudo-inverse.
    at_floor = (eps == floor) & (total > eps)
    limit = -jnp.where(seen, c / w_seen, 0)
    a = jnp.where(at_floor, limit, a)
    kappa = jnp.where(at_floor, jnp.sqrt(jnp.sum(jnp.where(seen, squares / w_seen, 0))), kappa)
    attainable = (eps >= floor) | (total <= eps)
    # An eigenvalue that is NaN is not seen, and would pass for an unattainable eps.
    undefined = jnp.isnan(total) | jnp.any(jnp.isnan(w))
    kappa = jnp.where(undefined, jnp.nan, jnp.where(attainable, kappa, jnp.inf))
    attained = jnp.where(at_floor, floor, misfit(nu))
    return _Secular(
        kappa=kappa,
        coefficients=jnp.where(attainable, jnp.matmul(v, a, precision="highest"), 0),
        multiplier=jnp.where(attainable, jnp.where(at_floor, 0, 1 / nu), jnp.nan),
        attained=jnp.where(attainable, attained, total),
        floor=floor,
    )
