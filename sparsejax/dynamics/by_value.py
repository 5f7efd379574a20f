"""Functions as static parts of compiled programs: methods compared by the value of their objects."""

import dataclasses
import inspect
from collections.abc import Callable
from typing import Any


@dataclasses.dataclass(frozen=True)
class MethodOf:
    """A bound method that equals that of an equal object, so that it does not compile anew."""

    owner: Any
    name: str

    def __call__(self, *arguments: Any) -> Any:
        """Call the method."""
        return getattr(self.owner, self.name)(*arguments)


def by_value(function: Callable) -> Callable:
    """The function; where it is the method of a hashable object, one that compares by value.

    Python compares bound methods by the identity of their objects, and a compiled program is found
    again by comparison.

    >>> from fractions import Fraction
    >>> one, two = Fraction(1, 2), Fraction(2, 4)
    >>> one.limit_denominator == two.limit_denominator
    False
    >>> by_value(one.limit_denominator) == by_value(two.limit_denominator)
    True
    """
    if not inspect.ismethod(function) or inspect.isclass(function.__self__):
        return function
    try:
        hash(function.__self__)
    except TypeError:
        return function
    return MethodOf(function.__self__, function.__name__)
