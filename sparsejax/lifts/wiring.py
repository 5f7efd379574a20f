"""The edges over one base edge: which lifted sources each lifted target reads.

Wirings are stored slot-major: row `s` of `predecessors` is the `s`-th in-edge of every target, so
that a product over the wiring is a short scan of gathers of contiguous rows.
"""

from __future__ import annotations

import functools
import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats
from jaxtyping import Array, Bool, Int, PRNGKeyArray

# A wiring sampled inside a trace is padded to a static capacity; this bounds the probability that
# one wiring does not fit (and is then poisoned). Half of it goes to each direction.
OVERFLOW_PROBABILITY = 1e-12


class SparseWiring(eqx.Module):
    """Sparse edges from `n_sources` to `n_targets` lifted vertices, at most `k` into each target.

    **Fields**, with `n_a` sources, `n_b` targets, at most `k` in-edges and `q` out-edges:

    - `predecessors` (k, n_b): the source in slot `s` of target `v`; 0 in a padded slot.
    - `present` (k, n_b): which slots hold an edge; `None` when all do (regular law).
    - `successors` (q, n_a): the transposed wiring. Entry `(t, u)` is the flat slot
      `s * n_b + v` of the `t`-th out-edge of source `u`; `k * n_b`, one past the last slot, in
      padding.
    - `successors_present` (q, n_a): which entries of `successors` hold an edge.
    - `n_sources`: static.
    - `positions` (k, n_b): the inverse of `successors`: slot `(s, v)` is its flat entry
      `positions[s, v]`; `q * n_a`, one past the last, in absent slots. Without it, derivatives
      beyond the first scatter weights.
    - `overflow` (): `None`, or whether a wiring sampled inside a trace had more edges at a vertex
      than its static capacity. Products over an overflown wiring are NaN, never silently wrong.

    Leaves are arrays: `jax.vmap` over wirings of equal shapes compiles once. Inside a vertex,
    edges are sorted by predecessor and padding comes last.

    ```python
    >>> import jax
    >>> wiring = sample_regular(jax.random.key(0), n_sources=8, n_targets=5, in_degree=3)
    >>> wiring.predecessors.shape, int(wiring.edge_count())
    ((3, 5), 15)

    ```
    """

    predecessors: Int[Array, "k n_b"]
    present: Bool[Array, "k n_b"] | None
    successors: Int[Array, "q n_a"]
    successors_present: Bool[Array, "q n_a"]
    n_sources: int = eqx.field(static=True)
    positions: Int[Array, "k n_b"] | None = None
    overflow: Bool[Array, ""] | None = None

    @classmethod
    def from_predecessors(
        cls,
        predecessors: Int[Array | np.ndarray, "k n_b"],
        n_sources: int,
        present: Bool[Array | np.ndarray, "k n_b"] | None = None,
    ) -> SparseWiring:
        """The wiring with these predecessors; the transposed wiring is computed here.

        Outside a trace only (the out-degree sets a shape); raises `ValueError` on a predecessor
        that is no source, or that occurs twice at one target.
        """
        held = np.asarray(predecessors)
        mask = np.ones(held.shape, bool) if present is None else np.asarray(present)
        outside = mask & ((held < 0) | (held >= n_sources))
        if outside.any():
            s, v = np.argwhere(outside)[0]
            raise ValueError(
                f"predecessors[{s}, {v}] = {held[s, v]}, but sources are 0..{n_sources - 1}"
            )
        ranked = np.sort(
            np.where(mask, held, np.arange(n_sources, n_sources + len(held))[:, None]), 0
        )
        twice = ranked[1:] == ranked[:-1]
        if twice.any():
            s, v = np.argwhere(twice)[0]
            raise ValueError(
                f"target {v} has source {ranked[s, v]} as a predecessor more than once"
            )
        predecessors = jnp.asarray(np.where(mask, held, 0).astype(np.int32))
        present = None if present is None else jnp.asarray(mask)
        return cls._transposed(predecessors, present, n_sources, None)

    @classmethod
    def _transposed(cls, predecessors, present, n_sources, capacity, crowded=None):
        """With the transposed wiring, at its exact size unless a capacity is given."""
        successors, held, overflow, positions = _transposed(
            predecessors, present, n_sources, capacity
        )
        overflow = overflow if crowded is None else overflow | crowded
        if _is_concrete(overflow):
            if overflow:
                raise ValueError(f"a source has more out-edges than the capacity, {capacity}")
            overflow = None
        return cls(predecessors, present, successors, held, n_sources, positions, overflow)

    @property
    def n_targets(self) -> int:
        """Number of lifted targets, `n_b`."""
        return self.predecessors.shape[-1]

    @property
    def slots(self) -> int:
        """Number of slots `k` of a target: its greatest possible in-degree."""
        return self.predecessors.shape[-2]

    def in_degrees(self) -> Int[Array, " n_b"]:
        """Number of edges into each target."""
        if self.present is None:
            return jnp.full((self.n_targets,), self.slots, jnp.int32)
        return jnp.sum(self.present, axis=0, dtype=jnp.int32)

    def out_degrees(self) -> Int[Array, " n_a"]:
        """Number of edges out of each source."""
        return jnp.sum(self.successors_present, axis=0, dtype=jnp.int32)

    def edge_count(self) -> Int[Array, ""]:
        """Number of edges."""
        return jnp.sum(self.in_degrees())


class DenseWiring(eqx.Module):
    """Every edge from `n_sources` to `n_targets` lifted vertices: slot `s` is source `s`."""

    n_sources: int = eqx.field(static=True)
    n_targets: int = eqx.field(static=True)

    @property
    def slots(self) -> int:
        """Number of slots of a target, one per source."""
        return self.n_sources

    def edge_count(self) -> Int[Array, ""]:
        """Number of edges."""
        return jnp.asarray(self.n_sources * self.n_targets, jnp.int32)


def _is_concrete(x: Array) -> bool:
    """Whether shapes can depend on the value of `x`: not inside a trace."""
    try:
        int(jnp.max(x, initial=0))
    except (jax.errors.ConcretizationTypeError, jax.errors.TracerIntegerConversionError):
        return False
    return True


def _tail_capacity(draws: int, p: float, count: int) -> int:
    """Least c such that none of `count` Binomial(draws, p) exceeds c but with small probability."""
    if p >= 1.0 or draws == 0:
        return draws
    # Not binom.isf, which inverts the cumulative law and so knows no tail below 1e-16.
    return _tail_quantile(draws, p, 0.5 * OVERFLOW_PROBABILITY / count)


@functools.lru_cache(maxsize=256)
def _tail_quantile(draws: int, p: float, tail: float) -> int:
    """Least c with P(Binomial(draws, p) > c) <= tail."""
    low, high = 0, draws
    while low < high:
        middle = (low + high) // 2
        if scipy.stats.binom.sf(middle, draws, p) <= tail:
            high = middle
        else:
            low = middle + 1
    return low


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
    return _transposed(predecessors, present, n_sources, capacity)[:3]


def _transposed(predecessors, present, n_sources, capacity):
    if _is_concrete(predecessors) and (present is None or _is_concrete(present)):
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
    slots, targets = np.nonzero(np.ones(predecessors.shape) if present is None else present)
    edges = slots * predecessors.shape[1] + targets
    sources = np.asarray(predecessors)[slots, targets]
    order = np.argsort(sources, kind="stable")
    edges, sources = edges[order], sources[order]
    degrees = np.bincount(sources, minlength=n_sources)
    rank = np.arange(len(edges)) - np.repeat(np.cumsum(degrees) - degrees, degrees)
    rows = int(degrees.max(initial=0)) if capacity is None else capacity
    kept = rank < rows
    successors = np.full((rows, n_sources), predecessors.size, np.int32)
    successors[rank[kept], sources[kept]] = edges[kept]
    positions = np.full(predecessors.size, rows * n_sources, np.int32)
    positions[edges] = rank * n_sources + sources
    listed = jnp.asarray(successors)
    overflow = jnp.asarray(len(edges) > kept.sum())
    return (
        listed,
        listed < predecessors.size,
        overflow,
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


def _below(key: PRNGKeyArray, bound: Int[Array, " n"]) -> Int[Array, " n"]:
    """Uniform integers in [0, bound)."""
    return jax.random.randint(key, bound.shape, jnp.zeros_like(bound), bound, jnp.int32)


def _distinct(key, n_sources, degrees, capacity):
    """Uniform random subsets of the sources, `degrees[v]` of them for target `v`, sorted.

    Floyd's algorithm, all targets at once. Step `i` draws from its own key, so that the sets do
    not depend on `capacity`. Rows beyond a target's degree hold `n_sources`.
    """

    def step(i, chosen):
        bound = jnp.maximum(n_sources - degrees + i, 0)
        drawn = _below(jax.random.fold_in(key, i), bound + 1)
        drawn = jnp.where(jnp.any(chosen == drawn[None, :], axis=0), bound, drawn)
        return chosen.at[i].set(jnp.where(i < degrees, drawn, n_sources))

    empty = jnp.full((capacity, degrees.shape[0]), n_sources, jnp.int32)
    if capacity == 0:
        return empty
    chosen = jax.lax.fori_loop(jnp.int32(0), jnp.int32(capacity), step, empty)
    return jnp.sort(chosen.T, axis=1).T


@functools.partial(jax.jit, static_argnames=("n_sources", "n_targets", "in_degree"))
def _regular_predecessors(key, n_sources, n_targets, in_degree):
    if in_degree == n_sources:
        sources = jnp.arange(n_sources, dtype=jnp.int32)[:, None]
        return jnp.broadcast_to(sources, (n_sources, n_targets))
    if 2 * in_degree <= n_sources:
        return _distinct(key, n_sources, jnp.full((n_targets,), in_degree, jnp.int32), in_degree)
    rows = jnp.broadcast_to(jnp.arange(n_sources, dtype=jnp.int32), (n_targets, n_sources))
    shuffled = jax.random.permutation(key, rows, axis=1, independent=True)
    return jnp.sort(shuffled[:, :in_degree], axis=1).T


@functools.lru_cache(maxsize=256)
def _cumulative_words(n_sources: int, p: float) -> tuple[np.ndarray, np.ndarray]:
    """The cumulative law of Binomial(n_sources, p) as high and low words of 64-bit fractions.

    Two 32-bit words keep the far tail exact without 64-bit types on the device.
    """
    last = n_sources if p >= 1.0 else _tail_quantile(n_sources, p, 1e-18)
    cumulative = scipy.stats.binom.cdf(np.arange(min(last, n_sources)), n_sources, p)
    high = np.floor(cumulative * 2.0**32)
    low = np.floor((cumulative * 2.0**32 - high) * 2.0**32)
    one = high >= 2.0**32
    high[one], low[one] = 2.0**32 - 1, 2.0**32 - 1
    return high.astype(np.uint32), low.astype(np.uint32)


@functools.partial(jax.jit, static_argnames=("n_sources", "n_targets", "p"))
def _binomial_degrees(key, n_sources, n_targets, p):
    high, low = _cumulative_words(n_sources, p)
    words = jax.random.bits(key, (2, n_targets), jnp.uint32)

    def count(degrees, threshold):
        above = (words[0] > threshold[0]) | (
            (words[0] == threshold[0]) & (words[1] >= threshold[1])
        )
        return degrees + above.astype(jnp.int32), None

    start = jnp.zeros((n_targets,), jnp.int32)
    return jax.lax.scan(count, start, (jnp.asarray(high), jnp.asarray(low)))[0]


@functools.partial(jax.jit, static_argnames=("n_sources", "capacity"))
def _binomial_predecessors(key, degrees, n_sources, capacity):
    chosen = _distinct(key, n_sources, degrees, capacity)
    present = chosen < n_sources
    return jnp.where(present, chosen, 0), present


def _check_sizes(n_sources: int, n_targets: int) -> None:
    if n_sources < 1 or n_targets < 1:
        raise ValueError(
            f"a wiring needs at least one source and one target, got {n_sources} and {n_targets}"
        )
    if n_sources >= 2**31 - 1:
        raise ValueError(f"{n_sources} sources do not fit 32-bit indices")


def sample_regular(
    key: PRNGKeyArray,
    n_sources: int,
    n_targets: int,
    in_degree: int,
    capacity: int | None = None,
) -> SparseWiring:
    """Edges by the regular law: `min(in_degree, n_sources)` distinct uniform predecessors each.

    `capacity` fixes the number of rows of the transposed wiring. Without it, a concrete key gives
    the greatest out-degree; inside a trace, where shapes cannot depend on the draw, it is a
    quantile of the out-degree, Binomial(n_targets, in_degree / n_sources), that is exceeded
    anywhere in the wiring with probability below 1e-12; a wiring that exceeds it is poisoned (see
    `SparseWiring.overflow`). The same key gives the same edges either way; only padding differs.

    Raises `ValueError` on sizes below one, a negative in-degree, or, outside a trace, a source
    with more out-edges than a given `capacity`.

    ```python
    >>> import jax
    >>> wiring = sample_regular(jax.random.key(0), 100, 50, in_degree=4)
    >>> wiring.in_degrees().min(), wiring.in_degrees().max()
    (Array(4, dtype=int32), Array(4, dtype=int32))

    ```
    """
    _check_sizes(n_sources, n_targets)
    if in_degree < 0 or int(in_degree) != in_degree:
        raise ValueError(f"in_degree must be a whole number of at least 0, got {in_degree}")
    in_degree = min(int(in_degree), n_sources)
    predecessors = _regular_predecessors(key, n_sources, n_targets, in_degree)
    if capacity is None and not _is_concrete(predecessors):
        capacity = _tail_capacity(n_targets, in_degree / n_sources, n_sources)
    return SparseWiring._transposed(predecessors, None, n_sources, capacity)


def sample_binomial(
    key: PRNGKeyArray, n_sources: int, n_targets: int, in_degree: float | int
) -> SparseWiring:
    """Edges by the binomial law: each present independently, `p = min(1, in_degree / n_sources)`.

    In-degrees are Binomial(n_sources, p), drawn by inverting the exact cumulative law, and
    predecessors are then uniform subsets of that size. A concrete key gives padding to the
    greatest in-degree and out-degree of the draw. Inside a trace both are quantiles that the whole
    wiring exceeds with probability below 1e-12, and a wiring that exceeds them is poisoned (see
    `SparseWiring.overflow`). The same key gives the same edges either way.

    Raises `ValueError` on sizes below one or a negative in-degree.

    ```python
    >>> import jax
    >>> wiring = sample_binomial(jax.random.key(0), 1000, 1000, in_degree=4.0)
    >>> abs(float(wiring.edge_count()) / 1000 - 4.0) < 0.3
    True

    ```
    """
    _check_sizes(n_sources, n_targets)
    if not (in_degree >= 0 and math.isfinite(in_degree)):
        raise ValueError(f"in_degree must be finite and at least 0, got {in_degree}")
    p = min(1.0, float(in_degree) / n_sources)
    degree_key, source_key = jax.random.split(key)
    degrees = _binomial_degrees(degree_key, n_sources, n_targets, p)
    width = _tail_capacity(n_sources, p, n_targets)
    concrete = _is_concrete(degrees)
    if concrete:
        largest = int(jnp.max(degrees))
        width = min(n_sources, -8 * (-largest // 8))
    predecessors, present = _binomial_predecessors(source_key, degrees, n_sources, width)
    if concrete:
        # Drawn at a rounded width and cut afterwards, so that few keys compile anew.
        predecessors, present = predecessors[:largest], present[:largest]
        return SparseWiring._transposed(predecessors, present, n_sources, None)
    crowded = jnp.max(degrees) > width
    capacity = _tail_capacity(n_targets, p, n_sources)
    return SparseWiring._transposed(predecessors, present, n_sources, capacity, crowded)
