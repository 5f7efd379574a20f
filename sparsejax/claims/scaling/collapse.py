"""Do the curves of several settings fall on one when their abscissa is rescaled?"""

import dataclasses
import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

Curves = Float[np.ndarray, "seeds k"]
GRID = 40


@dataclasses.dataclass(frozen=True)
class Collapse:
    """How far apart the mean curves of several settings are, once and after rescaling.

    `apart`: root mean square over abscissa and settings of the distance of a setting's mean curve
    from the mean of all, after rescaling; `before` the same without; both in the curves' units.
    `left`: `apart / before`, with a bootstrap interval over seeds. `p_value`: of the null that
    seeds are exchangeable between settings after rescaling, by permutations; a small one says that
    something is left, however little. `status`: `consistent` (the interval of `left` is below
    `tolerance`), `refuted` (above), `underpowered`. `covered`: the range of rescaled abscissae that
    all settings have seen, in decades.
    """

    apart: float
    before: float
    left: float
    low: float
    high: float
    p_value: float
    status: str
    covered: float
    reason: str


def collapse(
    abscissae: Sequence[Float[np.ndarray, " k"]],
    curves: Sequence[Curves],
    scales: Sequence[float] | Float[np.ndarray, " settings"],
    *,
    tolerance: float = 0.5,
    confidence: float = 0.95,
    resamples: int = 1000,
    rng: np.random.Generator | None = None,
) -> Collapse:
    """Whether curves fall together when each setting's abscissa is divided by its scale.

    `abscissae`: one for each setting, positive and increasing (steps, samples); `curves`: (seeds, k)
    of each, finite; `scales`: what the setting's abscissa is measured in, such as `d^2` or `P*`.
    Curves are compared on an even grid of the logarithm of the rescaled abscissa, where all
    settings have values, by linear interpolation in the logarithm.

    Raises:
        ValueError: fewer than two settings or seeds, abscissae or scales that are not positive, or
            no common range after rescaling or before it.

    Example:
        >>> x = np.geomspace(1, 1e4, 60)
        >>> rng = np.random.default_rng(0)
        >>> def of(scale):
        ...     return np.tanh(x / scale * rng.lognormal(sigma=0.1, size=(8, 1)))
        >>> found = collapse([x, x], [of(10.0), of(80.0)], [10.0, 80.0])
        >>> found.status, collapse([x, x], [of(10.0), of(80.0)], [10.0, 10.0]).status
        ('consistent', 'refuted')
    """
    logs, values, scaled = _checked(abscissae, curves, scales)
    rng = np.random.default_rng(0) if rng is None else rng
    after, covered = _on_grid(logs, values, scaled)
    plain, _ = _on_grid(logs, values, np.zeros(len(values)))
    apart, before = _apart(after), _apart(plain)

    drawn = np.empty(resamples)
    for k in range(resamples):
        rows = [rng.integers(len(v), size=len(v)) for v in values]
        numerator = _apart([v[r] for v, r in zip(after, rows, strict=True)])
        drawn[k] = numerator / max(_apart([v[r] for v, r in zip(plain, rows, strict=True)]), 1e-300)
    tail = (1 - confidence) / 2
    left = apart / max(before, 1e-300)
    low, high = (float(np.quantile(drawn, q)) for q in (tail, 1 - tail))

    p_value = _exchangeable(after, apart, resamples, rng)
    status = "consistent" if high <= tolerance else "refuted" if low > tolerance else "underpowered"
    reason = (
        f"{100 * left:.0f}% [{100 * low:.0f}%, {100 * high:.0f}%] of the distance between settings "
        f"is left after rescaling, over {covered:.1f} decades: {status}"
    )
    if _exchangeable(plain, before, resamples, rng) > 1 - confidence:
        status = "underpowered"
        reason = "the settings' curves are not apart before rescaling: nothing is to be explained"
    elif status == "underpowered":
        seeds = min(len(v) for v in values)
        away = abs(left - tolerance)
        reach = high - left if left < tolerance else left - low
        needed = math.ceil(seeds * (reach / away) ** 2) if away > 0 else math.inf
        reason += f" (about {needed} seeds a setting would decide, {seeds} were run)"
    return Collapse(apart, before, left, low, high, p_value, status, covered, reason)


def _on_grid(
    logs: list[np.ndarray], values: list[np.ndarray], shifts: np.ndarray
) -> tuple[list[np.ndarray], float]:
    """All curves on one grid of the shifted logarithms, and how many decades it has."""
    moved = [log - shift for log, shift in zip(logs, shifts, strict=True)]
    first, last = max(log[0] for log in moved), min(log[-1] for log in moved)
    if not last > first:
        raise ValueError("the settings have no range of the abscissa in common: record more of it")
    grid = np.linspace(first, last, GRID)
    rows = [
        np.stack([np.interp(grid, log, curve) for curve in group])
        for log, group in zip(moved, values, strict=True)
    ]
    return rows, float((last - first) / math.log(10))


def _exchangeable(
    groups: Sequence[np.ndarray], apart: float, resamples: int, rng: np.random.Generator
) -> float:
    """The p-value of seeds that are exchangeable between groups, by permutations."""
    pooled, cuts = np.concatenate(groups), np.cumsum([len(group) for group in groups])[:-1]
    exceeded = sum(
        _apart(np.split(rng.permutation(pooled), cuts)) >= apart for _ in range(resamples)
    )
    return (1 + exceeded) / (1 + resamples)


def _apart(groups: Sequence[np.ndarray]) -> float:
    means = np.stack([group.mean(axis=0) for group in groups])
    return float(np.sqrt(np.mean((means - means.mean(axis=0)) ** 2)))


def _checked(abscissae, curves, scales):
    scales = np.asarray(scales, float)
    if len(curves) < 2 or not len(abscissae) == len(curves) == len(scales):
        raise ValueError(
            "two settings at least, with an abscissa and a scale each; got "
            f"{len(abscissae)}, {len(curves)}, {len(scales)}"
        )
    if not (np.isfinite(scales) & (scales > 0)).all():
        raise ValueError(f"scales must be positive, got {scales}")
    logs, values = [], []
    for number, (x, group) in enumerate(zip(abscissae, curves, strict=True)):
        x, group = np.asarray(x, float), np.asarray(group, float)
        if len(group) < 2 or group.shape[1] != len(x):
            raise ValueError(
                f"setting {number}: two seeds at least, each of {len(x)} values; got {group.shape}"
            )
        if not (x > 0).all() or not (np.diff(x) > 0).all() or not np.isfinite(group).all():
            raise ValueError(
                f"setting {number}: the abscissa is positive and increasing, and curves finite"
            )
        logs.append(np.log(x))
        values.append(group)
    return logs, values, np.log(scales)
