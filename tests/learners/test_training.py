"""Penalties, layerwise training and supervision of inner nodes: what moves, and how far."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import sparsejax as sj
from sparsejax import learners
from sparsejax.learners import IntermediateSupervision, layerwise, penalty
from sparsejax.learners.penalties import coordinate_groups

KEY = jax.random.key(0)
TREE = sj.targets.product_tree(dims=6)


def stepped(method, params, gradient=None):
    """Parameters after one update; by default with a gradient of zero."""
    gradient = jax.tree.map(jnp.zeros_like, params) if gradient is None else gradient
    updates, _ = method.update(gradient, method.init(params), params)
    return optax.apply_updates(params, updates)


@pytest.mark.parametrize(
    "make",
    [
        lambda: learners.two_layer(6, 5),
        lambda: learners.dense_mlp(6, 5),
        lambda: learners.locally_connected(6, 1, 4, filter_size=3),
    ],
)
def test_group_lasso_shrinks_whole_columns_by_the_same_length(make):
    learner = make()
    _, params = learner.build(KEY)
    (leaf,) = learner.inputs
    before = np.moveaxis(np.asarray(params[leaf.name]), leaf.axes, range(len(leaf.axes)))
    before = before.reshape(6, -1)
    norms = np.linalg.norm(before, axis=1)
    # So strong that the shorter half of the columns vanishes.
    cut = np.sort(norms)[:4].mean()
    method = penalty("group_lasso", learner, cut / (0.1 * np.sqrt(before.shape[1])), 0.1)
    moved = stepped(method, params)
    after = np.moveaxis(np.asarray(moved[leaf.name]), leaf.axes, range(len(leaf.axes)))
    after = after.reshape(6, -1)
    expected = before * np.maximum(1 - cut / norms, 0)[:, None]
    np.testing.assert_allclose(after, expected, atol=1e-12)
    assert 0 < (np.linalg.norm(after, axis=1) == 0).sum() < 6
    for name in set(params) - {leaf.name}:
        np.testing.assert_array_equal(moved[name], params[name])


def test_group_lasso_joins_all_leaves_that_read_a_coordinate():
    target = sj.targets.CompositionalTarget(
        3,
        (
            sj.targets.Node("a", lambda u, v: u * v, ("x1", "x2")),
            sj.targets.Node("y", lambda u, v: u + v, ("a", "x1")),
        ),
    )
    learner = learners.matched_lift(target, 3)
    _, params = learner.build(KEY)
    moved = stepped(penalty("group_lasso", learner, 0.1, 0.2), params)
    joined = np.concatenate([params["x1->h_a"][0], params["x1->h_y"][0]])
    factor = 1 - 0.02 * np.sqrt(6) / np.linalg.norm(joined)
    for name in ("x1->h_a", "x1->h_y"):
        np.testing.assert_allclose(moved[name], factor * params[name], rtol=1e-10)
    alone = 1 - 0.02 * np.sqrt(3) / np.linalg.norm(params["x2->h_a"])
    np.testing.assert_allclose(moved["x2->h_a"], alone * params["x2->h_a"], rtol=1e-10)


def test_the_other_penalties_are_their_formulas():
    learner = learners.two_layer(4, 3)
    _, params = learner.build(KEY)
    w = np.asarray(params["w"])
    moved = stepped(penalty("l1", learner, 2.0, 0.1), params)
    np.testing.assert_allclose(moved["w"], np.sign(w) * np.maximum(np.abs(w) - 0.2, 0), rtol=1e-12)
    np.testing.assert_array_equal(moved["a"], params["a"])
    moved = stepped(penalty("weight_decay", learner, 2.0, 0.1), params)
    for name in params:
        np.testing.assert_allclose(moved[name], params[name] / 1.2, rtol=1e-12)
    moved = stepped(penalty("none", learner, 2.0, 0.1), params)
    for name in params:
        np.testing.assert_array_equal(moved[name], params[name])


@pytest.mark.parametrize(
    "make, said",
    [
        (lambda: penalty("l3", learners.two_layer(3, 2), 1.0, 0.1), "none of none, l1"),
        (lambda: penalty("l1", learners.two_layer(3, 2), -1.0, 0.1), "strength must be"),
        (lambda: penalty("group_lasso", learners.cnn(6, 1, 2), 1.0, 0.1), "no column of its own"),
    ],
)
def test_bad_penalties_are_refused(make, said):
    with pytest.raises(ValueError, match=said):
        make()


def test_layerwise_moves_what_it_says_and_when():
    learner = learners.dense_mlp(3, 4, hidden=2)
    first, second, last = learner.layers
    method = layerwise(optax.sgd(0.1, momentum=0.5), [first, second, first + last], steps=[2, 1])
    _, params = learner.build(KEY)
    gradient = jax.tree.map(jnp.ones_like, params)

    @jax.jit
    def step(params, state):
        updates, state = method.update(gradient, state, params)
        return optax.apply_updates(params, updates), state

    state, moving = method.init(params), []
    for _ in range(5):
        after, state = step(params, state)
        moving.append({name for name in params if (after[name] != params[name]).any()})
        params = after
    assert moving == [set(first)] * 2 + [set(second)] + [set(first) | set(last)] * 2


def test_each_stage_is_its_own_optimiser_from_its_start():
    """The second stage is plain momentum on its leaves, as if nothing had been before."""
    params = {"a": jnp.ones(2), "b": jnp.ones(2)}
    method = layerwise([optax.sgd(0.1), optax.sgd(0.1, momentum=0.9)], [["a"], ["b"]], steps=3)
    state, plain = method.init(params), optax.sgd(0.1, momentum=0.9)
    alone, alone_state = params["b"], plain.init(params["b"])
    for k in range(6):
        gradient = {"a": jnp.full(2, 1.0 + k), "b": jnp.array([1.0, -2.0]) * (1.0 + k)}
        updates, state = method.update(gradient, state, params)
        params = optax.apply_updates(params, updates)
        if k >= 3:
            update, alone_state = plain.update(gradient["b"], alone_state, alone)
            alone = optax.apply_updates(alone, update)
    np.testing.assert_allclose(params["b"], alone, rtol=1e-12)
    np.testing.assert_allclose(params["a"], 1 - 0.1 * (1 + 2 + 3), rtol=1e-12)


def test_a_penalty_goes_with_the_stage_of_its_leaves():
    learner = learners.two_layer(3, 2)
    shrink = optax.chain(optax.sgd(0.1), penalty("l1", learner, 100.0, 0.1))
    method = layerwise([shrink, optax.sgd(0.1)], learner.layers, steps=1)
    _, params = learner.build(KEY)
    moved = stepped(method, params)
    assert not moved["w"].any()
    np.testing.assert_array_equal(moved["a"], params["a"])


@pytest.mark.parametrize(
    "make, said",
    [
        (lambda: layerwise(optax.sgd(0.1), [], 1), "at least one stage"),
        (lambda: layerwise(optax.sgd(0.1), [["a"], []], 1), "at least one leaf"),
        (lambda: layerwise([optax.sgd(0.1)], [["a"], ["b"]], 1), "1 optimisers for 2 stages"),
        (lambda: layerwise(optax.sgd(0.1), [["a"], ["b"]], 0), "1 positive numbers of steps"),
        (lambda: layerwise(optax.sgd(0.1), [["a"], ["b"]], [1, 2, 3]), "got"),
        (lambda: layerwise(optax.sgd(0.1), [["c"]], 1).init({"a": jnp.ones(1)}), "no leaf 'c'"),
    ],
)
def test_bad_stages_are_refused(make, said):
    with pytest.raises(ValueError, match=said):
        make()


def test_edges_that_have_all_their_predecessors_number_their_coordinates():
    module = sj.graphs.mlp(inputs=6, hidden=1, outputs=1, input_as="coordinates")
    dense, full, sparse = (learners.sparse_lift(module, 4, in_degree) for in_degree in (None, 6, 5))
    assert coordinate_groups(full) == coordinate_groups(dense) == [{"x->h1": (0,)}]
    with pytest.raises(ValueError, match="wired to few of them"):
        coordinate_groups(sparse)


def test_labels_are_the_values_of_the_nodes():
    x = jax.random.uniform(KEY, (7, 6), minval=-1.0)
    taught = IntermediateSupervision(TREE, ("right", "left"), (0.5, 2.0))
    labels = np.asarray(taught.labels(x))
    by_hand = [np.tanh(2 * x[:, i] * x[:, i + 1]) for i in (2, 0)]
    np.testing.assert_allclose(labels, np.stack([by_hand[0] * by_hand[1], *by_hand], 1), rtol=1e-10)
    errors = np.array([[1.0, 2.0, 3.0]])
    loss = taught.loss(jnp.asarray(labels + errors), jnp.asarray(labels))
    np.testing.assert_allclose(loss, 0.5 * (1 + 0.5 * 4 + 2 * 9), rtol=1e-10)
    # Switched off: the target alone.
    np.testing.assert_array_equal(IntermediateSupervision(TREE).labels(x), TREE(x))


def test_controls_teach_other_values_of_the_same_law():
    x = jax.random.uniform(KEY, (7, 6), minval=-1.0)
    plain = IntermediateSupervision(TREE, ("left",)).labels(x)
    shuffled = IntermediateSupervision(TREE, ("left",), shuffled=True).labels(x)
    np.testing.assert_array_equal(plain[:, 0], shuffled[:, 0])
    np.testing.assert_array_equal(plain[:-1, 1], shuffled[1:, 1])
    other = sj.targets.CompositionalTarget(
        6, (sj.targets.Node("far", lambda u, v: u * v, ("x5", "x6")),)
    )
    wrong = IntermediateSupervision(TREE, ("far",), values_of=other).labels(x)
    np.testing.assert_allclose(wrong[:, 1], x[:, 4] * x[:, 5], rtol=1e-12)


@pytest.mark.slow
def test_a_matched_lift_reads_each_node_at_its_own_vertex():
    taught = IntermediateSupervision(TREE, ("left",))
    learner = learners.matched_lift(TREE, 4, nodes=taught.nodes)
    f, params = learner.build(KEY)
    assert learner.outputs == taught.outputs == 2
    x = jax.random.normal(KEY, (6,))
    jacobian = np.asarray(jax.jacobian(lambda x: f(params, x[None])[0])(x))
    assert set(np.flatnonzero(jacobian[0]) + 1) <= {1, 2, 3, 4}
    assert set(np.flatnonzero(jacobian[1]) + 1) == {1, 2}
    # Its loss moves nothing above the node.
    labels = taught.labels(x[None])

    def node_loss(params):
        return jnp.square(f(params, x[None])[0, 1] - labels[0, 1])

    moved = {name for name, g in eqx.filter_grad(node_loss)(params).items() if g.any()}
    assert moved <= {"x1->h_left", "x2->h_left", "one->h_left", "h_left->y_left", "one->y_left"}
    assert "h_left->y_left" in moved


@pytest.mark.parametrize(
    "change, said",
    [
        ({"nodes": ("y",)}, "'y' is no inner node; they are left, right"),
        ({"nodes": ("left", "left")}, "named twice"),
        ({"nodes": ("left",), "weights": (1.0, 2.0)}, "2 weights for 1 nodes"),
        ({"nodes": ("left",), "weights": -1.0}, "finite and at least 0"),
        ({"nodes": ("left",), "values_of": sj.targets.product_tree(4)}, "has 4 inputs"),
    ],
)
def test_bad_supervision_is_refused(change, said):
    with pytest.raises(ValueError, match=said):
        IntermediateSupervision(TREE, **change)
