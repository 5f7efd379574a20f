"""Which inputs enter a function through one constituent: weak separability, from derivatives."""

import itertools
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from sparsejax.structure.features import Feature
from sparsejax.structure.surrogate import Surrogate

# Partitions of more inputs than this are too many to compare.
MOST_SEPARATED = 8
# Derivatives of fitted polynomials are worst near the ends of a range, and are read off within.
_INNER = 0.85
# The weight of a direction that does not turn.
_UNTURNED = 0.7
# Of the largest turn; and a largest one below which nothing turns but by errors of the fit.
_PART_OF_LARGEST, LEAST_TURN = 0.6, 0.1


def inseparability(
    first: tuple[Float[np.ndarray, "m k"], Float[np.ndarray, "m k k"]],
    second: tuple[Float[np.ndarray, "m k"], Float[np.ndarray, "m k k"]],
) -> Float[np.ndarray, "k k k"]:
    """`D[i, j, l]`: how far the direction of `(f_i, f_j)` turns with input l; 0 to 1.

    Inputs i and j enter through a constituent that does not read l exactly where
    `f_il f_j - f_jl f_i = 0`. Given are gradients and second derivatives at the same points of two
    functions: a function twice, or two independent fits, whose errors then do not add up in the
    mean of the product. `D` is that mean over that of the sizes of the two terms.

    Source: Leontief, Econometrica 1947; Gorman, Review of Economic Studies 1968 (separability by
    ratios of derivatives).

    Example:
        >>> x = np.random.default_rng(0).normal(size=(100, 3))
        >>> gradient = np.stack([x[:, 1] * x[:, 2], x[:, 0] * x[:, 2], x[:, 0] * x[:, 1]], axis=1)
        >>> second = np.zeros((100, 3, 3))
        >>> second[:, 0, 1] = second[:, 1, 0] = x[:, 2]
        >>> second[:, 0, 2] = second[:, 2, 0] = x[:, 1]
        >>> second[:, 1, 2] = second[:, 2, 1] = x[:, 0]
        >>> d = inseparability((gradient, second), (gradient, second))
        >>> bool(d[0, 1, 2] < 1e-12)  # a product is separable in every pair
        True
    """
    k = first[0].shape[1]
    found = np.zeros((k, k, k))
    for i, j in itertools.combinations(range(k), 2):
        for other in set(range(k)) - {i, j}:
            parts = [
                (hessian[:, i, other] * g[:, j], hessian[:, j, other] * g[:, i])
                for g, hessian in (first, second)
            ]
            turn = np.mean((parts[0][0] - parts[0][1]) * (parts[1][0] - parts[1][1]))
            size = np.mean(
                (np.abs(parts[0][0]) + np.abs(parts[0][1]))
                * (np.abs(parts[1][0]) + np.abs(parts[1][1]))
            )
            found[i, j, other] = found[j, i, other] = np.clip(turn / size, 0, 1) if size else 0.0
    return found


def best_partition(
    turns: Float[np.ndarray, "k k k"], tolerance: float = 0.4
) -> list[tuple[int, ...]]:
    """The parts that enter through one constituent each; one part with all where none do.

    Of all partitions that which gains most: a pair within a part gains `tolerance - D` for every
    input outside, a pair across parts gains `D - tolerance` for every other input. A `D` below the
    tolerance weighs less than one above: an input of little effect turns nothing. Where every input
    would be alone there is no part to tell apart. Constants were chosen on random targets.

    Where the root is all but a product of parts that are all but products, as in `product_tree`,
    every pair is nearly separable and all turns are small: the tolerance is then a part of the
    largest one. Of an exact product of inputs any partition would do, and none is given.

    Example:
        >>> turns = np.ones((4, 4, 4))
        >>> turns[0, 1] = turns[1, 0] = turns[2, 3] = turns[3, 2] = 0
        >>> best_partition(turns)
        [(0, 1), (2, 3)]
    """
    parts = likely_partitions(turns, tolerance)[0]
    whole = [tuple(range(len(turns)))]
    return whole if len(parts) == len(turns) else list(parts)


def likely_partitions(
    turns: Float[np.ndarray, "k k k"], tolerance: float = 0.4
) -> list[tuple[tuple[int, ...], ...]]:
    """All partitions by what they gain, as `best_partition` counts it, the best one first.

    One part with all alone where nothing turns, and for few or many inputs.

    Example:
        >>> turns = np.ones((3, 3, 3))
        >>> turns[0, 1] = turns[1, 0] = 0
        >>> likely_partitions(turns)[0]
        ((0, 1), (2,))
    """
    k = len(turns)
    whole = (tuple(range(k)),)
    if k < 3 or k > MOST_SEPARATED:
        return [whole]
    largest = max(float(turns[i, j, other]) for i, j, other in itertools.permutations(range(k), 3))
    if largest < LEAST_TURN:
        return [whole]
    tolerance = min(tolerance, _PART_OF_LARGEST * largest)
    gain = np.where(turns > tolerance, 1.0, _UNTURNED) * (turns - tolerance)
    found = []
    for labels in _partitions(k):
        value = 0.0
        for i, j in itertools.combinations(range(k), 2):
            same = labels[i] == labels[j]
            for other in range(k):
                if other in (i, j) or (same and labels[other] == labels[i]):
                    continue
                value += -gain[i, j, other] if same else gain[i, j, other]
        parts = tuple(
            tuple(i for i in range(k) if labels[i] == label) for label in sorted(set(labels))
        )
        found.append((value, parts))
    # Stable, and one part with all comes first of those that gain nothing.
    return [parts for _, parts in sorted(found, key=lambda pair: -pair[0])]


def _partitions(k: int, head: tuple[int, ...] = ()):
    """Labels of all partitions of k things, each once."""
    if len(head) == k:
        yield head
        return
    for label in range(max(head, default=-1) + 2):
        yield from _partitions(k, (*head, label))


def surrogate_turns(
    surrogate: Surrogate, columns: Sequence[int], rng: np.random.Generator, points: int = 2000
) -> Float[np.ndarray, "k k k"]:
    """`inseparability` of a surrogate in smooth columns, from its two halves."""
    ranks = rng.uniform(-_INNER, _INNER, size=(points, len(columns)))
    place = {column: at for at, column in enumerate(columns)}
    values = [
        [surrogate.bases[c].at(ranks[:, place[c]], derivative=d) for d in (False, True)]
        for c in columns
    ]

    def evaluate(coefficients: np.ndarray, along: tuple[int, ...]) -> np.ndarray:
        total = np.zeros(points)
        for feature, b in zip(surrogate.features, coefficients, strict=True):
            if set(along) <= {place[c] for c, _ in feature}:
                total += b * _product(feature, along)
        return total

    def _product(feature: Feature, along: tuple[int, ...]) -> np.ndarray:
        result = np.ones(points)
        for c, function in feature:
            result = result * values[place[c]][int(place[c] in along)][:, function]
        return result

    def _turns(output: int) -> np.ndarray:
        k, derived = len(columns), []
        for half in surrogate.halves:
            b = half[:, output]
            gradient = np.stack([evaluate(b, (i,)) for i in range(k)], axis=1)
            second = np.zeros((points, k, k))
            for i, j in itertools.combinations(range(k), 2):
                second[:, i, j] = second[:, j, i] = evaluate(b, (i, j))
            derived.append((gradient, second))
        return inseparability(derived[0], derived[1])

    # Classes have several outputs: parts are those of all.
    return np.mean([_turns(output) for output in range(len(surrogate.noise))], axis=0)


def discrete_turns(surrogate: Surrogate, columns: Sequence[int]) -> Float[np.ndarray, "k k k"]:
    """The same of levels, without derivatives: how many patterns two columns make in the rest.

    The coefficients of products of a function of columns i and j with one of all others are a
    matrix; where i and j enter through a constituent of few values its rank is small. Given is the
    rank's participation ratio, from the two halves, less one over the most that it can be, for
    every third column alike. Ours.

    Example:
        >>> from sparsejax.structure.column_basis import column_basis
        >>> from sparsejax.structure.surrogate import fit_surrogate
        >>> x = np.random.default_rng(0).integers(0, 3, size=(2000, 4)).astype(float)
        >>> h, g = (x[:, 0] + x[:, 1]) % 3, x[:, 2] * x[:, 3] > 1
        >>> y = ((h == 0) == g)[:, None] - 0.5
        >>> fitted = fit_surrogate([column_basis(c) for c in x.T], range(4), y, lambda c: True)
        >>> turns = discrete_turns(fitted, range(4))
        >>> bool(turns[0, 1, 2] < 0.1), bool(turns[0, 2, 1] > 0.3)
        (True, True)
    """
    k = len(columns)
    turns = np.zeros((k, k, k))
    for i, j in itertools.combinations(range(k), 2):
        within = {columns[i], columns[j]}
        rows: dict[Feature, int] = {}
        rest: dict[Feature, int] = {}
        entries = []
        for at, feature in enumerate(surrogate.features):
            inner = tuple(part for part in feature if part[0] in within)
            outer = tuple(part for part in feature if part[0] not in within)
            if inner:
                row = rows.setdefault(inner, len(rows))
                entries.append((at, row, rest.setdefault(outer, len(rest))))
        halves = []
        for half in surrogate.halves:
            matrix = np.zeros((len(rows), len(rest), half.shape[1]))
            for at, row, column in entries:
                matrix[row, column] = half[at]
            halves.append(matrix.reshape(len(rows), -1))
        product = halves[0] @ halves[1].T
        # Errors of the halves do not add up in their product.
        size, square = float(np.trace(product)), float((product * product.T).sum())
        most = min(halves[0].shape)
        ratio = size**2 / square if size > 0 and square > 0 else float(most)
        turns[i, j] = turns[j, i] = float(np.clip((ratio - 1) / max(most - 1, 1), 0, 1))
    return turns
