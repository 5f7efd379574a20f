"""The figure of `parity`: the loss, what moves behind it, the first gradient, and times."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from sparsejax.bounds import Verdict
from sparsejax.claims.drawing import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    RED,
    interval_bars,
    panels,
    paper_style,
)
from sparsejax.claims.scaling import HittingExponent


def draw_parity(
    config: Any,
    rows: list[dict[str, Any]],
    exponent: HittingExponent,
    runs: list[dict[str, np.ndarray]],
    verdict: Verdict,
) -> Figure:
    """`rows`: one a parity; `runs`: those at the largest dimension."""
    with paper_style():
        figure, (loss, progress, gradient, times) = panels(4, width=3.1, height=3.3)
        _draw_runs(config, loss, progress, runs)
        left = [row["left"] for row in rows if row["n"] == max(config.dims)]
        for axes in (loss, progress):
            if np.isfinite(left[0]):
                axes.axvline(left[0], color=GREY, ls=":", lw=1)
        loss.set_title(f"loss at n = {max(config.dims)}, k = {config.order}")
        progress.set_title("what moves behind it")

        places = np.arange(len(rows))
        middle, low, high = (
            [row[name] for row in rows] for name in ("gap_slope", "gap_slope_low", "gap_slope_high")
        )
        interval_bars(gradient, places, middle, low, high, fmt="o", color=BLUE, capsize=3, ms=5)
        gradient.axhline(1, color=GREY, lw=0.8)
        gradient.axhspan(
            1 - config.gap_tolerance, 1 + config.gap_tolerance, color=GREY, alpha=0.12, lw=0
        )
        gradient.set_xticks(places, [f"{row['n']}, {row['k']}" for row in rows])
        gradient.set_xlabel("n, k")
        gradient.set_ylabel("first gradient / closed form")
        gradient.set_title("Fourier coefficients")

        _draw_times(config, times, rows, exponent)
        figure.suptitle(f"Parities: {verdict.status.replace('_', ' ')}")
    return figure


def _draw_runs(config: Any, loss: Any, progress: Any, runs: list[dict[str, np.ndarray]]) -> None:
    for number, run in enumerate(runs):
        label = {"label": "a run"} if number == 0 else {}
        loss.plot(run["steps"], run["loss"], color=BLUE, lw=0.6, alpha=0.5, **label)
        # The first record is the start, from which nothing has moved yet.
        for part, color, name in ((0, ORANGE, "relevant inputs"), (1, GREY, "the rest")):
            label = {"label": name} if number == 0 else {}
            progress.plot(
                run["steps"][1:], run["progress"][1:, part, 1],
                color=color, lw=0.6, alpha=0.5, **label,
            )  # fmt: skip
    loss.axhline(1 - config.drop, color=RED, ls="--", lw=1, label="end of the plateau")
    loss.set_xlabel("steps")
    loss.set_ylabel("hinge loss, fresh samples")
    loss.legend(loc="upper right")
    progress.set_xscale("log")
    progress.set_yscale("log")
    # Of a decade or two the few ticks in between would print over each other.
    progress.xaxis.set_minor_formatter(NullFormatter())
    progress.yaxis.set_minor_formatter(NullFormatter())
    progress.set_xlabel("steps")
    progress.set_ylabel(r"distance from the start, r.m.s. $w_t - w_0$")
    legend = progress.legend(loc="upper left")
    for line in legend.get_lines():
        line.set_linewidth(1.8)
        line.set_alpha(1)


def _draw_times(
    config: Any, axes: Any, rows: list[dict[str, Any]], exponent: HittingExponent
) -> None:
    for name, color, marker, said in (
        ("left", ORANGE, "s", "loss leaves its plateau"),
        ("learned", BLUE, "o", "learned"),
    ):
        for order, fill in ((config.order, color), (config.harder_order, "white")):
            kept = [row for row in rows if row["k"] == order and np.isfinite(row[name])]
            if not kept:
                continue
            label = {"label": said if order == config.order else f"{said}, k = {order}"}
            high = np.minimum([row[f"{name}_high"] for row in kept], config.steps)
            interval_bars(
                axes, [row["n"] for row in kept], [row[name] for row in kept],
                [row[f"{name}_low"] for row in kept], high,
                fmt=marker, color=color, mfc=fill, capsize=3, ms=5, **label,
            )  # fmt: skip
    n = np.array(sorted(config.dims), float)
    known = [row["learned"] for row in rows if row["k"] == config.order]
    if np.isfinite(exponent.slope):
        at = np.exp(np.mean(np.log([t for t in known if np.isfinite(t)])))
        middle = np.exp(np.mean(np.log(n)))
        axes.plot(
            n, at * (n / middle) ** exponent.slope, color=BLUE, lw=1,
            label=f"$n^{{{exponent.slope:.2f}}}$ [{exponent.low:.2f}, {exponent.high:.2f}]",
        )  # fmt: skip
        axes.plot(
            n, known[0] * (n / n[0]) ** config.order, color=GREEN, ls="--", lw=1,
            label=f"slope of the bound, $n^{config.order}$",
        )  # fmt: skip
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_xticks(n, [f"{value:g}" for value in n])
    axes.minorticks_off()
    axes.set_xlabel("inputs n")
    axes.set_ylabel("steps, median over runs")
    axes.set_title(f"times, k = {config.order} unless said")
    if axes.get_legend_handles_labels()[0]:  # otherwise nothing was reached
        low, high = axes.get_ylim()
        axes.set_ylim(low, high * (high / low) ** 0.6)
        axes.legend(loc="upper left", fontsize=7)
