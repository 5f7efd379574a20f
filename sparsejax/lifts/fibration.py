"""Fibrations between lifts: maps of vertices along which functions are carried unchanged."""

import dataclasses
from collections.abc import Mapping

import jax
import numpy as np
from jaxtyping import Array, Int, Key

from sparsejax.lifts.construction import Sizes, fibre_sizes
from sparsejax.lifts.lift import Lift, Params
from sparsejax.lifts.weighted_edges import (
    LiftedEdges,
    WeightedEdges,
    from_weights,
    lifted_edges,
    weighted_lift,
)

VertexMap = Mapping[str, np.ndarray]
"""For each base vertex, the image of every lifted vertex of the total space above it."""


@dataclasses.dataclass(frozen=True)
class FibrationReport:
    """Whether a vertex map is a fibration; true in a condition if it is.

    Where it is not: `edge` (or `vertex`) is the base edge (or vertex) at fault, `number` the lifted
    vertex of the total space, `reason` one sentence.

    Example:
        >>> bool(FibrationReport(reason="vertex 3 lacks an in-edge"))
        False
    """

    reason: str = ""
    vertex: str | None = None
    edge: str | None = None
    number: int | None = None

    def __bool__(self) -> bool:
        return not self.reason


def is_fibration(vertex_map: VertexMap, total: Lift, base: Lift) -> FibrationReport:
    """Whether `vertex_map` sends the in-edges of every vertex of `total` bijectively to `base`.

    A fibration `phi : G' -> G` over the base graph sends the edges into `v` one to one onto the
    edges into `phi(v)`, over each base edge. With weights carried along it (`pull_back`),
    `y_v = y_phi(v)` for every vertex and input. The module of `total` may be the part of that of
    `base` that lies above some vertex, as `unroll` makes it. Input vertices hold given values: each
    must be sent to itself.

    Source: Boldi, Vigna 2002 (fibrations of graphs); Robin, Scaman, Lelarge 2024.

    Example:
        >>> import numpy as np, sparsejax as sj
        >>> module = sj.graphs.mlp(inputs=1, hidden=1, outputs=1, bias=False)
        >>> one, two = sj.dense_lift(module, 1), sj.dense_lift(module, 2)
        >>> same = {"x": np.array([0]), "y": np.array([0])}
        >>> report = is_fibration(same | {"h1": np.array([0, 0])}, two, one)
        >>> bool(report), report.edge
        (False, 'h1->y')
    """
    for name in total.module.order:
        fault = _vertex_fault(name, vertex_map, total, base)
        if fault:
            return FibrationReport(fault, vertex=name)
    for edge in total.module.edges:
        found = _edge_fault(
            lifted_edges(total, edge.name),
            lifted_edges(base, edge.name),
            np.asarray(vertex_map[edge.source]),
            np.asarray(vertex_map[edge.target]),
            base.sizes[edge.source],
        )
        if found is not None:
            number, said = found
            return FibrationReport(
                f"edge {edge.name!r}, vertex {number}: {said}",
                vertex=edge.target,
                edge=edge.name,
                number=number,
            )
    return FibrationReport()


def pull_back(vertex_map: VertexMap, total: Lift, base: Lift, params: Params) -> Params:
    """The parameters of `total` that carry those of `base` along a fibration.

    Every edge of `total` takes the weight of its image, in the dtype of `params`.

    Raises:
        ValueError: the map is no fibration; the message says where.

    Example:
        >>> import jax, numpy as np, sparsejax as sj
        >>> lift = sj.dense_lift(sj.graphs.mlp(inputs=3, hidden=1, outputs=1), 4)
        >>> params = lift.init(jax.random.key(0))
        >>> same = {name: np.arange(size) for name, size in lift.sizes.items()}
        >>> bool((pull_back(same, lift, lift, params)["x->h1"] == params["x->h1"]).all())
        True
    """
    report = is_fibration(vertex_map, total, base)
    if not report:
        raise ValueError(f"no fibration: {report.reason}")
    carried = {}
    for edge in total.module.edges:
        above, below = lifted_edges(total, edge.name), lifted_edges(base, edge.name)
        n_a = base.sizes[edge.source]
        at = np.searchsorted(
            below.targets * n_a + below.sources,
            np.asarray(vertex_map[edge.target])[above.targets] * n_a
            + np.asarray(vertex_map[edge.source])[above.sources],
        )
        carried[edge.name] = below.weights(params[edge.name])[at]
    return from_weights(total, carried)


def random_fibration(
    key: Key[Array, ""], base: Lift, sizes: Sizes
) -> tuple[Lift, dict[str, np.ndarray]]:
    """A random lift with a fibration onto `base`: copies of its vertices, wired at random.

    Of the `sizes` vertices above a duplicated base vertex each is a copy of a random one of
    `base`, which all have at least one; each of a copy's in-edges comes from a random copy of the
    right source. Returns the lift and the vertex map.

    Raises:
        ValueError: a size below that of `base`.

    Example:
        >>> import jax, sparsejax as sj
        >>> base = sj.dense_lift(sj.graphs.mlp(inputs=3, hidden=2, outputs=1), 4)
        >>> total, phi = random_fibration(jax.random.key(0), base, 10)
        >>> bool(is_fibration(phi, total, base)), len(total.edges("h1->h2"))
        (True, 40)
    """
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    chosen = fibre_sizes(base.module, sizes)
    vertex_map = {}
    for name, size in chosen.items():
        least = base.sizes[name]
        if size < least:
            raise ValueError(f"vertex {name!r}: {size} copies of {least} vertices are too few")
        copies = np.concatenate([np.arange(least), rng.integers(least, size=size - least)])
        vertex_map[name] = copies if size == least else rng.permutation(copies)
    edges = {}
    for edge in base.module.edges:
        held = lifted_edges(base, edge.name)
        bounds = held.starts(base.sizes[edge.target])
        below = vertex_map[edge.target]
        counts = np.diff(bounds)[below]
        targets, at = expand(bounds[below], counts)
        sources = _any_copy(rng, vertex_map[edge.source], held.sources[at])
        weightless = np.zeros((len(at), *base.module.weight_shape(edge)))
        edges[edge.name] = WeightedEdges(sources, targets, weightless)
    return weighted_lift(base.module, chosen, edges, base.in_degrees)[0], vertex_map


def expand(
    starts: Int[np.ndarray, " n"], counts: Int[np.ndarray, " n"]
) -> tuple[Int[np.ndarray, " total"], Int[np.ndarray, " total"]]:
    """Ranges written out: row `i` gives `counts[i]` numbers from `starts[i]`, with `i` beside each.

    Example:
        >>> rows, numbers = expand(np.array([7, 0]), np.array([2, 1]))
        >>> rows.tolist(), numbers.tolist()
        ([0, 0, 1], [7, 8, 0])
    """
    rows = np.repeat(np.arange(len(counts)), counts)
    within = np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts, counts)
    return rows, starts[rows] + within


def _any_copy(rng, copies: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """For each wanted vertex of the base, a random one of its copies."""
    order = np.argsort(copies, kind="stable")
    starts = np.searchsorted(copies[order], wanted, side="left")
    ends = np.searchsorted(copies[order], wanted, side="right")
    return order[rng.integers(starts, ends)]


def _vertex_fault(name: str, vertex_map: VertexMap, total: Lift, base: Lift) -> str:
    above, below = total.module, base.module
    if name not in base.sizes:
        return f"the base has no vertex {name!r}"
    ours, theirs = (dataclasses.replace(m.vertex(name), clamped=None) for m in (above, below))
    if ours != theirs or above.in_edges(name) != below.in_edges(name):
        return f"vertex {name!r} or its in-edges differ between the two modules"
    if name not in vertex_map:
        return f"vertex {name!r}: the map says nothing of it"
    images, size = np.asarray(vertex_map[name]), total.sizes[name]
    if images.shape != (size,) or not np.issubdtype(images.dtype, np.integer):
        return (
            f"vertex {name!r}: the map should hold {size} integers, one for each vertex above it; "
            f"got {images.dtype} of shape {images.shape}"
        )
    outside = (images < 0) | (images >= base.sizes[name])
    if outside.any():
        at = int(np.argmax(outside))
        return (
            f"vertex {name!r}: number {at} is sent to {images[at]}, but the base has "
            f"{base.sizes[name]}"
        )
    if name in above.inputs and not np.array_equal(images, np.arange(base.sizes[name])):
        return f"input {name!r}: given values must be sent to themselves"
    return ""


def _edge_fault(
    above: LiftedEdges,
    below: LiftedEdges,
    source_map: np.ndarray,
    target_map: np.ndarray,
    n_a: int,
) -> tuple[int, str] | None:
    """The first vertex of the total space whose in-edges are not sent bijectively, and why."""
    edges_below = below.targets * n_a + below.sources
    images = target_map[above.targets] * n_a + source_map[above.sources]
    missing = ~np.isin(images, edges_below)
    if missing.any():
        at = int(np.argmax(missing))
        u, v = int(above.sources[at]), int(above.targets[at])
        return v, (
            f"its in-edge from {u} is sent to {source_map[u]} -> {target_map[v]}, which is no edge "
            "of the base"
        )
    order = np.lexsort((images, above.targets))
    same = (np.diff(images[order]) == 0) & (np.diff(above.targets[order]) == 0)
    if same.any():
        at = order[int(np.argmax(same))]
        u, v = int(above.sources[at]), int(above.targets[at])
        return v, f"two of its in-edges are sent to {source_map[u]} -> {target_map[v]}"
    have = np.bincount(above.targets, minlength=len(target_map))
    want = np.bincount(below.targets, minlength=int(target_map.max(initial=-1)) + 1)[target_map]
    if (have != want).any():
        v = int(np.argmax(have != want))
        return v, f"it has {have[v]} in-edges, its image {target_map[v]} has {want[v]}"
    return None
