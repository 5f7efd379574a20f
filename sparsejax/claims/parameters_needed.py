"""How many parameters a learner needs for an error, over those that another one needs."""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np
from jaxtyping import Float

from sparsejax.claims.claim import Measurements

Rungs = tuple[Float[np.ndarray, " sizes"], list[Float[np.ndarray, " seeds"]]]
Interval = tuple[float, float, float]
RESAMPLES = 2000


@dataclasses.dataclass(frozen=True)
class Advantage:
    """Parameters of a learner over those of a reference at one error, by number of inputs.

    `factors`: with bootstrap intervals, a number of inputs each; `bounded`: where the learner does
    not reach the error with the most parameters, the factor is a lower bound. `growth`: the slope
    of the factor's logarithm against that of the number of inputs. `needed`: by learner.
    """

    factors: tuple[Interval, ...]
    bounded: tuple[bool, ...]
    growth: Interval
    needed: Mapping[str, tuple[float, ...]]


def rung_errors(
    measurements: Measurements, dims: int, learner: str, parameters: Sequence[int]
) -> Rungs:
    """Numbers of parameters that there are, and the errors of all seeds with each."""
    x, errors = [], []
    for number in parameters:
        prefix = f"dims{dims:03d}-{learner}-parameters{number:07d}-seed"
        found = [v for name, v in measurements.items() if name.startswith(prefix)]
        # Two budgets may leave room for the same width.
        if found and float(found[0]["parameters"]) not in x:
            x.append(float(found[0]["parameters"]))
            errors.append(np.array([float(v["error"]) for v in found]))
    return np.array(x), errors


def parameters_needed(
    x: Float[np.ndarray, " sizes"], errors: Float[np.ndarray, " sizes"], level: float
) -> float:
    """The least number of parameters at and beyond which the error is at most the level.

    Between two numbers by interpolation of logarithms; infinite where the largest does not do.

    Example:
        >>> parameters_needed(np.array([1.0, 4.0]), np.array([1.0, 0.25]), 0.5)
        2.0
    """
    above = np.flatnonzero(errors > level)
    if not len(above):
        return float(x[0])
    at = int(above[-1])
    if at == len(x) - 1:
        return math.inf
    before, after = np.log(errors[at]), np.log(errors[at + 1])
    share = (before - math.log(level)) / (before - after)
    return float(np.exp((1 - share) * np.log(x[at]) + share * np.log(x[at + 1])))


def advantages(
    rungs: Mapping[tuple[str, int], Rungs],
    dims: Sequence[int],
    names: Sequence[str],
    reference: str,
    level: float,
    confidence: float,
    rng: np.random.Generator,
) -> dict[str, Advantage]:
    """Factors and their growth, of geometric means over seeds, which are drawn again for intervals.

    A learner that does not reach the level counts with its most parameters, so that its factor is a
    lower bound, and a reference that does not makes the factor zero.

    Example:
        >>> x = np.array([1.0, 10.0, 100.0])
        >>> of = lambda power: (x, [np.full(3, value) for value in x**-power])
        >>> rungs = {("a", 4): of(1.0), ("b", 4): of(0.5), ("a", 8): of(1.0), ("b", 8): of(0.25)}
        >>> found = advantages(rungs, (4, 8), ["b"], "a", 0.2, 0.95, np.random.default_rng(0))["b"]
        >>> [round(factor[0], 6) for factor in found.factors], found.bounded
        ([5.0, 20.0], (False, True))
        >>> [round(end, 6) for end in found.growth]
        [2.0, 2.0, 2.0]
    """
    needed = {key: parameters_needed(x, _means(e), level) for key, (x, e) in rungs.items()}
    again = {
        key: np.array([parameters_needed(x, means, level) for means in _resampled(errors, rng)])
        for key, (x, errors) in rungs.items()
    }
    tail = (1 - confidence) / 2
    found = {}
    for name in names:
        middle = _factors(rungs, needed, dims, name, reference)
        drawn = _factors(rungs, again, dims, name, reference).T
        ends = np.quantile(drawn, [tail, 1 - tail], axis=0)
        slopes = _slopes(dims, drawn)
        low, high = np.quantile(slopes, [tail, 1 - tail])
        bounded = tuple(math.isinf(needed[name, d]) for d in dims)
        growth = float(_slopes(dims, middle[None])[0])
        found[name] = Advantage(
            tuple(
                (float(m), float(a), math.inf if cut else float(b))
                for m, a, b, cut in zip(middle, *ends, bounded, strict=True)
            ),
            bounded,
            (growth, float(low), math.inf if bounded[-1] else float(high)),
            {who: tuple(needed[who, d] for d in dims) for who in (reference, name)},
        )
    return found


def _means(errors: Sequence[Float[np.ndarray, " seeds"]]) -> Float[np.ndarray, " sizes"]:
    return np.exp([np.mean(np.log(e)) for e in errors])


def _resampled(errors, rng: np.random.Generator) -> Float[np.ndarray, "resamples sizes"]:
    drawn = [np.log(e)[rng.integers(len(e), size=(RESAMPLES, len(e)))] for e in errors]
    return np.exp(np.stack([sample.mean(axis=1) for sample in drawn], axis=1))


def _factors(rungs, needed, dims, name, reference) -> Float[np.ndarray, "dims ..."]:
    own = [np.minimum(needed[name, d], rungs[name, d][0][-1]) for d in dims]
    return np.array([a / needed[reference, d] for a, d in zip(own, dims, strict=True)])


def _slopes(dims: Sequence[int], factors: Float[np.ndarray, "n dims"]) -> Float[np.ndarray, " n"]:
    logs = np.log(np.array(dims, float))
    logs = logs - logs.mean()
    with np.errstate(divide="ignore"):
        # A factor of zero is a reference that did not reach: as small as can be told.
        values = np.log(np.maximum(factors, 1e-6))
    return values @ logs / (logs @ logs)
