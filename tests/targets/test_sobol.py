"""Sobol indices against conditional means over all inputs."""

import itertools

import numpy as np
import pytest

from sparsejax.targets import (
    HermiteExpansion,
    WalshExpansion,
    cube_cubature,
    sobol_indices,
    sobol_indices_of_table,
    sparse_polynomial,
)
from sparsejax.targets.sobol import subsets


def explained(table, chances, kept):
    """`Var E[f | x_T] / Var f` of a table by two weighted means."""
    joint = chances[0]
    for chance in chances[1:]:
        joint = np.multiply.outer(joint, chance)
    others = tuple(a for a in range(table.ndim) if a + 1 not in kept)
    marginal = joint.sum(axis=others)
    inner = (table * joint).sum(axis=others) / marginal
    mean = (table * joint).sum()
    return ((inner - mean) ** 2 * marginal).sum() / ((table - mean) ** 2 * joint).sum()


def test_tables_under_any_marginals():
    rng = np.random.default_rng(0)
    table = rng.normal(size=(2, 3, 1, 4))
    chances = [rng.dirichlet(np.ones(n)) for n in table.shape]
    found = sobol_indices_of_table(table, chances)
    np.testing.assert_allclose(sum(share for _, share in found.components), 1)
    for kept in subsets((1, 2, 3, 4)):
        np.testing.assert_allclose(found.closed(kept), explained(table, chances, kept), atol=1e-12)
        # What a coordinate has a part in is what all others leave unexplained.
    for i in (1, 2, 3, 4):
        others = tuple({1, 2, 3, 4} - {i})
        np.testing.assert_allclose(found.total(i), 1 - found.closed(others), atol=1e-12)
    assert found.coordinates == (1, 2, 4)


@pytest.mark.parametrize("seed", range(3))
def test_on_the_cube_shares_are_squared_coefficients(seed):
    f = sparse_polynomial(6, support=5, terms=5, degree=4, seed=seed)
    table = np.asarray(f(cube_cubature(6).nodes)).reshape((2,) * 6)
    of_table, of_terms = sobol_indices_of_table(table), sobol_indices(f)
    assert [s for s, _ in of_table.components] == [s for s, _ in of_terms.components]
    for s, share in of_terms.components:
        np.testing.assert_allclose(share, f.coefficient(s) ** 2 / f.variance)
        np.testing.assert_allclose(share, of_table.share(s))
    np.testing.assert_allclose(of_table.variance, f.variance)


def test_hermite_terms_of_the_same_coordinates_share():
    f = HermiteExpansion(5, (((1,), 1.0), ((1, 1), 2.0), ((1, 3, 3), 1.0), ((1, 1, 3), 2.0)))
    found = sobol_indices(f)
    assert found.components == (((1,), 0.5), ((1, 3), 0.5))
    assert (found.first(1), found.total(1), found.first(3), found.total(3)) == (0.5, 1, 0, 0.5)
    # By quadrature: E[f | x1] has variance 1 + 4.
    at, weights = np.polynomial.hermite_e.hermegauss(20)
    weights = weights / weights.sum()
    x = np.zeros((20, 20, 5))
    x[..., 0], x[..., 2] = at[:, None], at[None, :]
    values = np.asarray(f(x.reshape(400, 5))).reshape(20, 20)
    by_first = values @ weights
    np.testing.assert_allclose(weights @ by_first**2 / f.variance, 0.5)


def test_the_third_monk_s_problem_has_its_support():
    a = np.array(list(itertools.product(*map(range, (3, 3, 2, 3, 4, 2))))) + 1
    y = ((a[:, 4] == 3) & (a[:, 3] == 1)) | ((a[:, 4] != 4) & (a[:, 1] != 3))
    found = sobol_indices_of_table(y.reshape(3, 3, 2, 3, 4, 2).astype(float))
    assert found.coordinates == (2, 4, 5)


def test_constants_have_no_indices():
    for found in (
        sobol_indices(WalshExpansion(3, (((), 2.0),))),
        sobol_indices_of_table(np.full((3, 2), 0.1)),
    ):
        assert found.components == () and found.total(1) == found.first(1) == 0


@pytest.mark.parametrize(
    ("table", "marginals", "said"),
    [
        (np.array([1.0, np.nan]), None, "finite values"),
        (np.ones((2,) * 16), None, "too many parts"),
        (np.ones((2, 3)), [np.ones(2) / 2], "as many probabilities"),
        (np.ones((2, 2)), [np.ones(2) / 2, np.ones(2)], "coordinate 2 are no probabilities"),
    ],
)
def test_bad_tables(table, marginals, said):
    with pytest.raises(ValueError, match=said):
        sobol_indices_of_table(table, marginals)
