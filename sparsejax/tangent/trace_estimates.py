"""Trace, Frobenius norm and log-determinant of the tangent kernel from random vectors."""

from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Key, PyTree
from matfree import stochtrace

from sparsejax.tangent.jacobian import Function, outputs_of
from sparsejax.tangent.krylov import kernel_products
from sparsejax.tangent.spectral_density import (
    Estimate,
    estimate,
    require_positive,
    spectral_density,
)


class TraceEstimates(NamedTuple):
    """`tr K` and `||K||_F^2 = tr K^2`, each with its standard error."""

    trace: Estimate
    frobenius_squared: Estimate


def trace_estimates(
    f: Function, params: PyTree, x: PyTree, key: Key[Array, ""], *, samples: int = 32
) -> TraceEstimates:
    """Trace and squared Frobenius norm of `K = J J^T / n`, from one product a random vector.

    Hutchinson's estimators with `samples` vectors of random signs drawn with `key`; unbiased.
    The trace itself is the mean over samples of `||J_n||^2`, which `ntk_diagonal` gives exactly
    where `n c` backward passes are affordable.

    Raises:
        ValueError: `samples` is not positive.

    Source: Hutchinson 1989; the integrands are matfree's.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> x = jnp.array([[2.0, 0.0], [0.0, 4.0]])
        >>> found = trace_estimates(lambda w, x: x @ w, jnp.zeros((2, 1)), x, jax.random.key(0))
        >>> round(float(found.trace.value), 6), round(float(found.frobenius_squared.value), 6)
        (10.0, 68.0)
    """
    require_positive("samples", samples)
    params, x = jax.tree.map(jnp.asarray, (params, x))
    outputs_of(f, params, x)
    return _traces(f, params, x, key, samples)


@eqx.filter_jit
def _traces(f, params, x, key, samples) -> TraceEstimates:
    products = kernel_products(f, params, x)
    trace = stochtrace.monte_carlo_trace()
    squares = stochtrace.monte_carlo_frobeniusnorm_squared()
    signs = stochtrace.sampler_signs(jnp.zeros(products.m, products.dtype), num=samples)(key)
    # One vector after the other: side by side, each would take the memory of a gradient.
    traces, norms = jax.lax.map(
        lambda v: (trace(products.kernel, v), squares(products.kernel, v)), signs
    )
    return TraceEstimates(estimate(traces), estimate(norms))


def log_determinant(
    f: Function,
    params: PyTree,
    x: PyTree,
    ridge: float | int | Array,
    key: Key[Array, ""],
    *,
    samples: int = 8,
    products: int = 32,
) -> Estimate:
    """`log det (K + ridge I)` of `K = J J^T / n`, by stochastic Lanczos quadrature.

    The standard error is that of the random vectors alone. The quadrature errs upwards, by what
    `products` too few leave; with as many as there are outputs it is exact. Eigenvalues that
    rounding makes negative count as zero.

    Raises:
        ValueError: `ridge`, `samples` or `products` are not positive.

    Source: Ubaru, Chen, Saad 2017.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> x, f = jnp.array([[2.0, 0.0], [0.0, 4.0]]), lambda w, x: x @ w
        >>> found = log_determinant(f, jnp.zeros((2, 1)), x, 1.0, jax.random.key(0))
        >>> round(float(found.value), 4)  # log 9 + log 3
        3.2958
    """
    require_positive("ridge", ridge)
    density = spectral_density(f, params, x, key, samples=samples, products=products)
    shift = jnp.asarray(ridge, density.nodes.dtype)
    mean = density.mean_of(lambda nodes: jnp.log(jnp.maximum(nodes, 0) + shift))
    return Estimate(mean.value * density.dimension, mean.standard_error * density.dimension)
