"""The Runge-Kutta-Chebyshev method of second order."""

import functools
from typing import ClassVar

import jax
import numpy as np

from .stabilised import AbstractStabilisedRungeKutta
from .stage_table import StageTable

DAMPING = 2 / 13


@functools.lru_cache
def rkc2_table(max_stages: int) -> StageTable:
    """The RKC2 methods of every stage count to 30, and from there in steps of about 4%."""
    stages = [2]
    while (following := max(stages[-1] + 1, int(1.04 * stages[-1]))) <= max_stages:
        stages.append(following)
    rows, intervals = zip(*(_coefficients(s) for s in stages), strict=True)
    return StageTable.of_members(stages, list(intervals), list(rows)).up_to(max_stages)


def _coefficients(s: int) -> tuple[np.ndarray, float]:
    w0 = 1 + DAMPING / s**2
    # Chebyshev polynomials and their first two derivatives at w0.
    t, dt, ddt = (np.zeros(s + 1) for _ in range(3))
    t[0], t[1], dt[1] = 1.0, w0, 1.0
    for j in range(2, s + 1):
        t[j] = 2 * w0 * t[j - 1] - t[j - 2]
        dt[j] = 2 * t[j - 1] + 2 * w0 * dt[j - 1] - dt[j - 2]
        ddt[j] = 4 * dt[j - 1] + 2 * w0 * ddt[j - 1] - ddt[j - 2]
    w1 = dt[s] / ddt[s]
    b = np.empty(s + 1)
    b[2:] = ddt[2:] / dt[2:] ** 2
    b[:2] = b[2]
    a = 1 - b * t
    rows = np.empty((s, 5))
    increments = np.zeros((s + 1, 2))  # of Y_j and E_j for f = 1: the abscissae
    rows[0] = 0.0, 0.0, b[1] * w1, 0.0, 0.0
    increments[1] = b[1] * w1
    for j in range(2, s + 1):
        mu, nu = 2 * b[j] * w0 / b[j - 1], -b[j] / b[j - 2]
        mu_t = 2 * b[j] * w1 / b[j - 1]
        gamma_t = -a[j - 1] * mu_t
        rows[j - 1] = mu + nu - 1, -nu, mu_t, gamma_t, increments[j - 1, 0]
        e = (mu + nu - 1) * increments[j - 1, 0] - nu * increments[j - 1, 1] + mu_t + gamma_t
        increments[j] = increments[j - 1, 0] + e, e
    return rows, (1 + w0) / w1


class RKC2(AbstractStabilisedRungeKutta):
    """Runge-Kutta-Chebyshev method of second order: stable to about `0.65 s^2` with s evaluations.

    For mildly stiff problems whose Jacobian has a spectrum near the negative real axis, such as
    gradient flows. Each step takes the least stage count that covers the step offered by the
    step size controller; an accepted step with s stages costs s evaluations of the vector field and
    (usually) one Jacobian-vector product, for the spectral radius.

    Args: see `AbstractStabilisedRungeKutta`.

    Source: Sommeijer, Shampine and Verwer 1997, "RKC: an explicit solver for parabolic PDEs"
    (damping 2/13; the error estimate is theirs).

    >>> import diffrax, jax.numpy as jnp
    >>> rates = jnp.array([1.0, 1000.0])
    >>> term = diffrax.ODETerm(lambda t, y, args: -rates * y)
    >>> control = diffrax.PIDController(rtol=1e-6, atol=1e-8)
    >>> solution = diffrax.diffeqsolve(
    ...     term, RKC2(), 0.0, 1.0, None, jnp.ones(2), stepsize_controller=control)
    >>> bool(abs(solution.ys[0, 0] - jnp.exp(-1.0)) < 1e-4)
    True
    """

    max_stages: int = 250
    order_of_method: ClassVar[int] = 2
    order_of_estimate: ClassVar[int] = 3

    @property
    def table(self) -> StageTable:
        return rkc2_table(self.max_stages)

    def estimate(self, index, increment, f0, f1, finishing, scale):
        del index, finishing
        return jax.tree.map(lambda d, a, b: -0.8 * d + 0.4 * scale(d) * (a + b), increment, f0, f1)
