"""The leap of a set of monomials: how many coordinates must be found at once."""

import dataclasses
from collections.abc import Iterable

from sparsejax.targets.monomials import Monomial


@dataclasses.dataclass(frozen=True)
class Leap:
    """The leap, and an ordering of the monomials that attains it.

    `new[i]`: the coordinates that monomial i of `ordering` brings, with multiplicity. `value` is
    the largest of them; 0 where there is nothing to find.
    """

    value: int
    ordering: tuple[Monomial, ...]
    new: tuple[int, ...]


def leap(monomials: Iterable[Monomial]) -> Leap:
    """The least, over orderings, of the largest number of new coordinates that a monomial brings.

    A monomial is a tuple of coordinates. Where one occurs several times (Hermite), it counts as
    often, if it is new. Merged-staircase property: a leap of 1 (or 0, of constants). Exact for any
    number of monomials, at the cost of the square of their number. Ties go to the lower degree.

    Source: Abbe, Boix-Adsera, Misiakiewicz, COLT 2023 (arXiv 2302.11055), definition 1; that the
    greedy ordering attains it: shown here.

    Example:
        >>> leap([(1,), (1, 2), (1, 2, 3)]).value, leap([(1,), (4, 5, 6)]).value
        (1, 3)
        >>> leap([(3, 4, 5), (3, 3), (3, 4)])
        Leap(value=2, ordering=((3, 3), (3, 4), (3, 4, 5)), new=(2, 1, 1))
    """
    # Greedy: next comes a monomial that brings the fewest. Let L be the leap, of the best ordering
    # o, and U the coordinates known at some step. The first monomial of o that has not come yet has
    # all its predecessors in o behind it, so it brings at most what it brings in o: at most L. So
    # the one that brings the fewest brings at most L, at every step.
    waiting = sorted(set(monomials), key=lambda monomial: (len(monomial), monomial))
    known: set[int] = set()
    ordering, new = [], []
    while waiting:
        brings = [sum(i not in known for i in monomial) for monomial in waiting]
        fewest = min(brings)
        ordering.append(waiting.pop(brings.index(fewest)))
        new.append(fewest)
        known.update(ordering[-1])
    return Leap(max(new, default=0), tuple(ordering), tuple(new))


def merged_staircase(monomials: Iterable[Monomial]) -> bool:
    """Whether some ordering brings at most one new coordinate at a time: a leap of at most 1.

    Source: Abbe, Boix-Adsera, Misiakiewicz, COLT 2022 (arXiv 2202.08658), definition 1.

    Example:
        >>> merged_staircase([(1, 2), (2,), (2, 3)]), merged_staircase([(1, 2), (2, 3)])
        (True, False)
    """
    return leap(monomials).value <= 1
