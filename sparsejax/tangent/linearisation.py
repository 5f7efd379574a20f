"""The network's linearisation as products: residual, `J u` and `J^T y`, and never a Jacobian."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jaxtyping import Array, Float, PyTree

from sparsejax.tangent.jacobian import Function, outputs_of, sample_count


class Linearisation:
    """`u -> r + J u` in `L^2` of the samples: residual and Jacobian are divided by `sqrt(n)`.

    `residual` (m,) with `m = n c`; `push` gives `J u` for raveled parameters `u` (p,), `pull` gives
    `J^T y`. `products` counts both. Each costs a few evaluations of `f`, in time and memory.

    Raises:
        ValueError: samples or shapes disagree.

    Example:
        >>> import jax.numpy as jnp
        >>> x, y = jnp.array([[3.0, 4.0]]), jnp.array([1.0])
        >>> at_zero = Linearisation(lambda w, x: x @ w, jnp.zeros(2), x, y)
        >>> at_zero.residual.tolist(), at_zero.pull(jnp.array([1.0])).tolist(), at_zero.products
        ([-1.0], [3.0, 4.0], 1)
    """

    def __init__(self, f: Function, params: PyTree, x: PyTree, targets: Array | np.ndarray):
        self.f, self.params = f, params
        self.x, targets = jax.tree.map(jnp.asarray, x), jnp.asarray(targets)
        outputs = outputs_of(f, params, self.x)
        if targets.shape != outputs.shape and (*targets.shape, 1) != outputs.shape:
            raise ValueError(
                f"f gives outputs of shape {outputs.shape}, targets have {targets.shape}"
            )
        self.output_shape = outputs.shape
        theta, self.unravel = ravel_pytree(params)
        self.size, self.dtype = theta.size, theta.dtype
        self.residual = _residual(f, params, self.x, targets)
        self.products = 0

    def push(self, u: Float[Array, " p"]) -> Float[Array, " m"]:
        """`J u`."""
        self.products += 1
        return _push(self.f, self.params, self.x, u)

    def pull(self, y: Float[Array, " m"]) -> Float[Array, " p"]:
        """`J^T y`."""
        self.products += 1
        return _pull(self.f, self.params, self.x, y)


@eqx.filter_jit
def _residual(f, params, x, targets):
    outputs = f(params, x)
    residual = (outputs - targets.reshape(outputs.shape).astype(outputs.dtype)).reshape(-1)
    return residual / _root(x, outputs)


@eqx.filter_jit
def _push(f, params, x, u):
    _, unravel = ravel_pytree(params)
    _, pushed = jax.jvp(lambda p: f(p, x), (params,), (unravel(u),))
    return pushed.reshape(-1) / _root(x, pushed)


@eqx.filter_jit
def _pull(f, params, x, y):
    outputs, pullback = jax.vjp(lambda p: f(p, x), params)
    y = (y / _root(x, y)).astype(outputs.dtype)
    return ravel_pytree(pullback(y.reshape(outputs.shape))[0])[0]


def _root(x: PyTree, like: Array) -> Array:
    return jnp.sqrt(jnp.asarray(sample_count(x), like.dtype))
