"""The figure of `shallow-against-deep`: error against parameters, and the lift's advantage."""

import math
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from sparsejax.bounds import Verdict
from sparsejax.claims.drawing import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    interval_bars,
    panels,
    paper_style,
)

_STYLES = {"matched": (GREEN, "o"), "shallow": (ORANGE, "s"), "deep": (BLUE, "^")}


def draw_errors(
    config: Any, rungs: Any, exponents: Any, advantages: Any, verdict: Verdict
) -> Figure:
    """A panel a number of inputs with a point a seed, geometric means and fitted exponents."""
    with paper_style():
        figure, axes = panels(len(config.dims) + 2, width=2.9, height=3.5)
        found = next(iter(advantages.values()))
        every = np.concatenate([np.concatenate(errors) for _, errors in rungs.values()])
        for panel, dims in zip(axes, config.dims, strict=False):
            for name, (color, marker) in _STYLES.items():
                x, errors = rungs[name, dims]
                for size, values in zip(x, errors, strict=True):
                    panel.plot([size] * len(values), values, marker, color=color, ms=2.5, alpha=0.4)
                means = [np.exp(np.mean(np.log(values))) for values in errors]
                slope, low, high = exponents[name, dims]
                who = name if name != "matched" or config.leaves == name else "permuted"
                label = f"{who}: {slope:.2f} [{low:.2f}, {high:.2f}]"
                panel.plot(x, means, f"{marker}-", color=color, ms=5, lw=1.2, label=label)
            level = found.levels[config.dims.index(dims)]
            panel.axhline(level, color=GREY, ls=":", lw=1)
            panel.set_xscale("log")
            panel.set_yscale("log")
            # Room for the legend below the curves.
            panel.set_ylim(
                0.6 * every.min() * (every.min() / every.max()) ** 0.45, 1.5 * every.max()
            )
            panel.set_xticks(config.parameters, [str(p) for p in config.parameters])
            panel.minorticks_off()
            panel.set_xlabel("parameters")
            panel.set_title(f"{dims} inputs")
            panel.legend(loc="lower left", title="learner: exponent, interval", title_fontsize=8)
        axes[0].set_ylabel("squared error / variance of the target")
        right, last = axes[-2:]
        for shift, (name, found) in zip((0.97, 1.03), advantages.items(), strict=False):
            color, marker = _STYLES[name]
            at = np.array(config.dims, float) * shift
            middle, low, high = np.array(found.factors).T
            high = np.where(np.isfinite(high), high, middle)
            seen = middle > 0
            interval_bars(
                right, at[seen], middle[seen], np.maximum(low, 1e-3)[seen], high[seen],
                fmt=f"{marker}-", color=color, capsize=3, ms=5, lw=1.2, label=f"{name} network",
            )  # fmt: skip
            for place, factor, bounded in zip(at, middle, found.bounded, strict=True):
                if bounded and factor > 0:
                    right.annotate(
                        "", (place, 1.6 * factor), (place, factor),
                        arrowprops={"arrowstyle": "->", "color": color},
                    )  # fmt: skip
            ratio, low, high = np.array(found.apart).T
            interval_bars(
                last, at, ratio, low, high,
                fmt=f"{marker}-", color=color, capsize=3, ms=5, lw=1.2, label=f"{name} network",
            )  # fmt: skip
        for panel in (right, last):
            panel.axhline(1, color=GREY, lw=0.8)
            panel.set_xscale("log", base=2)
            panel.set_yscale("log")
            panel.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
            panel.yaxis.set_major_formatter("{x:g}")
            panel.yaxis.set_minor_formatter("")
            panel.set_xticks(config.dims, [str(d) for d in config.dims])
            panel.set_xlim(config.dims[0] / 1.3, config.dims[-1] * 1.3)
            panel.set_xlabel("inputs")
        last.set_ylabel(f"error / the {config.leaves} lift's")
        last.set_title(f"with {config.parameters[-1]} parameters")
        last.legend(loc="upper left")
        right.set_ylabel(f"parameters / the {config.leaves} lift's")
        right.set_title(f"for the lift's error with {config.reference}\n(arrows: lower bounds)")
        right.legend(loc="upper left")
        low, high = right.get_ylim()
        right.set_ylim(low, high * (high / low) ** 0.25 if math.isfinite(high) else None)
        figure.suptitle(f"Shallow against deep: {verdict.status.replace('_', ' ')}")
    return figure
