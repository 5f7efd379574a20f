"""Parities: hidden progress behind a flat loss, led by the Fourier gap of the first gradient."""

import dataclasses
import math
from collections.abc import Iterator
from typing import Any, ClassVar, Literal

import numpy as np
from matplotlib.figure import Figure

from sparsejax.bounds import PARTS, Verdict
from sparsejax.claims.batching import together
from sparsejax.claims.claim import Measurements, Trial
from sparsejax.claims.online_claim import if_diverged
from sparsejax.claims.parity_figure import draw_parity
from sparsejax.claims.parity_runs import measure_parity
from sparsejax.claims.scaling import (
    HittingExponent,
    Statement,
    compare_times,
    hitting_exponent,
    in_at_least,
    later_by,
    ratio,
    verdict_of,
    within,
)
from sparsejax.claims.statistics import (
    RANK,
    lifts_to_place_estimate,
    mean_interval,
    median_hitting_time,
    with_interval,
)

# Coins never end a run early, so that the control costs whatever it is given. By the default
# setting all parities are learned by then, twice over: the slowest of 20 runs each had taken 355,
# 816, 1274 and 2663 steps at n = 10, 20, 30 and 50, and 1964 at n = 20, k = 4; here it is 5000.
CONTROL_STEPS_AN_INPUT = 100


@dataclasses.dataclass(frozen=True)
class ParityConfig:
    """Online SGD of a two-layer ReLU network under the hinge loss, on sparse parities."""

    dims: tuple[int, ...] = (10, 20, 30, 50)
    """Inputs of the parities whose times make an exponent."""
    order: int = 3
    """Coordinates that they multiply."""
    harder_dims: int = 20
    """Inputs of one more parity, among dims; it is to take longer than that of the order above."""
    harder_order: int = 4
    """Coordinates that this one multiplies."""
    width: int = 100
    """Hidden units."""
    batch: int = 32
    """Fresh samples a step."""
    step_size: float = 0.1
    """Step size of SGD."""
    labels: Literal["parity", "coins"] = "parity"
    """What labels are: the parity, or coins, of which there is nothing to learn."""
    accuracy: float = 0.95
    """A parity is learned once this share of fresh samples is classified."""
    drop: float = 0.05
    """The loss has left its plateau, which is at 1, once it is lower by this much."""
    progress: float = 1.2
    """By then the weights on relevant inputs are to have moved this many times as far as the
    rest (root mean squares)."""
    gap_tolerance: float = 0.1
    """By how much the first gradient may differ from its closed form, relatively."""
    learning: float = 0.9
    """Probability with which a run is to learn."""
    steps: int = 20_000
    """A run that has not learned by then is stopped, and its time is censored."""
    record_every: int = 20
    """Steps between two looks."""
    seeds: int = 20
    """Runs of each parity."""
    precision: Literal["float32", "float64"] = "float32"
    """Of parameters and data."""
    confidence: float = 0.95
    """Level of the intervals; of all statements that decide together."""
    seed: int = 0
    """Seed of everything random."""


class Parity:
    """Four statements on parities; that times are powers of the dimension is bounded from above.

    The theory bounds the time of a parity of k of n inputs by `n^O(k)`, and queries from below by
    `n^Omega(k)`; asserted is that the measured exponent is at most k, and that a larger k takes
    longer. The exponent itself is shown beside that of the first gradient's signal.
    """

    name = "parity"
    statement = (
        "SGD on a sparse parity makes progress behind a flat loss: the first gradient tells the "
        "relevant inputs from the rest by a gap of closed form, their weights move ahead while the "
        "loss stands still, and every run learns, in a time of at most n^k."
    )
    source = "Barak, Edelman, Goel, Kakade, Malach, Zhang, NeurIPS 2022 (arXiv 2207.08799)"
    Config = ParityConfig
    presets: ClassVar[dict[str, ParityConfig]] = {
        "paper": ParityConfig(dims=(10, 15, 20, 30, 40, 50, 70, 100, 150), seeds=100, steps=200_000)
    }

    def validate(self, config: ParityConfig) -> None:
        """Refuse a bad config before any compute."""
        if len(config.dims) < 2 or len(set(config.dims)) < len(config.dims):
            raise ValueError(
                f"dims: two different ones at least for an exponent, got {config.dims}"
            )
        for field, dims in (("order", min(config.dims)), ("harder_order", config.harder_dims)):
            if not 1 < getattr(config, field) < dims:
                raise ValueError(
                    f"{field}: 2 to {dims - 1} coordinates of {dims}, got {getattr(config, field)}"
                )
        if config.harder_dims not in config.dims or config.harder_order <= config.order:
            raise ValueError(
                f"harder_dims, harder_order: one of {config.dims} and more than {config.order} are "
                f"wanted, got {config.harder_dims} and {config.harder_order}"
            )
        for field in ("width", "batch", "steps", "record_every"):
            if getattr(config, field) < 1:
                raise ValueError(f"{field}: must be positive, got {getattr(config, field)}")
        if config.steps % config.record_every:
            raise ValueError(
                f"record_every: must divide the steps ({config.steps}), got {config.record_every}"
            )
        if config.seeds < 2:
            raise ValueError(f"seeds: at least two for an interval, got {config.seeds}")
        if not 0 < config.step_size < math.inf:
            raise ValueError(f"step_size: must be positive, got {config.step_size}")
        if not config.progress > 1:
            raise ValueError(f"progress: must be above 1, got {config.progress}")
        for field in ("drop", "gap_tolerance", "learning", "confidence"):
            if not 0 < getattr(config, field) < 1:
                raise ValueError(f"{field}: must lie in (0, 1), got {getattr(config, field)}")
        if not 0.5 < config.accuracy <= 1:
            raise ValueError(f"accuracy: must be above chance, 0.5, got {config.accuracy}")

    def control(self, config: ParityConfig) -> ParityConfig:
        """Coins for labels: no gap, no progress of some inputs before others, nothing to learn."""
        records = math.ceil(CONTROL_STEPS_AN_INPUT * max(config.dims) / config.record_every)
        steps = min(config.steps, records * config.record_every)
        return dataclasses.replace(config, labels="coins", steps=steps)

    def trials(self, config: ParityConfig) -> list[Trial]:
        """One trial a parity and seed."""
        return [
            Trial(
                f"n{dims:04d}-k{order:02d}-seed{number:03d}",
                {"dims": dims, "order": order, "number": number},
            )
            for dims, order in parities(config)
            for number in range(config.seeds)
        ]

    def batches(self, config: ParityConfig, trials: list[Trial]) -> list[list[Trial]]:
        """The seeds of one parity, 50 at most: under a minute on two cores."""
        return together(trials, "dims", "order", at_most=50)

    def measure_batch(
        self, config: ParityConfig, trials: list[Trial]
    ) -> Iterator[dict[str, np.ndarray]]:
        """Runs on one parity, in one program."""
        given = trials[0].parameters
        numbers = [trial.parameters["number"] for trial in trials]
        return iter(measure_parity(config, given["dims"], given["order"], numbers))

    def measure(self, config: ParityConfig, trial: Trial) -> dict[str, np.ndarray]:
        """One run by itself."""
        return next(iter(self.measure_batch(config, [trial])))

    def judge(self, config: ParityConfig, measurements: Measurements) -> Verdict:
        """Holds where the gap, the progress, the learning and its times are as stated."""
        exponent = self.exponent(config, measurements)
        summary: dict[str, Any] = {
            "exponent": {
                "of": f"steps to learn in n, k = {config.order}",
                "exponent": exponent.slope,
                "low": exponent.low,
                "high": exponent.high,
                "at_most": config.order,
            },
            "parities": {f"n{n}-k{k}": self.row(config, measurements, n, k)
                         for n, k in parities(config)},
        }  # fmt: skip
        diverged = if_diverged(measurements, summary)
        if diverged is not None:
            return diverged
        everywhere = [progress_at_end(run, config.record_every)[1] for run in measurements.values()]
        if min(everywhere) < 1:
            reason = "some losses leave their plateau before the second look: look more often"
            return Verdict(
                "not_applicable", False, math.nan, dict.fromkeys(PARTS, 0.0), reason, summary
            )
        return verdict_of(self.statements(config, measurements, exponent), summary)

    def statements(
        self, config: ParityConfig, measurements: Measurements, exponent: HittingExponent
    ) -> list[Statement]:
        """Of each kind the one that is closest, at a level at which all of them hold together."""
        level = self.level(config)
        gradients, moved = [], []
        for n, k in parities(config):
            runs = runs_of(measurements, n, k)
            middle, low, high = mean_interval(np.array([r["gap_slope"] for r in runs]), level)
            said = (
                f"the first gradient is {middle:.3f} [{low:.3f}, {high:.3f}] of its closed form at "
                f"n = {n}, k = {k}"
            )
            interval = middle, low, high
            gradients.append(within(said, interval, 1.0, config.gap_tolerance, len(runs)))
        goal = math.log(config.progress)
        for n, k in parities(config):
            runs = runs_of(measurements, n, k)
            ahead = np.array([progress_at_end(run, config.record_every)[0] for run in runs])
            middle, low, high = mean_interval(np.log(ahead), level)
            moved.append(
                Statement(
                    f"relevant weights have moved {math.exp(middle):.2f} [{math.exp(low):.2f}, "
                    f"{math.exp(high):.2f}] times as far as the rest when the loss leaves its "
                    f"plateau at n = {n}, k = {k}",
                    middle, low, high, goal, len(runs),
                    lifts_to_place_estimate(middle, low, high, len(runs), goal),
                )
            )  # fmt: skip
        learned = [math.isfinite(run["learned"]) for run in measurements.values()]
        said = f"{sum(learned)} of {len(learned)} runs learn within {config.steps} steps"
        all_learn = in_at_least(said, sum(learned), len(learned), config.learning, level)
        bounded = self._bounded(config, exponent)
        n = config.harder_dims
        easy, hard = (
            np.array([run["learned"] for run in runs_of(measurements, n, k)], float)
            for k in (config.order, config.harder_order)
        )
        later = compare_times([n], [easy], [hard], config.steps, confidence=level)
        said = (
            f"at n = {n}, k = {config.harder_order} takes {ratio(later.estimate):.3g} "
            f"[{ratio(later.low):.3g}, {ratio(later.high):.3g}] times as long as k = {config.order}"
        )
        return [_closest(gradients), _closest(moved), all_learn, bounded, later_by(said, later)]

    def _bounded(self, config: ParityConfig, exponent: HittingExponent) -> Statement:
        slope, low, high = exponent.slope, exponent.low, exponent.high
        said = f"{exponent.reason} in n, at most {config.order}"
        if math.isnan(slope):
            return Statement(said, math.nan, -math.inf, math.inf, 0.0, config.seeds, math.nan)
        goal = -float(config.order)
        needed = lifts_to_place_estimate(-slope, -high, -low, config.seeds, goal)
        return Statement(said, -slope, -high, -low, goal, config.seeds, needed)

    def level(self, config: ParityConfig) -> float:
        """The level of each interval: two statements a parity, and three of all."""
        return 1 - (1 - config.confidence) / (2 * len(parities(config)) + 3)

    def exponent(self, config: ParityConfig, measurements: Measurements) -> HittingExponent:
        """The exponent of the time to learn, over dims."""
        return hitting_exponent(
            config.dims,
            [
                np.array([run["learned"] for run in runs_of(measurements, n, config.order)], float)
                for n in config.dims
            ],
            config.steps,
            confidence=self.level(config),
        )

    def row(
        self, config: ParityConfig, measurements: Measurements, dims: int, order: int
    ) -> dict[str, Any]:
        """What the table and the figure show of one parity."""
        runs = runs_of(measurements, dims, order)
        found: dict[str, Any] = {"n": dims, "k": order, "runs": len(runs)}
        for name in ("left", "learned"):
            times = np.array([run[name] for run in runs], float)
            seen = np.isfinite(times)
            median = median_hitting_time(
                np.where(seen, times, config.steps), seen, config.confidence
            )
            found |= {name: median.median, f"{name}_low": median.low, f"{name}_high": median.high}
            found[f"{name}_runs"] = int(seen.sum())
        ahead = np.log([progress_at_end(run, config.record_every)[0] for run in runs])
        for name, values in (
            ("progress", ahead),
            ("gap_slope", np.array([run["gap_slope"] for run in runs])),
        ):
            middle, low, high = mean_interval(values, config.confidence)
            if name == "progress":
                middle, low, high = (float(np.exp(value)) for value in (middle, low, high))
            found |= {name: middle, f"{name}_low": low, f"{name}_high": high}
        return found

    def draw(self, config: ParityConfig, measurements: Measurements, verdict: Verdict) -> Figure:
        """Loss and hidden progress, the first gradient, and times."""
        rows = [self.row(config, measurements, n, k) for n, k in parities(config)]
        exponent = self.exponent(config, measurements)
        largest = runs_of(measurements, max(config.dims), config.order)
        return draw_parity(config, rows, exponent, largest, verdict)

    def table(
        self, config: ParityConfig, measurements: Measurements, verdict: Verdict
    ) -> list[dict[str, Any]]:
        """One row a parity."""
        table = []
        for n, k in parities(config):
            row = self.row(config, measurements, n, k)
            table.append(
                {
                    "n": n,
                    "k": k,
                    "first gradient / closed form": _said(row, "gap_slope"),
                    "loss leaves plateau": _said(row, "left"),
                    "relevant / rest by then": _said(row, "progress"),
                    "steps to learn": _said(row, "learned"),
                    "learned": f"{row['learned_runs']}/{row['runs']}",
                }
            )
        return table


def parities(config: ParityConfig) -> list[tuple[int, int]]:
    """All (n, k) of a run."""
    return [*((n, config.order) for n in config.dims), (config.harder_dims, config.harder_order)]


def runs_of(measurements: Measurements, dims: int, order: int) -> list[dict[str, np.ndarray]]:
    """What the seeds of one parity gave."""
    prefix = f"n{dims:04d}-k{order:02d}-"
    return [run for name, run in measurements.items() if name.startswith(prefix)]


def progress_at_end(run: dict[str, np.ndarray], record_every: int) -> tuple[float, int]:
    """How much farther relevant weights have moved at the last record of the plateau, and which."""
    last = len(run["steps"]) - 1
    if math.isfinite(run["left"]):
        last = min(int(run["left"]) // record_every, last)
    relevant, rest = run["progress"][last, :, 1]
    return (float(relevant / rest) if rest > 0 else 1.0), last


def _closest(statements: list[Statement]) -> Statement:
    return min(statements, key=lambda s: (RANK.index(s.status), s.slack))


def _said(row: dict[str, Any], name: str) -> str:
    return with_interval(row[name], row[f"{name}_low"], row[f"{name}_high"], digits=".4g")


CLAIM = Parity()
