"""The kernel from backward signals and activations against the one through the Jacobian."""

import functools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sparsejax as sj
from sparsejax.graphs import Dense, Edge, PerceptronModule, Vertex
from sparsejax.tangent import ntk_by_leaf, ntk_diagonal, ntk_method
from sparsejax.tangent.layerwise import edge_kernel, factors_of
from sparsejax.tangent.output_axes import grouping

RNG = np.random.default_rng(0)
X = jnp.asarray(RNG.normal(size=(10, 3)))
LEFT, RIGHT = slice(0, 6), slice(6, 10)


@functools.cache
def perceptron(law):
    """A lift, its parameters, and the kernel between all points by JAX's own Jacobian."""
    module = sj.graphs.mlp(inputs=3, hidden=2, outputs=2)
    degree = 1 if law == "binomial" else 3
    lift = sj.random_sparse_lift(jax.random.key(0), module, 24, degree, law=law)
    params = lift.init(jax.random.key(1))
    return lift, params, by_jacobian(lift, params, X)


def by_jacobian(lift, params, x):
    """The full kernel of every edge."""
    rows = jax.jit(jax.jacrev(lift.apply))(params, x)
    kernels = {}
    for name, row in rows.items():
        row = np.asarray(row)
        row = row.reshape(len(x), -1, params[name].size)
        kernels[name] = np.einsum("ncp,mdp->nmcd", row, row)
    return kernels


def assert_equal(expected, found):
    np.testing.assert_allclose(found, expected, rtol=0, atol=1e-13 * np.abs(expected).max())


@pytest.mark.parametrize("law", ["regular", pytest.param("binomial", marks=pytest.mark.slow)])
def test_both_contractions_over_a_sparse_wiring(law):
    """Whole and some weights at a time; one and two sets of points; equal samples alone."""
    lift, params, kernels = perceptron(law)
    expected = kernels["h1->h2"]
    if law == "binomial":
        assert (lift.wirings["h1->h2"].in_degrees() == 0).any()
    for outputs, subscripts in (("full", "nmcd->nmcd"), ("traced", "nmcc->nm")):
        groups = grouping(outputs, (2,))
        factors = jax.jit(factors_of, static_argnums=3)(lift, params, X, groups)["h1->h2"]
        traced = np.einsum(subscripts, expected)
        wanted = traced[LEFT, RIGHT], traced[LEFT, RIGHT], traced, np.einsum("nn...->n...", traced)
        for found in contractions(factors).values():
            for kernel, reference in zip(found, wanted, strict=True):
                assert_equal(reference, groups.arranged(kernel))


@jax.jit
def contractions(factors):
    left, right = (
        factors._replace(
            signals=factors.signals[:, :, part], activations=factors.activations[..., part]
        )
        for part in (LEFT, RIGHT)
    )
    return {
        form: (
            edge_kernel(left, right, form=form),
            edge_kernel(left, right, form=form, weights=7),
            edge_kernel(factors, None, form=form),
            edge_kernel(factors, None, form=form, pairs=False),
        )
        for form in ("rows", "grams")
    }


@pytest.mark.slow
def test_samples_in_blocks():
    lift, params, kernels = perceptron("binomial")
    expected = sum(kernels.values())
    options = {"outputs": "full", "method": "layerwise", "chunk": 4}
    found = sj.ntk(lift.apply, params, X, **options)
    assert_equal(expected, found)
    assert (found == found.transpose(1, 0, 3, 2)).all()
    found = sj.ntk(lift.apply, params, X[LEFT], X[RIGHT], **options)
    assert_equal(expected[LEFT, RIGHT], found)
    assert_equal(np.einsum("nncd->ncd", expected), ntk_diagonal(lift.apply, params, X, **options))


def images():
    module = sj.graphs.convnet((4, 4), hidden=2, outputs=2, activation="tanh", filter_size=2)
    lift = sj.random_sparse_lift(jax.random.key(0), module, 5, 2, law="regular")
    return lift, jnp.asarray(RNG.normal(size=(3, 4, 4)))


def attention():
    module = sj.graphs.mixing_transformer(tokens=3, features=2, blocks=1, outputs=2)
    lift = sj.random_sparse_lift(jax.random.key(0), module, 4, 2, law="regular")
    return lift, jnp.asarray(RNG.normal(size=(3, 3, 2)))


def arrays():
    """Weights that scale whole arrays, and matrices over a sparse wiring."""
    vertices = [Vertex("x", shape=(3,))]
    vertices += [Vertex(name, shape=(2,), activation="tanh") for name in ("h1", "h2", "h3")]
    module = PerceptronModule(
        vertices=(*vertices, Vertex("y", activation="identity")),
        edges=(
            Edge("x", "h1", Dense((2,))),
            Edge("h1", "h2"),
            Edge("h2", "h3", Dense((2,))),
            Edge("h3", "y", Dense()),
        ),
        inputs=("x",),
        outputs=("y",),
    )
    lift = sj.random_sparse_lift(jax.random.key(0), module, 6, 2)
    return lift, X


@pytest.mark.parametrize(
    "network",
    [arrays, *(pytest.param(network, marks=pytest.mark.slow) for network in (images, attention))],
)
@pytest.mark.slow
def test_maps_of_arrays(network):
    """Where weights are shared the derivatives of that edge are multiplied out."""
    lift, x = network()
    params = lift.init(jax.random.key(1))
    parts = ntk_by_leaf(lift.apply, params, x, outputs="full", method="layerwise")
    for name, expected in by_jacobian(lift, params, x).items():
        assert_equal(expected, parts[name])


def test_parts_of_edges():
    lift, params, kernels = perceptron("regular")
    parts = ntk_by_leaf(lift.apply, params, X, outputs="full", method="layerwise")
    assert parts.keys() == params.keys()
    for name, part in parts.items():
        assert_equal(kernels[name], part)


def test_the_cheaper_method_is_taken():
    lift, params, _ = perceptron("regular")
    told = ntk_method(lift.apply, params, X)
    assert (told.method == "layerwise") == (told.layerwise <= told.jacobian)
    # A dense layer's kernel is a product of two Gram matrices.
    dense = sj.dense_lift(sj.graphs.mlp(3, 2, 1), 512)
    weights, many = dense.init(jax.random.key(0)), jnp.zeros((1000, 3))
    told = ntk_method(dense.apply, weights, many)
    assert told.method == "layerwise" and told.jacobian > 50 * told.layerwise
    told = ntk_method(lambda p, x: dense.apply(p, x), weights, many)
    assert told.method == "jacobian" and told.layerwise is None


def test_a_wiring_that_overflew_has_no_kernel():
    """Where neither signals nor activations pass through the products of that wiring."""
    module = sj.graphs.mlp(3, 1, 1, activation="identity", bias=False, input_as="coordinates")
    edges = np.array([[0, 0], [2, 1]])
    lift = sj.lift_from_edges(module, 2, {"x->h1": edges})
    params = lift.init(jax.random.key(0))
    assert jnp.isfinite(sj.ntk(lift.apply, params, X, method="layerwise")).all()
    overflow = jnp.array(True)
    lift = eqx.tree_at(
        lambda a: a.wirings["x->h1"].overflow, lift, overflow, is_leaf=lambda a: a is None
    )
    parts = ntk_by_leaf(lift.apply, params, X, method="layerwise")
    assert jnp.isnan(parts["x->h1"]).all()
