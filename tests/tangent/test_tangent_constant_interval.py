"""Intervals from products alone against the dense constant, a generic solver and weak duality."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.optimize
from hypothesis import given, settings, strategies as st

import sparsejax as sj
from sparsejax.tangent.bidiagonalisation import Bidiagonalisation
from sparsejax.tangent.linearisation import Linearisation
from sparsejax.tangent.small_secular import SmallProblem
from sparsejax.tangent.tangent_constant_interval import _Ends, _Proof

N, C, P = 6, 2, 9


def affine(params, x):
    """`f = b + A theta` for every sample: the matrix is data, so that nothing recompiles."""
    theta = jnp.concatenate([params["w"].ravel(), params["v"]])
    return x["b"] + x["a"] @ theta


def problem(seed, *, decay=0.0, dtype=np.float64):
    """A random Jacobian (12, 9) with singular values that decay, and a residual."""
    rng = np.random.default_rng(seed)
    left, _ = np.linalg.qr(rng.normal(size=(N * C, P)))
    right, _ = np.linalg.qr(rng.normal(size=(P, P)))
    matrix = (left * np.exp(-decay * np.arange(P))) @ right
    offset = rng.normal(size=(N, C))
    params = {"w": jnp.zeros((2, 3), dtype), "v": jnp.zeros(3, dtype)}
    x = {"a": jnp.asarray(matrix.reshape(N, C, P), dtype), "b": jnp.asarray(offset, dtype)}
    # v precedes w in the raveled order of a dict, but comes last in `affine`.
    return params, x, jnp.zeros((N, C), dtype), matrix / np.sqrt(N), offset.ravel() / np.sqrt(N)


def floor_of(matrix, r):
    rest = r - matrix @ np.linalg.lstsq(matrix, r)[0]
    return float(rest @ rest)


@settings(max_examples=10)
@given(st.integers(0, 10**6), st.sampled_from([0.0, 0.5, 1.5]), st.floats(0.02, 0.98))
def test_holds_the_dense_constant(seed, decay, share):
    params, x, y, matrix, r = problem(seed, decay=decay)
    floor = floor_of(matrix, r)
    eps = floor + share * (float(r @ r) - floor)
    exact = float(sj.tangent_constant(affine, params, x, y, eps))
    found = sj.tangent.tangent_constant_interval(affine, params, x, y, eps, rtol=1e-4)
    assert found.status == "converged"
    assert found.lower * (1 - 1e-9) <= exact <= found.upper * (1 + 1e-9)
    assert found.upper <= (1 + 1e-4) * found.lower
    # The direction is what it says, by the matrix itself.
    u = np.concatenate([found.direction["w"].ravel(), found.direction["v"]])
    assert np.linalg.norm(u) == pytest.approx(found.upper, rel=1e-12)
    assert np.sum((r + matrix @ u) ** 2) <= eps
    assert np.sum((r + matrix @ u) ** 2) == pytest.approx(found.attained, rel=1e-12)
    # So is the dual vector: its quotient, evaluated here, is the lower end.
    dual = np.asarray(found.dual).ravel()
    quotient = (-r @ dual - np.sqrt(eps) * np.linalg.norm(dual)) / np.linalg.norm(matrix.T @ dual)
    assert quotient == pytest.approx(found.lower, rel=1e-9)


@settings(max_examples=50)
@given(st.integers(0, 10**6))
def test_weak_duality_for_any_vector(seed):
    """`(-<r, y> - q ||y||) / ||J^T y||` never exceeds the constant, and attains it at one `y`."""
    params, x, y, matrix, r = problem(7)
    eps = 0.6 * float(r @ r)
    exact = float(np.float64(_dense(matrix, r, eps)))
    rng = np.random.default_rng(seed)
    kernel = matrix @ matrix.T
    optimal = -np.linalg.solve(kernel + 10.0 ** rng.uniform(-3, 1) * np.eye(len(r)), r)
    for dual in (rng.normal(size=len(r)), optimal + 0.1 * (seed % 2) * rng.normal(size=len(r))):
        value = -r @ dual - np.sqrt(eps) * np.linalg.norm(dual)
        assert value <= exact * np.linalg.norm(matrix.T @ dual) * (1 + 1e-12)


def _dense(matrix, r, eps):
    w, v = np.linalg.eigh(matrix @ matrix.T)
    c, w = v.T @ r, np.maximum(w, 0)

    def misfit(log_mu):
        mu = np.exp(log_mu)
        return np.sum((mu * c / (w + mu)) ** 2) - eps

    mu = np.exp(scipy.optimize.brentq(misfit, -30, 30, xtol=1e-14))
    return np.sqrt(np.sum(w * c**2 / (w + mu) ** 2))


def test_against_a_generic_solver():
    params, x, y, matrix, r = problem(3, decay=0.3)
    eps = 0.5 * float(r @ r) + 0.5 * floor_of(matrix, r)
    best = scipy.optimize.minimize(
        lambda u: u @ u,
        np.full(P, 0.01),
        jac=lambda u: 2 * u,
        constraints={
            "type": "ineq",
            "fun": lambda u: eps - np.sum((r + matrix @ u) ** 2),
            "jac": lambda u: -2 * matrix.T @ (r + matrix @ u),
        },
        method="SLSQP",
        options={"maxiter": 500, "ftol": 1e-15},
    )
    assert best.success
    found = sj.tangent.tangent_constant_interval(affine, params, x, y, eps, rtol=1e-6)
    assert found.lower * (1 - 1e-6) <= np.sqrt(best.fun) <= found.upper * (1 + 1e-6)


def test_path_equals_single_solves_and_falls():
    params, x, y, matrix, r = problem(5, decay=0.4)
    floor, loss = floor_of(matrix, r), float(r @ r)
    levels = [floor + share * (loss - floor) for share in (0.01, 0.2, 0.5, 0.9, 1.1)]
    path = sj.tangent.tangent_constant_path(affine, params, x, y, levels, rtol=1e-8)
    singles = [
        sj.tangent.tangent_constant_interval(affine, params, x, y, eps, rtol=1e-8) for eps in levels
    ]
    for one, other in zip(path, singles, strict=True):
        assert (one.lower, one.upper) == pytest.approx((other.lower, other.upper), rel=2e-8)
        assert one.status == other.status == "converged"
    assert all(a.lower > b.upper for a, b in zip(path, path[1:], strict=False))
    assert path[-1].upper == 0  # the loss is below eps already
    # One bidiagonalisation: less than twice the hardest level, not the sum of all.
    assert path[0].products <= singles[0].products + 2 * 3


def test_infinite_is_suspected_and_proved_far():
    params, x, y, matrix, r = problem(5)
    floor = floor_of(matrix, r)
    found = sj.tangent.tangent_constant_interval(affine, params, x, y, 0.99 * floor)
    assert found.status == "infinite_suspected" and found.upper == np.inf
    assert found.lower > 1e6 * np.linalg.norm(r)
    assert sj.tangent_constant(affine, params, x, y, 0.99 * floor) == np.inf
    beyond = sj.tangent.tangent_constant_interval(affine, params, x, y, 1.01 * floor)
    assert beyond.status == "converged"


def test_without_slack_there_is_a_lower_end_only():
    """At `eps = 0` no evaluation can show that a step attains it; from below it is the limit."""
    params, x, y, matrix, r = problem(5)
    u = np.linalg.lstsq(matrix, r)[0]
    x = x | {"b": jnp.asarray((matrix @ u).reshape(N, C) * np.sqrt(N))}
    found = sj.tangent.tangent_constant_interval(affine, params, x, y, 0.0)
    assert found.status == "not_converged" and found.upper == np.inf
    assert found.lower == pytest.approx(np.linalg.norm(u), rel=1e-6)
    assert found.lower <= np.linalg.norm(u)


def test_budget_nan_and_float32_keep_what_is_proved():
    params, x, y, matrix, r = problem(2, decay=0.4)
    eps = floor_of(matrix, r) + 0.05 * float(r @ r)
    exact = _dense(matrix, r, eps)
    ends = [
        sj.tangent.tangent_constant_interval(affine, params, x, y, eps, max_products=most)
        for most in (1, 6, 10, 16)
    ]
    for found in ends:  # whatever was spent, the interval holds
        assert found.lower <= exact * (1 + 1e-12) and found.upper >= exact * (1 - 1e-12)
    assert ends[0].status == "not_converged" and ends[-1].gap < ends[1].gap
    assert ends[-1].products <= 16

    broken = x | {"b": x["b"].at[0, 0].set(jnp.nan)}
    found = sj.tangent.tangent_constant_interval(affine, params, broken, y, eps)
    assert found.status == "nan" and np.isnan(found.lower)
    broken = x | {"a": x["a"].at[0, 0, 0].set(jnp.nan)}
    found = sj.tangent.tangent_constant_interval(affine, params, broken, y, eps)
    assert found.status == "nan" and np.isnan(found.lower)

    params, x, y, _, _ = problem(2, decay=0.4, dtype=np.float32)
    single = sj.tangent.tangent_constant_interval(affine, params, x, y, eps)
    assert single.dual.dtype == jnp.float32 and single.status == "converged"
    assert single.lower <= exact <= single.upper


def test_equivariance():
    """Rotations of outputs, and a scale of the parameters, carry over exactly."""
    params, x, y, matrix, r = problem(4)
    eps = 0.5 * (float(r @ r) + floor_of(matrix, r))
    base = sj.tangent.tangent_constant_interval(affine, params, x, y, eps, rtol=1e-9)
    turned = jnp.asarray([[0.6, -0.8], [0.8, 0.6]])
    rotated = {"a": jnp.einsum("cd,ndp->ncp", turned, x["a"]), "b": x["b"] @ turned.T}
    scaled = {"a": 4 * x["a"], "b": x["b"]}
    doubled = jax.tree.map(lambda leaf: jnp.concatenate([leaf, leaf]), x)
    for other, factor in ((rotated, 1.0), (scaled, 0.25), (doubled, 1.0)):
        targets = jnp.zeros(other["b"].shape)
        found = sj.tangent.tangent_constant_interval(affine, params, other, targets, eps, rtol=1e-9)
        assert found.upper == pytest.approx(factor * base.upper, rel=1e-8)
        assert found.lower == pytest.approx(factor * base.lower, rel=1e-8)


def test_bidiagonalisation_keeps_its_relations():
    """`J V = U B`, `J^T U = V L^T`, both bases orthonormal; bidiagonal without further starts."""
    params, x, y, matrix, _ = problem(6, decay=1.5)
    order = np.r_[np.arange(6, 9), np.arange(6)]  # "v" comes before "w" when raveled
    matrix = matrix[:, order]
    rng = np.random.default_rng(0)
    for starts in ((), (jnp.asarray(rng.normal(size=N * C)),)):
        krylov = Bidiagonalisation(Linearisation(affine, params, x, y), starts)
        for _ in range(5):
            krylov.step()
        left, right = (np.asarray(b.rows[: b.count]) for b in (krylov.left, krylov.right))
        for basis in (left, right):
            np.testing.assert_allclose(basis @ basis.T, np.eye(len(basis)), atol=1e-13)
        upper, lower = krylov.upper, krylov.lower
        np.testing.assert_allclose(matrix @ right[: upper.shape[1]].T, left.T @ upper, atol=1e-13)
        np.testing.assert_allclose(matrix.T @ left[: len(lower)].T, right.T @ lower.T, atol=1e-13)
        outside = np.abs(lower) - np.abs(np.diag(np.diag(lower)) + np.diag(np.diag(lower, -1), -1))
        assert (np.abs(outside).max() < 1e-13) == (not starts)


def test_a_step_that_misses_eps_proves_nothing():
    params, x, y, matrix, r = problem(6, decay=1.5)
    linearised = Linearisation(affine, params, x, y)
    krylov = Bidiagonalisation(linearised)
    krylov.step()
    end = _Ends(1.01 * floor_of(matrix, r))  # further than one direction reaches
    proof = _Proof(linearised, krylov, r, krylov.norm, 1e-15, end)
    for reached in (0.9, 0.1):
        step = SmallProblem(krylov.upper, krylov.length).regularised(reached / krylov.norm**2)
        proof.bring_down_upper(step)
        assert end.upper == np.inf and end.direction is None


def test_products_that_disagree_are_noticed():
    params, x, y, _, _ = problem(6)

    class Rough(Linearisation):
        def pull(self, vector):
            return 1.001 * super().pull(vector)

    for kind, least, most in ((Linearisation, 0, 1e-14), (Rough, 5e-4, 2e-3)):
        krylov = Bidiagonalisation(kind(affine, params, x, y))
        for _ in range(4):
            krylov.step()
        assert least <= krylov.defect / krylov.norm <= most


def test_the_small_problem_at_its_ends():
    matrix = np.array([[2.0, 0.0], [0.0, 1.0], [0.0, 0.0]])
    problem = SmallProblem(matrix, 4.0)
    for q in (3.0, 1.0, 1e-6):
        step = problem.shortest(q)
        assert step.norm == pytest.approx((4 - q) / 2, rel=1e-12)
        assert np.linalg.norm(step.misfit) == pytest.approx(q, rel=1e-9)
    assert problem.shortest(4.0).norm == 0
    assert SmallProblem(matrix[1:], 4.0).shortest(1.0).norm == pytest.approx(3.0)
    assert SmallProblem(np.zeros((2, 1)), 4.0).shortest(1.0).norm == np.inf


@pytest.mark.parametrize(
    "bad", [{"eps": -1.0}, {"rtol": 0.0}, {"max_products": 0}, {"starts": [jnp.ones(3)]}]
)
def test_bad_input_is_refused(bad):
    params, x, y, _, _ = problem(0)
    with pytest.raises(ValueError, match="must|needs"):
        sj.tangent.tangent_constant_interval(affine, params, x, y, **({"eps": 0.1} | bad))


def test_along_a_path_warm_starts_save_products_and_change_nothing():
    """`f = b + A (theta + theta^2 / 5)`, whose Jacobian moves along the path."""
    params, x, y, matrix, r = problem(8, decay=0.3)
    theta = [0.01 * i * np.linspace(-1, 1, P) for i in range(6)]
    path = {
        "w": jnp.asarray([t[:6].reshape(2, 3) for t in theta]),
        "v": jnp.asarray([t[6:] for t in theta]),
    }

    def curved(params, x):
        return affine(jax.tree.map(lambda leaf: leaf + leaf**2 / 5, params), x)

    eps = floor_of(matrix, r) + 0.02 * float(r @ r)
    dense = np.array(
        [_dense(matrix * (1 + 2 * t / 5), r + matrix @ (t + t**2 / 5), eps) for t in theta]
    )
    along = {
        recycled: sj.tangent.tangent_constants_along(curved, path, x, y, eps, recycled=recycled)
        for recycled in (0, 2)
    }
    for found in along.values():
        assert set(found.statuses) == {"converged"}
        assert (found.lower <= dense * (1 + 1e-9)).all() and (dense <= found.upper).all()
    assert along[2].products[0] == along[0].products[0]
    assert along[2].products[1:].sum() < 0.75 * along[0].products[1:].sum()
