"""The transposed wiring: every source's out-edges, computed once from every target's in-edges."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import scipy.sparse
from jaxtyping import Array, Bool, Int


def is_concrete(x: Array) -> bool:
    """Whether shapes can depend on the value of `x`: not inside a trace."""
    try:
        np.asarray(x)
    except jax.errors.TracerArrayConversionError:
        return False
    return True


def transpose_wiring(
    predecessors: Int[Array | np.ndarray, "k n_b"],
    present: Bool[Array | np.ndarray, "k n_b"] | None,
    n_sources: int,
    capacity: int | None = None,
) -> tuple[Int[Array, "q n_a"], Bool[Array, "q n_a"], Bool[Array, ""]]:
    """The out-edges of every source, as flat slots of `predecessors`.

    `capacity` is the number of rows `q` of the result; `None` takes the greatest out-degree, and
    is for use outside a trace only: raises `ValueError` inside one. Returns `(successors,
    successors_present, overflow)`, see `SparseWiring`; `overflow` is true when some source has
    more than `capacity` out-edges, the last of which are then missing.

    ```python
    >>> import jax.numpy as jnp
    >>> successors, held, overflow = transpose_wiring(jnp.array([[0, 0], [1, 2]]), None, 3)
    >>> successors.tolist()
    [[0, 2, 3], [1, 4, 4]]

    ```
    """
    return transposed(predecessors, present, n_sources, capacity)[:3]


def transposed(predecessors, present, n_sources, capacity):
    """What `transpose_wiring` gives, and `SparseWiring.positions`."""
    if is_concrete(predecessors) and (present is None or is_concrete(present)):
        return _transposed_on_host(predecessors, present, n_sources, capacity)
    if predecessors.size == 0:
        empty = jnp.zeros((0, n_sources), jnp.int32)
        return empty, empty > 0, jnp.zeros((), bool), jnp.zeros(predecessors.shape, jnp.int32)
    if capacity is None:
        raise ValueError(
            "the shape of a transposed wiring depends on its edges: inside a trace, give "
            "transpose_wiring a capacity"
        )
    return _transposed_in_trace(predecessors, present, n_sources, capacity)


def _transposed_on_host(predecessors, present, n_sources, capacity):
    # NumPy throughout: on JAX arrays every new number of edges would compile anew.
    predecessors = np.asarray(predecessors)
    held = np.ones(predecessors.shape, bool) if present is None else np.asarray(present)
    edges = np.flatnonzero(held).astype(np.int32)
    sources = predecessors.reshape(-1)[edges]
    numbers = np.arange(len(edges), dtype=np.int32)
    # Rows of a sparse matrix: a stable counting sort by source.
    by_source = scipy.sparse.coo_array((edges, (sources, numbers)), (n_sources, len(edges)))
    order = by_source.tocsr().indices
    edges, sources = edges[order], sources[order]
    degrees = np.bincount(sources, minlength=n_sources)
    rank = numbers - np.repeat(np.cumsum(degrees) - degrees, degrees)
    rows = int(degrees.max(initial=0)) if capacity is None else capacity
    kept = rank < rows
    successors = np.full((rows, n_sources), predecessors.size, np.int32)
    successors[rank[kept], sources[kept]] = edges[kept]
    positions = np.full(predecessors.size, rows * n_sources, np.int32)
    positions[edges] = rank * n_sources + sources
    return (
        jnp.asarray(successors),
        jnp.asarray(successors < predecessors.size),
        jnp.asarray(not kept.all()),
        jnp.asarray(positions.reshape(predecessors.shape)),
    )


@functools.partial(jax.jit, static_argnames=("n_sources", "capacity"))
def _transposed_in_trace(predecessors, present, n_sources, capacity):
    flat = predecessors.ravel()
    if present is not None:
        flat = jnp.where(present.ravel(), flat, n_sources)
    size = flat.shape[0]
    order = jnp.argsort(flat, stable=True).astype(jnp.int32)
    ordered = flat[order]
    bounds = jnp.searchsorted(ordered, jnp.arange(n_sources + 1, dtype=flat.dtype))
    bounds = bounds.astype(jnp.int32)
    starts, degrees = bounds[:-1], bounds[1:] - bounds[:-1]
    rank = jnp.arange(capacity, dtype=jnp.int32)[:, None]
    held = rank < degrees[None, :]
    places = starts[None, :] + rank
    successors = order.at[jnp.where(held, places, size)].get(mode="fill", fill_value=size)
    rank = jnp.arange(size, dtype=jnp.int32) - bounds[ordered]
    positions = jnp.where(ordered < n_sources, rank * n_sources + ordered, capacity * n_sources)
    positions = jnp.zeros(size, jnp.int32).at[order].set(positions, unique_indices=True)
    overflow = jnp.max(degrees, initial=0) > capacity
    return successors, held, overflow, positions.reshape(predecessors.shape)
