"""Products of functions of single columns: the terms of an analysis of variance."""

from collections.abc import Callable, Iterable, Sequence

import numpy as np
from jaxtyping import Bool, Float

from sparsejax.structure.column_basis import ColumnBasis

Feature = tuple[tuple[int, int], ...]
"""Pairs of a column and one of its functions, columns rising."""


def columns_of(feature: Feature) -> tuple[int, ...]:
    """The columns that a feature reads.

    Example:
        >>> columns_of(((0, 2), (3, 0)))
        (0, 3)
    """
    return tuple(column for column, _ in feature)


def products(
    bases: Sequence[ColumnBasis],
    columns: Sequence[int],
    budget: int,
    allowed: Callable[[tuple[int, ...]], bool] = lambda _: True,
) -> list[Feature]:
    """All products of functions of different columns whose costs sum to at most `budget`.

    `allowed`: which sets of columns may meet in one. Cheap ones come first.
    """
    found: list[tuple[int, Feature]] = [(0, ())]
    for column in columns:
        more = []
        for spent, feature in found:
            if feature and (
                bases[feature[0][0]].alone(feature[0][1])
                or not allowed((*columns_of(feature), column))
            ):
                continue
            more += [
                (spent + cost, (*feature, (column, place)))
                for place, cost in enumerate(bases[column].cost)
                if spent + cost <= budget and not (feature and bases[column].alone(place))
            ]
        found += more
    return [feature for _, feature in sorted(found, key=lambda pair: (pair[0], pair[1])) if feature]


def cost_of(bases: Sequence[ColumnBasis], feature: Feature) -> int:
    """The sum of the costs of its functions."""
    return sum(bases[column].cost[place] for column, place in feature)


def feature_matrix(
    bases: Sequence[ColumnBasis], features: Iterable[Feature]
) -> Float[np.ndarray, "n f"]:
    """The features on all rows; 0, their mean, where a column that they read is missing."""
    features = list(features)
    rows = len(bases[0].functions)
    # Features in rows: each is one contiguous product.
    values = np.empty((len(features), rows))
    made: dict[Feature, np.ndarray] = {}
    for row, feature in zip(values, features, strict=True):
        (column, place), rest = feature[-1], feature[:-1]
        row[:] = bases[column].functions[:, place]
        if rest:
            # Made before, mostly: products grow by one factor.
            row *= made[rest] if rest in made else _product(bases, rest)
        made[feature] = row
    return values.T


def _product(bases: Sequence[ColumnBasis], feature: Feature) -> np.ndarray:
    return np.prod([bases[column].functions[:, place] for column, place in feature], axis=0)


def unknown_variance(
    bases: Sequence[ColumnBasis],
    features: Sequence[Feature],
    squares: Float[np.ndarray, " f"],
) -> Float[np.ndarray, " n"]:
    """What features of these squared coefficients add to the residual's variance, row by row.

    A feature that reads a missing value is unknown, and its variance is one. Exact on average for
    independent columns.
    """
    gaps: dict[tuple[int, ...], float] = {}
    for feature, square in zip(features, squares.tolist(), strict=True):
        gaps[columns_of(feature)] = gaps.get(columns_of(feature), 0.0) + square
    missing: Bool[np.ndarray, "n p"] = np.stack([basis.missing for basis in bases], axis=1)
    total = np.zeros(len(missing))
    for columns, square in gaps.items():
        total += square * missing[:, columns].any(axis=1)
    return total
