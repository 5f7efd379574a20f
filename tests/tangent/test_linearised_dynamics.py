"""The linearised network's training against steps, matrix exponentials and neural-tangents."""

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.linalg

import sparsejax as sj
from sparsejax.tangent import (
    linearised_descent,
    linearised_flow,
    linearised_flow_of_loss,
    linearize,
)
from sparsejax.tangent.linearised_decay import DescentDecay, FlowDecay

FROZEN = Path(__file__).parent / "frozen" / "perceptron.npz"
INF = np.inf


def perceptron(params, x):
    h = jnp.tanh(x @ params["w1"] + params["b1"][None])
    h = jnp.maximum(h @ params["w2"] + params["b2"][None], 0)
    return h @ params["w3"] + params["b3"][None]


def test_neural_tangents_gives_the_same():
    """Its time is that of half the mean over samples and outputs: exp(-K t / y.size)."""
    with np.load(FROZEN) as held:
        arrays = {key: jnp.asarray(value) for key, value in held.items()}
    params = {k.removeprefix("params_"): a for k, a in arrays.items() if k.startswith("params_")}
    x, x_test, y = (arrays[name] for name in ("x", "x2", "y"))
    path = linearised_flow(perceptron, params, x, y)
    n, outputs = y.shape
    ts = np.append(np.asarray(arrays["mse_times"]) / (2 * outputs), INF)
    for found, name in ((path.outputs(ts), "train"), (path.predict(x_test, ts), "test")):
        expected = np.concatenate([arrays[f"mse_{name}"], arrays[f"mse_{name}_limit"][None]])
        np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-9)


def network(w, x):
    """Two outputs, six parameters, of which the last has no part in it."""
    h = jnp.tanh(x @ w["in"])
    return jnp.stack([h * w["out"][0], h * h * w["out"][1]], axis=1)


W = {"in": jnp.array([0.7, -0.4, 0.2]), "out": jnp.array([1.5, -0.8, 3.0])}
X = jnp.asarray(np.random.default_rng(0).normal(size=(4, 3)))
Y = jnp.asarray(np.random.default_rng(1).normal(size=(4, 2)))
X_TEST = jnp.asarray(np.random.default_rng(2).normal(size=(3, 3)))


def by_hand():
    """Jacobian over sqrt(n) and residual over sqrt(n), from `jax.jacobian`."""
    rows = jax.jacobian(network)(W, X)
    j = np.concatenate([rows["in"].reshape(8, 3), rows["out"].reshape(8, 3)], axis=1)
    return j / 2, np.asarray(network(W, X) - Y).reshape(-1) / 2


def flat(params):
    return np.concatenate([params["in"], params["out"]], axis=-1)


@pytest.fixture(scope="module")
def flow():
    return linearised_flow(network, W, X, Y)


@pytest.fixture(scope="module")
def descent():
    return linearised_descent(network, W, X, Y, 0.1)


def test_flow_is_the_matrix_exponential(flow):
    """Eight outputs, five parameters: what the kernel does not see stays."""
    j, r = by_hand()
    assert flow.clipped == 3 and flow.largest_clipped < 1e-14 and flow.status == "converges"
    ts = np.array([0.0, 0.3, 7.0])
    # Residuals and weights at once: d/dt (r, u) = -2 (K r, J^T r).
    generator = np.block([[-2 * j @ j.T, np.zeros((8, 6))], [-2 * j.T, np.zeros((6, 6))]])
    exact = np.stack([scipy.linalg.expm(generator * t) @ np.append(r, np.zeros(6)) for t in ts])
    outputs = np.asarray(Y) + 2 * exact[:, :8].reshape(3, 4, 2)
    np.testing.assert_allclose(flow.outputs(ts), outputs, atol=1e-12)
    np.testing.assert_allclose(flow.losses(ts), np.square(exact[:, :8]).sum(axis=1), rtol=1e-12)
    np.testing.assert_allclose(flat(flow.params(ts)), flat(W) + exact[:, 8:], atol=1e-12)
    np.testing.assert_allclose(flow.distance(ts), np.linalg.norm(exact[:, 8:], axis=1), atol=1e-12)


def test_limit_is_the_pseudo_inverse_and_the_floor_stays(flow):
    j, r = by_hand()
    step = -np.linalg.pinv(j) @ r
    np.testing.assert_allclose(flat(flow.params(INF)), flat(W) + step, rtol=1e-10)
    np.testing.assert_allclose(flow.distance(INF), np.linalg.norm(step), rtol=1e-10)
    floor = np.sum((r + j @ step) ** 2)
    assert floor > 0.01
    np.testing.assert_allclose(flow.losses(INF), floor, rtol=1e-10)


def test_descent_is_descent(descent):
    """Step by step, weights, losses and where they lead, on training and test points."""
    f_lin = linearize(network, W)
    step = jax.jit(jax.value_and_grad(sj.squared_loss(f_lin, X, Y)))
    losses, path, steps = [], [W], np.arange(4)
    for _ in steps:
        loss, slope = step(path[-1])
        losses.append(loss)
        path.append(jax.tree.map(lambda w, s: w - 0.1 * s, path[-1], slope))
    weights = jax.tree.map(lambda *w: jnp.stack(w), *path[:-1])
    np.testing.assert_allclose(descent.losses(steps), losses, rtol=1e-12)
    found = descent.params(steps)
    np.testing.assert_allclose(flat(found), flat(weights), atol=1e-13)
    for x, outputs in ((X, descent.outputs(steps)), (X_TEST, descent.predict(X_TEST, steps))):
        expected = jax.vmap(lambda w: f_lin(w, x))(weights)  # noqa: B023
        np.testing.assert_allclose(outputs, expected, atol=1e-12)


@pytest.mark.slow
def test_flow_of_the_linearised_network_and_of_its_outputs(flow):
    """Three ways to the same flow: in the weights, in the outputs, in closed form."""
    t1, settings = 2.0, {"saveat": np.array([0.5, 2.0]), "solver": "rk4", "dt": 0.01}
    loss = sj.squared_loss(linearize(network, W), X, Y)
    weights = sj.gradient_flow(loss, W, t1, **settings)
    outputs = linearised_flow_of_loss(
        network, W, X, Y, lambda f, y: jnp.sum((f - y) ** 2) / 4, t1, **settings
    )
    ts = settings["saveat"]
    for found in (weights.params, outputs.params):
        np.testing.assert_allclose(flat(found), flat(flow.params(ts)), atol=1e-8)
    np.testing.assert_allclose(outputs.outputs, flow.outputs(ts), atol=1e-8)
    np.testing.assert_allclose(outputs.predict(X_TEST), flow.predict(X_TEST, ts), atol=1e-8)
    np.testing.assert_allclose(outputs.distances, flow.distance(ts), rtol=1e-8)
    for name in ("losses", "grad_norms", "path_lengths", "dissipation"):
        found = getattr(outputs.trajectory, name)
        np.testing.assert_allclose(found, getattr(weights, name), rtol=1e-8)


def test_other_losses_in_outputs_and_in_weights():
    labels = jnp.sign(Y)
    settings = {"saveat": np.array([1.0, 5.0]), "solver": "rk4", "dt": 0.05}
    f_lin = linearize(network, W)
    weights = sj.gradient_flow(sj.logistic_loss(f_lin, X, labels), W, 5.0, **settings)

    def logistic(outputs, labels):
        return jnp.sum(jax.nn.softplus(-labels * outputs)) / 4

    outputs = linearised_flow_of_loss(network, W, X, labels, logistic, 5.0, **settings)
    assert outputs.status == "completed" and outputs.clipped == 3
    np.testing.assert_allclose(outputs.losses, weights.losses, rtol=1e-9)
    np.testing.assert_allclose(flat(outputs.params), flat(weights.params), atol=1e-9)
    with pytest.raises(ValueError, match="scalar"):
        linearised_flow_of_loss(network, W, X, Y, lambda f, y: f - y, 1.0)


def test_ridge_is_that_of_the_loss():
    """Against descent with the penalty, and the ridge regression at infinity."""
    j, r = by_hand()
    path = linearised_descent(network, W, X, Y, 0.05, ridge=0.3)
    u = np.zeros(6)
    for _ in range(5):
        u = u - 0.05 * (2 * j.T @ (r + j @ u) + 2 * 0.3 * u)
    np.testing.assert_allclose(flat(path.params(5)), flat(W) + u, atol=1e-13)
    np.testing.assert_allclose(path.losses(5), np.sum((r + j @ u) ** 2), rtol=1e-12)
    limit = -np.linalg.solve(j.T @ j + 0.3 * np.eye(6), j.T @ r)
    ridge_flow = linearised_flow(network, W, X, Y, ridge=0.3)
    for found in (path, ridge_flow):
        np.testing.assert_allclose(flat(found.params(INF)), flat(W) + limit, rtol=1e-10)
        np.testing.assert_allclose(found.losses(INF), np.sum((r + j @ limit) ** 2), rtol=1e-10)


@pytest.mark.parametrize("step_size", [0.75, 1.0, 1.25])
def test_factors_of_every_sign_and_size(step_size):
    """One mode of eigenvalue one: the factor is `1 - 2 step_size`, or the mode is not seen."""
    x, y = jnp.ones((1, 1)), jnp.array([1.0])
    path = linearised_descent(lambda w, x: x @ w, jnp.zeros(1), x, y, step_size)
    factor = 1 - 2 * step_size
    steps = np.arange(5)
    np.testing.assert_allclose(path.outputs(steps)[:, 0], 1 - factor**steps, rtol=1e-13, atol=1e-15)
    np.testing.assert_allclose(path.losses(steps), factor ** (2 * steps), rtol=1e-12)
    expected = {1.0: ("oscillates", np.nan), 1.25: ("diverges", INF)}
    status, limit = expected.get(step_size, ("converges", 0.0))
    assert path.status == status
    np.testing.assert_array_equal(path.losses(INF), limit)
    if path.status == "diverges":
        late = np.array([INF, 10_000])  # at infinity, and where it overflows on the way
        for found in (path.outputs(late), path.params(late), path.predict(x, late)):
            assert np.isinf(found).all()
        assert np.isinf(path.distance(late)).all()
    elif path.status == "converges":
        np.testing.assert_allclose(path.params(INF), 1, rtol=1e-15)


def test_divergence_leaves_no_nan_among_many_modes():
    path = linearised_descent(network, W, X, Y, 50.0)
    late = np.array([INF, 1000.0])
    assert path.status == "diverges" and np.isfinite(path.losses(3))
    for found in (path.losses(late), path.outputs(late), flat(path.params(late))):
        assert np.isposinf(found).all()


def test_slow_modes_keep_their_digits():
    """`(1 - exp(-2 w t)) / w` is `2 t` for small w, and steps do the same."""
    w = jnp.array([0.0, 1e-300, 1e-18, 1e-3])
    for decay, t, time in ((FlowDecay(0.0), 3.0, 3.0), (DescentDecay(0.0, 0.5), 6.0, 3.0)):
        remaining, moved = jax.jit(decay)(w, jnp.asarray(t))
        np.testing.assert_allclose(moved[1:3], 2 * time, rtol=1e-14)
        assert remaining[0] == 1 and moved[0] == 0
        np.testing.assert_allclose(1e-3 * moved[3], 1 - remaining[3], rtol=1e-12)
    once_by_one = 1.0
    for _ in range(6):
        once_by_one *= 1 - 1e-3
    np.testing.assert_allclose(remaining[3], once_by_one, rtol=1e-14)


def test_clipped_modes_are_reported_and_stay():
    """Eigenvalues 1, 1e-8 and 1e-17 of a diagonal kernel: the last is below its resolution."""
    x = jnp.diag(jnp.sqrt(3 * jnp.array([1.0, 1e-8, 1e-17])))
    path = linearised_flow(lambda w, x: x @ w, jnp.zeros(3), x, jnp.ones(3))
    assert path.clipped == 1
    np.testing.assert_allclose(path.largest_clipped, 1e-17, rtol=1e-6)
    np.testing.assert_allclose(path.outputs(INF), [1, 1, 0], atol=1e-12)
    np.testing.assert_allclose(path.losses(INF), 1 / 3, rtol=1e-12)


def test_decomposition_is_exact_where_jax_runs_in_float32():
    exact = linearised_flow(network, W, X, Y)
    with jax.enable_x64(False):
        w, x, y = jax.tree.map(lambda a: jnp.asarray(np.asarray(a), jnp.float32), (W, X, Y))
        path = linearised_flow(network, w, x, y)
        found = [path.outputs(0.7), path.predict(x, 0.7), path.distance(0.7), path.losses(0.7)]
        assert path.eigenvalues.dtype == np.float64
        assert all(array.dtype == np.float32 for array in found)
        # A factor of 1/2 for 60 steps: exponents of float32 would leave five digits.
        one = jnp.ones((1, 1), jnp.float32)
        halved = linearised_descent(lambda w, x: x @ w, one[0] * 0, one, one[0], 0.25)
        np.testing.assert_allclose(halved.losses(60), 0.5**120, rtol=3e-7)
    expected = [exact.outputs(0.7), exact.outputs(0.7), exact.distance(0.7), exact.losses(0.7)]
    for a, b in zip(found, expected, strict=True):
        np.testing.assert_allclose(a, b, rtol=3e-5, atol=3e-6)


def test_works_inside_jit(flow):
    """The whole path, and times alone."""
    found = jax.jit(lambda y: linearised_flow(network, W, X, y).distance(0.7))(Y)
    np.testing.assert_allclose(found, flow.distance(0.7), rtol=1e-9)
    np.testing.assert_allclose(jax.jit(lambda t: flow.losses(t))(0.7), flow.losses(0.7), rtol=1e-13)


def test_bad_input_is_named(flow, descent):
    for t in (-1.0, np.nan):
        with pytest.raises(ValueError, match="negative or NaN"):
            flow.losses(t)
    with pytest.raises(ValueError, match="whole"):
        descent.losses(1.5)
    with pytest.raises(ValueError, match="step_size"):
        linearised_descent(network, W, X, Y, 0.0)
    with pytest.raises(ValueError, match="ridge"):
        linearised_flow(network, W, X, Y, ridge=-1.0)
    with pytest.raises(ValueError, match="shape"):
        linearised_flow(network, W, X, Y[:, 0])
    assert linearised_flow(lambda w, x: x @ w / 0, jnp.ones(3), X, Y[:, 0]).status == "nan"
