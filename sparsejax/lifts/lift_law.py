"""The law of a random sparse lift, before any is drawn: sizes, in-degrees, and what they imply."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Literal

import numpy as np
import scipy.special
import scipy.stats
from jaxtyping import Float, Int

from sparsejax.graphs import PerceptronModule
from sparsejax.lifts.construction import InDegrees, Sizes, fibre_sizes, sparse_in_degrees

LawName = Literal["binomial", "regular"]


@dataclasses.dataclass(frozen=True)
class LiftLaw:
    """What `random_sparse_lift(key, module, sizes, in_degree, law=law)` draws from.

    Under the law each vertex's predecessors over an edge are, given their number, a uniform random
    subset; different vertices and edges are independent. All exact expectations follow from that.
    `fibre_sizes` and `in_degrees` are filled in for every vertex and edge; an edge that is not
    asked to be sparse is whole.

    Raises:
        ValueError: as `random_sparse_lift`.

    Example:
        >>> import sparsejax as sj
        >>> law = LiftLaw(sj.graphs.mlp(inputs=2, hidden=2, outputs=1), sizes=50, in_degree=2)
        >>> round(float(law.in_degree_probability("h1->h2", 2)), 4)
        0.2762
        >>> round(float(law.in_degree_probability("h1->h2", 2, limit=True)), 4)  # Poisson
        0.2707
    """

    module: PerceptronModule
    sizes: Sizes
    in_degree: InDegrees
    law: LawName = "binomial"
    fibre_sizes: Mapping[str, int] = dataclasses.field(init=False)
    in_degrees: Mapping[str, float] = dataclasses.field(init=False)

    def __post_init__(self) -> None:
        if self.law not in ("binomial", "regular"):
            raise ValueError(f"law is 'binomial' or 'regular', not {self.law!r}")
        sizes = fibre_sizes(self.module, self.sizes)
        asked = sparse_in_degrees(self.module, sizes, self.in_degree)
        if self.law == "regular":
            for name, degree in asked.items():
                if degree != int(degree):
                    raise ValueError(
                        f"edge {name!r}: the regular law needs a whole in-degree, got {degree}"
                    )
        degrees = {e.name: asked.get(e.name, float(sizes[e.source])) for e in self.module.edges}
        object.__setattr__(self, "fibre_sizes", sizes)
        object.__setattr__(self, "in_degrees", degrees)

    def sources(self, edge: str) -> int:
        """The number of vertices that an edge can come from, `n_a`."""
        return self.fibre_sizes[self.module.edge(edge).source]

    def in_degree_probability(
        self, edge: str, count: int | Int[np.ndarray, "..."], *, limit: bool = False
    ) -> Float[np.ndarray, "..."]:
        """P(a vertex has exactly `count` predecessors over `edge`).

        Binomial(n_a, lambda / n_a) or a point mass at lambda. `limit`: as the source's fibre grows
        with lambda fixed, Poisson(lambda); only where that fibre can grow.
        """
        n_a, degree = self.sources(edge), self.in_degrees[self.module.edge(edge).name]
        count = np.asarray(count)
        if self.law == "regular" or degree == n_a:
            return np.where(count == degree, 1.0, 0.0)
        if limit and self.module.clamped(self.module.edge(edge).source) is None:
            return np.asarray(scipy.stats.poisson.pmf(count, degree))
        return np.asarray(scipy.stats.binom.pmf(count, n_a, degree / n_a))

    def log_neighbourhood_probability(self, edge: str, count: int) -> float:
        """The logarithm of P(a vertex's predecessors over `edge` are one given set of `count`)."""
        n_a, probability = self.sources(edge), float(self.in_degree_probability(edge, count))
        if not probability > 0:
            return -math.inf
        return math.log(probability) - log_binomial(n_a, count)


def log_binomial(n: int, k: int) -> float:
    """`log C(n, k)`, for `0 <= k <= n`.

    Example:
        >>> round(math.exp(log_binomial(5, 2)), 9)
        10.0
    """
    gamma = scipy.special.gammaln
    return float(gamma(n + 1) - gamma(k + 1) - gamma(n - k + 1))
