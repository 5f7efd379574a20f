"""Functions of Gaussian inputs by their Hermite coefficients."""

import dataclasses
import math
from collections import Counter
from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sparsejax.targets.expansion import Expansion
from sparsejax.targets.monomials import sum_of_products
from sparsejax.targets.target import check_inputs


@dataclasses.dataclass(frozen=True)
class HermiteExpansion(Expansion):
    """`f(x) = sum_a f^(a) prod_i h_{a_i}(x_i)` of standard Gaussian inputs.

    `h_k = He_k / sqrt(k!)`, the normalised probabilists' Hermite polynomials: orthonormal, so that
    `f^(a) = E f(x) prod_i h_{a_i}(x_i)`. `terms`: pairs of a multiset of coordinates, counted from
    1, and its coefficient: `(1, 1, 3)` stands for `h_2(x1) h_1(x3)`. Equal ones are merged, zeros
    dropped. Static and hashable.

    Raises:
        ValueError: a coordinate out of range, a coefficient that is not finite, or `dims` that is
            not positive.

    Source: Ben Arous, Gheissari, Jagannath, JMLR 2021 (arXiv 2003.10409), section 2.

    Example:
        >>> import jax.numpy as jnp
        >>> f = HermiteExpansion(9, (((1, 1), 2.0), ((1, 3), 1.0)))
        >>> f.degree, f.support, f.information_exponent, f.formula
        (2, (1, 3), 2, '2*h2(x1) + x1*x3')
    """

    law = "gaussian"
    repeats = True

    @property
    def information_exponent(self) -> int:
        """The least degree of a term that is not constant; 0 for constants."""
        return min((len(monomial) for monomial, _ in self.terms if monomial), default=0)

    def __call__(self, x: Float[Array | np.ndarray, "n d"]) -> Float[Array, "n 1"]:
        """The polynomial on every sample."""
        check_inputs(x, self.dims)
        powers = [tuple(Counter(monomial).items()) for monomial, _ in self.terms]
        factors = sorted({factor for product in powers for factor in product})
        column = {factor: place for place, factor in enumerate(factors)}
        used = jnp.asarray(x)[:, np.array([i for i, _ in factors], int) - 1]
        highest = max((k for _, k in factors), default=0)
        # All orders of every factor's coordinate, of which it takes its own.
        orders = hermite_polynomials(used, highest)
        own = orders[np.array([k for _, k in factors], int), :, np.arange(len(factors))].T
        terms = [
            (tuple(column[factor] for factor in product), value)
            for product, (_, value) in zip(powers, self.terms, strict=True)
        ]
        return sum_of_products(own, terms)[:, None]


def hermite_polynomials(x: Float[Array, "*shape"], highest: int) -> Float[Array, "orders *shape"]:
    """`h_0(x), ..., h_highest(x)`, orthonormal under the standard Gaussian law.

    By `h_{k+1} = (x h_k - sqrt(k) h_{k-1}) / sqrt(k + 1)`, which stays in range where factorials do
    not.

    Example:
        >>> import jax.numpy as jnp
        >>> hermite_polynomials(jnp.array([1.0, 3.0]), 2).tolist()[1]
        [1.0, 3.0]
    """
    found = [jnp.ones_like(x), x]
    for k in range(1, highest):
        found.append((x * found[k] - math.sqrt(k) * found[k - 1]) / math.sqrt(k + 1))
    return jnp.stack(found[: highest + 1])


def hermite_coefficients(
    link: Callable[[Any], Any], highest: int, *, nodes: int = 200
) -> Float[np.ndarray, " orders"]:
    """`E link(z) h_k(z)` for k = 0 to `highest`, z standard normal, by Gauss quadrature.

    Exact for polynomials of degree `2 nodes - 1 - k`; for links with a kink the error falls like
    `1 / nodes`.

    Raises:
        ValueError: a negative order, fewer nodes than orders, or a link that is not finite.

    Example:
        >>> import numpy as np
        >>> np.round(hermite_coefficients(lambda z: (z + 1) ** 2, 2), 6).tolist()
        [2.0, 2.0, 1.414214]
    """
    at, weights, table = _quadrature(highest, nodes)
    values = np.asarray(link(at), float)
    if values.shape != at.shape or not np.isfinite(values).all():
        raise ValueError(f"the link should map {at.shape} finite values to as many")
    return table @ (weights * values)


def single_index(
    dims: int, link: Callable[[Any], Any], *, highest: int = 12, coordinate: int = 1
) -> HermiteExpansion:
    """`link(x_i)` up to its Hermite polynomial of degree `highest`.

    To learners that treat all directions alike, it stands for `link(<u, x>)` with any unit `u`.
    Coefficients below 1e-10 of the largest are roundings, and dropped.

    Raises:
        ValueError: a coordinate out of range; as `hermite_coefficients`.

    Example:
        >>> single_index(50, lambda z: z**3 - 3 * z).information_exponent
        3
    """
    found = hermite_coefficients(link, highest)
    large = np.flatnonzero(np.abs(found) > 1e-10 * np.abs(found).max(initial=0))
    return HermiteExpansion(
        dims, tuple(((coordinate,) * k, found[k].item()) for k in large.tolist())
    )


def hermite_index(dims: int, order: int = 3) -> HermiteExpansion:
    """`h_order(x1)`: a single index whose information exponent is its order.

    Raises:
        ValueError: an order or a number of dimensions that is not positive.

    Source: Ben Arous, Gheissari, Jagannath, JMLR 2021 (arXiv 2003.10409), section 2.

    Example:
        >>> hermite_index(100, 2).formula
        'h2(x1)'
    """
    if order < 1:
        raise ValueError(f"order: must be positive, got {order}")
    return HermiteExpansion(dims, (((1,) * order, 1.0),))


def multi_index(
    dims: int,
    link: Callable[..., Any],
    coordinates: tuple[int, ...],
    *,
    highest: int = 6,
    nodes: int = 40,
) -> HermiteExpansion:
    """`link(x_i, x_j, ...)` of a few coordinates up to total degree `highest`.

    `link` takes as many arrays of one shape as there are `coordinates`. Coefficients by a tensor
    product of Gauss rules of `nodes` points; those below 1e-10 of the largest are dropped.

    Raises:
        ValueError: no coordinates or more than four, too few nodes, values that are not finite.

    Example:
        >>> multi_index(9, lambda a, b: a * b**2, (2, 5)).formula
        'x2 + 1.414213562373095*x2*h2(x5)'
    """
    count = len(coordinates)
    if not 1 <= count <= 4 or len(set(coordinates)) < count:
        raise ValueError(f"coordinates: one to four different ones, got {coordinates}")
    at, weights, table = _quadrature(highest, nodes)
    values = np.asarray(link(*np.meshgrid(*[at] * count, indexing="ij")), float)
    if values.shape != (nodes,) * count or not np.isfinite(values).all():
        raise ValueError(f"the link should give finite values of shape {(nodes,) * count}")
    basis = table * weights
    for _ in range(count):  # the first axis of values is summed, that of orders comes last
        values = np.tensordot(values, basis, axes=(0, 1))
    scale = np.abs(values).max()
    terms = [
        (tuple(c for c, k in zip(coordinates, orders, strict=True) for _ in range(k)), value)
        for orders, value in np.ndenumerate(values)
        if sum(orders) <= highest and abs(value) > 1e-10 * scale
    ]
    return HermiteExpansion(dims, tuple((monomial, float(value)) for monomial, value in terms))


def gauss_rule(nodes: int) -> tuple[Float[np.ndarray, " nodes"], Float[np.ndarray, " nodes"]]:
    """Points and weights, of sum one, of the mean under the standard Gaussian law."""
    at, weights = np.polynomial.hermite_e.hermegauss(nodes)
    return at, weights / weights.sum()


def hermite_table(at: Float[np.ndarray, " n"], highest: int) -> Float[np.ndarray, "orders n"]:
    """`hermite_polynomials` on the host, in double precision whatever JAX's precision is."""
    norms = np.sqrt([float(math.factorial(k)) for k in range(highest + 1)])
    return np.polynomial.hermite_e.hermevander(at, highest).T / norms[:, None]


def _quadrature(highest: int, nodes: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Gauss nodes and weights, and all polynomials there, a row an order."""
    if highest < 0 or nodes <= highest:
        raise ValueError(f"orders 0 to {highest} need more than {highest} nodes, got {nodes}")
    at, weights = gauss_rule(nodes)
    return at, weights, hermite_table(at, highest)
