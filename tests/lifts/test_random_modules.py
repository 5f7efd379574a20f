"""What holds for every lift (1.1 to 1.5), on random modules of all maps and activations."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import sparsejax as sj

from .random_modules import densities, draw_module, seeds
from .reference import activations as reference
from .weighted_lifts import build, random_weights

BATCH = 2
close = {"rtol": 1e-11, "atol": 1e-12}
# Compiled for one run each: not worth optimising.
found_activations = jax.jit(
    lambda lift, params, x: lift.activations(params, x),
    compiler_options={"xla_backend_optimization_level": 0},
)


def inputs_of(module, seed):
    rng = np.random.default_rng(seed)
    x = {}
    for name in module.fed_inputs:
        fibre = () if module.clamped(name) == 1 else (module.clamped(name),)
        x[name] = jnp.asarray(rng.normal(size=(BATCH, *fibre, *module.vertex(name).shape)))
    return x


def values(lift, params, x):
    """All activations, fibre axes of one vertex kept, as the reference has them."""
    found = found_activations(lift, params, x)
    return {
        name: np.asarray(value).reshape(BATCH, lift.sizes[name], *lift.module.vertex(name).shape)
        for name, value in found.items()
    }


@settings(max_examples=6)
@given(st.data(), st.sampled_from(("binomial", "regular")), seeds)
@pytest.mark.slow
def test_random_sparse_lifts_are_homomorphisms(data, law, seed):
    """1.1: every lifted edge lies over a base edge, once, between the right fibres."""
    module, _ = draw_module(data.draw)
    # One size: each pair of sizes compiles samplers of its own.
    lift = sj.random_sparse_lift(jax.random.key(seed), module, 3, in_degree=1, law=law)
    lift.validate()
    for edge in module.edges:
        pairs = lift.edges(edge.name)
        n_a, n_b = lift.sizes[edge.source], lift.sizes[edge.target]
        assert (pairs >= 0).all() and (pairs < [n_a, n_b]).all()
        assert len(np.unique(pairs, axis=0)) == len(pairs)
        duplicated = {edge.source, edge.target} <= set(module.duplicated)
        if law == "regular" and duplicated:
            assert np.bincount(pairs[:, 1], minlength=n_b).tolist() == [1] * n_b
        if module.clamped(edge.source) == 1 or edge.target in module.outputs:
            assert len(pairs) == n_a * n_b


@settings(max_examples=6)
@given(st.data(), densities, seeds)
def test_a_lift_computes_what_the_definition_says_in_any_order(data, density, seed):
    """With no, some or all in-edges; and (1.4) the same when fibres are permuted."""
    module, sizes = draw_module(data.draw, outputs=("y", "z"))
    weights = random_weights(module, sizes, density, seed)
    lift, params = build(module, sizes, weights)
    if density == 1:
        lift = sj.dense_lift(module, sizes)
    x = inputs_of(module, seed)
    found, expected = values(lift, params, x), reference(lift, params, x)
    for name in module.order:
        np.testing.assert_allclose(found[name], expected[name], err_msg=name, **close)
    if density == 1:
        return
    rng = np.random.default_rng(seed)
    order = {name: np.arange(module.clamped(name) or 1) for name in module.order}
    order |= {name: rng.permutation(n) for name, n in sizes.items()}
    moved = {
        edge.name: {
            (int(order[edge.source][u]), int(order[edge.target][v])): w
            for (u, v), w in weights[edge.name].items()
        }
        for edge in module.edges
    }
    there = values(*build(module, sizes, moved), x)
    for name in module.order:
        np.testing.assert_allclose(there[name][:, order[name]], found[name], **close)


@settings(max_examples=6)
@given(st.data(), densities, st.integers(1, 2), seeds)
@pytest.mark.slow
def test_smaller_lifts_embed_in_larger_ones(data, density, more, seed):
    """1.5: new vertices have in-edges of any weight, and out-edges to old ones of weight zero."""
    module, sizes = draw_module(data.draw)
    larger = {name: size + more for name, size in sizes.items()}
    weights = random_weights(module, sizes, density, seed)
    grown = random_weights(module, larger, 0.8, seed + 1)
    old = {name: sizes.get(name, module.clamped(name)) for name in module.order}
    for edge in module.edges:
        for u, v in grown[edge.name]:
            if v < old[edge.target]:
                grown[edge.name][u, v] = np.zeros(module.weight_shape(edge))
        grown[edge.name] |= weights[edge.name]
    x = inputs_of(module, seed)
    small, params = build(module, sizes, weights)
    expected = reference(small, params, x)
    found = values(*build(module, larger, grown), x)
    for name in module.order:
        np.testing.assert_allclose(found[name][:, : old[name]], expected[name], **close)


@settings(max_examples=6)
@given(st.data(), densities, seeds)
@pytest.mark.slow
def test_copies_with_the_same_in_edges_compute_what_they_copy(data, density, seed):
    """1.3: vertices of the total space copy those of the base, in-edges carried bijectively."""
    module, sizes = draw_module(data.draw)
    rng = np.random.default_rng(seed)
    weights = random_weights(module, sizes, density, seed)
    image = {name: np.arange(module.clamped(name) or 1) for name in module.order}
    for name, size in sizes.items():
        image[name] = rng.permutation(np.append(np.arange(size), rng.integers(size, size=2)))
    lifted = {edge.name: {} for edge in module.edges}
    for edge in module.edges:
        for v, below in enumerate(image[edge.target]):
            for (u, target), weight in weights[edge.name].items():
                if target == below:
                    copies = np.flatnonzero(image[edge.source] == u)
                    lifted[edge.name][int(rng.choice(copies)), v] = weight
    x = inputs_of(module, seed)
    lift, params = build(module, sizes, weights)
    expected = reference(lift, params, x)
    found = values(*build(module, {name: len(image[name]) for name in sizes}, lifted), x)
    for name in module.order:
        np.testing.assert_allclose(found[name], expected[name][:, image[name]], **close)
