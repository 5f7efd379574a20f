"""A module that breaks its definition is refused by name; one that keeps it is read as written."""

import dataclasses
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sparsejax.graphs import (
    Bias,
    CycleError,
    Dense,
    DuplicateNameError,
    Edge,
    EdgeMap,
    InputWithInEdgesError,
    MissingActivationError,
    ModuleError,
    NotLinearError,
    PerceptronModule,
    Pointwise,
    Scale,
    ShapeMismatchError,
    UnknownVertexError,
    UnreachableOutputError,
    Vertex,
    as_activation,
)

X = Vertex("x", shape=(3,))
ONE = Vertex("one", constant=True)
H = Vertex("h", activation="tanh")
Y = Vertex("y", shape=(2,), activation="identity")
X_H, H_Y = Edge("x", "h", Dense()), Edge("h", "y", Dense(output=(2,)))


def build(vertices=(X, H, Y), edges=(X_H, H_Y), inputs=("x",), outputs=("y",)):
    return PerceptronModule(vertices, edges, inputs, outputs)


@dataclasses.dataclass(frozen=True)
class Own(EdgeMap):
    """A user's map from a function of `(w, y)` that keeps the activation's shape."""

    function: Callable
    weight: tuple[int, ...] | None = None
    output: tuple[int, ...] | None = None

    def weight_shape(self, source_shape):
        return source_shape if self.weight is None else self.weight

    def output_shape(self, source_shape):
        return source_shape if self.output is None else self.output

    def __call__(self, weight, activation):
        return self.function(weight, activation)


def with_map(edge_map):
    """`x -> h` of shape (3,) through `edge_map`."""
    h = Vertex("h", shape=(3,), activation="identity")
    edges = (Edge("x", "h", edge_map, name="mine"), Edge("h", "y", Dense(output=(2,))))
    return build((X, h, Y), edges)


def test_a_module_is_read_as_it_is_written():
    module = build(
        (Y, H, ONE, X),  # in any order
        (H_Y, X_H, Edge("one", "h", Bias()), Edge("one", "y", Bias(shape=(2,)))),
        inputs=("x", "one"),
    )
    position = {name: i for i, name in enumerate(module.order)}
    assert sorted(position) == ["h", "one", "x", "y"]
    assert all(position[edge.source] < position[edge.target] for edge in module.edges)
    assert [edge.name for edge in module.in_edges("h")] == ["x->h", "one->h"]
    assert [edge.name for edge in module.out_edges("one")] == ["one->h", "one->y"]
    assert module.fed_inputs == ("x",)
    assert module.duplicated == ("h",)
    assert [module.clamped(name) for name in ("x", "one", "h", "y")] == [1, 1, None, 1]
    assert module.weight_shape(H_Y) == (2,)
    assert module.preactivation_shape(X_H) == ()


def test_modules_are_compared_and_hashed_by_content():
    assert build() == build((X, dataclasses.replace(H), Y), (X_H, dataclasses.replace(H_Y)))
    assert hash(build()) == hash(build())
    assert build() != build((X, dataclasses.replace(H, activation="relu"), Y))


@pytest.mark.parametrize(
    ("error", "names", "arguments"),
    [
        (DuplicateNameError, ["'h'"], {"vertices": (X, H, H, Y)}),
        (DuplicateNameError, ["'x->h'"], {"edges": (X_H, X_H, H_Y)}),
        (DuplicateNameError, ["'x'"], {"inputs": ("x", "x")}),
        (DuplicateNameError, ["'y'"], {"outputs": ("y", "y")}),
        (UnknownVertexError, ["'a->h'", "'a'"], {"edges": (X_H, H_Y, Edge("a", "h"))}),
        (UnknownVertexError, ["'h->b'", "'b'"], {"edges": (X_H, H_Y, Edge("h", "b"))}),
        (UnknownVertexError, ["'u'"], {"inputs": ("u",)}),
        (UnknownVertexError, ["'u'"], {"outputs": ("u",)}),
        (CycleError, ["h -> h"], {"edges": (X_H, H_Y, Edge("h", "h"))}),
        (
            InputWithInEdgesError,
            ["'x'", "'h->x'"],
            {
                "vertices": (X, Vertex("i", shape=(3,)), H, Y),
                "inputs": ("i", "x"),
                "edges": (Edge("i", "h", Dense()), H_Y, Edge("h", "x")),
            },
        ),
        (
            UnreachableOutputError,
            ["'y'"],
            {
                "vertices": (X, ONE, H, Y),
                "inputs": ("x", "one"),
                "edges": (X_H, Edge("one", "y", Bias(shape=(2,)))),
            },
        ),
        (MissingActivationError, ["'h'"], {"vertices": (X, Vertex("h"), Y)}),
        (MissingActivationError, ["'h'"], {"edges": (H_Y, Edge("x", "y", Dense(output=(2,))))}),
        (ModuleError, ["'one'"], {"vertices": (X, H, Y, ONE)}),
        (ModuleError, ["input"], {"inputs": ()}),
        (ModuleError, ["output"], {"outputs": ()}),
        # The map's own complaint, the vertex that the map's result misses, and the sum's.
        (
            ShapeMismatchError,
            ["'x->h'", "(3,)"],
            {"edges": (Edge("x", "h", Bias()), H_Y)},
        ),
        (ShapeMismatchError, ["'x->h'", "(3,)"], {"edges": (Edge("x", "h"), H_Y)}),
        (ShapeMismatchError, ["'h->y'", "'y'"], {"edges": (X_H, Edge("h", "y", Dense((3,))))}),
    ],
)
def test_faults_have_names_and_point_at_a_place(error, names, arguments):
    with pytest.raises(error) as caught:
        build(**arguments)
    assert caught.type is error
    for name in names:
        assert name in str(caught.value)


def test_a_long_cycle_is_named_whole():
    vertices = (X, *(Vertex(name, activation="tanh") for name in "abc"), Y)
    edges = (
        Edge("x", "a", Dense()),
        Edge("a", "b"),
        Edge("b", "c"),
        Edge("c", "a"),
        Edge("c", "y", Dense(output=(2,))),
    )
    with pytest.raises(CycleError) as caught:
        build(vertices, edges)
    assert {"a", "b", "c"} <= set(str(caught.value).split("cycle: ")[1].split(" -> "))


def test_a_sum_does_not_broadcast():
    """Per vertex `(3,) + ()` is legal JAX; over fibre and batch axes it would be another sum."""
    vertices = (X, Vertex("s"), Vertex("h", shape=(3,), activation="tanh"), Y)
    edges = (Edge("x", "h"), Edge("s", "h"), Edge("h", "y", Dense(output=(2,))))
    with jax.numpy_rank_promotion("allow"), pytest.raises(ShapeMismatchError, match="'s->h'"):
        build(vertices, edges, inputs=("x", "s"))


@pytest.mark.parametrize(
    ("activation", "reason"),
    [
        (lambda a, b: a, "argument"),  # one in-edge, two arguments
        (lambda z: jnp.stack([z, z]), r"\(2,\)"),  # leaves the vertex's space
    ],
)
def test_an_activation_that_does_not_fit_names_its_vertex(activation, reason):
    with pytest.raises(ShapeMismatchError, match=f"'h'.*{reason}"):
        build((X, Vertex("h", activation=activation), Y))


def test_edges_between_the_same_vertices_need_names_of_their_own():
    vertices = (X, Vertex("h", activation=lambda q, k: q * k), Y)
    with pytest.raises(DuplicateNameError, match="'x->h'"):
        build(vertices, (X_H, X_H, H_Y))
    named = (Edge("x", "h", Dense(), name="q"), Edge("x", "h", Dense(), name="k"), H_Y)
    assert [edge.name for edge in build(vertices, named).in_edges("h")] == ["q", "k"]


@pytest.mark.parametrize(
    "function",
    [
        lambda w, y: w * y,
        lambda w, y: w * jnp.sin(y) ** 2,  # any function of the activation
        lambda w, y: w * jnp.log(y),  # not a number at negative activations
        lambda w, y: jnp.cumsum(w) * y[::-1],
        lambda w, y: jnp.full((3,), jnp.dot(w, y)),
        lambda w, y: jnp.zeros_like(w),
    ],
)
def test_maps_that_are_linear_in_the_weight_are_accepted(function):
    assert with_map(Own(function)).edge("mine").map.function is function


@pytest.mark.parametrize(
    "function",
    [
        lambda w, y: w**2 * y,
        lambda w, y: jnp.abs(w) * y,
        lambda w, y: jnp.tanh(w) * y,
        lambda w, y: w * y / (1 + jnp.sum(w)),
        # Affine: transposition alone lets these through, the last two at an activation of ones.
        lambda w, y: w + 1,
        lambda w, y: w * y + y,
        lambda w, y: w * y + (y - 1),
        lambda w, y: w * y + jax.nn.relu(-y),
    ],
)
def test_maps_that_are_not_linear_in_the_weight_are_refused(function):
    with pytest.raises(NotLinearError, match="'mine'"):
        with_map(Own(function))


def test_linearity_is_also_tested_inside_a_trace_and_in_float32():
    def built(x):
        with_map(Own(lambda w, y: w * y))
        with pytest.raises(NotLinearError, match="'mine'"):
            with_map(Own(lambda w, y: w + 1))
        return x

    assert jax.jit(built)(jnp.asarray(1.0)) == 1.0
    with jax.enable_x64(False):
        with_map(Own(lambda w, y: 1e3 * jnp.dot(w, y) * y))


def test_a_map_that_lies_about_its_shape_is_refused():
    with pytest.raises(ShapeMismatchError, match=r"'mine'.*gives shape \(3,\) but declares \(2,\)"):
        with_map(Own(lambda w, y: w * y, output=(2,)))
    with pytest.raises(ShapeMismatchError, match="'mine'"):
        with_map(Own(lambda w, y: w @ y, weight=(3, 2)))


def test_look_ups_of_unknown_names_are_named():
    with pytest.raises(UnknownVertexError, match="'nowhere'.*x, h, y"):
        build().vertex("nowhere")
    with pytest.raises(ModuleError, match="'nowhere'.*x->h, h->y"):
        build().edge("nowhere")


def test_vertices_and_activations_check_themselves():
    with pytest.raises(ValueError, match="'v'.*axes"):
        Vertex("v", shape=(2, 0))
    with pytest.raises(ValueError, match="'v'.*clamped"):
        Vertex("v", clamped=0)
    with pytest.raises(ValueError, match="unknown activation 'wavy'; known are .*tanh"):
        Vertex("v", activation="wavy")
    assert as_activation("relu") == Pointwise("relu")
    assert as_activation(jnp.sin) is jnp.sin


@pytest.mark.parametrize("name", Pointwise.names())
def test_pointwise_sums_first_and_its_homogeneity_is_true(name):
    activation = Pointwise(name)
    a, b = jnp.array([0.3, -1.2, 2.0]), jnp.array([0.1, 0.5, -3.0])
    assert jnp.allclose(activation(a, b), activation(a + b), rtol=1e-15, atol=0)
    scaled = jnp.allclose(activation(2.5 * a), 2.5 * activation(a), rtol=1e-12)
    assert activation.positively_homogeneous == scaled


@pytest.mark.parametrize(
    ("edge_map", "source"),
    [
        (Scale(), (2, 3)),
        (Dense(), (3,)),
        (Dense((4,)), (2, 3)),
        (Dense((2, 2)), ()),
        (Bias((3,)), ()),
    ],
)
def test_ready_made_maps_are_bilinear_and_keep_their_shapes(edge_map, source):
    rng = np.random.default_rng(0)
    w, v = (jnp.asarray(rng.normal(size=edge_map.weight_shape(source))) for _ in range(2))
    y, z = (jnp.asarray(rng.normal(size=source)) for _ in range(2))
    out = edge_map(w, y)
    assert out.shape == edge_map.output_shape(source)
    assert np.allclose(edge_map(2 * w - v, y), 2 * out - edge_map(v, y), atol=1e-14)
    assert np.allclose(edge_map(w, 2 * y - z), 2 * out - edge_map(w, z), atol=1e-14)
    # Unit weights and activations: an entry of the result counts the entries that add up in it.
    ones = edge_map(jnp.asarray(np.ones(w.shape)), jnp.asarray(np.ones(source)))
    assert (ones == edge_map.fan_in(source)).all()
