"""Fibre sizes and in-degrees: what a user may ask of a lift, checked before any array exists."""

from collections.abc import Mapping

from sparsejax.graphs import Edge, PerceptronModule

Sizes = int | Mapping[str, int]
InDegrees = int | float | Mapping[str, int | float]


def fibre_sizes(module: PerceptronModule, sizes: Sizes) -> dict[str, int]:
    """Number of lifted vertices above each base vertex: `sizes` where free, the clamp elsewhere.

    Raises:
        ValueError: a size that is not a positive integer, an unknown or clamped vertex, or a
            duplicated vertex without a size.
    """
    duplicated = module.duplicated
    if isinstance(sizes, Mapping):
        for name in sizes:
            clamp = module.clamped(name)
            if clamp is not None and sizes[name] != clamp:
                raise ValueError(f"vertex {name!r} is clamped to {clamp}, sizes says {sizes[name]}")
        missing = [name for name in duplicated if name not in sizes]
        if missing:
            raise ValueError(f"sizes says nothing of vertex {missing[0]!r}")
        chosen = dict(sizes)
    else:
        chosen = dict.fromkeys(duplicated, sizes)
    for name, size in chosen.items():
        if isinstance(size, bool) or int(size) != size or size < 1:
            raise ValueError(f"vertex {name!r}: the size must be a positive integer, got {size}")
    return {
        name: int(chosen[name]) if module.clamped(name) is None else int(module.clamped(name) or 1)
        for name in module.order
    }


def sparse_in_degrees(
    module: PerceptronModule, sizes: Mapping[str, int], in_degree: InDegrees
) -> dict[str, float]:
    """The in-degree asked of each edge that is to be sparse; edges not named are whole.

    A number goes to every edge between several source vertices and a duplicated target: edges out
    of a vertex clamped to one and edges into a clamped vertex (the readout) stay whole. A mapping
    goes by edge name, or by target vertex for all such edges into it.

    Raises:
        ValueError: an in-degree that is not positive or exceeds the number of predecessors, or an
            unknown name; the message names the edge.
    """
    asked: dict[str, float] = {}
    if isinstance(in_degree, Mapping):
        edges = {edge.name: edge for edge in module.edges}
        vertices = {vertex.name for vertex in module.vertices}
        for name, value in in_degree.items():
            if name not in edges and name not in vertices:
                raise ValueError(
                    f"in_degree names {name!r}, which is neither an edge nor a vertex of the "
                    f"module; its edges are {', '.join(edges)}"
                )
            if name in vertices:
                for edge in module.in_edges(name):
                    if _can_be_sparse(module, sizes, edge):
                        asked.setdefault(edge.name, value)
        asked |= {name: value for name, value in in_degree.items() if name in edges}
        for edge in module.edges:
            if edge.name not in asked and _is_free(module, edge):
                raise ValueError(
                    f"in_degree says nothing of edge {edge.name!r}, which joins two duplicated "
                    f"vertices; give it {sizes[edge.source]} to have all its edges"
                )
    else:
        asked = {
            edge.name: in_degree
            for edge in module.edges
            if _can_be_sparse(module, sizes, edge) and module.clamped(edge.target) is None
        }
    for name, value in asked.items():
        available = sizes[module.edge(name).source]
        if not value > 0:
            raise ValueError(f"edge {name!r}: the in-degree must be positive, got {value}")
        if value > available:
            raise ValueError(
                f"edge {name!r}: in-degree {value} is above the number of predecessors, "
                f"{available}; ask for at most {available}"
            )
    return {name: float(value) for name, value in asked.items()}


def _can_be_sparse(module: PerceptronModule, sizes: Mapping[str, int], edge: Edge) -> bool:
    return sizes[edge.source] > 1 or module.clamped(edge.source) is None


def _is_free(module: PerceptronModule, edge: Edge) -> bool:
    return module.clamped(edge.source) is None and module.clamped(edge.target) is None
