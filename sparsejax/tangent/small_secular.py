"""The shortest step of a small dense problem: `min ||z||` subject to `||c + A z|| <= q`."""

from typing import NamedTuple

import numpy as np
from jaxtyping import Float
from scipy.optimize import brentq


class SmallStep(NamedTuple):
    """`norm = ||z||`, infinite where no `z` reaches `q`; `misfit = c + A z`.

    `weight`: `nu` with `z` the minimiser of `||z||^2 + nu ||c + A z||^2`. Where `q` is out of reach
    `z` is zero and `misfit` is the least one, which `A^T` sends to zero.
    """

    norm: float
    z: Float[np.ndarray, " k"]
    misfit: Float[np.ndarray, " j"]
    weight: float


class SmallProblem:
    """`c = length e_1` and a small matrix, decomposed once for any number of levels.

    Example:
        >>> problem = SmallProblem(np.array([[2.0]]), 4.0)
        >>> problem.shortest(1.0).norm
        1.5
    """

    def __init__(self, matrix: Float[np.ndarray, "j k"], length: float):
        left, values, right = np.linalg.svd(matrix, full_matrices=False)
        kept = values > len(values) * np.finfo(float).eps * max(values, default=0.0)
        self.left, self.values, self.right = left[:, kept], values[kept], right[kept]
        self.start = np.zeros(matrix.shape[0])
        self.start[0] = length
        self.coordinates = length * self.left[0]
        self.rest = self.start - self.left @ self.coordinates
        self.norm = float(max(values, default=0.0))

    def shortest(self, q: float) -> SmallStep:
        """The shortest step that leaves a misfit of norm `q` at most."""
        squares, floor = self.coordinates**2, float(self.rest @ self.rest)
        zero = np.zeros(self.right.shape[1])
        if float(self.start @ self.start) <= q * q:
            return SmallStep(0.0, zero, self.start, 0.0)
        if floor >= q * q:
            return SmallStep(np.inf, zero, self.rest, np.inf)
        stretched = np.square(self.values)

        def excess(log_weight: float) -> float:
            return floor + np.sum(squares / (1 + np.exp(log_weight) * stretched) ** 2) - q * q

        # 1 + nu s^2 lies between its values at the ends of the spectrum, which brackets the root.
        ratio = np.sqrt(max(np.sum(squares) / (q * q - floor), 1)) - 1
        low, high = (np.log(max(ratio / s, 1e-300)) for s in (stretched.max(), stretched.min()))
        low, high = low - 1e-3, high + 1e-3
        if excess(low) <= 0 or excess(high) >= 0:  # a root at the resolution of the numbers
            root = low if excess(low) <= 0 else high
        else:
            root = brentq(excess, low, high, xtol=1e-14, rtol=1e-14)
        return self.regularised(float(np.exp(root)))

    def regularised(self, weight: float) -> SmallStep:
        """The minimiser of `||z||^2 + weight ||c + A z||^2`."""
        shrunk = self.coordinates / (1 + weight * np.square(self.values))
        step = -weight * self.values * shrunk
        return SmallStep(
            float(np.linalg.norm(step)), step @ self.right, self.rest + self.left @ shrunk, weight
        )
