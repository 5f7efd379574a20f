"""Polynomials on the cube that tell learning theories apart: staircases, parities, leaps."""

from collections.abc import Sequence

import numpy as np

from sparsejax.targets.monomials import Monomial
from sparsejax.targets.walsh import WalshExpansion


def staircase(dims: int, order: int = 3) -> WalshExpansion:
    """`x1 + x1 x2 + ... + x1 x2 ... x_order`: every product builds on the one before; leap 1.

    Raises:
        ValueError: an order that is not positive or above the number of dimensions.

    Source: Abbe et al., NeurIPS 2021 (arXiv 2108.10573).

    Example:
        >>> staircase(100).formula
        'x1 + x1*x2 + x1*x2*x3'
    """
    _check_order(dims, order)
    return _sum(dims, [tuple(range(1, k + 1)) for k in range(1, order + 1)])


def parity(dims: int, order: int = 3) -> WalshExpansion:
    """`x1 x2 ... x_order`: nothing but the last stair; its leap is its order.

    Raises:
        ValueError: an order that is not positive or above the number of dimensions.

    Source: Barak et al., NeurIPS 2022 (arXiv 2207.08799).

    Example:
        >>> parity(50, 3).formula
        'x1*x2*x3'
    """
    _check_order(dims, order)
    return _sum(dims, [tuple(range(1, order + 1))])


def leap_staircase(dims: int, leap: int = 3) -> WalshExpansion:
    """`x1` and a product of `leap` other coordinates: a stair, and a step of that height.

    The product is `x4 x5 ...`, as far from the first coordinate as the literature has it for
    `z1 + z4 z5 z6`, or `x2 x3 ...` where there is no room.

    Raises:
        ValueError: a leap that is not positive or does not fit beside `x1`.

    Source: Abbe, Boix-Adsera, Misiakiewicz, COLT 2023 (arXiv 2302.11055).

    Example:
        >>> leap_staircase(100).formula, leap_staircase(3, leap=2).formula
        ('x1 + x4*x5*x6', 'x1 + x2*x3')
    """
    if leap < 1 or leap + 1 > dims:
        raise ValueError(f"leap: 1 to {dims - 1} new coordinates fit in {dims}, got {leap}")
    first = 4 if leap + 3 <= dims else 2
    return _sum(dims, [(1,), tuple(range(first, first + leap))])


def merged_stairs(dims: int) -> WalshExpansion:
    """`x1 + x2 + x2 x3 + x1 x2 x3 x4`: two first steps, and a product that needs both; leap 1.

    No single chain of products: the merged-staircase property without a staircase.

    Raises:
        ValueError: fewer than four dimensions.

    Source: Abbe, Boix-Adsera, Misiakiewicz, COLT 2022 (arXiv 2202.08658), merged staircases.

    Example:
        >>> merged_stairs(4).degree
        4
    """
    if dims < 4:
        raise ValueError(f"dims: four or more are needed, got {dims}")
    return _sum(dims, [(1,), (2,), (2, 3), (1, 2, 3, 4)])


def degenerate_staircase(dims: int, order: int = 3) -> WalshExpansion:
    """`x1 + ... + x_order + x1 ... x_order`: leap 1, but symmetric.

    Its coefficients are in the set of measure zero that theory leaves out: by symmetry a
    mean-field flow keeps the weights of all coordinates equal. Perturbed coefficients are not.

    Raises:
        ValueError: an order below 2 or above the number of dimensions.

    Source: Abbe, Boix-Adsera, Misiakiewicz, COLT 2022 (arXiv 2202.08658), degenerate cases.

    Example:
        >>> degenerate_staircase(9).formula
        'x1 + x2 + x3 + x1*x2*x3'
    """
    if order < 2:
        raise ValueError(f"order: two or more are needed, got {order}")
    _check_order(dims, order)
    return _sum(dims, [*((i,) for i in range(1, order + 1)), tuple(range(1, order + 1))])


def sparse_polynomial(
    dims: int, *, support: int = 5, terms: int = 4, degree: int = 3, seed: int = 0
) -> WalshExpansion:
    """A random polynomial: `terms` different sets of 1 to `degree` of `support` coordinates.

    Coordinates are drawn from all `dims`, sizes uniformly, coefficients from +-[1/2, 1]. Some of
    the drawn coordinates may not occur.

    Raises:
        ValueError: numbers that are not positive, more coordinates or a higher degree than there
            is room for, or fewer sets than terms.

    Example:
        >>> f = sparse_polynomial(100, seed=3)
        >>> len(f.terms), f.degree <= 3, len(f.support) <= 5
        (4, True, True)
    """
    if not 1 <= degree <= support <= dims:
        raise ValueError(
            f"1 <= degree <= support <= dims is wanted, got {degree}, {support}, {dims}"
        )
    rng = np.random.default_rng(seed)
    coordinates = 1 + np.sort(rng.choice(dims, support, replace=False))
    sets: dict[Monomial, None] = {}
    # Drawn without replacement by drawing again; a few rounds of that are many more than needed.
    for _ in range(1000 * max(terms, 1)):
        if len(sets) == terms:
            break
        size = int(rng.integers(1, degree + 1))
        sets[tuple(np.sort(rng.choice(coordinates, size, replace=False)).tolist())] = None
    if terms < 1 or len(sets) < terms:
        raise ValueError(f"terms: {terms} different sets of up to {degree} of {support} are wanted")
    values = rng.uniform(0.5, 1.0, terms) * rng.choice([-1.0, 1.0], terms)
    return WalshExpansion(dims, tuple(zip(sets, values.tolist(), strict=True)))


def _sum(dims: int, monomials: Sequence[Monomial]) -> WalshExpansion:
    return WalshExpansion(dims, tuple((monomial, 1.0) for monomial in monomials))


def _check_order(dims: int, order: int) -> None:
    if not 1 <= order <= dims:
        raise ValueError(f"order: 1 to {dims} coordinates can be multiplied, got {order}")
