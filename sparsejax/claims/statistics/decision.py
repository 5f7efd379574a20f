"""What an interval decides about a goal, what several of them do together, and how one is said."""

from collections.abc import Iterable

RANK = ("violated", "inconclusive", "holds")


def decided(
    low: float | int, high: float | int, goal: float | int = 0.0, *, strictly: bool = False
) -> str:
    """Whether a quantity is at least the goal: `holds`, `violated`, or `inconclusive`.

    `strictly`: above the goal; an interval that starts at it then decides nothing.

    Example:
        >>> decided(0.5, 0.9, 0.5), decided(0.5, 0.9, 0.5, strictly=True), decided(0.1, 0.4, 0.5)
        ('holds', 'inconclusive', 'violated')
    """
    if low > goal or (low == goal and not strictly):
        return "holds"
    return "violated" if high < goal else "inconclusive"


def worst_of(statuses: Iterable[str]) -> str:
    """Of statements that are to hold together: violated if one is, holding if all are.

    Raises:
        ValueError: no statements.

    Example:
        >>> worst_of(["holds", "inconclusive"]), worst_of(["holds", "violated", "inconclusive"])
        ('inconclusive', 'violated')
    """
    return min(statuses, key=RANK.index)


def with_interval(
    middle: float | int, low: float | int, high: float | int, *, digits: str = ".3g"
) -> str:
    """An estimate with its interval, as tables and reasons say it.

    Example:
        >>> with_interval(1.0, 0.5, 2.25), with_interval(1.0, 0.5, 2.25, digits=".2f")
        ('1 [0.5, 2.25]', '1.00 [0.50, 2.25]')
    """
    return f"{middle:{digits}} [{low:{digits}}, {high:{digits}}]"
