"""Inner products of Jacobian rows, for a symmetric kernel only those above the diagonal."""

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

# Of a symmetric kernel's four quarters the one below the diagonal is left out. Smaller pieces would
# save more products, in products so narrow that each is slower by more than that. Below so many
# columns one product is as fast.
HALVED_FROM = 128


def gram(
    left: Float[Array, "..."],
    right: Float[Array, "..."] | None = None,
    *,
    layout: str = "rndtf",
    pairs: bool = True,
) -> Float[Array, "n m d f g"] | Float[Array, "n d f g"]:
    """`K[n, m, d, f, g] = sum over r, t of left[r, n, d, t, f] right[r, m, d, t, g]`.

    `r` is what the inner product runs over, `d` an output axis kept on its diagonal, `t` one that
    is traced. `layout` says where the axes are. Without `right` it is `left`, and whole blocks
    below the diagonal of samples are left at zero: the caller mirrors them. `pairs=False` keeps
    only equal samples.
    """
    if not pairs:
        subscripts = f"{layout},{layout.replace('f', 'g')}->ndfg"
        return jnp.einsum(subscripts, left, left if right is None else right, precision="highest")
    n, d, f = (left.shape[layout.index(axis)] for axis in "ndf")
    m = n if right is None else right.shape[layout.index("n")]
    rows = _matrices(left, layout)
    columns = rows if right is None else _matrices(right, layout)
    if not layout.startswith("r"):
        rows, columns = jnp.swapaxes(rows, 1, 2), jnp.swapaxes(columns, 1, 2)
    halved = right is None and n > 1 and n * f >= HALVED_FROM

    def kernel(a, b):
        return _upper(a, n // 2 * f) if halved else _product(a, b)

    # A batch of one matrix is not left to the batched product.
    found = kernel(rows[0], columns[0])[None] if d == 1 else jax.vmap(kernel)(rows, columns)
    return jnp.transpose(found.reshape(d, n, f, m, f), (1, 3, 0, 2, 4))


def _matrices(array: Float[Array, "..."], layout: str) -> Float[Array, "d _ _"]:
    """One axis that is summed over, one of samples and kept outputs, in the order of `layout`.

    The same product over axes of length one took 1.6 times as long as that of two matrices.
    """
    order = "drtnf" if layout.startswith("r") else "dnftr"
    array = jnp.transpose(array, [layout.index(axis) for axis in order])
    d, a, b, c, e = array.shape
    return array.reshape(d, a * b, c * e)


def _product(a: Float[Array, "r n"], b: Float[Array, "r m"]) -> Float[Array, "n m"]:
    return jnp.einsum("rn,rm->nm", a, b, precision="highest")


def _upper(a: Float[Array, "r n"], half: int) -> Float[Array, "n n"]:
    """`a^T a`, with zeros for the lower of the two blocks off the diagonal."""
    left, right = a[:, :half], a[:, half:]
    upper = jnp.concatenate([_product(left, left), _product(left, right)], axis=1)
    below = jnp.zeros((right.shape[1], half), a.dtype)
    lower = jnp.concatenate([below, _product(right, right)], axis=1)
    return jnp.concatenate([upper, lower])
