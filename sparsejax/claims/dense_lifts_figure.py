"""The figure of `dense-lifts`: six panels, one marker and colour a condition."""

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import NullLocator

from sparsejax.bounds import Verdict
from sparsejax.claims.drawing import BLUE, GREEN, GREY, ORANGE, PURPLE, paper_style
from sparsejax.claims.matched_lifts import CONDITIONS, MATCHES, SPARSE

LOOKS = {
    SPARSE: (BLUE, "o", "sparse lifts"),
    "parameters": (ORANGE, "s", "dense, equal parameters"),
    "vertices": (GREEN, "^", "dense, equal vertices"),
    "compute": (PURPLE, "D", "dense, equal multiply-adds of a gradient"),
}


def draw(config: Any, verdict: Verdict) -> Figure:
    """Every number in it is of the verdict's summary."""
    conditions, contrasts = verdict.summary["conditions"], verdict.summary["contrasts"]
    sizes = sorted(int(size) for size in conditions[SPARSE])
    with paper_style():
        figure = Figure(figsize=(10.8, 6.6))
        axes = figure.subplots(2, 3).ravel()
        for place, condition in enumerate(CONDITIONS):
            found = [conditions[condition][str(size)] for size in sizes]
            at = _beside(sizes, place)
            colour, marker, label = LOOKS[condition]
            _bars(axes[0], at, [f["fraction"] for f in found], colour, marker, label)
            _bars(axes[2], at, [f["time"] for f in found], colour, marker)
            _bars(axes[3], at, [f["gradients"] for f in found], colour, marker)
            cost = [np.multiply(f["gradients"], f["multiply_adds"]) for f in found]
            _bars(axes[4], at, cost, colour, marker)
            _bars(axes[5], at, [f["final_loss"] for f in found], colour, marker)
            _bars(axes[5], at, [f["test_loss"] for f in found], colour, marker, hollow=True)
        for match in MATCHES:
            apart = [contrasts[match][str(size)] for size in sizes]
            values = [[c["difference"], c["low"], c["high"]] for c in apart]
            at = _beside(sizes, CONDITIONS.index(match))
            _bars(axes[1], at, values, *LOOKS[match][:2])
        axes[0].set_ylim(-0.05, 1.05)
        axes[0].set_title("who reaches the level")
        axes[0].set_ylabel(f"fraction by $t$ = {config.t1:g}")
        axes[1].axhline(0, color=GREY, lw=0.8)
        axes[1].axhline(-config.tolerance, color=GREY, ls=":", label="tolerance")
        axes[1].set_title("sparse minus dense")
        axes[1].set_ylabel("difference of fractions")
        axes[1].legend(loc="best")
        axes[2].set_title("flow time to the level")
        axes[2].set_ylabel("median flow time $t$")
        axes[3].set_title("gradients to the level")
        axes[3].set_ylabel("median number of gradients")
        axes[4].set_title("compute to the level")
        axes[4].set_ylabel("multiply-adds a sample")
        for panel in axes[2:5]:
            panel.set_yscale("log")
        axes[5].axhline(config.eps_fraction, color=GREY, ls=":", label="the level")
        axes[5].plot([], [], "o", color=GREY, label="training")
        axes[5].plot([], [], "o", color=GREY, mfc="none", label="test")
        axes[5].legend(loc="best")
        axes[5].set_title(f"losses at $t$ = {config.t1:g}")
        axes[5].set_ylabel("loss / loss of zero")
        for panel in axes:
            panel.set_xscale("log", base=2)
            panel.set_xlim(sizes[0] * 2**-0.35, sizes[-1] * 2**0.35)
            panel.set_xticks(sizes, [str(size) for size in sizes])
            panel.xaxis.set_minor_locator(NullLocator())
            panel.set_xlabel("vertices per hidden layer of the sparse lift")
        figure.suptitle(f"Sparse and dense lifts: {verdict.status.replace('_', ' ')}")
        figure.legend(*axes[0].get_legend_handles_labels(), loc="outside lower center", ncols=4)
    return figure


def _beside(sizes: list[int], place: int) -> np.ndarray:
    """Sizes moved apart, so that the intervals of one size do not hide each other."""
    return np.array(sizes) * 2 ** (0.1 * (place - (len(CONDITIONS) - 1) / 2))


def _bars(
    axes: Axes,
    at: np.ndarray,
    values: list[Any],
    colour: str,
    marker: str,
    label: str | None = None,
    hollow: bool = False,
) -> None:
    """Middle, low and high; an infinite high end is an arrow, an infinite middle no point."""
    middle, low, high = np.array(values, float).T
    shown = np.isfinite(middle)
    # An open interval has no end to draw: an arrow says so below.
    top = np.where(np.isfinite(high), high, middle)
    axes.errorbar(
        at[shown],
        middle[shown],
        yerr=[middle[shown] - low[shown], top[shown] - middle[shown]],
        fmt=marker,
        color=colour,
        mfc="none" if hollow else colour,
        ms=5,
        capsize=2,
        lw=1,
        label=label,
    )
    # Where half of the lifts never reached, all that is known is the least the median can be.
    least = np.where(shown, middle, low)
    open_end = ~np.isfinite(high) & (least > 0)
    axes.plot(at[open_end], least[open_end] * 1.06, marker="$↑$", color=colour, ls="", ms=9)
