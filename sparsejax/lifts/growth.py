"""Larger lifts that contain smaller ones, with the function kept."""

from collections.abc import Mapping
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Key

from sparsejax.lifts.construction import Sizes, fibre_sizes
from sparsejax.lifts.lift import Lift, LiftError, Params
from sparsejax.lifts.weighted_edges import (
    LiftedEdges,
    WeightedEdges,
    from_weights,
    lifted_edges,
    weighted_lift,
)


def embed(
    small: Lift,
    big: Lift,
    params: Params,
    *,
    background: Params | None = None,
    vertex_map: Mapping[str, np.ndarray] | None = None,
    fresh: bool = False,
) -> Params:
    """The parameters with which `big` computes what `small` does with `params`.

    `vertex_map` says, for each base vertex, where every vertex of `small` stands in `big`; without
    it vertex i is vertex i. Edges of `small` keep their weights. Other edges into its vertices get
    weight zero: that is all it takes. Edges into the other vertices take their weights from
    `background` (parameters of `big`), or zero. With `fresh` new edges into old vertices take them
    from `background` too, and the function is not kept.

    Raises:
        ValueError: another module, parameters of another shape, a map that is not one to one, or
            an input that is not sent to itself.
        LiftError: an edge of `small` that `big` lacks.

    Source: Robin, Scaman, Lelarge 2024.

    Example:
        >>> import jax, jax.numpy as jnp, sparsejax as sj
        >>> module = sj.graphs.mlp(inputs=3, hidden=2, outputs=1)
        >>> small, big = sj.dense_lift(module, 4), sj.dense_lift(module, 6)
        >>> params, x = small.init(jax.random.key(0)), jnp.ones((1, 3))
        >>> wide = embed(small, big, params, background=big.init(jax.random.key(1)))
        >>> bool(jnp.allclose(big.apply(wide, x), small.apply(params, x)))
        True
    """
    if small.module != big.module:
        raise ValueError("the two lifts are of different modules")
    if fresh and background is None:
        raise ValueError("fresh weights come from background, which is not given")
    places = _places(small, big, vertex_map)
    weights = {}
    for edge in small.module.edges:
        n_a = big.sizes[edge.source]
        old, new = lifted_edges(small, edge.name), lifted_edges(big, edge.name)
        shape = (small.wirings[edge.name].slots, small.sizes[edge.target])
        if np.shape(params[edge.name])[:2] != shape:
            raise ValueError(
                f"params of edge {edge.name!r}: expected {shape} slots and targets, "
                f"got {np.shape(params[edge.name])[:2]}"
            )
        sources, targets = places[edge.source][old.sources], places[edge.target][old.targets]
        there, wanted = new.targets * n_a + new.sources, targets * n_a + sources
        at = np.minimum(np.searchsorted(there, wanted), max(len(there) - 1, 0))
        found = there[at] == wanted if len(there) else np.zeros(len(wanted), bool)
        if not found.all():
            missing = int(np.argmin(found))
            raise LiftError(
                f"edge {edge.name!r}: the larger lift lacks {sources[missing]} -> "
                f"{targets[missing]}, the place of {old.sources[missing]} -> {old.targets[missing]}"
            )
        held = np.asarray(params[edge.name])
        values = np.zeros((len(there), *held.shape[2:]), held.dtype)
        if background is not None:
            into_new = ~np.isin(new.targets, places[edge.target])
            kept = np.ones_like(into_new) if fresh else into_new
            values[kept] = new.weights(background[edge.name])[kept]
        values[at] = old.weights(held)
        weights[edge.name] = values
    return from_weights(big, weights)


def grow(
    lift: Lift,
    key: Key[Array, ""],
    sizes: Sizes,
    params: Params | None = None,
    *,
    fresh: bool = False,
    **init: Any,
) -> tuple[Lift, Params]:
    """A lift with `sizes` vertices that contains `lift` as its first ones, and its parameters.

    New vertices get in-edges by the law of the old ones, from old and new vertices alike: exactly
    as many where all old vertices have the same in-degree over an edge, else each possible edge on
    its own, with the same expectation. Edges that are whole stay whole. So new edges into old
    vertices are those of whole edges, such as the readout. They start at zero, and the function is
    that of `lift` with `params`; with `fresh` they are initialised like all other new edges and
    the function changes. `init` goes to `Lift.init` (`gain`, `bias_scale`, `law`). Without
    `params`, those of `lift` are drawn first.

    Raises:
        ValueError: a size below that of `lift`, or an in-degree over the new number of sources.

    Source: Robin, Scaman, Lelarge 2024 (smaller lifts embed in larger ones).

    Example:
        >>> import jax, jax.numpy as jnp, sparsejax as sj
        >>> key, module = jax.random.key(0), sj.graphs.mlp(inputs=3, hidden=2, outputs=1)
        >>> lift = sj.random_sparse_lift(key, module, sizes=4, in_degree=2, law="regular")
        >>> params, x = lift.init(key), jnp.ones((1, 3))
        >>> larger, grown = grow(lift, key, 7, params)
        >>> len(larger.edges("h1->h2"))
        14
        >>> bool(jnp.allclose(larger.apply(grown, x), lift.apply(params, x)))
        True
    """
    module, chosen = lift.module, fibre_sizes(lift.module, sizes)
    for name, size in chosen.items():
        if size < lift.sizes[name]:
            raise ValueError(
                f"vertex {name!r}: the lift has {lift.sizes[name]} vertices and cannot shrink to "
                f"{size}"
            )
    old_key, new_key, wiring_key = jax.random.split(key, 3)
    params = lift.init(old_key, **init) if params is None else params
    rng = np.random.default_rng(np.asarray(jax.random.key_data(wiring_key)))
    edges, degrees = {}, {}
    for edge in module.edges:
        n_a, n_b = chosen[edge.source], chosen[edge.target]
        old = lifted_edges(lift, edge.name)
        old_a, old_b = lift.sizes[edge.source], lift.sizes[edge.target]
        degree = lift.in_degrees[edge.name]
        if len(old.sources) == old_a * old_b:
            targets, sources = np.divmod(np.arange(n_a * n_b), n_a)
            degree = float(n_a)
        else:
            fewest, count = _in_degree_range(old, old_b)
            added = (
                np.full(n_b - old_b, count)
                if fewest == count
                else rng.binomial(n_a, min(1.0, degree / n_a), n_b - old_b)
            )
            new = [rng.choice(n_a, int(k), replace=False) for k in added]
            sources = np.concatenate([old.sources, *new]).astype(np.int64)
            targets = np.concatenate([old.targets, np.repeat(np.arange(old_b, n_b), added)])
        weightless = np.zeros((len(sources), *module.weight_shape(edge)))
        edges[edge.name] = WeightedEdges(sources, targets, weightless)
        degrees[edge.name] = degree
    larger, _ = weighted_lift(module, chosen, edges, degrees)
    dtype = jnp.result_type(*params.values())
    drawn = larger.init(new_key, **({"dtype": dtype} | init))
    return larger, embed(lift, larger, params, background=drawn, fresh=fresh)


def _in_degree_range(old: LiftedEdges, n_b: int) -> tuple[int, int]:
    degrees = np.bincount(old.targets, minlength=n_b)
    return int(degrees.min()), int(degrees.max())


def _places(
    small: Lift, big: Lift, vertex_map: Mapping[str, np.ndarray] | None
) -> dict[str, np.ndarray]:
    places = {}
    for name, size in small.sizes.items():
        if size > big.sizes[name]:
            raise ValueError(f"vertex {name!r}: {size} vertices do not embed in {big.sizes[name]}")
        at = np.arange(size) if vertex_map is None else np.asarray(vertex_map[name])
        inside = at.shape == (size,) and ((at >= 0) & (at < big.sizes[name])).all()
        if not inside or len(np.unique(at)) < size:
            raise ValueError(
                f"vertex {name!r}: the map must send {size} vertices one to one into "
                f"{big.sizes[name]}"
            )
        if name in small.module.inputs and not np.array_equal(at, np.arange(big.sizes[name])):
            raise ValueError(f"input {name!r}: given values must be sent to themselves")
        places[name] = at
    return places
