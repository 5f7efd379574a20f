"""The small sparse lift that matches what was found: a part a group, a root that reads parts."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import jax
import numpy as np

from sparsejax.graphs import Dag, PerceptronModule, from_target
from sparsejax.lifts import Lift, lift_from_edges
from sparsejax.structure.discover import Structure

Params = dict[str, jax.Array]

# Units of each part that a unit of the root reads, and columns that a unit of a part reads.
IN_DEGREE, MOST_READ = 3, 6
MOST_PARTS = 8
ROOT = "h_root"


@dataclasses.dataclass(frozen=True)
class Parts:
    """The base graph's parts: their words, and the columns of `x` (from 0) that each reads."""

    names: tuple[str, ...]
    columns: tuple[tuple[int, ...], ...]

    @property
    def vertices(self) -> tuple[str, ...]:
        """The parts' vertices in the module, in order."""
        return tuple(f"h_part{number}" for number in range(1, len(self.names) + 1))

    @property
    def words(self) -> dict[str, str]:
        """What each vertex of the module is, in words."""
        groups = dict(zip(self.vertices, (f"group {name}" for name in self.names), strict=True))
        return groups | {ROOT: "root, which reads all groups"}


def parts_of(found: Structure, columns: Sequence[str], groups: Sequence[tuple[int, ...]]) -> Parts:
    """A part a group of the structure; beyond eight, the least important ones share the last.

    `groups`: for each of the table's `columns` its columns of the encoded inputs.

    Example:
        >>> from sparsejax.structure import discover
        >>> from sparsejax.targets import real_table
        >>> found = discover(real_table("diabetes"))
        >>> parts = parts_of(found, found.columns, [(i,) for i in range(10)])
        >>> parts.names[0], parts.columns[0]
        ('s5', (8,))
    """
    at = dict(zip(columns, groups, strict=True))
    names = [tuple(sorted(group, key=found.columns.index)) for group in found.groups]
    if len(names) > MOST_PARTS:
        rest = tuple(name for group in names[MOST_PARTS - 1 :] for name in group)
        names = [*names[: MOST_PARTS - 1], rest]
    return Parts(
        tuple(" + ".join(group) for group in names),
        tuple(tuple(column for name in group for column in at[name]) for group in names),
    )


def module_of(parts: Parts, dims: int, outputs: int) -> PerceptronModule:
    """The base graph of the parts over `dims` coordinates, by `graphs.from_target`."""
    inputs = tuple(f"x{number}" for number in range(1, dims + 1))
    nodes = [
        (vertex.removeprefix("h_"), tuple(inputs[column] for column in columns))
        for vertex, columns in zip(parts.vertices, parts.columns, strict=True)
    ]
    root = (ROOT.removeprefix("h_"), tuple(name for name, _ in nodes))
    return from_target(Dag(inputs, (*nodes, root)), "relu", outputs=outputs)


def parameters_of(parts: Parts, sizes: dict[str, int], outputs: int) -> int:
    """Weights and biases of the lift that `drawn_lift` draws."""
    total = outputs * (sizes[ROOT] + 1) + sizes[ROOT]
    for vertex, columns in zip(parts.vertices, parts.columns, strict=True):
        total += sizes[vertex] * (min(len(columns), MOST_READ) + 1)
        total += sizes[ROOT] * min(IN_DEGREE, sizes[vertex])
    return total


def sizes_for(parts: Parts, outputs: int, parameters: int) -> dict[str, int]:
    """Vertices a part, as many each, and of the root, with nearest to so many parameters.

    Example:
        >>> parts = Parts(("a + c", "b"), ((0, 2), (1,)))
        >>> sizes = sizes_for(parts, 1, 150)
        >>> sizes, parameters_of(parts, sizes, 1)
        ({'h_part1': 11, 'h_part2': 11, 'h_root': 12}, 152)
    """

    def sizes(part: int, root: int) -> dict[str, int]:
        return dict.fromkeys(parts.vertices, part) | {ROOT: root}

    part = 1
    while parameters_of(parts, sizes(part + 1, part + 1), outputs) <= parameters:
        part += 1
    return min(
        (sizes(part, root) for root in range(max(1, part - 2), 2 * part + 3)),
        key=lambda each: abs(parameters_of(parts, each, outputs) - parameters),
    )


def drawn_lift(
    module: PerceptronModule, parts: Parts, sizes: dict[str, int], seed: int
) -> tuple[Lift, Params]:
    """A random sparse lift of the parts' module, and its parameters.

    Every vertex of a part reads its columns (six of them at random where there are more), every one
    of the root three vertices of each part. The readout starts at zero: the function is constant.
    Drawn on the host: compiling a draw takes longer than many draws.
    """
    rng = np.random.default_rng(seed)
    edges = {}
    for vertex, columns in zip(parts.vertices, parts.columns, strict=True):
        n = sizes[vertex]
        if len(columns) > MOST_READ:
            read = np.stack([rng.permutation(len(columns))[:MOST_READ] for _ in range(n)])
            for place, column in enumerate(columns):
                (targets,) = np.nonzero((read == place).any(axis=1))
                edges[f"x{column + 1}->{vertex}"] = _pairs(np.zeros_like(targets), targets)
        degree = min(IN_DEGREE, n)
        if degree < n:
            sources = [rng.permutation(n)[:degree] for _ in range(sizes[ROOT])]
            targets = np.repeat(np.arange(sizes[ROOT]), degree)
            edges[f"{vertex}->{ROOT}"] = _pairs(np.concatenate(sources), targets)
    lift = lift_from_edges(module, sizes, edges)
    return lift, lift.init(jax.random.key(seed), **initialisation(parts))


def initialisation(parts: Parts) -> dict[str, Any]:
    """Pre-activations of variance one from inputs of variance one, as `learners` has it."""
    gain: dict[str, float] = {}
    for vertex, columns in zip(parts.vertices, parts.columns, strict=True):
        gain |= {f"x{c + 1}->{vertex}": 1 / np.sqrt(len(columns)) for c in columns}
        # A relu leaves half of the second moment.
        gain[f"{vertex}->{ROOT}"] = np.sqrt(2 / len(parts.names))
    return {"gain": gain, "bias_scale": 0.1, "zero_outputs": True, "law": _normal_on_the_host}


def _normal_on_the_host(key: jax.Array, shape: tuple[int, ...], dtype: Any) -> np.ndarray:
    # Every new shape would compile a draw of its own.
    rng = np.random.default_rng(np.asarray(jax.random.key_data(key)))
    return rng.normal(size=shape).astype(dtype)


def _pairs(sources: np.ndarray, targets: np.ndarray) -> np.ndarray:
    return np.stack([sources, targets], axis=1).astype(np.int64)
