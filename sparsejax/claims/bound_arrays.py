"""A bound and its verdict as the arrays that a trial stores, and the verdict that decides."""

from collections.abc import Iterable

import numpy as np

from sparsejax.bounds import PARTS, Bound, Verdict


def bound_arrays(prefix: str, bound: Bound, verdict: Verdict, count: int) -> dict[str, np.ndarray]:
    """Curve (padded with NaN to `count` times), status, margin and budget, names after `prefix`."""
    values = np.full(count, np.nan)
    values[: len(bound.values)] = bound.values
    return {
        f"{prefix}_bound": values,
        f"{prefix}_status": np.asarray(verdict.status),
        f"{prefix}_vacuous": np.asarray(verdict.vacuous),
        f"{prefix}_margin": np.asarray(verdict.margin),
        **{f"{prefix}_budget_{part}": np.asarray(verdict.error_budget[part]) for part in PARTS},
    }


def budget_of(prefix: str, values: dict[str, np.ndarray]) -> dict[str, float]:
    """The error budget of one stored bound.

    >>> parts = {f"b_budget_{part}": np.asarray(1e-3) for part in PARTS}
    >>> sum(budget_of("b", parts).values())
    0.004
    """
    return {part: float(values[f"{prefix}_budget_{part}"]) for part in PARTS}


def slack(prefix: str, values: dict[str, np.ndarray]) -> float:
    """The margin of one stored bound in units of its error budget."""
    total = sum(budget_of(prefix, values).values())
    return float(values[f"{prefix}_margin"]) / total if total else float("inf")


def decisive(prefix: str, trials: Iterable[dict[str, np.ndarray]]) -> dict[str, np.ndarray]:
    """The trial whose bound came closest to failing."""
    return min(trials, key=lambda values: slack(prefix, values))
