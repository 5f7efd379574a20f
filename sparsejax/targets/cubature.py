"""Points and weights that stand for a whole distribution: the population loss without samples."""

import dataclasses
import itertools

import numpy as np
import scipy.stats
from jaxtyping import Float

# Tensor rules have points**dims nodes: beyond this many dimensions quasi-random points do better.
TENSOR_DIMS = 3


@dataclasses.dataclass(frozen=True, eq=False)
class Cubature:
    """Nodes `(n, d)` and weights `(n,)` that sum to one: means over a distribution of inputs.

    `exact`: the nodes are all the points that the distribution has. An estimate otherwise.
    """

    nodes: Float[np.ndarray, "n d"]
    weights: Float[np.ndarray, " n"]
    exact: bool = False

    @property
    def equal(self) -> bool:
        """Whether all weights are the same."""
        return bool(np.ptp(self.weights) <= 1e-12 * self.weights.max())


def uniform_cubature(dims: int, points: int, seed: int = 0) -> Cubature:
    """About `points` nodes for the uniform distribution on `[-1, 1]^dims`.

    Up to three dimensions the tensor product of Gauss-Legendre rules, with the most nodes a side
    that `points` allows: exact for polynomials of degree 2 m - 1 in each coordinate. Beyond, Sobol
    points scrambled by `seed` (their number the power of two at or below `points`), with equal
    weights: other seeds give independent unbiased estimates, whose spread is the error.

    Raises:
        ValueError: fewer than one dimension, or too few points for two nodes a side.

    Example:
        >>> rule = uniform_cubature(dims=2, points=16)
        >>> rule.nodes.shape, round(float(rule.weights @ rule.nodes[:, 0] ** 6), 12)
        ((16, 2), 0.142857142857)
    """
    if dims < 1:
        raise ValueError(f"dims must be positive, got {dims}")
    if points < 2 ** min(dims, TENSOR_DIMS):
        raise ValueError(
            f"points: {points} are too few for two nodes a side in {dims} dimensions; "
            f"give {2 ** min(dims, TENSOR_DIMS)} or more"
        )
    if dims <= TENSOR_DIMS:
        side = int(np.floor(points ** (1 / dims) + 1e-9))
        node, weight = np.polynomial.legendre.leggauss(side)
        nodes = np.array(list(itertools.product(node, repeat=dims)))
        weights = np.array(list(itertools.product(weight / 2, repeat=dims))).prod(axis=1)
        return Cubature(nodes, weights)
    sobol = scipy.stats.qmc.Sobol(dims, rng=np.random.default_rng(seed))
    nodes = 2 * sobol.random_base2(int(np.log2(points))) - 1
    return Cubature(nodes, np.full(len(nodes), 1 / len(nodes)))


def cube_cubature(dims: int) -> Cubature:
    """All `2^dims` vertices of `{-1, 1}^dims`: exact means over the uniform distribution on them.

    Raises:
        ValueError: more than 16 dimensions, or fewer than one.

    Example:
        >>> rule = cube_cubature(3)
        >>> rule.nodes.shape, float(rule.weights @ rule.nodes.prod(axis=1))
        ((8, 3), 0.0)
    """
    if not 1 <= dims <= 16:
        raise ValueError(f"all vertices of a cube are listed for 1 to 16 dimensions, not {dims}")
    nodes = np.array(list(itertools.product((-1.0, 1.0), repeat=dims)))
    return Cubature(nodes, np.full(len(nodes), 1 / len(nodes)), exact=True)
