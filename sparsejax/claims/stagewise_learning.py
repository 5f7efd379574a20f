"""Stage after stage: terms of a staircase rise one after the other, and start as powers of time."""

import dataclasses
import math
from collections.abc import Iterator
from typing import Any, ClassVar

import jax
import numpy as np
from matplotlib.figure import Figure

from sparsejax.bounds import Verdict
from sparsejax.claims.claim import Measurements, Trial
from sparsejax.claims.drawing import GREY, PALETTE, panels, paper_style
from sparsejax.claims.early_stages import early_weights
from sparsejax.claims.online_claim import OnlineClaim, if_diverged, orders, runs_of
from sparsejax.claims.online_drawing import draw_stages, shown
from sparsejax.claims.online_setting import (
    OnlineSetting,
    check_online_setting,
    foretold,
    targets_of,
)
from sparsejax.claims.scaling import Statement, in_at_least, verdict_of
from sparsejax.claims.statistics import lifts_to_place_slope, mean_interval
from sparsejax.graphs import Pointwise
from sparsejax.structure import Stages, change_points, stages

_EARLY_KEY = 2**31 + 5


@dataclasses.dataclass(frozen=True)
class StagewiseLearningConfig(OnlineSetting):
    """Online runs on a staircase, and the first moments of its flow under frozen output weights."""

    target: str = "x1 + x1*x2 + x1*x2*x3 + x1*x2*x3*x4"
    """The staircase, as a formula; its terms are to rise in the order that theory gives."""
    dims: tuple[int, ...] = (30, 100)
    """Dimensions of the cube."""
    seeds: int = 16
    """Runs of each dimension, and networks whose first moments are looked at."""
    until: float = 0.9
    """A run ends when it has this share of every term."""
    apart: float = 1.0
    """By what factor a term is to be later than the one before, in the geometric mean over runs."""
    in_order: float = 0.5
    """Fraction of runs in which all terms are to come in order."""
    early_order: int = 4
    """Length of the staircase whose first moments are looked at: u_k ~ t^(2^(k-1))."""
    early_activation: str = "tanh"
    """Activation there; it needs derivatives of that order."""
    early_width: int = 32
    """Pairs of units there."""
    early_time: float = 0.02
    """Exponents are those between half this flow time and this one."""
    early_tolerance: float = 0.02
    """By what share of itself an exponent may be off: the law is of vanishing times."""
    steps: int = 60_000
    """A run that has not learned all terms by then is stopped, and its times are censored."""


class StagewiseLearning(OnlineClaim):
    """Each term has its own time of rise; at the very start each is its own power of time."""

    name = "stagewise-learning"
    statement = (
        "Under online SGD the coefficients of a staircase rise one after the other, each at a time "
        "of its own; under frozen output weights the k-th input weight starts as t^(2^(k-1))."
    )
    source = "Abbe, Boix-Adsera, Misiakiewicz, COLT 2022 (arXiv 2202.08658); constants derived here"
    Config = StagewiseLearningConfig
    presets: ClassVar[dict[str, StagewiseLearningConfig]] = {
        "paper": StagewiseLearningConfig(
            target=" + ".join("*".join(f"x{i}" for i in range(1, k + 1)) for k in range(1, 6)),
            dims=(30, 100, 300),
            seeds=50,
            early_width=512,
            steps=1_000_000,
        )
    }

    def formulas(self, config: StagewiseLearningConfig) -> tuple[str, ...]:
        """The staircase alone."""
        return (config.target,)

    def validate(self, config: StagewiseLearningConfig) -> None:
        """Refuse a bad config before any compute."""
        check_online_setting(config, config.dims)
        (target,) = targets_of((config.target,), min(config.dims))
        if len(foretold(target).ordering) < 2:
            raise ValueError(f"target: a staircase has two terms at least, got {config.target}")
        if not config.apart >= 1 or not 0 < config.in_order < 1:
            raise ValueError(
                f"apart is 1 or more and in_order in (0, 1), got {config.apart}, {config.in_order}"
            )
        if not 1 <= config.early_order <= 5 or config.early_width < 1:
            raise ValueError(
                "early_order is 1 to 5 and early_width positive, got "
                f"{config.early_order}, {config.early_width}"
            )
        if not config.early_time > 0 or not 0 < config.early_tolerance < 1:
            raise ValueError(
                "early_time is positive and early_tolerance in (0, 1), got "
                f"{config.early_time}, {config.early_tolerance}"
            )
        Pointwise(config.early_activation)

    def control(self, config: StagewiseLearningConfig) -> StagewiseLearningConfig:
        """Terms without a staircase: each of them is learned by itself, and no order is theirs."""
        return dataclasses.replace(config, target="x1 + x2 + x3 + x4", dims=config.dims[:1])

    def trials(self, config: StagewiseLearningConfig) -> list[Trial]:
        """The first moments of every network, then one trial a dimension and seed."""
        early = [
            Trial(f"early-seed{seed:03d}", {"target": "early", "dims": 0, "number": seed})
            for seed in range(config.seeds)
        ]
        return early + super().trials(config)

    def measure_batch(
        self, config: StagewiseLearningConfig, trials: list[Trial]
    ) -> Iterator[dict[str, np.ndarray]]:
        """First moments, or runs of one dimension."""
        if trials[0].parameters["target"] != "early":
            return super().measure_batch(config, trials)
        base = jax.random.fold_in(jax.random.key(config.seed), _EARLY_KEY)
        times = config.early_time * np.array([0.25, 0.5, 1.0])
        return (
            early_weights(
                jax.random.fold_in(base, trial.parameters["number"]),
                config.early_order,
                config.early_width,
                config.early_activation,
                times,
            )
            | {"times": times}
            for trial in trials
        )

    def judge(self, config: StagewiseLearningConfig, measurements: Measurements) -> Verdict:
        """Holds where stages are in order and apart, and early exponents are those of the law."""
        count = len(self.ordering(config))
        together = len(config.dims) * (count - 1) + 1 + config.early_order
        level = 1 - (1 - config.confidence) / together
        early = self.early_statements(config, measurements, level)
        statements = early + [
            statement
            for dims in config.dims
            for statement in self.stage_statements(config, measurements, dims, level)
        ]
        parts = [
            orders(measurements, dims, 0, config.target, self.ordering(config))
            for dims in config.dims
        ]
        kept, broken = (np.concatenate(part) for part in zip(*parts, strict=True))
        undecided = int((~kept & ~broken).sum())
        said = f"all terms come in order in {kept.sum()} of {len(kept)} runs"
        statements.append(
            in_at_least(
                said, int(kept.sum()), len(kept), config.in_order, level, undecided=undecided
            )
        )
        found = {dims: self.stages(config, measurements, dims) for dims in config.dims}
        summary: dict[str, Any] = {
            "terms": ["*".join(f"x{i}" for i in term) for term in self.ordering(config)],
            "time_of_rise": {str(dims): s.median.tolist() for dims, s in found.items()},
            "time_of_rise_low": {str(dims): s.low.tolist() for dims, s in found.items()},
            "time_of_rise_high": {str(dims): s.high.tolist() for dims, s in found.items()},
            "early_exponents": self.early_exponents(config, measurements)[0].mean(axis=0).tolist(),
        }
        diverged = if_diverged(measurements, summary)
        return diverged if diverged is not None else verdict_of(statements, summary)

    def ordering(self, config: StagewiseLearningConfig) -> tuple[tuple[int, ...], ...]:
        """The terms, in the order in which theory says that they are learned."""
        (target,) = targets_of((config.target,), max(config.dims))
        return foretold(target).ordering

    def stages(
        self, config: StagewiseLearningConfig, measurements: Measurements, dims: int
    ) -> Stages:
        """Times of each term in theory's order, with medians and intervals."""
        (target,) = targets_of((config.target,), dims)
        place = {term: k for k, (term, _) in enumerate(target.terms)}
        order = [place[term] for term in self.ordering(config)]
        times = np.stack([run["times"][order] for run in runs_of(measurements, dims, 0)])
        return stages(times, config.confidence)

    def stage_statements(
        self,
        config: StagewiseLearningConfig,
        measurements: Measurements,
        dims: int,
        level: float,
    ) -> list[Statement]:
        """At one dimension: every term is later than the one before, by the factor."""
        ordering = self.ordering(config)
        times = self.stages(config, measurements, dims).times
        found = []
        for k in range(len(ordering) - 1):
            # A later term that was stopped came at the end or after it.
            later = np.minimum(times[:, k + 1], config.steps)
            with np.errstate(invalid="ignore", divide="ignore"):
                logs = np.log(later / np.maximum(times[:, k], 1))
            # Of an earlier one that was stopped nothing is known.
            known = logs[np.isfinite(times[:, k])]
            whole = len(known) == len(logs)
            nothing = (0.0, -math.inf, math.inf)
            mean, low, high = mean_interval(known, level) if len(known) else nothing
            if not whole:
                low, high = -math.inf, math.inf
            elif np.isinf(times[:, k + 1]).any():
                # However late the stopped ones would have been: only the lower end is known.
                high = math.inf
            goal = math.log(config.apart)
            names = ["*".join(f"x{i}" for i in ordering[j]) for j in (k, k + 1)]
            said = (
                f"at d = {dims} {names[1]} is {math.exp(mean):.3g} "
                f"[{math.exp(low):.3g}, {math.exp(high):.3g}] times as late as {names[0]}"
            )
            needed = lifts_to_place_slope(mean, low, high, len(logs), goal)
            found.append(Statement(said, mean, low, high, goal, len(logs), needed))
        return found

    def early_statements(
        self, config: StagewiseLearningConfig, measurements: Measurements, level: float
    ) -> list[Statement]:
        """Every exponent of time is that of the law, up to the tolerance."""
        exponents, errors = self.early_exponents(config, measurements)
        found = []
        for k in range(config.early_order):
            theory = 2**k
            mean, low, high = mean_interval(exponents[:, k], level)
            error = float(errors[:, k].max())
            worst = max(abs(low - error - theory), abs(high + error - theory)) / theory
            off = abs(mean - theory) / theory
            said = f"u_{k + 1} starts as t^{mean:.3f} (theory {theory})"
            slack = config.early_tolerance - off
            least, most = config.early_tolerance - worst, slack + (worst - off)
            needed = lifts_to_place_slope(slack, least, most, len(exponents), 0.0)
            found.append(
                Statement(said, slack, least, most, 0.0, len(exponents), needed, error / theory)
            )
        return found

    def early_exponents(
        self, config: StagewiseLearningConfig, measurements: Measurements
    ) -> tuple[np.ndarray, np.ndarray]:
        """(seeds, order): exponents between the last two times, and what step sizes do to them."""
        runs = [v for name, v in measurements.items() if name.startswith("early-")]
        sizes = np.stack([run["sizes"] for run in runs])
        errors = np.stack([run["error"] for run in runs])
        relative = (errors / sizes)[:, :, -2:].sum(axis=2)
        ratio = np.log(runs[0]["times"][-1] / runs[0]["times"][-2])
        return np.log(sizes[:, :, -1] / sizes[:, :, -2]) / ratio, relative / ratio

    def draw(
        self, config: StagewiseLearningConfig, measurements: Measurements, verdict: Verdict
    ) -> Figure:
        """Coefficients at every dimension, times of rise, and the powers of time."""
        with paper_style():
            figure, axes = panels(len(config.dims) + 2, height=3.5)
            for panel, dims in zip(axes, config.dims, strict=False):
                (target,) = targets_of((config.target,), dims)
                draw_stages(panel, target, runs_of(measurements, dims, 0), config.level)
                panel.set_title(f"$d$ = {dims}")
            self._draw_times(axes[-2], config, measurements)
            self._draw_early(axes[-1], config, measurements)
            figure.suptitle(
                f"Stagewise learning of {shown(config.target)}: {verdict.status.replace('_', ' ')}"
            )
        return figure

    def _draw_times(self, axes: Any, config: Any, measurements: Measurements) -> None:
        names = [shown("*".join(f"x{i}" for i in term)) for term in self.ordering(config)]
        for number, dims in enumerate(config.dims):
            found = self.stages(config, measurements, dims)
            for times in found.times:
                axes.plot(
                    np.arange(len(names)) + 0.1 * number,
                    np.where(np.isfinite(times), times, np.nan),
                    color=PALETTE[number % len(PALETTE)],
                    lw=0.5,
                    alpha=0.5,
                )
            axes.plot(
                np.arange(len(names)) + 0.1 * number,
                np.where(np.isfinite(found.median), found.median, np.nan),
                color=PALETTE[number % len(PALETTE)],
                marker="o",
                ms=4,
                label=f"$d$ = {dims}, median",
            )
        axes.set(
            yscale="log", xlabel="term", ylabel="steps until it is learned", title="times of rise"
        )
        axes.set_xticks(range(len(names)), names)
        axes.legend()

    def _draw_early(self, axes: Any, config: Any, measurements: Measurements) -> None:
        runs = [v for name, v in measurements.items() if name.startswith("early-")]
        for k in range(config.early_order):
            color = PALETTE[k % len(PALETTE)]
            for number, run in enumerate(runs):
                label = f"$u_{k + 1} \\sim t^{{{2**k}}}$" if number == 0 else None
                axes.plot(run["times"], run["law"][k], color=GREY, lw=0.7, zorder=1)
                axes.plot(
                    run["times"], run["sizes"][k], ls="", marker="o", ms=3, color=color, label=label
                )
        axes.set(
            xscale="log",
            yscale="log",
            xlabel="flow time $t$",
            ylabel="root mean square weight $u_k$",
            title="output weights frozen, early",
        )
        axes.set_xticks(runs[0]["times"], [f"{t:g}" for t in runs[0]["times"]])
        axes.minorticks_off()
        axes.plot([], [], color=GREY, label="law")
        axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=3, columnspacing=1.0)

    def table(
        self, config: StagewiseLearningConfig, measurements: Measurements, verdict: Verdict
    ) -> list[dict[str, Any]]:
        """One row a dimension and term: its time of rise, and its change point."""
        rows = []
        for dims in config.dims:
            found = self.stages(config, measurements, dims)
            changes = self._changes(config, measurements, dims)
            for k, term in enumerate(self.ordering(config)):
                rows.append(
                    {
                        "d": dims,
                        "term": "*".join(f"x{i}" for i in term),
                        "steps to learn": found.median[k],
                        "low": found.low[k],
                        "high": found.high[k],
                        "change point": changes.median[k],
                        "change low": changes.low[k],
                        "change high": changes.high[k],
                        "censored": f"{int(np.isinf(found.times[:, k]).sum())}/{len(found.times)}",
                    }
                )
        return rows

    def _changes(
        self, config: StagewiseLearningConfig, measurements: Measurements, dims: int
    ) -> Stages:
        """Change points of the curves of terms that were learned, without a level."""
        (target,) = targets_of((config.target,), dims)
        place = {term: k for k, (term, _) in enumerate(target.terms)}
        order = [place[term] for term in self.ordering(config)]
        times = []
        for run in runs_of(measurements, dims, 0):
            found = change_points(run["steps"], run["shares"][None][:, :, order])[0]
            times.append(np.where(np.isfinite(run["times"][order]), found, np.inf))
        return stages(np.stack(times), config.confidence)


CLAIM = StagewiseLearning()
