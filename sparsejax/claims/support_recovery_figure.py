"""The figure of `support-recovery`: what is found, what is wrong, and the norms that tell."""

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

# Inputs shown in the panel of norms.
SHOWN = 14
LINES = ("-", "--", ":", "-.")


def draw_recovery(config: Any, rows: list[dict[str, Any]], verdict: Verdict) -> Figure:
    """F1 and clean error against samples; error along training; sorted norms of one draw.

    Colours are penalties, lines and fillings noise. The two panels at the right are of the most
    samples and the least noise.
    """
    with paper_style():
        figure, axes = panels(4, width=3.4, height=3.7)
        penalties = list(config.penalties)
        noises = sorted(config.noise)
        for row in rows:
            place = penalties.index(row["penalty"])
            level = noises.index(row["noise"])
            total = len(penalties) * len(noises)
            shift = 1 + 0.1 * ((place * len(noises) + level + 0.5) / total - 0.5)
            color = PALETTE[place]
            for panel, name in ((axes[0], "f1"), (axes[1], "error")):
                middle, low, high = row[name]
                interval_bars(
                    panel, [row["samples"] * shift], [middle], [low], [high],
                    fmt=MARKERS[place], color=color, mfc="white" if level else color, ms=4.5,
                    capsize=2, lw=1,
                )  # fmt: skip
        for place, penalty in enumerate(penalties):
            for level, noise in enumerate(noises):
                line = sorted(
                    (r for r in rows if (r["penalty"], r["noise"]) == (penalty, noise)),
                    key=lambda r: r["samples"],
                )
                for panel, name in ((axes[0], "f1"), (axes[1], "error")):
                    panel.plot(
                        [r["samples"] for r in line],
                        [r[name][0] for r in line],
                        LINES[level % len(LINES)],
                        color=PALETTE[place],
                        lw=0.9,
                        alpha=0.6,
                    )
        for panel in axes[:2]:
            panel.set_xscale("log")
            ticks = sorted(config.samples)
            panel.set_xticks(ticks, [str(tick) for tick in ticks])
            panel.set_xticks([], minor=True)
            panel.set_xlabel("noisy samples")
        axes[0].set_ylim(-0.04, 1.04)
        axes[0].set_ylabel("F1 of the support")
        axes[0].set_title("support, by the gap of norms")
        axes[1].set_yscale("log")
        axes[1].axhline(1, color=GREY, ls=":", lw=1)
        axes[1].set_ylabel("error on clean data / variance")
        axes[1].set_title("error at the end")
        _beside(config, rows, penalties, axes[2], axes[3])
        for place, penalty in enumerate(penalties):
            axes[3].plot(
                [], [], MARKERS[place], color=PALETTE[place], ms=4.5,
                label=f"penalty {penalty.replace('_', ' ')}",
            )  # fmt: skip
        for level, noise in enumerate(noises):
            axes[3].plot(
                [], [], LINES[level % len(LINES)], marker="o", color=GREY, ms=4.5,
                mfc="white" if level else GREY, label=f"noise {noise:g}",
            )  # fmt: skip
        handles, labels = axes[3].get_legend_handles_labels()
        # The band of the null last; it was drawn first.
        band = [k for k, label in enumerate(labels) if "permuted" in label]
        order = [k for k in range(len(labels)) if k not in band] + band
        figure.legend(
            [handles[k] for k in order],
            [labels[k] for k in order],
            loc="outside lower center",
            ncols=len(penalties),
        )
        what = "shuffled labels, " if config.labels == "shuffled" else ""
        figure.suptitle(
            f"Support recovery, {config.order} of {config.dims} inputs: {what}"
            f"{verdict.status.replace('_', ' ')}"
        )
    return figure


def _beside(
    config: Any, rows: list[dict[str, Any]], penalties: list[str], curves: Any, norms: Any
) -> None:
    samples, noise = max(config.samples), min(config.noise)
    for row in rows:
        if (row["samples"], row["noise"]) != (samples, noise):
            continue
        place = penalties.index(row["penalty"])
        curves.plot(row["steps"], row["curve"], color=PALETTE[place], lw=1.4)
        order = np.argsort(-row["norms"])[:SHOWN]
        top = row["norms"][order[0]] or 1.0
        x = np.arange(1, len(order) + 1)
        relevant = order < config.order
        height = np.maximum(row["norms"][order] / top, 1e-6)
        norms.plot(x, height, color=PALETTE[place], lw=0.8, alpha=0.7)
        norms.plot(x[relevant], height[relevant], MARKERS[place], color=PALETTE[place], ms=5)
        norms.plot(
            x[~relevant], height[~relevant], MARKERS[place], color=PALETTE[place], mfc="white", ms=4
        )
        if row["penalty"] == "group_lasso" and len(row["null_norms"]):
            null = -np.sort(-row["null_norms"], axis=1)[:, :SHOWN]
            null = null / np.where(null[:, :1] > 0, null[:, :1], 1)
            norms.fill_between(
                x,
                np.maximum(null.min(axis=0), 1e-6),
                null.max(axis=0),
                color=GREY,
                alpha=0.25,
                lw=0,
                label="group lasso, permuted targets",
            )
    curves.axhline(1, color=GREY, ls=":", lw=1)
    curves.set_yscale("log")
    curves.set_xlabel("steps of SGD")
    curves.set_ylabel("error on clean data / variance")
    curves.set_title(f"{samples} samples, noise {noise:g}: medians")
    norms.set_yscale("log")
    norms.set_xlabel("input, by its norm")
    norms.set_ylabel("norm of its weights / largest")
    norms.xaxis.get_major_locator().set_params(integer=True)
    norms.set_title("norms in one draw (filled: relevant)")
