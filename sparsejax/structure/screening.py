"""Which columns matter: blocks of terms that explain what chance would not."""

import dataclasses
import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np
import scipy.stats
from jaxtyping import Float

from sparsejax.structure.column_basis import ColumnBasis
from sparsejax.structure.features import (
    Feature,
    cost_of,
    feature_matrix,
    unknown_variance,
)

# What a product of two may cost, and each factor of it: a surface that bends both ways.
PAIR_BUDGET, FACTOR_BUDGET, MOST_FACTORS = 4, 3, 8
# Rows that screening for products of three and four reads, and numbers that it may multiply.
PRODUCT_ROWS, PRODUCT_WORK = 20_000, 1e12
_ROUNDS = 12

Block = tuple[int, ...]
"""Columns whose functions are multiplied."""


@dataclasses.dataclass(frozen=True)
class Screening:
    """Blocks that were kept with the logarithm of their p-values, and what chance reaches.

    `null_level`: the share of the target's variance that the best of all blocks would explain by
    chance, the 95% quantile over permutations of what is left unexplained. `highest_order`: columns
    in the products that were searched.
    """

    blocks: dict[Block, float]
    null_level: float
    highest_order: int

    @property
    def support(self) -> tuple[int, ...]:
        """Columns of the kept blocks."""
        return tuple(sorted({column for block in self.blocks for column in block}))


@dataclasses.dataclass(frozen=True, eq=False)
class Candidates:
    """The functions from which blocks are made, and which columns they belong to."""

    bases: Sequence[ColumnBasis]
    places: tuple[tuple[int, int], ...]
    functions: Float[np.ndarray, "n m"]
    owner: Float[np.ndarray, "m p"]
    may_meet: Float[np.ndarray, "m m"]

    @property
    def blocks(self) -> int:
        """How many single columns, pairs and triples of them there are."""
        p = len(self.bases)
        return p + p * (p - 1) // 2 + p * (p - 1) * (p - 2) // 6


def candidates(bases: Sequence[ColumnBasis]) -> Candidates:
    """The cheap functions of all columns."""
    places = [
        (at, place)
        for at, basis in enumerate(bases)
        for place, cost in enumerate(basis.cost)
        if (cost <= FACTOR_BUDGET and place < MOST_FACTORS) or basis.alone(place)
    ]
    wide = sum(len(basis.functions) for basis in bases) > 1_000_000
    functions = np.empty((len(bases[0].functions), len(places)), np.float32 if wide else np.float64)
    for at, (owned, place) in enumerate(places):
        functions[:, at] = bases[owned].functions[:, place]
    column = np.array([c for c, _ in places], int)
    cost = np.array([bases[c].cost[k] for c, k in places])
    owner = (column[:, None] == np.arange(len(bases))).astype(float)
    meeting = np.array([not bases[c].alone(k) for c, k in places], bool)
    may_meet = (column[:, None] < column) & (cost[:, None] + cost <= PAIR_BUDGET)
    may_meet &= meeting[:, None] & meeting
    return Candidates(bases, tuple(places), functions, owner, may_meet.astype(float))


def screen(
    bases: Sequence[ColumnBasis],
    targets: Float[np.ndarray, "n c"],
    rng: np.random.Generator,
    *,
    level: float = 0.01,
    permutations: int = 20,
) -> Screening:
    """Add blocks that explain what is left, refit, and again; then drop what the others explain.

    `targets`: uncorrelated, of variance one. A block's score is the sum of squared correlations
    with the residual, each over its own (heteroscedasticity-consistent) variance: chi-squared where
    there is nothing. It is added where its p-value is below `level` shared among all blocks, and
    below that of the best block of every permutation of the target. Rows weigh by how
    much of the fit is known in them.

    Source: score tests with White's variance (Econometrica 1980), Wald's with that of MacKinnon,
    White, J. of Econometrics 1985; permutations of residuals: Freedman, Lane, J. of Business &
    Economic Statistics 1983.
    """
    made = candidates(bases)
    rows = len(targets)
    centred = targets - targets.mean(axis=0)
    # Half of the level for up to three columns, half for four.
    threshold = np.log(level / 2 / made.blocks)
    # The best of permuted targets, on few rows where there are many: chance is larger there.
    shuffled = [rng.permutation(rows)[: min(rows, PRODUCT_ROWS)] for _ in range(permutations)]
    small = _rows_of(made, np.arange(min(rows, PRODUCT_ROWS)))
    for order in shuffled:
        best = min(_scores(small, centred[order], np.ones(len(order)))[0].values(), default=0.0)
        threshold = min(threshold, best)
    kept: dict[Block, float] = {}
    residual, weights = centred, np.ones(rows)
    most = rows // 5
    simplest = sum(_first(made, c, k) and not bases[c].alone(k) for c, k in made.places)
    # Work: multiplications of one pass, which are of matrices.
    orders = [
        order
        for order in (3, 4)
        if order <= len(bases)
        and min(rows, PRODUCT_ROWS) * simplest**order * targets.shape[1] <= PRODUCT_WORK
    ]
    for _ in range(_ROUNDS):
        found, _ = _scores(made, residual, weights)
        new = {b: p for b, p in found.items() if p < threshold and b not in kept}
        for factors in orders:
            if not new:
                bound = threshold if factors == 3 else np.log(level / 2 / math.comb(len(bases), 4))
                new = {
                    b: p
                    for b, p in _product_scores(
                        made, residual, weights, rng, factors, bound
                    ).items()
                    if b not in kept
                }
        if not new:
            break
        for block in sorted(new, key=new.__getitem__):
            if sum(len(features_of(made, b)) for b in [*kept, block]) <= most:
                kept[block] = new[block]
        residual, weights, _, _ = _fit(made, kept, centred)
    kept = _without_the_explained(made, kept, centred, threshold)
    residual, _, _, _ = _fit(made, kept, centred)
    return Screening(
        kept, _null_level(small, residual, centred, rng, permutations), max([2, *orders])
    )


def features_of(made: Candidates, block: Block) -> list[Feature]:
    """The products of cheap functions of a block's columns; a single column has all of its own."""
    if len(block) == 1:
        return [((block[0], place),) for place in range(len(made.bases[block[0]].cost))]
    at = [
        [
            (c, k)
            for c, k in made.places
            if c == column and not made.bases[c].alone(k) and (len(block) < 3 or _first(made, c, k))
        ]
        for column in block
    ]
    found: list[Feature] = [()]
    for functions in at:
        found = [(*feature, function) for feature in found for function in functions]
    if len(block) > 2:
        return found
    return [f for f in found if cost_of(made.bases, f) <= PAIR_BUDGET]


def _first(made: Candidates, column: int, place: int) -> bool:
    return made.bases[column].cost[place] == 1


def _rows_of(made: Candidates, rows: np.ndarray) -> Candidates:
    return dataclasses.replace(made, functions=made.functions[rows])


def _scores(
    made: Candidates, residual: np.ndarray, weights: np.ndarray
) -> tuple[dict[Block, float], float]:
    """Logarithms of p-values of single columns and pairs, and the largest share explained."""
    f = made.functions
    # Twice: the simplest functions by themselves, and all: a line is not to drown among curves.
    simple = np.array([float(_first(made, c, k)) for c, k in made.places])
    owners = [made.owner * simple[:, None], made.owner]
    p, outputs = len(made.bases), residual.shape[1]
    single = [np.zeros(p) for _ in owners]
    pair = [np.zeros((p, p)) for _ in owners]
    for output in range(outputs):
        s = (weights * residual[:, output]).astype(f.dtype)
        ratio = _ratio(s @ f, s**2 @ f**2)
        products = _ratio((f * s[:, None]).T @ f, (f**2 * (s**2)[:, None]).T @ f**2)
        for place, owner in enumerate(owners):
            single[place] += ratio @ owner
            pair[place] += owner.T @ (products * made.may_meet) @ owner
    freedom = [owner.sum(axis=0) for owner in owners]
    pair_freedom = [owner.T @ made.may_meet @ owner for owner in owners]
    found: dict[Block, float] = {}
    for column, log_p in enumerate(_least_log_p(single, freedom, outputs)):
        found[(column,)] = float(log_p)
    log_pairs = _least_log_p(pair, pair_freedom, outputs)
    for i, j in zip(*np.nonzero(np.triu(pair_freedom[1], 1)), strict=True):
        found[int(i), int(j)] = float(log_pairs[i, j])
    best = max(single[1].max(initial=0.0), pair[1].max(initial=0.0)) / (len(f) * outputs)
    return found, float(min(best, 1.0))


def _least_log_p(
    statistics: list[np.ndarray], freedom: list[np.ndarray], outputs: int
) -> np.ndarray:
    """Of the two tests the better one, its p-value doubled; the same one twice is one."""
    logs = [_log_p(s, k * outputs) for s, k in zip(statistics, freedom, strict=True)]
    doubled = np.where(freedom[0] == freedom[1], 0.0, np.log(2))
    return np.minimum(np.minimum(*logs) + doubled, 0.0)


def _ratio(top: np.ndarray, bottom: np.ndarray) -> np.ndarray:
    top, bottom = top.astype(float), bottom.astype(float)
    return np.divide(top**2, bottom, out=np.zeros_like(top), where=bottom > 0)


def _log_p(statistic: np.ndarray, freedom: np.ndarray) -> np.ndarray:
    return np.where(freedom > 0, scipy.stats.chi2.logsf(statistic, np.maximum(freedom, 1)), 0.0)


def _product_scores(
    made: Candidates,
    residual: np.ndarray,
    weights: np.ndarray,
    rng: np.random.Generator,
    order: int,
    threshold: float,
) -> dict[Block, float]:
    """Products of simplest functions of `order` columns, three or four: p-values below a threshold.

    Two columns of each block run in products of matrices, the others in a loop.
    """
    rows = len(residual)
    some = rng.permutation(rows)[:PRODUCT_ROWS] if rows > PRODUCT_ROWS else np.arange(rows)
    cheap = np.array(
        [
            at
            for at, (c, k) in enumerate(made.places)
            if _first(made, c, k) and not made.bases[c].alone(k)
        ],
        int,
    )
    f, owner = made.functions[np.ix_(some, cheap)], made.owner[cheap]
    column = np.array([made.places[at][0] for at in cheap], int)
    outputs = [(weights * residual[:, c])[some].astype(f.dtype) for c in range(residual.shape[1])]
    found: dict[Block, float] = {}
    for head in itertools.combinations(range(len(made.bases) - 2), order - 2):
        later = np.flatnonzero(column > head[-1])
        g, o = f[:, later], owner[later]
        statistic, freedom = np.zeros(2 * o.shape[1:]), np.zeros(2 * o.shape[1:])
        for places in itertools.product(*(np.flatnonzero(column == c) for c in head)):
            factor = f[:, list(places)].prod(axis=1)
            for s in outputs:
                u = s * factor
                bottom = (g**2 * (u**2)[:, None]).T @ g**2
                statistic += o.T @ _ratio((g * u[:, None]).T @ g, bottom) @ o
                freedom += o.T @ (bottom > 0) @ o
        logs = _log_p(statistic, freedom)
        for i, j in np.argwhere(np.triu((logs < threshold) & (freedom > 0), 1)).tolist():
            found[*head, i, j] = float(logs[i, j])
    return found


def _fit(
    made: Candidates, kept: dict[Block, float], centred: np.ndarray
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Residual, weights of rows, coefficients of a constant and the features, and their matrix."""
    rows = len(centred)
    features = [feature for block in kept for feature in features_of(made, block)]
    if not features:
        return centred, np.ones(rows), np.zeros((0, centred.shape[1])), np.zeros((rows, 0))
    matrix = np.column_stack([np.ones(rows), feature_matrix(made.bases, features)])
    gaps = any(made.bases[column].missing.any() for block in kept for column in block)
    weights = np.ones(rows)
    for _ in range(3 if gaps else 1):
        weighted, gram = _gram(matrix, weights)
        coefficients = np.linalg.solve(gram, weighted.T @ centred)
        residual = centred - matrix @ coefficients
        if gaps:
            squares = (coefficients[1:] ** 2).mean(axis=1)
            unknown = unknown_variance(made.bases, features, squares)
            rest = max(float((residual[unknown <= np.median(unknown)] ** 2).mean()), 1e-12)
            weights = rest / (rest + unknown)
    return residual, weights, coefficients, matrix


def _gram(matrix: np.ndarray, weights: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The weighted rows, and their products with the plain ones, kept from being singular."""
    weighted = matrix * weights[:, None]
    gram = weighted.T @ matrix
    gram[np.diag_indices_from(gram)] += 1e-6 * np.trace(gram) / len(gram)
    return weighted, gram


def _without_the_explained(
    made: Candidates, kept: dict[Block, float], centred: np.ndarray, threshold: float
) -> dict[Block, float]:
    """Drop one after another the block that the others make least certain."""
    kept = dict(kept)
    while kept:
        residual, weights, coefficients, matrix = _fit(made, kept, centred)
        weighted, gram = _gram(matrix, weights)
        inverse = np.linalg.inv(gram)
        moves = weighted @ inverse
        # Residuals are the smaller the more a row decides its own fit (HC3).
        own = np.minimum((moves * matrix).sum(axis=1), 0.99)
        residual = residual / (1 - own)[:, None]
        logs: dict[Block, float] = {}
        first = 1
        for block in kept:
            features = features_of(made, block)
            # Rough functions of a single column would dilute the test, and were not screened.
            at = [
                first + place
                for place, feature in enumerate(features)
                if len(feature) > 1 or feature[0] in made.places
            ]
            simple = [a for a in at if all(_first(made, c, k) for c, k in features[a - first])]
            first += len(features)
            statistics, freedom = [], []
            for tested in (simple, at):
                statistic = 0.0
                for output in range(centred.shape[1]) if tested else ():
                    influence = moves[:, tested] * residual[:, [output]]
                    covariance = influence.T @ influence
                    covariance[np.diag_indices_from(covariance)] += 1e-12 * np.trace(covariance)
                    b = coefficients[tested, output]
                    statistic += float(b @ np.linalg.solve(covariance, b))
                statistics.append(np.array([statistic]))
                freedom.append(np.array([len(tested)]))
            logs[block] = float(_least_log_p(statistics, freedom, centred.shape[1])[0])
        worst = max(logs, key=logs.__getitem__)
        if logs[worst] < threshold:
            return logs
        del kept[worst]
    return kept


def _null_level(
    small: Candidates,
    residual: np.ndarray,
    centred: np.ndarray,
    rng: np.random.Generator,
    permutations: int,
) -> float:
    rows = len(residual)
    left = float((residual**2).sum() / (centred**2).sum())
    best = [
        _scores(small, residual[rng.permutation(rows)[: len(small.functions)]],
                np.ones(len(small.functions)))[1]
        for _ in range(permutations)
    ]  # fmt: skip
    # A share found by chance falls like one over the rows.
    return float(np.quantile(best, 0.95)) * left * len(small.functions) / rows


def meeting(blocks: Sequence[Block]) -> Callable[[tuple[int, ...]], bool]:
    """Whether every two of some columns share a block, as a function of the columns."""
    together = {frozenset(pair) for block in blocks for pair in itertools.combinations(block, 2)}
    return lambda columns: all(
        frozenset(pair) in together for pair in itertools.combinations(columns, 2)
    )
