"""Products of the tangent kernel with vectors, without the kernel."""

import equinox as eqx
import jax
from jaxtyping import Array, Float, PyTree

from sparsejax.tangent.jacobian import Function, outputs_of


def ntk_vector_product(
    f: Function,
    params: PyTree,
    x: PyTree,
    v: Float[Array, "m ..."],
    *,
    x2: PyTree | None = None,
) -> Float[Array, "n ..."]:
    """`J J^T v`: one backward and one forward derivative, in the memory of `f`'s own gradient.

    `v` has the shape of `f(params, x)`, and so has the result: it is the full kernel's product,
    `sum over m, d of K[n, m, c, d] v[m, d]`. With `x2` the kernel is that between the samples of
    `x` and those of `x2`, and `v` has the shape of `f(params, x2)`.

    Raises:
        ValueError: `v` does not have the shape of the outputs.

    Example:
        >>> import jax.numpy as jnp
        >>> x = jnp.array([[3.0, 4.0], [1.0, 0.0]])
        >>> ntk_vector_product(lambda w, x: x @ w, jnp.ones(2), x, jnp.array([1.0, 2.0])).tolist()
        [31.0, 5.0]
    """
    shape = outputs_of(f, params, x if x2 is None else x2).shape
    if v.shape != shape:
        raise ValueError(f"v has shape {v.shape}; expected that of the outputs, {shape}")
    return _product(f, params, x, v, x2)


@eqx.filter_jit
def _product(f, params, x, v, x2) -> Array:
    outputs, pullback = jax.vjp(lambda p: f(p, x if x2 is None else x2), params)
    (w,) = pullback(v.astype(outputs.dtype))
    return jax.jvp(lambda p: f(p, x), (params,), (w,))[1]
