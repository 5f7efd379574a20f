"""Unrolled in-trees and fibrations: what is carried, and what is no fibration (1.3)."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sparsejax as sj
from sparsejax.graphs import Dense, Edge, PerceptronModule, Scale, Vertex, mlp
from sparsejax.lifts import is_fibration, lifted_edges, pull_back, random_fibration, unroll
from sparsejax.lifts.unrolling import module_above

from . import reference

X = np.random.default_rng(42).normal(size=(4, 3))


def gated():
    """Two arguments at `g`, a skip edge, array values, and an inner vertex that is clamped."""
    return PerceptronModule(
        (
            Vertex("x", shape=(3,)),
            Vertex("h", shape=(2,), activation="tanh"),
            Vertex("hub", shape=(2,), activation="sin", clamped=2),
            Vertex(
                "g",
                shape=(2,),
                activation=lambda a, b: (
                    np.tanh(a) * b if isinstance(a, np.ndarray) else jnp.tanh(a) * b
                ),
            ),
            Vertex("y", shape=(2,), activation="identity"),
        ),
        (
            Edge("x", "h", Dense(output=(2,))),
            Edge("h", "hub", Scale()),
            Edge("h", "g", Scale(), name="a"),
            Edge("hub", "g", Dense(output=(2,)), name="b"),
            Edge("g", "y", Dense(output=(2,))),
            Edge("h", "y", Scale(), name="skip"),
        ),
        ("x",),
        ("y",),
    )


def wired(module, sizes, edges, seed=0):
    lift = sj.lift_from_edges(module, sizes, edges)
    rng = np.random.default_rng(seed)
    params = {
        e.name: jnp.asarray(
            rng.normal(
                size=(lift.wirings[e.name].slots, lift.sizes[e.target], *module.weight_shape(e))
            )
        )
        for e in module.edges
    }
    return lift, params


@pytest.fixture(scope="module")
def base():
    """A lift with paths that meet, a vertex without predecessors, and one without successors."""
    module = gated()
    edges = {
        "h->hub": [[0, 0], [2, 0], [3, 1]],
        "a": [[0, 0], [1, 0], [2, 0], [1, 2], [3, 2]],
        "b": [[0, 0], [1, 0], [0, 2]],
        "g->y": [[0, 0], [2, 0]],
        "skip": [[0, 0], [1, 0]],
    }
    return wired(module, {"h": 4, "g": 3}, {name: np.array(e) for name, e in edges.items()})


@pytest.fixture(scope="module")
def values(base):
    return reference.activations(*base, {"x": X})


def paths_into(lift, root):
    """All paths of vertices that end in the root, stopping at vertices that are not duplicated."""
    found, open_paths = [], [(root,)]
    while open_paths:
        path = open_paths.pop()
        found.append(path)
        name, number = path[0]
        for edge in lift.module.in_edges(name):
            if lift.module.clamped(edge.source) is None:
                for u, v in lift.edges(edge.name):
                    if v == number:
                        open_paths.append((((edge.source), int(u)), *path))
    return found


@pytest.mark.parametrize("root", [("h", 1), ("hub", 1), ("g", 0), ("g", 1), ("g", 2), ("y", 0)])
def test_the_in_tree_computes_its_root(base, values, root):
    """1.3: for every vertex, also one without predecessors over an edge, and clamped ones."""
    lift, params = base
    tree, weights, phi = unroll(lift, params, root)
    tree.validate()
    above = reference.activations(tree, weights, {"x": X})
    name, number = root
    np.testing.assert_array_equal(above[name][:, 0], values[name][:, number])
    assert tree.sizes[name] == 1 and tree.module.outputs == (name,)
    assert is_fibration(phi, tree, lift)
    for v, images in phi.items():
        np.testing.assert_allclose(above[v], values[v][:, images], rtol=1e-13)


def test_one_vertex_a_path(base):
    """Vertices of the tree are paths: every duplicated vertex has one out-edge, but the root."""
    module = mlp(inputs=3, hidden=3, outputs=2)
    three = np.array([[(v + i) % 5, v] for v in range(5) for i in (0, 1, 3)])
    lift, params = wired(module, 5, {"h1->h2": three, "h2->h3": three})
    tree, weights, phi = unroll(lift, params, ("h3", 2))
    paths = paths_into(lift, ("h3", 2))
    for name in ("h1", "h2", "h3"):
        ends = sorted(path[0][1] for path in paths if path[0][0] == name)
        assert sorted(phi[name]) == ends
    for edge in ("h1->h2", "h2->h3"):
        sources = tree.edges(edge)[:, 0]
        assert sorted(sources) == list(range(tree.sizes[edge[:2]]))
    assert tree.sizes["h1"] == 9 > lift.sizes["h1"]
    # The function itself, through `apply`: samples first, one vertex and so no fibre axis.
    np.testing.assert_allclose(
        tree.apply(weights, X),
        reference.activations(lift, params, {"x": X})["h3"][:, 2],
        rtol=1e-12,
        atol=1e-14,
    )


def test_limits_say_how_large_the_tree_would_be(base):
    lift, params = base
    size = sum(unroll(lift, params, ("g", 0)).lift.sizes.values())
    assert sum(unroll(lift, params, ("g", 0), max_vertices=size).lift.sizes.values()) == size
    with pytest.raises(ValueError, match=f"would have {size} vertices, above max_vertices=8"):
        unroll(lift, params, ("g", 0), max_vertices=8)
    with pytest.raises(ValueError, match="3 edges deep, above max_depth=2"):
        unroll(lift, params, ("g", 0), max_depth=2)
    deep = sj.dense_lift(mlp(inputs=1, hidden=60, outputs=1), 4)
    with pytest.raises(ValueError, match=r"would have 1\.772e\+36 vertices"):
        unroll(deep, {}, ("y", 0))
    with pytest.raises(ValueError, match="'g' has 3 lifted vertices, no 3"):
        unroll(lift, params, ("g", 3))
    with pytest.raises(ValueError, match="'x' is an input"):
        unroll(lift, params, ("x", 0))


def test_module_above_keeps_what_reaches_the_root():
    module = gated()
    assert set(module_above(module, "hub").order) == {"x", "h", "hub"}
    assert module_above(module, "hub").clamped("hub") == 1
    assert module_above(module, "g").clamped("hub") == 2
    assert module_above(module, "y").edges == module.edges
    lonely = PerceptronModule(
        (
            Vertex("x"),
            Vertex("one", constant=True),
            Vertex("c", activation="tanh"),
            Vertex("y", activation="identity"),
        ),
        (Edge("one", "c"), Edge("x", "y"), Edge("c", "y", name="c->y")),
        ("x", "one"),
        ("y",),
    )
    with pytest.raises(ValueError, match="no input reaches vertex 'c'"):
        module_above(lonely, "c")


class TestFibrations:
    def test_values_are_carried(self, base, values):
        lift, params = base
        total, phi = random_fibration(jax.random.key(1), lift, {"h": 9, "g": 7})
        assert is_fibration(phi, total, lift)
        above = reference.activations(total, pull_back(phi, total, lift, params), {"x": X})
        for name in lift.module.order:
            np.testing.assert_allclose(above[name], values[name][:, phi[name]], rtol=1e-12)
        # The total space is wired at random, not as disjoint copies.
        assert len(total.edges("a")) == sum(np.bincount(lift.edges("a")[:, 1])[phi["g"]])

    @staticmethod
    def rewire(lift, name, change):
        edges = {e.name: lift.edges(e.name) for e in lift.module.edges}
        edges[name] = change(edges[name].copy())
        return sj.lift_from_edges(lift.module, lift.sizes, edges)

    def test_what_is_no_fibration_is_found_and_named(self, base):
        lift, params = base
        total, phi = random_fibration(jax.random.key(1), lift, {"h": 9, "g": 7})

        def moved(edges):
            taken = phi["h"][edges[edges[:, 1] == edges[0, 1], 0]]
            edges[0, 0] = np.flatnonzero(~np.isin(phi["h"], taken))[0]
            return edges

        def to_a_twin(edges):
            """Two in-edges of one vertex from copies of one source, instead of from two."""
            for first, second in zip(range(len(edges) - 1), range(1, len(edges)), strict=True):
                twins = np.flatnonzero(phi["h"] == phi["h"][edges[first, 0]])
                if edges[first, 1] == edges[second, 1] and len(twins) > 1:
                    edges[second, 0] = next(u for u in twins if u != edges[first, 0])
                    return edges
            return edges

        for change, said in (
            (moved, "no edge of the base"),
            (to_a_twin, "two of its in-edges are sent to"),
            (lambda edges: edges[1:], "in-edges, its image"),
        ):
            other = self.rewire(total, "a", change)
            report = is_fibration(phi, other, lift)
            assert not report and report.edge == "a" and said in report.reason
            assert report.vertex == "g" and f"vertex {report.number}:" in report.reason
            with pytest.raises(ValueError, match="no fibration: edge 'a'"):
                pull_back(phi, other, lift, params)

    @pytest.mark.parametrize(
        ("change", "said"),
        [
            ({"h": np.zeros(3, int)}, "should hold 4 integers"),
            ({"h": np.array([0, 1, 2, 4])}, "number 3 is sent to 4"),
            ({"h": np.array([0.0, 1, 2, 3])}, "got float64"),
            ({"x": np.array([1])}, "'x': number 0 is sent to 1"),
        ],
    )
    def test_a_bad_map_is_named(self, base, change, said):
        lift, _ = base
        same = {name: np.arange(n) for name, n in lift.sizes.items()}
        assert is_fibration(same, lift, lift)
        report = is_fibration(same | change, lift, lift)
        assert not report and said in report.reason and report.vertex in change

    def test_inputs_are_sent_to_themselves(self):
        """Exchanging two coordinates maps in-edges bijectively, but they hold other values."""
        module = mlp(inputs=2, hidden=1, outputs=1, input_as="coordinates", bias=False)
        lift = sj.dense_lift(module, 2)
        same = {name: np.arange(n) for name, n in lift.sizes.items()}
        assert "given values" in is_fibration(same | {"x": np.array([1, 0])}, lift, lift).reason

    def test_modules_must_agree(self, base):
        lift, _ = base
        same = {name: np.arange(n) for name, n in lift.sizes.items()}
        changed = dataclasses.replace(
            lift.module,
            vertices=tuple(
                dataclasses.replace(v, activation="tanh") if v.name == "hub" else v
                for v in lift.module.vertices
            ),
        )
        other = sj.dense_lift(changed, {"h": 4, "g": 3})
        assert "'hub' or its in-edges differ" in is_fibration(same, other, lift).reason
        missing = {k: v for k, v in same.items() if k != "g"}
        assert "says nothing" in is_fibration(missing, lift, lift).reason

    def test_too_few_copies(self, base):
        with pytest.raises(ValueError, match="3 copies of 4 vertices"):
            random_fibration(jax.random.key(0), base[0], {"h": 3, "g": 3})


def test_lifted_edges_point_at_their_weights():
    """Dense and sparse wirings of the same edges give the same list."""
    module = mlp(inputs=2, hidden=2, outputs=1)
    dense = sj.dense_lift(module, 3)
    sparse = sj.lift_from_edges(module, 3, {"h1->h2": dense.edges("h1->h2")})
    weights = np.random.default_rng(0).normal(size=(3, 3))
    for lift in (dense, sparse):
        own = lifted_edges(lift, "h1->h2")
        np.testing.assert_array_equal(np.stack(own[:2], 1), lift.edges("h1->h2"))
        np.testing.assert_array_equal(own.weights(weights), weights[own.sources, own.targets])
    assert lifted_edges(sparse, "h1->h2").starts(3).tolist() == [0, 3, 6, 9]
