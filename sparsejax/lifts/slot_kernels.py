"""The three sums over the edges of a sparse wiring, as loops over slots that gather whole rows.

The trilinear form `sum over edges (u, v) of w[u, v] y[u] z[v]` is a map to each of its arguments:
`to_targets`, `to_sources`, `to_weights`. What their shape owes to XLA's CPU compiler:

- Gathers sit inside a loop of at least two trips. Outside one, XLA fuses the elementwise producers
  of what is gathered (an activation, its derivative times a cotangent) into the gather and computes
  them once per slot instead of once per vertex.
- Several slots share one trip: their sum is one pass over the result, and the inner loop over the
  batch is long enough in instructions that LLVM vectorises it instead of unrolling it whole.
- Padded slots read row 0, which stays in cache: they cost far less than edges do.
- Sums start from zeros that were written as one long row: see `_zeros`.
"""

import jax
import jax.numpy as jnp
from jaxtyping import Array

# Slots that share one trip: more spill registers, fewer pass over the result more often.
SLOTS_A_TRIP = 8

# LLVM unrolls a short loop over the batch whole, and then vectorises over targets, badly. In this
# range of batches a few more instructions in its body keep it from that, and are the faster way.
HEAVIER_BODY = range(32, 64)


def rows(y: Array, indices: Array) -> Array:
    """Rows of `y` at indices known to be in range: no wrapping of negatives, no filling."""
    return y.at[indices].get(mode="promise_in_bounds", wrap_negative_indices=False)


def _trips(slots: Array, fill: int) -> Array:
    """Rows of `slots`, grouped by trip: at least two trips, none with more rows than allowed."""
    trips = max(2, -(-len(slots) // SLOTS_A_TRIP))
    width = -(-len(slots) // trips)
    missing = trips * width - len(slots)
    if missing:
        padding = jnp.full((missing, *slots.shape[1:]), fill, slots.dtype)
        slots = jnp.concatenate([slots, padding])
    return slots.reshape(trips, width, *slots.shape[1:])


def _zeros(rows: int, batch: int, dtype: jnp.dtype) -> Array:
    """Zeros to add to. Written as a matrix of short rows they are stored one number at a time."""
    # The barrier keeps the shape: without it the reshape is folded into the zeros. Safe here, as
    # nothing that produces a value is on either side of it.
    return jax.lax.optimization_barrier(jnp.zeros((rows * batch,), dtype)).reshape(rows, batch)


def to_targets(w: Array, y: Array, predecessors: Array) -> Array:
    """`z[v] = sum_s w[s, v] y[predecessors[s, v]]`, from `(k, n_b)` and `(n_a, batch)`."""
    if len(w) == 1:
        return w[0][:, None] * rows(y, predecessors[0])

    def trip(z, edges):
        weights, sources = edges
        for i in range(len(sources)):  # static slices: what iterating over rows makes fuses badly
            z = z + weights[i][:, None] * rows(y, sources[i])
        return z, None

    z = _zeros(w.shape[1], y.shape[1], y.dtype)
    return jax.lax.scan(trip, z, (_trips(w, 0), _trips(predecessors, 0)))[0]


def to_sources(w: Array, z: Array, successors: Array) -> Array:
    """`y[u] = sum over out-edges (s, v) of w[s, v] z[v]`, by flat slots `s n_b + v`."""
    targets = jnp.int32(w.shape[1])
    # A padded entry points one past the last slot.
    weights = jnp.concatenate([w.ravel(), jnp.zeros((1,), w.dtype)])

    def trip(y, slots):
        # Weight and target of a slot are looked up here, where the fused loop over the batch finds
        # them once a row: tables of them would be as large as the padded transposed wiring.
        for i in range(len(slots)):
            y = y + rows(weights, slots[i])[:, None] * rows(z, jax.lax.rem(slots[i], targets))
        return y, None

    y = _zeros(successors.shape[1], z.shape[1], z.dtype)
    if len(successors) == 1:
        return trip(y, successors)[0]
    return jax.lax.scan(trip, y, _trips(successors, w.size))[0]


def to_weights(y: Array, z: Array, predecessors: Array) -> Array:
    """`w[s, v] = sum over the batch of y[predecessors[s, v]] z[v]`."""
    batch = y.shape[1]
    ones = jnp.ones((batch,), y.dtype)
    factors = []
    if batch in HEAVIER_BODY and predecessors.size:
        # Ones, which no compiler can tell, because none knows that indices are not negative.
        zero = jnp.minimum(predecessors[0, 0], 0).astype(y.dtype)
        ones, *factors = (ones + i * zero for i in range(1, 4))

    def slot(_, sources):
        terms = rows(y, sources) * z
        for factor in factors:
            terms = terms * factor[None, :]
        # A product with a vector of ones: unlike a sum, XLA may add up its terms in any order, so
        # that the loop over the batch is vectorised; product and gather are fused into it.
        return None, jnp.dot(terms, ones, precision=jax.lax.Precision.HIGHEST)

    return jax.lax.scan(slot, None, predecessors)[1]
