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
    not reach the error with the most parameters, the factor is a lower bound. `apart`: the
    ratio of errors with the most parameters of each; `growth`: the slope of its logarithm against
    that of the number of inputs. `needed`: by learner;
    `levels`: the errors.
    """

    factors: tuple[Interval, ...]
    bounded: tuple[bool, ...]
    apart: tuple[Interval, ...]
    growth: Interval
    needed: Mapping[str, tuple[float, ...]]
    levels: tuple[float, ...]


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
    rung: int,
    confidence: float,
    rng: np.random.Generator,
) -> dict[str, Advantage]:
    """Factors and their growth, of geometric means over seeds, which are drawn again for intervals.

    The error of a number of inputs is what the reference reaches with its `rung`-th number of
    parameters: one that lies inside what was measured, whatever the number of inputs does to
    errors. A learner that does not reach it counts with its most parameters, so that its factor is
    a lower bound.

    Example:
        >>> x = np.array([1.0, 10.0, 100.0])
        >>> of = lambda power: (x, [np.full(3, value) for value in x**-power])
        >>> rungs = {("a", 4): of(1.0), ("b", 4): of(0.8), ("a", 8): of(1.0), ("b", 8): of(0.25)}
        >>> found = advantages(rungs, (4, 8), ["b"], "a", 1, 0.95, np.random.default_rng(0))["b"]
        >>> [round(factor[0], 6) for factor in found.factors], found.bounded
        ([1.778279, 10.0], (False, True))
        >>> round(found.growth[0], 3)  # of 100^0.2 and 100^0.75
        3.654
    """
    means = {key: _means(errors) for key, (_, errors) in rungs.items()}
    resampled = {key: _resampled(errors, rng) for key, (_, errors) in rungs.items()}
    needed, again = {}, {}
    for name, d in ((name, d) for name in names for d in dims):
        x = rungs[name, d][0]
        needed[name, d] = parameters_needed(x, means[name, d], means[reference, d][rung])
        levels = resampled[reference, d][:, rung]
        rows = zip(resampled[name, d], levels, strict=True)
        again[name, d] = np.array([parameters_needed(x, row, level) for row, level in rows])
    for d in dims:
        needed[reference, d] = again[reference, d] = rungs[reference, d][0][rung]
    tail = (1 - confidence) / 2
    found = {}
    for name in names:
        middle = _factors(rungs, needed, dims, name, reference)
        drawn = _factors(rungs, again, dims, name, reference).T
        ends = np.quantile(drawn, [tail, 1 - tail], axis=0)
        apart = np.array([means[name, d][-1] / means[reference, d][-1] for d in dims])
        pairs = [(resampled[name, d], resampled[reference, d]) for d in dims]
        ratios = np.stack([own[:, -1] / other[:, -1] for own, other in pairs], axis=1)
        apart_ends = np.quantile(ratios, [tail, 1 - tail], axis=0)
        growth = float(_slopes(dims, apart[None])[0])
        low, high = np.quantile(_slopes(dims, ratios), [tail, 1 - tail])
        bounded = tuple(math.isinf(needed[name, d]) for d in dims)
        found[name] = Advantage(
            tuple(
                (float(m), float(a), math.inf if cut else float(b))
                for m, a, b, cut in zip(middle, *ends, bounded, strict=True)
            ),
            bounded,
            tuple(
                (float(m), float(a), float(b)) for m, a, b in zip(apart, *apart_ends, strict=True)
            ),
            (growth, float(low), float(high)),
            {who: tuple(needed[who, d] for d in dims) for who in (reference, name)},
            tuple(float(means[reference, d][rung]) for d in dims),
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
    return np.log(factors) @ logs / (logs @ logs)
