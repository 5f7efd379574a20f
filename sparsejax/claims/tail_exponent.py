"""How fast a gradient norm falls at the end of a flow, and what length is still to come."""

import dataclasses

import numpy as np
from jaxtyping import Bool, Float

from sparsejax.claims.statistics import log_log_slope

# A slope over fewer points says little.
FEWEST_POINTS = 4


@dataclasses.dataclass(frozen=True)
class Tail:
    """Exponents p of `||grad L|| ~ t^-p` over the last two windows, and where they lead.

    `borders`: what p would be there for `1 / (t log t)`, less 1: the border between finite and
    infinite length, up to `log log t` (Bertrand's series). `limit`: the exponent at infinite time
    if what is left of it falls like `1 / log t`, as it does for all `t^-p (log t)^-a`. `end`: the
    last time used, with its gradient norm and the length up to it. NaN where there are too few
    points.
    """

    last: float
    previous: float
    limit: float
    end: float
    norm: float
    length: float
    borders: tuple[float, float] = (0.0, 0.0)

    @property
    def low(self) -> float:
        """The least of the limit and of the exponents, less what logarithms may add to them."""
        return min(self._candidates)

    @property
    def high(self) -> float:
        """The greatest of them."""
        return max(self._candidates)

    @property
    def _candidates(self) -> tuple[float, float, float]:
        return self.last - self.borders[0], self.previous - self.borders[1], self.limit

    def remaining(self, exponent: float) -> float:
        """Length beyond `end` at an exponent: `t ||grad L|| / (p - 1)`, infinite for p <= 1."""
        return self.end * self.norm / (exponent - 1) if exponent > 1 else np.inf


def agreed(
    fine: Float[np.ndarray, " s"], coarse: Float[np.ndarray, " s"], tolerance: float
) -> Bool[np.ndarray, " s"]:
    """Up to where two integrations of a flow give the same gradient norm, to a relative tolerance.

    Near the end of an exponential tail the error of either is above the gradient itself. Entries
    that are not finite, behind the end of a flow, do not agree, nor does any behind the first that
    does not.

    Example:
        >>> agreed(np.array([1.0, 0.5, 0.1, 0.1]), np.array([1.0, 0.5, 0.2, 0.1]), 0.05).tolist()
        [True, True, False, False]
    """
    with np.errstate(invalid="ignore"):
        same = np.isfinite(fine) & (np.abs(coarse - fine) <= tolerance * np.abs(fine))
    return np.logical_and.accumulate(same & (fine > 0))


def tail_exponent(
    ts: Float[np.ndarray, " s"],
    norms: Float[np.ndarray, " s"],
    lengths: Float[np.ndarray, " s"],
    usable: Bool[np.ndarray, " s"],
    *,
    window: float,
    unit: float,
) -> Tail:
    """Exponents over the last two windows of `window` decades each among the usable times.

    `unit`: the flow's own unit of time, in which its logarithm is taken.

    Example:
        >>> ts = np.geomspace(0.01, 1e4, 97)
        >>> tail = tail_exponent(
        ...     ts, ts**-1.5, 0 * ts, np.ones(97, bool), window=0.5, unit=1.0)
        >>> round(tail.last, 6), round(tail.limit, 6), round(tail.remaining(tail.last), 6)
        (1.5, 1.5, 0.02)
    """
    if not usable.any():
        return Tail(np.nan, np.nan, np.nan, np.nan, np.nan, np.nan)
    index = int(np.flatnonzero(usable)[-1])
    end = float(ts[index])
    exponents, logarithms = [], []
    first = ts[usable & (ts > 0)].min(initial=np.inf)
    for number in (0, 1):
        top, bottom = (end * 10 ** (-window * (number + k)) for k in (0, 1))
        # A save on the edge is of both windows, whatever its rounding.
        within = usable & (ts >= bottom * (1 - 1e-9)) & (ts <= top * (1 + 1e-9))
        enough = within.sum() >= FEWEST_POINTS and bottom >= first * (1 - 1e-9)
        exponents.append(-log_log_slope(ts[within], norms[within]) if enough else np.nan)
        logarithms.append(float(np.log1p(np.sqrt(top * bottom) / unit)))
    (last, previous), (late, early) = exponents, logarithms
    limit = (last * late - previous * early) / (late - early)
    norm, length = float(norms[index]), float(lengths[index])
    return Tail(last, previous, limit, end, norm, length, (1 / late, 1 / early))
