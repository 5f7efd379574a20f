"""Approximate copies of a weighted in-tree: which cones of a random lift come close to a witness's.

A cone is within `eta` of a witness tree if over each base edge its in-edges can be matched one to
one with the tree's so that matched weights differ by at most `eta` in every entry, matched
duplicated predecessors are again within `eta` of the matched children, and matched predecessors
that are not duplicated (inputs, biases) are the same vertex.
"""

import itertools
import math
from collections.abc import Callable, Mapping
from typing import NamedTuple

import numpy as np
import scipy.special
from jaxtyping import Float

from sparsejax.graphs import Bias
from sparsejax.lifts.cone_laws import Expectation, nodes_are_distinct
from sparsejax.lifts.in_tree import InTree
from sparsejax.lifts.initialisation import per_edge
from sparsejax.lifts.lift import Lift, Params
from sparsejax.lifts.lift_law import LiftLaw
from sparsejax.lifts.weighted_edges import lifted_edges

# All subsets of the children are gone through; in-degrees of random sparse lifts are small.
MOST_CHILDREN = 12

CumulativeLaw = Callable[[np.ndarray], np.ndarray]
_CUMULATIVE: dict[str, CumulativeLaw] = {
    "normal": scipy.special.ndtr,
    "uniform": lambda z: np.clip((z / math.sqrt(3.0) + 1) / 2, 0.0, 1.0),
}


class Branch(NamedTuple):
    """One in-edge of a witness tree: its weight, and what stands at its other end.

    `source` is the number of a vertex that is not duplicated; `tree` the cone of one that is.
    """

    weight: Float[np.ndarray, "..."]
    source: int | None
    tree: "WitnessTree | None"


class WitnessTree(NamedTuple):
    """The cone of a trained vertex, unrolled, with its weights: `branches` by base edge."""

    branches: Mapping[str, tuple[Branch, ...]]

    @property
    def shape(self) -> InTree:
        """Its shape, without weights and without what is not duplicated."""
        return InTree(
            {
                edge: [branch.tree.shape for branch in branches if branch.tree is not None]
                for edge, branches in self.branches.items()
                if not any(branch.source is not None for branch in branches)
            }
        )


def witness_tree(lift: Lift, params: Params, vertex: tuple[str, int]) -> WitnessTree:
    """The unrolled cone of a lifted vertex, with its weights.

    Raises:
        ValueError: no such vertex.

    Example:
        >>> import jax, sparsejax as sj
        >>> lift = sj.dense_lift(sj.graphs.mlp(inputs=1, hidden=2, outputs=1), sizes=2)
        >>> tree = witness_tree(lift, lift.init(jax.random.key(0)), ("h2", 0))
        >>> {edge: len(branches) for edge, branches in tree.branches.items()}
        {'h1->h2': 2, 'one->h2': 1}
    """
    name, number = vertex
    if not 0 <= number < lift.sizes[lift.module.vertex(name).name]:
        raise ValueError(f"vertex {name!r} has {lift.sizes[name]} lifted vertices, no {number}")
    branches = {}
    for edge in lift.module.in_edges(name):
        own = lifted_edges(lift, edge.name)
        weights = own.weights(params[edge.name])
        shared = lift.module.clamped(edge.source) is not None
        branches[edge.name] = tuple(
            Branch(
                np.asarray(weights[at]),
                int(own.sources[at]) if shared else None,
                None if shared else witness_tree(lift, params, (edge.source, int(own.sources[at]))),
            )
            for at in np.flatnonzero(own.targets == number)
        )
    return WitnessTree(branches)


def witness_distances(
    lift: Lift, params: Params, vertex: str, witness: WitnessTree
) -> Float[np.ndarray, " n"]:
    """For each lifted vertex above `vertex`, the least `eta` within which its cone is a copy.

    Infinite where the shapes differ, or the vertices that are not duplicated. The best matching of
    predecessors is a bottleneck assignment, solved for all vertices at once over subsets.

    Raises:
        ValueError: a witness with more than 12 children over an edge, or with the wrong edges.

    Example:
        >>> import jax, sparsejax as sj
        >>> lift = sj.dense_lift(sj.graphs.mlp(inputs=1, hidden=2, outputs=1), sizes=2)
        >>> params = lift.init(jax.random.key(0))
        >>> tree = witness_tree(lift, params, ("h2", 1))
        >>> witness_distances(lift, params, "h2", tree)[1].item()
        0.0
    """
    expected = {edge.name for edge in lift.module.in_edges(vertex)}
    if set(witness.branches) != expected:
        raise ValueError(
            f"the witness has in-edges {', '.join(witness.branches)}; vertex {vertex!r} has "
            f"{', '.join(sorted(expected))}"
        )
    distance = np.zeros(lift.sizes[vertex])
    for edge, branches in witness.branches.items():
        base, own = lift.module.edge(edge), lifted_edges(lift, edge)
        bounds = own.starts(lift.sizes[vertex])
        fits = np.diff(bounds) == len(branches)
        distance[~fits] = np.inf
        if not branches or not fits.any():
            continue
        at = bounds[:-1][fits][:, None] + np.arange(len(branches))
        sources, weights = own.sources[at], own.weights(params[edge])[at]
        if lift.module.clamped(base.source) is not None:
            # One predecessor, one place: sorted by source on both sides, the matching is forced.
            ordered = sorted(branches, key=lambda branch: branch.source or 0)
            same = (sources == [branch.source for branch in ordered]).all(axis=1)
            apart = _gaps(weights, np.stack([branch.weight for branch in ordered])).max(axis=1)
            found = np.where(same, apart, np.inf)
        else:
            cost = np.empty((*at.shape, len(branches)))
            for j, branch in enumerate(branches):
                assert branch.tree is not None
                below = witness_distances(lift, params, base.source, branch.tree)
                cost[:, :, j] = np.maximum(_gaps(weights, branch.weight), below[sources])
            found = _bottleneck(cost, edge)
        distance[fits] = np.maximum(distance[fits], found)
    return distance


def witness_probability(
    law: LiftLaw,
    vertex: str,
    witness: WitnessTree,
    eta: float,
    *,
    gain: int | float | Mapping[str, int | float] = 1.0,
    bias_scale: int | float = 0.5,
    weight_law: str | CumulativeLaw = "normal",
) -> Expectation:
    """P(the cone of a vertex of a random lift with `Lift.init` weights is within `eta`).

    `weight_law` is a name, or the cumulative function of a law of variance one. Exact where
    children over one edge are more than `2 eta` apart and the tree is at most two levels deep; an
    upper bound where one predecessor can match several children, since every matching counts by
    itself; a limit where deeper (see `in_tree_probability`).

    Raises:
        ValueError: an unknown law, or a witness whose edges do not fit.

    Source: derived in this project.

    Example:
        >>> import jax.numpy as jnp, sparsejax as sj
        >>> module = sj.graphs.mlp(inputs=1, hidden=1, outputs=1, bias=False)
        >>> origin = {"x->h1": jnp.zeros((1, 1, 1)), "h1->y": jnp.zeros((1, 1, 1))}
        >>> tree = witness_tree(sj.dense_lift(module, 1), origin, ("h1", 0))
        >>> law = LiftLaw(module, sizes=9, in_degree=1)
        >>> round(witness_probability(law, "h1", tree, eta=1.0).value, 4)  # a standard normal
        0.6827
    """
    if not callable(weight_law) and weight_law not in _CUMULATIVE:
        raise ValueError(
            f"unknown weight law {weight_law!r}; known are {', '.join(_CUMULATIVE)}, or give a "
            "cumulative function"
        )
    cumulative = weight_law if callable(weight_law) else _CUMULATIVE[weight_law]
    gains = per_edge(gain, law.module, 1.0, "gain")
    overlapping = False

    def near(edge: str, weight: np.ndarray) -> float:
        scale = _scale(law, edge, gains[edge], bias_scale)
        if not scale > 0:
            return float(np.all(np.abs(weight) <= eta))
        return float(
            np.prod(cumulative((weight + eta) / scale) - cumulative((weight - eta) / scale))
        )

    def probability(tree: WitnessTree) -> float:
        nonlocal overlapping
        product = 1.0
        for edge, branches in tree.branches.items():
            for branch in branches:
                product *= near(edge, branch.weight)
                if branch.tree is not None:
                    product *= probability(branch.tree)
            product *= math.exp(law.log_neighbourhood_probability(edge, len(branches)))
            if law.module.clamped(law.module.edge(edge).source) is None:
                # Any ordered choice of distinct predecessors.
                product *= math.perm(law.sources(edge), len(branches))
                pairs = itertools.combinations(branches, 2)
                overlapping |= any(not _apart(one, other, eta) for one, other in pairs)
        return product

    value = probability(witness)
    if overlapping:
        return Expectation(min(1.0, value), "upper_bound")
    return Expectation(value, "exact" if nodes_are_distinct(_inner(witness)) else "limit")


def _scale(law: LiftLaw, edge: str, gain: float, bias_scale: int | float) -> float:
    """The standard deviation that `Lift.init` gives a weight, by the expected in-degree."""
    base = law.module.edge(edge)
    if isinstance(base.map, Bias):
        return float(bias_scale)
    fan_in = law.in_degrees[edge] * base.map.fan_in(law.module.vertex(base.source).shape)
    return gain / math.sqrt(fan_in) if fan_in > 0 else gain


def _inner(witness: WitnessTree) -> InTree:
    """A shape whose every node fixes something of its vertex, as the weights of a witness do."""
    fixed = {
        edge: [_inner(branch.tree) for branch in branches if branch.tree is not None]
        for edge, branches in witness.branches.items()
    }
    return InTree({edge: shapes or [InTree()] for edge, shapes in fixed.items()})


def _gaps(weights: np.ndarray, wanted: np.ndarray) -> np.ndarray:
    """Largest entry of the difference, for weights of shape (vertices, slots, *weight)."""
    return np.abs(weights - wanted).reshape(*weights.shape[:2], -1).max(axis=2)


def _bottleneck(cost: Float[np.ndarray, "m k k"], edge: str) -> Float[np.ndarray, " m"]:
    """The least, over all matchings of rows with columns, of the largest cost used."""
    k = cost.shape[1]
    if k > MOST_CHILDREN:
        raise ValueError(
            f"edge {edge!r}: a witness with {k} children cannot be matched; at most {MOST_CHILDREN}"
        )
    best = {0: np.zeros(len(cost))}
    for subset in range(1, 2**k):
        row = subset.bit_count() - 1
        ways = [
            np.maximum(best[subset ^ (1 << j)], cost[:, row, j])
            for j in range(k)
            if subset >> j & 1
        ]
        best[subset] = np.minimum.reduce(ways)
    return best[2**k - 1]


def _apart(one: Branch, other: Branch, eta: float) -> bool:
    """Whether no predecessor is within `eta` of both, for sure."""
    if np.max(np.abs(one.weight - other.weight)) > 2 * eta:
        return True
    if one.tree is None or other.tree is None:
        return one.source != other.source
    for edge, ours in one.tree.branches.items():
        theirs = other.tree.branches[edge]
        if len(ours) != len(theirs):
            return True
        shared = all(branch.source is not None for branch in (*ours, *theirs))
        if shared and any(
            a.source != b.source or _apart(a, b, eta) for a, b in zip(ours, theirs, strict=True)
        ):
            return True
    return False
