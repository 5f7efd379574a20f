"""Hermite expansions against generating functions, NumPy's polynomials and quadrature."""

import math

import jax
import numpy as np
import pytest

from sparsejax.targets import (
    HermiteExpansion,
    hermite_coefficients,
    hermite_index,
    hermite_polynomials,
    multi_index,
    single_index,
)


def h(k, x):
    return np.polynomial.hermite_e.hermeval(x, [0] * k + [1]) / math.sqrt(math.factorial(k))


def test_polynomials_are_numpy_s_normalised():
    x = np.linspace(-4, 4, 9)
    found = np.asarray(hermite_polynomials(jax.numpy.asarray(x), 12))
    np.testing.assert_allclose(found, [h(k, x) for k in range(13)], rtol=1e-10, atol=1e-12)
    assert hermite_polynomials(jax.numpy.asarray(x), 0).shape == (1, 9)


def test_an_exponential_has_its_generating_function():
    t, k = 0.7, np.arange(12)
    exact = np.exp(t**2 / 2) * t**k / np.sqrt([math.factorial(i) for i in k])
    np.testing.assert_allclose(hermite_coefficients(lambda z: np.exp(t * z), 11), exact, rtol=1e-9)


def test_links_with_a_kink():
    relu = hermite_coefficients(lambda z: np.maximum(z, 0), 3, nodes=200)
    exact = [1 / math.sqrt(2 * math.pi), 0.5, 1 / math.sqrt(4 * math.pi), 0]
    np.testing.assert_allclose(relu, exact, atol=2e-3)
    np.testing.assert_allclose(relu[[1, 3]], [0.5, 0], atol=1e-12)  # by symmetry
    assert single_index(9, np.abs).information_exponent == 2


def test_an_expansion_is_its_sum():
    f = HermiteExpansion(4, (((), 0.5), ((3, 1, 1), 2.0), ((2, 2, 2), -1.0), ((1, 1, 3), 1.0)))
    assert f.terms == (((), 0.5), ((1, 1, 3), 3.0), ((2, 2, 2), -1.0))
    x = np.random.default_rng(0).normal(size=(7, 4))
    expected = 0.5 + 3 * h(2, x[:, 0]) * x[:, 2] - h(3, x[:, 1])
    np.testing.assert_allclose(np.asarray(f(x))[:, 0], expected, rtol=1e-12)
    assert (f.mean, f.variance, f.degree, f.information_exponent) == (0.5, 10.0, 3, 3)
    assert f.support == (1, 2, 3)
    assert dict(f.dag.parents)["h2x1x3"] == ("h2x1", "x3")
    assert f.arity == 2 and f.law == "gaussian"


def test_constants():
    f = HermiteExpansion(2, (((), 3.0),))
    assert np.asarray(f(np.zeros((2, 2)))).tolist() == [[3.0], [3.0]]
    assert f.information_exponent == 0


def test_samples_are_gaussian_and_of_the_function():
    f = hermite_index(5, 2)
    x, y = jax.jit(lambda key: f.sample(key, 3000))(jax.random.key(0))
    np.testing.assert_allclose(np.asarray(y)[:, 0], h(2, np.asarray(x)[:, 0]), atol=1e-12)
    assert abs(float(np.mean(np.asarray(y) ** 2)) - 1) < 0.25


@pytest.mark.parametrize("k", [1, 2, 3, 5])
def test_the_information_exponent_is_the_lowest_order(k):
    assert hermite_index(10, k).information_exponent == k
    mixed = single_index(10, lambda z: h(k, z) + 0.1 * h(k + 2, z))
    assert mixed.information_exponent == k
    np.testing.assert_allclose([v for _, v in mixed.terms], [1, 0.1], rtol=1e-9)


def test_several_indices_by_quadrature():
    f = multi_index(20, lambda a, b: a**2 * b + b**3, (4, 9), highest=4)
    # a^2 = 1 + sqrt(2) h2, b^3 = sqrt(6) h3 + 3 b.
    expected = {(9,): 4.0, (4, 4, 9): math.sqrt(2), (9, 9, 9): math.sqrt(6)}
    assert {m for m, _ in f.terms} == set(expected)
    for monomial, value in f.terms:
        np.testing.assert_allclose(value, expected[monomial], rtol=1e-10)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: HermiteExpansion(2, (((3,), 1.0),)), "coordinates count from 1 to 2"),
        (lambda: hermite_coefficients(np.sin, 5, nodes=5), "more than 5 nodes"),
        (lambda: hermite_coefficients(lambda z: 1.0, 5), "as many"),
        (lambda: multi_index(5, lambda a, b: a, (1, 1)), "one to four different"),
        (lambda: multi_index(5, lambda a: a * np.inf, (1,)), "finite values"),
        (lambda: hermite_index(5, 0), "order: must be positive"),
        (lambda: single_index(5, np.sin, coordinate=6), "coordinates count from 1 to 5"),
    ],
)
def test_bad_input(call, said):
    with pytest.raises(ValueError, match=said), np.errstate(invalid="ignore"):
        call()
