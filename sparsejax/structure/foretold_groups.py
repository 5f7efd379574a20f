"""Which of several groupings foretells new rows best."""

import itertools
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from sparsejax.structure.separability import LEAST_TURN, inseparability
from sparsejax.structure.structured_network import Grouping, StructuredNetwork, fit

# Rows that know all columns: with fewer the networks cannot be told apart, of more some do.
FEWEST_KNOWN, MOST_KNOWN = 600, 5000
# Few starts lead far, and the first steps tell which: the best of these is fitted to its end.
_STARTS, _FIRST_STEPS = 8, 8
_SECOND_LOOK = 4
# By how many standard errors, and by which share, another grouping must beat the present one.
_ERRORS, _SHARE = 1.0, 0.15


def foretold_groups(
    groupings: Sequence[Grouping],
    x: Float[np.ndarray, "d n"],
    y: Float[np.ndarray, " n"],
    rng: np.random.Generator,
) -> Grouping:
    """The grouping whose network foretells a third of the rows best; the first, if in doubt.

    `x`: inputs of variance one, whose rows the groups hold; `y`: of variance one. Networks
    (`StructuredNetwork`) are fitted to the other rows, from the best of eight starts after eight
    steps; the first grouping, where another beats it, from the best four. Another must leave less
    by a standard error of the paired difference, and by 15 percent: what a fit that ended early
    can make up. A finer one whose own root joins again what it took apart is refused.

    Limits: groupings are compared as these small networks can express them. Where two foretell
    alike, as of a sum, the first stands. Of noise alone the networks learn what does not return,
    and any may win: `discover` asks only where half of the variance is explained.

    Source: selection by validation with one standard error: Breiman, Friedman, Olshen, Stone,
    Classification and Regression Trees, 1984. Ours for groupings.

    Example:
        >>> rng = np.random.default_rng(0)
        >>> x = rng.uniform(-1.7, 1.7, size=(3, 500))
        >>> y = np.tanh(2 * np.sin(x[0] * x[2]) + x[1])
        >>> foretold_groups([((0, 1), (2,)), ((0, 2), (1,))], x, y / y.std(), rng)
        ((0, 2), (1,))
    """
    new = np.zeros(x.shape[1], bool)
    new[rng.permutation(x.shape[1])[: x.shape[1] // 3]] = True
    seen, unseen = np.ascontiguousarray(x[:, ~new]), x[:, new]

    def begun(network: StructuredNetwork) -> list[np.ndarray]:
        found = [
            fit(network, network.start(rng), seen, y[~new], _FIRST_STEPS) for _ in range(_STARTS)
        ]
        return [params for params, _ in sorted(found, key=lambda pair: pair[1])]

    def fitted(network: StructuredNetwork, starts: Sequence[np.ndarray]) -> np.ndarray:
        fits = [fit(network, start, seen, y[~new]) for start in starts]
        return min(fits, key=lambda found: found[1])[0]

    def errors(network: StructuredNetwork, params: np.ndarray) -> np.ndarray:
        return (y[new] - network.outputs(params, unseen)) ** 2

    def beaten(ours: np.ndarray, theirs: np.ndarray) -> bool:
        gains = ours - theirs
        doubt = _ERRORS * gains.std() / np.sqrt(len(gains))
        return bool(gains.mean() > max(doubt, _SHARE * theirs.mean()))

    networks = [StructuredNetwork(grouping) for grouping in groupings]
    starts = [begun(network) for network in networks]
    fits = [fitted(network, some[:1]) for network, some in zip(networks, starts, strict=True)]
    left = [errors(network, params) for network, params in zip(networks, fits, strict=True)]
    best = min(range(len(groupings)), key=lambda at: left[at].mean())
    if not beaten(left[0], left[best]) or _joins(networks[best], fits[best], seen, groupings[0]):
        return groupings[0]
    # The present answer must not lose by an unlucky start.
    again = errors(networks[0], fitted(networks[0], starts[0][:_SECOND_LOOK]))
    return groupings[best if beaten(again, left[best]) else 0]


def _joins(
    network: StructuredNetwork, params: np.ndarray, x: np.ndarray, coarser: Grouping
) -> bool:
    """Whether the fit of a finer grouping says itself that what it takes apart enters together.

    The root of a finer grouping can compute what a constituent of the coarser one does. That it
    foretells better is then the luck of a fit: its root's derivatives by the parts that were
    together do not turn with the others.
    """
    inside = [[set(part) <= set(block) for part in network.groups] for block in coarser]
    if not all(any(column) for column in zip(*inside, strict=True)):
        return False
    derivatives = network.root_derivatives(params, x)
    turns = inseparability(derivatives, derivatives)
    return all(
        turns[i, j, other] < LEAST_TURN
        for block in inside
        for i, j in itertools.combinations(np.flatnonzero(block), 2)
        for other in np.flatnonzero(~np.asarray(block))
    )
