"""From a table: which inputs matter, which act together, and what composition that tells of."""

import dataclasses
import functools
import itertools
import operator
from collections.abc import Sequence
from typing import Any

import numpy as np
from jaxtyping import Float

from sparsejax.graphs import Dag
from sparsejax.structure.column_basis import ColumnBasis, column_basis, orthonormal_columns
from sparsejax.structure.foretold_groups import FEWEST_KNOWN, MOST_KNOWN, foretold_groups
from sparsejax.structure.groups import (
    LEAST_PART,
    components,
    cut_at_the_widest_gap,
    relative_interactions,
)
from sparsejax.structure.recovered_dag import recovered_dag
from sparsejax.structure.screening import Screening, candidates, meeting, screen
from sparsejax.structure.separability import (
    MOST_SEPARATED,
    best_partition,
    discrete_turns,
    likely_partitions,
    surrogate_turns,
)
from sparsejax.structure.structured_network import Grouping
from sparsejax.structure.surrogate import Surrogate, fit_surrogate
from sparsejax.targets.table import Table

FEWEST_ROWS = 20
# Rows that the surrogate is fitted to: more would not change what is read off.
MOST_ROWS = 40_000
# Up to so many inputs all may meet in one term; of more only those that screening saw together.
MOST_FREE = 6
# Partitions that are compared by how they foretell rows: of five inputs the right one is all but
# always among the first five by their turns.
MOST_TRIED = 5
# Correlations between columns that are told, and those that make two columns one.
CORRELATED, SAME = 0.5, 0.999
_LEVEL = 0.01
# Of three columns of levels, any two make few patterns in the third.
FEWEST_LEVELLED, LEVELLED_TOLERANCE = 4, 0.2


@dataclasses.dataclass(frozen=True)
class Importance:
    """One input of the support, as shares of the target's variance.

    `first`: by itself; `total`: in all terms that read it, with its standard error.
    """

    name: str
    first: float
    total: float
    error: float


@dataclasses.dataclass(frozen=True)
class Interaction:
    """Two inputs that act together: the share of terms that read both.

    `relative`: over the weaker one's total index; `log10_p`: of no joint term.
    """

    first: str
    second: str
    share: float
    relative: float
    log10_p: float


@dataclasses.dataclass(frozen=True, eq=False)
class Structure:
    """What a table tells of the function behind it.

    `support`: inputs that matter, most important first. `groups`: those that act together, one
    alone where it adds to the rest. `additive`: no two act together. `explained`: the share of the
    target's variance that the fit explains on new rows. `null_level`: the share that the best of
    all terms explains by chance.
    """

    table_name: str
    target_name: str
    rows: int
    columns: tuple[str, ...]
    support: tuple[str, ...]
    groups: tuple[tuple[str, ...], ...]
    additive: bool
    explained: float
    null_level: float
    importances: tuple[Importance, ...]
    interactions: tuple[Interaction, ...]
    dag: Dag | None
    suggested_module: str
    warnings: tuple[str, ...]

    @property
    def places(self) -> tuple[tuple[int, ...], ...]:
        """The groups as places of columns, counted from 1."""
        return tuple(tuple(self.columns.index(n) + 1 for n in group) for group in self.groups)


def discover(table: Table, seed: int = 0) -> Structure:
    """The support, groups and composition of a table's target, from its rows alone.

    Columns are given orthonormal functions of their own (`column_basis`); blocks of their products
    are screened against chance (`screen`); a ridge regression on products of the support
    (`fit_surrogate`) gives shares of the variance. Two inputs act together where a Wald test tells
    and their joint part is a twentieth of the weaker one's share; groups are the components of that
    graph, and where one component holds all, its separable parts (`likely_partitions`, for up to
    eight numbers; of the first five that whose network foretells new rows best,
    `foretold_groups`) or its clusters.

    Limits: parts under one root are told apart by how directions turn, which takes more rows than
    the support does: about 2,000 for the two of `tanh(2 x1 x2) tanh(2 x3 x4)`, all but a product of
    four. They are not compared on new rows where fewer than 600 rows know all inputs, nor of more
    than two classes. Of an exact product there are no parts to tell. Effects that only show in more
    than four columns at once are not searched.

    Missing values are handled as such: a row says nothing about terms that it does not know.
    Shares are those of independent columns: `warnings` name columns that are not. Deterministic
    given `seed`.

    Raises:
        ValueError: fewer than twenty rows.

    Example:
        >>> from sparsejax.targets.table import Column, Table
        >>> x = np.random.default_rng(0).uniform(-1, 1, size=(400, 4))
        >>> columns = tuple(Column(name) for name in "abcd")
        >>> found = discover(Table(columns, x, x[:, 0] * x[:, 2] + x[:, 3]))
        >>> found.support[0], found.groups, found.additive
        ('d', (('d',), ('a', 'c')), False)
    """
    if table.rows < FEWEST_ROWS:
        raise ValueError(f"{table.name}: {table.rows} rows; at least {FEWEST_ROWS} are needed")
    rng = np.random.default_rng(seed)
    warnings = list(table.warnings)
    names = table.names
    rows = np.arange(table.rows)
    bases = [
        column_basis(values, category=column.kind == "category")
        for values, column in zip(table.values.T, table.columns, strict=True)
    ]
    duplicates, said = _alike(bases, names)
    warnings += said
    used = [at for at in range(len(names)) if at not in duplicates]
    targets = target_outputs(table)
    screening = screen([bases[at] for at in used], targets, rng, level=_LEVEL)
    if screening.highest_order < min(4, len(used)):
        warnings.append(
            f"{len(names)} columns are too many to search for effects that only show in products "
            f"of more than {screening.highest_order} columns"
        )
    places = [used[at] for at in screening.support]
    if not places:
        return Structure(
            table.name,
            table.target_name,
            table.rows,
            names,
            support=(),
            groups=(),
            additive=True,
            explained=0.0,
            null_level=screening.null_level,
            importances=(),
            interactions=(),
            dag=None,
            suggested_module="none: no column explains more than chance would",
            warnings=tuple(warnings),
        )
    if len(rows) > MOST_ROWS:
        some = np.sort(rng.permutation(rows)[:MOST_ROWS])
        bases = [_rows_of(basis, some) for basis in bases]
        targets = targets[some]
    blocks = [tuple(used[at] for at in block) for block in screening.blocks]
    allowed = (lambda _: True) if len(places) <= MOST_FREE else meeting(blocks)
    surrogate = fit_surrogate(bases, places, targets, allowed)
    return _read_off(table, surrogate, targets, places, blocks, screening, rng, warnings)


def _read_off(
    table: Table,
    surrogate: Surrogate,
    targets: Float[np.ndarray, "n c"],
    places: Sequence[int],
    blocks: Sequence[tuple[int, ...]],
    screening: Screening,
    rng: np.random.Generator,
    warnings: list[str],
) -> Structure:
    names, k = table.names, len(places)
    explained = float(np.clip(1 - surrogate.unexplained, 0, 1))
    # Shares of what is explained, as if columns were independent: the variances of the terms of
    # correlated ones add up to another number than that of their sum.
    variance = surrogate.share(lambda _: True)[0] / max(explained, 1e-12)
    variance = variance if variance > 0 else float(len(surrogate.noise))
    importances = []
    for at in places:
        total, error = surrogate.share({at}.issubset)
        alone, _ = surrogate.share(functools.partial(operator.eq, (at,)))
        importances.append(
            Importance(names[at], max(alone, 0.0) / variance, max(total, 0.0) / variance,
                       error / variance)
        )  # fmt: skip
    joint, log_p = np.zeros((k, k)), np.zeros((k, k))
    for i, j in itertools.combinations(range(k), 2):
        share, _ = surrogate.share({places[i], places[j]}.issubset)
        joint[i, j] = joint[j, i] = max(share, 0.0) / variance
        log_p[i, j] = log_p[j, i] = surrogate.log_p((places[i], places[j]))
    totals = np.array([importance.total for importance in importances])
    relative = relative_interactions(joint, totals)
    edges = (relative >= LEAST_PART) & (log_p < np.log(_LEVEL / max(k * (k - 1) / 2, 1)))
    parts = [tuple(part) for part in components(edges, range(k))]
    if len(parts) == 1 and k > 2 and surrogate.unexplained < 0.5:
        parts = _parts(surrogate, targets, places, relative, rng)
    order = sorted(range(k), key=lambda at: -totals[at])
    parts.sort(key=lambda part: -max(totals[at] for at in part))
    groups = [tuple(sorted(part, key=order.index)) for part in parts]
    dag = recovered_dag(
        names,
        [tuple(places[at] for at in group) for group in groups],
        _spread(relative, places, len(names)),
    )
    found = [
        Interaction(
            importances[i].name, importances[j].name, float(joint[i, j]), float(relative[i, j]),
            float(log_p[i, j] / np.log(10)),
        )
        for i, j in itertools.combinations(order, 2)
        if edges[i, j]
    ]  # fmt: skip
    named = tuple(tuple(importances[at].name for at in group) for group in groups)
    return Structure(
        table.name,
        table.target_name,
        table.rows,
        names,
        tuple(importances[at].name for at in order),
        named,
        not edges.any(),
        explained,
        screening.null_level,
        tuple(importances[at] for at in order),
        tuple(sorted(found, key=lambda pair: -pair.share)),
        dag,
        _suggestion(named, bool(edges.any())),
        tuple(warnings),
    )


def _parts(
    surrogate: Surrogate,
    targets: Float[np.ndarray, "n c"],
    places: Sequence[int],
    relative: np.ndarray,
    rng: np.random.Generator,
) -> list[tuple[int, ...]]:
    smooth = all(surrogate.bases[at].smooth is not None for at in places)
    if smooth and len(places) <= MOST_SEPARATED:
        likely = likely_partitions(surrogate_turns(surrogate, places, rng))
        if 1 < len(likely[0]) < len(places):
            return _foretold(surrogate, targets, places, likely, rng)
        return [tuple(range(len(places)))]
    levels = all(surrogate.bases[at].smooth is None for at in places)
    if levels and FEWEST_LEVELLED <= len(places) <= MOST_SEPARATED:
        return best_partition(discrete_turns(surrogate, places), LEVELLED_TOLERANCE)
    if len(places) > MOST_SEPARATED:
        return cut_at_the_widest_gap(relative)
    return [tuple(range(len(places)))]


def _foretold(
    surrogate: Surrogate,
    targets: Float[np.ndarray, "n c"],
    places: Sequence[int],
    likely: Sequence[Grouping],
    rng: np.random.Generator,
) -> list[tuple[int, ...]]:
    """Of the partitions that turns find likely the one that foretells new rows best."""
    tried = [parts for parts in likely if 1 < len(parts) < len(places)]
    bases = [surrogate.bases[at] for at in places]
    (known,) = np.nonzero(~np.stack([basis.missing for basis in bases]).any(axis=0))
    if targets.shape[1] == 1 and len(known) >= FEWEST_KNOWN:
        some = rng.permutation(known)[:MOST_KNOWN]
        # The first function of a smooth column is its ranks.
        x = np.stack([basis.functions[some, 0] for basis in bases])
        return list(foretold_groups(tried[:MOST_TRIED], x, targets[some, 0], rng))
    return list(tried[0])


def _spread(relative: np.ndarray, places: Sequence[int], columns: int) -> np.ndarray:
    wide = np.zeros((columns, columns))
    wide[np.ix_(list(places), list(places))] = relative
    return wide


def _suggestion(groups: Sequence[Sequence[str]], interacting: bool) -> str:
    most = max(map(len, groups))
    inputs = sum(map(len, groups))
    if len(groups) == 1 and most > 1:
        return f"graphs.mlp on {inputs} inputs, which all act together"
    if not interacting:
        return f"graphs.from_target: a sum of functions of one input each, {inputs} of them"
    return f"graphs.from_target: {len(groups)} parts of at most {most} inputs"


def target_outputs(table: Table) -> Float[np.ndarray, "n c"]:
    """The target with mean zero and variance one; of classes uncorrelated contrasts of them.

    Example:
        >>> from sparsejax.targets import real_table
        >>> outputs = target_outputs(real_table("iris"))
        >>> (outputs.T @ outputs / len(outputs)).round(6).tolist()
        [[1.0, 0.0], [0.0, 1.0]]
    """
    if table.task == "regression":
        columns = table.target[:, None]
    else:
        found = np.unique(table.target)
        columns = (table.target[:, None] == found[None, :-1]).astype(float)
    return orthonormal_columns(columns)


def _rows_of(basis: ColumnBasis, rows: np.ndarray) -> ColumnBasis:
    return dataclasses.replace(basis, functions=basis.functions[rows], missing=basis.missing[rows])


def _alike(bases: Sequence[ColumnBasis], names: Sequence[str]) -> tuple[set[int], list[str]]:
    """Columns that say the same as an earlier one, and words on those and on correlated ones."""
    made = candidates(bases)
    # That two columns are missing in the same rows does not make them one.
    valued = [at for at, (c, k) in enumerate(made.places) if not bases[c].alone(k)]
    f = made.functions[:, valued]
    rows = len(f)
    correlation = np.abs((f.T @ f).astype(float)) / rows
    column = np.array([made.places[at][0] for at in valued], int)
    p = len(names)
    strongest = np.zeros((p, p))
    np.maximum.at(strongest, (column[:, None], column[None, :]), correlation)
    # Over rows where both are known.
    missing = np.stack([basis.missing for basis in bases], axis=1).astype(float)
    strongest /= np.maximum(1 - (missing.T @ missing) / rows, 1e-9)
    duplicates: set[int] = set()
    said, correlated = [], []
    for i, j in itertools.combinations(range(p), 2):
        if i in duplicates or j in duplicates:
            continue
        if strongest[i, j] > SAME and (bases[i].missing == bases[j].missing).all():
            duplicates.add(j)
            said.append(f"column {names[j]!r} says the same as {names[i]!r} and was left out")
        elif strongest[i, j] > CORRELATED:
            correlated.append((strongest[i, j], f"{names[i]} and {names[j]}"))
    if correlated:
        worst = sorted(correlated, reverse=True)
        shown = ", ".join(f"{pair} ({size:.2f})" for size, pair in worst[:3])
        more = f" and {len(worst) - 3} more pairs" if len(worst) > 3 else ""
        said.append(
            f"correlated columns: {shown}{more}; shares of the variance are those of independent "
            "columns, and which of two such columns matters is less certain"
        )
    return duplicates, said


def as_json(found: Structure) -> dict[str, Any]:
    """A structure in what JSON has; the keys that programs read come first."""
    return {
        "support": list(found.support),
        "groups": [list(group) for group in found.groups],
        "additive": found.additive,
        "null_level": found.null_level,
        "suggested_module": found.suggested_module,
        "warnings": list(found.warnings),
        "explained": found.explained,
        "rows": found.rows,
        "columns": list(found.columns),
        "importances": [dataclasses.asdict(importance) for importance in found.importances],
        "interactions": [dataclasses.asdict(pair) for pair in found.interactions],
        "dag": None if found.dag is None else found.dag.as_json(),
    }
