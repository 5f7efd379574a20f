"""Learners: their counts by hand, the function by hand, and one program for all seeds."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sparsejax as sj
from sparsejax import learners
from sparsejax.dynamics.proximal import named_leaves

TREE = sj.targets.product_tree(dims=6)
KEY = jax.random.key(0)

# Every architecture at a small size, with its number of parameters counted by hand.
COUNTED = {
    "two_layer": (lambda: learners.two_layer(6, 5, outputs=2), 6 * 5 + 5 + 5 * 2),
    "dense_mlp": (lambda: learners.dense_mlp(6, 5, hidden=2), 6 * 5 + 5 + 5 * 5 + 5 + 5 + 1),
    # Four input edges a vertex and its bias, three sources on each side, the readout.
    "matched": (
        lambda: learners.matched_lift(TREE, 5, 3),
        2 * (2 * 5 + 5) + 5 * (3 + 3 + 1) + 5 + 1,
    ),
    "sparse": (
        lambda: learners.sparse_lift(sj.graphs.mlp(6, 2, 1, "relu"), 8, 3),
        6 * 8 + 8 + 8 * 3 + 8 + 8 + 1,
    ),
    "sparse_inputs": (
        lambda: learners.sparse_lift(
            sj.graphs.mlp(6, 2, 1, input_as="coordinates"), 8, {"h1": 2, "h2": 3}
        ),
        8 * 2 + 8 + 8 * 3 + 8 + 8 + 1,
    ),
    "cnn": (
        lambda: learners.cnn(6, 2, 3, channels=1, filter_size=2),
        (2 * 3 + 3) + (2 * 3 * 3 + 3) + 3 + 1,
    ),
    "tree_cnn": (
        lambda: learners.tree_cnn(2, 2, 3, 4, outputs=3),
        (2 * 3 * 4 + 4) + (2 * 4 * 4 + 4) + 4 * 3 + 3,
    ),
    "locally_connected": (
        lambda: learners.locally_connected(6, 1, 4, filter_size=3, stride=1),
        4 * (3 * 4 + 4) + 4 * 4 + 1,
    ),
    "mixing_transformer": (
        lambda: learners.mixing_transformer(3, 2, 1, 2, inputs=2),
        # stream0 and positions; q, k, v; attended from heads and streams; perceptron; stream1; y.
        2 * (4 + 6) + 3 * 4 * 4 + 2 * 4 * 4 + (4 * 4 + 4) + 2 * 4 * 4 + 2 * 2 + 1,
    ),
    "plain_transformer": (
        lambda: learners.plain_transformer(3, 4, 1, heads=2, inputs=2),
        # embedding, positions; two norms; q, k, v, out; perceptron; norm, readout.
        (2 * 4 + 4 + 3 * 4) + 2 * 8 + 4 * (4 * 4 + 4) + (4 * 16 + 16 + 16 * 4 + 4) + 8 + 5,
    ),
}


@pytest.mark.parametrize("name", COUNTED)
def test_parameters_are_those_counted_by_hand(name):
    make, count = COUNTED[name]
    learner = make()
    assert learner.parameters == count
    assert learner == make() and hash(learner) == hash(make())


# The others go through the same two builders.
QUICK = ("two_layer", "matched", "locally_connected")


@pytest.mark.parametrize(
    "name",
    [
        pytest.param(n, marks=() if n in QUICK else pytest.mark.slow)
        for n in COUNTED
        if "transformer" not in n
    ],
)
def test_a_seed_gives_the_same_function_alone_and_in_an_ensemble(name):
    learner = COUNTED[name][0]()
    x = jax.random.normal(jax.random.key(1), (4, learner.dims))
    keys = jax.random.split(KEY, 3)

    @eqx.filter_jit
    @eqx.debug.assert_max_traces(max_traces=1)
    def ensemble(keys):
        f, params = jax.vmap(learner.build)(keys)
        return jax.vmap(lambda f, p: f(p, x))(f, params)

    together = ensemble(keys)
    ensemble(keys[::-1])  # other seeds, the same program
    f, params = learner.build(keys[1])
    assert together.shape == (3, 4, learner.outputs)
    np.testing.assert_allclose(f(params, x), together[1], rtol=1e-10, atol=1e-12)
    assert float(jnp.std(together)) > 0
    names = set(named_leaves(params))
    assert set(learner.input_leaves) <= names
    listed = [name for layer in learner.layers for name in layer]
    assert sorted(listed) == sorted(names)


@pytest.mark.slow
def test_transformers_are_functions_of_a_key_that_compile_once():
    for name in ("mixing_transformer", "plain_transformer"):
        learner = COUNTED[name][0]()
        x = jax.random.normal(jax.random.key(1), (2, learner.dims))

        @eqx.filter_jit
        @eqx.debug.assert_max_traces(max_traces=1)
        def run(f, params, x):
            return f(params, x)

        first, second = (learner.build(key) for key in jax.random.split(KEY, 2))
        # Functions of two seeds are equal where they hold no arrays: nothing compiles again.
        assert run(*first, x).shape == (2, 1)
        run(*second, x)
        listed = [name for layer in learner.layers for name in layer]
        assert sorted(listed) == sorted(named_leaves(first[1]))


def test_two_layer_is_the_formula_with_the_law_that_it_states():
    learner = learners.two_layer(9, 2000)
    f, params = learner.build(KEY)
    x = jax.random.normal(jax.random.key(1), (3, 9))
    w, b, a = (np.asarray(params[name]) for name in "wba")
    by_hand = np.maximum(np.asarray(x) @ w + b, 0) @ a
    np.testing.assert_allclose(f(params, x), by_hand, rtol=1e-12)
    assert abs(float(jnp.std(params["w"])) * 3 - 1) < 0.03
    assert 0.99 < float(jnp.max(jnp.abs(params["b"]))) <= 1
    assert 0.099 < float(jnp.max(jnp.abs(params["a"]))) * math.sqrt(2000) <= 0.1


def test_learners_follow_the_precision_of_their_parameters():
    learner = learners.two_layer(3, 4)
    f, params = learner.build(KEY)
    low = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), params)
    assert f(low, jnp.ones((2, 3))).dtype == jnp.float32
    f, params = learners.matched_lift(TREE, 2).build(KEY)
    low = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), params)
    assert f(low, jnp.ones((2, 6))).dtype == jnp.float32


def test_matched_lift_reads_its_support_alone():
    target = sj.targets.CompositionalTarget(
        6,
        (
            sj.targets.Node("a", lambda u, v: u * v, ("x2", "x5")),
            sj.targets.Node("unread", lambda u: u, ("x1",)),
            sj.targets.Node("y", lambda u, v: u + v, ("a", "x6")),
        ),
    )
    learner = learners.matched_lift(target, 4)
    f, params = learner.build(KEY)
    jacobian = jax.jacobian(lambda x: f(params, x[None])[0, 0])(
        jax.random.normal(jax.random.key(2), (6,))
    )
    assert set(np.flatnonzero(np.asarray(jacobian)) + 1) == set(target.support) == {2, 5, 6}
    assert {leaf.coordinates for leaf in learner.inputs} == {(2,), (5,), (6,)}
    layers = [set(layer) for layer in learner.layers]
    assert layers[0] == {"x2->h_a", "x5->h_a", "one->h_a"}
    assert layers[1] == {"h_a->h_y", "x6->h_y", "one->h_y"}


def test_gains_give_preactivations_of_variance_one():
    target = sj.targets.product_tree(4)
    learner = learners.matched_lift(target, 400, bias_scale=0.0)
    f, params = learner.build(KEY)
    x = jax.random.normal(jax.random.key(1), (200, 4))
    values = f.lift.activations(params, x)
    for vertex in ("h_left", "h_y"):  # relu leaves half of the second moment
        assert abs(float(jnp.mean(jnp.square(values[vertex]))) - 0.5) < 0.1
    same = learners.matched_lift(target, 400, gain=2.0, bias_scale=0.0)
    scaled = same.build(KEY)[1]
    ratio = float(jnp.std(scaled["h_left->h_y"]) / jnp.std(params["h_left->h_y"]))
    np.testing.assert_allclose(ratio, 2 / 1.0, rtol=1e-12)
    one = learners.matched_lift(target, 4, gain={"h_y->y": 0.0}).build(KEY)[1]
    assert not one["h_y->y"].any() and one["h_left->h_y"].any()


@pytest.mark.slow
def test_input_axes_number_the_coordinates():
    """Weights of one coordinate set to zero: the function depends on all others, not on it."""
    for make in ("two_layer", "dense_mlp", "matched", "tree"):
        learner = (
            learners.locally_connected(6, 1, 4, filter_size=3)
            if make == "tree"
            else COUNTED[make][0]()
        )
        f, params = learner.build(KEY)
        x = jax.random.normal(jax.random.key(3), (6,))
        cut = dict(params)
        for leaf in learner.inputs:
            assert len(leaf.coordinates) == math.prod(params[leaf.name].shape[a] for a in leaf.axes)
            if 2 in leaf.coordinates:
                array = np.array(params[leaf.name])
                front = np.moveaxis(array, leaf.axes, range(len(leaf.axes)))
                place = np.unravel_index(leaf.coordinates.index(2), front.shape[: len(leaf.axes)])
                front[place] = 0
                cut[leaf.name] = jnp.asarray(array)
        before, after = (
            np.asarray(jax.jacobian(lambda x, p=p: f(p, x[None])[0, 0])(x)) != 0
            for p in (params, cut)
        )
        assert before[1] and not after[1], make
        assert (before[[0, 2, 3]] == after[[0, 2, 3]]).all(), make


def test_locally_connected_reads_patches_with_weights_of_their_own():
    learner = learners.locally_connected(5, 1, 2, filter_size=3, stride=2, bias_scale=0.0)
    f, params = learner.build(KEY)
    x = np.asarray(jax.random.normal(jax.random.key(1), (4, 5)))
    w = np.asarray(params["h1/w"])
    hidden = [np.maximum(x[:, 2 * p : 2 * p + 3] @ w[p], 0) for p in range(2)]
    by_hand = np.concatenate(hidden, axis=1) @ params["y/w"]
    np.testing.assert_allclose(f(params, jnp.asarray(x)), by_hand, rtol=1e-12)
    assert learner.input_axes == {"h1/w": ()}


@pytest.mark.slow
def test_tree_cnn_takes_one_hot_symbols_side_by_side():
    learner = learners.tree_cnn(2, 2, 3, 4)
    f, params = learner.build(KEY)
    x = jax.nn.one_hot(jnp.array([[0, 2, 1, 1], [2, 2, 0, 1]]), 3)
    np.testing.assert_allclose(f(params, x.reshape(2, -1)), f(params, x), rtol=1e-12)
    # Filters are shared: swapping the two halves swaps the places of one layer's images.
    first = f.lift.activations(params, x)["h1"]
    swapped = f.lift.activations(params, jnp.roll(x, 2, axis=1))["h1"]
    np.testing.assert_allclose(swapped, jnp.roll(first, 1, axis=2), rtol=1e-12)


def test_sizes_by_parameters():
    def make(width):
        return learners.two_layer(10, width)  # 12 a unit

    assert learners.with_parameters(make, 119).parameters == 108
    assert learners.with_parameters(make, 120).parameters == 120
    assert learners.with_parameters(make, 119, rule="nearest").parameters == 120
    assert learners.with_parameters(make, 12).parameters == 12
    with pytest.raises(ValueError, match="11 are fewer than the 12 of width 1"):
        learners.with_parameters(make, 11)
    with pytest.raises(ValueError, match="rule is"):
        learners.with_parameters(make, 11, rule="least")
    deep = learners.dense_mlp(10, 20, 3)
    # 12 parameters a unit and one bias: nearest means within half a unit.
    assert abs(learners.shallow_mlp(deep).parameters - deep.parameters) <= 6


@pytest.mark.parametrize(
    "make, said",
    [
        (lambda: learners.two_layer(0, 4), "dims must be positive"),
        (lambda: learners.two_layer(3, 4, activation="wavy"), "unknown activation"),
        (lambda: learners.two_layer(3, 4, bias_range=-1.0), "bias_range"),
        (lambda: learners.matched_lift(TREE, 4, 5), "above the number of predecessors"),
        (lambda: learners.matched_lift(TREE, 4, nodes=("y",)), "is no inner node"),
        (lambda: learners.matched_lift(TREE, 4, nodes=("left", "left")), "named twice"),
        (lambda: learners.matched_lift(TREE, 4, gain={"nowhere": 1.0}), "nowhere"),
        (lambda: learners.dense_mlp(3, 0), "must be a positive integer"),
        (
            lambda: learners.sparse_lift(sj.graphs.from_target(TREE), 4, dims=2),
            "the module reads coordinate 4",
        ),
        (lambda: learners.sparse_lift(sj.graphs.mlp(3, 1, 1), 4, dims=2), "has 3 entries, not 2"),
        (lambda: learners.locally_connected(4, 3, 2), "layer 3: a filter of 2 has no place"),
        (lambda: learners.locally_connected(4, 1, 2, stride=3), "would leave places"),
        (lambda: learners.plain_transformer(4, 6, 1, heads=4), "4 heads do not divide 6"),
        (lambda: learners.plain_transformer(4, 6, 0), "blocks must be positive"),
    ],
)
def test_bad_input_is_refused(make, said):
    with pytest.raises(ValueError, match=said):
        make()
