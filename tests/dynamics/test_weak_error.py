"""SGD and plain gradient flow in law: moments that are computed, not sampled (3.7)."""

import itertools

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
import scipy.integrate
import scipy.linalg

import sparsejax as sj

# Per-sample losses (x_i w - y_i)^2: the noise of single samples depends on where w is.
X = np.array([[1.0, 0.2], [-0.4, 0.9], [0.6, -0.7], [0.3, 0.5]])
Y = np.array([1.0, -0.5, 0.7, 0.2])
START, T = np.array([2.0, -1.0]), 0.8
HESSIANS, SLOPES = 2 * np.einsum("ni,nj->nij", X, X), 2 * X * Y[:, None]
H, B = HESSIANS.mean(axis=0), SLOPES.mean(axis=0)
LOSS = sj.squared_loss(lambda w, x: x @ w, jnp.asarray(X), jnp.asarray(Y))


def moments(eta, steps):
    """E w and E w w^T of SGD on single samples, `w' = (1 - eta H_i) w + eta B_i`, exactly."""
    m, s = START, np.outer(START, START)
    steps_of = [(np.eye(2) - eta * h, eta * b) for h, b in zip(HESSIANS, SLOPES, strict=True)]
    for _ in range(steps):
        s = np.mean(
            [
                a @ s @ a.T + np.outer(a @ m, b) + np.outer(b, a @ m) + np.outer(b, b)
                for a, b in steps_of
            ],
            axis=0,
        )
        m = np.mean([a @ m + b for a, b in steps_of], axis=0)
    return m, s


class Drawn(eqx.Module):
    """Samples in an order that is given."""

    order: jax.Array

    def __call__(self, key, step):
        i = self.order[step]
        return LOSS.x[i][None], LOSS.targets[i][None]


def test_the_moments_are_those_of_sgd_over_all_its_draws():
    eta, steps = 0.1, 3
    orders = jnp.asarray(list(itertools.product(range(4), repeat=steps)))

    @jax.jit
    @jax.vmap
    def ends(order):
        return sj.sgd(
            LOSS,
            jnp.asarray(START),
            optax.sgd(eta),
            steps,
            key=jax.random.key(0),
            generator=Drawn(order),
            save_every=steps,
        ).final

    w = np.asarray(ends(orders))
    m, s = moments(eta, steps)
    np.testing.assert_allclose(w.mean(axis=0), m, rtol=1e-12)
    np.testing.assert_allclose(np.einsum("ki,kj->ij", w, w) / len(w), s, rtol=1e-12)


def first_order(t):
    """The coefficients of `eta` in E w and E w w^T, less those of the flow.

    Explicit steps lag by `H^2 t / 2`; the covariance is what the noise along the flow has left:
    `int exp(-H (t - s)) Sigma(w(s)) exp(-H (t - s)) ds`.
    """
    best = np.linalg.solve(H, B)

    def flow(s):
        return best + scipy.linalg.expm(-s * H) @ (START - best)

    def left(s):
        each = HESSIANS @ flow(s) - SLOPES
        decay = scipy.linalg.expm(-(t - s) * H)
        return decay @ np.cov(each.T, bias=True) @ decay

    lag = -0.5 * t * H @ H @ (flow(t) - best)
    covariance = scipy.integrate.quad_vec(left, 0, t, epsabs=1e-10)[0]
    return lag, covariance + np.outer(lag, flow(t)) + np.outer(flow(t), lag)


def test_the_weak_error_of_plain_flow_is_of_first_order_with_its_constant():
    flow = sj.gradient_flow(
        LOSS, jnp.asarray(START), T, saveat=np.array([T]), solver="rk4", dt=0.01
    )
    w = np.asarray(flow.final)
    counts = np.array([16, 32, 64, 128])
    mean, square = zip(*(moments(T / n, n) for n in counts), strict=True)
    for found, limit, expected in zip(
        (np.array(mean), np.array(square)), (w, np.outer(w, w)), first_order(T), strict=True
    ):
        errors = (found - limit).reshape(len(counts), -1)
        sizes = np.linalg.norm(errors, axis=1)
        # Order 1: neither half an order (a path) nor 2 (the modified equation).
        np.testing.assert_allclose(np.log2(sizes[:-1] / sizes[1:])[-1], 1, atol=0.02)
        # errors / eta = C + O(eta): the next order goes by extrapolation.
        ratios = errors * (counts / T)[:, None]
        np.testing.assert_allclose(
            2 * ratios[-1] - ratios[-2], expected.ravel(), rtol=1e-3, atol=1e-3
        )
