"""The picture of the merged staircase: times against dimension, exponents, and the stages."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from sparsejax.bounds import Verdict
from sparsejax.claims.claim import Measurements
from sparsejax.claims.drawing import GREY, MARKERS, PALETTE, interval_bars, panels, paper_style
from sparsejax.claims.online_claim import runs_of
from sparsejax.claims.online_drawing import draw_stages, shown
from sparsejax.claims.online_setting import targets_of
from sparsejax.claims.scaling import HittingExponent


def draw_staircases(
    config: Any,
    exponents: list[HittingExponent],
    measurements: Measurements,
    verdict: Verdict,
) -> Figure:
    """Median times with intervals and their exponents; terms learned at the largest dimension."""
    found = verdict.summary["exponents"]
    with paper_style():
        figure, (ladder, slopes, stages) = panels(3)
        for number, (text, exponent) in enumerate(zip(config.targets, exponents, strict=True)):
            style = {
                "color": PALETTE[number % len(PALETTE)],
                "marker": MARKERS[number % len(MARKERS)],
                "ms": 4,
                "capsize": 2,
                "lw": 1,
            }
            _draw_times(ladder, config, number, exponent, f"{shown(text)}", style)
            middle, low, high = exponent.slope, exponent.low, exponent.high
            interval_bars(slopes, [number], [middle], [max(low, -1)], [min(high, 4)], **style)
            slopes.plot([number - 0.3, number + 0.3], [found[text]["predicted"]] * 2, color=GREY)
        ladder.axhline(config.steps, color=GREY, ls=":", lw=1, label="runs are stopped")
        ladder.set(
            xscale="log",
            yscale="log",
            xlabel="dimension $d$",
            ylabel="steps until all terms are learned",
            title="median times",
        )
        ladder.set_xticks(config.dims, [str(d) for d in config.dims])
        ladder.minorticks_off()
        slopes.set(xlabel="leap of the target", ylabel="exponent in $d$", title="time $\\sim d^p$")
        slopes.set_xticks(
            range(len(config.targets)), [str(found[text]["leap"]) for text in config.targets]
        )
        slopes.plot([], [], color=GREY, label="theory, up to logarithms")
        slopes.legend()
        # The lowest leap, and of several the most terms.
        number = min(
            range(len(config.targets)),
            key=lambda n: (found[config.targets[n]]["leap"], -len(config.targets[n])),
        )
        dims = max(config.dims)
        (target,) = targets_of([config.targets[number]], dims)
        draw_stages(stages, target, runs_of(measurements, dims, number), config.level)
        figure.legend(*ladder.get_legend_handles_labels(), loc="outside lower center", ncols=5)
        figure.suptitle(f"Merged staircase: {verdict.status.replace('_', ' ')}")
    return figure


def _draw_times(axes, config, number: int, exponent: HittingExponent, label: str, style) -> None:
    dims = np.asarray(config.dims, float) * 1.02 ** (number - (len(config.targets) - 1) / 2)
    seen = np.array([np.isfinite(m.median) for m in exponent.medians])
    # An end that is infinite is drawn up to where runs were stopped.
    middle, low, high = (
        np.array([min(getattr(m, end), config.steps) for m in exponent.medians])
        for end in ("median", "low", "high")
    )
    interval_bars(axes, dims[seen], middle[seen], low[seen], high[seen], label=label, **style)
    if not seen.all():
        axes.plot(dims[~seen], middle[~seen], ls="", marker=7, ms=7, color=style["color"])
