"""Random constituent functions of few variables: smooth ones, and Boolean ones."""

import dataclasses
import itertools
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sparsejax.targets.walsh import walsh_transform

FEATURES = 8
# Inputs on which smooth constituents are scaled: node values are O(1) to a few percent.
SCALED_ON = 4096
MOST_BOOLEAN_VARIABLES = 10


@dataclasses.dataclass(frozen=True)
class SmoothConstituent:
    """`(sum_k a_k tanh(w_k . u + b_k) - shift) / scale`: analytic, bounded, hashable.

    Example:
        >>> import jax.numpy as jnp
        >>> f = SmoothConstituent(((1.0, 1.0),), (0.0,), (2.0,), shift=0.5, scale=0.5)
        >>> f(jnp.array([0.0]), jnp.array([0.0])).tolist()
        [-1.0]
    """

    weights: tuple[tuple[float, ...], ...]
    biases: tuple[float, ...]
    amplitudes: tuple[float, ...]
    shift: float = 0.0
    scale: float = 1.0

    def __call__(self, *parents: Array) -> Array:
        """The function of its parents' values, entry by entry."""
        total = jnp.zeros_like(parents[0])
        for weights, bias, amplitude in zip(
            self.weights, self.biases, self.amplitudes, strict=True
        ):
            inner = sum(w * u for w, u in zip(weights, parents, strict=True)) + bias
            total = total + amplitude * jnp.tanh(inner)
        return (total - self.shift) / self.scale

    def on_host(self, parents: Float[np.ndarray, "c n"]) -> Float[np.ndarray, " n"]:
        """The same in double precision whatever JAX's precision is: targets compare by value."""
        inner = np.asarray(self.weights) @ parents + np.asarray(self.biases)[:, None]
        return (np.asarray(self.amplitudes) @ np.tanh(inner) - self.shift) / self.scale


@dataclasses.dataclass(frozen=True)
class BooleanConstituent:
    """A function from `{-1, 1}^c` to `{-1, 1}`, as the multilinear polynomial that it is.

    `values`: at all vertices, in the order of `cube_cubature(c).nodes`. Off the cube it is the
    polynomial, which can be differentiated; on it it is exact.

    Raises:
        ValueError: values that are not +-1, or not a power of two of them.

    Example:
        >>> import jax.numpy as jnp
        >>> both = BooleanConstituent((-1, -1, -1, 1))  # "and", of True = 1
        >>> both(jnp.array([1.0, -1.0]), jnp.array([1.0, 1.0])).tolist(), both.coefficients[:2]
        ([1.0, -1.0], (-0.5, 0.5))
    """

    values: tuple[int, ...]

    def __post_init__(self) -> None:
        count = len(self.values)
        if count < 2 or count & (count - 1) or not set(self.values) <= {-1, 1}:
            raise ValueError(
                f"values: a Boolean function has 2^c values, each -1 or 1, got {self.values}"
            )

    @property
    def variables(self) -> int:
        """Number of variables `c`."""
        return len(self.values).bit_length() - 1

    @property
    def coefficients(self) -> tuple[float, ...]:
        """Walsh coefficients; that of the set {1, 3} of three variables is entry 101 in binary."""
        return tuple(walsh_transform(np.array(self.values, float)).tolist())

    @property
    def depends_on_all(self) -> bool:
        """Whether every variable has an influence."""
        table = np.array(self.values).reshape((2,) * self.variables)
        return all(bool((np.diff(table, axis=a) != 0).any()) for a in range(self.variables))

    def __call__(self, *parents: Array) -> Array:
        """The multilinear polynomial of the parents' values, entry by entry."""
        total = jnp.zeros_like(parents[0])
        for chosen, coefficient in zip(
            itertools.product((False, True), repeat=self.variables), self.coefficients, strict=True
        ):
            if coefficient:
                term: Any = coefficient
                for use, u in zip(chosen, parents, strict=True):
                    term = term * u if use else term
                total = total + term
        return total

    def on_host(self, parents: Float[np.ndarray, "c n"]) -> Float[np.ndarray, " n"]:
        """The values at vertices of the cube."""
        number = (parents > 0).T @ (2 ** np.arange(self.variables - 1, -1, -1))
        return np.asarray(self.values, float)[number]


Drawn = SmoothConstituent | BooleanConstituent
Draw = Callable[[np.random.Generator, Float[np.ndarray, "c n"]], Drawn]


def draw_smooth(rng: np.random.Generator, samples: Float[np.ndarray, "c n"]) -> SmoothConstituent:
    """A sum of eight random tanh features, with mean zero and variance one on these samples.

    Weights are `N(0, 1)` times 1.5 over the spread of the samples and the root of the number of
    variables, so that features bend.

    Example:
        >>> u = np.random.default_rng(1).uniform(-1, 1, size=(2, 500))
        >>> f = draw_smooth(np.random.default_rng(0), u)
        >>> abs(float(f.on_host(u).mean())) < 1e-12, round(float(f.on_host(u).std()), 12)
        (True, 1.0)
    """
    arity = len(samples)
    spread = samples.std(axis=1)
    weights = 1.5 * rng.normal(size=(FEATURES, arity)) / (spread * np.sqrt(arity))
    raw = SmoothConstituent(
        tuple(map(tuple, weights.tolist())),
        tuple(rng.normal(size=FEATURES).tolist()),
        tuple(rng.normal(size=FEATURES).tolist()),
    )
    values = raw.on_host(samples)
    return dataclasses.replace(raw, shift=float(values.mean()), scale=float(values.std()))


def draw_boolean(rng: np.random.Generator, samples: Float[np.ndarray, "c n"]) -> BooleanConstituent:
    """A Boolean function, uniform among those that depend on every variable.

    Raises:
        ValueError: more than ten variables.
    """
    variables = len(samples)
    if variables > MOST_BOOLEAN_VARIABLES:
        raise ValueError(
            f"arity: Boolean constituents have up to {MOST_BOOLEAN_VARIABLES} variables, "
            f"got {variables}"
        )
    while True:
        drawn = BooleanConstituent(tuple(rng.choice([-1, 1], size=2**variables).tolist()))
        if drawn.depends_on_all:
            return drawn
