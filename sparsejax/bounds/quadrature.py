"""Integrals along a trajectory from values at saved times, each with an estimate of its error."""

from collections.abc import Callable

import numpy as np
from jaxtyping import Float

Vector = Float[np.ndarray, " s"]


def inverse_square_integral(ts: Vector, kappas: Vector) -> Vector:
    """`S(t) = int_0^t kappa^{-2} ds` at the saved times.

    Exact for `kappa` linear between saved times: there `int ds / kappa^2 = h / (kappa_0 kappa_1)`,
    never above the trapezoidal value. An infinite `kappa` at either end adds nothing, a zero adds
    infinity: both are what the constant means there.

    Example:
        >>> inverse_square_integral(np.array([0.0, 1.0]), np.array([1.0, 2.0])).tolist()
        [0.0, 0.5]
    """
    with np.errstate(divide="ignore"):
        inverse = 1 / kappas
    return cumulative(np.diff(ts) * _product(inverse[:-1], inverse[1:]))


def _product(a: Vector, b: Vector) -> Vector:
    """`a b` with `0 inf = 0`: an unattainable end of a cell adds nothing."""
    zero = (a == 0) | (b == 0)
    return np.where(zero, 0.0, np.where(zero, 1.0, a) * np.where(zero, 1.0, b))


def simpson_like_integral(ts: Vector, values: Vector) -> Vector:
    """`int_0^t values ds` at the saved times through a cubic spline of the values.

    Example:
        >>> ts = np.linspace(0.0, 1.0, 5)
        >>> round(float(simpson_like_integral(ts, ts**3)[-1]), 12)
        0.25
    """
    from scipy.interpolate import CubicSpline

    if len(ts) < 4:
        return cumulative(np.diff(ts) * (values[1:] + values[:-1]) / 2)
    return CubicSpline(ts, values).antiderivative()(ts)


def cumulative(increments: Float[np.ndarray, " cells"]) -> Vector:
    """Running sums that start at zero."""
    return np.concatenate([[0.0], np.cumsum(increments)])


def thinning_error(ts: Vector, curve: Callable[[Vector], Vector]) -> Vector:
    """`|curve on all times - curve on every second time|`, at all times.

    `curve` maps indices of the kept times to the curve at those times. Between kept times the
    error of the next kept one stands in.
    """
    n = len(ts)
    if n < 3:
        return np.full(n, np.nan)
    kept = np.unique(np.append(np.arange(0, n, 2), n - 1))
    with np.errstate(invalid="ignore"):
        error = np.abs(curve(np.arange(n))[kept] - curve(kept))
    error = np.where(np.isnan(error), 0.0, error)
    return error[np.searchsorted(kept, np.arange(n))]


def summed_thinning_error(ts: Vector, values: Vector) -> Vector:
    """The error of `simpson_like_integral`, from every second time, summed over cells by size.

    Errors of single cells have either sign, and where their sum changes its own it is next to zero
    though the integral is not exact there. Rates of networks with kinks jump: then the cell of a
    jump has nearly all of the error, and what follows has nothing to cancel it with.
    """
    n = len(ts)
    if n < 3:
        return np.full(n, np.nan)
    kept = np.unique(np.append(np.arange(0, n, 2), n - 1))
    fine = np.diff(simpson_like_integral(ts, values)[kept])
    coarse = np.diff(simpson_like_integral(ts[kept], values[kept]))
    return cumulative(np.abs(fine - coarse))[np.searchsorted(kept, np.arange(n))]
