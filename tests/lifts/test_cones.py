"""Cone statistics against brute force, and their exact laws against enumeration and sampling."""

import functools
import itertools
import math

import jax
import numpy as np
import pytest
import scipy.stats

import sparsejax as sj
from sparsejax.graphs import Edge, PerceptronModule, Scale, Vertex, mlp
from sparsejax.lifts import (
    InTree,
    LiftLaw,
    cone_sizes,
    embedded_in_tree_probability,
    has_in_tree,
    in_degree_counts,
    in_tree_of,
    in_tree_probability,
    tree_like,
    tree_like_probability,
    uniform_in_tree,
)

CHAIN = mlp(inputs=1, hidden=3, outputs=1)
ANY = InTree()


def skip_module():
    """h1 -> h2 -> h3 with a skip h1 -> h3 and a doubled edge, all from duplicated vertices."""
    vertices = [Vertex("x")] + [Vertex(f"h{i}", activation="tanh") for i in (1, 2, 3)]
    return PerceptronModule(
        (*vertices, Vertex("y", activation="identity")),
        (
            Edge("x", "h1"),
            Edge("h1", "h2"),
            Edge("h2", "h3"),
            Edge("h1", "h3", Scale(), name="skip"),
            Edge("h1", "h2", Scale(), name="double"),
            Edge("h3", "y"),
        ),
        ("x",),
        ("y",),
    )


SKIP = skip_module()


def random_lift(module, n, seed, density=0.3):
    rng = np.random.default_rng(seed)
    edges = {
        e.name: np.argwhere(rng.random((n, n)) < density)
        for e in module.edges
        if module.clamped(e.source) is None and module.clamped(e.target) is None
    }
    return sj.lift_from_edges(module, n, edges)


@functools.cache
def some_lift(kind):
    return random_lift({"chain": CHAIN, "skip": SKIP}[kind], 6, seed=1)


def adjacency(lift):
    """One matrix of the whole graph, row to column; multiple edges counted."""
    names = [name for name in lift.module.order if lift.module.clamped(name) is None]
    offset = dict(zip(names, np.cumsum([0] + [lift.sizes[n] for n in names]), strict=False))
    matrix = np.zeros((sum(lift.sizes[n] for n in names),) * 2, np.int64)
    for edge in lift.module.edges:
        if edge.source in offset and edge.target in offset:
            for u, v in lift.edges(edge.name):
                matrix[offset[edge.source] + u, offset[edge.target] + v] += 1
    return matrix, offset


@pytest.mark.parametrize("kind", ["chain", "skip"])
@pytest.mark.parametrize("depth", [0, 1, 2, None])
def test_tree_likeness_and_cone_size_by_powers_of_the_adjacency_matrix(kind, depth):
    """1.6: the entries of I + A + ... + A^k count paths of at most k edges."""
    lift = some_lift(kind)
    matrix, offset = adjacency(lift)
    powers = [np.linalg.matrix_power(matrix, k) for k in range((3 if depth is None else depth) + 1)]
    paths = sum(powers)[:, offset["h3"] : offset["h3"] + 6]
    np.testing.assert_array_equal(tree_like(lift, "h3", depth), (paths <= 1).all(axis=0))
    np.testing.assert_array_equal(cone_sizes(lift, "h3", depth), (paths > 0).sum(axis=0))


def test_in_degrees_are_counted():
    edges = np.array([[0, 1], [2, 1], [1, 3]])
    lift = sj.lift_from_edges(mlp(1, 2, 1), 4, {"h1->h2": edges})
    assert in_degree_counts(lift, "h1->h2").tolist() == [2, 1, 1]
    assert in_degree_counts(lift, "x->h1").tolist() == [0, 4]


def test_dense_lifts_are_not_tree_like_and_counts_do_not_overflow():
    deep = sj.dense_lift(mlp(1, 70, 1), 3)
    assert not tree_like(deep, "h70").any() and tree_like(deep, "h70", 1).all()
    assert (cone_sizes(deep, "h70") == 1 + 3 * 69).all()


def matches(lift, name, number, shape):
    """By definition: try every matching."""
    for edge, children in shape.children.items():
        pairs = lift.edges(edge)
        sources = [int(u) for u, v in pairs if v == number]
        below = lift.module.edge(edge).source
        if len(sources) != len(children) or not any(
            all(matches(lift, below, u, c) for u, c in zip(order, children, strict=True))
            for order in itertools.permutations(sources)
        ):
            return False
    return True


def two(*degrees):
    return InTree({"h2->h3": [InTree({"h1->h2": [ANY] * k}) for k in degrees]})


@pytest.mark.parametrize(
    "shape",
    [
        ANY,
        InTree({"h2->h3": [ANY, ANY]}),
        two(1, 2),
        two(2, 2),
        two(),
        InTree({"h2->h3": [ANY, InTree({"h1->h2": [ANY, ANY]})]}),  # children overlap
        InTree({"h2->h3": [ANY, *two(1).children["h2->h3"], *two(3).children["h2->h3"]]}),
    ],
    ids=str,
)
def test_shapes_are_found_by_halls_condition(shape):
    found = 0
    for seed in range(4):
        lift = random_lift(CHAIN, 7, seed)
        expected = [matches(lift, "h3", v, shape) for v in range(7)]
        np.testing.assert_array_equal(has_in_tree(lift, "h3", shape), expected)
        found += sum(expected)
    assert found > 0


def test_a_shape_over_several_edges():
    lift = some_lift("skip")
    shapes = [in_tree_of(lift, ("h3", v), 2) for v in range(6)]
    for shape in set(shapes):
        assert shape.is_complete("h3", SKIP, 2)
        np.testing.assert_array_equal(
            has_in_tree(lift, "h3", shape), [other == shape for other in shapes]
        )
    with pytest.raises(ValueError, match="leads to 'h2'"):
        has_in_tree(lift, "h3", InTree({"double": []}))


def test_in_trees_are_multisets():
    assert two(1, 2) == two(2, 1) and hash(two(1, 2)) == hash(two(2, 1)) and two(1, 2) != two(1, 1)
    assert two(1, 2).depth == 2 and two(2, 2).automorphisms == 8 and two(1, 2).automorphisms == 2
    assert uniform_in_tree(CHAIN, "h3", 2, 2) == two(2, 2)
    with pytest.raises(TypeError, match="a child must be an InTree"):
        InTree({"e": [3]})


# Exact laws, by going through every lift of three layers of two vertices.


def all_lifts(module, law, n, degree):
    """Every lift with its probability: subsets of predecessors for each vertex and edge."""
    between = [e.name for e in module.edges if module.clamped(e.source) is None and e.target != "y"]
    p = degree / n
    subsets = [s for k in range(n + 1) for s in itertools.combinations(range(n), k)]
    if law == "regular":
        subsets = [s for s in subsets if len(s) == degree]
    chance = {
        s: 1 / len(subsets) if law == "regular" else p ** len(s) * (1 - p) ** (n - len(s))
        for s in subsets
    }
    # The root is h3's first vertex; the others above h3 play no part.
    roles = [(e, v) for e in between for v in range(n if module.edge(e).target != "h3" else 1)]
    for chosen in itertools.product(subsets, repeat=len(roles)):
        yield dict(zip(roles, chosen, strict=True)), math.prod(chance[s] for s in chosen)


def unrolled(module, into, name, number):
    return InTree(
        {
            e.name: [unrolled(module, into, e.source, u) for u in into[e.name, number]]
            for e in module.in_edges(name)
            if module.clamped(e.source) is None
        }
    )


def count_paths(module, into, name, number):
    total = {(name, number): 1}
    for e in module.in_edges(name):
        for u in into.get((e.name, number), ()):
            for vertex, count in count_paths(module, into, e.source, u).items():
                total[vertex] = total.get(vertex, 0) + count
    return total


@pytest.mark.parametrize(("law", "n", "degree"), [("binomial", 2, 1.2), ("regular", 3, 2)])
def test_laws_of_cones_by_enumeration(law, n, degree):
    """1.7 at finite size: every shape's probability, unrolled and as a graph; and 1.6."""
    shapes, embedded, trees = {}, {}, 0.0
    for into, chance in all_lifts(CHAIN, law, n, degree):
        shape = unrolled(CHAIN, into, "h3", 0)
        tree = max(count_paths(CHAIN, into, "h3", 0).values()) == 1
        shapes[shape] = shapes.get(shape, 0) + chance
        embedded[shape] = embedded.get(shape, 0) + chance * tree
        trees += chance * tree
    assert math.isclose(sum(shapes.values()), 1, rel_tol=1e-12)
    promised = LiftLaw(CHAIN, n, degree, law)
    value, kind = tree_like_probability(promised, "h3", 2)
    assert kind == "exact" and math.isclose(value, trees, rel_tol=1e-12, abs_tol=1e-15)
    for shape in shapes:
        value, kind = in_tree_probability(promised, "h3", shape)
        assert kind == "exact" and math.isclose(value, shapes[shape], rel_tol=1e-12)
        # Vertices without predecessors are fixed too: these shapes are all complete.
        value, kind = embedded_in_tree_probability(promised, "h3", shape)
        assert kind == "exact"
        assert math.isclose(value, embedded[shape], rel_tol=1e-12, abs_tol=1e-15)


def test_the_bound_where_the_base_graph_is_no_chain():
    """Skips and doubled edges: a lower bound, above which the enumerated probability lies."""
    law = LiftLaw(SKIP, 2, 0.2)
    trees = sum(
        chance
        for into, chance in all_lifts(SKIP, "binomial", 2, 0.2)
        if max(count_paths(SKIP, into, "h3", 0).values()) == 1
    )
    value, kind = tree_like_probability(law, "h3", 2)
    assert kind == "lower_bound" and trees - 0.02 < value <= trees < 1
    # The union of events is their sum to first order, so that the bound is sharp as n grows.
    near, far = (
        1 - tree_like_probability(LiftLaw(SKIP, n, 2), "h3", 2).value for n in (10**4, 2 * 10**4)
    )
    assert math.isclose(near, 2 * far, rel_tol=1e-9)
    chain = LiftLaw(CHAIN, 10**6, 2)
    exact = 1 - tree_like_probability(chain, "h3", 2).value
    assert math.isclose(exact * 10**6, 2**4 / 2, rel_tol=1e-3)


def test_three_levels_deep_a_vertex_can_be_met_twice():
    module = mlp(1, 4, 1)
    shape = uniform_in_tree(module, "h4", 3, 2)
    law = LiftLaw(module, 50, 2)
    assert in_tree_probability(law, "h4", shape).kind == "limit"
    assert embedded_in_tree_probability(law, "h4", shape).kind == "exact"
    # All cones of a regular lift are alike, at any depth.
    regular = LiftLaw(module, 50, 2, "regular")
    assert in_tree_probability(regular, "h4", shape) == (1.0, "exact")
    tree = embedded_in_tree_probability(regular, "h4", shape).value
    assert math.isclose(tree, tree_like_probability(regular, "h4", 3).value, rel_tol=1e-9)


def test_limits():
    """1.7: e^-lambda lambda^k / k!, and its products."""
    law = LiftLaw(CHAIN, 50, 3)
    poisson = scipy.stats.poisson(3).pmf
    found = law.in_degree_probability("h1->h2", np.arange(9), limit=True)
    np.testing.assert_allclose(found, poisson(np.arange(9)), rtol=1e-12)
    expected = poisson(2) * 2 * poisson(1) * poisson(3)
    assert math.isclose(in_tree_probability(law, "h3", two(1, 3), limit=True).value, expected)
    large = in_tree_probability(LiftLaw(CHAIN, 10**6, 3), "h3", two(1, 3))
    assert large.kind == "exact" and math.isclose(large.value, expected, rel_tol=1e-5)
    assert law.in_degree_probability("one->h2", 1) == 1 and LiftLaw(
        CHAIN, 50, 3, "regular"
    ).in_degree_probability("h1->h2", 3, limit=True)


def test_a_sampled_lift_follows_the_laws():
    """1.2 and 1.7: counts in one large lift lie within exact binomial limits."""
    n = 4000
    lift = sj.random_sparse_lift(jax.random.key(11), mlp(1, 2, 1), n, 3.0)
    law = LiftLaw(lift.module, n, 3.0)
    counts = in_degree_counts(lift, "h1->h2")
    for k in range(7):
        p = float(law.in_degree_probability("h1->h2", k))
        low, high = scipy.stats.binom.interval(1 - 1e-4, n, p)
        assert low <= counts[k] <= high
        assert counts[k] == has_in_tree(lift, "h2", InTree({"h1->h2": [ANY] * k})).sum()


def test_what_the_laws_refuse():
    law = LiftLaw(CHAIN, 10, 2)
    with pytest.raises(ValueError, match="one vertex can match both"):
        in_tree_probability(law, "h3", InTree({"h2->h3": [ANY, InTree({"h1->h2": [ANY]})]}))
    with pytest.raises(ValueError, match="does not fix all predecessors"):
        mixed = InTree({"h2->h3": [ANY, InTree({"h1->h2": [ANY]})]})
        embedded_in_tree_probability(law, "h3", mixed)
    with pytest.raises(ValueError, match="whole in-degree"):
        LiftLaw(CHAIN, 10, 2.5, "regular")
    with pytest.raises(ValueError, match="above the number of predecessors"):
        LiftLaw(CHAIN, 2, 3)
    with pytest.raises(ValueError, match="depth must not be negative"):
        tree_like_probability(law, "h3", -1)
