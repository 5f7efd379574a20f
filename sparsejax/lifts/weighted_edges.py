"""A lift as a graph on the host: its edges with their weights, out of the wirings and back."""

from collections.abc import Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int

from sparsejax.graphs import PerceptronModule
from sparsejax.lifts.construction import fibre_sizes
from sparsejax.lifts.lift import Lift, Params
from sparsejax.lifts.lift_from_edges import lift_from_edges
from sparsejax.lifts.wiring import DenseWiring


class LiftedEdges(NamedTuple):
    """The lifted edges over one base edge, sorted by target, then source.

    `slots[i]` is where the weight of edge `sources[i] -> targets[i]` stands in the parameters:
    `params[edge][slots[i], targets[i]]`.
    """

    sources: Int[np.ndarray, " edges"]
    targets: Int[np.ndarray, " edges"]
    slots: Int[np.ndarray, " edges"]

    def weights(self, params: Array | np.ndarray) -> Float[np.ndarray, "edges *weight"]:
        """One weight an edge, from the parameters of this base edge."""
        return np.asarray(params)[self.slots, self.targets]

    def starts(self, n_targets: int) -> Int[np.ndarray, " bounds"]:
        """Bounds, one more than targets: the edges into `v` are `starts[v]` to `starts[v + 1]`."""
        return np.searchsorted(self.targets, np.arange(n_targets + 1))


class WeightedEdges(NamedTuple):
    """Edges over one base edge with their weights, in any order."""

    sources: Int[np.ndarray, " edges"]
    targets: Int[np.ndarray, " edges"]
    weights: Float[np.ndarray, "edges *weight"]


def lifted_edges(lift: Lift, name: str) -> LiftedEdges:
    """The lifted edges over the base edge of that name.

    Raises:
        ModuleError: the module has no such edge.

    Example:
        >>> import sparsejax as sj
        >>> lift = sj.dense_lift(sj.graphs.mlp(inputs=1, hidden=2, outputs=1), sizes=2)
        >>> lifted_edges(lift, "h1->h2").targets.tolist()
        [0, 0, 1, 1]
    """
    wiring = lift.wirings[lift.module.edge(name).name]
    if isinstance(wiring, DenseWiring):
        targets, sources = np.divmod(np.arange(wiring.n_sources * wiring.n_targets), wiring.slots)
        return LiftedEdges(sources, targets, sources)
    predecessors = np.asarray(wiring.predecessors)
    present = np.ones(predecessors.shape, bool)
    if wiring.present is not None:
        present = np.asarray(wiring.present)
    slots, targets = np.nonzero(present)
    sources = predecessors[slots, targets].astype(np.int64)
    order = np.lexsort((sources, targets))
    return LiftedEdges(sources[order], targets[order], slots[order])


def weighted_lift(
    module: PerceptronModule,
    sizes: Mapping[str, int],
    edges: Mapping[str, WeightedEdges],
    in_degrees: Mapping[str, float] | None = None,
    dtype: jax.typing.DTypeLike | None = None,
) -> tuple[Lift, Params]:
    """The lift with exactly these edges, one entry a base edge, and its parameters.

    A base edge of which all lifted edges are there is wired whole. `in_degrees` are those that
    `Lift.init` scales by; without them, the mean of what is there.

    Raises:
        ValueError: as `lift_from_edges`.

    Example:
        >>> import numpy as np, sparsejax as sj
        >>> module = sj.graphs.mlp(inputs=1, hidden=1, outputs=1, bias=False)
        >>> one = WeightedEdges(np.array([0]), np.array([0]), np.array([[2.0]]))
        >>> lift, params = weighted_lift(module, {"h1": 1}, {"x->h1": one, "h1->y": one._replace(
        ...     weights=np.array([[3.0]]))})
        >>> {name: float(w.sum()) for name, w in params.items()}
        {'x->h1': 2.0, 'h1->y': 3.0}
    """
    chosen = fibre_sizes(module, dict(sizes))
    sparse = {
        edge.name: np.stack([edges[edge.name].sources, edges[edge.name].targets], axis=1)
        for edge in module.edges
        if len(edges[edge.name].sources) < chosen[edge.source] * chosen[edge.target]
    }
    lift = lift_from_edges(module, chosen, sparse)
    if in_degrees is not None:
        lift = Lift(
            wirings=lift.wirings,
            module=module,
            fibre_sizes=lift.fibre_sizes,
            expected_in_degrees=tuple(
                (name, float(in_degrees.get(name, degree)))
                for name, degree in lift.expected_in_degrees
            ),
        )
    return lift, from_weights(
        lift, {name: held.weights for name, held in edges.items()}, edges, dtype
    )


def from_weights(
    lift: Lift,
    weights: Mapping[str, Float[np.ndarray, "_ ..."]],
    edges: Mapping[str, WeightedEdges | LiftedEdges] | None = None,
    dtype: jax.typing.DTypeLike | None = None,
) -> Params:
    """The parameters of a lift that hold one weight an edge; padding holds zero.

    `weights[name]` goes by the edges of `edges[name]` or, without them, of `lifted_edges`.
    """
    params = {}
    for edge in lift.module.edges:
        own = lifted_edges(lift, edge.name)
        given = np.asarray(weights[edge.name])
        if edges is not None:
            order = np.lexsort((edges[edge.name].sources, edges[edge.name].targets))
            given = given[order]
        shape = (lift.wirings[edge.name].slots, lift.sizes[edge.target])
        held = np.zeros((*shape, *lift.module.weight_shape(edge)), given.dtype)
        held[own.slots, own.targets] = given
        params[edge.name] = jnp.asarray(held, dtype)
    return params
