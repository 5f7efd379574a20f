"""Computes the coefficients of the RKC4 family: `rkc4_parameters.json`.

A member with s stages works in the vectors `E_k`, which on `y' = lambda y`, `z = h lambda`, are

    E_k = (T_k(w0 + w1 z) / T_k(w0) - 1) y_n,    -1 <= w0 + w1 z for z in [-interval, 0].

Its stages are `Y_j = y_n + beta_j E_j + kappa_j V`, where `V = sum_k v_k E_k ~ h^3 y'''` is summed
over the first m of them and `kappa_j = 0` for j <= m; its result is `y_n + sum_k rho_k E_k`. In
place of `lambda E_j` stands `Z_j`, which `h f(Y_j)` gives (see `rkc4`). The coefficients, one kind
after the other:

- `rho`: the stability polynomial, of order 4 at 0 and of the least ripple behind that: about 0.57
  (linear program). The interval is 8% shorter than the longest possible, which has ripples of 1.
- `v`: of the least size on the interval among the sums that are `z^3 + O(z^4)` (linear program).
- `beta`, `kappa`: at first such that stages have the expansion of the exact solution to order 2 (3
  where j > m). The order conditions that are not on the stability polynomial then nearly hold, and
  a Gauss-Newton iteration moves the coefficients by some per cent until they do. It minimises on
  the way what stiff components are left with: the error of a step of `y' = lambda (y - t^k) + k
  t^(k-1)`, k = 2, 3, over the interval. This is what stays small where the finishing stages of
  ROCK4 multiply by `(s / 2)^8 / 200`. The order-5 terms are in the sum of squares too.
- `delta`: the error estimate `sum_k delta_k E_k`. It vanishes to order 3, and is of the least size
  on the interval for its given size at order 4 (linear program).

Run `python -m sparsejax.dynamics.solvers.rkc4_construction` to write the file again (minutes).
"""

import json
import math
import pathlib
from collections.abc import Callable
from typing import Any, NamedTuple

import numpy as np
import scipy.optimize

from .rkc4_recurrence import Chebyshev, Member, chebyshev, taylor
from .rock_construction import EXACT, INDEX, ORDERS, SYMMETRY, TREES

SHARE = 0.7  # of the stages that make V
SLOW = 2.0  # |z| up to which R is left to follow the exponential
ESTIMATE = 0.002  # z^4 in the error estimate; 1/24 would be all of h^4 y''''/24
MOST_STAGES = 201
# Weights in the sum of squares: the two stiff errors, the order-5 terms, the distance moved.
STIFF_2, STIFF_3, PRINCIPAL, DISTANCE = 1.0, 0.1, 3.0, 0.01
# Trees whose conditions do not follow from the stability polynomial: of c^2, c^3, c A c, A c^2.
BUSHY = [i for i, tree in enumerate(TREES) if ORDERS[i] <= 4 and str(tree).count(", ")]
TALL = [0, 1, 3, 7]


def points(basis: Chebyshev, each: int) -> np.ndarray:
    """`each` points an oscillation on the stability interval."""
    angles = np.linspace(0, np.pi, each * len(basis.nu) + 1)
    return -basis.interval * (1 - np.cos(angles)) / 2


def linear_stages(basis: Chebyshev, z: np.ndarray) -> np.ndarray:
    """`E_k` (s, z) of `y' = lambda y` from 1."""
    stages, increment, difference = [], np.zeros_like(z), np.zeros_like(z)
    for nu, m in zip(basis.nu, basis.m, strict=True):
        difference = nu * difference + m * z * (1 + increment)
        increment = increment + difference
        stages.append(increment)
    return np.array(stages)


def step(
    basis: Chebyshev, member: Member, field: Callable, zero: np.ndarray, outputs: np.ndarray
) -> np.ndarray:
    """`sum_k outputs_k E_k` after a step; `field(increment, abscissa)` is `h f`.

    Coefficients may have axes before their last: many methods at once, along the leading axes of
    the increments.
    """
    first = field(zero, 0.0)
    slopes = taylor(basis, 2)[:, 1]
    increment = basis.m[0] * first
    difference, v, g = increment, np.zeros_like(zero), np.zeros_like(zero)
    result = outputs[..., 0] * increment
    for j in range(1, len(basis.nu)):
        beta, kappa = member.beta[..., j - 1, None], member.kappa[..., j - 1, None]
        share = member.v[j - 1] if j <= len(member.v) else 0.0
        v = v + share * increment
        f = field(beta * increment + kappa * v, beta * slopes[j - 1])
        z = (f - (1 - beta) * first - kappa * g) / beta
        g = g + share * (z - first)
        difference = basis.nu[j] * difference + basis.m[j] * z
        increment = increment + difference
        result = result + outputs[..., j] * increment
    return result


def elementary_weights(basis: Chebyshev, member: Member, outputs: np.ndarray) -> np.ndarray:
    """Elementary weights, to order 5, of `sum_k outputs_k E_k`; the trees are the last axis."""

    def field(weights: np.ndarray, _: Any) -> np.ndarray:
        one = np.ones(weights.shape[:-1])
        columns = [
            math.prod((weights[..., INDEX[child]] for child in tree), start=one) for tree in TREES
        ]
        return np.stack(columns, axis=-1)

    zero = np.zeros((*member.beta.shape[:-1], len(TREES)))
    return step(basis, member, field, zero, outputs)


def stiff_error(basis: Chebyshev, member: Member, z: np.ndarray, power: int) -> np.ndarray:
    """Error at 1 of a step of `y' = z (y - t^power) + power t^(power - 1)`, `y(0) = 0`."""

    def field(y: np.ndarray, t: Any) -> np.ndarray:
        return z * (y - t**power) + power * t ** (power - 1)

    return step(basis, member, field, np.zeros((*member.beta.shape[:-1], len(z))), member.rho) - 1


class Moves(NamedTuple):
    """Relative changes of `beta` (k = 1..s-1) and of `kappa` (k > m) from where they start."""

    beta: np.ndarray
    kappa: np.ndarray


class Fit(NamedTuple):
    """A member, and the moves that one of more stages may start from."""

    member: Member
    moves: Moves


def least(
    columns: np.ndarray, size: np.ndarray, conditions: np.ndarray, values: np.ndarray
) -> np.ndarray:
    """The x of least `max |columns x - size|` (points, n) under `conditions x = values`."""
    scale = 1 / np.abs(conditions).max(axis=1)
    slack = -np.ones((len(columns), 1))
    solution = scipy.optimize.linprog(
        np.append(np.zeros(columns.shape[1]), 1.0),
        A_ub=np.block([[columns, slack], [-columns, slack]]),
        b_ub=np.concatenate([size, -size]),
        A_eq=np.hstack([conditions * scale[:, None], np.zeros((len(scale), 1))]),
        b_eq=values * scale,
        bounds=(None, None),
        method="highs",
    )
    if solution.status:
        raise RuntimeError(f"linear program: {solution.message}")
    return _exactly(solution.x[:-1], conditions * scale[:, None], values * scale)


def _exactly(x: np.ndarray, conditions: np.ndarray, values: np.ndarray) -> np.ndarray:
    """The shortest corrections to roundoff: the solver meets conditions to 1e-9."""
    for _ in range(3):
        x = x - np.linalg.lstsq(conditions, conditions @ x - values, rcond=None)[0]
    return x


def stability(basis: Chebyshev) -> np.ndarray:
    """`rho`."""
    z = points(basis, 12)
    z = z[z < -SLOW]
    orders = taylor(basis)[:, 1:].T
    exact = np.array([1 / math.factorial(k) for k in range(1, 5)])
    return least(linear_stages(basis, z).T, -np.ones(len(z)), orders, exact)


def third_derivative(basis: Chebyshev, count: int) -> np.ndarray:
    """`v` of the first `count` stages."""
    z = points(basis, 12)
    orders = taylor(basis)[:count, 1:4].T
    return least(
        linear_stages(basis, z)[:count].T, np.zeros(len(z)), orders, np.array([0.0, 0.0, 1.0])
    )


def error_estimate(basis: Chebyshev, member: Member) -> np.ndarray:
    """`delta`."""
    z = points(basis, 12)
    count = len(basis.nu)
    beta, kappa = (np.tile(a, (count, 1)) for a in (member.beta, member.kappa))
    many = member._replace(beta=beta, kappa=kappa)
    weights = elementary_weights(basis, many, np.eye(count)[:, None])
    conditions = weights[:, [*TALL, BUSHY[0]]].T
    values = np.array([0.0, 0.0, 0.0, ESTIMATE, 0.0])
    return least(linear_stages(basis, z).T, np.zeros(len(z)), conditions, values)


def starting_stages(basis: Chebyshev, rho: np.ndarray, v: np.ndarray) -> Member:
    """Stages of the exact solution's expansion, to order 2, and to order 3 behind V."""
    e = taylor(basis)[:-1]
    beta = 2 * e[:, 2] / e[:, 1] ** 2
    beta[0] = beta[1]  # a single stage has no second order
    kappa = (beta * e[:, 1]) ** 3 / 6 - beta * e[:, 3]
    kappa[: len(v)] = 0
    return Member(rho, beta, kappa, v, np.zeros_like(rho))


def fitted(basis: Chebyshev, start: Member, near: Moves | None, iterations: int) -> Fit:
    """`beta` and `kappa` of least squares under the order conditions, from the moves of another."""
    z = points(basis, 6)
    n, m = len(start.beta), len(start.v)
    scale = np.abs(start.kappa[m:]) + 1e-3 * np.abs(start.kappa).max()

    def moved(x: np.ndarray) -> Member:
        kappa = np.zeros((*x.shape[:-1], n))
        kappa[..., m:] = start.kappa[m:] + scale * x[..., n:]
        return start._replace(beta=start.beta * (1 + x[..., :n]), kappa=kappa)

    def residuals(x: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        member = moved(x)
        defect = elementary_weights(basis, member, start.rho) - EXACT
        root = np.sqrt(len(z))
        squares = [
            STIFF_2 * stiff_error(basis, member, z, 2) / root,
            STIFF_3 * stiff_error(basis, member, z, 3) / root,
            PRINCIPAL * (defect / SYMMETRY)[..., ORDERS == 5],
            DISTANCE * x,
        ]
        return (defect / EXACT)[..., BUSHY], np.concatenate(squares, axis=-1)

    def linearised(x: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        shift = 1e-6
        around = residuals(x + np.vstack([0 * x, shift * np.eye(len(x))]))
        return *(a[0] for a in around), *((a[1:] - a[0]).T / shift for a in around)

    x = np.zeros(n + len(scale))
    if near is not None:
        x = np.concatenate([_resampled(move, k) for move, k in zip(near, (n, n - m), strict=True)])
    for _ in range(iterations):
        conditions, rest, c, r = linearised(x)
        system = np.block([[r.T @ r, c.T], [c, np.zeros((len(c), len(c)))]])
        right = -np.concatenate([r.T @ rest, conditions])
        change = np.linalg.lstsq(system, right, rcond=1e-14)[0][: len(x)]
        shortened = min(1, 0.3 / np.abs(change).max())
        x = x + shortened * change
        if np.abs(change).max() < 1e-6:
            break
    for _ in range(4):
        conditions, _, c, _ = linearised(x)
        x = x - np.linalg.lstsq(c, conditions, rcond=None)[0]
    return Fit(moved(x), Moves(x[:n], x[n:]))


def _resampled(move: np.ndarray, count: int) -> np.ndarray:
    there, here = (np.linspace(0, 1, k) for k in (len(move), count))
    return np.interp(here, there, move)


def construct(stages: int, near: Moves | None = None) -> Fit:
    """All coefficients of the member with this many stages, 5 or more."""
    basis = chebyshev(stages)
    v = third_derivative(basis, min(max(round(SHARE * stages), 3), stages - 2))
    start = starting_stages(basis, stability(basis), v)
    member, moves = fitted(basis, start, near, 40 if near is None else 5)
    member = member._replace(delta=error_estimate(basis, member))
    defect = (elementary_weights(basis, member, member.rho) - EXACT)[ORDERS <= 4]
    if not np.abs(defect).max() < 1e-12:
        raise RuntimeError(f"order conditions of {stages} stages: {defect}")
    return Fit(member, moves)


def main() -> None:
    """Write the file, a member a line."""
    lines, stages, moves = [], 5, None
    while stages <= MOST_STAGES:
        # Each alone, where that takes seconds.
        member, moves = construct(stages, moves if stages > 100 else None)
        basis = chebyshev(stages)
        z = points(basis, 12)
        stiff = [np.abs(stiff_error(basis, member, z, k)).max() for k in (2, 3)]
        defect = (elementary_weights(basis, member, member.rho) - EXACT) / SYMMETRY
        print(stages, f"stiff errors {stiff}, order 5 {np.linalg.norm(defect[ORDERS == 5])}")
        lines.append(json.dumps({"stages": stages} | _fields(member)))
        stages = math.ceil((1.04 if stages < 100 else 1.1) * stages)  # every count to 26
    path = pathlib.Path(__file__).with_name("rkc4_parameters.json")
    path.write_text("[\n" + ",\n".join(lines) + "\n]\n")


def _fields(member: Member) -> dict[str, list[float]]:
    stored = member._replace(kappa=member.kappa[len(member.v) :])
    return {name: [float(x) for x in values] for name, values in stored._asdict().items()}


if __name__ == "__main__":
    main()
