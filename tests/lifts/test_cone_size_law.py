"""The expected size of a cone against closed forms, enumeration of all lifts, and its limit."""

import itertools

import numpy as np
import pytest

from sparsejax.graphs import Edge, PerceptronModule, UnknownVertexError, Vertex, mlp
from sparsejax.lifts import LiftLaw, expected_cone_size


def chain(hidden, size, in_degree, law):
    return LiftLaw(mlp(inputs=1, hidden=hidden, outputs=1), size, in_degree, law)


def skip_law(n, in_degree, law):
    """h1 -> h2 -> h3 with a skip h1 -> h3."""
    names = [("x", "h1"), ("h1", "h2"), ("h2", "h3"), ("h1", "h3"), ("h3", "y")]
    vertices = [
        Vertex("x"),
        *(Vertex(f"h{i}", activation="tanh") for i in (1, 2, 3)),
        Vertex("y", activation="identity"),
    ]
    module = PerceptronModule(tuple(vertices), tuple(Edge(*pair) for pair in names), ("x",), ("y",))
    return LiftLaw(module, n, in_degree, law)


def test_regular_cones_of_three_levels_in_closed_form():
    """Two of three sources each: one source is missed by m vertices with probability 3^-m."""
    law = chain(4, 3, 2, "regular")
    second = 3 * (1 - 1 / 9)
    third = 3 * (1 - (1 / 3 / 9 + 2 / 3 / 27))  # two vertices see 2 sources in one case of three
    expected = expected_cone_size(law, "h4")
    assert expected.kind == "exact"
    assert expected.value == pytest.approx(1 + 2 + second + third, rel=1e-13)
    assert expected_cone_size(law, "h4", depth=2).value == pytest.approx(3 + second, rel=1e-13)
    assert expected_cone_size(law, "h4", depth=0).value == 1


def test_binomial_cones_of_two_levels_in_closed_form():
    n, p = 50, 3 / 50
    expected = 1 + n * p + n * (1 - (1 - p**2) ** n)
    assert expected_cone_size(chain(3, n, 3, "binomial"), "h3").value == pytest.approx(expected)


def enumerated_skip_cone(n, p):
    """Mean size of the cone of one vertex above h3 over all wirings, weighted by probability."""
    total = 0.0
    subsets = [np.array(bits, bool) for bits in itertools.product((0, 1), repeat=n)]
    weight = {id(s): p ** s.sum() * (1 - p) ** (n - s.sum()) for s in subsets}
    for middle, skip in itertools.product(subsets, repeat=2):
        for below in itertools.product(subsets, repeat=n):
            share = weight[id(middle)] * weight[id(skip)]
            first = skip.copy()
            for v in range(n):
                share *= weight[id(below[v])]
                if middle[v]:
                    first |= below[v]
            total += share * (1 + middle.sum() + first.sum())
    return total


def test_where_paths_join_it_is_a_bound_that_lies_between_the_truth_and_the_limit():
    exact = enumerated_skip_cone(3, 1 / 3)
    law = skip_law(3, 1, "binomial")
    bound = expected_cone_size(law, "h3")
    assert bound.kind == "upper_bound"
    assert exact < bound.value < exact + 0.2
    assert bound.value < expected_cone_size(law, "h3", limit=True).value == 4
    # One path from each vertex within one edge.
    near = expected_cone_size(law, "h3", depth=1)
    assert near.kind == "exact" and near.value == pytest.approx(3, rel=1e-14)


@pytest.mark.parametrize("law", ["regular", "binomial"])
def test_the_limit_is_approached_like_one_over_the_size(law):
    limit = expected_cone_size(chain(4, 50, 2, law), "h4", limit=True)
    assert limit == (15, "limit")
    short = [limit.value - expected_cone_size(chain(4, n, 2, law), "h4").value for n in (500, 1000)]
    assert short[0] / short[1] == pytest.approx(2, rel=0.02)


def test_full_in_degrees_reach_everything():
    for law in ("regular", "binomial"):
        assert expected_cone_size(chain(4, 5, 5, law), "h4").value == 1 + 3 * 5


def test_a_branch_of_its_own_is_exact():
    """Two chains that meet in one vertex: each base vertex has one path."""
    names = [("x", "a1"), ("x", "b1"), ("a1", "a2"), ("b1", "c"), ("a2", "c"), ("c", "y")]
    vertices = [Vertex("x"), *(Vertex(v, activation="tanh") for v in ("a1", "b1", "a2", "c"))]
    module = PerceptronModule(
        (*vertices, Vertex("y", activation="identity")),
        tuple(Edge(*pair) for pair in names),
        ("x",),
        ("y",),
    )
    expected = expected_cone_size(LiftLaw(module, 3, 2, "regular"), "c")
    assert expected.kind == "exact"
    assert expected.value == pytest.approx(1 + 2 + 2 + 3 * (1 - 1 / 9), rel=1e-13)


def test_bad_arguments():
    law = chain(2, 4, 2, "regular")
    with pytest.raises(ValueError, match="depth must not be negative"):
        expected_cone_size(law, "h2", depth=-1)
    with pytest.raises(UnknownVertexError):
        expected_cone_size(law, "h9")
