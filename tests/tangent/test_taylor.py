"""Taylor polynomials: exactness, order of the remainder, neural-tangents, every kind of network."""

from pathlib import Path

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sparsejax as sj
from sparsejax.tangent import linearize, taylor_expand

FROZEN = Path(__file__).parent / "frozen" / "perceptron.npz"


def perceptron(params, x):
    h = jnp.tanh(x @ params["w1"] + params["b1"][None])
    h = jnp.maximum(h @ params["w2"] + params["b2"][None], 0)
    return h @ params["w3"] + params["b3"][None]


def test_neural_tangents_gives_the_same():
    with np.load(FROZEN) as held:
        arrays = {key: jnp.asarray(value) for key, value in held.items()}
    params, moved = (
        {key.removeprefix(kind): a for key, a in arrays.items() if key.startswith(kind)}
        for kind in ("params_", "moved_")
    )
    for degree, expected in ((1, "linearised"), (2, "taylor2")):
        found = taylor_expand(perceptron, params, degree)(moved, arrays["x"])
        np.testing.assert_allclose(found, arrays[expected], rtol=1e-12, atol=1e-13)


def moved(params, key, size):
    leaves, tree = jax.tree.flatten(params)
    keys = jax.random.split(key, len(leaves))
    steps = [size * jax.random.normal(k, leaf.shape) for k, leaf in zip(keys, leaves, strict=True)]
    return jax.tree.unflatten(tree, [a + b for a, b in zip(leaves, steps, strict=True)])


def test_network_of_degree_two_is_its_own_expansion():
    """A linear network with one hidden layer and no biases is quadratic in its weights."""

    def f(w, x):
        return x @ w["in"] @ w["out"]

    keys = jax.random.split(jax.random.key(0), 3)
    w = {"in": jax.random.normal(keys[0], (2, 3)), "out": jax.random.normal(keys[1], (3, 2))}
    far, x = moved(w, keys[2], 3.0), jnp.ones((1, 2))
    np.testing.assert_allclose(taylor_expand(f, w, 2)(far, x), f(far, x), rtol=1e-12)
    assert np.abs(linearize(f, w)(far, x) - f(far, x)).max() > 1


def test_remainder_is_of_one_order_more():
    def f(w, x):
        return jnp.tanh(jnp.tanh(x @ w) @ w)

    w, step = jax.random.normal(jax.random.key(1), (2, 2, 2))
    x = jnp.ones((1, 2))

    @jax.jit
    def errors(size):
        near = w + size * step
        polynomials = [taylor_expand(f, w, degree)(near, x) for degree in (1, 3)]
        return jnp.stack([jnp.max(jnp.abs(p - f(near, x))) for p in polynomials])

    found = np.stack([errors(size) for size in 0.02 * 0.5 ** np.arange(3)])
    slopes = np.diff(np.log(found), axis=0) / np.log(0.5)
    np.testing.assert_allclose(slopes, [[2, 4]] * 2, atol=0.1)


NETWORKS = {
    "relu": (sj.graphs.mlp(4, 2, 1, "relu"), (4,)),
    "sparse": (sj.graphs.mlp(4, 2, 1, "tanh"), (4,)),
    "softmax": (sj.graphs.mixing_transformer(2, 2, 1, 1, "tanh"), (2, 2)),
    "convolution": (sj.graphs.convnet((3, 3), 1, 1, "softplus"), (3, 3)),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", NETWORKS)
def test_derivatives_along_a_line_for_all_kinds_of_lift(name):
    """The coefficients are those of the network along the line, by differences of higher order."""
    module, shape = NETWORKS[name]
    key = jax.random.key(5)
    lift = sj.dense_lift(module, 2)
    if name == "sparse":
        lift = sj.random_sparse_lift(key, module, 5, {"h1": 1, "h2": 2})
    params, x = lift.init(key), jax.random.normal(key, (2, *shape))
    other = moved(params, key, 1.0)

    @jax.jit
    def along(s):
        at = jax.tree.map(lambda a, b: a + s * (b - a), params, other)
        polynomials = [taylor_expand(lift.apply, params, degree)(at, x) for degree in (0, 1, 2)]
        return jnp.stack([lift.apply(at, x), *polynomials])

    h = 1e-3
    back2, back, here, ahead, ahead2 = (along(s * h)[0] for s in (-2.0, -1.0, 0.0, 1.0, 2.0))
    first = (8 * (ahead - back) - (ahead2 - back2)) / (12 * h)
    second = (16 * (ahead + back) - (ahead2 + back2) - 30 * here) / (12 * h**2)
    _, constant, line, parabola = along(1.0)
    assert np.abs(second).max() > 1e-3
    np.testing.assert_allclose(line - constant, first, atol=1e-8, rtol=1e-8)
    np.testing.assert_allclose(parabola - line, second / 2, atol=1e-6, rtol=1e-6)


def test_kernel_of_the_linearisation_is_that_at_the_start():
    def f(w, x):
        return jnp.tanh(x @ w)

    w, far, x = jax.random.normal(jax.random.key(6), (3, 2, 2))
    expected = sj.ntk(f, w, x)
    np.testing.assert_allclose(sj.ntk(linearize(f, w), far, x), expected, rtol=1e-12)
    assert np.abs(sj.ntk(f, far, x) - expected).max() > 0.1


def test_other_parameters_do_not_recompile():
    traces = []

    def f(w, x):
        traces.append(0)
        return jnp.tanh(x * w)

    compiled = eqx.filter_jit(lambda polynomial, w, x: polynomial(w, x))
    x = jnp.ones(2)
    for w in (0.1, 0.2):
        compiled(linearize(f, jnp.asarray(w)), jnp.asarray(w), x)
    assert len(traces) == 1


def test_bad_input_is_named():
    w = jnp.ones(2)
    for degree in (-1, 1.5, True):
        with pytest.raises((ValueError, TypeError), match="degree"):
            taylor_expand(lambda w, x: x @ w, w, degree)
    with pytest.raises(ValueError, match="params0.*int"):
        linearize(lambda w, x: x @ w["a"], {"a": jnp.arange(2)})
    f_lin = linearize(lambda w, x: x @ w, w)
    with pytest.raises(ValueError, match=r"shape \(3,\)"):
        f_lin(jnp.ones(3), jnp.ones((1, 2)))
    with pytest.raises(ValueError, match="structure"):
        f_lin([w], jnp.ones((1, 2)))
