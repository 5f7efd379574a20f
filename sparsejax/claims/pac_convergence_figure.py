"""The picture of PAC-convergence: successes above, losses below, a column a target."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter

from sparsejax.bounds import Verdict
from sparsejax.claims.claim import Measurements
from sparsejax.claims.drawing import BLUE, GREEN, GREY, ORANGE, interval_bars, paper_style
from sparsejax.claims.pac import conditions

_STYLE = {"mlp": (BLUE, "o"), "convnet": (ORANGE, "s"), "transformer": (GREEN, "^")}


def draw_pac(config: Any, measurements: Measurements, verdict: Verdict) -> Figure:
    """Success fraction against size, intervals and learning numbers; the losses of all lifts."""
    columns = len(config.learned)
    summary = verdict.summary["conditions"]
    with paper_style():
        # Title and legend need the room of two columns.
        figure = Figure(figsize=(1.2 + 3.0 * max(columns, 2), 5.8))
        axes = figure.subplots(2, columns, squeeze=False, sharex="col", sharey="row")
        for condition in conditions(config):
            column = config.learned.index(condition.target)
            color, marker = _STYLE[condition.architecture]
            found = summary[condition.name]
            sizes = config.sizes(condition.architecture)
            top, bottom = axes[:, column]
            fraction, low, high = (
                np.array([found[key][str(size)] for size in sizes])
                for key in ("success_fraction", "interval_low", "interval_high")
            )
            # Apart from one another where architectures share a size.
            middle = (len(config.architectures) - 1) / 2
            shift = 2 ** (0.08 * (config.architectures.index(condition.architecture) - middle))
            x = np.array(sizes) * shift
            interval_bars(
                top,
                x,
                fraction,
                low,
                high,
                fmt=f"{marker}-",
                color=color,
                capsize=3,
                lw=1,
                ms=5,
                label=condition.architecture,
            )
            number = found["learning_number"]
            if number is not None:
                top.plot(
                    number * shift, 1.09, marker="v", color=color, ms=6, ls="none", clip_on=False
                )
            for size, place in zip(sizes, x, strict=True):
                prefix = f"{condition.name}-size{size:05d}-lift"
                losses = [
                    float(v["loss"] / v["zero_loss"])
                    for name, v in measurements.items()
                    if name.startswith(prefix)
                ]
                bottom.plot(
                    np.full(len(losses), place), losses, marker, color=color, ms=3, alpha=0.4, mew=0
                )
            best = [found["best_loss"][str(size)] for size in sizes]
            bottom.plot(x, best, color=color, lw=1, ls="--")
        for column, target in enumerate(config.learned):
            top, bottom = axes[:, column]
            top.axhline(1 - config.delta, color=GREY, ls=":")
            bottom.axhline(config.eps_fraction, color=GREY, ls=":")
            top.set_title(_title(config, target))
            bottom.set_yscale("log")
            bottom.set_xscale("log", base=2)
            places = sorted(
                {
                    s
                    for c in conditions(config)
                    if c.target == target
                    for s in config.sizes(c.architecture)
                }
            )
            powers = [2**k for k in range(24) if places[0] <= 2**k <= places[-1]]
            ticks = powers if len(places) > 6 and powers else places
            bottom.set_xticks(ticks, [str(tick) for tick in ticks])
            bottom.xaxis.set_minor_formatter(NullFormatter())
            bottom.set_xlabel("size (vertices, channels, streams a layer)")
        axes[0, 0].set_ylim(-0.05, 1.15)
        axes[0, 0].set_ylabel(f"fraction at the level by $t$ = {config.t1:g}")
        axes[1, 0].set_ylabel("loss / loss of zero")
        axes[0, 0].plot([], [], color=GREY, ls=":", label=r"$1 - \delta$")
        axes[0, 0].plot([], [], "v", color=GREY, label="learning number")
        axes[1, 0].plot([], [], "o", color=GREY, ms=3, alpha=0.6, label="single lifts at their end")
        axes[1, 0].plot([], [], color=GREY, ls="--", lw=1, label="least loss of any")
        axes[1, 0].plot([], [], color=GREY, ls=":", label=r"level $\epsilon$")
        figure.legend(*_entries(axes[0, 0], axes[1, 0]), loc="outside lower center", ncols=4)
        kind = "simultaneous" if config.until_width is not None else "single"
        figure.suptitle(
            f"PAC-convergence: {verdict.status.replace('_', ' ')} "
            f"({config.confidence:.0%} intervals, {kind})"
        )
    return figure


def _entries(*axes: Any) -> tuple[list[Any], list[str]]:
    found = [axis.get_legend_handles_labels() for axis in axes]
    return [h for handles, _ in found for h in handles], [t for _, texts in found for t in texts]


def _title(config: Any, target: str) -> str:
    if target in ("tree", "parity"):
        return f"{target}, {'population' if config.population else 'training'} loss"
    return f"{target}, training loss"
