"""A polynomial as it is written, read as a target: safely, by its syntax tree."""

import ast
import math
import re

import numpy as np

from sparsejax.targets.hermite import HermiteExpansion
from sparsejax.targets.monomials import Monomial
from sparsejax.targets.walsh import WalshExpansion

Polynomial = dict[Monomial, float]

# Products of sums may explode; nobody writes more than that.
MOST_TERMS, MOST_LETTERS, HIGHEST_POWER = 4096, 20_000, 40
_VARIABLE = re.compile(r"x([0-9]+)")
_HERMITE = re.compile(r"h([0-9]+)")


def parse_target(
    text: str, *, dims: int | None = None, law: str = "cube"
) -> WalshExpansion | HermiteExpansion:
    """The target that a formula such as `"x1 + 0.5*x1*x2"` stands for.

    Coordinates are `x1`, `x2`, ...; `+ - * ( )`, division by numbers, and powers with `**` or `^`.
    On the cube (`law="cube"`) `x1**2 = 1`, and the result is a Walsh expansion. Of Gaussian inputs
    (`law="gaussian"`) it is a Hermite expansion, and `h2(x1)` may stand for a normalised Hermite
    polynomial. `dims`: the largest coordinate that occurs, unless told otherwise.

    Raises:
        ValueError: what is no such formula, with the place; a coordinate beyond `dims`; a formula
            that multiplies out to thousands of terms.

    Example:
        >>> parse_target("x1*(1 + x2 - x1/2)", dims=100).formula
        '-0.5 + x1 + x1*x2'
        >>> parse_target("x1^2", law="gaussian").formula
        '1 + 1.4142135623730951*h2(x1)'
    """
    if law not in ("cube", "gaussian"):
        raise ValueError(f"law: a formula is of inputs from the cube or gaussian, not {law!r}")
    if dims is not None and dims < 1:
        raise ValueError(f"dims must be positive, got {dims}")
    polynomial = _Reader(text, dims, cube=law == "cube").polynomial()
    largest = max((i for monomial in polynomial for i in monomial), default=1)
    terms = polynomial if law == "cube" else _in_hermite_polynomials(polynomial)
    kind = WalshExpansion if law == "cube" else HermiteExpansion
    return kind(largest if dims is None else dims, tuple(terms.items()))


class _Reader:
    """Multiplies a syntax tree out; a monomial is a sorted tuple of coordinates."""

    def __init__(self, text: str, dims: int | None, cube: bool) -> None:
        self.written = text
        self.dims, self.cube = dims, cube

    def polynomial(self) -> Polynomial:
        if len(self.written) > MOST_LETTERS:
            raise ValueError(f"a formula of more than {MOST_LETTERS} letters")
        if not self.written.strip():
            raise ValueError("the formula is empty; one is x1 + x1*x2")
        # One line, as if in brackets: what is written over several lines is one formula.
        self.text = self.written.replace("^", "**").replace("\n", " ").strip()
        try:
            tree = ast.parse(self.text, mode="eval")
        except SyntaxError as error:
            place = min(max(error.offset or 1, 1), len(self.text))
            raise ValueError(
                f"formula: cannot be read at {self.text[place - 1 :][:20]!r} (letter {place} of "
                f"{self.text!r}); products are written with *, as in x1 + 0.5*x1*x2"
            ) from None
        except (ValueError, RecursionError, MemoryError):
            raise ValueError("formula: cannot be read; one is x1 + 0.5*x1*x2") from None
        try:
            found = self._read(tree.body)
        except RecursionError:
            raise ValueError("formula: too deeply nested; one is x1 + 0.5*x1*x2") from None
        return {monomial: value for monomial, value in found.items() if value != 0}

    def _read(self, node: ast.expr) -> Polynomial:
        match node:
            case ast.Constant(value=int() | float() as value) if not isinstance(value, bool):
                return {(): self._number(node, value)}
            case ast.Name(id=name):
                return {(self._coordinate(node, name),): 1.0}
            case ast.UnaryOp(op=ast.USub() | ast.UAdd() as sign, operand=inner):
                factor = -1.0 if isinstance(sign, ast.USub) else 1.0
                return {m: factor * value for m, value in self._read(inner).items()}
            case ast.BinOp(left=left, op=ast.Add() | ast.Sub() as sign, right=right):
                factor = -1.0 if isinstance(sign, ast.Sub) else 1.0
                total = dict(self._read(left))
                for monomial, value in self._read(right).items():
                    total[monomial] = total.get(monomial, 0.0) + factor * value
                return total
            case ast.BinOp(left=left, op=ast.Mult(), right=right):
                return self._product(node, self._read(left), self._read(right))
            case ast.BinOp(left=left, op=ast.Div(), right=right):
                divisor = self._read(right)
                if set(divisor) != {()} or divisor[()] == 0:
                    raise self._refused(right, "only numbers other than zero divide")
                return {m: value / divisor[()] for m, value in self._read(left).items()}
            case ast.BinOp(left=left, op=ast.Pow(), right=ast.Constant(value=int() as power)):
                if not 0 <= power <= HIGHEST_POWER or isinstance(power, bool):
                    raise self._refused(node, f"powers go from 0 to {HIGHEST_POWER}")
                base, result = self._read(left), {(): 1.0}
                for _ in range(power):
                    result = self._product(node, result, base)
                return result
            case ast.BinOp(op=ast.Pow()):
                raise self._refused(node, "a power is a whole number")
            case ast.Call(func=ast.Name(id=name), args=[ast.Name(id=inner) as variable]) if (
                not node.keywords and _HERMITE.fullmatch(name)
            ):
                return self._hermite(node, name, self._coordinate(variable, inner))
        raise self._refused(node, "a formula has coordinates x1, x2, ..., numbers, + - * / ** ( )")

    def _number(self, node: ast.expr, value: float) -> float:
        try:
            return float(value)
        except OverflowError:
            raise self._refused(node, "too large a number") from None

    def _coordinate(self, node: ast.expr, name: str) -> int:
        found = _VARIABLE.fullmatch(name)
        if not found or len(name) > 9:
            raise self._refused(node, "coordinates are named x1, x2, ...")
        coordinate = int(found[1])
        if coordinate < 1:
            raise self._refused(node, "coordinates count from 1")
        if self.dims is not None and coordinate > self.dims:
            raise self._refused(node, f"there are {self.dims} coordinates; raise dims")
        return coordinate

    def _hermite(self, node: ast.expr, name: str, coordinate: int) -> Polynomial:
        order = int(name[1:][:9])
        if self.cube:
            raise self._refused(node, "Hermite polynomials are of Gaussian inputs; law='gaussian'")
        if order > HIGHEST_POWER:
            raise self._refused(node, f"orders go from 0 to {HIGHEST_POWER}")
        powers = np.polynomial.hermite_e.herme2poly([0.0] * order + [1.0])
        powers = powers / math.sqrt(math.factorial(order))
        return {(coordinate,) * k: float(value) for k, value in enumerate(powers) if value != 0}

    def _product(self, node: ast.expr, left: Polynomial, right: Polynomial) -> Polynomial:
        if len(left) * len(right) > MOST_TERMS**2 // 16:
            raise self._refused(node, f"multiplies out to more than {MOST_TERMS} terms")
        result: Polynomial = {}
        for a, x in left.items():
            for b, y in right.items():
                # On the cube a square is 1, so that what both have cancels.
                both = tuple(sorted(set(a) ^ set(b) if self.cube else (*a, *b)))
                result[both] = result.get(both, 0.0) + x * y
        if len(result) > MOST_TERMS:
            raise self._refused(node, f"multiplies out to more than {MOST_TERMS} terms")
        return result

    def _refused(self, node: ast.expr, why: str) -> ValueError:
        part = ast.get_source_segment(self.text, node) or ""
        shown = part if len(part) <= 40 else f"{part[:37]}..."
        return ValueError(f"formula: {shown!r} at letter {node.col_offset + 1}: {why}")


def _in_hermite_polynomials(polynomial: Polynomial) -> Polynomial:
    """From powers to normalised Hermite polynomials, a coordinate at a time."""
    expanded: Polynomial = {}
    for monomial, value in polynomial.items():
        products: Polynomial = {(): value}
        for coordinate in dict.fromkeys(monomial):
            power = monomial.count(coordinate)
            series = np.polynomial.hermite_e.poly2herme([0.0] * power + [1.0])
            products = {
                (*others, *(coordinate,) * k): other * value * math.sqrt(math.factorial(k))
                for others, other in products.items()
                for k, value in enumerate(series.tolist())
                if value != 0
            }
        for product, part in products.items():
            expanded[product] = expanded.get(product, 0.0) + part
    # What cancels leaves roundings.
    scale = max(map(abs, expanded.values()), default=0.0)
    return {m: value for m, value in expanded.items() if abs(value) > 1e-12 * scale}
