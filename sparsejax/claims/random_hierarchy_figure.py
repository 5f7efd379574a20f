"""The figure of `random-hierarchy`: errors before and after rescaling, synonyms, and samples."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from sparsejax.bounds import Verdict
from sparsejax.claims.drawing import GREY, MARKERS, PALETTE, panels, paper_style

_SCALE = {"p_star": ("$P^*$", "$P^* = n_c m^L$"), "p_max": ("$P_{max}$", "$P_{max}$")}


def draw_hierarchies(config: Any, found: dict[str, dict[str, Any]], verdict: Verdict) -> Figure:
    """Test error over P, then over P / scale with the sensitivity below it, and samples needed."""
    short, long = _SCALE[config.scale]
    with paper_style():
        figure, axes = panels(4, width=3.1, height=3.5)
        plain, scaled, synonyms, needed = axes
        for number, (name, entry) in enumerate(found.items()):
            color, marker = PALETTE[number % len(PALETTE)], MARKERS[number % len(MARKERS)]
            x, scale = entry["samples"], entry[config.scale]
            v, m, depth = (part[1:] for part in name.split("-"))
            label = f"v={v}, m={m}, L={depth}"
            style = {"color": color, "ms": 4, "capsize": 2, "lw": 1.2}
            for key, line, fill in (("deep", "-", color), ("shallow", ":", "white")):
                mean, error = _mean(entry["errors"][key])
                style_of = style | {"ls": line, "marker": marker, "mfc": fill}
                plain.errorbar(x, mean, error, label=label if key == "deep" else None, **style_of)
            mean, error = _mean(entry["errors"]["deep"])
            scaled.errorbar(x / scale, mean, error, ls="-", marker=marker, **style)
            mean, error = _mean(entry["sensitivity"]["deep"][..., 0])
            synonyms.errorbar(x / scale, mean, error, ls="-", marker=marker, **style)
            for key, shift, fill in (("deep", 0.97, color), ("shallow", 1.03, "white")):
                times = entry["times"][key]
                at = np.where(np.isfinite(times), times, 1.4 * x[-1])
                for kind, mask in ((marker, np.isfinite(times)), ("2", ~np.isfinite(times))):
                    needed.plot(
                        np.full(mask.sum(), shift * scale), at[mask], kind, color=color, mfc=fill,
                        ms=5 if kind == marker else 8, alpha=0.8,
                    )  # fmt: skip
            crossing = entry["crossing"] * entry["p_star"]
            needed.plot(np.full(len(crossing), scale), crossing, "_", color=GREY, ms=10)
        for panel in (plain, scaled):
            panel.axhline(config.level, color=GREY, ls="--", lw=0.8)
            panel.set_ylim(0, 1.15)
        for panel in (plain, scaled, synonyms, needed):
            panel.set_xscale("log")
        plain.set_xlabel("training samples $P$")
        plain.set_ylabel("test error / that of guessing")
        plain.set_title("deep (filled), shallow (open)")
        plain.legend(loc="lower left", fontsize=7)
        scaled.set_xlabel(f"$P$ / {short}")
        scaled.set_ylabel("test error / that of guessing")
        scaled.set_title(f"deep: {100 * verdict.summary['left']:.0f}% of the spread left")
        synonyms.set_xlabel(f"$P$ / {short}")
        synonyms.set_ylabel("sensitivity of the output")
        synonyms.set_ylim(0, 1.3)
        synonyms.axhline(0.5, color=GREY, ls="--", lw=0.8)
        synonyms.set_title("deep: lowest synonyms exchanged")
        needed.set_yscale("log")
        low, high = needed.get_xlim()
        line = np.array([low, high])
        ratio = np.median(
            [np.median(entry["times"]["deep"]) / entry[config.scale] for entry in found.values()]
        )
        if np.isfinite(ratio):
            needed.plot(line, ratio * line, color=GREY, lw=0.8, label=f"{ratio:.2g} {short}")
        needed.plot([], [], "_", color=GREY, ms=10, label="correlations cross the noise")
        needed.plot([], [], "2", color=GREY, ms=8, label="not reached")
        needed.set_xlim(low, high)
        needed.set_xlabel(long)
        needed.set_ylabel(f"samples to {config.level:g} of guessing")
        needed.set_title("deep (filled), shallow (open)")
        bottom, top = needed.get_ylim()
        needed.set_ylim(bottom, top * (top / bottom) ** 0.4)
        needed.legend(loc="upper left", fontsize=7)
        figure.suptitle(f"Random hierarchies: {verdict.status.replace('_', ' ')}")
    return figure


def _mean(values: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean over runs and its standard error."""
    return values.mean(axis=0), values.std(axis=0, ddof=1) / np.sqrt(len(values))
