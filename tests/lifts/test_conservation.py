"""Balances of weights: against loops over lifted edges, gradients, flows and exact GD drifts."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sparsejax as sj
from sparsejax.graphs import Bias, Dense, Edge, EdgeMap, PerceptronModule, Scale, Vertex
from sparsejax.lifts import conserved_quantities

KEY = jax.random.key(0)
X = jax.random.normal(KEY, (6, 3))
Y = jnp.sin(X[:, :1] * 3) + X[:, 1:2]


def branching(activation="relu", after="leaky_relu"):
    """An array input, an array-valued vertex, a multi-edge, biases, a skip edge to the output."""
    return PerceptronModule(
        vertices=(
            Vertex("x", shape=(3,)),
            Vertex("one", constant=True),
            Vertex("a", shape=(2,), activation=activation),
            Vertex("b", activation=after),
            Vertex("y", shape=(1,), activation="identity"),
        ),
        edges=(
            Edge("x", "a", Dense(output=(2,))),
            Edge("one", "a", Bias(shape=(2,))),
            Edge("a", "b", Dense(), name="first"),
            Edge("a", "b", Dense(), name="second"),
            Edge("one", "b", Bias()),
            Edge("b", "y", Dense(output=(1,))),
            Edge("a", "y", Dense(output=(1,))),
        ),
        inputs=("x", "one"),
        outputs=("y",),
    )


def norm(*z):
    """Homogeneous of degree one in all its arguments, and smooth: a flow converges at its order."""
    return jnp.sqrt(sum(jnp.square(part) for part in z))


@functools.cache
def lifted(activation="relu", after="leaky_relu"):
    """In-degrees 1 to 3 over the multi-edge, so that there is padding to be wrong about."""
    pairs = [(0, 0), (3, 0), (4, 0), (1, 1), (2, 1), (2, 2), (0, 3), (4, 3), (1, 4)]
    other = [(1, 0), (3, 1), (4, 1), (0, 2), (3, 3), (2, 4), (3, 4)]
    return drawn(
        sj.lift_from_edges(
            branching(activation, after), 5, {"first": np.array(pairs), "second": np.array(other)}
        )
    )


def drawn(lift):
    """The lift with NumPy's random numbers in all its slots, padded ones too."""
    rng, params = np.random.default_rng(1), {}
    for edge in lift.module.edges:
        shape = (
            lift.wirings[edge.name].slots,
            lift.sizes[edge.target],
            *lift.module.weight_shape(edge),
        )
        params[edge.name] = jnp.asarray(0.6 * rng.normal(size=shape))
    return lift, params


def edgewise(lift, name, array):
    """`(into, out)`: sums over lifted edges of the products of `array`, one loop an edge."""
    into, out = np.zeros(lift.sizes[name]), np.zeros(lift.sizes[name])
    for edge in lift.module.edges:
        pairs = lift.edges(edge.name)
        values = np.asarray(array[edge.name])
        seen: dict[int, int] = {}
        for source, target in pairs:
            slot = seen.get(target, 0)  # inside a vertex edges are sorted by predecessor
            seen[target] = slot + 1
            amount = values[slot, target].sum()
            if edge.target == name:
                into[target] += amount
            if edge.source == name:
                out[source] += amount
    return into, out


def test_padding_multi_edges_and_biases_count_as_theory_says():
    lift, params = lifted()
    assert not np.asarray(lift.wirings["first"].present).all()
    found = conserved_quantities(lift)
    assert set(found.homogeneous) == {"a", "b"} and found.linear == ()
    values, scales = jax.jit(lambda p: (found(p)["vertices"], found.scales(p)))(params)
    squares = {name: np.square(w) for name, w in params.items()}
    for name in ("a", "b"):
        into, out = edgewise(lift, name, squares)
        np.testing.assert_allclose(values[name], into - out, rtol=1e-12)
        np.testing.assert_allclose(scales[name], into + out, rtol=1e-12)


def test_the_gradient_balances_at_every_lifted_vertex():
    # <w_in, grad_in> = <w_out, grad_out>: the identity behind the conservation law.
    lift, params = lifted()
    gradient = jax.jit(jax.grad(sj.squared_loss(lift.apply, X, Y)))(params)
    products = {name: np.asarray(params[name] * gradient[name]) for name in params}
    for name in ("a", "b"):
        into, out = edgewise(lift, name, products)
        np.testing.assert_allclose(into, out, rtol=1e-9, atol=1e-12)
        assert np.abs(into).max() > 1e-3


def test_constant_along_a_flow_and_drifting_by_its_exact_amount_along_descent():
    lift, params = lifted(norm, norm)
    found = conserved_quantities(lift)
    gradient = jax.jit(jax.grad(sj.squared_loss(lift.apply, X, Y)))
    balances = jax.jit(lambda p: found(p)["vertices"])
    before = balances(params)

    def moved(p, direction, h):
        return {name: np.asarray(p[name]) - h * np.asarray(direction[name]) for name in p}

    # One step of descent: the cross terms of |w - eta g|^2 are those of the identity and cancel.
    eta, g = 0.02, gradient(params)
    after = balances(moved(params, g, eta))
    squares = {name: np.square(part) for name, part in g.items()}
    for name in ("a", "b"):
        into, out = edgewise(lift, name, squares)
        np.testing.assert_allclose(
            after[name] - before[name], eta**2 * (into - out), rtol=1e-6, atol=1e-12
        )
        assert np.abs(into - out).max() > 0.1
    p, h = params, 0.002  # the flow, by classical Runge-Kutta steps
    for _ in range(150):
        k1 = gradient(p)
        k2 = gradient(moved(p, k1, h / 2))
        k3 = gradient(moved(p, k2, h / 2))
        k4 = gradient(moved(p, k3, h))
        for part, share in ((k1, h / 6), (k2, h / 3), (k3, h / 3), (k4, h / 6)):
            p = moved(p, part, share)
    assert np.abs(np.asarray(p["x->a"]) ** 2 - np.asarray(params["x->a"]) ** 2).max() > 0.05
    for name, value in balances(p).items():
        np.testing.assert_allclose(value, before[name], atol=1e-5)


def linear_mlp(hidden=2, **options):
    return sj.graphs.mlp(3, hidden, 1, activation="identity", **options)


def test_linear_layers_conserve_a_matrix():
    lift, params = drawn(sj.dense_lift(linear_mlp(), sizes={"h1": 4, "h2": 3}))
    found = conserved_quantities(lift)
    assert found.linear == ("h1", "h2") == found.homogeneous
    w1, b1 = np.asarray(params["x->h1"])[0], np.asarray(params["one->h1"])[0]
    w2, b2 = np.asarray(params["h1->h2"]).T, np.asarray(params["one->h2"])[0]
    w3 = np.asarray(params["h2->y"])[:, 0, 0][None]
    values = jax.jit(lambda p: found(p))(params)
    np.testing.assert_allclose(
        values["layers"]["h1"], w2.T @ w2 - w1 @ w1.T - np.outer(b1, b1), rtol=1e-12
    )
    np.testing.assert_allclose(
        values["layers"]["h2"], w3.T @ w3 - w2 @ w2.T - np.outer(b2, b2), rtol=1e-12
    )
    for name in ("h1", "h2"):  # its diagonal is the balance of the vertices
        np.testing.assert_allclose(
            np.diag(values["layers"][name]), -values["vertices"][name], rtol=1e-12
        )
    flow = sj.gradient_flow(
        sj.squared_loss(lift.apply, X, Y),
        params,
        0.4,
        saveat=np.array([0.0, 0.4]),
        solver="rk4",
        dt=0.001,
        probes={"c": found.probe},
    )
    for along in flow.probes["c"]["layers"].values():
        np.testing.assert_allclose(along[1], along[0], atol=1e-6)
        assert np.abs(np.asarray(along[0])).max() > 0.1


def test_a_sparse_linear_layer_conserves_its_vertices_only():
    sparse = np.array([(0, 0), (1, 0), (2, 1), (3, 2), (0, 3)])
    lift = sj.lift_from_edges(linear_mlp(hidden=3), 4, {"h1->h2": sparse, "h2->h3": sparse})
    found = conserved_quantities(lift)
    assert found.homogeneous == ("h1", "h2", "h3")
    assert found.linear == ()  # h1 -> h2 and h2 -> h3 are sparse: no mixing of any fibre is free


@pytest.mark.parametrize(
    "activation, expected",
    [
        ("tanh", ()),
        ("softplus", ()),
        ("gelu", ()),
        ("relu", ("b",)),
        (lambda *z: jnp.maximum(sum(z), 0), ("b",)),
        (lambda *z: jnp.clip(sum(z), 0, 6), ()),  # homogeneous only up to 6
        (lambda *z: sum(z) + 1e-3, ()),
        (lambda p, q, r: jnp.sqrt(p**2 + q**2) + jnp.abs(r), ("b",)),  # jointly, not one by one
    ],
)
def test_activations_are_found_out(activation, expected):
    module = branching("tanh", activation)
    assert conserved_quantities(sj.dense_lift(module, 2)).homogeneous == expected


@dataclasses.dataclass(frozen=True)
class Through(EdgeMap):
    """`w phi(y)` with a function of the activation."""

    phi: object

    def weight_shape(self, source_shape):
        return ()

    def output_shape(self, source_shape):
        return source_shape

    def __call__(self, weight, activation):
        return weight * self.phi(activation)


@pytest.mark.parametrize(
    "phi, homogeneous, linear",
    [
        (jnp.tanh, (), ()),
        (jnp.abs, ("h",), ()),
        (lambda y: 2.0 * y, ("h",), ("h",)),
    ],
)
def test_maps_that_leave_a_vertex_must_scale_too(phi, homogeneous, linear):
    module = PerceptronModule(
        vertices=(
            Vertex("x"),
            Vertex("h", activation="identity"),
            Vertex("y", activation="identity"),
        ),
        edges=(Edge("x", "h", Scale()), Edge("h", "y", Through(phi))),
        inputs=("x",),
        outputs=("y",),
    )
    found = conserved_quantities(sj.dense_lift(module, 3))
    assert (found.homogeneous, found.linear) == (homogeneous, linear)


def test_a_vertex_that_is_an_output_too_is_left_out():
    module = dataclasses.replace(branching(), outputs=("y", "b"))
    assert conserved_quantities(sj.dense_lift(module, 2)).homogeneous == ("a",)
