"""The edges over one base edge: which lifted sources each lifted target reads.

Wirings are stored slot-major: row `s` of `predecessors` is the `s`-th in-edge of every target, so
that a product over the wiring is a short scan of gathers of contiguous rows.
"""

from __future__ import annotations

import equinox as eqx
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Int

from sparsejax.lifts.transposition import is_concrete, transposed


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
    >>> from sparsejax.lifts.sampling import sample_regular
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
        successors, held, overflow, positions = transposed(
            predecessors, present, n_sources, capacity
        )
        overflow = overflow if crowded is None else overflow | crowded
        if is_concrete(overflow):
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
