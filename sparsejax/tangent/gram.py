"""Inner products of Jacobian rows, for a symmetric kernel only those above the diagonal."""

import jax.numpy as jnp
from jaxtyping import Array, Float

# Rows of a symmetric kernel are multiplied in so many strips, each from the diagonal on: 9/16 of
# the products. Below so many samples one product is as fast.
STRIPS, STRIPS_FROM = 8, 128


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
    other = layout.replace("f", "g")
    if not pairs:
        subscripts = f"{layout},{other}->ndfg"
        return jnp.einsum(subscripts, left, left if right is None else right, precision="highest")
    subscripts = f"{layout},{other.replace('n', 'm')}->nmdfg"
    axis = layout.index("n")
    n = left.shape[axis]
    if right is not None or n < STRIPS_FROM:
        return jnp.einsum(subscripts, left, left if right is None else right, precision="highest")
    size = -(-n // STRIPS)
    whole = (slice(None),) * axis
    strips = []
    for start in range(0, n, size):
        strip = jnp.einsum(
            subscripts,
            left[*whole, start : start + size],
            left[*whole, start:],
            precision="highest",
        )
        strips.append(jnp.pad(strip, ((0, 0), (start, 0), (0, 0), (0, 0), (0, 0))))
    return jnp.concatenate(strips)
