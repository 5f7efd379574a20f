"""A lift as a plain graph with a weight on every edge, free of any layout, and back."""

import dataclasses

import jax.numpy as jnp
import numpy as np

import sparsejax as sj

from .reference import wired


def random_weights(module, sizes, density, seed):
    """`{edge: {(source, target): weight}}`: a lift as a graph, free of any layout."""
    rng = np.random.default_rng(seed)
    clamped = {name: module.clamped(name) or sizes[name] for name in module.order}
    weights = {}
    for edge in module.edges:
        n_a, n_b = clamped[edge.source], clamped[edge.target]
        shape = module.weight_shape(edge)
        weights[edge.name] = {
            (u, v): rng.normal(size=shape)
            for u in range(n_a)
            for v in range(n_b)
            if n_a == 1 or rng.random() < density
        }
    return weights


def build(module, sizes, weights):
    """The lift with these weighted edges, and its parameters; padding holds a weight of 7."""
    wirings, lift = {}, sj.dense_lift(module, sizes)
    for edge in module.edges:
        n_a, n_b = lift.sizes[edge.source], lift.sizes[edge.target]
        wirings[edge.name] = wired(weights[edge.name], n_a, n_b, masked=True)
    lift = dataclasses.replace(lift, wirings=wirings)
    lift.validate()
    params = {}
    for edge in module.edges:
        wiring = lift.wirings[edge.name]
        predecessors, present = np.asarray(wiring.predecessors), np.asarray(wiring.present)
        held = np.full((*predecessors.shape, *module.weight_shape(edge)), 7.0)
        for s, v in np.argwhere(present):
            held[s, v] = weights[edge.name][int(predecessors[s, v]), int(v)]
        params[edge.name] = jnp.asarray(held)
    return lift, params
