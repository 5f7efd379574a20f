"""The NTK parametrisation: the lift's own function, with the chain rule's kernel."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sparsejax as sj
from sparsejax import lifts


@pytest.mark.slow
def test_function_and_kernel_follow_from_the_lift_by_the_chain_rule():
    module = sj.graphs.mlp(inputs=3, hidden=2, outputs=1)
    lift = sj.random_sparse_lift(jax.random.key(0), module, sizes=9, in_degree=2, law="regular")
    f = lifts.ntk_parametrised(lift, gain={"h1->h2": 3.0, "h2->y": 2.0}, bias_scale=0.5)
    scales = {name: float(scale) for name, scale in f.scales.items()}
    assert scales["h1->h2"] == pytest.approx(3 / np.sqrt(2))  # the in-degree, not the size
    assert scales["h2->y"] == pytest.approx(2 / np.sqrt(9))  # the readout reads all
    biases = [e.name for e in module.edges if module.vertex(e.source).constant]
    assert biases and all(scales[name] == 0.5 for name in biases)
    params = f.init(jax.random.key(1))
    x = jnp.asarray(np.random.default_rng(0).normal(size=(4, 3)))
    weights = {name: scales[name] * w for name, w in params.items()}
    np.testing.assert_allclose(f(params, x), lift.apply(weights, x), rtol=1e-12)
    # Each parameter's derivative carries its scale, so each edge's kernel its square.
    parts = sj.tangent.ntk_by_leaf(lift.apply, weights, x, method="jacobian")
    expected = sum(scales[name] ** 2 * part for name, part in parts.items())
    found = sj.ntk(f.apply, params, x, method="layerwise")
    np.testing.assert_allclose(found, expected, rtol=1e-10)


def test_parameters_are_standard_normal_and_the_start_is_that_of_the_lift():
    lift = sj.dense_lift(sj.graphs.mlp(inputs=8, hidden=2, outputs=1), sizes=60)
    f = lifts.ntk_parametrised(lift, gain=1.5, bias_scale=0.2)
    params = f.init(jax.random.key(0))
    entries = np.concatenate([np.ravel(w) for w in params.values()])
    assert abs(entries.std() - 1) < 0.05 and abs(entries.mean()) < 0.05
    drawn = lift.init(jax.random.key(1), gain=1.5, bias_scale=0.2)
    spread = {name: float(np.std(w)) for name, w in f.weights(params).items()}
    np.testing.assert_allclose(spread["h1->h2"], np.std(drawn["h1->h2"]), rtol=0.05)
    assert f.init(jax.random.key(0), dtype=jnp.float32)["h1->h2"].dtype == np.float32
    # Leaves that have the same shape are drawn apart.
    assert not np.allclose(params["h1->h2"][:1, :1], params["h2->y"][:1])


def test_bad_gains_are_refused():
    lift = sj.dense_lift(sj.graphs.mlp(inputs=3, hidden=1, outputs=1), sizes=4)
    with pytest.raises(ValueError, match="gain: no edge 'h9->y'"):
        lifts.ntk_parametrised(lift, gain={"h9->y": 1.0})
