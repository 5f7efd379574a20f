"""Parts of a kernel by leaf, summed up by layer or by any other grouping of the leaves."""

from collections.abc import Callable, Hashable, Mapping
from typing import TypeVar

import jax
from jaxtyping import Array, PyTree

Group = TypeVar("Group", bound=Hashable)


def sum_by_group(
    parts: PyTree[Array], group: Mapping[str, Group] | Callable[[str], Group]
) -> dict[Group, Array]:
    """The sum of the leaves of every group: `ntk_by_leaf` by layer, say. The sums add up to all.

    `group` maps the name of a leaf to that of its group; the name is the path to it, its keys
    joined by `/`. For a lift, `module.edge_targets` groups the edges by the vertex that they lead
    into, which is the layer that their weights belong to.

    Raises:
        ValueError: a leaf without a group, or a group for a leaf that there is not.

    Example:
        >>> import jax.numpy as jnp
        >>> from sparsejax.tangent import ntk_by_leaf
        >>> f = lambda p, x: jnp.tanh(x @ p["in"]["w"] + p["in"]["b"]) @ p["out"]
        >>> params = {"in": {"w": jnp.ones((2, 3)), "b": jnp.zeros((1, 3))}, "out": jnp.ones(3)}
        >>> parts = ntk_by_leaf(f, params, jnp.ones((4, 2)))
        >>> layers = sum_by_group(parts, lambda name: name.split("/")[0])
        >>> {name: part.shape for name, part in layers.items()}
        {'in': (4, 4), 'out': (4, 4)}
    """
    leaves = {
        jax.tree_util.keystr(path, simple=True, separator="/"): leaf
        for path, leaf in jax.tree_util.tree_leaves_with_path(parts)
    }
    if isinstance(group, Mapping):
        for said, names in (
            ("no group for leaf", leaves.keys() - group.keys()),
            ("a group for a leaf that there is not,", group.keys() - leaves.keys()),
        ):
            if names:
                raise ValueError(f"{said} {min(names)!r}; the leaves are {', '.join(leaves)}")
        group = group.__getitem__
    sums: dict[Group, Array] = {}
    for name, leaf in leaves.items():
        key = group(name)
        sums[key] = sums[key] + leaf if key in sums else leaf
    return sums
