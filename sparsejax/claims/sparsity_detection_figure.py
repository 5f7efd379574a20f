"""The figure of sparsity-detection: agreement by function, and real tables against chance."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from sparsejax.bounds import Verdict
from sparsejax.claims.claim import Measurements
from sparsejax.claims.drawing import (
    BLUE,
    GREY,
    ORANGE,
    RED,
    interval_bars,
    panels,
    paper_style,
)


def draw(config: Any, measurements: Measurements, verdict: Verdict) -> Figure:
    """Left: support and groups with intervals. Right: what fits explain, real and permuted."""
    functions = verdict.summary["functions"]
    names = list(functions)
    with paper_style():
        figure, (left, right) = panels(2, width=4.4, height=3.6)
        for shift, field, label, colour, marker, goal in (
            (-0.12, "f1", "F1 of the support", BLUE, "o", config.least_f1),
            (0.12, "rand_index", "Rand index of the groups", ORANGE, "s", config.least_rand),
        ):  # fmt: skip
            own = [functions[name][field] for name in names]
            # What is judged is the mean of all.
            middle, low, high = np.array([*own, verdict.summary[field]]).T
            interval_bars(
                left, np.arange(len(names) + 1) + shift, middle, low, high, fmt=marker,
                color=colour, ms=5, capsize=2, label=label,
            )  # fmt: skip
            left.axhline(goal, color=colour, lw=1, ls=":", label=f"must reach {goal:g}")
        left.axvline(len(names) - 0.5, color=GREY, lw=0.8, ls=":")
        left.set_xticks(range(len(names) + 1), [*names, "all together"], rotation=35, ha="right")
        left.set_ylim(0, 1.08)
        left.set_xlabel("function")
        left.set_ylabel("agreement with the truth")
        left.legend(loc="lower left", fontsize=7)
        sources = [*names, *config.tables]
        for at, name in enumerate(sources):
            own = [v for v in measurements.values() if str(v["source"]) == name]
            for permuted, colour, marker, label in (
                (False, BLUE, "o", "target as it is"),
                (True, RED, "x", "target permuted"),
            ):
                some = [v for v in own if bool(v["permuted"]) == permuted]
                values = np.array([float(v["explained"]) for v in some])
                spread = np.linspace(-0.18, 0.18, len(values)) if len(values) > 1 else [0.0]
                right.plot(
                    at + np.asarray(spread), values, marker, color=colour, ms=4, mew=1,
                    label=label if at == 0 else None, zorder=2 if permuted else 3,
                )  # fmt: skip
        right.axvline(len(names) - 0.5, color=GREY, lw=0.8, ls=":")
        right.set_xticks(range(len(sources)), sources, rotation=35, ha="right")
        right.set_xlabel("functions, then real tables")
        right.set_ylabel("explained share of the variance")
        right.set_ylim(-0.05, 1.05)
        right.legend(loc="center right", fontsize=7)
        figure.suptitle(f"Detection of sparsity: {verdict.status.replace('_', ' ')}")
    return figure
