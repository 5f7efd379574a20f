"""The figure of `information-exponent`: overlaps, times against dimension, exponents."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from sparsejax.bounds import Verdict
from sparsejax.claims.drawing import (
    GREY,
    MARKERS,
    PALETTE,
    interval_bars,
    panels,
    paper_style,
)
from sparsejax.claims.scaling import HittingExponent
from sparsejax.claims.spherical_runs import population_time, step_of

# Runs of each link whose overlaps are drawn.
DRAWN = 8


def draw_exponents(
    config: Any,
    exponents: dict[int, HittingExponent],
    theory: dict[int, float],
    largest: dict[int, list[dict[str, np.ndarray]]],
    verdict: Verdict,
) -> Figure:
    """`theory`: exponent by order; `largest`: runs by order at the largest dimension."""
    colors = dict(zip(exponents, PALETTE, strict=False))
    mixed = " mixed with the first" if config.first_order else ""
    with paper_style():
        figure, (overlap, times, slopes) = panels(3, width=3.6, height=3.4)
        for order, runs in largest.items():
            for number, run in enumerate(runs[:DRAWN]):
                label = {"label": f"k = {order}"} if number == 0 else {}
                overlap.plot(
                    run["steps"][1:], run["overlap"][1:], color=colors[order], lw=0.7,
                    alpha=0.7, **label,
                )  # fmt: skip
        overlap.axhline(config.level, color=GREY, ls=":", lw=1)
        overlap.set_xscale("log")
        overlap.set_xlabel(f"steps, of {config.batch} samples each")
        overlap.set_ylabel(r"overlap $\langle w, w^* \rangle$")
        overlap.set_title(f"d = {max(config.dims)}, {DRAWN} runs of each link")
        low, high = overlap.get_ylim()
        overlap.set_ylim(low, high + 0.3 * (high - low))
        for line in overlap.legend(loc="upper left").get_lines():
            line.set_linewidth(1.8)

        d = np.array(sorted(config.dims), float)
        for (order, found), marker in zip(exponents.items(), MARKERS, strict=False):
            if not config.first_order:
                constant = config.step_sizes[config.orders.index(order)]
                times.plot(
                    d,
                    [
                        population_time(
                            order, int(n), step_of(constant, int(n), order), config.level
                        )
                        for n in d
                    ],
                    color=colors[order], ls=":", lw=1,
                )  # fmt: skip
            seen = [
                (dims, median)
                for dims, median in zip(config.dims, found.medians, strict=True)
                if np.isfinite(median.median)
            ]
            if not seen:
                continue
            middle, low, high = (
                [getattr(median, part) for _, median in seen] for part in ("median", "low", "high")
            )
            high = [h if np.isfinite(h) else m for h, m in zip(high, middle, strict=True)]
            interval_bars(
                times, [dims for dims, _ in seen], middle, low, high,
                fmt=marker, color=colors[order], capsize=3, ms=5, label=f"k = {order}{mixed}",
            )  # fmt: skip
            if np.isfinite(found.slope):
                at = np.exp(np.mean(np.log(middle)))
                centre = np.exp(np.mean(np.log([dims for dims, _ in seen])))
                times.plot(
                    d, at * (d / centre) ** theory[order], color=colors[order], ls="--", lw=1
                )
        times.plot([], [], color=GREY, ls="--", lw=1, label="slope of theory")
        if not config.first_order:
            times.plot([], [], color=GREY, ls=":", lw=1, label="population gradient alone")
        times.set_xscale("log")
        times.set_yscale("log")
        times.set_xticks(d, [f"{value:g}" for value in d])
        times.minorticks_off()
        low, high = times.get_ylim()
        if low > 0:  # otherwise nothing was drawn
            times.set_ylim(low, high * (high / low) ** 0.45)
        times.set_xlabel("dimension d")
        times.set_ylabel(f"steps to overlap {config.level:g}, median")
        times.set_title("times (ends of bars: intervals of medians)")
        times.legend(loc="upper left", fontsize=7)

        for place, (order, found) in enumerate(exponents.items()):
            slopes.fill_between(
                [place - 0.3, place + 0.3],
                theory[order] - config.tolerance,
                theory[order] + config.tolerance,
                color=GREY, alpha=0.15, lw=0,
                label=f"theory, up to {config.tolerance:g}" if place == 0 else None,
            )  # fmt: skip
            slopes.plot([place - 0.3, place + 0.3], [theory[order]] * 2, color=GREY, ls="--", lw=1)
            if np.isfinite([found.low, found.high]).all():
                interval_bars(
                    slopes, [place], [found.slope], [found.low], [found.high],
                    fmt=MARKERS[place % len(MARKERS)], color=colors[order], capsize=3, ms=5,
                    label="measured" if place == 0 else None,
                )  # fmt: skip
        slopes.set_xticks(range(len(exponents)), [f"k = {order}" for order in exponents])
        slopes.set_xlim(-0.6, len(exponents) - 0.4)
        slopes.set_xlabel(f"Hermite order of the link{mixed}")
        slopes.set_ylabel("exponent of the time in d")
        slopes.set_title(f"exponents ({100 * config.confidence:g}% for all together)")
        slopes.legend(loc="upper left")
        figure.suptitle(f"Information exponent: {verdict.status.replace('_', ' ')}")
    return figure
