"""Two kinds of lift compared by their test losses, and the times at which losses are down."""

import numpy as np
import scipy.stats

from sparsejax.claims.statistics import hitting_time, mean_interval


def times_to_level(values: dict[str, np.ndarray], level: float) -> tuple[np.ndarray, np.ndarray]:
    """When each lift's loss is first at most the share `level` of its first, and whether it was.

    Between two saved losses their logarithm is taken to be linear in time. Where the level was not
    reached, the time is the last one.
    """
    rows = zip(values["ts"], values["losses"], strict=True)
    hits = np.array([hitting_time(ts, losses, level * losses[0]) for ts, losses in rows])
    reached = np.isfinite(hits)
    return np.where(reached, hits, values["ts"][:, -1]), reached


def geometric(values: np.ndarray, confidence: float) -> tuple[float, float, float]:
    """The geometric mean with Student's interval for the mean logarithm."""
    mean, low, high = np.exp(mean_interval(np.log(values), confidence))
    return float(mean), float(low), float(high)


def loss_ratio(
    sparse: dict[str, np.ndarray], dense: dict[str, np.ndarray], confidence: float
) -> dict[str, float]:
    """The log ratio of geometric mean test losses with Welch's interval, and what it is off by."""
    of_sparse, of_dense = np.log(sparse["test_loss"]), np.log(dense["test_loss"])
    welch = scipy.stats.ttest_ind(of_sparse, of_dense, equal_var=False)
    interval = welch.confidence_interval(confidence)
    log_ratio = float(of_sparse.mean() - of_dense.mean())
    coarse = np.log(sparse["coarse_test_loss"]).mean() - np.log(dense["coarse_test_loss"]).mean()
    # Outputs of the order of the first loss's root are rounded, and a small loss is left of them.
    rounding = np.finfo(sparse["test_loss"].dtype).eps
    rounded = max(
        float(np.max(np.sqrt(v["losses"][:, 0] / v["test_loss"]))) for v in (sparse, dense)
    )
    return {
        "log_ratio": log_ratio,
        "low": float(interval.low),
        "high": float(interval.high),
        "error": float((interval.high - interval.low) / 2 * np.sqrt(len(of_sparse))),
        "integrator": float(abs(coarse - log_ratio)),
        "floating_point": 4 * float(rounding) * rounded,
    }


def lifts_needed(row: dict[str, float], tolerance: float) -> str:
    """How many lifts would decide, were the ratio what was measured."""
    room = abs(np.log1p(tolerance) - row["log_ratio"])
    room -= row["integrator"] + row["floating_point"]
    if room <= 0:
        return "the flows' own error is too large; lower rtol"
    return f"about {int(np.ceil((row['error'] / room) ** 2))} lifts of each would decide"
