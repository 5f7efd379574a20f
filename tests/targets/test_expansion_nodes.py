"""Values at the nodes of an expansion's composition: products and sums of what they read."""

import jax
import numpy as np
import pytest

from sparsejax.learners import IntermediateSupervision
from sparsejax.targets import RandomHierarchy, hermite_polynomials, parse_target


@pytest.mark.parametrize("law, more", [("cube", ""), ("gaussian", " + h3(x2)*x1 + 4*h2(x5)")])
def test_nodes_are_products_and_weighted_sums_of_what_they_read(law, more):
    f = parse_target("3 + 0.5*x2 + x1*x2 + 2*x1*x2*x3 - x4*x5" + more, law=law)
    x, y = f.sample(jax.random.key(0), 9)
    values = f.values(x)
    assert set(values) == set(f.dag.order) and f.dag.arity == 2
    np.testing.assert_allclose(values[f.dag.root], y[:, 0], rtol=1e-12)
    read = {f"x{i + 1}": x[:, i] for i in range(f.dims)} | values
    for node in f.dag.order:
        parents = f.dag.parents_of(node)
        given = [read[parent] for parent in parents]
        if len(parents) == 1:
            order = int(node[1])
            expected = hermite_polynomials(given[0], order)[order]
        elif node == f.dag.root or node.startswith("s"):
            # A summand that is a term comes with its coefficient, a sum as it is.
            weights = [_coefficient(f, parent) for parent in parents]
            expected = weights[0] * given[0] + weights[1] * given[1] + 3 * (node == f.dag.root)
        else:
            expected = given[0] * given[1]
        np.testing.assert_allclose(values[node], expected, rtol=1e-9, atol=1e-12)


def _coefficient(f, name):
    if name.startswith("x") and name[1:].isdigit():
        return f.coefficient((int(name[1:]),))
    terms = f.constituents[name].terms
    return 1.0 if name.startswith("s") else f.coefficient(terms[0][0])


def test_inner_nodes_of_an_expansion_can_be_taught():
    parity = parse_target("x1*x2*x3*x4", dims=6)
    taught = IntermediateSupervision(parity, ("x1x2", "x3x4"), (1.0, 0.5))
    x, labels = taught.sample(jax.random.key(1), 8)
    by_hand = [x[:, 0] * x[:, 1] * x[:, 2] * x[:, 3], x[:, 0] * x[:, 1], x[:, 2] * x[:, 3]]
    np.testing.assert_array_equal(labels, np.stack(by_hand, axis=1))
    with pytest.raises(ValueError, match="'x1x3' is no inner node; they are x1x2, x3x4"):
        IntermediateSupervision(parity, ("x1x3",))


def test_a_target_without_numbers_at_its_nodes_is_refused():
    with pytest.raises(ValueError, match="RandomHierarchy has no numbers at its inner nodes"):
        IntermediateSupervision(RandomHierarchy(3, 2, 2), ("y",))
