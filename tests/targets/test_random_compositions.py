"""Trees, random DAGs and teachers: their graphs, their values, and exact Boolean coefficients."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sparsejax as sj
from sparsejax.lifts import random_teacher, teacher
from sparsejax.targets import (
    BooleanConstituent,
    Target,
    binary_tree,
    cube_cubature,
    deep_parameters,
    predicted,
    random_dag,
)


def test_a_tree_of_given_constituents_is_their_composition():
    f, g = (lambda a, b: a - 2 * b), (lambda a, b: a * b)
    tree = binary_tree(5, (f, g))
    x = np.random.default_rng(0).normal(size=(7, 5))
    expected = (x[:, 0] - 2 * x[:, 1]) * (x[:, 2] - 2 * x[:, 3])
    np.testing.assert_allclose(tree(x)[:, 0], expected, rtol=1e-12)
    assert isinstance(tree, Target) and tree.law == "uniform" and tree.support == (1, 2, 3, 4)


def test_shared_constituents_are_the_same_at_all_nodes_of_a_level():
    def by_level(target):
        return [
            {node.function for node in target.nodes if node.name.startswith(f"n{level}_")}
            for level in (1, 2, 3)
        ]

    assert [len(level) for level in by_level(binary_tree(8, seed=3))] == [1, 1, 1]
    assert [len(level) for level in by_level(binary_tree(8, shared=False))] == [4, 2, 1]
    # A shared tree cannot tell exchanged halves of its inputs apart but by the root's order.
    tree = binary_tree(8, seed=3)
    x = np.random.default_rng(0).uniform(-1, 1, size=(5, 8))
    swapped = tree.values(np.concatenate([x[:, 4:], x[:, :4]], axis=1))
    np.testing.assert_array_equal(tree.values(x)["n2_1"], swapped["n2_2"])


@pytest.mark.parametrize("law", ["uniform", "gaussian", "cube"])
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_smooth_nodes_have_mean_zero_and_variance_one_under_the_law(law, seed):
    target = random_dag(seed, dims=12, nodes=10, arity=3, law=law)
    x = sj.targets.sample_inputs(law, jax.random.key(seed), 4000, 12)
    values = target.values(x)
    for name in target.order:
        v = np.asarray(values[name])
        assert abs(v.mean()) < 0.15 and 0.8 < v.std() < 1.2, (name, v.mean(), v.std())


def test_random_dags_have_the_arity_and_depend_on_every_node():
    for seed in range(30):
        rng = np.random.default_rng(seed)
        dims, nodes = int(rng.integers(3, 9)), int(rng.integers(1, 14))
        arity = int(rng.integers(1, min(dims, 4) + 1))
        dag = random_dag(seed, dims, nodes, arity).dag
        assert len(dag.ancestors) == nodes and dag.root == f"n{nodes}"
        assert all(len(set(parents)) == arity for _, parents in dag.parents)


def test_seeds_decide_and_targets_are_static():
    one, same, other = (random_dag(seed, 8, 4, 2) for seed in (0, 0, 1))
    assert hash(one) == hash(same) and one == same and one != other
    f = jax.jit(lambda target, x: target(x), static_argnums=0)
    assert f(one, jnp.ones((3, 8))).shape == (3, 1)


@pytest.mark.parametrize("seed", range(4))
def test_boolean_dags_are_boolean_and_their_coefficients_exact(seed):
    target = random_dag(seed, dims=7, nodes=5, arity=3, kind="boolean")
    assert target.law == "cube"
    nodes = cube_cubature(7).nodes
    # By hand: each node looks its value up in its table.
    known = {f"x{i + 1}": nodes[:, i] for i in range(7)}
    for node in target.nodes:
        bits = np.stack([known[p] > 0 for p in node.parents], axis=1)
        number = bits @ 2 ** np.arange(bits.shape[1])[::-1]
        known[node.name] = np.array(node.function.values)[number]
    values = np.asarray(target(jnp.asarray(nodes)))[:, 0]
    np.testing.assert_array_equal(values, known[target.root])
    expansion = predicted(target).coefficients
    # Parseval, with coefficients by inner products: exact for a Boolean function.
    sets = list(itertools.product((False, True), repeat=7))
    characters = np.array([np.where(s, nodes, 1).prod(axis=1) for s in sets])
    coefficients = characters @ values / 128
    assert (coefficients**2).sum() == 1
    found = dict(expansion)
    for s, value in zip(sets, coefficients, strict=True):
        assert found.get(tuple(i + 1 for i in range(7) if s[i]), 0) == value
    unused = [i for i in range(7) if i + 1 not in target.support]
    assert all(coefficients[k] == 0 for k, s in enumerate(sets) if any(s[i] for i in unused))


def test_boolean_constituents():
    xor = BooleanConstituent((1, -1, -1, 1))
    assert xor.coefficients == (0.0, 0.0, 0.0, 1.0) and xor.depends_on_all
    assert not BooleanConstituent((1, 1, -1, -1)).depends_on_all
    for values in ((1, 0), (1, 1, 1), (1,)):
        with pytest.raises(ValueError, match="each -1 or 1"):
            BooleanConstituent(values)


@pytest.mark.parametrize("in_degree", [2, None])
def test_a_teacher_is_its_lift(in_degree):
    module = sj.graphs.mlp(5, 2, 1, "tanh", input_as="coordinates")
    lift = (
        sj.dense_lift(module, 3)
        if in_degree is None
        else sj.random_sparse_lift(jax.random.key(0), module, 4, in_degree, law="regular")
    )
    params = lift.init(jax.random.key(1))
    target = teacher(lift, params)
    x = np.random.default_rng(0).normal(size=(6, 5))
    np.testing.assert_allclose(target(x), lift.apply(params, x), rtol=1e-12)
    hidden = lift.activations(params, x)["h2"]
    values = target.values(x)
    for i in range(hidden.shape[1]):
        np.testing.assert_allclose(values[f"h2_{i + 1}"], hidden[:, i], rtol=1e-12)
    if in_degree is not None:
        assert len(target.dag.parents_of("h1_1")) == 2


def test_a_teacher_may_be_a_lift_of_a_target_s_graph():
    module = sj.graphs.from_target(sj.targets.product_tree())
    lift = sj.dense_lift(module, 2)
    params = lift.init(jax.random.key(1))
    target = teacher(lift, params)
    x = np.random.default_rng(0).normal(size=(6, 4))
    np.testing.assert_allclose(target(x), lift.apply(params, x), rtol=1e-12)


def test_random_teachers_are_standardised_and_static():
    target = random_teacher(0, dims=6, size=5, in_degree=2)
    _, y = target.sample(jax.random.key(9), 4000)
    assert abs(float(y.mean())) < 0.1 and 0.9 < float(y.std()) < 1.1
    assert hash(target) == hash(random_teacher(0, dims=6, size=5, in_degree=2))


def test_unit_counts_are_those_of_the_theorems():
    tree = binary_tree(8, lambda a, b: a * b)
    for m, eps in ((1, 0.1), (2, 0.01)):
        assert deep_parameters(tree, eps, m) == pytest.approx(7 * eps ** (-2 / m))
    rough_root = dict.fromkeys(tree.order, 2) | {"n3_1": 1}
    assert deep_parameters(tree, 0.1, rough_root) == pytest.approx(6 * 10 + 100)
    found = predicted(tree)
    assert (found.parameters_shallow, found.parameters_deep) == (8, 2)


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: binary_tree(8, leaves=3), "power of two"),
        (lambda: binary_tree(2, leaves=4), "power of two"),
        (lambda: binary_tree(4, (abs,)), "2 levels need as many, got 1"),
        (lambda: binary_tree(4, "rough"), "smooth or boolean, not|type"),
        (lambda: random_dag(0, 4, 3, 2, "boolean", law="uniform"), "live on the cube"),
        (lambda: random_dag(0, 4, 3, 5), "5 variables are more than the 4"),
        (lambda: random_dag(0, 4, 0, 2), "nodes: must be positive"),
        (lambda: random_dag(0, 40, 1, 11, "boolean"), "up to 10 variables"),
        (
            lambda: teacher(sj.dense_lift(sj.graphs.convnet(4, 1, 1), 2), {}),
            "a teacher",
        ),
    ],
)
def test_what_cannot_be_is_refused(call, said):
    with pytest.raises(ValueError, match=said):
        call()
