"""The orthogonal-Runge-Kutta-Chebyshev method of order 4."""

import functools
from typing import ClassVar

import equinox as eqx
import numpy as np

from .rock2 import recurrence_rows
from .rock_polynomials import leading_coefficients, rock_parameters, stage_polynomials
from .stabilised import AbstractStabilisedRungeKutta
from .stage_table import StageTable


@functools.lru_cache
def _family() -> StageTable:
    stored = rock_parameters()["rock4"]
    intervals, rows, finish = [], [], []
    members = zip(stored["stages"], stored["parameters"], stored["finishing"], strict=True)
    for stages, parameters, finishing in members:
        mu, kappa, interval = stage_polynomials(stages, 4, np.array(parameters))
        a = np.zeros((4, 4))
        a[np.tril_indices(4, -1)] = finishing[:6]
        start = leading_coefficients(mu, kappa, 2)[1]
        abscissae = np.append(start + a.sum(axis=1), 1.0)
        # The embedded difference is unique up to a factor. This one bounds its part from h f1,
        # the one that grows with stiffness, by the size of the solution.
        error = np.array(finishing[10:]) / interval
        finish.append((a, np.array(finishing[6:10]), abscissae, error))
        rows.append(recurrence_rows(mu, kappa))
        intervals.append(interval)
    return StageTable.of_members(stored["stages"], intervals, rows, finish)


# The finishing stages multiply what the recurrence leaves of a stiff component by up to
# 0.005 interval^4: roundoff is 5e-6 at 50 stages, and from 130 on the method is unstable.
MOST_STAGES = 120


@functools.lru_cache
def rock4_table(max_stages: int) -> StageTable:
    """The ROCK4 methods of at most `max_stages` stages: every count from 5 to 50, then by 4%."""
    return _family().up_to(min(max_stages, MOST_STAGES))


class ROCK4(AbstractStabilisedRungeKutta):
    """Orthogonal-Runge-Kutta-Chebyshev method of fourth order: stable to about `0.35 s^2`.

    The published method, to compare with. `RKC4` is cheaper, and keeps its order where the problem
    is nonlinear and stiff, which this one does not beyond `h rho` of about 10. A step takes 5 to 24
    stages by default, and 120 at most; the error estimate is the difference to an embedded method
    of third order.

    Between the recurrence and the end of a step, what is left of the stiffest component is
    multiplied by about `(s / 2)^8 / 200`: roundoff (`5e-6` at 50 stages in float64, `1e-3` at 10 in
    float32), and what a nonlinear field puts there, of which the error estimate sees little: on a
    stiff reaction-diffusion equation at tolerance `1e-7` the error was 9 tolerances with at most 24
    stages, 380 with 32 and 410 with 50. Hence the default of `max_stages`.

    Args: see `AbstractStabilisedRungeKutta`.

    Source: Abdulle 2002, "Fourth order Chebyshev methods with recurrence relation"; coefficients by
    `rock_construction`, where the two that the order conditions leave free minimise the principal
    error.

    >>> import diffrax, jax.numpy as jnp
    >>> rates = jnp.array([1.0, 1000.0])
    >>> term = diffrax.ODETerm(lambda t, y, args: -rates * y)
    >>> control = diffrax.PIDController(rtol=1e-7, atol=1e-9)
    >>> solution = diffrax.diffeqsolve(
    ...     term, ROCK4(), 0.0, 1.0, None, jnp.ones(2), stepsize_controller=control)
    >>> bool(abs(solution.ys[0, 0] - jnp.exp(-1.0)) < 1e-6)
    True
    """

    max_stages: int = eqx.field(static=True, default=24)
    order_of_method: ClassVar[int] = 4
    order_of_estimate: ClassVar[int] = 4

    @property
    def table(self) -> StageTable:
        return rock4_table(self.max_stages)
