"""Sums of products of basis functions: what Walsh and Hermite expansions share."""

import itertools
import math
from collections import Counter
from collections.abc import Iterable, Sequence

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sparsejax.graphs import Dag

Monomial = tuple[int, ...]
Terms = tuple[tuple[Monomial, float | int], ...]

# Longer names of products are numbers, which fit into a picture.
_LONGEST_NAME = 8
# What names of sums begin with.
_SUM = "s"


def canonical_terms(terms: Terms, dims: int, *, repeats: bool) -> Terms:
    """Equal monomials merged, zeros dropped, by degree and then by coordinates.

    A monomial is a tuple of coordinates, counted from 1; with `repeats` a coordinate may occur
    several times, which is its degree.

    Raises:
        ValueError: a coordinate out of range or repeated, a coefficient that is not finite.

    Example:
        >>> canonical_terms((((2, 1), 1.0), ((1,), 2.0), ((1, 2), 0.5)), 3, repeats=False)
        (((1,), 2.0), ((1, 2), 1.5))
    """
    if dims < 1:
        raise ValueError(f"dims must be positive, got {dims}")
    merged: dict[Monomial, list[float]] = {}
    for number, (monomial, coefficient) in enumerate(terms, start=1):
        where = f"term {number}, {tuple(monomial)}"
        for coordinate in monomial:
            if not 1 <= coordinate <= dims:
                raise ValueError(
                    f"{where}: coordinates count from 1 to {dims}, {coordinate} is none"
                )
        if not repeats and len(set(monomial)) < len(monomial):
            raise ValueError(
                f"{where}: a set has each coordinate once; on the cube its square is 1"
            )
        if not math.isfinite(coefficient):
            raise ValueError(f"{where}: the coefficient is {coefficient}")
        merged.setdefault(tuple(sorted(monomial)), []).append(float(coefficient))
    summed = {monomial: math.fsum(parts) for monomial, parts in merged.items()}
    kept = [(monomial, value) for monomial, value in summed.items() if value != 0]
    return tuple(sorted(kept, key=lambda term: (len(term[0]), term[0])))


def sum_of_products(
    factors: Float[Array, "n f"], terms: Iterable[tuple[Sequence[int], float | int]]
) -> Float[Array, " n"]:
    """`sum over terms of coefficient * prod of columns of factors`; columns count from 0.

    Example:
        >>> import jax.numpy as jnp
        >>> sum_of_products(jnp.array([[2.0, 3.0]]), [((), 1.0), ((0, 1), 10.0)]).tolist()
        [61.0]
    """
    total = jnp.zeros(factors.shape[0], factors.dtype)
    by_length = sorted(terms, key=lambda term: len(term[0]))
    # One gather for all products of a length: an expansion may have thousands of terms.
    for length, group in itertools.groupby(by_length, key=lambda term: len(term[0])):
        columns, values = zip(*group, strict=True)
        coefficients = jnp.asarray(values, factors.dtype)
        if length == 0:
            total = total + jnp.sum(coefficients)
            continue
        products = jnp.prod(factors[:, np.array(columns, int)], axis=2)
        total = total + jnp.sum(products * coefficients[None, :], axis=1)
    return total


def binary_dag(
    dims: int,
    products: Sequence[Sequence[str]],
    constituents: Sequence[tuple[str, tuple[str, ...]]] = (),
) -> Dag:
    """The composition of a sum of products out of products and sums of two, parts shared.

    `products`: the names of each product's factors: inputs `x1, x2, ...` or `constituents`, nodes
    of their own. A product starts from the largest one that is there already, so that a staircase
    shows as one; what remains is halved, as in a binary tree.

    Example:
        >>> binary_dag(3, [("x1",), ("x1", "x2"), ("x1", "x2", "x3")]).parents
        (('x1x2', ('x1', 'x2')), ('x1x2x3', ('x1x2', 'x3')), ('s1', ('x1', 'x1x2')),
         ('y', ('s1', 'x1x2x3')))
    """
    nodes = list(constituents)
    known: dict[frozenset[str], str] = {}

    def product(left: frozenset[str], right: frozenset[str]) -> frozenset[str]:
        both = left | right
        if both not in known:
            # In the order of their names' numbers, as written on paper.
            name = "".join(sorted(both, key=_coordinate_first))
            known[both] = name if len(name) <= _LONGEST_NAME else f"p{len(nodes) + 1}"
            nodes.append((known[both], (known[left], known[right])))
        return both

    summands = []
    for factors in sorted(products, key=len):
        if not factors:
            continue  # A constant needs no node.
        for name in factors:
            known.setdefault(frozenset({name}), name)
        start = _largest_part(frozenset(factors), known)
        rest = [frozenset({name}) for name in factors if name not in start]
        parts = [start, *rest] if len(start) > 1 else [frozenset({name}) for name in factors]
        summands.append(known[_in_pairs(parts, product)])

    sums = itertools.count(1)

    def add(left: str, right: str) -> str:
        nodes.append((f"{_SUM}{next(sums)}", (left, right)))
        return nodes[-1][0]

    if not summands:
        return Dag(_inputs(dims), (*nodes, ("y", ())))
    root = _in_pairs(summands, add)
    if root in _inputs(dims) or root in dict(constituents):
        return Dag(_inputs(dims), (*nodes, ("y", (root,))))
    renamed = tuple(("y" if name == root else name, parents) for name, parents in nodes)
    return Dag(_inputs(dims), renamed, root="y")


def is_partial_sum(name: str) -> bool:
    """Whether `binary_dag` gave this name to a sum: products begin with a factor or with `p`."""
    return name.startswith(_SUM)


def _largest_part(factors: frozenset[str], known: dict[frozenset[str], str]) -> frozenset[str]:
    if factors in known:
        return factors
    for name in factors:  # mostly one factor is missing, which needs no search
        if len(factors) > 2 and factors - {name} in known:
            return factors - {name}
    return max((part for part in known if part < factors), key=len)


def _in_pairs(parts, combine):
    """A balanced tree over the parts, neighbours first."""
    while len(parts) > 1:
        pairs = [combine(*parts[i : i + 2]) for i in range(0, len(parts) - 1, 2)]
        parts = pairs + parts[len(parts) - len(parts) % 2 :]
    return parts[0]


def _inputs(dims: int) -> tuple[str, ...]:
    return tuple(f"x{i}" for i in range(1, dims + 1))


def _coordinate_first(name: str) -> tuple[int, str]:
    return int("".join(filter(str.isdigit, name.partition("x")[2]))), name


def factors_of(monomial: Monomial) -> tuple[str, ...]:
    """The factors of a product as they are written: a coordinate, or a Hermite polynomial of it.

    Example:
        >>> factors_of((1, 1, 3))
        ('h2(x1)', 'x3')
    """
    orders = Counter(monomial).items()
    return tuple(f"x{i}" if k == 1 else f"h{k}(x{i})" for i, k in orders)


def formula(terms: Iterable[tuple[Sequence[str], float | int]]) -> str:
    """A sum of products as it is written; `parse_target` reads it.

    Example:
        >>> formula([((), -1.0), (("x1",), 1.0), (("x1", "x2"), -0.5)])
        '-1 + x1 - 0.5*x1*x2'
    """
    text = ""
    for factors, coefficient in terms:
        size = abs(coefficient)
        digits = str(int(size)) if size == int(size) and size < 1e15 else repr(float(size))
        product = "*".join(factors if size == 1 and factors else (digits, *factors))
        if not text:
            text = product if coefficient > 0 else f"-{product}"
        else:
            text += f" {'+' if coefficient > 0 else '-'} {product}"
    return text or "0"
