"""Products over a sparse wiring that gather in every direction, differentiated to any order.

The derivative of a gather is a scatter, which is slow on CPU and not deterministic on GPU. Here
the derivative with respect to the sources' values is a gather too, over the transposed wiring.
JAX has one public primitive whose transpose is the caller's own and which still differentiates,
batches and transposes again: `jax.lax.custom_linear_solve`. A linear map A is its solve with the
block operator [[I, 0], [-A, I]], applied to one flat vector because the transpose rule wants the
whole right-hand side linear.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jax.custom_derivatives import SymbolicZero
from jaxtyping import Array, Float

from sparsejax.lifts.slot_kernels import rows, to_sources, to_targets, to_weights
from sparsejax.lifts.wiring import DenseWiring, SparseWiring


def _paired(
    forward: Callable[[Array], Array],
    transposed: Callable[[Array], Array],
    plain: Callable[[Array], Array],
    x: Array,
    out_shape: tuple[int, ...],
) -> Array:
    """`forward(x)`, linear, with `transposed` as its transpose.

    `plain` is the same map. It is never evaluated: it is what JAX differentiates with respect to
    the arrays that the map closes over, and transposes first where the map was transposed.
    """
    size = x.size

    def split(b):
        return b[:size].reshape(x.shape), b[size:].reshape(out_shape)

    def join(x, z):
        return jnp.concatenate([x.ravel(), z.ravel()])

    def operator(b):
        x, z = split(b)
        return join(x, z - plain(x))

    def solve(_, b):
        x, z = split(b)
        return join(x, z + forward(x))

    def transpose_solve(_, b):
        x, z = split(b)
        return join(x + transposed(z), z)

    b = jnp.pad(x.ravel(), (0, math.prod(out_shape)))
    return jax.lax.custom_linear_solve(operator, b, solve, transpose_solve)[size:].reshape(
        out_shape
    )


def _entries(x, places):
    """Entries of `x` at flat places, zero at places past the end."""
    return x.ravel().at[places].get(mode="fill", fill_value=0, unique_indices=True)


def _by_source(w, successors, positions):
    """Weights in the order of the transposed wiring, zero in padding."""
    if positions is None:
        return _entries(w, successors)

    def forward(w):
        return _entries(w, successors)

    return _paired(forward, lambda w_t: _entries(w_t, positions), forward, w, successors.shape)


def _plain(w, y, successors, positions):
    # Walks the out-edges, so that its transpose in w or y, and the derivative of that, gather:
    # in this order of the sum only the targets' values are indexed.
    w_t, targets = _by_source(w, successors, positions), successors % w.shape[1]

    def slot(z, edges):
        w_s, v = edges
        return z.at[v].add(w_s[:, None] * y, mode="promise_in_bounds"), None

    z = jnp.zeros((w.shape[1], y.shape[1]), y.dtype)
    return jax.lax.scan(slot, z, (w_t, targets))[0]


@jax.custom_jvp
def _product(w, y, predecessors, successors, positions):
    """Linear in `y` for JAX; `_product_in_weights` is the same function, linear in `w`."""
    return _paired(
        lambda y: to_targets(w, y, predecessors),
        lambda z: to_sources(w, z, successors),
        lambda y: _plain(w, y, successors, positions),
        y,
        (w.shape[1], y.shape[1]),
    )


@jax.custom_jvp
def _product_in_weights(w, y, predecessors, successors, positions):
    return _paired(
        lambda w: to_targets(w, y, predecessors),
        lambda z: to_weights(y, z, predecessors),
        lambda w: _plain(w, y, successors, positions),
        w,
        (w.shape[1], y.shape[1]),
    )


def _product_jvp(primals, tangents):
    w, y, *wires = primals
    w_dot, y_dot, *_ = tangents
    z = _product(w, y, *wires)
    z_dot = jnp.zeros_like(z)
    if not isinstance(y_dot, SymbolicZero):
        z_dot = _product(w, y_dot, *wires)
    if not isinstance(w_dot, SymbolicZero):
        z_dot = z_dot + _product_in_weights(w_dot, y, *wires)
    return z, z_dot


_product.defjvp(_product_jvp, symbolic_zeros=True)
_product_in_weights.defjvp(_product_jvp, symbolic_zeros=True)


def sparse_product(
    weights: Float[Array, "k n_b"],
    y: Float[Array, "n_a batch"],
    wiring: SparseWiring,
) -> Float[Array, "n_b batch"]:
    """Weighted sums over the in-edges: `z[v] = sum_s weights[s, v] y[predecessors[s, v]]`.

    Absent slots contribute nothing, whatever their weight, and get a zero gradient. Values and
    derivatives of every order in `y` are sums of gathers of contiguous rows. Composes with `jit`,
    `vmap` (over weights, values and wirings), `scan`, and forward and reverse mode in any order.

    Raises `ValueError` when shapes or dtypes disagree.

    ```python
    >>> import jax, jax.numpy as jnp
    >>> from sparsejax.lifts.wiring import SparseWiring
    >>> wiring = SparseWiring.from_predecessors(jnp.array([[0, 1], [2, 2]]), n_sources=3)
    >>> y = jnp.array([[1.0], [10.0], [100.0]])
    >>> sparse_product(jnp.array([[1.0, 2.0], [3.0, 4.0]]), y, wiring).tolist()
    [[301.0], [420.0]]

    ```
    """
    k, n_b = wiring.predecessors.shape
    if weights.shape != (k, n_b):
        raise ValueError(
            f"weights have shape {weights.shape}, the wiring has {k} slots at {n_b} targets"
        )
    if y.ndim != 2 or y.shape[0] != wiring.n_sources:
        raise ValueError(
            f"y has shape {y.shape}, expected ({wiring.n_sources}, batch): one row per source"
        )
    if weights.dtype != y.dtype:
        raise ValueError(f"weights are {weights.dtype} and y is {y.dtype}: give them one dtype")
    return _sparse_product(weights, y, wiring)


# Compiled by shape. Outside `jit`, custom_linear_solve would compile its closures at every call.
@jax.jit
def _sparse_product(weights, y, wiring):
    if wiring.present is not None:
        weights = jnp.where(wiring.present, weights, jnp.zeros((), weights.dtype))
    if len(weights) == 0 or wiring.successors.shape[0] == 0 or y.shape[1] == 0:
        return jnp.zeros((wiring.n_targets, y.shape[1]), y.dtype)
    wires = wiring.predecessors, wiring.successors, wiring.positions
    return _product(_poisoned(weights, wiring), y, *wires)


def _poisoned(x: Array, wiring: SparseWiring) -> Array:
    if wiring.overflow is None:
        return x
    return x * jnp.where(wiring.overflow, jnp.nan, 1.0).astype(x.dtype)


def _blank(x: Array, present: Array | None) -> Array:
    if present is None:
        return x
    return jnp.where(present.reshape(present.shape + (1,) * (x.ndim - present.ndim)), x, 0)


def _spread(y, predecessors, present):
    return _blank(rows(y, predecessors), present)


def _collect(x, successors, successors_present):
    flat = x.reshape(-1, *x.shape[2:])

    def slot(y, edges):
        places, held = edges
        return y + _blank(rows(flat, places), held), None

    # A padded entry points one past the last slot.
    places = jnp.where(successors_present, successors, 0)
    y = jnp.zeros((successors.shape[1], *x.shape[2:]), x.dtype)
    return jax.lax.scan(slot, y, (places, successors_present))[0]


def spread(
    y: Float[Array, "n_a ..."], wiring: SparseWiring | DenseWiring
) -> Float[Array, "k n_b ..."]:
    """What every slot reads: `x[s, v] = y[predecessors[s, v]]`, zero in absent slots.

    Its transpose is `collect`, by gathers; only indices are kept for it. Over a dense wiring, slot
    `s` reads source `s`. Raises `ValueError` when `y` does not have one row per source.

    ```python
    >>> import jax.numpy as jnp
    >>> from sparsejax.lifts.wiring import SparseWiring
    >>> wiring = SparseWiring.from_predecessors(jnp.array([[0, 1], [2, 2]]), n_sources=3)
    >>> spread(jnp.array([1.0, 2.0, 3.0]), wiring).tolist()
    [[1.0, 2.0], [3.0, 3.0]]

    ```
    """
    if y.ndim < 1 or y.shape[0] != wiring.n_sources:
        raise ValueError(f"y has shape {y.shape}, expected {wiring.n_sources} rows, one per source")
    if isinstance(wiring, DenseWiring):
        return jnp.broadcast_to(y[:, None], (y.shape[0], wiring.n_targets, *y.shape[1:]))
    out_shape = (*wiring.predecessors.shape, *y.shape[1:])
    if 0 in out_shape or wiring.successors.shape[0] == 0:
        return jnp.zeros(out_shape, y.dtype)

    def forward(y):
        return _spread(y, wiring.predecessors, wiring.present)

    def transposed(x):
        return _collect(x, wiring.successors, wiring.successors_present)

    return _paired(forward, transposed, forward, _poisoned(y, wiring), out_shape)


def collect(
    x: Float[Array, "k n_b ..."], wiring: SparseWiring | DenseWiring
) -> Float[Array, "n_a ..."]:
    """Sums of every source's out-edges: `y[u] = sum of x[s, v] over slots with predecessor u`.

    The transpose of `spread`, and the reverse. Raises `ValueError` when `x` does not start with
    the wiring's slots and targets.

    ```python
    >>> import jax.numpy as jnp
    >>> from sparsejax.lifts.wiring import SparseWiring
    >>> wiring = SparseWiring.from_predecessors(jnp.array([[0, 1], [2, 2]]), n_sources=3)
    >>> collect(jnp.array([[1.0, 2.0], [3.0, 4.0]]), wiring).tolist()
    [1.0, 2.0, 7.0]

    ```
    """
    if x.shape[:2] != (wiring.slots, wiring.n_targets):
        raise ValueError(
            f"x has shape {x.shape}, the wiring has {wiring.slots} slots at "
            f"{wiring.n_targets} targets"
        )
    if isinstance(wiring, DenseWiring):
        return jnp.sum(x, axis=1)
    out_shape = (wiring.n_sources, *x.shape[2:])
    if 0 in x.shape or wiring.successors.shape[0] == 0:
        return jnp.zeros(out_shape, x.dtype)

    def forward(x):
        return _collect(x, wiring.successors, wiring.successors_present)

    def transposed(y):
        return _spread(y, wiring.predecessors, wiring.present)

    return _paired(forward, transposed, forward, _poisoned(x, wiring), out_shape)
