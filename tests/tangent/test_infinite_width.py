"""Dense ReLU lifts against their limit of infinite width, and float32 against float64."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sparsejax as sj
from sparsejax.claims.statistics import ladder_slope_interval
from sparsejax.tangent import ntk_by_leaf, sum_by_group

RNG = np.random.default_rng(0)
X = RNG.normal(size=(5, 3))
WIDTHS, DRAWS = (8, 32, 128), 200


def limits():
    """Arc-cosine kernels of Cho and Saul 2009, of order 0 (input weights) and 1 (readouts)."""
    norms = np.linalg.norm(X, axis=1)
    cosine = np.clip(X @ X.T / np.outer(norms, norms), -1, 1)
    angle = np.arccos(cosine)
    return {
        "h1": X @ X.T * (np.pi - angle) / (2 * np.pi),
        "y": np.outer(norms, norms) * (np.sin(angle) + (np.pi - angle) * cosine) / (2 * np.pi),
    }


@pytest.fixture(scope="module")
def kernels():
    """By layer and width, the kernels of many draws of `f = sum_j a_j relu(w_j . x) / sqrt(n)`."""
    module = sj.graphs.mlp(inputs=3, hidden=1, outputs=1, activation="relu", bias=False)
    found = {"h1": [], "y": []}
    for width in WIDTHS:
        lift = sj.dense_lift(module, width)

        def scaled(params, x, lift=lift, width=width):
            return lift.apply(params, x) / np.sqrt(width)

        @jax.jit
        @jax.vmap
        def parts(key, lift=lift, scaled=scaled):
            shapes = jax.eval_shape(lift.init, key)
            params = {
                name: jax.random.normal(jax.random.fold_in(key, number), leaf.shape)
                for number, (name, leaf) in enumerate(shapes.items())
            }
            return ntk_by_leaf(scaled, params, jnp.asarray(X))

        layers = sum_by_group(
            parts(jax.random.split(jax.random.key(width), DRAWS)), module.edge_targets
        )
        for name, kernel in layers.items():
            found[name].append(np.asarray(kernel))
    return found


@pytest.mark.parametrize("layer", ["h1", "y"])
def test_each_layer_tends_to_its_arc_cosine_kernel(kernels, layer):
    """A sum of independent terms: the limit on average at any width, at a distance of n^(-1/2)."""
    limit = limits()[layer]
    squares = []
    for kernel in kernels[layer]:
        off = kernel - limit
        error = off.std(axis=0, ddof=1) / np.sqrt(DRAWS)
        assert (np.abs(off.mean(axis=0)) < 4.5 * error + 1e-12).all()
        squares.append((off**2).mean(axis=(1, 2)))
    # Of mean squares the slope is -1, exactly but for the draws.
    _, low, high = ladder_slope_interval(
        np.array(WIDTHS, float), np.stack(squares, axis=1), confidence=0.999
    )
    assert low / 2 < -0.5 < high / 2
    assert (high - low) / 2 < 0.3


def network(p, x):
    return jnp.tanh(x @ p["in"]) @ p["out"]


def near_duplicates():
    """Four samples, two of them at a distance of 1e-5, with different targets."""
    x = RNG.normal(size=(4, 2))
    x[3] = x[2] + 1e-5 * np.array([1.0, -1.0])
    params = {"in": RNG.normal(size=(2, 12)), "out": RNG.normal(size=(12, 1))}
    return jax.tree.map(jnp.asarray, (params, x, np.array([[1.0], [-1.0], [0.5], [-0.5]])))


def single(tree):
    return jax.tree.map(lambda leaf: leaf.astype(jnp.float32), tree)


def test_what_float32_keeps_and_what_it_loses():
    params, x, y = near_duplicates()
    kernel = np.asarray(sj.ntk(network, params, x))
    rough = np.asarray(sj.ntk(network, single(params), single(x)))
    largest = np.linalg.eigvalsh(kernel)[-1]
    assert rough.dtype == np.float32
    # Kernel: six digits of its largest entry.
    assert 0 < np.abs(rough - kernel).max() < 1e-6 * np.abs(kernel).max()
    # Tangent constant at a level that the small eigenvalue has no part in: five digits. What the
    # near duplicates disagree in is a share of the loss that only it could take away.
    initial = float(sj.squared_loss(network, x, y)(params))
    disagreement = 0.5**2 / 2  # (1/4) times half the square of the difference of their targets
    for eps, attainable in (
        (disagreement + 0.3 * (initial - disagreement), True),
        (0.5 * disagreement, False),
    ):
        exact = float(sj.tangent_constant(network, params, x, y, eps))
        found = float(sj.tangent_constant(network, single(params), single(x), single(y), eps))
        assert np.isfinite(exact)
        if attainable:
            np.testing.assert_allclose(found, exact, rtol=1e-5)
        else:  # an eigenvalue below the roundings of the largest counts as zero
            assert np.isinf(found) and exact > 1e3
    # Least eigenvalue: right in float64, by the singular values of the Jacobian; no digit of it in
    # float32, where it is within roundings of the largest from the right one, and no nearer.
    jacobian = np.asarray(sj.tangent.jacobian(network, params, x))[:, 0]
    least = np.linalg.svd(jacobian, compute_uv=False)[-1] ** 2
    assert least < 1e-9 * largest
    assert abs(np.linalg.eigvalsh(kernel)[0] - least) < 1e-3 * least
    off = abs(np.linalg.eigvalsh(rough.astype(float))[0] - least)
    assert least < off < 4 * np.finfo(np.float32).eps * largest
