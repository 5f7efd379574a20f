"""Staircases before leaps: times of online SGD against dimension, and the order of stages."""

import dataclasses
from typing import Any, ClassVar

import numpy as np
from matplotlib.figure import Figure

from sparsejax.bounds import Verdict
from sparsejax.claims.claim import Measurements
from sparsejax.claims.merged_staircase_figure import draw_staircases
from sparsejax.claims.online_claim import OnlineClaim, if_diverged, orders, whole_times
from sparsejax.claims.online_setting import (
    Foretold,
    OnlineSetting,
    check_online_setting,
    foretold,
    targets_of,
)
from sparsejax.claims.scaling import (
    HittingExponent,
    Statement,
    compare_times,
    finite_size_warnings,
    hitting_exponent,
    in_at_least,
    later_by,
    ratio,
    verdict_of,
)
from sparsejax.graphs import Pointwise


@dataclasses.dataclass(frozen=True)
class MergedStaircaseConfig(OnlineSetting):
    """Targets of several leaps, over dimensions and seeds."""

    targets: tuple[str, ...] = (
        "x1 + x1*x2 + x1*x2*x3",
        "x1 + x1*x2*x3",
        "x1 + x4*x5*x6",
        "x1*x2*x3",
    )
    """Functions of the cube, as formulas; of two leaps at least."""
    seeds: int = 8
    """Runs of each target and dimension."""
    dims: tuple[int, ...] = (25, 50, 100, 200)
    """Dimensions of the cube."""
    in_order: float = 0.6
    """Fraction of runs in which stages are to come in the predicted order."""


class MergedStaircase(OnlineClaim):
    """Times to learn targets, by their leap and by dimension; the order in which terms are learned.

    Asserted are orders: of times at equal dimension, of exponents where theory has different ones,
    and of stages. The exponents themselves are shown beside those of theory, which hold up to
    logarithms; at a finite dimension everything is learned in the end, so that what is censored is
    said, and never called unlearned.
    """

    name = "merged-staircase"
    statement = (
        "Online SGD of a two-layer network learns functions of the cube the later the larger their "
        "leap, in times that grow faster with dimension where the leap is above 2, and learns the "
        "terms of each in the order of a staircase."
    )
    source = (
        "Abbe, Boix-Adsera, Misiakiewicz, COLT 2022 (arXiv 2202.08658) and COLT 2023 "
        "(arXiv 2302.11055), a conjecture in general"
    )
    Config = MergedStaircaseConfig
    presets: ClassVar[dict[str, MergedStaircaseConfig]] = {
        "paper": MergedStaircaseConfig(
            targets=(
                "x1 + x1*x2 + x1*x2*x3",
                "x1 + x2 + x2*x3 + x1*x2*x3*x4",
                "x1 + x1*x2*x3",
                "x1*x2 + x1*x2*x3",
                "x1 + x4*x5*x6",
                "x1*x2*x3",
            ),
            dims=(25, 35, 50, 70, 100, 140, 200, 280, 400),
            seeds=30,
            steps=2_000_000,
        )
    }

    def validate(self, config: MergedStaircaseConfig) -> None:
        """Refuse a bad config before any compute."""
        check_online_setting(config, config.dims)
        if not 0 < config.in_order < 1:
            raise ValueError(f"in_order: must lie in (0, 1), got {config.in_order}")
        if len(config.dims) < 2:
            raise ValueError(f"dims: at least two for an exponent, got {config.dims}")
        targets_of(config.targets, min(config.dims))
        leaps = {prediction.leap for prediction in _predictions(config)}
        if len(leaps) < 2 or 0 in leaps:
            raise ValueError(
                f"targets: give targets of two different leaps, none constant; got {leaps}"
            )

    def control(self, config: MergedStaircaseConfig) -> MergedStaircaseConfig:
        """Outputs over the width at the same step: no more than degree 1 is learned by the end."""
        return dataclasses.replace(
            config, output_scaling="mean_field", dims=tuple(sorted(config.dims)[:2]), steps=4000
        )

    def judge(self, config: MergedStaircaseConfig, measurements: Measurements) -> Verdict:
        """Holds where all orders do: of times, of exponents and of stages."""
        times = [
            [whole_times(measurements, dims, number) for dims in config.dims]
            for number in range(len(config.targets))
        ]
        exponents = self.exponents(config, measurements)
        summary: dict[str, Any] = {
            "exponents": {
                text: {
                    "leap": prediction.leap,
                    "predicted": prediction.step_exponent,
                    "exponent": found.slope,
                    "low": found.low,
                    "high": found.high,
                    "status": found.status,
                    "censored": sum(found.censored),
                }
                for text, prediction, found in zip(
                    config.targets, _predictions(config), exponents, strict=True
                )
            },
            "warnings": list(self.warnings(config)),
        }
        diverged = if_diverged(measurements, summary)
        if diverged is not None:
            return diverged
        found = verdict_of(self.statements(config, measurements, times), summary)
        seen = ", ".join(
            f"{found.slope:.2f} (theory {prediction.step_exponent})"
            for found, prediction in zip(exponents, _predictions(config), strict=True)
        )
        said = f"exponents of these dimensions: {seen}"
        return dataclasses.replace(found, reason=f"{found.reason}; {said}")

    def statements(
        self, config: MergedStaircaseConfig, measurements: Measurements, times: list
    ) -> list[Statement]:
        """All orders that theory predicts, at a level at which all of them hold together."""
        found = _predictions(config)
        pairs = [
            (a, b)
            for a in range(len(found))
            for b in range(len(found))
            if _next_leap(found, a) == found[b].leap
        ]
        powers = [(a, b) for a, b in pairs if found[a].step_exponent < found[b].step_exponent]
        staged = [number for number, p in enumerate(found) if len(p.ordering) > 1]
        level = 1 - (1 - config.confidence) / (len(pairs) + len(powers) + len(staged))
        statements = []
        for a, b in pairs:
            later = compare_times(config.dims, times[a], times[b], config.steps, confidence=level)
            said = (
                f"{config.targets[b]} (leap {found[b].leap}) takes {ratio(later.estimate):.3g} "
                f"[{ratio(later.low):.3g}, {ratio(later.high):.3g}] times as long as "
                f"{config.targets[a]} (leap {found[a].leap})"
            )
            statements.append(later_by(said, later))
        for a, b in powers:
            steeper = compare_times(
                config.dims, times[a], times[b], config.steps, of="exponent", confidence=level
            )
            said = (
                f"its exponent in d is larger by {steeper.estimate:.2f} [{steeper.low:.2f}, "
                f"{steeper.high:.2f}] for {config.targets[b]} than for {config.targets[a]}"
            )
            statements.append(later_by(said, steeper))
        for number in staged:
            text, order = config.targets[number], found[number].ordering
            found_orders = [orders(measurements, dims, number, text, order) for dims in config.dims]
            kept, broken = (np.concatenate(parts) for parts in zip(*found_orders, strict=True))
            said = f"stages of {text} come in order in {kept.sum()} of {len(kept)} runs"
            undecided = int((~kept & ~broken).sum())
            if undecided:
                said += f", unknown in {undecided}"
            statements.append(
                in_at_least(
                    said, int(kept.sum()), len(kept), config.in_order, level, undecided=undecided
                )
            )
        return statements

    def exponents(
        self, config: MergedStaircaseConfig, measurements: Measurements
    ) -> list[HittingExponent]:
        """The exponent of the time to learn each target."""
        return [
            hitting_exponent(
                config.dims,
                [whole_times(measurements, dims, number) for dims in config.dims],
                config.steps,
                predicted=prediction.step_exponent,
                confidence=config.confidence,
            )
            for number, prediction in enumerate(_predictions(config))
        ]

    def warnings(self, config: MergedStaircaseConfig) -> tuple[str, ...]:
        """Where finite sizes may turn the conclusion around."""
        found = _predictions(config)
        return finite_size_warnings(
            Pointwise(config.activation),
            biases=(-1.0, 1.0),
            degrees=sorted({len(term) for p in found for term in p.ordering}),
            output_power=1.0 if config.output_scaling == "mean_field" else 0.5,
            width=config.width,
            sizes=config.dims,
            exponents=[p.step_exponent for p in found],
        )

    def draw(
        self, config: MergedStaircaseConfig, measurements: Measurements, verdict: Verdict
    ) -> Figure:
        """Times against dimension, and the stages at the largest one."""
        return draw_staircases(config, self.exponents(config, measurements), measurements, verdict)

    def table(
        self, config: MergedStaircaseConfig, measurements: Measurements, verdict: Verdict
    ) -> list[dict[str, Any]]:
        """One row a target and dimension, with the exponent of the target."""
        rows = []
        found = zip(
            config.targets, _predictions(config), self.exponents(config, measurements), strict=True
        )
        for number, (text, prediction, exponent) in enumerate(found):
            for dims, middle, censored in zip(
                config.dims, exponent.medians, exponent.censored, strict=True
            ):
                ordered, _ = orders(measurements, dims, number, text, prediction.ordering)
                rows.append(
                    {
                        "target": text,
                        "leap": prediction.leap,
                        "d": dims,
                        "steps to learn": middle.median,
                        "low": middle.low,
                        "high": middle.high,
                        "censored": f"{censored}/{len(ordered)}",
                        "stages in order": f"{int(ordered.sum())}/{len(ordered)}",
                        "exponent": exponent.slope,
                        "exponent low": exponent.low,
                        "exponent high": exponent.high,
                        "theory": prediction.step_exponent,
                    }
                )
        return rows


def _predictions(config: MergedStaircaseConfig) -> list[Foretold]:
    return [foretold(target) for target in targets_of(config.targets, max(config.dims))]


def _next_leap(found: list[Foretold], number: int) -> int | None:
    larger = [p.leap for p in found if p.leap > found[number].leap]
    return min(larger, default=None)


CLAIM = MergedStaircase()
