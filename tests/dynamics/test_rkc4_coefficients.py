"""Every member of the RKC4 family, from its coefficients alone: order, stability, stiff errors."""

import numpy as np
import pytest

from sparsejax.dynamics.solvers.rkc4 import rkc4_table
from sparsejax.dynamics.solvers.rkc4_construction import (
    BUSHY,
    construct,
    elementary_weights,
    stiff_error,
)
from sparsejax.dynamics.solvers.rkc4_recurrence import chebyshev, rkc4_members
from sparsejax.dynamics.solvers.rock_construction import EXACT, ORDERS, TREES

TABLE, MEMBERS = rkc4_table(201), rkc4_members()


def butcher(rows):
    """The tableau (A, b, error weights) of a member, from the rows that the solver reads."""
    s = len(rows)
    # Each vector of a step as weights of F_0..F_{s-1}.
    unit, a = np.eye(s), [np.zeros(s)]
    e = difference = rows[0, 1] * unit[0]
    v, g = np.zeros(s), np.zeros(s)
    b, error = rows[0, 6] * e, rows[0, 7] * e
    for j, (nu, m, rest, kappa, inverse, share, rho, delta, _) in enumerate(rows[1:], 1):
        v = v + share * e
        a.append((1 - rest) * e + kappa * v)
        z = inverse * (unit[j] - rest * unit[0] - kappa * g)
        g = g + share * (z - unit[0])
        difference = nu * difference + m * z
        e = e + difference
        b, error = b + rho * e, error + delta * e
    return np.array(a), b, error


def tableaus():
    for stages, start in zip(TABLE.stages, TABLE.starts, strict=True):
        rows = TABLE.rows[start : start + stages]
        yield stages, rows, *butcher(rows)


def weight(tree, a):
    """`sum_j` over the subtrees at the root, at every stage: the elementary weight without b."""
    product = np.ones(len(a))
    for child in tree:
        product = product * (a @ weight(child, a))
    return product


def test_every_member_meets_the_order_conditions_of_its_butcher_tableau():
    for stages, rows, a, b, error in tableaus():
        np.testing.assert_allclose(a.sum(axis=1), rows[:, 8], atol=1e-13)
        weights = np.array([weight(tree, a) for tree in TREES])
        # b alternates and is of the size 1e3: roundoff is not what the step has.
        roundoff = 1e-15 * stages * np.abs(b).sum()
        defects = weights @ b - EXACT
        assert np.abs(defects[ORDERS <= 4]).max() < max(roundoff, 1e-12)
        assert np.abs(defects[ORDERS == 5]).max() > 1e-3
        estimate = weights @ error
        assert np.abs(estimate[ORDERS <= 3]).max() < max(roundoff, 1e-12)
        assert (np.abs(estimate[ORDERS == 4]) > 1e-3).all()


def test_order_conditions_of_the_end_hold_in_the_recurrence_to_roundoff():
    for stages, member in list(MEMBERS.items())[::6]:
        defects = elementary_weights(chebyshev(stages), member, member.rho) - EXACT
        assert np.abs(defects[ORDERS <= 4]).max() < 1e-13
        estimate = elementary_weights(chebyshev(stages), member, member.delta)
        assert np.abs(estimate[ORDERS <= 3]).max() < 1e-13
        np.testing.assert_allclose(estimate[7], 0.002, rtol=1e-9)


def stability(stages, z):
    """`(R, largest |stage polynomial|, error)` at z, from the closed form of the vectors E_k."""
    member, basis = MEMBERS[stages], chebyshev(stages)
    w0 = 1 + 18 / stages**2
    k = np.arange(1, stages + 1)[:, None]
    x = w0 + (1 + w0) * z / basis.interval
    inside = np.cos(k * np.arccos(np.clip(x, -1, 1)))
    outside = np.sign(x) ** k * np.cosh(k * np.arccosh(np.maximum(np.abs(x), 1)))
    e = np.where(np.abs(x) <= 1, inside, outside) / np.cosh(k * np.arccosh(w0)) - 1
    v = member.v @ e[: len(member.v)]
    stages_ = 1 + member.beta[:, None] * e[:-1] + member.kappa[:, None] * v
    return 1 + member.rho @ e, np.abs(stages_).max(), member.delta @ e


def test_every_member_is_damped_on_its_interval_and_unstable_just_behind():
    for stages, interval in zip(TABLE.stages, TABLE.intervals, strict=True):
        np.testing.assert_allclose(interval, 0.325 * stages**2 - 2.76, rtol=2e-3)
        z = -interval * (1 - np.cos(np.linspace(0, np.pi, 60 * stages))) / 2
        r, largest_stage, error = stability(int(stages), z)
        assert np.abs(r).max() <= 1 + 1e-9
        assert np.abs(r[z < -2]).max() < 0.6
        # No stage, and no error estimate, is much larger than the solution.
        assert largest_stage < (5 if stages == 5 else 1.5)
        assert np.abs(error).max() < 2.5
        # From a ripple of 0.57, R grows to 1 within 0.34 / s^2 of the interval (5 stages: 0.81).
        behind, _, _ = stability(int(stages), -interval * (1 + np.array([0.3, 0.85]) / stages**2))
        assert (np.abs(behind) > 1).tolist() == [False, True]


def test_stiff_components_are_left_with_no_more_the_more_stages_there_are():
    for stages, member in MEMBERS.items():
        basis = chebyshev(stages)
        z = -np.linspace(0, basis.interval, 20 * stages)
        # The error of a step of y' = z (y - t^k) + k t^(k-1); ROCK4: 1e3 at 15 stages, growing.
        assert np.abs(stiff_error(basis, member, z, 2)).max() < 0.11
        assert np.abs(stiff_error(basis, member, z, 3)).max() < 0.55


@pytest.mark.parametrize("stages", [5, 9])
def test_the_stored_members_are_the_constructed_ones(stages):
    for found, stored in zip(construct(stages).member, MEMBERS[stages], strict=True):
        np.testing.assert_allclose(found, stored, rtol=1e-5, atol=1e-8)


def test_an_order_condition_sees_a_wrong_coefficient():
    basis, member = chebyshev(12), MEMBERS[12]
    moved = member._replace(kappa=member.kappa * (1 + 1e-6))
    defects = elementary_weights(basis, moved, moved.rho) - EXACT
    assert np.abs(defects[BUSHY]).max() > 1e-9
