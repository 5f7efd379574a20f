"""Walsh expansions against sums over all vertices, closed forms and their own graphs."""

import itertools
import math

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, strategies as st

from sparsejax.targets import (
    WalshExpansion,
    cube_cubature,
    majority,
    majority_coefficient,
    sample_inputs,
    sparse_polynomial,
    staircase,
    walsh_expansion,
    walsh_transform,
)
from sparsejax.targets.monomials import binary_dag


def test_the_transform_is_the_mean_against_every_parity():
    nodes = cube_cubature(4).nodes
    values = np.random.default_rng(0).normal(size=16)
    found = walsh_transform(values).reshape(2, 2, 2, 2)
    for indicator in itertools.product((0, 1), repeat=4):
        parity = nodes[:, np.flatnonzero(indicator)].prod(axis=1)
        np.testing.assert_allclose(found[indicator], np.mean(values * parity), atol=1e-15)
    np.testing.assert_allclose((found**2).sum(), (values**2).mean())  # Parseval


def test_an_expansion_of_all_values_gives_them_back():
    values = np.random.default_rng(1).normal(size=32)
    f = walsh_expansion(lambda _: values, 5, dims=9, coordinates=(2, 3, 5, 8, 9))
    x = np.ones((32, 9))
    x[:, [1, 2, 4, 7, 8]] = cube_cubature(5).nodes
    np.testing.assert_allclose(np.asarray(f(x))[:, 0], values, atol=1e-14)
    np.testing.assert_allclose([f.mean, f.variance], [values.mean(), values.var()], atol=1e-14)
    assert f.support == (2, 3, 5, 8, 9) and f.degree == 5 and len(f.terms) == 32


@pytest.mark.parametrize("n", [1, 3, 5, 9])
def test_majority_has_the_closed_form_at_every_level(n):
    f = majority(n)
    for k in range(n + 1):
        sets = itertools.combinations(range(1, n + 1), k)
        # Values and coefficients of so few voters are dyadic: equal to the last bit.
        assert {f.coefficient(s) for s in sets} == {majority_coefficient(n, k)}


@pytest.mark.parametrize("n", [51, 201])
def test_majority_of_many_has_squares_that_sum_to_one(n):
    squares = [math.comb(n, k) * majority_coefficient(n, k) ** 2 for k in range(n + 1)]
    np.testing.assert_allclose(math.fsum(squares), 1, rtol=1e-12)
    # Its first level alone: E|x1 + ... + xn| by de Moivre.
    mean = n * math.comb(n - 1, n // 2) / 2 ** (n - 1)
    np.testing.assert_allclose(n * majority_coefficient(n, 1), mean, rtol=1e-12)


def test_terms_are_canonical_and_large_dimensions_cost_nothing():
    f = WalshExpansion(200, (((150, 3), 1.0), ((7,), 2.0), ((3, 150), -0.25), ((9,), 0.0)))
    assert f.terms == (((7,), 2.0), ((3, 150), 0.75))
    assert hash(f) == hash(WalshExpansion(200, f.terms)) and f == WalshExpansion(200, f.terms)
    assert f.coefficient((150, 3)) == 0.75 and f.coefficient((1,)) == 0 and f.mean == 0
    assert (f.variance, f.support, f.degree, f.law) == (4.5625, (3, 7, 150), 2, "cube")
    x = np.random.default_rng(0).choice([-1.0, 1.0], (6, 200))
    np.testing.assert_allclose(np.asarray(f(x))[:, 0], 2 * x[:, 6] + 0.75 * x[:, 2] * x[:, 149])


def test_constants():
    f = WalshExpansion(3, (((), 2.0),))
    assert np.asarray(f(np.ones((2, 3)))).tolist() == [[2.0], [2.0]]
    assert (f.support, f.degree, f.variance, f.dag.support) == ((), 0, 0.0, ())
    zero = WalshExpansion(3, ())
    assert np.asarray(zero(np.ones((1, 3)))).tolist() == [[0.0]] and zero.formula == "0"


@pytest.mark.parametrize(
    ("dims", "terms", "said"),
    [
        (0, (), "dims must be positive"),
        (3, (((1,), 1.0), ((4,), 1.0)), r"term 2, \(4,\): coordinates count from 1 to 3"),
        (3, (((0,), 1.0),), "0 is none"),
        (3, (((1, 1), 1.0),), "a set has each coordinate once"),
        (3, (((1,), math.nan),), "the coefficient is nan"),
    ],
)
def test_bad_expansions(dims, terms, said):
    with pytest.raises(ValueError, match=said):
        WalshExpansion(dims, terms)


def test_bad_calls():
    with pytest.raises(ValueError, match=r"shape \(n, 3\), got \(2, 4\)"):
        WalshExpansion(3, ())(np.ones((2, 4)))
    with pytest.raises(ValueError, match=r"2\^d values, d >= 1, not 3"):
        walsh_transform(np.ones(3))
    with pytest.raises(ValueError, match="1 to 16 dimensions"):
        walsh_expansion(lambda x: x[:, 0], 17)
    with pytest.raises(ValueError, match=r"not finite at \[-1.0\]"), np.errstate(divide="ignore"):
        walsh_expansion(lambda x: 1 / (x[:, 0] + 1), 1)
    with pytest.raises(ValueError, match="4 values, a vertex each"):
        walsh_expansion(lambda x: x, 2)
    with pytest.raises(ValueError, match="coordinates: 2 are wanted"):
        walsh_expansion(lambda x: x[:, 0], 2, coordinates=(1,))
    for n in (4, 17):
        with pytest.raises(ValueError):
            majority(n)


SETS = st.sets(st.integers(1, 7), min_size=1).map(lambda s: tuple(sorted(s)))


@given(st.sets(SETS, min_size=1, max_size=6))
def test_the_graph_multiplies_and_adds_to_the_expansion(monomials):
    """Read back from the graph alone, by what its nodes are for, it has the same terms."""
    dag = binary_dag(7, [tuple(f"x{i}" for i in m) for m in monomials])
    assert dag.arity <= 2 and set(dag.ancestors) == {name for name, _ in dag.parents}

    def product(name):
        if name in dag.inputs:
            return [int(name[1:])]
        return [i for parent in dag.parents_of(name) for i in product(parent)]

    def summands(name):
        if name == "y" and len(monomials) > 1 or name.startswith("s"):
            return [m for parent in dag.parents_of(name) for m in summands(parent)]
        return [tuple(sorted(product(name)))]

    assert sorted(summands("y")) == sorted(monomials)


def test_a_staircase_s_graph_has_a_stair_a_node():
    dag = staircase(9, 4).dag
    products = [name for name in dag.ancestors if name.startswith("x")]
    assert products == ["x1x2", "x1x2x3", "x1x2x3x4"]
    assert dag.parents_of("x1x2x3x4") == ("x1x2x3", "x4")


def test_samples_are_of_the_function_and_compile():
    f = sparse_polynomial(70, seed=1)
    x, y = jax.jit(lambda key: f.sample(key, 6, jnp.float32))(jax.random.key(0))
    assert (x.dtype, y.dtype, x.shape, y.shape) == (jnp.float32, jnp.float32, (6, 70), (6, 1))
    expected = sum(value * np.asarray(x)[:, np.array(m) - 1].prod(axis=1) for m, value in f.terms)
    np.testing.assert_allclose(np.asarray(y)[:, 0], expected, rtol=1e-5, atol=1e-6)


def test_signs_are_independent_and_fair():
    # 70 coordinates cross the borders of the random words at a different place in every sample.
    n = 4096
    x = np.asarray(sample_inputs("cube", jax.random.key(1), n, 70))
    assert set(np.unique(x)) == {-1.0, 1.0}
    moments = np.concatenate([x.mean(axis=0)[None], x.T @ x / n - np.eye(70)])
    assert np.abs(moments).max() < 5.5 / math.sqrt(n)
    repeats = [np.mean(x.ravel()[:-lag] * x.ravel()[lag:]) for lag in (1, 16, 31, 32, 33, 64, 70)]
    assert np.abs(repeats).max() < 5 / math.sqrt(x.size)


@pytest.mark.parametrize(("law", "second", "fourth"), [("gaussian", 1, 3), ("uniform", 1 / 3, 0.2)])
def test_the_other_laws_have_their_moments(law, second, fourth):
    x = np.asarray(sample_inputs(law, jax.random.key(2), 4000, 10))
    np.testing.assert_allclose([np.mean(x**2), np.mean(x**4)], [second, fourth], rtol=0.04)
    assert abs(x.mean()) < 0.02


@pytest.mark.parametrize(
    ("law", "n", "said"), [("hierarchy", 3, "law: 'hierarchy' is none of cube"), ("cube", 0, "n=0")]
)
def test_bad_laws(law, n, said):
    with pytest.raises(ValueError, match=said):
        sample_inputs(law, jax.random.key(0), n, 3)
