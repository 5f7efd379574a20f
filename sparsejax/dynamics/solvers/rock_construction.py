"""Computes the parameters of the ROCK2 and ROCK4 families: `rock_parameters.json`.

The published coefficients come from the same construction; these are computed anew from its
conditions, to full double precision and for more stage counts.

- *Stability polynomials.* Order conditions at the order point a, and ripples of `DAMPING` where the
  longest interval has them: ROCK2 at its two extrema nearest to a, ROCK4 at the extremum nearest to
  a and at the far end (found by maximising the interval under `|R| <= DAMPING`; for ROCK4 with 5 to
  8 stages the published finishing coefficients meet these polynomials' order conditions to 1e-7).
- *Finishing stages of ROCK4.* Ten coefficients, eight order conditions of the composition
  (Butcher group); the rest minimises the principal error, the norm of the nine order-5 terms. The
  difference to the embedded method of order 3 is then unique up to a factor.

Run `python -m sparsejax.dynamics.solvers.rock_construction` to write the file again (a minute).
"""

import functools
import json
import pathlib
from collections import Counter
from collections.abc import Callable
from math import factorial, prod
from typing import Any

import numpy as np
import scipy.optimize

from .rock_polynomials import (
    factor,
    normalised_derivatives,
    orthogonal,
    orthogonal_recurrence,
    placed,
    stage_polynomials,
)

DAMPING = 0.95
MOST_STAGES = 200
ROCK2_START = (2.9, 3.45, 0.3)
ROCK4_START = (17.46, 8.87, 2.86, 23.3, -1.05)
FINISH_START = (-0.145, 1.32, -0.87, -0.09, 0.19, 0.52, 0.52, -0.25, 0.22, 0.27)


def stage_counts(least: int, most: int) -> list[int]:
    """Every count to 30, then in steps of about 4%."""
    counts = [least]
    while (following := max(counts[-1] + 1, int(1.04 * counts[-1]))) <= most:
        counts.append(following)
    return counts


def polynomial_conditions(stages: int, order: int, parameters: np.ndarray) -> np.ndarray:
    """Residuals of the order and damping conditions of a stability polynomial."""
    roots, a = placed(stages, parameters)
    recurrence = orthogonal_recurrence(roots, stages - order)
    r = normalised_derivatives(roots, recurrence, a, order)
    orders = [r[k] / r[1] ** k - 1 for k in range(2, order + 1)]
    x = np.cos(np.linspace(0, np.pi, 100 * stages + 1))
    at_a = factor(roots, np.asarray(a)) * orthogonal(recurrence, np.asarray(a))[0]
    heights = np.abs(factor(roots, x) * orthogonal(recurrence, x)[0] / at_a)
    inner = heights[1:-1]
    peaks = 1 + np.flatnonzero((inner >= heights[:-2]) & (inner > heights[2:]))
    left, top, right = heights[peaks - 1], heights[peaks], heights[peaks + 1]
    # The vertex of the parabola through three neighbours.
    ripples = np.append(top - (right - left) ** 2 / (8 * (left - 2 * top + right)), heights[-1])
    chosen = ripples[[0, 1]] if order == 2 else ripples[[0, -1]]
    return np.concatenate([orders, chosen - DAMPING])


def newton(
    residuals: Callable[[np.ndarray], np.ndarray], start: np.ndarray, step: float = 1e-5
) -> np.ndarray:
    """Newton's method with central differences; roundoff in the residuals bounds the step below."""
    x = np.array(start, float)
    for _ in range(30):
        shifts = step * np.maximum(1, np.abs(x))
        columns = [
            (residuals(x + s * e) - residuals(x - s * e)) / (2 * s)
            for s, e in zip(shifts, np.eye(len(x)), strict=True)
        ]
        change = np.linalg.solve(np.stack(columns, axis=1), residuals(x))
        x = x - change
        if np.abs(change).max() < 1e-9 * np.abs(x).max():
            break
    remaining = np.abs(residuals(x)).max()
    if not remaining < 1e-7:
        raise RuntimeError(f"no convergence: residual {remaining} at {x}")
    return x


def rooted_trees(order: int) -> list[tuple]:
    """Rooted trees of an order, each the sorted tuple of the subtrees at its root."""

    def forests(size: int, most: int) -> list[list[tuple]]:
        if size == 0:
            return [[]]
        return [
            [tree, *rest]
            for o in range(min(size, most), 0, -1)
            for tree in rooted_trees(o)
            for rest in forests(size - o, o)
        ]

    return sorted({tuple(sorted(forest)) for forest in forests(order - 1, order - 1)})


def _order(tree: tuple) -> int:
    return 1 + sum(map(_order, tree))


def _density(tree: tuple) -> int:
    return _order(tree) * prod(map(_density, tree))


def _symmetry(tree: tuple) -> int:
    return prod(factorial(n) * _symmetry(child) ** n for child, n in Counter(tree).items())


TREES = [tree for order in range(1, 6) for tree in rooted_trees(order)]
INDEX = {tree: i for i, tree in enumerate(TREES)}
ORDERS = np.array([_order(tree) for tree in TREES])
EXACT = np.array([1 / _density(tree) for tree in TREES])
SYMMETRY = np.array([float(_symmetry(tree)) for tree in TREES])


def of_derivative(weights: np.ndarray) -> np.ndarray:
    """Elementary weights of `h f(Y)` from those of Y."""
    return np.array([prod(weights[INDEX[child]] for child in tree) for tree in TREES])


def recurrence_weights(mu: np.ndarray, kappa: np.ndarray) -> np.ndarray:
    """Elementary weights, to order 5, of the last stage of a recurrence."""
    total, difference = np.zeros(len(TREES)), np.zeros(len(TREES))
    for m, k in zip(mu, kappa, strict=True):
        difference = k * difference + m * of_derivative(total)
        total = total + difference
    return total


def finished(weights: np.ndarray, tableau: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Elementary weights of `h f` at the finishing stages and of the result."""
    a, b = unpacked(tableau)
    derivatives: list[np.ndarray] = []
    for row in a:
        pairs = zip(row, derivatives, strict=False)
        derivatives.append(of_derivative(weights + sum((c * d for c, d in pairs), 0 * weights)))
    result = weights + sum((c * d for c, d in zip(b, derivatives, strict=True)), 0 * weights)
    return np.array(derivatives), result


def unpacked(tableau: Any) -> tuple[np.ndarray, np.ndarray]:
    """`(a21, a31, a32, a41, a42, a43, b1, ..., b4)` as a matrix and a vector."""
    a = np.zeros((4, 4))
    a[np.tril_indices(4, -1)] = tableau[:6]
    return a, np.array(tableau[6:10])


def finishing_tableau(weights: np.ndarray, start: Any) -> np.ndarray:
    """The ten coefficients with the least principal error, from a neighbour's."""

    def defect(tableau: np.ndarray) -> np.ndarray:
        return finished(weights, tableau)[1] - EXACT

    def principal(tableau: np.ndarray) -> float:
        return 1e4 * float(np.sum((defect(tableau) / SYMMETRY)[ORDERS == 5] ** 2))

    constraint = {"type": "eq", "fun": lambda tableau: defect(tableau)[ORDERS < 5]}
    options = {"maxiter": 500, "ftol": 1e-15}
    found = scipy.optimize.minimize(
        principal, start, method="SLSQP", constraints=[constraint], options=options
    ).x
    # The order conditions to roundoff, by the shortest corrections.
    for _ in range(5):
        residual = defect(found)[ORDERS < 5]
        jacobian = scipy.optimize.approx_fprime(
            found, lambda tableau: defect(tableau)[ORDERS < 5], 1e-7
        )
        found = found - np.linalg.lstsq(jacobian, residual, rcond=None)[0]
    remaining = np.abs(defect(found)[ORDERS < 5]).max()
    if not remaining < 1e-13:
        raise RuntimeError(f"order conditions of the finishing stages: {remaining} left")
    return found


def error_weights(weights: np.ndarray, tableau: np.ndarray) -> np.ndarray:
    """Embedded minus main weights of the five `h f`, the last one (at the end of the step) 1."""
    derivatives, result = finished(weights, tableau)
    columns = np.stack([*derivatives, of_derivative(result)], axis=1)[ORDERS < 4]
    return np.append(-np.linalg.solve(columns[:, :4], columns[:, 4]), 1.0)


def construct() -> dict[str, Any]:
    """Parameters of both families, by stage count."""
    families: dict[str, Any] = {}
    for order, least, start in ((2, 4, ROCK2_START), (4, 5, ROCK4_START)):
        counts = stage_counts(least, MOST_STAGES)
        found: list[np.ndarray] = []
        for stages in counts:
            guess = np.array(found[-1] if found else start)
            conditions = functools.partial(polynomial_conditions, stages, order)
            found.append(newton(conditions, guess))
        families[f"rock{order}"] = {
            "stages": counts,
            "parameters": [p.tolist() for p in found],
        }
    rock4 = families["rock4"]
    rock4["finishing"] = finishing_tableaus(rock4["stages"], rock4["parameters"])
    return families


def finishing_tableaus(counts: list[int], parameters: list[list[float]]) -> list[list[float]]:
    """The ten coefficients and five error weights of every ROCK4 member."""
    tableaus: dict[int, np.ndarray] = {}
    members = list(zip(counts, parameters, strict=True))
    # Each from its neighbour; the search that starts from 6 stages is the one that is easy.
    neighbours = {counts[0]: counts[1], **dict(zip(counts[2:], counts[1:-1], strict=True))}
    found = {}
    for stages, member in members[1:] + members[:1]:
        polynomials = stage_polynomials(stages, 4, np.array(member))
        weights = recurrence_weights(polynomials.mu, polynomials.kappa)
        start = tableaus.get(neighbours.get(stages, -1), np.array(FINISH_START))
        tableaus[stages] = finishing_tableau(weights, start)
        found[stages] = [*tableaus[stages], *error_weights(weights, tableaus[stages])]
    return [[float(c) for c in found[stages]] for stages in counts]


if __name__ == "__main__":
    path = pathlib.Path(__file__).with_name("rock_parameters.json")
    path.write_text(json.dumps(construct(), indent=0) + "\n")
