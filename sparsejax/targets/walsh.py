"""Functions on the Boolean cube by their Fourier-Walsh coefficients."""

import dataclasses
import math
from collections.abc import Callable
from fractions import Fraction
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sparsejax.targets.cubature import cube_cubature
from sparsejax.targets.expansion import Expansion
from sparsejax.targets.monomials import sum_of_products
from sparsejax.targets.target import check_inputs


@dataclasses.dataclass(frozen=True)
class WalshExpansion(Expansion):
    """`f(x) = sum_S f^(S) prod_{i in S} x_i` on `{-1, 1}^dims`: a target given by its coefficients.

    `terms`: pairs of a set of coordinates, counted from 1, and its coefficient. Equal sets are
    merged, zeros dropped. Only the terms cost anything: `dims` may be large. Static and hashable.

    Raises:
        ValueError: a coordinate that is out of range or twice in a set, a coefficient that is not
            finite, or `dims` that is not positive.

    Source: O'Donnell, Analysis of Boolean Functions, 2014, theorem 1.1.

    Example:
        >>> import jax.numpy as jnp
        >>> f = WalshExpansion(200, (((1,), 1.0), ((2, 1), 0.5)))
        >>> f.degree, f.support, f.coefficient((1, 2)), f.formula
        (2, (1, 2), 0.5, 'x1 + 0.5*x1*x2')
        >>> f(jnp.ones((1, 200))).tolist()
        [[1.5]]
    """

    law = "cube"
    repeats = False

    def __call__(self, x: Float[Array | np.ndarray, "n d"]) -> Float[Array, "n 1"]:
        """The multilinear function on every sample, on the cube or off it."""
        check_inputs(x, self.dims)
        column = {coordinate: place for place, coordinate in enumerate(self.support)}
        used = jnp.asarray(x)[:, np.array(self.support, int) - 1]
        terms = [(tuple(column[i] for i in monomial), value) for monomial, value in self.terms]
        return sum_of_products(used, terms)[:, None]


def walsh_transform(values: Float[np.ndarray, " points"]) -> Float[np.ndarray, " points"]:
    """All `2^d` coefficients of a function from its `2^d` values; exact where sums are.

    Values are in the order of `cube_cubature(d).nodes`: the last coordinate changes fastest, and -1
    comes before 1. Coefficients likewise: `walsh_transform(v).reshape((2,) * d)[1, 0, 1]` is that
    of the set {1, 3}. The fast transform: `d 2^d` additions.

    Raises:
        ValueError: a number of values that is no power of two, or one value alone.

    Example:
        >>> import numpy as np
        >>> walsh_transform(np.array([1.0, -1.0, -1.0, 1.0])).tolist()  # x1 x2
        [0.0, 0.0, 0.0, 1.0]
    """
    dims = len(values).bit_length() - 1
    if dims < 1 or len(values) != 2**dims:
        raise ValueError(f"a function on the cube has 2^d values, d >= 1, not {len(values)}")
    table = np.asarray(values, float)
    for axis in range(dims):
        low, high = np.moveaxis(table.reshape(2**axis, 2, -1), 1, 0)
        table = np.stack([high + low, high - low], axis=1) / 2
    return table.reshape(-1)


def walsh_expansion(
    function: Callable[[Float[np.ndarray, "points k"]], Any],
    variables: int,
    *,
    dims: int | None = None,
    coordinates: tuple[int, ...] | None = None,
    tolerance: float = 1e-12,
) -> WalshExpansion:
    """The expansion of any function of few Boolean variables, from all its values.

    `function` takes all vertices, shape `(2^variables, variables)`, and gives `(2^variables,)` or
    `(2^variables, 1)`. Its variables are `coordinates` of `dims`, the first ones unless told
    otherwise. Coefficients below `tolerance` of the largest value are roundings, and dropped.

    Raises:
        ValueError: more than 16 variables, coordinates that do not fit, values of another shape or
            that are not finite.

    Example:
        >>> walsh_expansion(lambda x: x.max(axis=1), 2, dims=9, coordinates=(4, 7)).formula
        '0.5 + 0.5*x4 + 0.5*x7 - 0.5*x4*x7'
    """
    coordinates = tuple(range(1, variables + 1)) if coordinates is None else coordinates
    if len(coordinates) != variables or len(set(coordinates)) < variables:
        raise ValueError(f"coordinates: {variables} different ones, got {coordinates}")
    dims = max(coordinates, default=0) if dims is None else dims
    nodes = cube_cubature(variables).nodes
    values = np.asarray(function(nodes), float)
    if values.size != len(nodes) or values.shape[0] != len(nodes):
        raise ValueError(
            f"the function should give {len(nodes)} values, a vertex each; got {values.shape}"
        )
    values = values.reshape(-1)
    if not np.isfinite(values).all():
        vertex = nodes[np.flatnonzero(~np.isfinite(values))[0]].tolist()
        raise ValueError(f"the function is not finite at {vertex}")
    found = walsh_transform(values)
    large = np.flatnonzero(np.abs(found) > tolerance * np.abs(values).max())
    sets = [
        tuple(c for c, bit in zip(coordinates, f"{i:0{variables}b}", strict=True) if bit == "1")
        for i in large.tolist()
    ]
    return WalshExpansion(dims, tuple(zip(sets, found[large].tolist(), strict=True)))


def majority_coefficient(n: int, k: int) -> float:
    """The Walsh coefficient of `sign(x1 + ... + xn)` at any set of size k; n odd.

    Zero for even k, as majority is odd. Exact up to one rounding.

    Raises:
        ValueError: n that is not odd and positive, or k outside of 0 to n.

    Source: Barak et al., NeurIPS 2022 (arXiv 2207.08799); O'Donnell 2014, theorem 5.19:
    `(-1)^((k-1)/2) C((n-1)/2, (k-1)/2) / C(n-1, k-1) C(n-1, (n-1)/2) 2^(1-n)`.

    Example:
        >>> [majority_coefficient(3, k) for k in range(4)]
        [0.0, 0.5, 0.0, -0.5]
    """
    if n < 1 or n % 2 == 0:
        raise ValueError(f"majority needs an odd number of voters, got n={n}")
    if not 0 <= k <= n:
        raise ValueError(f"sets of {n} voters have 0 to {n} of them, got k={k}")
    if k % 2 == 0:
        return 0.0
    half, pairs = (n - 1) // 2, (k - 1) // 2
    size = Fraction(math.comb(half, pairs) * math.comb(n - 1, half), math.comb(n - 1, k - 1))
    return float((-1) ** pairs * size / 2 ** (n - 1))


def majority(n: int, *, dims: int | None = None) -> WalshExpansion:
    """`sign(x1 + ... + xn)` with all its coefficients, of which there are `2^(n-1)`.

    Raises:
        ValueError: n that is even or above 15, or fewer than n dimensions.

    Example:
        >>> majority(3).formula
        '0.5*x1 + 0.5*x2 + 0.5*x3 - 0.5*x1*x2*x3'
    """
    if n > 15:
        raise ValueError(f"all coefficients of majority are listed up to n = 15, not {n}")
    majority_coefficient(n, 1)  # refuses an even number
    return walsh_expansion(lambda x: np.sign(x.sum(axis=1)), n, dims=dims)
