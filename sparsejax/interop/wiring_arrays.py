"""The wirings of a lift as nested dicts of arrays, the form in which Flax keeps variables."""

from collections.abc import Mapping
from typing import Any

import jax
from jaxtyping import Array

from sparsejax.lifts import Lift

WiringArrays = dict[str, dict[str, Array]]


def wiring_arrays(lift: Lift) -> WiringArrays:
    """`{edge: {field: array}}` for every array of a lift's wirings; dense wirings have none."""
    arrays: WiringArrays = {}
    for (edge, field), leaf in _named_leaves(lift):
        arrays.setdefault(edge, {})[field] = leaf
    return arrays


def with_wiring_arrays(
    structure: jax.tree_util.PyTreeDef, arrays: Mapping[str, Mapping[str, Array]]
) -> Lift:
    """The lift of that structure (`jax.tree.structure(lift)`) with these arrays as its wirings.

    Raises:
        ValueError: an array is missing.
    """
    places = jax.tree.unflatten(structure, range(structure.num_leaves))
    leaves = []
    for (edge, field), _ in _named_leaves(places):
        if edge not in arrays or field not in arrays[edge]:
            raise ValueError(f"the wirings lack {field!r} of edge {edge!r}")
        leaves.append(arrays[edge][field])
    return jax.tree.unflatten(structure, leaves)


def _named_leaves(lift: Lift) -> list[tuple[tuple[str, str], Any]]:
    return [
        ((path[1].key, jax.tree_util.keystr(path[2:], simple=True, separator=".")), leaf)
        for path, leaf in jax.tree.leaves_with_path(lift)
    ]
