"""The picture of discrete-time PAC-convergence: fractions against step size, by batch size."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from sparsejax.bounds import Verdict
from sparsejax.claims.claim import Measurements
from sparsejax.claims.drawing import GREY, MARKERS, PALETTE, interval_bars, paper_style
from sparsejax.claims.pac import conditions


def draw_phases(config: Any, measurements: Measurements, verdict: Verdict) -> Figure:
    """Success fraction with intervals against step size; a row a condition, a column a size."""
    found = verdict.summary["phases"]
    rows = conditions(config)
    columns = max(len(config.sizes(condition.architecture)) for condition in rows)
    etas = np.array(sorted(config.step_sizes))
    with paper_style():
        # Title and legend need the room of two columns.
        figure = Figure(figsize=(1.2 + 2.9 * max(columns, 2), 0.9 + 2.6 * len(rows)))
        axes = figure.subplots(len(rows), columns, squeeze=False, sharex=True, sharey=True)
        for row, condition in enumerate(rows):
            for column, size in enumerate(config.sizes(condition.architecture)):
                panel = axes[row, column]
                for number, batch in enumerate(config.batch_sizes):
                    phases = found[f"{condition.name}-size{size:05d}-batch{batch:05d}"]
                    fraction, low, high = (
                        np.array([phases[key][str(eta)] for eta in etas])
                        for key in ("fraction", "low", "high")
                    )
                    interval_bars(
                        panel,
                        etas * 1.06 ** (number - (len(config.batch_sizes) - 1) / 2),
                        fraction,
                        low,
                        high,
                        color=PALETTE[number % len(PALETTE)],
                        marker=MARKERS[number % len(MARKERS)],
                        ms=4,
                        lw=1,
                        capsize=2,
                        label=f"batches of {batch}" if batch else "gradient descent",
                    )
                    if batch == 0:
                        edge = 2 / phases["median_sharpness"]
                        panel.axvline(edge, color=GREY, ls="--", label="2 / sharpness at the end")
                panel.axhline(1 - config.delta, color=GREY, ls=":", label=r"$1 - \delta$")
                panel.set_title(f"{condition.target}, {condition.architecture}, size {size}")
                panel.set_xscale("log")
                panel.set_ylim(-0.05, 1.08)
                if column == 0:
                    panel.set_ylabel(f"fraction at the level by $t$ = {config.t1:g}")
                if row == len(rows) - 1:
                    panel.set_xlabel(r"step size $\eta$ (flow time)")
            for panel in axes[row, len(config.sizes(condition.architecture)) :]:
                panel.set_visible(False)
        handles, labels = axes[0, 0].get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=4)
        figure.suptitle(f"PAC-convergence in discrete time: {verdict.status.replace('_', ' ')}")
    return figure
