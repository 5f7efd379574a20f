"""Which inputs a function uses: the average gradient outer product."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree


def average_gradient_outer_product(
    f: Callable[[PyTree, Array], Array], params: PyTree, x: Float[Array, "n d"]
) -> Float[Array, "d d"]:
    """`mean over samples of sum_c grad_x f_c grad_x f_c^T`: its diagonal ranks the inputs.

    `x`: `(n, d)`; `f(params, x)`: `(n, C)` or `(n,)`.

    Example:
        >>> import jax.numpy as jnp
        >>> f, w = (lambda w, x: x @ w), jnp.array([3.0, 0.0])
        >>> average_gradient_outer_product(f, w, jnp.ones((4, 2))).tolist()
        [[9.0, 0.0], [0.0, 0.0]]
    """

    def gradients(sample: Array) -> Array:
        return jax.jacrev(lambda s: f(params, s[None]).reshape(-1))(sample)

    rows = jax.vmap(gradients)(x)
    return jnp.einsum("ncd,nce->de", rows, rows) / x.shape[0]


def input_shares(
    f: Callable[[PyTree, Array], Array], params: PyTree, x: Float[Array, "n d"]
) -> Float[Array, " d"]:
    """Each input's share of the trace of the average gradient outer product; they sum to one.

    Example:
        >>> import jax.numpy as jnp
        >>> input_shares(lambda w, x: x @ w, jnp.array([3.0, 0.0]), jnp.ones((4, 2))).tolist()
        [1.0, 0.0]
    """
    diagonal = jnp.diagonal(average_gradient_outer_product(f, params, x))
    total = jnp.sum(diagonal)
    return diagonal / jnp.where(total > 0, total, 1)


class GradientOuterProduct(eqx.Module):
    """`average_gradient_outer_product` on fixed inputs as a probe of an online run.

    `probe(f, params)`: (d, d). `x`: (n, d) evaluation inputs.

    Example:
        >>> import jax.numpy as jnp
        >>> probe = GradientOuterProduct(jnp.ones((4, 2)))
        >>> probe(lambda w, x: x @ w, jnp.array([3.0, 0.0])).tolist()
        [[9.0, 0.0], [0.0, 0.0]]
    """

    x: Float[Array, "n d"] = eqx.field(converter=jnp.asarray)

    def __call__(self, f: Callable[[PyTree, Array], Array], params: PyTree) -> Float[Array, "d d"]:
        """The matrix."""
        return average_gradient_outer_product(f, params, self.x)
