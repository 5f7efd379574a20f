"""Same degrees, shared or disjoint coordinates: structure tells apart what degree does not."""

import dataclasses
import math
from typing import Any, ClassVar

import numpy as np
from matplotlib.figure import Figure

from sparsejax.bounds import Verdict
from sparsejax.claims.claim import Measurements
from sparsejax.claims.drawing import GREY, MARKERS, PALETTE, paper_style
from sparsejax.claims.online_claim import OnlineClaim, if_diverged, runs_of, whole_times
from sparsejax.claims.online_drawing import draw_stages, shown
from sparsejax.claims.online_setting import OnlineSetting, check_online_setting, targets_of
from sparsejax.claims.scaling import compare_times, later_by, ratio, verdict_of
from sparsejax.claims.statistics import median_hitting_time


@dataclasses.dataclass(frozen=True)
class SharedAgainstDisjointConfig(OnlineSetting):
    """A target whose terms share coordinates, and others of the same degree whose terms do not."""

    shared: str = "x1 + x1*x2 + x1*x2*x3"
    """The target with shared coordinates, as a formula."""
    disjoint: tuple[str, ...] = ("x1 + x4*x5*x6", "x1 + x2*x3 + x4*x5*x6")
    """Targets with disjoint ones: as sparse, of the same degree, and the last of the same degrees
    term by term."""
    dims: tuple[int, ...] = (100,)
    """Dimensions of the cube."""
    factor: float = 5.0
    """By how much sooner the shared target is to be learned, at every dimension."""
    steps: int = 60_000
    """A run that has not learned all terms by then is stopped, and its times are censored."""
    seeds: int = 16
    """Runs of each target and dimension."""


class SharedAgainstDisjoint(OnlineClaim):
    """One prediction by which compositional sparsity differs from its rivals.

    Degree, number of terms, number of relevant coordinates and the share of zero coefficients say
    that these targets are as hard as one another, or that the shared one, of larger norm, is
    harder: only how terms build on one another tells them apart.
    """

    name = "shared-against-disjoint"
    statement = (
        "Of functions of the cube with the same degrees, online SGD of a two-layer network learns "
        "one whose terms share coordinates, each building on the one before, several times sooner "
        "than those whose terms are disjoint."
    )
    source = (
        "Abbe, Boix-Adsera, Misiakiewicz, COLT 2022 (arXiv 2202.08658); Danhofer, D'Ascenzo, "
        "Dubach, Poggio, ICML 2025 (arXiv 2507.02550); the factor: measured here"
    )
    Config = SharedAgainstDisjointConfig
    presets: ClassVar[dict[str, SharedAgainstDisjointConfig]] = {
        "paper": SharedAgainstDisjointConfig(dims=(50, 100, 200, 400), seeds=30, steps=1_000_000)
    }

    def formulas(self, config: SharedAgainstDisjointConfig) -> tuple[str, ...]:
        """The shared target first."""
        return (config.shared, *config.disjoint)

    def validate(self, config: SharedAgainstDisjointConfig) -> None:
        """Refuse a bad config before any compute."""
        check_online_setting(config, config.dims)
        if not config.disjoint:
            raise ValueError("disjoint: give one target at least")
        if not config.factor >= 1:
            raise ValueError(f"factor: must be 1 or more, got {config.factor}")
        degrees = {t.formula: t.degree for t in targets_of(self.formulas(config), min(config.dims))}
        if len(set(degrees.values())) > 1:
            raise ValueError(f"shared, disjoint: targets of one degree, got {degrees}")

    def control(self, config: SharedAgainstDisjointConfig) -> SharedAgainstDisjointConfig:
        """A disjoint target in the place of the shared one: it is no sooner than itself."""
        return dataclasses.replace(
            config,
            shared=config.disjoint[0],
            disjoint=(config.disjoint[0].replace("x1", "x7"),),
            dims=config.dims[:1],
        )

    def judge(self, config: SharedAgainstDisjointConfig, measurements: Measurements) -> Verdict:
        """Holds where times are apart by the factor, for each disjoint target and dimension."""
        level = 1 - (1 - config.confidence) / (len(config.disjoint) * len(config.dims))
        statements, found = [], {}
        for dims in config.dims:
            first = whole_times(measurements, dims, 0)
            for number, text in enumerate(config.disjoint, start=1):
                times = whole_times(measurements, dims, number)
                later = compare_times([dims], [first], [times], config.steps, confidence=level)
                stopped = int(np.isinf(times).sum())
                said = (
                    f"at d = {dims} {text} takes {ratio(later.estimate):.3g} "
                    f"[{ratio(later.low):.3g}, {ratio(later.high):.3g}] times as long as "
                    f"{config.shared}"
                )
                if stopped:
                    said += f" ({stopped} of {len(times)} runs were stopped at {config.steps})"
                statements.append(later_by(said, later, math.log(config.factor)))
                found[f"{text} at {dims}"] = {
                    "ratio": ratio(later.estimate),
                    "low": ratio(later.low),
                    "high": ratio(later.high),
                    "censored": stopped,
                }
        summary: dict[str, Any] = {"ratios": found, "factor": config.factor}
        diverged = if_diverged(measurements, summary)
        return diverged if diverged is not None else verdict_of(statements, summary)

    def draw(
        self, config: SharedAgainstDisjointConfig, measurements: Measurements, verdict: Verdict
    ) -> Figure:
        """Stages of each target at the largest dimension, and the times of all runs."""
        formulas, dims = self.formulas(config), max(config.dims)
        with paper_style():
            figure = Figure(figsize=(3.4 * (len(formulas) + 1), 3.5))
            axes = figure.subplots(1, len(formulas) + 1)
            for number, target in enumerate(targets_of(formulas, dims)):
                draw_stages(axes[number], target, runs_of(measurements, dims, number), config.level)
                axes[number].set(xlim=(10, config.steps), title=shown(formulas[number]))
                axes[number].sharey(axes[0])
            for number in range(len(formulas)):
                for place, at in enumerate(config.dims):
                    times = whole_times(measurements, at, number)
                    axes[-1].plot(
                        np.full(len(times), number + 0.15 * (place - (len(config.dims) - 1) / 2)),
                        np.minimum(times, config.steps),
                        ls="",
                        marker=MARKERS[place % len(MARKERS)],
                        ms=5,
                        mfc="none",
                        color=PALETTE[number % len(PALETTE)],
                        label=f"$d$ = {at}" if number == 0 else None,
                    )
            axes[-1].axhline(config.steps, color=GREY, ls=":", lw=1)
            axes[-1].set(
                yscale="log",
                xlim=(-0.5, len(formulas) - 0.5),
                ylabel="steps until all terms are learned",
                xlabel="target",
            )
            axes[-1].set_xticks(
                range(len(formulas)),
                ["shared", *(f"disjoint {k + 1}" for k in range(len(config.disjoint)))],
            )
            axes[-1].legend()
            figure.suptitle(f"Shared against disjoint: {verdict.status.replace('_', ' ')}")
        return figure

    def table(
        self, config: SharedAgainstDisjointConfig, measurements: Measurements, verdict: Verdict
    ) -> list[dict[str, Any]]:
        """One row a dimension and target."""
        rows = []
        for dims in config.dims:
            for number, text in enumerate(self.formulas(config)):
                times = whole_times(measurements, dims, number)
                reached = np.isfinite(times)
                middle = median_hitting_time(
                    np.where(reached, times, config.steps), reached, config.confidence
                )
                apart = verdict.summary["ratios"].get(f"{text} at {dims}", {})
                rows.append(
                    {
                        "target": text,
                        "d": dims,
                        "steps to learn": middle.median,
                        "low": middle.low,
                        "high": middle.high,
                        "censored": f"{int((~reached).sum())}/{len(times)}",
                        "times the shared": apart.get("ratio", 1.0),
                        "ratio low": apart.get("low", 1.0),
                        "ratio high": apart.get("high", 1.0),
                    }
                )
        return rows


CLAIM = SharedAgainstDisjoint()
