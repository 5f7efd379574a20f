"""A smooth function fitted to a table, whose analysis of variance can be read off."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np
import scipy.special
import scipy.stats
from jaxtyping import Float

from sparsejax.structure.column_basis import ColumnBasis
from sparsejax.structure.features import (
    Feature,
    columns_of,
    cost_of,
    feature_matrix,
    products,
    unknown_variance,
)

MOST_FEATURES, ROWS_A_FEATURE = 500, 4
_RIDGES = (0.01, 0.1, 0.3, 1.0, 3.0, 10.0)


@dataclasses.dataclass(frozen=True, eq=False)
class Surrogate:
    """`f(x) = mean + sum over features of coefficient * feature`, one column an output.

    `covariance` `(f, f)` of the coefficients is that of residuals of variance one; `noise` `(c,)`
    their variance where nothing is missing, `unexplained` the share of the target's variance that
    the fit leaves on new rows. `halves`: the coefficients from every second row, and the others.
    """

    bases: Sequence[ColumnBasis]
    features: tuple[Feature, ...]
    coefficients: Float[np.ndarray, "f c"]
    covariance: Float[np.ndarray, "f f"]
    noise: Float[np.ndarray, " c"]
    unexplained: float
    halves: tuple[Float[np.ndarray, "f c"], Float[np.ndarray, "f c"]]

    def share(self, which: Callable[[tuple[int, ...]], bool]) -> tuple[float, float]:
        """The variance of the terms whose columns `which` tells, and its standard error.

        Squared coefficients less their own variances, which they overshoot by on average.
        """
        at = np.array([which(columns_of(f)) for f in self.features], bool)
        b = self.coefficients[at]
        covariance = self.covariance[np.ix_(at, at)]
        spread = np.diag(covariance)[:, None] * self.noise
        total = float((b**2 - spread).sum())
        square = sum(
            float(s * (4 * b[:, c] @ covariance @ b[:, c] + 2 * s * (covariance**2).sum()))
            for c, s in enumerate(self.noise)
        )
        return total, float(np.sqrt(max(square, 0.0)))

    def log_p(self, together: tuple[int, ...], most_cost: int = 4) -> float:
        """Logarithm of the p-value of no cheap term that reads all of these columns.

        Wald's test on the terms that cost at most `most_cost`: rough ones would dilute it.
        """
        at = np.array(
            [
                set(together) <= set(columns_of(f)) and cost_of(self.bases, f) <= most_cost
                for f in self.features
            ],
            bool,
        )
        if not at.any():
            return 0.0
        covariance = self.covariance[np.ix_(at, at)]
        b = self.coefficients[at]
        statistic = float(((b * np.linalg.solve(covariance, b)).sum(axis=0) / self.noise).sum())
        return log_chi2_tail(statistic, b.size)


def log_chi2_tail(statistic: float, freedom: int) -> float:
    """Logarithm of the probability that chi-squared exceeds `statistic`, also where that is 0.

    Where the library's underflows, the leading term of the continued fraction of the incomplete
    gamma function, which is then exact to about `freedom / statistic**2`.

    Source: DLMF 8.9.2.

    Example:
        >>> round(log_chi2_tail(10.0, 2), 9), round(log_chi2_tail(1e5, 2), 3)
        (-5.0, -50000.0)
    """
    found = float(scipy.stats.chi2.logsf(statistic, freedom))
    if np.isfinite(found):
        return found
    a, x = freedom / 2, statistic / 2
    return float(a * np.log(x) - x - scipy.special.gammaln(a) - np.log(x + 1 - a))


def fit_surrogate(
    bases: Sequence[ColumnBasis],
    columns: Sequence[int],
    targets: Float[np.ndarray, "n c"],
    allowed: Callable[[tuple[int, ...]], bool],
    *,
    most_cost: int = 8,
) -> Surrogate:
    """Ridge regression on products of functions of `columns`, degree, penalty by cross-validation.

    The penalty grows with the square of a product's cost: rough terms must be seen to be believed.
    `allowed`: which sets of columns may meet in a product. A missing value takes the terms that
    read it out of its row, whose weight falls by the variance that they have.

    Source: Sudret, Reliability Engineering & System Safety 2008 (indices from coefficients); Golub,
    Heath, Wahba, Technometrics 1979 (generalised cross-validation).

    Example:
        >>> from sparsejax.structure.column_basis import column_basis
        >>> x = np.random.default_rng(0).uniform(-1, 1, size=(500, 2))
        >>> bases = [column_basis(column) for column in x.T]
        >>> y = x[:, [0]] * x[:, [1]]
        >>> fitted = fit_surrogate(bases, (0, 1), y / y.std(), lambda columns: True)
        >>> round(fitted.share(lambda columns: len(columns) == 2)[0], 1)
        1.0
    """
    centred = targets - targets.mean(axis=0)
    rows = len(targets)
    # Begin with the rows that know all: the weights of the others are learned from their fit.
    missing = np.stack([bases[column].missing for column in columns]).any(axis=0)
    weights = np.where(missing & ((~missing).mean() > 0.3), 0.03, 1.0)
    best: Surrogate | None = None
    for budget in range(2, most_cost + 1):
        features = products(bases, columns, budget, allowed)
        if best is not None and (
            len(features) > min(MOST_FEATURES, rows // ROWS_A_FEATURE)
            or len(features) == len(best.features)
        ):
            break
        features = features[: rows // 2]
        found = _best_ridge(bases, features, centred, weights)
        if best is None or found.unexplained < best.unexplained:
            best = found
        if missing.any():
            # Judged by other weights, degrees could not be compared: these are the next one's.
            squares = (found.coefficients**2).mean(axis=1)
            unknown = unknown_variance(bases, features, squares)
            rest = max(found.unexplained * centred.shape[1], 1e-9)
            weights = rest / (rest + unknown)
    assert best is not None
    return _best_ridge(bases, best.features, centred, weights) if missing.any() else best


def _best_ridge(
    bases: Sequence[ColumnBasis],
    features: Sequence[Feature],
    centred: Float[np.ndarray, "n c"],
    weights: Float[np.ndarray, " n"],
) -> Surrogate:
    rows, outputs = centred.shape
    # In these units the penalty is the same for all.
    scale = 1 / (1.0 + np.array([cost_of(bases, feature) for feature in features]))
    root = np.sqrt(weights)[:, None]
    a = feature_matrix(bases, features) * (scale * root)
    y = centred * root
    values, vectors = np.linalg.eigh(a.T @ a)
    values = np.maximum(values, 0)[:, None]
    b = vectors.T @ (a.T @ y)
    least = (np.inf, 0.0)
    for ridge in _RIDGES:
        shrink = 1 / (values + ridge)
        # In the eigenbasis the residual needs no pass over the rows.
        left = (y**2).sum() - (b**2 * shrink * (2 - values * shrink)).sum()
        freedom = float((values * shrink).sum())
        least = min(least, (float(left) / weights.sum() / (1 - freedom / rows) ** 2, ridge))
    error, ridge = least
    shrink = 1 / (values + ridge)
    coefficients = vectors @ (shrink * b)
    freedom = float((values * shrink).sum())
    noise = ((y - a @ coefficients) ** 2).sum(axis=0) / max(rows - freedom, 1.0)
    covariance = (vectors * (values * shrink**2).T) @ vectors.T * np.outer(scale, scale)
    halves = []
    for half in (slice(0, None, 2), slice(1, None, 2)):
        gram = a[half].T @ a[half]
        gram[np.diag_indices_from(gram)] += ridge
        halves.append(np.linalg.solve(gram, a[half].T @ y[half]) * scale[:, None])
    return Surrogate(
        bases,
        tuple(features),
        coefficients * scale[:, None],
        covariance,
        noise,
        error / float((centred**2).mean(axis=0).sum()),
        (halves[0], halves[1]),
    )
