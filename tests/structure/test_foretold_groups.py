"""Groupings by what they foretell: derivatives, closed forms, and what must not be told apart."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sparsejax.structure import (
    agreement,
    best_partition,
    discover,
    foretold_groups,
    likely_partitions,
    true_groups,
)
from sparsejax.structure.structured_network import StructuredNetwork, fit
from sparsejax.targets import Column, Table, random_parts


def inputs(d, n, seed=0):
    return np.random.default_rng(seed).uniform(-np.sqrt(3), np.sqrt(3), size=(d, n))


def test_derivatives_are_those_of_automatic_differentiation():
    groups, x = ((0, 3), (1,), (2,)), inputs(4, 5)
    network = StructuredNetwork(groups)
    params = network.start(np.random.default_rng(1)) + 0.1

    def layer(x, k, units, params):
        w, b, a, c = jnp.split(params, [units * k, units * (k + 1), units * (k + 2)])
        return a @ jnp.tanh(w.reshape(units, k) @ x + b[:, None]) + c @ x

    def by_hand(params):
        sizes = [(2, 8), (1, 4), (1, 4), (3, 12)]
        *parts, last = jnp.split(params, np.cumsum([m * (k + 2) + k for k, m in sizes]))
        rows = [jnp.asarray(x)[jnp.array(group)] for group in groups]
        hidden = [layer(r, *s, p) for r, s, p in zip(rows, sizes, parts, strict=False)]
        return layer(jnp.stack(hidden), *sizes[-1], parts[-1]) + last[0]

    outputs, jacobian = network.with_jacobian(params, x)
    np.testing.assert_allclose(outputs, by_hand(jnp.asarray(params)), atol=1e-5)
    expected = jax.jacfwd(by_hand)(jnp.asarray(params))
    np.testing.assert_allclose(jacobian.T, expected, atol=1e-4)

    def root(hidden):
        return layer(hidden[:, None], 3, 12, jnp.asarray(params[-1 - 12 * 5 - 3 : -1]))[0]

    hidden = jnp.stack([part.outputs for part in network._layers(params, x)[:-1]], axis=1)
    first, second = network.root_derivatives(params, x)
    np.testing.assert_allclose(first, jax.vmap(jax.grad(root))(hidden), atol=1e-5)
    np.testing.assert_allclose(second, jax.vmap(jax.hessian(root))(hidden), atol=1e-5)


def test_a_fit_never_rises_and_ends_where_the_slope_is_zero():
    x = inputs(2, 300)
    y = np.tanh(x[0]) * x[1]
    network = StructuredNetwork(((0,), (1,)))
    start = network.start(np.random.default_rng(0))
    lefts = [fit(network, start, x, y, steps)[1] for steps in (0, 1, 5, 40)]
    assert sorted(lefts, reverse=True) == lefts and lefts[-1] < 0.05 * lefts[0]
    params, _ = fit(network, start, x, y, 200)
    outputs, jacobian = network.with_jacobian(params, x)
    ascent = jacobian @ (y - outputs) - 0.02 * params
    assert np.abs(ascent).max() < 0.02 * np.abs(jacobian @ y).max()


@pytest.mark.parametrize("true", [((0, 1), (2, 3)), ((0, 2), (1,), (3,))])
def test_the_grouping_that_foretells_is_taken_from_either_side(true):
    """A wrong answer is left for the true one, and the true one kept."""
    x = inputs(4, 500)
    first = np.sin(1.5 * x[true[0][0]] * x[true[0][1]])
    rest = np.sin(x[2] * x[3]) if len(true) == 2 else 0.7 * x[1] * np.cos(2 * x[3])
    y = np.tanh(first + rest) + 0.5 * first * rest
    y = (y - y.mean()) / y.std()
    y = y + 0.1 * np.random.default_rng(1).normal(size=len(y))
    wrong = [((0, 3), (1, 2)), ((0, 1, 3), (2,))]
    rng = np.random.default_rng(2)
    assert foretold_groups([wrong[0], true, wrong[1]], x, y, rng) == true
    assert foretold_groups([true, *wrong], x, y, np.random.default_rng(2)) == true


def test_what_foretells_alike_leaves_the_answer_as_it_is():
    """A sum, on as few rows as `discover` compares."""
    x, rng = inputs(3, 600), np.random.default_rng(0)
    groupings = [((0, 1), (2,)), ((0, 2), (1,))]
    y = x.sum(axis=0) / np.sqrt(3) + 0.1 * rng.normal(size=600)
    for present in (groupings, groupings[::-1]):
        assert foretold_groups(present, x, y, np.random.default_rng(0)) == present[0]


def test_partitions_in_the_order_of_their_gains():
    turns = np.ones((4, 4, 4))
    turns[[0, 1, 2, 3], [1, 0, 3, 2]] = 0
    found = likely_partitions(turns)
    assert list(found[0]) == best_partition(turns) == [(0, 1), (2, 3)]
    # Fifteen partitions of four, each once; to split one of the right parts comes next.
    assert len(found) == len(set(found)) == 15
    assert {found[1], found[2]} == {((0, 1), (2,), (3,)), ((0,), (1,), (2, 3))}


@pytest.mark.slow
def test_discover_does_not_merge_what_only_foretelling_tells_apart():
    """Of these two compositions, turns of directions alone merge an input into a part."""
    for seed in (1012, 1080):
        target = random_parts(seed, root="smooth")
        x = np.random.default_rng(seed).uniform(-1, 1, size=(3000, 10))
        table = Table(tuple(Column(f"x{i + 1}") for i in range(10)), x, np.asarray(target(x))[:, 0])
        assert agreement(discover(table).places, true_groups(target), 10).rand_index == 1
