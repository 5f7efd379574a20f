"""Functions of one column that are orthonormal under the column's own law."""

import dataclasses

import numpy as np
from jaxtyping import Bool, Float
from numpy.polynomial import legendre

# Numbers of so few different values are treated as levels: every function of them is allowed.
MOST_LEVELS = 8
# A function that fewer rows than this would decide is left out.
LEAST_ROWS = 5


@dataclasses.dataclass(frozen=True, eq=False)
class ColumnBasis:
    """`functions` `(n, k)`: of mean zero, uncorrelated, variance one over the rows that are known.

    A missing value has the value 0 of each of them: their mean, so that a product of functions of
    independent columns is then its conditional mean given what is known. `cost`: the degree of each
    as a part of products. `smooth`: where they are polynomials in the `ranks` `(n,)`, which are
    spread evenly on `[-1, 1]`, what makes them of Legendre's: `(means, matrix)`; else None.
    `masked`: the last function tells whether a value is missing.
    """

    functions: Float[np.ndarray, "n k"]
    cost: tuple[int, ...]
    smooth: tuple[Float[np.ndarray, " d"], Float[np.ndarray, "d d"]] | None
    missing: Bool[np.ndarray, " n"]
    masked: bool = False

    def alone(self, place: int) -> bool:
        """Whether a function is that of missingness, which enters no products.

        Where columns are missing in the same rows, a product with it is the other factor again.
        """
        return self.masked and place == len(self.cost) - 1

    def at(self, ranks: Float[np.ndarray, " m"], derivative: bool = False) -> np.ndarray:
        """The functions of a smooth column, or their derivatives, at other ranks: `(m, k)`."""
        assert self.smooth is not None
        means, matrix = self.smooth
        found = (_legendre(ranks, len(means), derivative) - (0 if derivative else means)) @ matrix
        # Whether a value is missing is no function of the value.
        return np.pad(found, ((0, 0), (0, len(self.cost) - len(means))))


def column_basis(
    values: Float[np.ndarray, " n"], *, category: bool = False, degree: int = 7
) -> ColumnBasis:
    """The functions of a column: Legendre polynomials of its ranks, or contrasts of its levels.

    Ranks make the answer the same for every increasing change of units, and bound what an outlier
    can do. Categories, and numbers of at most eight different values, get all functions of their
    levels, rare levels merged. Where values are missing in more than a few rows, whether one is
    missing counts as a function of the column too.

    Source: polynomial chaos of arbitrary laws: Oladyshkin, Nowak, Reliability Engineering & System
    Safety 2012; Legendre's polynomials for uniform ones: Xiu, Karniadakis, SIAM J. Sci. Comput.
    2002.

    Example:
        >>> basis = column_basis(np.linspace(0, 1, 1000), degree=3)
        >>> bool(np.allclose(basis.functions.T @ basis.functions / 1000, np.eye(3)))
        True
    """
    known = ~np.isnan(values)
    count = len(values)
    found, sizes = np.unique(values[known], return_counts=True)
    ranks = np.zeros(count)
    if len(found) > 1:
        # The middle of the ranks that equal values share.
        middle = np.cumsum(sizes) - sizes / 2
        ranks[known] = (2 * middle / sizes.sum() - 1)[np.searchsorted(found, values[known])]
    functions = np.zeros((count, 0))
    cost: list[int] = []
    smooth = None
    if category or len(found) <= MOST_LEVELS:
        functions = _contrasts(values, known, found, sizes)
        cost = [1] * functions.shape[1]
    else:
        polynomials = _legendre(ranks[known], degree)
        means, matrix = _orthonormal(polynomials)
        smooth = means, matrix
        functions = np.zeros((count, len(means)))
        functions[known] = (polynomials[:, : len(means)] - means) @ matrix
        cost = list(range(1, len(means) + 1))
    gaps = count - int(known.sum())
    masked = LEAST_ROWS <= gaps <= count - LEAST_ROWS
    if masked:
        share = gaps / count
        mask = np.where(known, -share, 1 - share) / np.sqrt(share * (1 - share))
        functions, cost = np.column_stack([functions, mask]), [*cost, 1]
    return ColumnBasis(functions, tuple(cost), smooth, ~known, masked)


def _contrasts(
    values: np.ndarray, known: np.ndarray, found: np.ndarray, sizes: np.ndarray
) -> np.ndarray:
    frequent = found[sizes >= LEAST_ROWS]
    # Beyond so many levels each would be decided by few rows.
    most = max(2, min(32, int(np.sqrt(known.sum()))))
    if len(frequent) > most:
        order = np.argsort(-sizes[sizes >= LEAST_ROWS], kind="stable")
        frequent = np.sort(frequent[order[:most]])
    if len(frequent) == len(found):
        frequent = frequent[:-1]
    functions = np.zeros((len(values), len(frequent)))
    if len(frequent):
        indicators = (values[known, None] == frequent[None, :]).astype(float)
        means, matrix = _orthonormal(indicators)
        functions = functions[:, : len(means)]
        functions[known] = (indicators[:, : len(means)] - means) @ matrix
    return functions


def orthonormal_columns(columns: Float[np.ndarray, "n k"]) -> Float[np.ndarray, "n d"]:
    """The same span with mean zero and covariance one; columns that others determine left out.

    Example:
        >>> orthonormal_columns(np.array([[0.0], [2.0]])).tolist()
        [[-1.0], [1.0]]
    """
    means, matrix = _orthonormal(columns)
    return (columns[:, : len(means)] - means) @ matrix


def _orthonormal(
    columns: Float[np.ndarray, "n k"],
) -> tuple[Float[np.ndarray, " d"], Float[np.ndarray, "d d"]]:
    """Means and the triangle that make the first columns uncorrelated with variance one.

    Columns from the first one on that others all but determine are left out.
    """
    means = columns.mean(axis=0)
    covariance = columns.T @ columns / len(columns) - np.outer(means, means)
    scale = np.sqrt(np.maximum(np.diag(covariance), 1e-300))
    correlation = covariance / np.outer(scale, scale)
    kept = len(means)
    while kept > 1 and np.linalg.eigvalsh(correlation[:kept, :kept])[0] < 1e-3:
        kept -= 1
    triangle = np.linalg.cholesky(correlation[:kept, :kept])
    return means[:kept], np.linalg.inv(triangle).T / scale[:kept, None]


def _legendre(
    ranks: Float[np.ndarray, " n"], degree: int, derivative: bool = False
) -> Float[np.ndarray, "n k"]:
    """Legendre's polynomials 1 to `degree`, with variance one on `[-1, 1]`, or their slopes."""
    coefficients = np.diag(np.sqrt(2 * np.arange(degree + 1) + 1))[:, 1:]
    if derivative:
        coefficients = legendre.legder(coefficients)
    return legendre.legval(ranks, coefficients).T
