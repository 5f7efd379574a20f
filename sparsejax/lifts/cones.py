"""What the ancestor cones of a lift look like, counted: degrees, sizes, trees, shapes.

The cone of a lifted vertex is made of the duplicated vertices from which a path of duplicated
vertices leads to it. Vertices that are not duplicated (inputs, biases) are shared by definition and
take no part. Everything here is NumPy on the host, vertices all at once.
"""

import itertools
from collections import Counter

import numpy as np
import scipy.sparse
from jaxtyping import Bool, Int

from sparsejax.lifts.in_tree import InTree, duplicated_in_edges
from sparsejax.lifts.lift import Lift
from sparsejax.lifts.weighted_edges import lifted_edges


def in_degree_counts(lift: Lift, edge: str) -> Int[np.ndarray, " degrees"]:
    """How many lifted vertices have 0, 1, 2, ... predecessors over a base edge.

    Raises:
        ModuleError: the module has no such edge.

    Example:
        >>> import sparsejax as sj
        >>> lift = sj.dense_lift(sj.graphs.mlp(inputs=3, hidden=2, outputs=1), sizes=4)
        >>> in_degree_counts(lift, "h1->h2").tolist()
        [0, 0, 0, 0, 4]
    """
    targets = lifted_edges(lift, edge).targets
    return np.bincount(np.bincount(targets, minlength=lift.sizes[lift.module.edge(edge).target]))


def cone_sizes(lift: Lift, vertex: str, depth: int | None = None) -> Int[np.ndarray, " n"]:
    """For each lifted vertex above `vertex`, the number of vertices of its cone, itself included.

    `depth` keeps the ancestors at most that many edges away.

    Raises:
        UnknownVertexError: the module has no such vertex.

    Example:
        >>> import sparsejax as sj
        >>> lift = sj.dense_lift(sj.graphs.mlp(inputs=3, hidden=3, outputs=1), sizes=4)
        >>> cone_sizes(lift, "h3").tolist(), cone_sizes(lift, "h3", depth=1).tolist()
        ([9, 9, 9, 9], [5, 5, 5, 5])
    """
    total = np.zeros(lift.sizes[lift.module.vertex(vertex).name], np.int64)
    for paths in _paths(lift, vertex, depth).values():
        total += np.diff(paths.indptr)
    return total


def tree_like(lift: Lift, vertex: str, depth: int | None = None) -> Bool[np.ndarray, " n"]:
    """Whether the cone of each lifted vertex above `vertex` is a tree.

    It is one if no two paths of at most `depth` edges lead from one vertex to it. For fixed depth
    and in-degree the fraction of cones that are not trees falls like `1/n`.

    Raises:
        UnknownVertexError: the module has no such vertex.

    Source: Robin, Scaman, Lelarge 2024.

    Example:
        >>> import numpy as np, sparsejax as sj
        >>> module = sj.graphs.mlp(inputs=1, hidden=3, outputs=1)
        >>> one_to_one = np.array([[0, 0], [1, 1]])
        >>> lift = sj.lift_from_edges(module, 2, {"h1->h2": one_to_one})
        >>> tree_like(lift, "h3").tolist(), tree_like(sj.dense_lift(module, 2), "h3").tolist()
        ([True, True], [False, False])
    """
    tree = np.ones(lift.sizes[lift.module.vertex(vertex).name], bool)
    for paths in _paths(lift, vertex, depth).values():
        rows = np.repeat(np.arange(len(tree)), np.diff(paths.indptr))
        tree[rows[paths.data > 1]] = False
    return tree


def has_in_tree(lift: Lift, vertex: str, shape: InTree) -> Bool[np.ndarray, " n"]:
    """Which lifted vertices above `vertex` have an unrolled cone of the given shape.

    Whether predecessors can be matched with children is decided by Hall's condition, exactly also
    where shapes of children overlap.

    Raises:
        ValueError: a shape whose edges do not lead to its vertices.

    Example:
        >>> import numpy as np, sparsejax as sj
        >>> module = sj.graphs.mlp(inputs=1, hidden=2, outputs=1)
        >>> lift = sj.lift_from_edges(module, 3, {"h1->h2": np.array([[0, 0], [1, 0], [2, 1]])})
        >>> has_in_tree(lift, "h2", InTree({"h1->h2": [InTree(), InTree()]})).tolist()
        [True, False, False]
    """
    shape.validate(vertex, lift.module)
    known: dict[tuple[str, InTree], np.ndarray] = {}

    def having(name: str, shape: InTree) -> np.ndarray:
        if (name, shape) not in known:
            held = np.ones(lift.sizes[name], bool)
            for edge, children in shape.children.items():
                held &= _matched(edge, children)
            known[name, shape] = held
        return known[name, shape]

    def _matched(edge: str, children: tuple[InTree, ...]) -> np.ndarray:
        base, own = lift.module.edge(edge), lifted_edges(lift, edge)
        n_b = lift.sizes[base.target]
        matched = np.bincount(own.targets, minlength=n_b) == len(children)
        kinds = Counter(children)
        fits = {kind: having(base.source, kind)[own.sources] for kind in kinds}
        for few in range(1, len(kinds) + 1):
            for some in itertools.combinations(kinds, few):
                any_fits = np.logical_or.reduce([fits[kind] for kind in some])
                found = np.bincount(own.targets[any_fits], minlength=n_b)
                matched &= found >= sum(kinds[kind] for kind in some)
        return matched

    return having(vertex, shape)


def in_tree_of(lift: Lift, vertex: tuple[str, int], depth: int) -> InTree:
    """The complete shape of the unrolled cone of one lifted vertex, to a depth.

    Example:
        >>> import sparsejax as sj
        >>> lift = sj.dense_lift(sj.graphs.mlp(inputs=1, hidden=2, outputs=1), sizes=3)
        >>> in_tree_of(lift, ("h2", 0), depth=2)
        {h1->h2: [. . .]}
    """
    name, number = vertex
    if depth == 0:
        return InTree()
    children = {}
    for edge in duplicated_in_edges(lift.module, name):
        own, source = lifted_edges(lift, edge), lift.module.edge(edge).source
        at = own.sources[own.targets == number]
        children[edge] = [in_tree_of(lift, (source, int(u)), depth - 1) for u in at]
    return InTree(children)


def _paths(lift: Lift, root: str, depth: int | None) -> dict[str, scipy.sparse.csr_array]:
    """How many paths lead from each vertex (columns) to each above `root` (rows), by base vertex.

    Counted in floating point: a dense lift has more paths than integers can hold.
    """
    module = lift.module
    level = {root: scipy.sparse.eye_array(lift.sizes[module.vertex(root).name], format="csr")}
    total = dict(level)
    joined = {}
    for edge in module.edges:
        own = lifted_edges(lift, edge.name)
        shape = (lift.sizes[edge.target], lift.sizes[edge.source])
        joined[edge.name] = scipy.sparse.csr_array(
            (np.ones(len(own.sources)), (own.targets, own.sources)), shape=shape
        )
    steps = 0
    while level and (depth is None or steps < depth):
        before: dict[str, scipy.sparse.csr_array] = {}
        for name, paths in level.items():
            for edge_name in duplicated_in_edges(module, name):
                source = module.edge(edge_name).source
                further = paths @ joined[edge_name]
                before[source] = before[source] + further if source in before else further
        for name, paths in before.items():
            total[name] = total[name] + paths if name in total else paths
        level, steps = before, steps + 1
    return total
