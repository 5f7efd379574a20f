"""What a PAC claim learns: a population through a cubature rule, or a sample of it with a test."""

import dataclasses
import functools
from typing import Any

import numpy as np
import scipy.stats
from jaxtyping import Float

from sparsejax import targets

# Independent scrambled rules whose spread is the error of a population loss.
REPLICATES, REPLICATE_POINTS = 8, 1024


@dataclasses.dataclass(frozen=True, eq=False)
class PacData:
    """Inputs to train on, and independent ones to measure the population or test loss on.

    `x`: `(n, d)`, `y`: `(n, 1)`, `weights`: `(n,)` or None where all are `1 / n`. `fresh`: sets of
    inputs and targets, each of which gives an independent estimate; none where `exact`: then `x` is
    all that there is.
    """

    x: Float[np.ndarray, "n d"]
    y: Float[np.ndarray, "n 1"]
    weights: Float[np.ndarray, " n"] | None
    fresh: tuple[tuple[Float[np.ndarray, "m d"], Float[np.ndarray, "m 1"]], ...]
    population: bool

    @property
    def exact(self) -> bool:
        """Whether the training points are the whole population."""
        return self.population and not self.fresh

    @property
    def dims(self) -> int:
        """Number of input coordinates."""
        return self.x.shape[1]

    @property
    def zero_loss(self) -> float:
        """The loss of the function zero on the training points."""
        squares = np.sum(self.y**2, axis=1)
        return float(squares.mean() if self.weights is None else self.weights @ squares)


def parity(x: Any, order: int) -> Any:
    """The product of the first `order` coordinates, of shape (n, 1); NumPy or JAX arrays (n, d).

    >>> parity(np.array([[1.0, -1.0, -1.0, 5.0]]), 3).tolist()
    [[1.0]]
    """
    return x[:, :order].prod(axis=1, keepdims=True)


@functools.lru_cache(maxsize=8)
def pac_data(
    target: str, dims: int, order: int, population: bool, points: int, samples: int, seed: int
) -> PacData:
    """The data of one target; cached, as every trial asks for them.

    `tree`: `tanh(2 x1 x2) tanh(2 x3 x4)`, uniform inputs; `parity`: the product of `order`
    coordinates of a vertex of the cube. With
    `population` the first is trained on a rule of `points` nodes, the second on all vertices of the
    cube; otherwise on `samples` random inputs. Real data are samples.

    Raises:
        ValueError: as `uniform_cubature`, `cube_cubature` and `real_data`.
    """
    # float64 on the host; whoever computes with them converts.
    if target in targets.REAL:
        return _of_samples(targets.real_data(target, samples, seed))
    tree = targets.product_tree(dims) if target == "tree" else None

    def values(x: np.ndarray) -> np.ndarray:
        return parity(x, order) if tree is None else np.asarray(tree(x), float)

    draw = np.random.default_rng(seed)
    if not population:
        count = samples + REPLICATE_POINTS
        x = draw.uniform(-1, 1, (count, dims))
        x = x if tree is not None else np.sign(x)
        y = values(x)
        return PacData(x[:samples], y[:samples], None, ((x[samples:], y[samples:]),), False)
    if tree is None:
        rule = targets.cube_cubature(dims)
        return PacData(rule.nodes, values(rule.nodes), None, (), True)
    rule = targets.uniform_cubature(dims, points, seed)
    # Never a Gauss rule: what it is exact for would be judged by itself.
    nodes = [
        2 * _sobol(dims, np.random.default_rng([seed, 1 + number])) - 1
        for number in range(REPLICATES)
    ]
    weights = None if rule.equal else rule.weights
    fresh = tuple((x, values(x)) for x in nodes)
    return PacData(rule.nodes, values(rule.nodes), weights, fresh, True)


@functools.lru_cache(maxsize=8)
def table_pac_data(data: str, target: str | None, samples: int, seed: int) -> PacData:
    """The table in a file, with one of its columns as the target; cached.

    Raises:
        ValueError: as `targets.data_by_name`, or a target of more than two classes.
    """
    if not targets.is_table_file(data):
        raise ValueError(f"data: {data!r} is no file; bundled data are named by targets")
    return _of_samples(targets.data_by_name(data, samples, seed, target))


def _of_samples(data: targets.Dataset) -> PacData:
    if data.outputs > 1:
        raise ValueError(
            f"target: {data.name} has {data.outputs} classes, and one output is learned: give a "
            "target of two classes, or of numbers"
        )
    return PacData(data.x_train, data.y_train, None, ((data.x_test, data.y_test),), False)


def _sobol(dims: int, draw: np.random.Generator) -> np.ndarray:
    return scipy.stats.qmc.Sobol(dims, rng=draw).random(REPLICATE_POINTS)
