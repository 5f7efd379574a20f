"""The figure of noisy-data: support and groups against the level of each corruption."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import NullFormatter, NullLocator

from sparsejax.bounds import Verdict
from sparsejax.claims.drawing import MARKERS, PALETTE, interval_bars, paper_style
from sparsejax.claims.noisy_data_checks import WORDS, Curve

_AXES = {
    "noise": "noise / spread of the target",
    "input noise": "noise / spread of each input",
    "missing": "share of values missing",
    "imbalance": "share of the rarer class",
    "rows": "rows",
}
_MECHANISMS = {"mcar": "completely at random", "mar": "at random", "mnar": "not at random"}

_STYLES = {"own": "-", "mean": "--", "median": ":", "mode": "-."}


def draw(config: Any, curves: Sequence[Curve], verdict: Verdict) -> Figure:
    """A column a corruption, from least to greatest; above the support, below the groups."""
    panels: dict[str, list[Curve]] = {}
    for curve in curves:
        panels.setdefault(curve.name if curve.name in _AXES else "missing", []).append(curve)
    with paper_style():
        figure = Figure(figsize=(2.7 * len(panels), 5.4), layout="constrained")
        axes = figure.subplots(2, len(panels), squeeze=False, sharey="row", sharex="col")
        for column, (panel, shown) in enumerate(panels.items()):
            for row, measure in enumerate(WORDS):
                _panel(axes[row, column], shown, measure, verdict)
            axes[1, column].set_xlabel(_AXES[panel])
        for row, words in enumerate(WORDS.values()):
            axes[row, 0].set_ylabel(words)
            axes[row, 0].set_ylim(-0.04 - 0.24 * row, 1.06)
        if "imbalance" in panels:
            axes[1, list(panels).index("imbalance")].set_title("shown, not judged", fontsize=8)
        if "missing" in panels:
            at = list(panels).index("missing")
            entries = axes[0, at].get_legend_handles_labels()
            figure.legend(*entries, fontsize=7, ncols=3, loc="outside lower center",
                          title="values missing", title_fontsize=7)  # fmt: skip
        figure.suptitle(
            f"Recovery from spoiled data: {verdict.status.replace('_', ' ')} "
            f"({config.targets} compositions a level, {config.rows} rows)"
        )
    return figure


def _panel(axes: Any, curves: Sequence[Curve], measure: str, verdict: Verdict) -> None:
    for number, curve in enumerate(curves):
        middle, low, high = np.array(verdict.summary["curves"][curve.name][measure]).T
        mechanism, _, imputation = curve.name.partition(", ")
        label, style, colour = curve.name, "-", PALETTE[0]
        if imputation:
            names = list(dict.fromkeys(c.name.partition(", ")[0] for c in curves))
            colour = PALETTE[names.index(mechanism) % len(PALETTE)]
            style = _STYLES[imputation]
            filled = "not imputed" if imputation == "own" else imputation
            label = f"{_MECHANISMS[mechanism]}, {filled}"
        x = _placed(curve) + (number - (len(curves) - 1) / 2) * 0.06
        interval_bars(
            axes, x, middle, low, high, fmt=style, color=colour,
            marker=MARKERS[number % len(MARKERS)], ms=3.5, lw=1.1, elinewidth=0.8, capsize=1.5,
            label=label,
        )  # fmt: skip
    levels = curves[0].levels
    axes.set_xticks(_placed(curves[0]), [f"{level:g}" for level in levels])
    axes.xaxis.set_minor_locator(NullLocator())
    axes.xaxis.set_minor_formatter(NullFormatter())
    axes.axhline(0, color="0.8", lw=0.7, zorder=0)


def _placed(curve: Curve) -> np.ndarray:
    """Levels side by side: they are chosen by factors, and zero has no logarithm."""
    return np.arange(len(curve.levels), dtype=float)
