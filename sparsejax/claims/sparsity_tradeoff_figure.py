"""The figure of `sparsity-tradeoff`: what is reached, and what inference costs, by in-degree."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from sparsejax.bounds import Verdict
from sparsejax.claims.claim import Measurements
from sparsejax.claims.drawing import BLUE, GREEN, GREY, ORANGE, PURPLE, panels, paper_style


def draw_tradeoff(
    config: Any, rows: list[dict[str, Any]], measurements: Measurements, verdict: Verdict
) -> Figure:
    """Losses and time to the level with intervals; latency and bytes over the dense lift's."""
    # The dense lift stands to the right of all in-degrees, at twice the last.
    degrees = [row["degree"] for row in rows[:-1]]
    places = np.array([*degrees, 2 * max(degrees)], float)
    names = [*map(str, degrees), "dense"]
    with paper_style():
        figure, (left, middle, right) = panels(3, width=3.5, height=3.4)
        for name, color, marker in (("train", ORANGE, "s"), ("test", BLUE, "o")):
            mean, low, high = np.array([row[name] for row in rows]).T
            left.errorbar(
                places, mean, [mean - low, high - mean],
                fmt=marker + "-", color=color, capsize=3, ms=5, lw=1, label=f"{name} loss",
            )  # fmt: skip
        dense = rows[-1]["test"][0]
        left.axhline(
            (1 + config.tolerance) * dense, color=GREY, ls=":", label="no worse than dense (test)"
        )
        left.set_yscale("log")
        left.set_ylabel("loss / initial training loss")
        left.set_title(f"loss at flow time {config.t1:g}")
        low, high = left.get_ylim()
        left.set_ylim(low, high * (high / low) ** 0.45)
        left.legend(loc="upper right")

        top = 2.0 * config.t1
        for place, row in zip(places, rows, strict=True):
            time = row["time"]
            end = min(time.high, top)
            if np.isfinite(time.median):
                middle.plot(place, time.median, "o", color=GREEN, ms=5)
            middle.plot([place, place], [max(time.low, 1e-9), end], color=GREEN, lw=1.2)
            if not np.isfinite(time.high):
                middle.plot(place, top, "^", color=GREEN, ms=5)
            middle.text(
                place, 1.6 * top, f"{row['reached']}/{row['lifts']}", ha="center", fontsize=7
            )
        middle.axhline(config.t1, color=GREY, ls=":", label="end of the flows")
        middle.plot([], [], "o-", color=GREEN, lw=1.2, ms=5, label="median (Kaplan-Meier)")
        middle.plot([], [], "^", color=GREEN, ms=5, label="no upper limit")
        middle.set_yscale("log")
        low, high = middle.get_ylim()
        middle.set_ylim(low / 3, 2 * high)
        middle.set_ylabel("flow time")
        middle.set_title(
            f"time to {config.level:g} of the initial loss\n(on top: lifts that reach it)"
        )
        middle.legend(loc="lower left")

        styles = ("-", "--", ":")
        for number, parameters in enumerate(dict.fromkeys(config.inference_parameters)):
            cost = measurements[f"inference{parameters:08d}"]
            style = styles[number % len(styles)]
            ratios = cost["seconds"] / cost["seconds"][-1:]
            for b, (batch, color, marker) in enumerate(((1, PURPLE, "o"), (256, BLUE, "s"))):
                low, mid, high = np.quantile(ratios[:, b], [0.25, 0.5, 0.75], axis=1)
                right.errorbar(
                    places, mid, [mid - low, high - mid],
                    fmt=marker, ls=style, color=color, capsize=2, ms=4, lw=1,
                    label=f"latency, batch {batch}, {parameters} parameters",
                )  # fmt: skip
            held = cost["parameter_bytes"] + cost["wiring_bytes"]
            right.plot(
                places, held / held[-1], "D", ls=style, color=GREEN, ms=4, lw=1,
                label=f"bytes held, {parameters} parameters",
            )  # fmt: skip
        right.axhline(1, color=GREY, lw=0.8)
        right.set_yscale("log")
        low, high = right.get_ylim()
        right.set_ylim(low, high * (high / low) ** 1.1)
        right.set_ylabel("cost / that of the dense lift")
        right.set_title("inference, in turns (quartiles)")
        right.legend(loc="upper right", fontsize=7)
        for axes in (left, middle, right):
            axes.set_xscale("log", base=2)
            if axes is not right:
                axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
                axes.yaxis.set_major_formatter("{x:g}")
            axes.set_xticks(places, names)
            axes.minorticks_off()
            axes.set_xlabel(f"in-degree, at {config.parameters} parameters")
        right.set_xlabel("in-degree, at equal parameters")
        figure.suptitle(f"Sparsity trade-off: {verdict.status.replace('_', ' ')}")
    return figure
