"""Formulas mean what Python says they mean, and what is none is refused by its place."""

import math

import numpy as np
import pytest
from hypothesis import given, strategies as st

from sparsejax.targets import (
    HermiteExpansion,
    WalshExpansion,
    cube_cubature,
    hermite_index,
    parse_target,
    sparse_polynomial,
)

LEAVES = st.sampled_from(["x1", "x2", "x3", "x4", "2", "0.5", "-1", "1e-1"])
FORMULAS = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.tuples(inner, st.sampled_from("+-*"), inner).map(" ".join).map("({})".format),
        st.tuples(inner, st.integers(0, 3)).map(lambda t: f"({t[0]})**{t[1]}"),
        inner.map("-{}".format),
        inner.map("{}/4".format),
    ),
    max_leaves=8,
)
VERTICES = cube_cubature(4).nodes
POINTS = np.random.default_rng(0).normal(size=(6, 4))


def by_python(text, x):
    names = {f"x{i + 1}": x[:, i] for i in range(4)}
    return np.broadcast_to(eval(text, {"__builtins__": {}}, names), (len(x),))


@given(FORMULAS)
def test_on_the_cube(text):
    found = parse_target(text, dims=4)
    expected = by_python(text, VERTICES)
    scale = max(1.0, np.abs(expected).max())
    np.testing.assert_allclose(np.asarray(found(VERTICES))[:, 0], expected, atol=1e-12 * scale)
    assert parse_target(found.formula, dims=4) == found


@given(FORMULAS)
def test_of_gaussian_inputs(text):
    found = parse_target(text, dims=4, law="gaussian")
    expected = by_python(text, POINTS)
    scale = sum(abs(value) for _, value in found.terms) * 50 + 1
    np.testing.assert_allclose(np.asarray(found(POINTS))[:, 0], expected, atol=1e-12 * scale)


def test_squares_are_one_on_the_cube_alone():
    assert parse_target("x1^2 * x2 + x1*x1", dims=3).terms == (((), 1.0), ((2,), 1.0))
    found = parse_target("x1^3", law="gaussian")
    assert [m for m, _ in found.terms] == [(1,), (1, 1, 1)]
    np.testing.assert_allclose([v for _, v in found.terms], [3, math.sqrt(6)])


def test_formulas_come_back():
    for f in (sparse_polynomial(30, seed=4), WalshExpansion(30, ()), WalshExpansion(2, (((), 3),))):
        assert parse_target(f.formula, dims=f.dims) == f
    for f in (hermite_index(9, 4), HermiteExpansion(9, (((1, 1, 3), 2.0), ((2,), -0.5)))):
        found = parse_target(f.formula, dims=9, law="gaussian")
        assert [m for m, _ in found.terms] == [m for m, _ in f.terms]
        np.testing.assert_allclose([v for _, v in found.terms], [v for _, v in f.terms])


def test_dimensions_are_those_that_occur_unless_told():
    assert parse_target("x3*x7").dims == 7 and parse_target("x3", dims=200).dims == 200


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "the formula is empty"),
        ("x1 + ", "cannot be read at '.*' .letter"),
        ("2x1", "cannot be read at .* products are written with"),
        ("x1 + y", "'y' at letter 6: coordinates are named x1"),
        ("x0", "'x0' at letter 1: coordinates count from 1"),
        ("x1 + x9", "'x9' at letter 6: there are 5 coordinates; raise dims"),
        ("x1/x2", "'x2' at letter 4: only numbers other than zero divide"),
        ("x1/0", "only numbers"),
        ("x1**-1", "a power is a whole number"),
        ("x1**x2", "a power is a whole number"),
        ("x1**99", "powers go from 0 to 40"),
        ("sin(x1)", r"'sin\(x1\)' at letter 1: a formula has"),
        ("h2(x1)", "Hermite polynomials are of Gaussian inputs"),
        ("__import__('os')", "a formula has"),
        ("x1 if x2 else x3", "a formula has"),
        ("x1; x2", "cannot be read"),
        ("True*x1", "a formula has"),
        ("1j*x1", "a formula has"),
        ("1e999*x1", "the coefficient is inf"),
        ("9" * 400 + "*x1", "too large a number"),
        ("(1+x1)*(1+x2)*(1+x3)*(1+x4)*(1+x5)" + "*(1+x1)" * 3000, "too deeply|cannot be read"),
        ("(" * 500 + "x1" + ")" * 500, "cannot be read"),
    ],
)
def test_what_is_no_formula(text, said):
    with pytest.raises(ValueError, match=said):
        parse_target(text, dims=5)


def test_a_formula_that_explodes_is_refused():
    many = "*".join(f"(1 + x{i})" for i in range(1, 20))
    with pytest.raises(ValueError, match="more than 4096 terms"):
        parse_target(many)
    with pytest.raises(ValueError, match="law: a formula is of inputs from"):
        parse_target("x1", law="uniform")
