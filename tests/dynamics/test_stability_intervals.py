"""Every member of the stabilised families: its stability interval, from its coefficients alone."""

import numpy as np
import pytest

from sparsejax.dynamics.solvers.rkc2 import rkc2_table
from sparsejax.dynamics.solvers.rock2 import rock2_table
from sparsejax.dynamics.solvers.rock4 import rock4_table

FAMILIES = {"rkc2": rkc2_table(250), "rock2": rock2_table(200), "rock4": rock4_table(200)}
# Sommeijer et al. 1997 (2.6); the stage formulas of rock2.f and rock4.f.
PUBLISHED = {
    "rkc2": lambda s: 2 / 3 * (s**2 - 1) * (1 - 2 / 15 * 2 / 13),
    "rock2": lambda s: 0.811 * s**2 - 1.5,
    "rock4": lambda s: 0.353 * s**2 - 3,
}


def stability(table, member, z):
    """The stability polynomial at z: one step of the method on `y' = z y` from 1, in NumPy."""
    start, length = table.starts[member], table.lengths[member]
    total, difference = np.zeros_like(z), np.zeros_like(z)
    # Coefficients are those of float64, whatever the dtype of z.
    for r, q, m, g, _ in table.rows[start : start + length]:
        difference = r * total + q * difference + m * z * (1 + total) + g * z
        total = total + difference
    slopes, base = [], total
    for a in table.finish_a[member]:
        inner = sum((w * k for w, k in zip(a, slopes, strict=False)), base)
        slopes.append(z * (1 + inner))
    total = sum((w * k for w, k in zip(table.finish_b[member], slopes, strict=True)), base)
    return 1 + total


def measured_interval(table, member):
    """Where |R| first exceeds 1 on the negative axis: a scan, and a closer one."""
    # R oscillates s times, evenly in the angle.
    angles = np.linspace(0, np.pi, 40 * int(table.stages[member]))
    z = -1.2 * table.intervals[member] * (1 - np.cos(angles)) / 2
    for _ in range(2):
        outside = np.abs(stability(table, member, z)) > 1 + 1e-9
        first = int(np.argmax(outside))
        assert outside.any() and first > 0
        z = np.linspace(z[first - 1], z[first], 100)
    return -z[0]


@pytest.mark.parametrize("family", FAMILIES)
def test_the_interval_of_every_stage_count_is_measured(family):
    table = FAMILIES[family]
    found = np.array([measured_interval(table, member) for member in range(len(table.stages))])
    # What the step size is held against, and no more than it.
    assert (found >= table.intervals * (1 - 1e-6)).all()
    # R of RKC2 ends at 1/3 for odd stage counts and falls to -1 only behind the interval.
    ends = (table.stages % 2 == 0) if family == "rkc2" else np.ones(len(found), bool)
    ends = ends & (table.stages >= 4)
    np.testing.assert_allclose(found[ends], table.intervals[ends], rtol=0.01)
    many = ends & (table.stages >= 10)
    published = PUBLISHED[family](table.stages[many].astype(float))
    np.testing.assert_allclose(found[many], published, rtol=0.01)


def test_roundoff_in_the_longest_steps_of_rock4():
    table, rng = FAMILIES["rock4"], np.random.default_rng(0)
    assert table.stages[-1] == 120 or 115 < table.stages[-1] < 120
    for most, size in ((10, 1e-11), (50, 1e-5)):
        member = np.flatnonzero(table.stages <= most)[-1]
        z = -table.intervals[member] * rng.uniform(0.8, 1, 400)
        exact = stability(table, member, z.astype(np.longdouble))
        assert size / 1e3 < np.abs(stability(table, member, z) - exact).max() < size


@pytest.mark.parametrize("family, order", [("rkc2", 2), ("rock2", 2), ("rock4", 4)])
def test_every_member_has_its_order_on_linear_problems(family, order):
    table, z = FAMILIES[family], -np.array([0.02, 0.01])
    for member in range(len(table.stages)):
        defects = np.abs(stability(table, member, z) - np.exp(z))
        assert abs(np.log2(defects[0] / defects[1]) - (order + 1)) < 0.1
