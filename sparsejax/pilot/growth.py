"""Grows the chosen lifts while it pays, and asks which single vertex is worth widening."""

import dataclasses
from collections.abc import Sequence

import jax
import numpy as np

from sparsejax.lifts import Lift, grow
from sparsejax.pilot.comparison import Interval, paired
from sparsejax.pilot.folds import Fold
from sparsejax.pilot.layers import Network, of_lift, params_of
from sparsejax.pilot.matched import IN_DEGREE, MOST_READ, ROOT, Parts, initialisation
from sparsejax.pilot.training import Runs, Training, train


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
    vertices are doubled, a part with new edges into the root's vertices, which start at zero.

    Raises:
        ValueError: folds and lifts that are not equally many, or fewer than two.
    """
    if len(folds) != len(chosen) or len(folds) < 2:
        raise ValueError(f"growth: {len(folds)} folds and {len(chosen)} lifts; two are needed")
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
        starts = training.starts
        current = [
            Chosen(drawn[own[1].best * starts // len(own[1].networks)], each.parts, network)
            for drawn, own, each, network in zip(grown, runs, current, networks, strict=True)
        ]
    return Growth(tuple(steps), stopped, widenings, tuple(levels), tuple(current))


def _try(
    folds: Sequence[Fold], current: Sequence[Chosen], task: str, training: Training, seed: int
) -> tuple[list[list[Lift]], list[list[Runs]]]:
    """The grown lifts of each fold, one a start; and runs: as it was, grown, each vertex alone."""
    most = max(len(each.parts.names) for each in current)
    grown, candidates = [], []
    for number, (fold, each) in enumerate(zip(folds, current, strict=True)):
        q, c = fold.train.x.shape[1], fold.train.y.shape[1]
        params = params_of(each.lift, each.network)
        doubled = {name: 2 * each.lift.sizes[name] for name in each.lift.module.duplicated}
        lifts, networks = [], []
        for start in range(training.starts):
            key = jax.random.fold_in(jax.random.key(seed), number * training.starts + start)
            lift, larger = grow(each.lift, key, doubled, params, **initialisation(each.parts))
            lifts.append(lift)
            networks.append(of_lift(lift, larger, q, c))
        grown.append(lifts)
        rng = np.random.default_rng((seed, number))
        vertices = [*range(len(each.parts.names)), None]
        # Every fold needs as many lanes: those of fewer parts repeat the ungrown lift.
        vertices += [-1] * (most + 1 - len(vertices))
        candidates.append(
            [[each.network] * training.starts, networks]
            + [[_widened(each, v, rng) for _ in range(training.starts)] for v in vertices]
        )
    return grown, train(folds, candidates, task, training, seed)


def _widened(each: Chosen, vertex: int | None, rng: np.random.Generator) -> Network:
    """The same function with one vertex doubled: a part by its place, the root by None."""
    if vertex == -1:
        return each.network
    free = {name: mask.copy() for name, mask in each.network.free.items()}
    values = {name: value.copy() for name, value in each.network.values.items()}
    sizes = [each.lift.sizes[name] for name in each.parts.vertices]
    first = np.cumsum([0, *sizes])
    if vertex is None:
        added = each.lift.sizes[ROOT]
        for name in ("w2", "b2", "w3"):
            axis = 0 if name == "w3" else -1
            free[name] = _more(free[name], added, axis)
            values[name] = _more(values[name], added, axis)
        scale = np.sqrt(2 / (IN_DEGREE * len(sizes)))
        for unit in range(added, 2 * added):
            for n, start in zip(sizes, first, strict=False):
                read = start + rng.permutation(n)[:IN_DEGREE]
                free["w2"][read, unit] = True
                values["w2"][read, unit] = scale * rng.normal(size=len(read))
        values["b2"][added:] = 0.1 * rng.normal(size=added)
        free["b2"][added:] = free["w3"][added:] = True
        return Network(free, values)
    added, columns = sizes[vertex], np.array(each.parts.columns[vertex])
    old = values["w1"].shape[1]
    for name, axis in (("w1", -1), ("b1", -1), ("w2", 0)):
        free[name] = _more(free[name], added, axis)
        values[name] = _more(values[name], added, axis)
    for unit in range(old, old + added):
        read = rng.permutation(columns)[:MOST_READ]
        free["w1"][read, unit] = True
        values["w1"][read, unit] = rng.normal(size=len(read)) / np.sqrt(len(read))
        values["b1"][unit] = 0.1 * rng.normal()
    free["b1"][old:] = True
    for unit in range(values["w2"].shape[1]):
        free["w2"][old + rng.permutation(added)[:IN_DEGREE], unit] = True
    return Network(free, values)


def _more(array: np.ndarray, added: int, axis: int) -> np.ndarray:
    shape = list(array.shape)
    shape[axis] = added
    return np.concatenate([array, np.zeros(shape, array.dtype)], axis=axis)


def _widenings(
    current: Sequence[Chosen], runs: Sequence[Sequence[Runs]], kept: np.ndarray, ratio: float
) -> tuple[Widening, ...]:
    """By what is widened, over the folds that have it; the largest fall first."""
    found: dict[str, list[tuple[float, float, int]]] = {}
    for each, own, before in zip(current, runs, kept, strict=True):
        words = each.parts.words
        for vertex, run in zip([*each.parts.vertices, ROOT], own[2:], strict=False):
            added = run.networks[0].parameters - each.network.parameters
            found.setdefault(words[vertex], []).append((before, run.judged, added))
    result = []
    for what, rows in found.items():
        before, after, added = np.array(rows, float).T
        result.append(Widening(what, paired(before, after, ratio), float(added.mean()), len(rows)))
    return tuple(sorted(result, key=lambda each: -each.fall.mean))
