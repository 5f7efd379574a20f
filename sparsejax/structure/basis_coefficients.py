"""Coefficients of a trained function: Walsh on the cube, Hermite for Gaussian inputs."""

import functools
import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, PyTree

from sparsejax.targets.hermite import gauss_rule, hermite_table
from sparsejax.targets.monomials import Monomial


class BasisProbe(eqx.Module):
    """`<f, phi>` for basis functions `phi`, as a weighted mean over fixed evaluation inputs.

    `x`: (n, d); `rows`: (terms, n), each basis function's values times the inputs' weights. A probe
    of an online run, or called by itself: `probe(f, params) -> (terms,)`, of the first output.
    """

    x: Float[Array, "n d"]
    rows: Float[Array, "terms n"]

    def __call__(
        self, f: Callable[[PyTree, Array], Array], params: PyTree
    ) -> Float[Array, " terms"]:
        """The coefficients."""
        dtype = jnp.result_type(*jax.tree.leaves(eqx.filter(params, eqx.is_inexact_array)))
        outputs = f(params, self.x.astype(dtype))
        return self.rows.astype(dtype) @ outputs.reshape(outputs.shape[0], -1)[:, 0]


class WalshProbe(BasisProbe):
    """Fourier-Walsh coefficients `E f(x) prod_{i in S} x_i`.

    `terms`: the sets `S`, each a tuple of coordinates from 1 (`()` is the mean), or an expansion's
    pairs of set and coefficient. `x`: (n, d) points of the cube, such as `cube_inputs` gives, on
    which what these terms do not read is all that is left to chance.

    Raises:
        ValueError: a coordinate that `x` has not, or one that is named twice in a term.

    Example:
        >>> x = cube_inputs(jax.random.key(0), 8, 5, (1, 2))
        >>> probe = WalshProbe(((1,), (1, 2)), x)
        >>> f = lambda w, x: w * (x[:, :1] - 3 * x[:, :1] * x[:, 1:2])
        >>> probe(f, jnp.asarray(1.0)).tolist()
        [1.0, -3.0]
    """

    def __init__(self, terms: Sequence[Any], x: Float[Array | np.ndarray, "n d"]) -> None:
        points = np.asarray(x)
        sets = [_coordinates(term, points.shape[1]) for term in terms]
        for term in sets:
            if len(set(term)) < len(term):
                raise ValueError(
                    f"term {term}: a squared coordinate is 1 on the cube; name it once"
                )
        rows = [np.prod(points[:, [i - 1 for i in term]], axis=1) for term in sets]
        self.x = jnp.asarray(points, float)
        self.rows = jnp.asarray(np.stack(rows) / len(points), float)


class HermiteProbe(BasisProbe):
    """Coefficients in normalised Hermite polynomials of standard normal inputs.

    `terms`: each a tuple of coordinates from 1, as often as the degree in it: `(1, 1, 3)` is
    `h_2(x_1) h_1(x_3)`, where `h_k = He_k / sqrt(k!)`. `x`, `weights`: evaluation inputs and their
    weights, of sum one, such as `gaussian_inputs` gives; without weights, equal ones.

    Raises:
        ValueError: a coordinate that `x` has not, weights of another number.

    Example:
        >>> x, weights = gaussian_inputs(jax.random.key(0), 4, 3, (1, 2))
        >>> probe = HermiteProbe(((1, 1), (1, 2)), x, weights)
        >>> f = lambda w, x: x[:, :1] ** 2 + w * x[:, :1] * x[:, 1:2]
        >>> [round(float(c), 4) for c in probe(f, jnp.asarray(3.0))]  # x^2 = sqrt(2) h_2 + 1
        [1.4142, 3.0]
    """

    def __init__(
        self,
        terms: Sequence[Any],
        x: Float[Array | np.ndarray, "n d"],
        weights: Float[Array | np.ndarray, " m"] | None = None,
    ) -> None:
        points = np.asarray(x)
        shares = np.full(len(points), 1 / len(points)) if weights is None else np.asarray(weights)
        if shares.shape != points.shape[:1]:
            raise ValueError(f"x has {len(points)} rows, weights have shape {shares.shape}")
        rows = []
        for term in terms:
            counts = np.bincount(_coordinates(term, points.shape[1]), minlength=1)
            powers = [(i, int(k)) for i, k in enumerate(counts) if k]
            factors = [hermite_table(points[:, i - 1], k)[k] for i, k in powers]
            rows.append(functools.reduce(np.multiply, factors, np.ones(len(points))))
        self.x = jnp.asarray(points, float)
        self.rows = jnp.asarray(np.stack(rows) * shares, float)


def cube_inputs(
    key: Key[Array, ""], backgrounds: int, dims: int, support: Sequence[int]
) -> Float[np.ndarray, "n d"]:
    """Points of the cube: all signs of the supporting coordinates, before several backgrounds.

    `support`: coordinates from 1. `n = backgrounds 2^len(support)`: Walsh functions of the support
    are exactly orthonormal on them; only what `f` has in other coordinates is sampled.

    Raises:
        ValueError: no backgrounds, a support that `dims` does not hold or that is above 20.

    Example:
        >>> cube_inputs(jax.random.key(0), 3, 10, (1, 2)).shape
        (12, 10)
    """
    _check_support(backgrounds, dims, support, 20)
    signs = np.array(list(itertools.product((-1.0, 1.0), repeat=len(support))))
    drawn = np.where(np.asarray(jax.random.bernoulli(key, shape=(backgrounds, dims))), 1.0, -1.0)
    return _before(drawn, signs, support)


def gaussian_inputs(
    key: Key[Array, ""],
    backgrounds: int,
    dims: int,
    support: Sequence[int],
    *,
    nodes: int = 8,
) -> tuple[Float[np.ndarray, "n d"], Float[np.ndarray, " n"]]:
    """Inputs and weights: a Gauss-Hermite rule in the support, before several normal backgrounds.

    Exact for polynomials of degree up to `2 nodes - 1` in each supporting coordinate.
    `n = backgrounds nodes^len(support)`.

    Raises:
        ValueError: no backgrounds or nodes, or a support that `dims` does not hold.

    Example:
        >>> x, weights = gaussian_inputs(jax.random.key(0), 2, 5, (3,), nodes=4)
        >>> x.shape, round(float(weights @ x[:, 2] ** 4), 6)
        ((8, 5), 3.0)
    """
    _check_support(backgrounds, dims, support, 6)
    if nodes < 1:
        raise ValueError(f"nodes must be positive, got {nodes}")
    points, shares = gauss_rule(nodes)
    grid = np.array(list(itertools.product(points, repeat=len(support))))
    weights = np.array([math.prod(w) for w in itertools.product(shares, repeat=len(support))])
    drawn = np.asarray(jax.random.normal(key, (backgrounds, dims)))
    return _before(drawn, grid, support), np.tile(weights, backgrounds) / backgrounds


def _before(drawn: np.ndarray, grid: np.ndarray, support: Sequence[int]) -> np.ndarray:
    """Every row of the grid in the supporting coordinates, before every background."""
    x = np.repeat(drawn, len(grid), axis=0)
    x[:, [i - 1 for i in support]] = np.tile(grid, (len(drawn), 1))
    return x


def _coordinates(term: Any, dims: int) -> Monomial:
    """The coordinates of a term, of an expansion's pair the first."""
    paired = len(term) == 2 and isinstance(term[0], tuple)
    coordinates = tuple(int(i) for i in (term[0] if paired else term))
    if not all(1 <= i <= dims for i in coordinates):
        raise ValueError(f"term {coordinates}: coordinates are counted from 1 to {dims}")
    return coordinates


def _check_support(backgrounds: int, dims: int, support: Sequence[int], most: int) -> None:
    if backgrounds < 1:
        raise ValueError(f"backgrounds must be positive, got {backgrounds}")
    if len(set(support)) < len(support) or not all(1 <= i <= dims for i in support):
        raise ValueError(f"support: different coordinates from 1 to {dims}, got {tuple(support)}")
    if len(support) > most:
        raise ValueError(
            f"support: {len(support)} coordinates make too large a grid; {most} at most"
        )
