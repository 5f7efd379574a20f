"""What the tangent constant at the start says will become of a lift, and what became of it."""

from collections.abc import Iterable

import numpy as np

from sparsejax.claims.pac.ensemble import Ensemble
from sparsejax.tangent import tangent_constant

# Of the level: the tangent constant is that of a lower one, for bounds never get below their own.
LEVEL = 0.5


def start_constant(drawn: Ensemble, lift: int, eps_fraction: float) -> float:
    """The tangent constant of half the level at the start of one lift; NaN for a weighted loss."""
    if drawn.loss.weights is not None:
        return np.nan
    network, params = drawn.of(lift)
    eps = LEVEL * eps_fraction * drawn.zero_loss
    return float(tangent_constant(network.apply, params, drawn.loss.x, drawn.loss.targets, eps))


def forecasts(lifts: Iterable[dict[str, np.ndarray]], t1: float) -> dict[str, int]:
    """How many were foretold to reach the level by `t1`, would their constant not grow, and did.

    A forecast, and no certificate: bound 2.1 with `S = t / kappa^2` for the constant of the start.
    Lifts whose `kappa` is NaN were not asked.

    Example:
        >>> lift = {"zero_loss": 1.0, "level": 0.5, "reached": True, "kappa": 2.0}
        >>> few = [{k: np.asarray(v) for k, v in lift.items()}]
        >>> forecasts(few, t1=100.0)
        {'asked': 1, 'foretold': 1, 'foretold_and_failed': 0, 'came_unforetold': 0}
        >>> forecasts(few, t1=1.0)["came_unforetold"]
        1
    """
    counts = {"asked": 0, "foretold": 0, "foretold_and_failed": 0, "came_unforetold": 0}
    for values in lifts:
        if np.isnan(values["kappa"]):
            continue
        eps = LEVEL * values["level"]
        promised = eps + 1 / (1 / (values["zero_loss"] - eps) + t1 / values["kappa"] ** 2)
        foretold, reached = bool(promised <= values["level"]), bool(values["reached"])
        counts["asked"] += 1
        counts["foretold"] += foretold
        counts["foretold_and_failed"] += foretold and not reached
        counts["came_unforetold"] += reached and not foretold
    return counts
