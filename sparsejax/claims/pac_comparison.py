"""PAC-convergence under several settings: success against size, a colour a setting."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sparsejax.bounds import Verdict
from sparsejax.claims.claim import Measurements
from sparsejax.claims.drawing import GREY, MARKERS, PALETTE, interval_bars, panels, paper_style
from sparsejax.claims.statistics import least_size_at


def draw_comparison(runs: Sequence[tuple[str, Any, Measurements, Verdict]]) -> Figure:
    """Success fractions with their intervals on one pair of axes, and the learning numbers.

    A panel for each of the summary's `conditions`, where there are such. A learning number is the
    least size at and beyond which every lower limit is at least the run's own `1 - delta`; it is
    the triangle under the run's points, and in the panel's legend.
    """
    ladders = [_ladders(verdict) for *_, verdict in runs]
    names = list(dict.fromkeys(name for of_run in ladders for name in of_run))
    with paper_style():
        figure, panel_of = panels(len(names), width=6.0 if len(names) == 1 else 4.4, height=4.0)
        for name, axes in zip(names, panel_of, strict=True):
            ticks: set[int] = set()
            for place, ((label, config, *_), of_run) in enumerate(zip(runs, ladders, strict=True)):
                if name in of_run:
                    ticks |= _draw_run(axes, place, len(runs), label, config.delta, of_run[name])
            for delta in sorted({config.delta for _, config, *_ in runs}):
                label = rf"$1 - \delta$ = {1 - delta:g}"
                axes.axhline(1 - delta, color=GREY, ls=":", label=label)
            axes.set_xscale("log", base=2)
            axes.set_xticks(sorted(ticks), [str(size) for size in sorted(ticks)])
            axes.minorticks_off()
            axes.set_ylim(-0.1, 1.05)
            axes.set_yticks(np.linspace(0, 1, 6))
            axes.set_xlabel("size: copies of each duplicated vertex")
            axes.set_ylabel("fraction of lifts that reach the level")
            axes.set_title(name)
            # Below the axes: no corner is free of points in every comparison.
            axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.16))
        figure.suptitle("PAC-convergence: success against size")
    return figure


def _draw_run(
    axes: Axes, place: int, count: int, label: str, delta: float, ladder: Mapping[str, Any]
) -> set[int]:
    """One run of `count`; its sizes."""
    sizes, fraction, low, high = _success(ladder)
    colour = PALETTE[place % len(PALETTE)]
    # With more runs than colours, the same colour comes with another marker.
    marker = MARKERS[(place + place // len(PALETTE)) % len(MARKERS)]
    # Side by side, or the intervals of one size would hide each other.
    shift = 2 ** (0.12 * (place - (count - 1) / 2))
    number = least_size_at(dict(zip(sizes.tolist(), low, strict=True)), 1 - delta)
    found = "none" if number is None else str(number)
    interval_bars(
        axes,
        sizes * shift,
        fraction,
        low,
        high,
        fmt=marker,
        color=colour,
        capsize=3,
        label=f"{label}: learning number {found}",
    )
    axes.plot(sizes * shift, fraction, color=colour, lw=0.8, alpha=0.5)
    if number is not None:
        axes.plot(number * shift, -0.07, marker="^", color=colour, ls="", clip_on=False)
    return set(sizes.tolist())


def _ladders(verdict: Verdict) -> dict[str, Mapping[str, Any]]:
    """What was measured by size, for each condition; one without a name where there are none."""
    return dict(verdict.summary.get("conditions", {"": verdict.summary}))


def _success(
    by_size: Mapping[str, Any],
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Sizes in order, the success fraction at each and the ends of its interval."""
    sizes = np.array(sorted(int(size) for size in by_size["success_fraction"]))
    fraction, low, high = (
        np.array([by_size[name][str(size)] for size in sizes], float)
        for name in ("success_fraction", "interval_low", "interval_high")
    )
    return sizes, fraction, low, high
