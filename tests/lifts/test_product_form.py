"""Every form of the product is the product with the dense matrix; memory stays with the edges."""

import functools
import sys

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sparsejax as sj
from sparsejax.lifts.chunked import in_chunks
from sparsejax.lifts.entry_wiring import entry_product, entry_wiring
from sparsejax.lifts.product_form import product_form, wired_product
from sparsejax.lifts.sparse_product import sparse_product

from .reference import wired

PAIRS = [(0, 0), (2, 0), (4, 0), (1, 1), (2, 1), (0, 3), (3, 3), (4, 3), (1, 4)]


def edges_by_entry(inputs, outputs):
    return [
        (u * inputs + i, v * outputs + o)
        for u, v in PAIRS
        for i in range(inputs)
        for o in range(outputs)
    ]


def matrix_of(weights, wiring):
    """By loops on the host; `(n_b, n_a, ...)`."""
    matrix = np.zeros((wiring.n_targets, wiring.n_sources, *weights.shape[2:]))
    for s, v in np.argwhere(np.asarray(wiring.present)):
        matrix[v, int(wiring.predecessors[s, v])] = weights[s, v]
    return matrix


def to_second_order(product, weights, y, cotangent):
    """Value, gradients, and the derivative of the gradients along a direction."""

    def gradients(weights, y):
        z, pullback = jax.vjp(lambda w, y: jnp.sin(product(w, y)), weights, y)
        return z, pullback(cotangent)

    return jax.jvp(gradients, (weights, y), (jnp.cos(weights), jnp.cos(y)))


def test_both_forms_equal_the_matrix_product_to_second_order():
    wiring = wired(PAIRS, 5, 6, masked=True)
    random = np.random.default_rng(0)
    weights = random.normal(size=wiring.predecessors.shape)
    y, cotangent = (random.normal(size=(n, 3)) for n in (5, 6))

    @jax.jit
    def both(weights, y, cotangent, wiring):
        # What an absent slot holds is nobody's business.
        def product(form):
            return lambda w, y: wired_product(
                jnp.where(wiring.present, w, jnp.nan), y, wiring, form
            )

        of_single = [
            wired_product(*(x.astype(jnp.float32) for x in (weights, y)), wiring, form)
            for form in ("slots", "dense")
        ]
        return of_single, [
            to_second_order(product(form), weights, y, cotangent) for form in ("slots", "dense")
        ]

    single, (slots, dense) = both(weights, y, cotangent, wiring)
    close = functools.partial(np.testing.assert_allclose, rtol=0, atol=1e-12)
    jax.tree.map(close, slots, dense)
    # And one of them is right: z = sin(M y) and its gradients, in NumPy.
    matrix = matrix_of(weights, wiring)
    z, (w_bar, y_bar) = slots[0]
    pulled = np.cos(matrix @ y) * cotangent
    close(z, np.sin(matrix @ y))
    close(y_bar, matrix.T @ pulled)
    there = matrix_of(wiring.present, wiring) > 0
    close(matrix_of(w_bar, wiring), np.where(there, pulled @ y.T, 0))
    for product in single:
        assert product.dtype == np.float32
        np.testing.assert_allclose(product, matrix @ y, atol=1e-5)


def test_entries_of_matrix_weights_form_the_wiring_of_their_edges():
    wiring = wired(PAIRS, 5, 6, masked=True)
    expected = wired(edges_by_entry(3, 2), 15, 12, masked=True)
    entries = jax.jit(entry_wiring, static_argnums=(1, 2))(wiring, 2, 3)
    assert jax.tree.structure(entries) == jax.tree.structure(expected)
    jax.tree.map(np.testing.assert_array_equal, entries, expected)

    random = np.random.default_rng(1)
    weights = random.normal(size=(*wiring.predecessors.shape, 2, 3))
    y = random.normal(size=(5, 3, 4))
    np.testing.assert_allclose(
        jax.jit(entry_product)(weights, y, wiring),
        np.einsum("vuoi,uib->vob", matrix_of(weights, wiring), y),
        atol=1e-12,
    )


@functools.cache
def lift_of(in_degree):
    """From edges on the host: nothing is compiled to draw it."""
    module = sj.graphs.mlp(inputs=3, hidden=2, outputs=1)
    edges = [[(v + s) % 20, v] for v in range(20) for s in range(in_degree)]
    return sj.lift_from_edges(module, 20, {"h1->h2": np.array(edges)})


def params_of(lift):
    random = np.random.default_rng(1)
    shapes = jax.eval_shape(lift.init, jax.random.key(0))
    return {name: jnp.asarray(random.normal(size=w.shape)) for name, w in shapes.items()}


def test_the_lift_says_its_forms_and_takes_orders():
    lift = lift_of(2)
    assert lift.forms() == {"h1->h2": "slots"}
    assert lift_of(12).forms() == {"h1->h2": "dense"}
    assert product_form(lift.wirings["h1->h2"]) == "slots"
    params, x = params_of(lift), np.linspace(-1, 1, 15).reshape(5, 3)

    def written(forms):
        return jax.jit(lambda p, x: lift.apply(p, x, forms=forms)).lower(params, x).as_text()

    # A matrix of 20 x 20 appears in one form only.
    for forms, dense in ((None, False), ("dense", True), ({"h1->h2": "dense"}, True)):
        assert ("tensor<20x20xf64>" in written(forms)) is dense
    with pytest.raises(ValueError, match="'one->h1': the form is .* not 'fast'"):
        jax.eval_shape(lambda p, x: lift.apply(p, x, forms={"one->h1": "fast"}), params, x)
    with pytest.raises(ValueError, match="h2->h1"):
        lift.apply(params, x, forms={"h2->h1": "dense"})


@functools.cache
def gradient_of(chunk):
    """The gradient of a loss of a lift without constants at its inputs, jitted."""
    lift = lift_of(2)

    def loss(params, x):
        return jnp.sum(jnp.cos(lift.apply(params, x, chunk=chunk)))

    return jax.jit(jax.value_and_grad(loss))


def test_chunks_equal_the_whole():
    params = params_of(lift_of(2))
    x = np.random.default_rng(0).normal(size=(5, 3))
    whole = gradient_of(None)(params, x)
    # Two samples at a time: the last chunk is filled up, and what fills it leaves no trace.
    jax.tree.map(
        functools.partial(np.testing.assert_allclose, rtol=1e-10, atol=1e-12),
        gradient_of(2)(params, x),
        whole,
    )
    with pytest.raises(ValueError, match="chunk is a number of samples"):
        lift_of(2).apply(params, x, chunk=0)


def test_filling_a_chunk_makes_no_nan():
    # The square root has no finite derivative at zero, which is what fills nothing here.
    gradient = jax.grad(lambda c: jnp.sum(in_chunks(lambda x: jnp.sqrt(c * x), np.ones(3), 2)))
    assert float(gradient(1.0)) == pytest.approx(1.5)


def temporaries(batch, chunk=None):
    """Bytes of temporaries of the gradient of a deep lift whose matrices would take 32 MB each."""
    n, in_degree = 2048, 8
    module = sj.graphs.mlp(inputs=3, hidden=3, outputs=1, bias=False)
    edges = np.array([[(v + 101 * s) % n, v] for v in range(n) for s in range(in_degree)])
    lift = sj.lift_from_edges(module, n, {"h1->h2": edges, "h2->h3": edges})

    def loss(params, x, lift):
        return jnp.sum(lift.apply(params, x, chunk=chunk) ** 2)

    x = jax.ShapeDtypeStruct((batch, 3), jnp.float64)
    params = jax.eval_shape(lift.init, jax.random.key(0))
    compiled = jax.jit(jax.grad(loss)).lower(params, x, lift).compile()
    return compiled.memory_analysis().temp_size_in_bytes


@pytest.mark.slow
def test_memory_of_the_gradient_is_linear_in_edges_and_batch():
    edges, batch = 2 * 2048 * 8, 64
    once, twice = temporaries(batch), temporaries(2 * batch)
    assert once < 0.5 * 8 * edges * batch < 8 * 2048**2
    assert twice < 2.1 * once
    assert temporaries(4 * batch, chunk=batch) < 1.5 * once


def test_calls_outside_jit_are_compiled_once_per_shape(monkeypatch):
    traced = []
    # The package's attribute of that name is the function.
    module = sys.modules["sparsejax.lifts.sparse_product"]
    kernel = module.to_targets
    monkeypatch.setattr(module, "to_targets", lambda *a: traced.append(1) or kernel(*a))
    # Sizes of this test alone.
    wiring = wired(PAIRS, 5, 17, masked=True)
    k = wiring.slots
    sparse_product(jnp.ones((k, 17)), jnp.ones((5, 2)), wiring)
    once = len(traced)
    assert once
    sparse_product(jnp.zeros((k, 17)), jnp.zeros((5, 2)), wiring)
    assert len(traced) == once
