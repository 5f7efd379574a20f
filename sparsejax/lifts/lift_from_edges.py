"""A lift from a user's own edge lists."""

from collections.abc import Mapping

import numpy as np
from jaxtyping import Int

from sparsejax.graphs import PerceptronModule
from sparsejax.lifts.construction import Sizes, fibre_sizes
from sparsejax.lifts.lift import Lift, LiftError, Wiring
from sparsejax.lifts.wiring import DenseWiring, SparseWiring


def lift_from_edges(
    module: PerceptronModule,
    sizes: Sizes,
    edges: Mapping[str, Int[np.ndarray, "edges 2"]],
) -> Lift:
    """The lift with exactly the given edges `(source, target)` over each named base edge.

    Base edges that are not named keep all their possible edges. The result is validated.

    Raises:
        ValueError: sizes out of range or an unknown edge name.
        LiftError: an edge out of range or listed twice, or no integer array of shape (edges, 2).

    Example:
        >>> import numpy as np, sparsejax as sj
        >>> module = sj.graphs.mlp(inputs=2, hidden=2, outputs=1)
        >>> lift = lift_from_edges(module, 3, {"h1->h2": np.array([[0, 0], [2, 0], [1, 2]])})
        >>> lift.edges("h1->h2").tolist()
        [[0, 0], [2, 0], [1, 2]]
    """
    chosen = fibre_sizes(module, sizes)
    wirings: dict[str, Wiring] = {}
    degrees: list[tuple[str, float]] = []
    for name in edges:
        module.edge(name)
    for edge in module.edges:
        n_a, n_b = chosen[edge.source], chosen[edge.target]
        if edge.name not in edges:
            wirings[edge.name] = DenseWiring(n_sources=n_a, n_targets=n_b)
            degrees.append((edge.name, float(n_a)))
            continue
        pairs = _pairs(edge.name, edges[edge.name])
        wirings[edge.name] = _wiring(edge.name, pairs, n_a, n_b)
        degrees.append((edge.name, len(pairs) / n_b))
    lift = Lift(
        wirings=wirings,
        module=module,
        fibre_sizes=tuple(chosen.items()),
        expected_in_degrees=tuple(degrees),
    )
    lift.validate()
    return lift


def _pairs(name: str, edges: np.ndarray) -> Int[np.ndarray, "edges 2"]:
    pairs = np.asarray(edges)
    if pairs.size == 0:
        return np.zeros((0, 2), np.int64)
    if pairs.ndim != 2 or pairs.shape[1] != 2 or not np.issubdtype(pairs.dtype, np.integer):
        raise LiftError(
            f"edge {name!r}: expected integers of shape (edges, 2), "
            f"got {pairs.dtype} of shape {pairs.shape}"
        )
    return pairs


def _wiring(name: str, pairs: Int[np.ndarray, "edges 2"], n_a: int, n_b: int) -> SparseWiring:
    for column, (end, size) in enumerate((("source", n_a), ("target", n_b))):
        outside = (pairs[:, column] < 0) | (pairs[:, column] >= size)
        if outside.any():
            source, target = pairs[int(np.argmax(outside))]
            raise LiftError(
                f"edge {name!r}: {source} -> {target} leaves the {size} vertices of the {end}"
            )
    pairs = pairs[np.lexsort((pairs[:, 0], pairs[:, 1]))]
    twice = (pairs[1:] == pairs[:-1]).all(axis=1)
    if twice.any():
        source, target = pairs[int(np.argmax(twice))]
        raise LiftError(f"edge {name!r}: the edge {source} -> {target} occurs twice")
    degrees = np.bincount(pairs[:, 1], minlength=n_b)
    slots = int(degrees.max(initial=0))
    slot = np.arange(len(pairs)) - np.repeat(np.cumsum(degrees) - degrees, degrees)
    predecessors = np.zeros((slots, n_b), np.int32)
    present = np.zeros((slots, n_b), bool)
    predecessors[slot, pairs[:, 1]] = pairs[:, 0]
    present[slot, pairs[:, 1]] = True
    return SparseWiring.from_predecessors(predecessors, n_a, present)
