"""Matrix weights over a sparse wiring as scalar weights between entries of sources and targets."""

import jax.numpy as jnp
from jaxtyping import Array, Float

from sparsejax.lifts.product_form import Form, wired_product
from sparsejax.lifts.wiring import SparseWiring

# Up to 8 x 8 entries a weight this is faster than gathering blocks for one batched product, and
# needs no more memory than its arguments; `python -m benchmarks.channels` measures it.
EXPANDED_AT_MOST = 64


def entry_wiring(wiring: SparseWiring, outputs: int, inputs: int) -> SparseWiring:
    """The wiring from all entries of the sources to all entries of the targets.

    Entry `i` of source `u` is source `u inputs + i`, entry `o` of target `v` is target
    `v outputs + o`, and slot `s` becomes the slots `s inputs + i`.

    ```python
    >>> import jax.numpy as jnp
    >>> wiring = SparseWiring.from_predecessors(jnp.array([[1, 0]]), n_sources=2)
    >>> entry_wiring(wiring, outputs=1, inputs=2).predecessors.tolist()
    [[2, 0], [3, 1]]

    ```
    """
    k, n_b = wiring.predecessors.shape
    q, n_a = wiring.successors.shape
    entry_in = jnp.arange(inputs, dtype=jnp.int32)
    entry_out = jnp.arange(outputs, dtype=jnp.int32)

    def widened(x, rows, columns):
        return jnp.broadcast_to(x[:, None, :, None], (x.shape[0], rows, x.shape[1], columns))

    predecessors = widened(wiring.predecessors * inputs, inputs, outputs)
    predecessors = predecessors + entry_in[None, :, None, None]
    present = None
    if wiring.present is not None:
        present = widened(wiring.present, inputs, outputs)
        predecessors = jnp.where(present, predecessors, 0)

    # An edge is at (slot s, target v) and at (row t, source u) of the transposed wiring.
    slot, target = wiring.successors // max(n_b, 1), wiring.successors % max(n_b, 1)
    s = slot[:, None, :, None] * inputs + entry_in[None, None, None, :]
    v = target[:, None, :, None] * outputs + entry_out[None, :, None, None]
    held = widened(wiring.successors_present, outputs, inputs)
    successors = jnp.where(held, s * (n_b * outputs) + v, k * inputs * n_b * outputs)
    positions = None
    if wiring.positions is not None:
        row, source = wiring.positions // max(n_a, 1), wiring.positions % max(n_a, 1)
        t = row[:, None, :, None] * outputs + entry_out[None, None, None, :]
        u = source[:, None, :, None] * inputs + entry_in[None, :, None, None]
        positions = jnp.where(
            widened(wiring.positions < q * n_a, inputs, outputs),
            t * (n_a * inputs) + u,
            q * outputs * n_a * inputs,
        ).reshape(k * inputs, n_b * outputs)
    return SparseWiring(
        predecessors.reshape(k * inputs, n_b * outputs),
        None if present is None else present.reshape(k * inputs, n_b * outputs),
        successors.reshape(q * outputs, n_a * inputs),
        held.reshape(q * outputs, n_a * inputs),
        n_a * inputs,
        positions,
        wiring.overflow,
    )


def entry_product(
    weights: Float[Array, "k n_b o i"],
    y: Float[Array, "n_a i batch"],
    wiring: SparseWiring,
    form: Form | None = None,
) -> Float[Array, "n_b o batch"]:
    """`z[v, o] = sum over slots s, entries i of weights[s, v, o, i] y[predecessors[s, v], i]`."""
    k, n_b, outputs, inputs = weights.shape
    flat = weights.transpose(0, 3, 1, 2).reshape(k * inputs, n_b * outputs)
    entries = y.reshape(y.shape[0] * inputs, y.shape[2])
    product = wired_product(flat, entries, entry_wiring(wiring, outputs, inputs), form)
    return product.reshape(n_b, outputs, y.shape[2])
