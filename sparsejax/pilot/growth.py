"""Grows the chosen lifts while it pays, and asks which single vertex is worth widening."""

import dataclasses
from collections import Counter
from collections.abc import Sequence

import jax
import numpy as np

from sparsejax.lifts import Lift, grow
from sparsejax.pilot.comparison import Interval, paired, together
from sparsejax.pilot.folds import Fold
from sparsejax.pilot.layers import Network, of_lift, params_of
from sparsejax.pilot.matched import IN_DEGREE, MOST_READ, ROOT, Parts, initialisation
from sparsejax.pilot.training import Runs, Training, train

# What stands for a new part, of all columns that no part reads.
LEFT_OUT = "left out"
# The most important parts are widened, each alone; more would cost as much again.
MOST_WIDENED = 3


@dataclasses.dataclass(frozen=True, eq=False)
class Chosen:
    """The lift that a fold has chosen, and its trained matrices."""

    lift: Lift
    parts: Parts
    network: Network


@dataclasses.dataclass(frozen=True)
class GrowthStep:
    """One doubling: parameters before and after (means over folds), and what it brought.

    `fall`: of the validation loss below that of the same lift trained on for as long.
    """

    before: float
    after: float
    fall: Interval
    paid: bool


@dataclasses.dataclass(frozen=True)
class Widening:
    """One vertex doubled and nothing else: by how much the validation loss falls, and its price."""

    what: str
    fall: Interval
    added: float
    splits: int

    @property
    def pays(self) -> bool:
        """Whether the fall is beyond its uncertainty."""
        return self.fall.low > 0


@dataclasses.dataclass(frozen=True, eq=False)
class Growth:
    """The path of growth: its steps, why it stopped, what widening a single vertex would bring.

    `levels`: at each size the network of each fold, the first ones not grown; `lifts`: the last
    ones that paid.
    """

    steps: tuple[GrowthStep, ...]
    stopped: str
    widenings: tuple[Widening, ...]
    levels: tuple[tuple[Network, ...], ...]
    lifts: tuple[Chosen, ...]


def grow_while_it_pays(
    folds: Sequence[Fold],
    chosen: Sequence[Chosen],
    task: str,
    training: Training,
    seed: int,
    most: int = 2,
) -> Growth:
    """Double the lifts of all folds by `lifts.grow`, which keeps their function, and train on.

    A doubling pays where the validation loss falls below that of the ungrown lift, trained on for
    as long with as many tries, by more than the interval over splits. Halves of the validation rows
    take turns: where one chooses run and moment the other judges. In the same program single
    vertices are doubled, a part with new edges into the root's vertices, which start at zero; and
    the columns that were left out make one more part.

    Raises:
        ValueError: folds and lifts that are not equally many, or fewer than two.
    """
    if len(folds) != len(chosen) or len(folds) < 2:
        raise ValueError(f"growth: {len(folds)} folds and {len(chosen)} lifts; two are needed")
    # Starts are no longer random: the lift is one that was trained.
    training = dataclasses.replace(training, starts=1)
    steps: list[GrowthStep] = []
    widenings: tuple[Widening, ...] = ()
    levels = [tuple(each.network for each in chosen)]
    current = list(chosen)
    stopped = f"after {most} doublings, as many as were allowed"
    ratio = len(folds[0].validation.x) / len(folds[0].train.x)
    for level in range(most):
        grown, runs = _try(folds, current, task, training, seed + level)
        kept = np.array([own[0].judged for own in runs])
        larger = np.array([own[1].judged for own in runs])
        networks = [own[1].chosen for own in runs]
        fall = paired(kept, larger, ratio)
        widenings = _widenings(current, runs, kept, ratio)
        levels.append(tuple(networks))
        before = float(np.mean([each.network.parameters for each in current]))
        after = float(np.mean([network.parameters for network in networks]))
        steps.append(GrowthStep(before, after, fall, fall.low > 0))
        if not fall.low > 0:
            stopped = (
                f"at {before:.0f} parameters: with {after:.0f} the validation loss changes by "
                f"{-fall.mean:+.3g} (interval {-fall.high:+.3g} to {-fall.low:+.3g}), no fall "
                "beyond its uncertainty"
            )
            break
        current = [
            Chosen(lift, each.parts, network)
            for lift, each, network in zip(grown, current, networks, strict=True)
        ]
    return Growth(tuple(steps), stopped, widenings, tuple(levels), tuple(current))


def _try(
    folds: Sequence[Fold], current: Sequence[Chosen], task: str, training: Training, seed: int
) -> tuple[list[Lift], list[list[Runs]]]:
    """The grown lift of each fold; and runs: as it was, grown, each vertex alone."""
    most = max(_widened_parts(each) for each in current)
    grown, candidates = [], []
    for number, (fold, each) in enumerate(zip(folds, current, strict=True)):
        q, c = fold.train.x.shape[1], fold.train.y.shape[1]
        params = params_of(each.lift, each.network)
        doubled = {name: 2 * each.lift.sizes[name] for name in each.lift.module.duplicated}
        key = jax.random.fold_in(jax.random.key(seed), number)
        lift, larger = grow(each.lift, key, doubled, params, **initialisation(each.parts))
        grown.append(lift)
        rng = np.random.default_rng((seed, number))
        vertices = [*each.parts.vertices[:MOST_WIDENED], ROOT, LEFT_OUT]
        # Every fold needs as many lanes: those of fewer parts repeat the ungrown lift.
        vertices += [""] * (most + 2 - len(vertices))
        candidates.append(
            [[each.network], [of_lift(lift, larger, q, c)]]
            + [[_widened(each, v, rng)] for v in vertices]
        )
    return grown, train(folds, candidates, task, training, seed)


def _widened(each: Chosen, vertex: str, rng: np.random.Generator) -> Network:
    """The same function with one vertex doubled, or with a new group of the columns left out."""
    sizes = [each.lift.sizes[name] for name in each.parts.vertices]
    if vertex == ROOT:
        return _wider_root(each, sizes, rng)
    if vertex in each.parts.vertices:
        place = each.parts.vertices.index(vertex)
        return _wider_part(each.network, np.array(each.parts.columns[place]), sizes[place], rng)
    left = _left_out(each)
    if vertex == LEFT_OUT and len(left):
        return _wider_part(each.network, left, max(sizes), rng)
    return each.network


def _widened_parts(each: Chosen) -> int:
    return min(len(each.parts.names), MOST_WIDENED)


def _left_out(each: Chosen) -> np.ndarray:
    return np.flatnonzero(~each.network.free["w1"].any(axis=1))


def _wider_root(each: Chosen, sizes: Sequence[int], rng: np.random.Generator) -> Network:
    """Twice as many units of the root; the readout does not hear the new ones yet."""
    added = each.lift.sizes[ROOT]
    free, values = _with_room(each.network, {"w2": -1, "b2": -1, "w3": 0}, added)
    scale = np.sqrt(2 / (IN_DEGREE * len(sizes)))
    for unit in range(added, 2 * added):
        for n, start in zip(sizes, np.cumsum([0, *sizes]), strict=False):
            read = start + rng.permutation(n)[:IN_DEGREE]
            free["w2"][read, unit] = True
            values["w2"][read, unit] = scale * rng.normal(size=len(read))
    values["b2"][added:] = 0.1 * rng.normal(size=added)
    free["b2"][added:] = free["w3"][added:] = True
    return Network(free, values)


def _wider_part(
    network: Network, columns: np.ndarray, added: int, rng: np.random.Generator
) -> Network:
    """Further units that read some columns; every unit of the root reads some of them, at zero."""
    free, values = _with_room(network, {"w1": -1, "b1": -1, "w2": 0}, added)
    old = len(network.values["b1"])
    for unit in range(old, old + added):
        read = rng.permutation(columns)[:MOST_READ]
        free["w1"][read, unit] = True
        values["w1"][read, unit] = rng.normal(size=len(read)) / np.sqrt(len(read))
        values["b1"][unit] = 0.1 * rng.normal()
    free["b1"][old:] = True
    for unit in range(values["w2"].shape[1]):
        free["w2"][old + rng.permutation(added)[:IN_DEGREE], unit] = True
    return Network(free, values)


def _with_room(
    network: Network, axes: dict[str, int], added: int
) -> tuple[dict[str, np.ndarray], dict[str, np.ndarray]]:
    """Masks and values with zeros behind them along an axis each; copies."""
    both = []
    for arrays in (network.free, network.values):
        wide = {name: array.copy() for name, array in arrays.items()}
        for name, axis in axes.items():
            shape = list(wide[name].shape)
            shape[axis] = added
            more = np.zeros(shape, wide[name].dtype)
            wide[name] = np.concatenate([wide[name], more], axis=axis)
        both.append(wide)
    return both[0], both[1]


def _widenings(
    current: Sequence[Chosen], runs: Sequence[Sequence[Runs]], kept: np.ndarray, ratio: float
) -> tuple[Widening, ...]:
    """The largest fall first, by the groups that most folds have; a fold's own may differ a little.

    Each fold answers for the group of its own that shares most columns with it, half at least. The
    intervals hold together: the best of several is looked for.
    """
    ((common, _),) = Counter(each.parts for each in current).most_common(1)
    words = common.words | {LEFT_OUT: "columns that were left out, as a group of their own"}
    vertices = (*common.vertices[:MOST_WIDENED], ROOT, LEFT_OUT)
    confidence = together(len(vertices))
    result = []
    for vertex in vertices:
        rows = []
        for each, own, before in zip(current, runs, kept, strict=True):
            place = _alike(common, each, vertex)
            if place is not None:
                run = own[2 + place]
                added = run.networks[0].parameters - each.network.parameters
                rows.append((before, run.judged, added))
        if rows:
            before, after, added = np.array(rows, float).T
            fall = paired(before, after, ratio, confidence)
            result.append(Widening(words[vertex], fall, float(added.mean()), len(rows)))
    return tuple(sorted(result, key=lambda each: -each.fall.mean))


def _alike(common: Parts, own: Chosen, vertex: str) -> int | None:
    """The place among what a fold has widened of that which means the same."""
    if vertex == ROOT:
        return _widened_parts(own)
    if vertex == LEFT_OUT:
        return _widened_parts(own) + 1 if len(_left_out(own)) else None
    goal = set(common.columns[common.vertices.index(vertex)])
    shared = [
        len(goal & set(part)) / len(goal | set(part)) for part in own.parts.columns[:MOST_WIDENED]
    ]
    best = int(np.argmax(shared))
    return best if shared[best] >= 0.5 else None
