"""The kernel's spectrum against decompositions of known Jacobians, dense and from products."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings, strategies as st

import sparsejax as sj
from sparsejax import tangent
from sparsejax.tangent.krylov import krylov

N, C = 6, 2


def affine(params, x):
    """`f = b + A theta` for every sample: the Jacobian is data, so that nothing recompiles."""
    return x["b"] + x["a"] @ params


def problem(singular_values, *, n=N, dtype=np.float64, seed=0):
    """`J / sqrt(n)` (n c, p) with these singular values; further ones are zero."""
    rng = np.random.default_rng(seed)
    p = len(singular_values)
    left, _ = np.linalg.qr(rng.normal(size=(n * C, p)))
    right, _ = np.linalg.qr(rng.normal(size=(p, p)))
    matrix = left * np.asarray(singular_values) @ right
    a = np.sqrt(n) * matrix.reshape(n, C, p)
    x = {"a": jnp.asarray(a, dtype), "b": jnp.asarray(rng.normal(size=(n, C)), dtype)}
    return jnp.zeros(p, dtype), x, matrix


WIDE = np.linspace(0.5, 3.0, N * C)  # as many parameters as outputs
TALL = np.array([3.0, 2.0, 0.7, 0.4, 0.1])  # fewer: the kernel is singular


@pytest.fixture(scope="module", params=[WIDE, TALL], ids=["full", "singular"])
def known(request):
    params, x, matrix = problem(request.param)
    exact = np.sort(np.concatenate([request.param**2, np.zeros(N * C - len(request.param))]))[::-1]
    return params, x, matrix, exact


def test_full_spectrum_of_a_known_jacobian(known):
    params, x, matrix, exact = known
    found = tangent.kernel_spectrum(affine, params, x)
    np.testing.assert_allclose(found.eigenvalues, exact, atol=1e-13)
    assert found.unresolved == np.sum(exact == 0)
    assert found.eigenvectors.shape == (N, C, N * C)
    v = np.asarray(found.eigenvectors).reshape(N * C, -1)
    np.testing.assert_allclose(v * exact @ v.T, matrix @ matrix.T, atol=1e-12)
    # The trace is the sum of all squared derivatives, per sample.
    squares = np.sum(np.square(sj.tangent.jacobian(affine, params, x))) / N
    np.testing.assert_allclose(np.sum(found.eigenvalues), squares, rtol=1e-12)


def test_float32_networks_are_decomposed_in_float64():
    params, x, _ = problem(TALL, dtype=np.float32)
    found = tangent.kernel_spectrum(affine, params, x)
    assert found.eigenvalues.dtype == np.float32 and found.unresolved == N * C - len(TALL)
    kernel = tangent.residual_and_kernel(affine, params, x, jnp.zeros((N, C), np.float32))[1]
    exact = np.linalg.eigvalsh(np.asarray(kernel, np.float64))[::-1]
    # To the last bit of every resolved eigenvalue: float32 would lose three digits of the least.
    np.testing.assert_allclose(found.eigenvalues[:5], exact[:5], rtol=1e-7)


def test_lanczos_ends_against_the_exact_ones(known):
    params, x, matrix, exact = known
    found = tangent.extreme_eigenvalues(affine, params, x, count=2, smallest=N * C)
    assert found.status == "converged"
    np.testing.assert_allclose(found.largest, exact[:2], rtol=1e-12)
    np.testing.assert_allclose(found.smallest, exact[::-1], atol=1e-13)
    # More outputs than parameters: that many zeros are known without a product.
    zeros = N * C - len(params)
    assert (found.smallest[:zeros] == 0).all() and (found.smallest_errors[:zeros] == 0).all()
    kernel = matrix @ matrix.T
    vectors = np.asarray(found.vectors).reshape(len(found.vectors), -1)
    values = np.concatenate([found.largest, found.smallest[zeros:]])
    np.testing.assert_allclose(vectors @ kernel, vectors * values[:, None], atol=1e-11)
    if zeros:
        fewer = tangent.extreme_eigenvalues(affine, params, x, count=2, smallest=3)
        assert fewer.smallest.tolist() == [0.0] * 3 and len(fewer.vectors) == 2


@settings(max_examples=10)
@given(st.integers(0, 10**6))
def test_errors_hold_an_eigenvalue_and_ritz_values_stay_inside(seed):
    params, x, _ = problem(WIDE, seed=3)
    found = tangent.extreme_eigenvalues(
        affine, params, x, count=2, smallest=2, max_products=5, key=jax.random.key(seed)
    )
    exact = np.sort(WIDE**2)
    values = np.concatenate([found.largest, found.smallest])
    errors = np.concatenate([found.largest_errors, found.smallest_errors])
    distances = np.abs(values[:, None] - exact).min(axis=1)
    assert (distances <= errors).all()
    assert (found.largest <= exact[::-1][:2] + 1e-13).all()
    assert (found.smallest >= exact[:2] - 1e-13).all()
    assert found.status == "not_converged" and found.products == 9


def test_errors_are_the_residuals_of_lanczos():
    """`|beta_k| |last component|` of matfree's decomposition, found there without a product."""
    from matfree import decomp

    params, x, matrix = problem(WIDE)
    start = np.random.default_rng(1).normal(size=(N, C))
    kernel = jnp.asarray(matrix @ matrix.T)
    decompose = decomp.tridiag_sym(5, custom_vjp=False)
    _, small, residual, _ = decompose(lambda v: kernel @ v, jnp.asarray(start.ravel()))
    values, vectors = np.linalg.eigh(small)
    bounds = np.linalg.norm(residual) * np.abs(vectors[-1])
    found = tangent.extreme_eigenvalues(
        affine, params, x, count=2, smallest=2, max_products=5, start=jnp.asarray(start)
    )
    np.testing.assert_allclose(found.largest, values[::-1][:2], rtol=1e-10)
    np.testing.assert_allclose(found.largest_errors, bounds[::-1][:2], rtol=1e-8)
    np.testing.assert_allclose(found.smallest_errors, bounds[:2], rtol=1e-8)


def test_a_warm_start_needs_fewer_products():
    params, x, _ = problem(WIDE)
    cold = tangent.extreme_eigenvalues(affine, params, x)
    near = {**x, "a": x["a"] * (1 + 1e-4 * jnp.cos(jnp.arange(N * C).reshape(N, C, 1)))}
    few = {"smallest": 0, "max_products": 2, "rtol": 1e-3}
    warm = tangent.extreme_eigenvalues(affine, params, near, start=cold.vectors[0], **few)
    again = tangent.extreme_eigenvalues(affine, params, near, **few)
    assert warm.status == "converged" and again.status == "not_converged"


def test_a_space_that_closes_is_no_failure():
    """matfree divides by zero there; what it found before is kept."""
    kernel = jnp.diag(jnp.array([4.0, 1.0, 1.0, 1.0]))

    @jax.jit
    def space(start):
        pairs = krylov(lambda v: kernel @ v, start, 3)
        return pairs.found, pairs.values

    found, values = space(jnp.array([1.0, 0.0, 0.0, 0.0]))
    assert found.tolist() == [True, False, False] and values[0] == 4
    zero = tangent.extreme_eigenvalues(
        affine, jnp.zeros(N * C), {"a": jnp.zeros((N, C, N * C)), "b": jnp.zeros((N, C))}
    )
    assert zero.status == "converged" and zero.largest == zero.smallest == 0
    nan = tangent.extreme_eigenvalues(
        affine, jnp.zeros(N * C), {"a": jnp.full((N, C, N * C), jnp.nan), "b": jnp.zeros((N, C))}
    )
    assert nan.status == "nan"


def test_density_is_exact_where_the_space_is_whole(known):
    """For every sign vector `sum weights g(nodes)` is `z^T g(K) z / m`, for any function g."""
    params, x, matrix, exact = known
    key = jax.random.key(2)
    density = tangent.spectral_density(affine, params, x, key, samples=3, products=12)
    np.testing.assert_allclose(density.weights.sum(axis=1), 1, rtol=1e-12)
    w, v = np.linalg.eigh(matrix @ matrix.T)
    for row, sub in enumerate(jax.random.split(key, 3)):
        z = np.asarray(jax.random.rademacher(sub, (N * C,), float))
        for power in (1, 2, 7):
            by_nodes = np.sum(density.weights[row] * density.nodes[row] ** power)
            np.testing.assert_allclose(by_nodes, z @ (v * w**power) @ v.T @ z / (N * C), rtol=1e-10)
    mean = density.moment(2)
    grid = np.linspace(-10, 20, 3001)
    smooth = np.asarray(density.smoothed(jnp.asarray(grid), 0.5))
    step = grid[1] - grid[0]
    np.testing.assert_allclose(smooth.sum() * step, 1, rtol=1e-6)
    np.testing.assert_allclose((smooth * grid).sum() * step, density.moment(1).value, rtol=1e-6)
    # A Gaussian of deviation 0.5 adds its variance to the second moment.
    second = (smooth * grid**2).sum() * step
    np.testing.assert_allclose(second, mean.value + 0.25, rtol=1e-6)


@pytest.mark.slow
def test_traces_and_determinant_have_honest_errors(known):
    params, x, matrix, exact = known
    found = tangent.trace_estimates(affine, params, x, jax.random.key(0), samples=200)
    kernel = matrix @ matrix.T
    # Hutchinson's variance with signs is known: 2 (||A||_F^2 - sum of squared diagonal entries).
    for estimate, a in ((found.trace, kernel), (found.frobenius_squared, kernel @ kernel)):
        deviation = np.sqrt(2 * (np.sum(a**2) - np.sum(np.diag(a) ** 2)) / 200)
        np.testing.assert_allclose(estimate.standard_error, deviation, rtol=0.2)
        assert abs(estimate.value - np.trace(a)) < 4 * deviation
    ridge = 0.3
    determinant = tangent.log_determinant(
        affine, params, x, ridge, jax.random.key(1), samples=200, products=12
    )
    _, slogdet = np.linalg.slogdet(kernel + ridge * np.eye(N * C))
    logarithm = np.linalg.eigh(kernel)
    a = logarithm[1] * np.log(np.maximum(logarithm[0], 0) + ridge) @ logarithm[1].T
    deviation = np.sqrt(2 * (np.sum(a**2) - np.sum(np.diag(a) ** 2)) / 200)
    np.testing.assert_allclose(determinant.standard_error, deviation, rtol=0.2)
    assert abs(determinant.value - slogdet) < 4 * deviation
    # Too few products err upwards, as Gauss quadrature does for the logarithm.
    few = tangent.log_determinant(
        affine, params, x, ridge, jax.random.key(1), samples=200, products=2
    )
    assert few.value > determinant.value


def test_bad_input_is_refused():
    params, x, _ = problem(TALL)
    key = jax.random.key(0)
    ends = tangent.extreme_eigenvalues
    for call, said in [
        (lambda: ends(affine, params, x, count=0), r"count must lie in \[1, 5\]"),
        (lambda: ends(affine, params, x, smallest=13), r"smallest must lie in \[0, 12\]"),
        (lambda: ends(affine, params, x, max_products=0), "max_products must be positive"),
        (lambda: ends(affine, params, x, rtol=0.0), "rtol must be positive"),
        (lambda: ends(affine, params, x, start=jnp.ones(3)), r"start has shape \(3,\)"),
        (
            lambda: tangent.spectral_density(affine, params, x, key, samples=0),
            "samples must be positive",
        ),
        (
            lambda: tangent.trace_estimates(affine, params, x, key, samples=0),
            "samples must be positive",
        ),
        (lambda: tangent.log_determinant(affine, params, x, 0.0, key), "ridge must be positive"),
        (
            lambda: tangent.SpectralDensity(jnp.ones((1, 1)), jnp.ones((1, 1)), 1).smoothed(
                jnp.ones(2), 0.0
            ),
            "width must be positive",
        ),
    ]:
        with pytest.raises(ValueError, match=said):
            call()
