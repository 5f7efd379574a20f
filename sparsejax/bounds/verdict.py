"""A verdict: what comparing a bound with a measurement amounts to, with its error budget."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any

PARTS = ("integrator", "quadrature", "sampling", "floating_point")
"""What an error budget is made of, each part zero where there is none."""

STATUSES = ("holds", "violated", "inconclusive", "not_applicable")


@dataclasses.dataclass(frozen=True)
class Verdict:
    """How a promise fared against a measurement; never a bare boolean.

    `status`: `holds`, `violated`, `inconclusive` (the margin lies inside the error budget) or
    `not_applicable` (a hypothesis fails). `vacuous`: the promise says nothing, being infinite or
    above the initial value throughout. `margin`: the slack at the decisive point, in units of the
    measured quantity; negative where the promise is broken. `error_budget`: named parts, in the
    same units, at that point. `reason`: one sentence. `summary`: the numbers behind it, by name.

    Raises:
        ValueError: an unknown status.

    Example:
        >>> Verdict("holds", margin=0.2, error_budget={"integrator": 1e-6}).total_error
        1e-06
    """

    status: str
    vacuous: bool = False
    margin: float = math.nan
    error_budget: Mapping[str, float] = dataclasses.field(default_factory=dict)
    reason: str = ""
    summary: Mapping[str, Any] = dataclasses.field(default_factory=dict)

    def __post_init__(self) -> None:
        if self.status not in STATUSES:
            raise ValueError(f"status is one of {', '.join(STATUSES)}, not {self.status!r}")

    @property
    def holds(self) -> bool:
        """Whether the promise was kept beyond the error budget."""
        return self.status == "holds"

    @property
    def total_error(self) -> float:
        """The sum of all parts of the error budget."""
        return float(sum(self.error_budget.values()))
