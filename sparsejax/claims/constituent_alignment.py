"""How far hidden units read single constituents: a grouping of the support against all others."""

import itertools
from collections.abc import Iterator, Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sparsejax.graphs import Dag

Grouping = tuple[tuple[int, ...], ...]


def first_constituents(dag: Dag) -> Grouping:
    """The coordinates that each constituent of inputs alone reads, where they split the support.

    Coordinates are counted from 1. Empty where those constituents share coordinates, leave some of
    the support to others, or are one alone: there is then no grouping to be found.

    Example:
        >>> first_constituents(Dag(("x1", "x2", "x3", "x4"), (
        ...     ("a", ("x1", "x3")), ("b", ("x2", "x4")), ("y", ("a", "b")))))
        ((1, 3), (2, 4))
    """
    place = {name: 1 + k for k, name in enumerate(dag.inputs)}
    groups = [
        tuple(sorted(place[parent] for parent in dict.fromkeys(dag.parents_of(node))))
        for node in dag.ancestors
        if node != dag.root and all(parent in place for parent in dag.parents_of(node))
    ]
    read = sorted(coordinate for group in groups for coordinate in group)
    splits = read == sorted(place[name] for name in dag.support)
    return tuple(sorted(groups)) if splits and len(groups) > 1 else ()


def groupings(true: Grouping) -> tuple[Grouping, ...]:
    """All groupings of the same coordinates into groups of the same sizes, the true one first.

    Example:
        >>> groupings(((1, 2), (3, 4)))
        (((1, 2), (3, 4)), ((1, 3), (2, 4)), ((1, 4), (2, 3)))
    """
    coordinates = sorted(c for group in true for c in group)
    sizes = sorted((len(group) for group in true), reverse=True)
    found = {tuple(sorted(grouping)) for grouping in _split(coordinates, sizes)}
    return (true, *sorted(found - {true}))


def _split(coordinates: Sequence[int], sizes: Sequence[int]) -> Iterator[Grouping]:
    if not sizes:
        yield ()
        return
    for group in itertools.combinations(coordinates, sizes[0]):
        rest = [c for c in coordinates if c not in group]
        for others in _split(rest, sizes[1:]):
            yield (group, *others)


def membership(support: Sequence[int], chosen: Sequence[Grouping]) -> Float[np.ndarray, "g b k"]:
    """For each grouping and group which coordinates of the support it holds, as zeros and ones."""
    return np.array(
        [[[c in group for c in support] for group in grouping] for grouping in chosen], float
    )


def purities(
    weights: Float[Array, "k units"],
    importance: Float[Array, " units"],
    groups: Float[Array, "g b k"],
) -> Float[Array, " g"]:
    """The share of a unit's squared weights in its best group, averaged over units by importance.

    `weights`: of the support's coordinates; `groups`: `membership` of some groupings. One where
    every unit that matters reads one group alone. Of a unit with equal weights it is the share of a
    group; of random weights it is the same in the mean for all groupings of one shape, so that the
    others are the null.

    Example:
        >>> weights = jnp.array([[1.0, 0.0], [1.0, 0.0], [0.0, 2.0], [0.0, 2.0]])
        >>> held = jnp.asarray(membership((1, 2, 3, 4), groupings(((1, 2), (3, 4)))))
        >>> purities(weights, jnp.array([1.0, 4.0]), held).tolist()
        [1.0, 0.5, 0.5]
    """
    squares = jnp.square(weights)
    total = jnp.sum(squares, axis=0)
    inside = jnp.einsum("gbk,ku->gbu", groups.astype(squares.dtype), squares)
    best = jnp.max(inside, axis=1) / jnp.where(total > 0, total, 1)[None, :]
    mass = importance / jnp.maximum(jnp.sum(importance), jnp.finfo(squares.dtype).tiny)
    return best @ mass
