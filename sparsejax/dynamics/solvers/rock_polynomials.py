"""Stability polynomials of the ROCK methods: a positive factor times an orthogonal polynomial.

The polynomial of degree s is `R(z) = w(x) P(x) / (w(a) P(a))` with `x = a + D z`. The factor w has
p/2 pairs of complex roots, p the order, and P, of degree s - p, is orthogonal on [-1, 1] with
respect to the weight `w(x)^2 / sqrt(1 - x^2)`: then R is nearly equi-oscillating on [-1, 1], and P
comes with a three-term recurrence, which is what a Runge-Kutta method needs in order to have many
stages without losing digits. Abdulle and Medovikov 2001; Abdulle 2002.
"""

import functools
import importlib.resources
import json
from math import comb, factorial
from typing import NamedTuple

import numpy as np

Roots = list[tuple[float, float]]


class Recurrence(NamedTuple):
    """`b_{j+1} P_{j+1} = (x - a_j) P_j - b_j P_{j-1}`: orthonormal polynomials up to degree m."""

    a: np.ndarray
    b: np.ndarray


def orthogonal_recurrence(roots: Roots, degree: int) -> Recurrence:
    """The recurrence to `degree` for the weight `w^2 / sqrt(1 - x^2)`, w with the given roots.

    `roots`: real and imaginary parts, one of each complex pair. The Stieltjes procedure with
    Gauss-Chebyshev quadrature of enough points to be exact.
    """
    points = degree + 2 * len(roots) + 4
    x = np.cos((2 * np.arange(points) + 1) * np.pi / (2 * points))
    weight = factor(roots, x) ** 2
    weight /= weight.sum()
    a, b = np.zeros(degree), np.zeros(degree + 1)
    previous, current = np.zeros(points), np.ones(points)
    for j in range(degree):
        a[j] = np.sum(weight * x * current**2)
        following = (x - a[j]) * current - b[j] * previous
        b[j + 1] = np.sqrt(np.sum(weight * following**2))
        previous, current = current, following / b[j + 1]
    return Recurrence(a, b)


def factor(roots: Roots, x: np.ndarray) -> np.ndarray:
    """W at x, with leading coefficient 1."""
    value = np.ones(np.shape(x))
    for real, imaginary in roots:
        value = value * ((x - real) ** 2 + imaginary**2)
    return np.asarray(value)


def orthogonal(recurrence: Recurrence, x: np.ndarray, derivatives: int = 0) -> np.ndarray:
    """The last polynomial of the recurrence and its derivatives at x, along a leading axis."""
    x = np.asarray(x, float)
    previous = np.zeros((derivatives + 1, *x.shape))
    current = previous.copy()
    current[0] = 1
    for j, a in enumerate(recurrence.a):
        following = (x - a) * current - recurrence.b[j] * previous
        for k in range(derivatives, 0, -1):
            following[k] += k * current[k - 1]
        previous, current = current, following / recurrence.b[j + 1]
    return current


def normalised_derivatives(
    roots: Roots, recurrence: Recurrence, a: float, derivatives: int
) -> np.ndarray:
    """`R, R', ...` with respect to x at the order point a, over R(a)."""
    # Taylor coefficients of w at a; in powers of x they would cancel, w being small near a.
    taylor = np.array([1.0])
    for real, imaginary in roots:
        taylor = np.convolve(taylor, [(a - real) ** 2 + imaginary**2, 2 * (a - real), 1.0])
    taylor = np.pad(taylor, (0, derivatives))
    ws = [taylor[k] * factorial(k) for k in range(derivatives + 1)]
    ps = orthogonal(recurrence, np.asarray(a), derivatives)
    values = [
        sum(comb(n, k) * ws[k] * ps[n - k] for k in range(n + 1)) for n in range(derivatives + 1)
    ]
    return np.array(values) / values[0]


class StagePolynomials(NamedTuple):
    """A member of a ROCK family, in the variable z.

    `mu`, `kappa` (m,): `P_j = (1 + kappa_j + mu_j z) P_{j-1} - kappa_j P_{j-2}`, `P_j(0) = 1`;
    `interval`: R is stable on `[-interval, 0]`.
    """

    mu: np.ndarray
    kappa: np.ndarray
    interval: float


def stage_polynomials(stages: int, order: int, parameters: np.ndarray) -> StagePolynomials:
    """The recurrence of P in z from `(root offsets..., order point offset)`.

    `parameters`: `s^2 (1 - real), s^2 imaginary` of each pair of roots of w, then `s^2 (a - 1)`.
    """
    roots, a = placed(stages, parameters)
    degree = stages - order
    recurrence = orthogonal_recurrence(roots, degree)
    scale = 1 / normalised_derivatives(roots, recurrence, a, 1)[1]
    # Ratios P_{j-1}(a) / P_j(a), by the recurrence itself.
    mu, kappa = np.zeros(degree), np.zeros(degree)
    ratio, ratio_before = 1.0, 0.0
    for j in range(degree):
        inverse = ((a - recurrence.a[j]) - recurrence.b[j] * ratio_before) / recurrence.b[j + 1]
        ratio = 1 / inverse
        mu[j] = scale * ratio / recurrence.b[j + 1]
        kappa[j] = recurrence.b[j] / recurrence.b[j + 1] * ratio_before * ratio
        ratio_before = ratio
    return StagePolynomials(mu, kappa, (1 + a) / scale)


def placed(stages: int, parameters: np.ndarray) -> tuple[Roots, float]:
    """Roots of w and the order point in x, from their offsets in units of `1/s^2` from 1."""
    unit = 1 / stages**2
    pairs = np.asarray(parameters[:-1]).reshape(-1, 2)
    roots = [(1 - real * unit, imaginary * unit) for real, imaginary in pairs]
    return roots, 1 + parameters[-1] * unit


def leading_coefficients(mu: np.ndarray, kappa: np.ndarray, count: int) -> np.ndarray:
    """Coefficients of `z^0, ..., z^(count-1)` in the last polynomial of a recurrence in z."""
    previous, current = np.zeros(count), np.zeros(count)
    current[0] = 1
    for m, k in zip(mu, kappa, strict=True):
        shifted = np.concatenate([[0.0], current[:-1]])
        previous, current = current, (1 + k) * current + m * shifted - k * previous
    return current


@functools.lru_cache
def rock_parameters() -> dict:
    """The stored parameters of every member; `rock_construction` writes them."""
    resource = importlib.resources.files(__package__).joinpath("rock_parameters.json")
    return json.loads(resource.read_text())
