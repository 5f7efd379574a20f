"""The figure of `intermediate-supervision`: coefficients, times and ratios by condition."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from sparsejax.claims.claim import Measurements
from sparsejax.claims.drawing import GREY, MARKERS, PALETTE, interval_bars, panels, paper_style


def draw_times(config: Any, measurements: Measurements, rows: list[dict[str, Any]]) -> Figure:
    """For every learner: medians of the coefficient over seeds; a dot a run; ratios of times."""
    with paper_style():
        figure, axes = panels(3, width=3.7, height=3.3)
        left, middle, right = axes
        names = list(dict.fromkeys(row["taught"] for row in rows))
        colors = {name: PALETTE[k % len(PALETTE)] for k, name in enumerate(names[1:])}
        colors[names[0]] = GREY
        styles = dict(zip(config.learners, ("-", "--", ":"), strict=False))
        markers = dict(zip(config.learners, MARKERS, strict=False))
        for row in rows:
            prefix = f"{row['learner']}-{row['taught'].replace('+', '.')}-seed"
            runs = [v for name, v in measurements.items() if name.startswith(prefix)]
            steps = runs[0]["steps"]
            # A run ends when it has learned: its last value stays.
            curves = np.stack([_held(v["coefficient"]) for v in runs])
            low, mid, high = np.quantile(curves, [0.25, 0.5, 0.75], axis=0)
            color, style = colors[row["taught"]], styles[row["learner"]]
            label = row["taught"] if row["learner"] == config.learners[0] else None
            left.plot(steps[1:], mid[1:], style, color=color, label=label)
            left.fill_between(steps[1:], low[1:], high[1:], color=color, alpha=0.15, lw=0)

        places = {name: k for k, name in enumerate(names)}
        shift = {n: 0.22 * (k - (len(styles) - 1) / 2) for k, n in enumerate(config.learners)}
        rng = np.random.default_rng(0)
        for row in rows:
            place = places[row["taught"]] + shift[row["learner"]]
            prefix = f"{row['learner']}-{row['taught'].replace('+', '.')}-seed"
            times = np.array(
                [float(v["time"]) for name, v in measurements.items() if name.startswith(prefix)]
            )
            at = place + rng.uniform(-0.07, 0.07, len(times))
            seen, color = np.isfinite(times), colors[row["taught"]]
            middle.plot(
                at[seen], times[seen], markers[row["learner"]], color=color, ms=4, alpha=0.8
            )
            stopped = np.full((~seen).sum(), config.steps)
            middle.plot(at[~seen], stopped, "^", color=color, ms=5, mfc="none")
            if row["taught"] != names[0]:
                low, high = max(row["ratio low"], 1e-2), min(row["ratio high"], 1e4)
                mid = min(max(row["times sooner"], low), high)
                interval_bars(
                    right, [place], [mid], [low], [high],
                    fmt=markers[row["learner"]], color=color, capsize=3, ms=5,
                )  # fmt: skip
        left.axhline(config.level, color=GREY, ls=":", lw=1)
        left.set_xscale("log")
        left.set_xlabel("steps of SGD")
        left.set_ylabel(f"coefficient of the {config.bits}-parity in the output")
        left.set_title("medians and quartiles over seeds")
        left.legend(title="taught nodes", loc="upper left")
        middle.axhline(config.steps, color=GREY, ls=":", lw=1, label="runs stop (triangles)")
        middle.set_yscale("log")
        middle.set_ylabel(f"steps until the coefficient is {config.level:g}")
        middle.set_title("a point a seed")
        middle.legend(loc="lower right")
        right.axhline(1, color=GREY, lw=0.8)
        right.axhline(config.factor, color=GREY, ls=":", label=f"asked for: {config.factor:g}")
        right.set_yscale("log")
        right.set_ylabel("times sooner than without")
        right.set_title(f"ratios of times, {100 * config.confidence:g}% intervals")
        right.legend(loc="upper right")
        for panel in (middle, right):
            panel.set_xticks(list(places.values()), names, rotation=30, ha="right")
            panel.set_xlabel("taught nodes")
        if len(config.learners) > 1:
            for learner in config.learners:
                right.plot([], [], markers[learner], color=GREY, label=learner)
            right.legend(loc="best")
    return figure


def _held(curve: np.ndarray) -> np.ndarray:
    """The curve with its last value in place of what was not run."""
    known = np.flatnonzero(np.isfinite(curve))
    return np.where(np.isfinite(curve), curve, curve[known[-1]]) if len(known) else curve
