"""What a lift's function does not depend on (1.3 to 1.5), and how it composes with JAX."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sparsejax as sj
from sparsejax.graphs import Dense, Edge, PerceptronModule, Scale, Vertex, mlp

from .weighted_lifts import build, random_weights

X = jnp.asarray(np.random.default_rng(42).normal(size=(4, 3)))
apply = eqx.filter_jit(lambda lift, params, x: lift.apply(params, x))


def gated():
    """Two arguments at `g`, a skip edge from `h`, array values."""
    return PerceptronModule(
        (
            Vertex("x", shape=(3,)),
            Vertex("h", shape=(2,), activation="tanh"),
            Vertex("g", shape=(2,), activation=lambda a, b: jnp.tanh(a) * b),
            Vertex("y", shape=(2,), activation="identity"),
        ),
        (
            Edge("x", "h", Dense(output=(2,))),
            Edge("h", "g", Scale(), name="a"),
            Edge("h", "g", Dense(output=(2,)), name="b"),
            Edge("g", "y", Dense(output=(2,))),
            Edge("h", "y", Scale(), name="skip"),
        ),
        ("x",),
        ("y",),
    )


@pytest.mark.slow
def test_fibration_by_copies():
    """1.3: copies of vertices whose in-edges are carried bijectively compute what they copy.

    Every vertex of the total space `G'` is a copy of one of `G`; each of its in-edges comes from
    any one copy of the right source, so that `G'` may be wired quite differently.
    """
    module, rng = gated(), np.random.default_rng(1)
    sizes = {"h": 4, "g": 3}
    weights = random_weights(module, sizes, 0.7, seed=0)
    lift, params = build(module, sizes, weights)
    image = {"x": [0], "h": [0, 0, 1, 2, 2, 2, 3], "g": [0, 1, 1, 2, 2], "y": [0]}
    lifted = {edge.name: {} for edge in module.edges}
    for edge in module.edges:
        for v, below in enumerate(image[edge.target]):
            for (u, target), weight in weights[edge.name].items():
                if target == below:
                    copies = [i for i, vertex in enumerate(image[edge.source]) if vertex == u]
                    lifted[edge.name][int(rng.choice(copies)), v] = weight
    total, carried = build(module, {"h": 7, "g": 5}, lifted)
    values = eqx.filter_jit(lambda lift, params: lift.activations(params, X))
    base, above = values(lift, params), values(total, carried)
    for name in ("h", "g"):
        np.testing.assert_allclose(above[name], base[name][:, image[name]], rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(above["y"], base["y"], rtol=1e-12, atol=1e-14)


def test_the_unrolled_in_tree_computes_its_root():
    """1.3, in particular: the tree of all paths that end in one vertex, one copy a path."""
    module, sizes = mlp(inputs=3, hidden=3, outputs=2), {"h1": 4, "h2": 3, "h3": 3}
    weights = random_weights(module, sizes, 0.8, seed=1)
    lift, params = build(module, sizes, weights)
    image, lifted = {"x": [0], "one": [0]}, {edge.name: {} for edge in module.edges}

    def unroll(name, vertex):
        """A fresh copy of a vertex above its own fresh in-tree; returns its number."""
        if name in module.inputs:
            return 0
        image.setdefault(name, []).append(vertex)
        number = len(image[name]) - 1
        for edge in module.in_edges(name):
            for (u, v), weight in weights[edge.name].items():
                if v == vertex:
                    lifted[edge.name][unroll(edge.source, u), number] = weight
        return number

    unroll("y", 0)
    tree_sizes = {name: len(image[name]) for name in sizes}
    assert tree_sizes["h1"] > sizes["h1"] and tree_sizes["h2"] > sizes["h2"]  # paths do meet in G
    tree, carried = build(module, tree_sizes, lifted)
    assert all(len({u for u, _ in lifted[e]}) == len(lifted[e]) for e in ("h1->h2", "h2->h3"))
    np.testing.assert_allclose(
        apply(tree, carried, X), apply(lift, params, X), rtol=1e-12, atol=1e-14
    )


def test_permuting_a_fibre_with_its_weights_changes_nothing():
    """1.4"""
    module, sizes = gated(), {"h": 5, "g": 4}
    weights = random_weights(module, sizes, 0.6, seed=2)
    rng = np.random.default_rng(3)
    order = {"x": [0], "y": [0]} | {name: rng.permutation(n) for name, n in sizes.items()}
    moved = {
        edge.name: {
            (int(order[edge.source][u]), int(order[edge.target][v])): w
            for (u, v), w in weights[edge.name].items()
        }
        for edge in module.edges
    }
    lift, params = build(module, sizes, weights)
    values = eqx.filter_jit(lambda lift, params: lift.activations(params, X))
    here, there = values(lift, params), values(*build(module, sizes, moved))
    np.testing.assert_allclose(there["y"], here["y"], rtol=1e-12, atol=1e-14)
    np.testing.assert_allclose(there["g"][:, order["g"]], here["g"], rtol=1e-12, atol=1e-14)
    # Not when the weights stay behind.
    half = moved | {"skip": weights["skip"]}
    assert not np.allclose(values(*build(module, sizes, half))["y"], here["y"])


def test_a_smaller_lift_embeds_in_a_larger_one():
    """1.5: new vertices with zero outgoing weights, new edges of weight zero."""
    module, sizes, larger = gated(), {"h": 3, "g": 3}, {"h": 5, "g": 4}
    weights = random_weights(module, sizes, 0.7, seed=4)
    grown = random_weights(module, larger, 0.9, seed=5)
    inner = {"x": 1, "y": 1} | sizes
    for edge in module.edges:
        for u, v in grown[edge.name]:
            if v < inner[edge.target]:  # into an old vertex: an old edge, or a weight of zero
                shape = module.weight_shape(edge)
                grown[edge.name][u, v] = weights[edge.name].get((u, v), np.zeros(shape))
        grown[edge.name] |= weights[edge.name]
    small, large = build(module, sizes, weights), build(module, larger, grown)
    y = apply(*small, X)
    np.testing.assert_allclose(apply(*large, X), y, rtol=1e-12, atol=1e-14)
    grown["skip"][4, 0] = np.asarray(1.0)
    assert not np.allclose(apply(*build(module, larger, grown), X), y)


class TestTransformations:
    """A dense lift is the multilayer perceptron of the books, under every transformation."""

    @staticmethod
    def book(params, x):
        h = jnp.tanh(x @ params["x->h1"][0].T + params["one->h1"])
        h = jnp.tanh(h @ params["h1->h2"] + params["one->h2"])
        return h @ params["h2->y"][:, 0] + params["one->y"][0]

    module = mlp(inputs=3, hidden=2, outputs=2)

    def lift(self, kind):
        """A dense lift, or the same function over sparse wirings that hold every edge."""
        sizes = {"h1": 4, "h2": 4}
        if kind == "dense":
            return sj.dense_lift(self.module, sizes)
        whole = sj.dense_lift(self.module, sizes).edges("h1->h2")
        return sj.lift_from_edges(self.module, sizes, {"h1->h2": whole})

    def params(self, seed=0):
        rng = np.random.default_rng(seed)
        shapes = {
            "x->h1": (1, 4, 3),
            "one->h1": (1, 4),
            "h1->h2": (4, 4),
            "one->h2": (1, 4),
            "h2->y": (4, 1, 2),
            "one->y": (1, 1, 2),
        }
        return {name: jnp.asarray(rng.normal(size=shape)) for name, shape in shapes.items()}

    @pytest.mark.parametrize("kind", ["dense", "sparse"])
    def test_values_and_derivatives(self, kind):
        lift = self.lift(kind)

        def derivatives(f):
            def loss(p, x):
                return jnp.mean(jnp.sum(jnp.square(f(p, x) - 1), axis=1))

            def compute(p, v, x):
                def slope(p):
                    return jax.grad(loss)(p, x)

                def along(p):
                    return jax.jvp(lambda q: loss(q, x), (p,), (v,))[1]

                return {
                    "value": f(p, x),
                    "jvp": jax.jvp(lambda q: f(q, x), (p,), (v,))[1],
                    "gradient": slope(p),
                    "input gradient": jax.grad(loss, argnums=1)(p, x),
                    "forward over reverse": jax.jvp(slope, (p,), (v,))[1],
                    "reverse over forward": jax.grad(along)(p),
                }

            return jax.jit(compute)(self.params(), self.params(1), X)

        found, expected = derivatives(lift.apply), derivatives(self.book)
        jax.tree.map(
            lambda a, b: np.testing.assert_allclose(a, b, rtol=1e-11, atol=1e-13), found, expected
        )

    @pytest.mark.parametrize("kind", ["dense", "sparse"])
    def test_vmap_over_parameters_and_inputs(self, kind):
        lift = self.lift(kind)
        several = jax.tree.map(lambda *leaves: jnp.stack(leaves), *map(self.params, range(3)))
        inputs = jnp.stack([X, 2 * X])

        def both(f):
            grid = jax.vmap(jax.vmap(f, in_axes=(None, 0)), in_axes=(0, None))
            return jax.jit(grid)(several, inputs)

        np.testing.assert_allclose(both(lift.apply), both(self.book), rtol=1e-12, atol=1e-14)

    @pytest.mark.parametrize("kind", ["dense", "sparse"])
    def test_float32(self, kind):
        lift = self.lift(kind)
        small = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), self.params())
        y = apply(lift, small, X.astype(jnp.float32))
        assert y.dtype == jnp.float32
        np.testing.assert_allclose(y, self.book(self.params(), X), rtol=1e-4, atol=1e-5)

    def test_new_wirings_and_new_weights_do_not_compile_anew(self):
        traces = []

        @eqx.filter_jit
        def f(lift, params):
            traces.append(None)
            return lift.apply(params, X)

        module, sizes = self.module, {"h1": 4, "h2": 4}
        rows = [
            np.array([[0, 0], [1, 1], [2, 2], [3, 3]]),
            np.array([[1, 0], [2, 1], [3, 2], [0, 3]]),
        ]
        outputs = []
        for pairs in rows:
            lift = sj.lift_from_edges(module, sizes, {"h1->h2": pairs})
            params = self.params() | {"h1->h2": jnp.asarray(np.ones((1, 4)))}
            outputs.append(f(lift, params))
        assert len(traces) == 1
        assert not np.allclose(*outputs)
