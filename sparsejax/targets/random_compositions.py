"""Random compositions: trees whose levels may share a constituent, and random DAGs."""

from collections.abc import Callable, Sequence
from typing import Literal

import numpy as np
import scipy.special
from jaxtyping import Array, Float

from sparsejax.targets.compositional import CompositionalTarget, Constituent, Node
from sparsejax.targets.constituents import SCALED_ON, Draw, draw_boolean, draw_smooth
from sparsejax.targets.input_laws import check_law

Kind = Literal["smooth", "boolean"]
_DRAW: dict[str, Draw] = {"smooth": draw_smooth, "boolean": draw_boolean}


def binary_tree(
    dims: int,
    constituent: str | Callable[..., Array] | Sequence[Constituent] = "smooth",
    *,
    leaves: int | None = None,
    shared: bool = True,
    seed: int = 0,
    law: str | None = None,
) -> CompositionalTarget:
    """A complete binary tree on the first `leaves` coordinates, the root last.

    `constituent`: a function of two variables for all nodes; a sequence, one a level from the
    leaves on; or `"smooth"` or `"boolean"`, random ones by `seed`. Those are the same for all nodes
    of a level where `shared`, as in a convolutional network, else each node has its own. Smooth
    ones have mean zero and variance one at every node. Nodes are `n1_1`, `n1_2`, ... above the
    leaves, up to the root. `leaves`: all that make a power of two unless given. `law`: uniform
    unless constituents are Boolean, which live on the cube.

    Raises:
        ValueError: leaves that are no power of two from 2 on or more than `dims`, a sequence of
            another length than there are levels, an unknown kind or law, or a law but the cube for
            Boolean constituents.

    Source: Poggio, Mhaskar et al. 2017: the tree, and shared constituents.

    Example:
        >>> tree = binary_tree(dims=5, constituent=lambda a, b: a * b)
        >>> tree.support, tree.order, tree.dag.parents_of("n2_1")
        ((1, 2, 3, 4), ('n1_1', 'n1_2', 'n2_1'), ('n1_1', 'n1_2'))
    """
    if leaves is None:
        leaves = 2 ** (dims.bit_length() - 1) if dims > 1 else dims
    if leaves < 2 or leaves & (leaves - 1) or leaves > dims:
        raise ValueError(
            f"leaves: a power of two from 2 to the {dims} coordinates is needed, got {leaves}"
        )
    below = [f"x{i + 1}" for i in range(leaves)]
    by_level: list[list[tuple[str, tuple[str, ...]]]] = []
    while len(below) > 1:
        names = [f"n{len(by_level) + 1}_{i + 1}" for i in range(len(below) // 2)]
        by_level.append([(n, tuple(below[2 * i : 2 * i + 2])) for i, n in enumerate(names)])
        below = names
    if isinstance(constituent, str):
        law = _checked(constituent, law)
        groups = by_level if shared else [[node] for level in by_level for node in level]
        return _drawn(dims, groups, constituent, np.random.default_rng(seed), law)
    functions = [constituent] * len(by_level) if callable(constituent) else list(constituent)
    if len(functions) != len(by_level):
        raise ValueError(f"constituent: {len(by_level)} levels need as many, got {len(functions)}")
    nodes = [
        Node(name, function, parents)
        for function, level in zip(functions, by_level, strict=True)
        for name, parents in level
    ]
    return CompositionalTarget(dims, tuple(nodes), law or "uniform")


def random_dag(
    seed: int,
    dims: int,
    nodes: int,
    arity: int,
    kind: Kind = "smooth",
    *,
    law: str | None = None,
) -> CompositionalTarget:
    """`nodes` constituents of `arity` variables each, and the root depends on all of them.

    Node after node reads different coordinates and earlier nodes, uniformly at random but for this:
    nodes that nothing reads yet are read in time. `kind="smooth"`: each with mean zero and variance
    one under the law of the inputs; `"boolean"`: +-1 values on the cube, uniform among functions of
    all their variables, so that Walsh coefficients and Sobol indices of the target are exact. Nodes
    are `n1`, `n2`, ...; the same seed gives an equal target.

    Raises:
        ValueError: numbers that are not positive, more variables than coordinates, an unknown kind
            or law, or a law but the cube for Boolean constituents.

    Source: Danhofer, D'Ascenzo, Dubach, Poggio 2025, definition 3.1; the law of the graph is ours.

    Example:
        >>> target = random_dag(seed=0, dims=10, nodes=5, arity=3)
        >>> len(target.dag.ancestors), target.arity, target == random_dag(0, 10, 5, 3)
        (5, 3, True)
    """
    law = _checked(kind, law)
    for name, value in (("nodes", nodes), ("arity", arity), ("dims", dims)):
        if value < 1:
            raise ValueError(f"{name}: must be positive, got {value}")
    if arity > dims:
        raise ValueError(f"arity: {arity} variables are more than the {dims} coordinates")
    rng = np.random.default_rng(seed)
    available = [f"x{i + 1}" for i in range(dims)]
    unread: list[str] = []
    chosen: list[list[tuple[str, tuple[str, ...]]]] = []
    for number in range(1, nodes + 1):
        # What the nodes after this one can read at most, leaving the root alone unread.
        room = (nodes - number) * (arity - 1)
        due = max(len(unread) - room, 0)
        parents = [unread[i] for i in rng.permutation(len(unread))[:due]]
        others = [name for name in available if name not in parents]
        parents += [others[i] for i in rng.permutation(len(others))[: arity - due]]
        unread = [name for name in unread if name not in parents] + [f"n{number}"]
        available.append(f"n{number}")
        chosen.append([(f"n{number}", tuple(parents))])
    return _drawn(dims, chosen, kind, rng, law)


def _checked(kind: str, law: str | None) -> str:
    if kind not in _DRAW:
        raise ValueError(f"constituents are {' or '.join(_DRAW)}, not {kind!r}")
    law = law or ("cube" if kind == "boolean" else "uniform")
    check_law(law)
    if kind == "boolean" and law != "cube":
        raise ValueError(f"law: Boolean constituents live on the cube, not under {law!r}")
    return law


def _drawn(
    dims: int,
    groups: Sequence[Sequence[tuple[str, tuple[str, ...]]]],
    kind: str,
    rng: np.random.Generator,
    law: str,
) -> CompositionalTarget:
    """One constituent a group of nodes, scaled on the values that all of the group read."""
    known = dict(zip((f"x{i + 1}" for i in range(dims)), _inputs(rng, law, dims), strict=True))
    nodes = []
    for group in groups:
        reads = [np.stack([known[parent] for parent in parents]) for _, parents in group]
        function = _DRAW[kind](rng, np.concatenate(reads, axis=1))
        for (name, parents), read in zip(group, reads, strict=True):
            known[name] = function.on_host(read)
            nodes.append(Node(name, function, parents))
    return CompositionalTarget(dims, tuple(nodes), law)


def _inputs(rng: np.random.Generator, law: str, dims: int) -> Float[np.ndarray, "d n"]:
    uniform = rng.uniform(-1, 1, size=(dims, SCALED_ON))
    if law == "cube":
        return np.sign(uniform)
    # The Gaussian quantile of a uniform number.
    return np.sqrt(2) * scipy.special.erfinv(uniform) if law == "gaussian" else uniform
