"""What theory says of targets whose theory is known."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from sparsejax.graphs import from_target
from sparsejax.targets import (
    READY_MADE,
    CompositionalTarget,
    HermiteExpansion,
    Node,
    Prediction,
    Target,
    WalshExpansion,
    deep_parameters,
    degenerate_staircase,
    hermite_index,
    leap_staircase,
    majority,
    merged_stairs,
    parity,
    predicted,
    product_tree,
    sampled,
    shallow_parameters,
    sparse_polynomial,
    staircase,
)


def multiply(a, b):
    return a * b


PARITY_TREE = CompositionalTarget(
    30,
    (
        Node("a", multiply, ("x3", "x7")),
        Node("b", multiply, ("x20", "x21")),
        Node("y", multiply, ("a", "b")),
    ),
    law="cube",
)


@pytest.mark.parametrize(
    ("target", "leap", "exponent"),
    [
        (staircase(50, 4), 1, 1),
        (merged_stairs(50), 1, 1),
        (degenerate_staircase(50), 1, 1),
        (leap_staircase(50, 2), 2, 1),
        (leap_staircase(50, 3), 3, 2),
        (parity(50, 4), 4, 3),
        (majority(5, dims=50), 1, 1),
        (PARITY_TREE, 4, 3),
    ],
)
def test_leaps_and_steps_on_the_cube(target, leap, exponent):
    found = predicted(target)
    assert (found.leap, found.step_exponent) == (leap, exponent)
    assert found.merged_staircase == (leap == 1)
    assert found.information_exponent is None and found.sample_complexity is None
    assert set(found.why_not) == {"information_exponent", "sample_complexity"}


@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_steps_of_a_single_index(k):
    found = predicted(hermite_index(60, k))
    assert (found.information_exponent, found.leap) == (k, k)
    assert found.step_exponent == max(k - 1, 1)


def test_several_gaussian_coordinates_are_left_to_all_rotations():
    open_ = predicted(HermiteExpansion(9, (((1,), 1.0), ((2,), 1.0), ((1, 2), 1.0))))
    # x1 + x2 + x1 x2 is sqrt(2) u + (u^2 - v^2) / 2 of the rotated u, v: v^2 has leap 2.
    assert open_.leap == 1 and open_.step_exponent is None
    assert "at least 1 and at most the degree, 2" in open_.why_not["step_exponent"]
    assert predicted(HermiteExpansion(9, (((1, 2), 1.0),))).step_exponent == 1


def test_sensitivities_and_terms_are_those_of_the_expansion():
    found = predicted(WalshExpansion(9, (((1,), 1.0), ((1, 2), 2.0), ((), 7.0))))
    assert found.sobol_first == {1: 0.2, 2: 0.0} and found.sobol_total == {1: 1.0, 2: 0.8}
    assert found.coefficients == (((), 7.0), ((1,), 1.0), ((1, 2), 2.0))
    assert found.ordering == ((1,), (1, 2)) and found.degree == 2


def test_a_composition_on_the_cube_is_expanded_and_others_say_why_not():
    assert predicted(PARITY_TREE).coefficients == (((3, 7, 20, 21), 1.0),)
    found = predicted(product_tree())
    for name in ("degree", "leap", "coefficients", "sobol_first", "step_exponent"):
        assert getattr(found, name) is None and found.why_not[name]
    assert (found.parameters_shallow, found.parameters_deep) == (4, 2)


def test_parameter_counts():
    eps, m = 0.01, 4
    for target, support in ((product_tree(), 4), (PARITY_TREE, 4)):
        np.testing.assert_allclose(shallow_parameters(target, eps, m), eps ** (-support / m))
        np.testing.assert_allclose(deep_parameters(target, eps, m), 3 * eps ** (-2 / m))
    with pytest.raises(ValueError, match="eps must lie"):
        deep_parameters(PARITY_TREE, 1.0)


@dataclasses.dataclass(frozen=True)
class Knowing(CompositionalTarget):
    said: tuple = ()

    def predictions(self) -> Mapping[str, Any]:
        return dict(self.said)


def test_a_target_may_say_more():
    own = (("sample_complexity", 320), ("leap", 9), ("why_not", {"step_exponent": "no SGD here"}))
    found = predicted(Knowing(2, (Node("y", multiply, ("x1", "x2")),), said=own))
    assert (found.sample_complexity, found.leap) == (320, 9)
    assert found.why_not["step_exponent"] == "no SGD here"
    assert "sample_complexity" not in found.why_not and "leap" not in found.why_not
    with pytest.raises(ValueError, match="theory has no field 'leaps'"):
        predicted(Knowing(2, (Node("y", multiply, ("x1", "x2")),), said=(("leaps", 1),)))


@pytest.mark.parametrize("name", READY_MADE)
def test_ready_made_targets_are_targets(name):
    target = READY_MADE[name]()
    assert isinstance(target, Target) and hash(target) == hash(READY_MADE[name]())
    data = sampled(target, 3, seed=0, test_samples=0)
    assert data.x_train.shape == (3, target.dims) and data.x_test.shape == (0, target.dims)
    np.testing.assert_allclose(data.y_train, np.asarray(target(data.x_train)))
    found = predicted(target)
    assert isinstance(found, Prediction)
    # Every field says something, or why it does not.
    for field in dataclasses.fields(Prediction):
        assert (getattr(found, field.name) is None) == (field.name in found.why_not)
    # The graph of a target is a base graph.
    assert from_target(target).outputs == ("y",)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: staircase(3, 4), "order: 1 to 3"),
        (lambda: parity(3, 0), "order: 1 to 3"),
        (lambda: leap_staircase(3, 3), "leap: 1 to 2"),
        (lambda: merged_stairs(3), "four or more"),
        (lambda: degenerate_staircase(9, 1), "two or more"),
        (lambda: sparse_polynomial(9, support=3, degree=4), "degree <= support"),
        (lambda: sparse_polynomial(9, support=2, degree=2, terms=4), "terms: 4 different sets"),
        (lambda: CompositionalTarget(1, (Node("y", abs, ("x1",)),), law="cauchy"), "'cauchy'"),
    ],
)
def test_bad_targets(call, said):
    with pytest.raises(ValueError, match=said):
        call()


def test_sparse_polynomials_are_fixed_by_their_seed():
    assert sparse_polynomial(40, seed=2) == sparse_polynomial(40, seed=2)
    assert sparse_polynomial(40, seed=2) != sparse_polynomial(40, seed=3)
    assert max(sparse_polynomial(9, support=9, terms=200, degree=4, seed=1).support) <= 9
