"""Functions of independent inputs by coefficients: what Walsh and Hermite expansions share."""

import abc
import dataclasses
import functools
import math
from collections import Counter
from typing import Any, ClassVar

import numpy as np
from jaxtyping import Array, Float

from sparsejax.graphs import Dag
from sparsejax.targets.input_laws import sample_inputs
from sparsejax.targets.monomials import (
    Monomial,
    Terms,
    binary_dag,
    canonical_terms,
    factors_of,
    formula,
    is_partial_sum,
)


@dataclasses.dataclass(frozen=True)
class Expansion(abc.ABC):
    """A sum of products of orthonormal functions of one coordinate each, as static terms.

    `terms`: pairs of the coordinates of a product, counted from 1, and its coefficient. A
    coordinate that is there k times stands for its function of order k.

    Raises:
        ValueError: a coordinate that is out of range, or twice in a term where no law `repeats`
            it; a coefficient that is not finite, or `dims` that is not positive.
    """

    dims: int
    terms: Terms

    law: ClassVar[str]
    # Whether a coordinate has functions of a higher order than the first.
    repeats: ClassVar[bool]

    def __post_init__(self) -> None:
        terms = canonical_terms(self.terms, self.dims, repeats=self.repeats)
        object.__setattr__(self, "terms", terms)

    @abc.abstractmethod
    def __call__(self, x: Float[Array | np.ndarray, "n d"]) -> Float[Array, "n 1"]:
        """The function on every sample."""

    @functools.cached_property
    def _coefficients(self) -> dict[Monomial, float | int]:
        return dict(self.terms)

    def coefficient(self, coordinates: Monomial) -> float:
        """`E f(x)` times a term's product of functions; zero where there is no such term."""
        return float(self._coefficients.get(tuple(sorted(coordinates)), 0.0))

    @property
    def mean(self) -> float:
        """`E f`."""
        return self.coefficient(())

    @property
    def variance(self) -> float:
        """`Var f`: the sum of the squared coefficients of all terms but the constant."""
        return math.fsum(value**2 for monomial, value in self.terms if monomial)

    @property
    def degree(self) -> int:
        """The largest total degree; 0 for constants."""
        return max((len(monomial) for monomial, _ in self.terms), default=0)

    @functools.cached_property
    def support(self) -> tuple[int, ...]:
        """Coordinates that occur, counted from 1."""
        return tuple(sorted({i for monomial, _ in self.terms for i in monomial}))

    @functools.cached_property
    def dag(self) -> Dag:
        """Powers of one coordinate, then products and sums of two, common products shared."""
        orders = [Counter(monomial) for monomial, _ in self.terms]
        products = [
            tuple(f"x{i}" if k == 1 else _power(i, k) for i, k in order.items()) for order in orders
        ]
        powers = {_power(i, k): (f"x{i}",) for order in orders for i, k in order.items() if k > 1}
        return binary_dag(self.dims, products, tuple(powers.items()))

    @functools.cached_property
    def constituents(self) -> dict[str, "Expansion"]:
        """What each node of `dag` computes, itself an expansion: products, and parts of the sum.

        Example:
            >>> from sparsejax.targets import WalshExpansion
            >>> f = WalshExpansion(3, (((1,), 1.0), ((1, 2), 0.5), ((1, 2, 3), 2.0)))
            >>> {node: part.formula for node, part in f.constituents.items()}
            {'x1x2': 'x1*x2', 's1': 'x1 + 0.5*x1*x2', 'x1x2x3': 'x1*x2*x3',
             'y': 'x1 + 0.5*x1*x2 + 2*x1*x2*x3'}
        """
        orders = {_power(i, k): (i,) * k for m, _ in self.terms for i, k in Counter(m).items()}
        # Of a coordinate and of what is a product: which one. Sums have none.
        products = {f"x{i}": (i,) for i in self.support} | orders
        parts: dict[str, Terms] = {}

        def summand(name: str) -> Terms:
            if name in products:
                return ((products[name], self._coefficients[products[name]]),)
            return parts[name]

        for name in self.dag.ancestors:
            parents = self.dag.parents_of(name)
            if name == self.dag.root:
                parts[name] = self.terms
            elif name in orders:
                parts[name] = ((orders[name], 1.0),)
            elif is_partial_sum(name):
                parts[name] = tuple(term for parent in parents for term in summand(parent))
            else:
                products[name] = tuple(sorted(i for parent in parents for i in products[parent]))
                parts[name] = ((products[name], 1.0),)
        return {name: type(self)(self.dims, terms) for name, terms in parts.items()}

    def values(self, x: Float[Array | np.ndarray, "n d"]) -> dict[str, Float[Array, " n"]]:
        """The values of every node of `dag` on every sample, by name."""
        return {name: part(x)[:, 0] for name, part in self.constituents.items()}

    @property
    def arity(self) -> int:
        """The largest number of variables of a constituent: two, in general."""
        return self.dag.arity

    @property
    def formula(self) -> str:
        """As `parse_target` reads it."""
        return formula((factors_of(monomial), value) for monomial, value in self.terms)

    def sample(
        self, key: Array, n: int, dtype: Any = float
    ) -> tuple[Float[Array, "n d"], Float[Array, "n 1"]]:
        """`n` independent inputs of the law and the function there; pure.

        Example:
            >>> import jax
            >>> from sparsejax.targets import HermiteExpansion, WalshExpansion
            >>> x, y = WalshExpansion(3, (((1, 3), 1.0),)).sample(jax.random.key(0), 5)
            >>> bool((y[:, 0] == x[:, 0] * x[:, 2]).all())
            True
            >>> x, y = HermiteExpansion(3, (((2,), 1.0),)).sample(jax.random.key(0), 5)
            >>> bool((y[:, 0] == x[:, 1]).all())
            True
        """
        x = sample_inputs(self.law, key, n, self.dims, dtype)
        return x, self(x)


def _power(coordinate: int, order: int) -> str:
    """The name of the node of a coordinate's function of an order beyond the first."""
    return f"h{order}x{coordinate}"
