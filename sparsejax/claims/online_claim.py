"""Trials of claims about online SGD: a target, a dimension and a seed each."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np
from jaxtyping import Bool

from sparsejax.bounds import PARTS, Verdict
from sparsejax.claims.batching import together
from sparsejax.claims.claim import Measurements, Trial
from sparsejax.claims.online_setting import measure_online, targets_of
from sparsejax.dynamics.online_runs import FAILED

# Runs of a batch: on two cores it takes a minute or two at most.
TOGETHER = 10


class OnlineClaim:
    """Trials and measurements of a claim whose config has `dims`, `seeds`, and targets."""

    def formulas(self, config: Any) -> tuple[str, ...]:
        """The targets."""
        return config.targets

    def trials(self, config: Any) -> list[Trial]:
        """One trial a dimension, target and seed."""
        return [
            Trial(trial_name(dims, number, seed), {"target": text, "dims": dims, "number": seed})
            for dims in config.dims
            for number, text in enumerate(self.formulas(config))
            for seed in range(config.seeds)
        ]

    def batches(self, config: Any, trials: list[Trial]) -> list[list[Trial]]:
        """The seeds of one target and dimension, ten at most: what a kill may lose."""
        return together(trials, "target", "dims", at_most=TOGETHER)

    def measure_batch(self, config: Any, trials: list[Trial]) -> Iterator[dict[str, np.ndarray]]:
        """Runs of one target and dimension, in one program."""
        given = trials[0].parameters
        (target,) = targets_of([given["target"]], given["dims"])
        return iter(measure_online(config, target, [t.parameters["number"] for t in trials]))

    def measure(self, config: Any, trial: Trial) -> dict[str, np.ndarray]:
        """One run by itself."""
        return next(iter(self.measure_batch(config, [trial])))


def trial_name(dims: int, number: int, seed: int) -> str:
    """The name of one run: its dimension, its target's number, its seed.

    >>> trial_name(100, 2, 7)
    'd0100-target2-seed007'
    """
    return f"d{dims:04d}-target{number}-seed{seed:03d}"


def runs_of(
    measurements: Mapping[str, dict[str, np.ndarray]], dims: int, number: int
) -> list[dict[str, np.ndarray]]:
    """What the seeds of one dimension and target gave."""
    prefix = trial_name(dims, number, 0).rsplit("-", 1)[0] + "-"
    return [run for name, run in measurements.items() if name.startswith(prefix)]


def whole_times(measurements: Measurements, dims: int, number: int) -> np.ndarray:
    """When each run had learned all terms; infinite where it was stopped before."""
    return np.array([run["times"].max() for run in runs_of(measurements, dims, number)], float)


def orders(
    measurements: Measurements,
    dims: int,
    number: int,
    formula: str,
    ordering: Sequence[tuple[int, ...]],
) -> tuple[Bool[np.ndarray, " runs"], Bool[np.ndarray, " runs"]]:
    """Of each run whether the target's terms came in this order, and whether they did not.

    Neither where two terms had not been learned by the end: their order is not known.
    """
    (target,) = targets_of([formula], dims)
    place = {term: k for k, (term, _) in enumerate(target.terms)}
    order = [place[term] for term in ordering]
    times = np.stack([run["times"][order] for run in runs_of(measurements, dims, number)])
    kept = np.all(times[:, :-1] < times[:, 1:], axis=1)
    # A term that was seen no later than one before it.
    first = np.maximum.accumulate(times, axis=1)[:, :-1]
    broken = np.any(np.isfinite(times[:, 1:]) & (times[:, 1:] <= first), axis=1)
    return np.asarray(kept), np.asarray(broken)


def failed_runs(measurements: Measurements) -> list[str]:
    """The trials whose run diverged or left the numbers."""
    return [name for name, v in measurements.items() if str(v["status"]) in FAILED]


def if_diverged(measurements: Measurements, summary: dict[str, Any]) -> Verdict | None:
    """The verdict where runs have no end: not applicable."""
    failed = len(failed_runs({n: v for n, v in measurements.items() if "status" in v}))
    if not failed:
        return None
    budget = dict.fromkeys(PARTS, 0.0)
    reason = f"{failed} runs diverged: a smaller step size is needed"
    return Verdict("not_applicable", False, np.nan, budget, reason, summary)
