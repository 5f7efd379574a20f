"""The in-tree of a lifted vertex: all paths that end in it, as a lift of its own."""

import dataclasses
from typing import NamedTuple

import numpy as np

from sparsejax.graphs import PerceptronModule
from sparsejax.lifts.fibration import expand
from sparsejax.lifts.lift import Lift, Params
from sparsejax.lifts.weighted_edges import WeightedEdges, lifted_edges, weighted_lift


class Unrolled(NamedTuple):
    """An in-tree: the lift, its parameters, and its fibration onto the lift it was unrolled from.

    The root is the only vertex above the output of `lift.module`, so `lift.apply(params, x)` is
    its value. `vertex_map` gives, above each base vertex, what every vertex is a copy of.
    """

    lift: Lift
    params: Params
    vertex_map: dict[str, np.ndarray]


def unroll(
    lift: Lift,
    params: Params,
    vertex: tuple[str, int],
    *,
    max_depth: int | None = None,
    max_vertices: int = 100_000,
) -> Unrolled:
    """The in-tree of `vertex` (a base vertex and a number), which computes `y_v` exactly.

    One vertex for each path of duplicated vertices that ends in the root, with the weights of the
    edges it follows. Its module is the part of `lift.module` from which a path leads to the root,
    with the root as its one output. Vertices that are not duplicated (inputs, biases, any that
    are clamped) stay as they are: shared, with the whole of their fibre, since a fixed fibre
    cannot be copied. Where no path passes through some base vertex, one vertex above it is kept,
    with its in-tree, so that no fibre is empty; it feeds nothing.

    `max_depth` (longest path, in edges) and `max_vertices` limit the tree; nothing is cut off.

    Raises:
        ValueError: no such vertex, an input vertex, one that no fed input reaches, or a tree over
            the limits; the message says how deep or large it would be.

    Source: Robin, Scaman, Lelarge 2024.

    Example:
        >>> import jax, jax.numpy as jnp, sparsejax as sj
        >>> lift = sj.dense_lift(sj.graphs.mlp(inputs=3, hidden=3, outputs=1), sizes=2)
        >>> params, x = lift.init(jax.random.key(0)), jnp.ones((1, 3))
        >>> tree, weights, _ = unroll(lift, params, ("h3", 1))
        >>> tree.sizes["h1"], tree.sizes["h2"], tree.sizes["h3"]
        (4, 2, 1)
        >>> bool(jnp.allclose(tree.apply(weights, x), lift.activations(params, x)["h3"][:, 1]))
        True
    """
    root, number = vertex
    module = module_above(lift.module, root)
    if not 0 <= number < lift.sizes[root]:
        raise ValueError(f"vertex {root!r} has {lift.sizes[root]} lifted vertices, no {number}")
    depth = _depth(module, root)
    if max_depth is not None and depth > max_depth:
        raise ValueError(
            f"the in-tree of {root!r} {number} is {depth} edges deep, above max_depth={max_depth}"
        )
    held = {edge.name: lifted_edges(lift, edge.name) for edge in module.edges}
    total = sum(_tree_sizes(lift, module, vertex, held).values())
    if total > max_vertices:
        raise ValueError(
            f"the in-tree of {root!r} {number} would have {total:.4g} vertices, above "
            f"max_vertices={max_vertices}"
        )
    found: dict[str, list[np.ndarray]] = {name: [] for name in module.order}
    found[root] = [np.array([number])]
    vertex_map: dict[str, np.ndarray] = {}
    edges: dict[str, WeightedEdges] = {}
    for name in reversed(module.order):
        copies = np.concatenate(found[name]) if found[name] else np.zeros(0, np.int64)
        if name != root and _shared(module, name):
            copies = np.arange(lift.sizes[name])
        vertex_map[name] = copies if len(copies) else np.zeros(1, np.int64)
        for edge in module.in_edges(name):
            own = held[edge.name]
            bounds = own.starts(lift.sizes[name])
            targets, at = expand(bounds[vertex_map[name]], np.diff(bounds)[vertex_map[name]])
            if _shared(module, edge.source):
                sources = own.sources[at]
            else:
                offset = sum(map(len, found[edge.source]))
                sources = offset + np.arange(len(at))
                found[edge.source].append(own.sources[at])
            edges[edge.name] = WeightedEdges(sources, targets, own.weights(params[edge.name])[at])
    sizes = {name: len(copies) for name, copies in vertex_map.items()}
    tree, carried = weighted_lift(module, sizes, edges, lift.in_degrees)
    return Unrolled(tree, carried, vertex_map)


def module_above(module: PerceptronModule, root: str) -> PerceptronModule:
    """The part of a module from which a path leads to `root`, with `root` as its one output.

    Raises:
        UnknownVertexError: no such vertex.
        ValueError: `root` is an input, or no fed input reaches it.

    Example:
        >>> import sparsejax as sj
        >>> module_above(sj.graphs.mlp(inputs=2, hidden=2, outputs=1, bias=False), "h1").order
        ('x', 'h1')
    """
    module.vertex(root)
    if root in module.inputs:
        raise ValueError(f"vertex {root!r} is an input: its value is given, and nothing is above")
    kept = {root}
    for name in reversed(module.order):
        if any(edge.target in kept for edge in module.out_edges(name)):
            kept.add(name)
    if not kept & set(module.fed_inputs):
        raise ValueError(f"no input reaches vertex {root!r}, so it has no function of the input")
    vertices = tuple(
        dataclasses.replace(vertex, clamped=1 if vertex.name == root else vertex.clamped)
        for vertex in module.vertices
        if vertex.name in kept
    )
    # An output of the whole module on the way to the root is clamped there by its role.
    vertices = tuple(
        dataclasses.replace(vertex, clamped=module.clamped(vertex.name))
        if vertex.name in module.outputs and vertex.name != root
        else vertex
        for vertex in vertices
    )
    return PerceptronModule(
        vertices=vertices,
        edges=tuple(edge for edge in module.edges if edge.target in kept),
        inputs=tuple(name for name in module.inputs if name in kept),
        outputs=(root,),
    )


def _shared(module: PerceptronModule, name: str) -> bool:
    return module.clamped(name) is not None


def _depth(module: PerceptronModule, root: str) -> int:
    longest: dict[str, int] = {}
    for name in module.order:
        longest[name] = max((1 + longest[e.source] for e in module.in_edges(name)), default=0)
    return longest[root]


def _tree_sizes(lift, module, vertex, held) -> dict[str, float]:
    """How many vertices of the in-tree lie above each base vertex; nothing is built.

    Paths are counted in floating point, which dense lifts cannot overflow as integers would.
    """
    root, number = vertex
    paths = {name: np.zeros(lift.sizes[name]) for name in module.order}
    paths[root][number] = 1
    for name in reversed(module.order):
        if name != root and _shared(module, name):
            paths[name][:] = 1
        elif not paths[name].any():
            paths[name][0] = 1
        for edge in module.in_edges(name):
            own = held[edge.name]
            paths[edge.source] += np.bincount(
                own.sources, paths[name][own.targets], minlength=lift.sizes[edge.source]
            )
    return {name: float(count.sum()) for name, count in paths.items()}
