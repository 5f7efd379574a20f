"""Functions of a column: orthonormal, blind to units, zero where a value is missing."""

import hypothesis
import hypothesis.strategies as st
import numpy as np
import pytest

from sparsejax.structure.column_basis import column_basis, orthonormal_columns


def gram(basis):
    return basis.functions.T @ basis.functions / len(basis.functions)


@hypothesis.given(st.integers(0, 10**6), st.integers(30, 300))
def test_functions_are_orthonormal_and_have_mean_zero(seed, rows):
    rng = np.random.default_rng(seed)
    for values in (
        rng.normal(size=rows),
        rng.integers(0, 5, rows) * 1.0,
        rng.exponential(size=rows),
    ):
        basis = column_basis(values)
        np.testing.assert_allclose(gram(basis), np.eye(len(basis.cost)), atol=1e-8)
        np.testing.assert_allclose(basis.functions.mean(axis=0), 0, atol=1e-9)


def test_ranks_do_not_know_units():
    values = np.random.default_rng(0).normal(size=200)
    np.testing.assert_array_equal(
        column_basis(values).functions, column_basis(np.exp(3 * values) - 5).functions
    )


def test_missing_values_are_at_the_mean_and_counted_apart():
    rng = np.random.default_rng(0)
    values = rng.normal(size=400)
    values[:100] = np.nan
    basis = column_basis(values)
    assert basis.alone(len(basis.cost) - 1) and basis.missing.sum() == 100
    assert (basis.functions[:100, :-1] == 0).all()
    # Over the rows that are known they are those of the known rows alone.
    np.testing.assert_allclose(basis.functions[100:, :-1], column_basis(values[100:]).functions)
    mask = basis.functions[:, -1]
    assert mask.mean() == pytest.approx(0, abs=1e-12) and mask.var() == pytest.approx(1)


def test_levels_span_all_their_functions():
    codes = np.repeat([0.0, 1.0, 2.0, 3.0], 25)
    basis = column_basis(codes, category=True)
    for level in range(4):
        centred = (codes == level) - 0.25
        fitted = basis.functions @ (basis.functions.T @ centred) / 100
        np.testing.assert_allclose(fitted, centred, atol=1e-12)


@pytest.mark.parametrize("values", [np.full(50, 3.0), np.full(50, np.nan)])
def test_columns_without_information_have_no_functions(values):
    assert column_basis(values).functions.shape == (50, 0)


def test_polynomials_and_slopes_at_other_ranks():
    basis = column_basis(np.arange(2000.0), degree=4)
    ranks = np.array([-0.5, 0.3])
    step = 1e-6
    slope = (basis.at(ranks + step) - basis.at(ranks - step)) / (2 * step)
    np.testing.assert_allclose(basis.at(ranks, derivative=True), slope, rtol=1e-6)
    middle = 1000
    np.testing.assert_allclose(
        basis.at(np.array([(2 * middle + 1) / 2000 - 1]))[0], basis.functions[middle], atol=1e-9
    )


def test_columns_that_others_determine_are_left_out():
    x = np.random.default_rng(0).normal(size=(50, 2))
    assert orthonormal_columns(np.column_stack([x, x[:, 0] + x[:, 1]])).shape == (50, 2)
