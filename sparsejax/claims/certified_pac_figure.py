"""The figure of certified PAC-convergence."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from sparsejax.bounds import Verdict
from sparsejax.claims.claim import Measurements
from sparsejax.claims.drawing import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    RED,
    interval_bars,
    panels,
    paper_style,
)
from sparsejax.claims.size_ladder import trial_size


def figure(config: Any, measurements: Measurements, verdict: Verdict) -> Figure:
    """Certified fraction against size, certified level against size, flows below their promises."""
    summary = verdict.summary
    sizes = np.array([int(size) for size in summary["lifts"]])
    with paper_style():
        flowed = _flowed(measurements)
        drawn, axes_of = panels(3 if flowed else 2)
        left, middle = axes_of[:2]
        _fractions(left, config, summary, sizes)
        _levels(middle, config, measurements, sizes)
        for axes in (left, middle):
            axes.set_xscale("log", base=2)
            axes.set_xlim(sizes.min() / 1.3, sizes.max() * 1.3)
            axes.set_xticks(sizes, [str(size) for size in sizes])
            axes.minorticks_off()
            axes.set_xlabel("vertices per hidden layer")
        if flowed:
            _flows(axes_of[2], config, flowed)
        drawn.suptitle(f"Certified PAC-convergence: {verdict.status.replace('_', ' ')}")
    return drawn


def _fractions(axes, config, summary, sizes) -> None:
    fraction, low, high = (
        np.array([summary[name][str(size)] for size in sizes])
        for name in ("certified_fraction", "interval_low", "interval_high")
    )
    interval_bars(
        axes,
        sizes,
        fraction,
        low,
        high,
        fmt="o",
        color=BLUE,
        capsize=3,
        label=f"certified fraction, {config.confidence:.0%} interval",
    )
    axes.axhline(1 - config.delta, color=GREY, ls=":", label=r"$1 - \delta$")
    number = summary["certified_learning_number"]
    if number is not None:
        axes.axvline(number, ymax=0.65, color=GREEN, ls="--", label="certified learning number")
    axes.set_ylim(-0.05, 1.65)  # room for the legend
    axes.set_yticks(np.linspace(0, 1, 6))
    axes.set_ylabel("fraction of lifts that are certified")
    axes.set_title("certified at initialisation")
    axes.legend(loc="upper left")


def _levels(axes, config, measurements: Measurements, sizes) -> None:
    rng = np.random.default_rng(0)
    labels = {True: "certified lift", False: "lift without certificate"}
    for certified, marker, color in ((True, "o", BLUE), (False, "x", ORANGE)):
        at = [(trial_size(n), v) for n, v in measurements.items() if v["certified"] == certified]
        if at:
            # Spread sideways, by a few percent: many lie on top of each other.
            xs = np.array([size for size, _ in at]) * np.exp(rng.uniform(-0.06, 0.06, len(at)))
            ys = [float(v["certified_level"]) for _, v in at]
            axes.plot(xs, ys, marker, color=color, ms=4, alpha=0.7, label=labels[certified])
    axes.axhline(config.level, color=RED, ls="--", lw=1.2, label="required level")
    axes.axhline(config.eps_fraction, color=GREY, ls=":", label=r"$\epsilon$ of the readouts")
    axes.set_ylim(config.eps_fraction - 0.05, 1.3 - 0.2 * config.eps_fraction)
    axes.set_ylabel("certified loss / initial loss")
    axes.set_title("what is promised of each lift")
    axes.legend(loc="upper right")


def _flowed(measurements: Measurements) -> dict[int, list[dict[str, np.ndarray]]]:
    """The lifts that were flowed, by size."""
    flowed: dict[int, list[dict[str, np.ndarray]]] = {}
    for name, values in measurements.items():
        if values["flow_status"] != "":
            flowed.setdefault(trial_size(name), []).append(values)
    return flowed


def _flows(axes, config, flowed) -> None:
    """Those of the largest size, below what was promised of them."""
    size = max(flowed)
    for i, v in enumerate(flowed[size]):
        initial = v["losses"][0]
        axes.plot(
            v["ts"], v["promise_bound"] / initial, "--", color=RED, label=None if i else "promised"
        )
        axes.plot(v["ts"], v["losses"] / initial, color=BLUE, label=None if i else "measured")
        axes.plot(
            v["ts"][-1], config.level, "v", color=RED, label=None if i else "time of the promise"
        )
    axes.axhline(config.level, color=GREY, ls=":", label="required level")
    axes.set_xlim(left=0)
    axes.set_ylim(top=1.35)
    axes.set_xlabel("flow time $t$")
    axes.set_ylabel("loss / initial loss")
    axes.set_title(f"flows of certified lifts, size {size}")
    axes.legend(loc="upper right")
