"""The orthogonal-Runge-Kutta-Chebyshev method of order 2."""

import functools
from typing import ClassVar

import numpy as np

from .rock_polynomials import leading_coefficients, rock_parameters, stage_polynomials
from .stabilised import AbstractStabilisedRungeKutta
from .stage_table import StageTable


@functools.lru_cache
def _family() -> StageTable:
    stored = rock_parameters()["rock2"]
    intervals, rows, finish = [], [], []
    for stages, parameters in zip(stored["stages"], stored["parameters"], strict=True):
        mu, kappa, interval = stage_polynomials(stages, 2, np.array(parameters))
        # The finishing factor 1 + 2 sigma z + tau z^2, from the order conditions.
        _, first, second = leading_coefficients(mu, kappa, 3)
        sigma = (1 - first) / 2
        tau = 1 / 2 - second - 2 * sigma * first
        difference = tau / sigma - sigma
        a = np.array([[0.0, 0.0], [sigma, 0.0]])
        b = np.array([sigma - difference, sigma + difference])
        finish.append(
            (a, b, np.array([first, first + sigma, 1.0]), np.array([-difference, difference, 0.0]))
        )
        rows.append(recurrence_rows(mu, kappa))
        intervals.append(interval)
    return StageTable.of_members(stored["stages"], intervals, rows, finish)


def recurrence_rows(mu: np.ndarray, kappa: np.ndarray) -> np.ndarray:
    """Rows of `StageTable` for `P_j = (1 + kappa_j + mu_j z) P_{j-1} - kappa_j P_{j-2}`."""
    rows = np.zeros((len(mu), 5))
    rows[:, 1], rows[:, 2] = kappa, mu
    abscissa, difference = 0.0, 0.0
    for row, m, k in zip(rows, mu, kappa, strict=True):
        row[4] = abscissa
        difference = k * difference + m
        abscissa += difference
    return rows


@functools.lru_cache
def rock2_table(max_stages: int) -> StageTable:
    """The ROCK2 methods of at most `max_stages` stages: every count from 4 to 50, then by 4%."""
    return _family().up_to(max_stages)


class ROCK2(AbstractStabilisedRungeKutta):
    """Orthogonal-Runge-Kutta-Chebyshev method of second order: stable to about `0.81 s^2`.

    As `RKC2`, with a longer interval for the same number of evaluations s (a step takes 4 to 198)
    and an embedded error estimate of first order, which is insensitive to fast components that the
    step has damped.

    Args: see `AbstractStabilisedRungeKutta`.

    Source: Abdulle and Medovikov 2001, "Second order Chebyshev methods based on orthogonal
    polynomials"; coefficients by `rock_construction`.

    >>> import diffrax, jax.numpy as jnp
    >>> rates = jnp.array([1.0, 1000.0])
    >>> term = diffrax.ODETerm(lambda t, y, args: -rates * y)
    >>> control = diffrax.PIDController(rtol=1e-5, atol=1e-7)
    >>> solution = diffrax.diffeqsolve(
    ...     term, ROCK2(), 0.0, 1.0, None, jnp.ones(2), stepsize_controller=control)
    >>> bool(abs(solution.ys[0, 0] - jnp.exp(-1.0)) < 1e-4)
    True
    """

    order_of_method: ClassVar[int] = 2
    order_of_estimate: ClassVar[int] = 2

    @property
    def table(self) -> StageTable:
        return rock2_table(self.max_stages)
