"""Small first: from a table a small sparse model beside its rivals, and whether more would pay."""

import dataclasses
import time
from collections import Counter
from collections.abc import Callable, Sequence

import numpy as np

from sparsejax.graphs import Dag
from sparsejax.pilot.cost import Cost, model_cost, network_costs
from sparsejax.pilot.decision import CONSTANT, EQUAL, GROWN, LIFT, OTHERS, Decision, decide
from sparsejax.pilot.folds import Fold, folds, repeated_rows, some_rows
from sparsejax.pilot.growth import Chosen, Growth, grow_while_it_pays
from sparsejax.pilot.layers import (
    Network,
    constant,
    dense,
    dense_for,
    of_lift,
    params_of,
    shallow,
    shallow_for,
)
from sparsejax.pilot.losses import loss_of, score_of
from sparsejax.pilot.matched import drawn_lift, module_of, parts_of, sizes_for
from sparsejax.pilot.plain_models import Fitted, boosting, constant_model, linear_model
from sparsejax.pilot.stability import Agreement, Endings, stability
from sparsejax.pilot.training import Runs, Training, train
from sparsejax.structure.discover import Structure
from sparsejax.targets.table import Table

LEAST_PARAMETERS, MOST_PARAMETERS = 100, 500
# A shallow network of fewer units than that is no rival.
LEAST_UNITS = 4
# Random lifts, and networks of each other kind, whose training is watched.
WATCHED = 4

Say = Callable[[str], None]


@dataclasses.dataclass(frozen=True, eq=False)
class Pilot:
    """What a pilot measured, split by split, and what follows.

    `losses`, `scores` `{candidate: (s,)}`: on test rows, in the loss of training (squared, of the
    standardised target; logistic, summed over classes one against the rest) and as the share of
    variance explained or of rows classified rightly. `parameters`: the fewest and the most over
    splits. `groups`: on how many splits these groups of columns were found. `levels`: parameters
    and test losses (s,) of the lift at each size, over the splits that have one. `ratio`: test rows
    over training rows.
    """

    table_name: str
    target_name: str
    task: str
    rows: int
    columns: tuple[str, ...]
    seed: int
    training: Training
    ratio: float
    structures: tuple[Structure, ...]
    groups: tuple[tuple[tuple[tuple[str, ...], ...], int], ...]
    losses: dict[str, np.ndarray]
    scores: dict[str, np.ndarray]
    parameters: dict[str, tuple[int, int]]
    endings: tuple[Endings, ...]
    agreements: tuple[Agreement, ...]
    growth: Growth | None
    levels: tuple[tuple[float, np.ndarray], ...]
    costs: tuple[Cost, ...]
    decision: Decision
    dag: Dag | None
    warnings: tuple[str, ...]
    seconds: dict[str, float]

    @property
    def splits(self) -> int:
        """Number of random splits."""
        return len(self.structures)


def pilot(
    table: Table,
    seed: int = 0,
    *,
    splits: int = 10,
    parameters: int | None = None,
    doublings: int = 2,
    training: Training | None = None,
    say: Say = lambda words: None,
) -> Pilot:
    """Discover, train a matched sparse lift beside its rivals, grow it while it pays, and decide.

    On each random split (60% to train on, 20% to choose by, 20% to test on) structure, means and
    fillings come from the training rows; a random sparse lift of the module that was found there, a
    dense and a shallow network of about as many `parameters` (by default half the training rows,
    100 to 500), a linear model and gradient boosting are fitted; validation rows choose runs,
    moments and penalties; test rows are looked at last and choose nothing. `doublings`: at most so
    many. `say` hears what is being done. Of more than 20,000 rows some are taken.

    Raises:
        ValueError: fewer than 40 rows or two splits; parameters (a shallow network needs four
            units), doublings or seed out of range; a target of one value in a training part.

    Example:
        `notebooks/discover_and_pilot.ipynb`; it takes a minute or two.
    """
    if parameters is not None and parameters < 20:
        raise ValueError(f"parameters: at least 20, got {parameters}")
    if doublings < 0 or seed < 0:
        raise ValueError(f"doublings and seed: zero or more, got {doublings} and {seed}")
    training = Training() if training is None else training
    clock = _Clock(say)
    table, said = some_rows(table, seed)
    with clock("discovery"):
        parts = folds(table, splits, seed)
    q, c = parts[0].train.x.shape[1], parts[0].train.y.shape[1]
    rows = len(parts[0].train.x)
    least = LEAST_UNITS * (q + 1 + c) + c
    if parameters is None:
        parameters = max(int(np.clip(rows // 2, LEAST_PARAMETERS, MOST_PARAMETERS)), least)
    elif parameters < least:
        raise ValueError(
            f"parameters: at least {least}, with which a shallow network of {q} inputs has "
            f"{LEAST_UNITS} units, got {parameters}"
        )
    task = table.task
    with clock("training"):
        starts = training.starts
        drawn = [_drawn(fold, parameters, starts, seed + n) for n, fold in enumerate(parts)]
        candidates = [
            [
                # Where no column matters the lift is a constant.
                [each.network for each in lifts] or [constant(q, c)] * starts,
                *_dense_networks(q, c, parameters, starts, seed + n),
            ]
            for n, lifts in enumerate(drawn)
        ]
        runs = train(parts, candidates, task, training, seed)
    networks = {
        name: [own[place].chosen for own in runs] for place, name in enumerate((LIFT, *EQUAL))
    }
    with clock("other models"):
        models = {
            CONSTANT: [constant_model(fold, task) for fold in parts],
            OTHERS[0]: [linear_model(fold, task) for fold in parts],
            OTHERS[1]: [boosting(fold, task, seed + n) for n, fold in enumerate(parts)],
        }
    structured = [n for n, fold in enumerate(parts) if fold.structure.support]
    chosen = {n: _chosen(drawn[n], runs[n][0], training) for n in structured}
    growth = None
    if len(structured) > 1 and doublings:
        with clock("growth"):
            growth = grow_while_it_pays(
                [parts[n] for n in structured], list(chosen.values()), task, training, seed,
                doublings,
            )  # fmt: skip
    endings: tuple[Endings, ...] = ()
    agreements: tuple[Agreement, ...] = ()
    costs: list[Cost] = []
    if structured:
        first = structured[0]
        with clock("stability"):
            watched = _drawn(parts[first], parameters, WATCHED, seed)
            rivals = dict(zip(EQUAL, _dense_networks(q, c, parameters, WATCHED, seed), strict=True))
            endings, agreements = stability(
                parts[first], {LIFT: [each.network for each in watched], **rivals}, task, seed
            )
        with clock("cost"):
            lifts = {LIFT: chosen[first]}
            if growth is not None and any(step.paid for step in growth.steps):
                lifts[GROWN] = growth.lifts[0]
            costs = network_costs(
                {name: (one.lift, params_of(one.lift, one.network)) for name, one in lifts.items()},
                dense_for(q, c, parameters), shallow_for(q, c, parameters), q, c,
            )  # fmt: skip
            costs += [
                model_cost(name, models[name][first].model, models[name][first].predict)
                for name in OTHERS
            ]
    outputs = {
        name: [network.outputs(fold.test.x) for network, fold in zip(own, parts, strict=True)]
        for name, own in networks.items()
    }
    outputs |= {name: _predicted(own, parts) for name, own in models.items()}
    if growth is not None and any(step.paid for step in growth.steps):
        final = dict(zip(structured, growth.lifts, strict=True))
        outputs[GROWN] = [
            (final[n].network if n in final else networks[LIFT][n]).outputs(fold.test.x)
            for n, fold in enumerate(parts)
        ]
    losses, scores = (
        {
            name: np.array([measure(o, f.test.y, task) for o, f in zip(own, parts, strict=True)])
            for name, own in outputs.items()
        }
        for measure in (loss_of, score_of)
    )
    ratio = len(parts[0].test.x) / rows
    counts = {
        name: _range([network.parameters for network in own]) for name, own in networks.items()
    }
    if GROWN in outputs and growth is not None:
        counts[GROWN] = _range([each.network.parameters for each in growth.lifts])
    return Pilot(
        table.name,
        table.target_name,
        task,
        table.rows,
        table.names,
        seed,
        training,
        ratio,
        tuple(fold.structure for fold in parts),
        _groups([fold.structure for fold in parts]),
        losses,
        scores,
        counts,
        endings,
        agreements,
        growth,
        _levels(growth, [parts[n] for n in structured], task),
        tuple(costs),
        decide(losses, ratio, growth, found=len(structured)),
        _dag([fold.structure for fold in parts]),
        _warnings([words for words in (said, repeated_rows(table)) if words], parts),
        clock.seconds,
    )


def _drawn(fold: Fold, parameters: int, starts: int, seed: int) -> list[Chosen]:
    """Random lifts of the module that this split suggests; none where no column matters."""
    q, c = fold.train.x.shape[1], fold.train.y.shape[1]
    if not fold.structure.support:
        return []
    parts = parts_of(fold.structure, fold.columns, fold.groups)
    module, sizes = module_of(parts, q, c), sizes_for(parts, c, parameters)
    found = []
    for start in range(starts):
        lift, params = drawn_lift(module, parts, sizes, 1000 * seed + start)
        found.append(Chosen(lift, parts, of_lift(lift, params, q, c)))
    return found


def _dense_networks(q: int, c: int, parameters: int, starts: int, seed: int) -> list[list[Network]]:
    widths, width = dense_for(q, c, parameters), shallow_for(q, c, parameters)
    seeds = [1000 * seed + start for start in range(starts)]
    return [
        [dense(q, *widths, c, each) for each in seeds],
        [shallow(q, width, c, each) for each in seeds],
    ]


def _chosen(drawn: Sequence[Chosen], runs: Runs, training: Training) -> Chosen:
    start = runs.best // len(training.tries)
    return dataclasses.replace(drawn[start], network=runs.chosen)


def _predicted(models: Sequence[Fitted], parts: Sequence[Fold]) -> list[np.ndarray]:
    return [model.outputs(fold.test) for model, fold in zip(models, parts, strict=True)]


def _range(values: Sequence[int]) -> tuple[int, int]:
    return min(values), max(values)


def _levels(
    growth: Growth | None, parts: Sequence[Fold], task: str
) -> tuple[tuple[float, np.ndarray], ...]:
    if growth is None:
        return ()
    return tuple(
        (
            float(np.mean([network.parameters for network in level])),
            np.array(
                [
                    loss_of(network.outputs(fold.test.x), fold.test.y, task)
                    for network, fold in zip(level, parts, strict=True)
                ]
            ),
        )
        for level in growth.levels
    )


def _same(found: Structure) -> tuple[tuple[str, ...], ...]:
    """The groups in the table's order, so that equal ones are equal."""
    place = found.columns.index
    groups = (tuple(sorted(group, key=place)) for group in found.groups)
    return tuple(sorted(groups, key=lambda group: place(group[0])))


def _groups(
    structures: Sequence[Structure],
) -> tuple[tuple[tuple[tuple[str, ...], ...], int], ...]:
    return tuple(Counter(map(_same, structures)).most_common())


def _dag(structures: Sequence[Structure]) -> Dag | None:
    """The composition of the first split whose groups are the most common ones."""
    ((common, _), *_) = _groups(structures)
    return next(found.dag for found in structures if _same(found) == common)


def _warnings(said: list[str], parts: Sequence[Fold]) -> tuple[str, ...]:
    for fold in parts:
        said += fold.structure.warnings
    # Correlations differ a little from split to split: the first words on a thing are enough.
    return tuple({warning.partition(":")[0]: warning for warning in reversed(said)}.values())[::-1]


class _Clock:
    """How long each stage takes; says which one begins."""

    def __init__(self, say: Say) -> None:
        self.seconds: dict[str, float] = {}
        self._say, self._stage, self._began = say, "", 0.0

    def __call__(self, stage: str) -> "_Clock":
        self._stage = stage
        return self

    def __enter__(self) -> None:
        self._say(self._stage)
        self._began = time.perf_counter()

    def __exit__(self, *_: object) -> None:
        self.seconds[self._stage] = time.perf_counter() - self._began
