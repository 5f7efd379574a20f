"""Inputs that act together: components of the graph of interactions, and parts of one component."""

import dataclasses
import itertools
from collections.abc import Iterable, Sequence

import jax
import jax.numpy as jnp
import networkx as nx
import numpy as np
import scipy.cluster.hierarchy as hierarchy
import scipy.spatial.distance
from jaxtyping import Bool, Float

from sparsejax.graphs import Dag
from sparsejax.structure.interactions import interactions
from sparsejax.structure.support import SupportScore, support_score
from sparsejax.targets.compositional import CompositionalTarget
from sparsejax.targets.input_laws import LAWS

Partition = tuple[tuple[int, ...], ...]

# Two inputs act together where their joint part is this share of the weaker one's total index.
LEAST_PART = 0.05


def relative_interactions(
    joint: Float[np.ndarray, "d d"], total: Float[np.ndarray, " d"]
) -> Float[np.ndarray, "d d"]:
    """Total interaction indices over the smaller of the two inputs' total indices, 0 to 1.

    Example:
        >>> relative_interactions(np.array([[0.5, 0.1], [0.1, 0.2]]), np.array([0.5, 0.2]))[0, 1]
        np.float64(0.5)
    """
    weaker = np.minimum(total[:, None], total[None, :])
    with np.errstate(divide="ignore", invalid="ignore"):
        found = np.where(weaker > 0, joint / weaker, 0.0)
    np.fill_diagonal(found, 0.0)
    return np.clip(found, 0.0, 1.0)


def components(edges: Bool[np.ndarray, "d d"], inputs: Sequence[int]) -> Partition:
    """The inputs that chains of edges join, each component sorted, in the order of the inputs.

    Example:
        >>> edges = np.array([[0, 0, 1], [0, 0, 0], [1, 0, 0]], bool)
        >>> components(edges, (0, 1, 2))
        ((0, 2), (1,))
    """
    graph = nx.Graph()
    graph.add_nodes_from(inputs)
    graph.add_edges_from(
        (inputs[i], inputs[j]) for i, j in itertools.combinations(range(len(inputs)), 2)
        if edges[i, j]
    )  # fmt: skip
    return tuple(tuple(sorted(part)) for part in nx.connected_components(graph))


def linkage_of(relative: Float[np.ndarray, "k k"]) -> Float[np.ndarray, "m 4"]:
    """Average-linkage clustering of inputs at distance one less their relative interaction.

    Source: scipy.cluster.hierarchy.

    Example:
        >>> linkage_of(np.array([[0, 0.9, 0], [0.9, 0, 0], [0, 0, 0]]))[:, :3].round(2).tolist()
        [[0.0, 1.0, 0.1], [2.0, 3.0, 1.0]]
    """
    distance = 1 - relative
    np.fill_diagonal(distance, 0.0)
    return hierarchy.linkage(scipy.spatial.distance.squareform(distance, checks=False), "average")


def cut_at_the_widest_gap(relative: Float[np.ndarray, "k k"]) -> list[tuple[int, ...]]:
    """Clusters of `linkage_of` where the heights of its merges leap most; one if they do not.

    Example:
        >>> strong = np.kron(np.eye(2), np.full((2, 2), 0.9)) + 0.05
        >>> cut_at_the_widest_gap(strong)
        [(0, 1), (2, 3)]
    """
    merges = linkage_of(relative)
    heights = merges[:, 2]
    leaps = np.diff(heights)
    if len(leaps) == 0 or leaps.max() < 0.25:
        return [tuple(range(len(relative)))]
    at = int(np.argmax(leaps))
    labels = hierarchy.fcluster(merges, (heights[at] + heights[at + 1]) / 2, "distance")
    return [tuple(np.flatnonzero(labels == label).tolist()) for label in dict.fromkeys(labels)]


def parts_of_dag(dag: Dag) -> tuple[tuple[str, ...], ...]:
    """The largest sets of inputs that reach the root through one node, and the inputs in none.

    A node holds its inputs together where without it none of them reaches the root. Nodes that
    hold all inputs of the root are passed over. One set with all where no node holds two or more.

    Example:
        >>> dag = Dag(("a", "b", "c"), (("ab", ("a", "b")), ("y", ("ab", "c"))))
        >>> parts_of_dag(dag)
        (('a', 'b'), ('c',))
    """
    support = set(dag.support)
    held: set[frozenset[str]] = set()
    for node in dag.ancestors:
        below, without = _reads(dag, node, ""), _reads(dag, dag.root, node)
        if not below & without and below != support:
            held.add(frozenset(below))
    largest = [part for part in held if len(part) > 1 and not any(part < h for h in held)]
    if not largest:
        return (dag.support,)
    taken = frozenset().union(*largest)
    parts = [*largest, *(frozenset({name}) for name in support - taken)]
    order = dag.support.index
    return tuple(sorted((tuple(sorted(p, key=order)) for p in parts), key=lambda p: order(p[0])))


def _reads(dag: Dag, root: str, without: str) -> set[str]:
    """The inputs from which the root can be reached, not through one node."""
    seen: set[str] = set()
    open_names = [root]
    while open_names:
        name = open_names.pop()
        if name == without or name in seen:
            continue
        seen.add(name)
        if name not in dag.inputs:
            open_names.extend(dag.parents_of(name))
    return seen & set(dag.inputs)


def true_groups(
    target: CompositionalTarget, *, samples: int = 16384, least: float = LEAST_PART, seed: int = 0
) -> Partition:
    """The groups of a target, coordinates counted from 1: of the function itself, not of samples.

    Two coordinates act together where the terms of the analysis of variance that read both (the
    total interaction index, by Monte Carlo on the target) are at least `least` of the weaker one's
    total index. Groups are the connected components of that relation: the function is all but a sum
    over them. Where one component holds all coordinates, everything interacts, and groups are the
    parts of the target's DAG that enter through one constituent (`parts_of_dag`); one group where
    it has no such part.

    Source: ours; the graph is that of Muehlenstaedt, Roustant, Carraro, Kuhnt, Statistics and
    Computing 2012.

    Example:
        >>> from sparsejax.targets import product_tree
        >>> true_groups(product_tree(), samples=256)
        ((1, 2), (3, 4))
    """
    at = np.array([i - 1 for i in target.support])
    evaluate = jax.jit(target)

    def of_support(x: np.ndarray) -> np.ndarray:
        whole = np.zeros((len(x), target.dims))
        whole[:, at] = x
        return np.asarray(evaluate(jnp.asarray(whole)))

    found, _ = interactions(of_support, sampler_of(target.law, len(at)), samples, seed=seed)
    relative = relative_interactions(found, np.diag(found))
    parts = components(relative >= least, target.support)
    if len(parts) > 1:
        return parts
    return tuple(
        tuple(1 + target.dag.inputs.index(name) for name in part)
        for part in parts_of_dag(target.dag)
    )


def sampler_of(law: str, dims: int):
    """A sampler of independent inputs of one of the laws of targets, on the host.

    Raises:
        ValueError: a law of dependent inputs.
    """
    if law not in LAWS:
        raise ValueError(f"law: independent inputs of {', '.join(LAWS)} are drawn, not {law!r}")

    def sample(rng: np.random.Generator, n: int) -> Float[np.ndarray, "n d"]:
        if law == "gaussian":
            return rng.normal(size=(n, dims))
        uniform = rng.uniform(-1, 1, size=(n, dims))
        return np.sign(uniform) if law == "cube" else uniform

    return sample


@dataclasses.dataclass(frozen=True)
class Agreement:
    """How well a support and groups were found."""

    precision: float
    recall: float
    f1: float
    rand_index: float


def agreement(
    found: Iterable[Sequence[int]], true: Iterable[Sequence[int]], dims: int
) -> Agreement:
    """Precision, recall and F1 of the support, and the adjusted Rand index of the groups.

    Supports are the inputs in any group; for the index every input in no group is one by itself.

    Source: Hubert, Arabie, Journal of Classification 1985.

    Example:
        >>> agreement([(1, 2)], [(1, 2), (3,)], dims=4)
        Agreement(precision=1.0, recall=0.6666666666666666, f1=0.8, rand_index=1.0)
    """
    from sklearn.metrics import adjusted_rand_score

    found, true = [list(p) for p in found], [list(p) for p in true]
    ours, theirs = ({i for part in parts for i in part} for parts in (found, true))
    # Where there is nothing to find, finding nothing is right.
    nothing = SupportScore(float(not ours), 1.0, float(not ours))
    score = support_score(ours, theirs) if theirs else nothing
    labels = []
    for parts in (found, true):
        label = np.arange(dims) + dims
        for place, part in enumerate(parts):
            for i in part:
                label[i - 1] = place
        labels.append(label)
    return Agreement(*score, float(adjusted_rand_score(*labels)))
