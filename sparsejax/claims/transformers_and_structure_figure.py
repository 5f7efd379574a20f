"""The figure of `transformers-and-structure`: which synonyms each layer knows."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from sparsejax.bounds import Verdict
from sparsejax.claims.drawing import GREY, MARKERS, PALETTE, paper_style
from sparsejax.claims.hierarchy_layers import layer_names
from sparsejax.claims.statistics import mean_interval

_TITLES = {"mixing": "lift of a mixing transformer", "plain": "plain transformer (Flax)"}


def draw_layers(config: Any, found: dict[str, dict[str, np.ndarray]], verdict: Verdict) -> Figure:
    """A row a network: by layer before and after training, and of the first block on the way."""
    names = layer_names(config.blocks)
    places = np.arange(len(names))
    with paper_style():
        figure = Figure(figsize=(9.6, 0.6 + 2.9 * len(found)))
        axes = figure.subplots(len(found), 3, squeeze=False)
        for row, (network, entry) in zip(axes, found.items(), strict=True):
            for panel, when in zip(row, ("before", "after"), strict=False):
                for level in range(config.levels):
                    mean, low, high = _intervals(entry[when][:, :, level], config.confidence)
                    panel.errorbar(
                        places + 0.08 * (level - (config.levels - 1) / 2), mean,
                        [mean - low, high - mean], marker=MARKERS[level], ms=4, lw=1.2, capsize=2,
                        color=PALETTE[level], label=f"level {level + 1}",
                    )  # fmt: skip
                panel.set_xticks(places, names, rotation=40, ha="right", fontsize=7)
                panel.set_ylim(-0.05, 1.4)
                panel.set_xlabel("layer")
                panel.set_ylabel("synonymic sensitivity")
                panel.set_title(f"{_TITLES[network]},\n{when} training")
            row[0].legend(loc="lower left", title="synonyms of", fontsize=7, title_fontsize=7)
            after = row[2]
            first = names.index("stream1")
            for level in range(config.levels):
                mean, low, high = _intervals(
                    entry["sensitivity"][:, :, first, level], config.confidence
                )
                after.plot(entry["steps"], mean, color=PALETTE[level])
                after.fill_between(entry["steps"], low, high, color=PALETTE[level], alpha=0.2, lw=0)
            mean, low, high = _intervals(entry["error"], config.confidence)
            after.plot(entry["steps"], mean, color=GREY, ls="--", label="test error / guessing")
            after.fill_between(entry["steps"], low, high, color=GREY, alpha=0.15, lw=0)
            after.set_ylim(-0.05, 1.4)
            after.set_xlabel("steps")
            after.set_ylabel("sensitivity behind block 1")
            after.set_title(f"{_TITLES[network]},\nin training")
            after.legend(loc="upper right", fontsize=7)
        labels = "permuted labels" if config.shuffled else "labels of the hierarchy"
        figure.suptitle(
            f"Transformers and structure ({labels}): {verdict.status.replace('_', ' ')}"
        )
    return figure


def _intervals(values: np.ndarray, confidence: float) -> tuple[np.ndarray, ...]:
    rows = [mean_interval(column, confidence) for column in values.T]
    return tuple(np.array(rows).T)
