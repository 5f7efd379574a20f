"""A Runge-Kutta-Chebyshev method of fourth order."""

import functools
from collections.abc import Callable
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, PyTree

from .rkc4_recurrence import Chebyshev, Member, chebyshev, rkc4_members, taylor
from .stabilised import AbstractStabilisedRungeKutta, Start, as_long
from .stage_table import StageTable


def recurrence(basis: Chebyshev, member: Member) -> np.ndarray:
    """Rows (s, 9) of stages j = 0..s-1: what `RKC4` reads in its loop.

    `(nu_j, m_j, 1 - beta_j, kappa_j, 1 / beta_j, v_j, rho_{j+1}, delta_{j+1}, c_j)`; the first
    stage is `Y_0 = y_n`.
    """
    slopes = taylor(basis, 2)[:-1, 1]
    behind = np.zeros(len(member.beta) - len(member.v))
    stages = np.stack(
        [
            1 - member.beta,
            member.kappa,
            1 / member.beta,
            np.concatenate([member.v, behind]),
            member.beta * slopes,
        ],
        axis=1,
    )
    stages = np.vstack([[0.0, 0.0, 1.0, 0.0, 0.0], stages])
    ends = np.stack([member.rho, member.delta], axis=1)
    heads = np.stack([basis.nu, basis.m], axis=1)
    return np.hstack([heads, stages[:, :4], ends, stages[:, 4:]])


@functools.lru_cache
def rkc4_table(max_stages: int) -> StageTable:
    """The RKC4 methods of at most `max_stages` stages: every count to 26, then by 4 to 10%."""
    rows, intervals = [], []
    for stages, member in rkc4_members().items():
        basis = chebyshev(stages)
        rows.append(recurrence(basis, member))
        intervals.append(basis.interval)
    return StageTable.of_members(list(rkc4_members()), intervals, rows).up_to(max_stages)


class RKC4(AbstractStabilisedRungeKutta):
    """Runge-Kutta-Chebyshev method of fourth order: stable to about `0.325 s^2`.

    The choice for relative errors below about 1e-5. A step takes 5 to 201 evaluations s; the error
    estimate is the difference to an embedded method of third order. All stages are bounded by the
    solution where it is stiff, and what a nonlinear field leaves in stiff components does not grow
    with s: on a stiff reaction-diffusion equation the order is 4 from `h rho` of 300 on down.

    A step from y is, with `F_j = h f(Y_j)`, `Y_0 = y`, `Z_0 = F_0`, `E_0 = 0` and for j = 0..s-1

        E_{j+1} = E_j + nu_j (E_j - E_{j-1}) + m_j Z_j,
        Y_j = y + beta_j E_j + kappa_j V,
        Z_j = (F_j - (1 - beta_j) F_0 - kappa_j G) / beta_j,

    where `V = sum_k v_k E_k` and `G = sum_k v_k (Z_k - F_0)` are over k <= min(j, m); its end is
    `y + sum_k rho_k E_k`. It keeps seven vectors of the size of y. Roundoff of a step is about
    `1e-14` of its stiff components at 10 stages and `1e-12` at 100, in float64.

    Args: see `AbstractStabilisedRungeKutta`.

    Source: derived here. The recurrence is that of Sommeijer, Shampine and Verwer 1997, damped more
    strongly; its vectors, combined, give stages of higher order and an end of order 4. Coefficients
    by `rkc4_construction`.

    >>> import diffrax, jax.numpy as jnp
    >>> rates = jnp.array([1.0, 1000.0])
    >>> term = diffrax.ODETerm(lambda t, y, args: -rates * y)
    >>> control = diffrax.PIDController(rtol=1e-7, atol=1e-9)
    >>> solution = diffrax.diffeqsolve(
    ...     term, RKC4(), 0.0, 1.0, None, jnp.ones(2), stepsize_controller=control)
    >>> bool(abs(solution.ys[0, 0] - jnp.exp(-1.0)) < 1e-6)
    True
    """

    max_stages: int = eqx.field(static=True, default=201)
    order_of_method: ClassVar[int] = 4
    order_of_estimate: ClassVar[int] = 4

    @property
    def table(self) -> StageTable:
        return rkc4_table(self.max_stages)

    def estimate(self, index, increment, f0, f1, finishing, scale):
        del index, increment, f0, f1, scale
        return finishing

    def stages(
        self,
        start: Start,
        index: Int[Array, ""],
        loop: Callable[[Int[Array, ""], Callable, PyTree], PyTree] = as_long,
    ) -> tuple[PyTree, PyTree, PyTree]:
        """`y1 - y0`, the last difference of the recurrence, and the error estimate."""
        terms, t0, _, y0, args, f0, control = start
        table = self.table
        begin = jnp.asarray(table.starts, jnp.int32)[index]
        length = jnp.asarray(table.lengths, jnp.int32)[index]
        rows = jnp.asarray(table.rows)
        first = jax.tree.map(lambda x: control.astype(x.dtype) * x, f0)

        def scaled(factor: Array, tree: PyTree) -> PyTree:
            return jax.tree.map(lambda x: factor.astype(x.dtype) * x, tree)

        def plus(a: PyTree, factor: Array, b: PyTree) -> PyTree:
            return jax.tree.map(jnp.add, a, scaled(factor, b))

        def stage(carry: tuple[Any, ...]) -> tuple[Any, ...]:
            j, e, difference, v, g, result, error = carry
            nu, m, rest, kappa, inverse, share, rho, delta, abscissa = rows[begin + j]
            v = plus(v, share, e)
            y = jax.tree.map(jnp.add, y0, plus(scaled(1 - rest, e), kappa, v))
            f = scaled(control, terms.vf(t0 + abscissa.astype(control.dtype) * control, y, args))
            z = scaled(inverse, plus(plus(f, -rest, first), -kappa, g))
            g = plus(g, share, jax.tree.map(jnp.subtract, z, first))
            difference = plus(scaled(nu, difference), m, z)
            e = jax.tree.map(jnp.add, e, difference)
            return j + 1, e, difference, v, g, plus(result, rho, e), plus(error, delta, e)

        e = scaled(rows[begin, 1], first)
        none = jax.tree.map(jnp.zeros_like, e)
        _, _, difference, _, _, result, error = loop(
            length,
            stage,
            (
                jnp.ones((), jnp.int32),
                e,
                e,
                none,
                none,
                scaled(rows[begin, 6], e),
                scaled(rows[begin, 7], e),
            ),
        )
        return result, difference, error
