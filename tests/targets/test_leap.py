"""The leap against all orderings."""

import itertools

import numpy as np
from hypothesis import given, strategies as st

from sparsejax.targets import leap, merged_staircase

SUBSETS = [s for k in range(1, 6) for s in itertools.combinations(range(1, 6), k)]


def of_all_orderings(sets: np.ndarray) -> np.ndarray:
    """Sets of monomials as bit masks, `(many, m)`: the least largest number of new bits."""
    bits = np.array([i.bit_count() for i in range(32)])
    best = np.full(len(sets), 9)
    for ordering in itertools.permutations(range(sets.shape[1])):
        known, worst = np.zeros(len(sets), int), np.zeros(len(sets), int)
        for place in ordering:
            worst = np.maximum(worst, bits[sets[:, place] & ~known])
            known |= sets[:, place]
        best = np.minimum(best, worst)
    return best


def test_exact_on_all_sets_of_up_to_four_monomials_of_five_coordinates():
    masks = {s: sum(1 << (i - 1) for i in s) for s in SUBSETS}
    for m in range(1, 5):
        families = list(itertools.combinations(SUBSETS, m))
        exact = of_all_orderings(np.array([[masks[s] for s in f] for f in families]))
        found = np.array([leap(f).value for f in families])
        np.testing.assert_array_equal(found, exact)


MULTISETS = st.lists(st.integers(1, 4), min_size=1, max_size=5).map(lambda s: tuple(sorted(s)))


@given(st.lists(MULTISETS, min_size=1, max_size=5, unique=True))
def test_with_multiplicity_and_its_ordering_attains_it(monomials):
    def new(ordering):
        known, found = set(), []
        for monomial in ordering:
            found.append(len([i for i in monomial if i not in known]))
            known |= set(monomial)
        return tuple(found)

    found = leap(monomials)
    assert sorted(found.ordering) == sorted(monomials)
    assert found.new == new(found.ordering) and max(found.new) == found.value
    assert found.value == min(max(new(o)) for o in itertools.permutations(monomials))
    assert merged_staircase(monomials) == (found.value <= 1)


def test_known_leaps():
    assert leap([]).value == 0 and leap([()]).value == 0
    assert leap([(1, 2, 3)]).value == 3
    assert leap([(1,), (2, 3), (1, 2, 3, 4)]).value == 2
    assert leap([(1, 1), (1, 2)]).value == 2  # an even link does not tell its direction
    assert leap([tuple(range(1, k + 1)) for k in range(1, 60)]).value == 1
