"""An ensemble of lifts of one module as a single lift: their disjoint union, block-diagonal."""

import dataclasses
from collections.abc import Sequence

import jax.numpy as jnp
import numpy as np

from sparsejax.graphs import PerceptronModule
from sparsejax.lifts.lift import Lift, Params, Wiring
from sparsejax.lifts.transposition import is_concrete
from sparsejax.lifts.wiring import DenseWiring, SparseWiring


def disjoint_union(lifts: Sequence[Lift]) -> Lift:
    """The lift whose vertices above each base vertex are those of all `lifts`, side by side.

    Inputs and constants are shared: all members see the same samples. Every other fibre is `m`
    times as large, member `j` its `j`-th part, and no edge joins two members. This holds for
    clamped vertices too: the module of the union is that of the members with outputs clamped to
    `m` vertices (`m` times as many as before), so that `apply` returns `(batch, m, *output)`, one
    row a member. One network of many vertices runs faster than many small ones, and faster than
    `vmap` over them. Where a member's activations alone fill the cache of a core, members that take
    turns (`jax.lax.map`) are the fastest: `benchmarks/ensemble.py`. `join_params` and
    `split_params` go between parameters.

    A union of lifts whose edges are whole holds their edges as a sparse wiring.

    Raises:
        ValueError: no lifts, or lifts of different modules or sizes.

    Example:
        >>> import jax, jax.numpy as jnp, sparsejax as sj
        >>> module = sj.graphs.mlp(inputs=3, hidden=2, outputs=1)
        >>> keys = jax.random.split(jax.random.key(0), 4)
        >>> lifts = [sj.random_sparse_lift(key, module, sizes=8, in_degree=2) for key in keys]
        >>> union = disjoint_union(lifts)
        >>> params = join_params(lifts, [lift.init(key) for lift, key in zip(lifts, keys)])
        >>> union.sizes["h1"], union.apply(params, jnp.ones((5, 3))).shape
        (32, (5, 4, 1))
    """
    first = _agreeing(lifts)
    module, members = first.module, len(lifts)
    wirings: dict[str, Wiring] = {
        edge.name: _union(
            [lift.wirings[edge.name] for lift in lifts], shared=edge.source in module.inputs
        )
        for edge in module.edges
    }
    sizes = {
        name: size if name in module.inputs else size * members
        for name, size in first.sizes.items()
    }
    mean = {
        name: sum(lift.in_degrees[name] for lift in lifts) / members for name in first.in_degrees
    }
    return Lift(
        wirings=wirings,
        module=_repeated(module, members),
        fibre_sizes=tuple(sizes.items()),
        expected_in_degrees=tuple(mean.items()),
    )


def join_params(lifts: Sequence[Lift], params: Sequence[Params]) -> Params:
    """Parameters of `disjoint_union(lifts)` from those of its members, in the same order.

    Raises:
        ValueError: not as many parameters as lifts.
    """
    first = _agreeing(lifts)
    if len(params) != len(lifts):
        raise ValueError(f"{len(lifts)} lifts, but parameters of {len(params)}")
    joined = {}
    for edge in first.module.edges:
        slots = _slots(lifts, edge.name)
        joined[edge.name] = jnp.concatenate(
            [_padded(member[edge.name], max(slots)) for member in params], axis=1
        )
    return joined


def split_params(lifts: Sequence[Lift], params: Params) -> list[Params]:
    """The members' own parameters, or gradients, from those of `disjoint_union(lifts)`."""
    members: list[Params] = [{} for _ in lifts]
    for edge in _agreeing(lifts).module.edges:
        slots = _slots(lifts, edge.name)
        for j, part in enumerate(jnp.split(params[edge.name], len(lifts), axis=1)):
            members[j][edge.name] = part[: slots[j]]
    return members


def _agreeing(lifts: Sequence[Lift]) -> Lift:
    if not lifts:
        raise ValueError("a disjoint union needs at least one lift")
    for number, lift in enumerate(lifts):
        if lift.module != lifts[0].module:
            raise ValueError(f"lift {number} is one of another module than lift 0")
        if lift.sizes != lifts[0].sizes:
            raise ValueError(
                f"lift {number} has sizes {lift.sizes}, lift 0 has {lifts[0].sizes}: give all "
                "members of a union one size"
            )
    return lifts[0]


def _repeated(module: PerceptronModule, members: int) -> PerceptronModule:
    """The module with room for all members at clamped vertices that are no inputs."""
    vertices = []
    for vertex in module.vertices:
        clamp = module.clamped(vertex.name)
        if vertex.name not in module.inputs and clamp is not None:
            vertex = dataclasses.replace(vertex, clamped=clamp * members)
        vertices.append(vertex)
    return dataclasses.replace(module, vertices=tuple(vertices))


def _slots(lifts: Sequence[Lift], edge: str) -> list[int]:
    return [lift.wirings[edge].slots for lift in lifts]


def _padded(x, rows: int, fill=0):
    """`x` with rows of `fill` appended."""
    if len(x) == rows:
        return x
    xp = np if isinstance(x, np.ndarray) else jnp
    return xp.concatenate([x, xp.full((rows - len(x), *x.shape[1:]), fill, x.dtype)])


def _union(wirings: Sequence[Wiring], shared: bool) -> Wiring:
    members, first = len(wirings), wirings[0]
    if all(isinstance(wiring, DenseWiring) for wiring in wirings) and (shared or members == 1):
        return DenseWiring(first.n_sources, first.n_targets * members)
    sparse = [_as_sparse(wiring) for wiring in wirings]
    n_a, n_b = first.n_sources, first.n_targets
    k = max(wiring.slots for wiring in sparse)
    q = max(len(wiring.successors) for wiring in sparse)
    rows, columns = (q * members, n_a) if shared else (q, n_a * members)
    # Outside a trace NumPy does it, without a compilation for every shape.
    concrete = all(is_concrete(wiring.predecessors) for wiring in sparse)
    xp = np if concrete else jnp
    parts: dict[str, list] = {name: [] for name in ("read", "held", "out", "out_held", "at")}
    for j, wiring in enumerate(sparse):
        present = wiring.present
        if present is None:
            present = xp.ones(wiring.predecessors.shape, bool)
        held, out_held = xp.asarray(present), xp.asarray(wiring.successors_present)
        read, out = xp.asarray(wiring.predecessors), xp.asarray(wiring.successors)
        at = xp.asarray(wiring.positions)
        offset = 0 if shared else j * n_a
        parts["read"].append(_padded(xp.where(held, read + offset, 0), k))
        parts["held"].append(_padded(held, k, False))
        slot, target = out // n_b, out % n_b
        moved = slot * (n_b * members) + target + j * n_b
        parts["out"].append(_padded(moved, q))
        parts["out_held"].append(_padded(out_held, q, False))
        if wiring.positions is None:
            continue
        at = xp.asarray(wiring.positions)
        row, source = at // n_a, at % n_a
        row, source = (row + j * q, source) if shared else (row, source + j * n_a)
        parts["at"].append(
            _padded(xp.where(held, row * columns + source, rows * columns), k, rows * columns)
        )
    axis = 0 if shared else 1
    held = xp.concatenate(parts["held"], axis=1)
    whole = all(wiring.present is None and wiring.slots == k for wiring in sparse)
    overflows = [wiring.overflow for wiring in sparse if wiring.overflow is not None]
    out_held = xp.concatenate(parts["out_held"], axis=axis)
    out = xp.where(out_held, xp.concatenate(parts["out"], axis=axis), k * n_b * members)
    return SparseWiring(
        _indices(xp.concatenate(parts["read"], axis=1)),
        None if whole else jnp.asarray(held),
        _indices(out),
        jnp.asarray(out_held),
        n_a if shared else n_a * members,
        _indices(xp.concatenate(parts["at"], axis=1)) if len(parts["at"]) == members else None,
        jnp.any(jnp.stack(overflows)) if overflows else None,
    )


def _indices(x):
    return jnp.asarray(x.astype(np.int32))


def _as_sparse(wiring: Wiring) -> SparseWiring:
    if isinstance(wiring, SparseWiring):
        return wiring
    n_a, n_b = wiring.n_sources, wiring.n_targets
    slots = np.arange(n_a * n_b, dtype=np.int32)
    entries = slots.reshape(n_a, n_b)
    return SparseWiring(
        predecessors=jnp.asarray(entries // n_b),
        present=None,
        successors=jnp.asarray(entries.T),
        successors_present=jnp.ones((n_b, n_a), bool),
        n_sources=n_a,
        positions=jnp.asarray(slots.reshape(n_b, n_a).T),
    )
