"""Variance-based sensitivities, exact: shares of the variance by set of coordinates."""

import dataclasses
import functools
import itertools
import math
from collections.abc import Iterable, Sequence

import numpy as np
from jaxtyping import Float

from sparsejax.targets.expansion import Expansion
from sparsejax.targets.monomials import Monomial

# Numbers that the decomposition of a table may hold.
MOST_CELLS = 2**24


@dataclasses.dataclass(frozen=True)
class SobolIndices:
    """The functional analysis of variance of `f` under independent inputs.

    `components`: for each set of coordinates T, counted from 1, the share `S_T = Var f_T / Var f`
    of the part of `f` that depends on exactly T; sets without a share are left out, and shares sum
    to one. A constant has no components, and all its indices are 0.

    Source: Sobol, Mathematics and Computers in Simulation 2001.

    Example:
        >>> from sparsejax.targets import WalshExpansion
        >>> indices = sobol_indices(WalshExpansion(9, (((1,), 1.0), ((1, 2), 2.0))))
        >>> indices.first(1), indices.total(1), indices.total(2), indices.closed((1, 2))
        (0.2, 1.0, 0.8, 1.0)
    """

    components: tuple[tuple[Monomial, float], ...]
    variance: float

    @functools.cached_property
    def coordinates(self) -> tuple[int, ...]:
        """Those with a share of the variance."""
        return tuple(sorted({i for coordinates, _ in self.components for i in coordinates}))

    def share(self, coordinates: Monomial) -> float:
        """`S_T`: of the part that depends on exactly these coordinates."""
        return dict(self.components).get(tuple(sorted(coordinates)), 0.0)

    def first(self, coordinate: int) -> float:
        """`Var E[f | x_i] / Var f`: what the coordinate explains by itself."""
        return self.share((coordinate,))

    def closed(self, coordinates: Iterable[int]) -> float:
        """`Var E[f | x_T] / Var f`: what these coordinates explain together."""
        known = set(coordinates)
        return math.fsum(share for part, share in self.components if known.issuperset(part))

    def total(self, coordinate: int) -> float:
        """`E Var[f | all other coordinates] / Var f`: all that the coordinate has a part in."""
        return math.fsum(share for part, share in self.components if coordinate in part)


def sobol_indices(expansion: Expansion) -> SobolIndices:
    """The indices of an expansion: `S_T = f^(T)^2 / Var f` on the cube.

    Of Gaussian inputs, the squared coefficients of all terms that contain exactly the coordinates
    of T, to whatever power.

    Source: O'Donnell, Analysis of Boolean Functions, 2014, section 2.3 (influences are total
    indices times the variance); Sudret, Reliability Engineering & System Safety 2008 (Hermite).

    Example:
        >>> from sparsejax.targets import HermiteExpansion
        >>> sobol_indices(HermiteExpansion(4, (((1, 1), 3.0), ((1,), 1.0)))).components
        (((1,), 1.0),)
    """
    squares: dict[Monomial, list[float]] = {}
    for monomial, value in expansion.terms:
        if monomial:
            squares.setdefault(tuple(sorted(set(monomial))), []).append(value**2)
    variance = expansion.variance
    return SobolIndices(
        tuple((part, math.fsum(found) / variance) for part, found in sorted(squares.items())),
        variance,
    )


def sobol_indices_of_table(
    table: Float[np.ndarray, "..."],
    marginals: Sequence[Float[np.ndarray, " _"]] | None = None,
    *,
    tolerance: float = 1e-12,
) -> SobolIndices:
    """The indices of a function of discrete inputs, from all its values: an axis a coordinate.

    `marginals`: the probabilities of each coordinate's values; uniform unless told otherwise.
    Shares below `tolerance` are roundings, and left out.

    Raises:
        ValueError: values that are not finite, marginals that do not fit or are no probabilities,
            a table whose decomposition would be too large.

    Source: Efron, Stein, Annals of Statistics 1981.

    Example:
        >>> import numpy as np
        >>> xor = np.array([[0.0, 1.0], [1.0, 0.0]])
        >>> sobol_indices_of_table(xor).components
        (((1, 2), 1.0),)
    """
    table = np.asarray(table, float)
    if not np.isfinite(table).all() or table.ndim < 1 or not table.size:
        raise ValueError(f"a table has finite values and an axis a coordinate, got {table.shape}")
    if math.prod(size + 1 for size in table.shape) > MOST_CELLS:
        raise ValueError(f"a table of shape {table.shape} has too many parts; merge coordinates")
    chances = _probabilities(table.shape, marginals)
    # One coordinate after another splits each part into its mean over it, and the rest.
    parts: dict[Monomial, np.ndarray] = {(): table}
    for axis, chance in enumerate(chances):
        weights = chance.reshape([-1 if other == axis else 1 for other in range(table.ndim)])
        split = {}
        for part, values in parts.items():
            mean = (values * weights).sum(axis=axis, keepdims=True)
            split[part] = mean
            split[*part, axis + 1] = values - mean
        parts = split
    variances = {part: _mean_square(values, chances) for part, values in parts.items() if part}
    variance = math.fsum(variances.values())
    # A constant's differences from its mean are roundings too.
    if variance <= (1e-15 * float(np.abs(table).max())) ** 2:
        return SobolIndices((), 0.0)
    shares = {part: value / variance for part, value in variances.items()}
    kept = sorted((part, share) for part, share in shares.items() if share > tolerance)
    return SobolIndices(tuple(kept), variance)


def _probabilities(
    shape: tuple[int, ...], marginals: Sequence[Float[np.ndarray, " _"]] | None
) -> list[np.ndarray]:
    if marginals is None:
        return [np.full(size, 1 / size) for size in shape]
    found = [np.asarray(marginal, float) for marginal in marginals]
    if [len(marginal) for marginal in found] != list(shape):
        raise ValueError(
            f"marginals: a table of shape {shape} needs as many probabilities an axis, "
            f"got {[len(marginal) for marginal in found]}"
        )
    for axis, marginal in enumerate(found, start=1):
        if not (marginal >= 0).all() or abs(marginal.sum() - 1) > 1e-9:
            raise ValueError(f"marginals: those of coordinate {axis} are no probabilities")
    return found


def _mean_square(values: np.ndarray, chances: list[np.ndarray]) -> float:
    squares = values**2
    # An axis that was averaged out has length one, and its probabilities sum to one.
    for chance in reversed(chances):
        squares = squares @ chance if squares.shape[-1] == len(chance) else squares[..., 0]
    return float(squares)


def subsets(coordinates: Iterable[int]) -> list[Monomial]:
    """All sets of some coordinates, small ones first.

    Example:
        >>> subsets((1, 4))
        [(), (1,), (4,), (1, 4)]
    """
    found = sorted(set(coordinates))
    return [s for size in range(len(found) + 1) for s in itertools.combinations(found, size)]
