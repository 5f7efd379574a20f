"""Sobol indices, interactions and the analysis of variance against closed forms and SALib."""

import itertools

import numpy as np
import pytest

from sparsejax.structure import (
    exact_anova,
    h_statistic,
    interactions,
    local_subsets,
    patches,
    sobol_indices,
    windows,
)
from sparsejax.structure.sobol import exchanged
from sparsejax.targets import (
    WalshExpansion,
    ishigami,
    ishigami_indices,
    monk3,
    monk3_indices,
    sobol_indices as exact_sobol_indices,
)
from sparsejax.targets.known_sensitivities import MONK_LEVELS

EXACT = ishigami_indices()


def box(rng, n):
    return rng.uniform(-np.pi, np.pi, size=(n, 3))


def cube(dims):
    return lambda rng, n: rng.choice([-1.0, 1.0], size=(n, dims))


def polynomial(terms, dims):
    """A Walsh polynomial on the host, apart from the targets."""
    return lambda x: sum(c * x[:, [i - 1 for i in s]].prod(axis=1) for s, c in terms)


def test_ishigami_lies_in_its_intervals():
    found = sobol_indices(ishigami, box, 8192, seed=1, level=0.999)
    for i in range(3):
        low, high = found.first_interval[:, i]
        assert low <= EXACT.first(i + 1) <= high
        low, high = found.total_interval[:, i]
        assert low <= EXACT.total(i + 1) <= high
        assert high - low < 0.12


def test_intervals_cover_as_often_as_they_say():
    """80% intervals of the total index of x1, over 40 seeds: Binomial(40, 0.8) within 4 sigma."""
    hits = 0
    for seed in range(40):
        found = sobol_indices(ishigami, box, 300, seed=seed, level=0.8, resamples=60)
        low, high = found.total_interval[:, 0]
        hits += low <= EXACT.total(1) <= high
    assert abs(hits - 32) < 4 * np.sqrt(40 * 0.16)


def test_the_same_samples_give_what_salib_gives():
    salib = pytest.importorskip("SALib.analyze.sobol")
    rng = np.random.default_rng(3)
    a, b = box(rng, 500), box(rng, 500)
    found = sobol_indices(ishigami, box, 500, seed=3)
    centre = (ishigami(a).mean() + ishigami(b).mean()) / 2
    fa, fb = ishigami(a) - centre, ishigami(b) - centre
    for i in range(3):
        mixed = ishigami(exchanged(a, b, (i,))) - centre
        assert found.first[i] == pytest.approx(float(salib.first_order(fa, mixed, fb)))
        assert found.total[i] == pytest.approx(float(salib.total_order(fa, mixed, fb)))


TERMS = (((1,), 1.0), ((1, 2), 2.0), ((2, 3, 4), 1.0), ((5,), 0.5))


def test_total_interactions_of_boolean_polynomials_are_sums_of_squares():
    found, errors = interactions(polynomial(TERMS, 6), cube(6), 20_000)
    variance = sum(c**2 for _, c in TERMS)
    for i, j in itertools.combinations_with_replacement(range(1, 7), 2):
        exact = sum(c**2 for s, c in TERMS if {i, j} <= set(s)) / variance
        # The variance has an error of its own.
        assert abs(found[i - 1, j - 1] - exact) <= 5 * errors[i - 1, j - 1] + 0.02 * exact
        if exact == 0:
            assert found[i - 1, j - 1] < 1e-25


def test_exact_anova_of_polynomials_and_of_the_rule():
    sign = np.array([-1.0, 1.0])
    found = exact_anova(polynomial(TERMS, 5), [sign] * 5)
    expected = exact_sobol_indices(WalshExpansion(5, TERMS))
    assert dict(found.components) == pytest.approx(dict(expected.components))
    rule = exact_anova(
        lambda a: monk3(a).astype(float), [np.arange(1, n + 1.0) for n in MONK_LEVELS]
    )
    assert rule.components == monk3_indices().components
    assert rule.coordinates == (2, 4, 5)
    # Var E[f | a2, a5] by hand: f's mean given both, over the 12 pairs.
    cases = np.array(list(itertools.product(*(range(1, n + 1) for n in MONK_LEVELS))))
    f = monk3(cases).astype(float)
    means = [
        f[(cases[:, 1] == i) & (cases[:, 4] == j)].mean()
        for i, j in itertools.product((1, 2, 3), (1, 2, 3, 4))
    ]
    assert rule.closed((2, 5)) == pytest.approx(np.var(means) / f.var())


def test_exact_anova_of_unequal_chances_is_what_sampling_sees():
    levels, chances = [np.array([0.0, 1.0])] * 2, [np.array([0.2, 0.8]), np.array([0.5, 0.5])]

    def uneven(rng, n):
        return np.stack([rng.choice([0.0, 1.0], n, p=p) for p in chances], axis=1)

    exact = exact_anova(lambda x: x.prod(axis=1), levels, chances)
    found = sobol_indices(lambda x: x.prod(axis=1), uneven, 8192, level=0.999)
    for i in range(2):
        low, high = found.total_interval[:, i]
        assert low <= exact.total(i + 1) <= high


def test_h_statistic_of_a_product_and_a_sum():
    x = np.random.default_rng(0).choice([-1.0, 1.0], size=(60, 3))
    x -= x.mean(axis=0)
    # Centred columns of a product have no partial dependence by themselves, nearly.
    product = h_statistic(lambda x: x[:, 0] * x[:, 1] + x[:, 2], x, 0, 1)
    assert product == pytest.approx(1.0, abs=0.05)
    assert h_statistic(lambda x: x[:, 0] * x[:, 1] + x[:, 2], x, 0, 2) == 0.0
    assert h_statistic(lambda x: np.zeros(len(x)), x, 0, 1) == 0.0


def test_local_subsets_of_parts_that_add_up():
    def f(x):
        return 2 * x[:, 0] * x[:, 1] + x[:, 2] * x[:, 3]

    found, errors = local_subsets(f, cube(4), [(0, 1), (2, 3), (1, 2)], 8192)
    np.testing.assert_allclose(found, [0.8, 0.2, 1.0], atol=5 * errors.max() + 0.01)
    assert windows(4, 2) == ((0, 1), (1, 2), (2, 3))
    assert sorted(i for patch in patches(5, 7, 3) for i in patch) == list(range(35))


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda: sobol_indices(ishigami, box, 1), "samples"),
        (lambda: interactions(ishigami, box, 1), "samples"),
        (lambda: local_subsets(ishigami, box, [], 9), "subset"),
        (lambda: sobol_indices(lambda x: x[:, 0] / 0 * 0, box, 9), "not finite"),
        (lambda: exact_anova(ishigami, [np.arange(300.0)] * 3), "too many cases"),
        (lambda: windows(3, 4), "no windows"),
    ],
)
def test_bad_input_is_named(call, words):
    with np.errstate(all="ignore"), pytest.raises(ValueError, match=words):
        call()
