"""The figure of `flow-vs-gd`: orders above, the way to a given loss below."""

from typing import Any, NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from sparsejax.bounds import Verdict
from sparsejax.claims.claim import Measurements
from sparsejax.claims.descent_orders import mean_distances
from sparsejax.claims.drawing import (
    BLUE,
    GREEN,
    GREY,
    MARKERS,
    ORANGE,
    PURPLE,
    RED,
    SKY,
    paper_style,
)
from sparsejax.claims.time_to_loss import Cost, fewest_gradients, largest_stable

OF_BATCHES = (GREEN, PURPLE, ORANGE, SKY)


def draw(
    config: Any,
    orders: Measurements,
    times: Measurements,
    found: list[Cost],
    verdict: Verdict,
) -> Figure:
    """Two panels of distances and spreads over the step size, three of losses over their cost."""
    with paper_style():
        figure = Figure(figsize=(10.0, 7.4))
        rows: Any = figure.subfigures(2, 1, height_ratios=(1.0, 1.15))
        above, below = rows
        left, right = above.subplots(1, 2)
        _distances(left, config, orders, verdict)
        _spreads(right, config, orders, verdict)
        _ways(below, config, times, found)
        above.suptitle(
            f"Flow against (stochastic) gradient descent: {verdict.status.replace('_', ' ')}"
        )
    return figure


class _Line(NamedTuple):
    """What one kind of marker shows: one column a lift."""

    name: str
    label: str
    color: str
    columns: list[np.ndarray]
    nominal: float


def _distances(axes: Axes, config: Any, orders: Measurements, verdict: Verdict) -> None:
    lifts = orders.values()
    lines = [
        _Line(
            "flow",
            "gradient descent to the flow",
            BLUE,
            [v["distance_flow"] for v in lifts],
            1.0,
        ),
        _Line(
            "modified_flow",
            "gradient descent to the modified flow",
            RED,
            [v["distance_modified_flow"] for v in lifts],
            2.0,
        ),
    ]
    lines += [
        _Line(
            f"sgd_mean_{batch_size}",
            f"mean of SGD, batches of {batch_size}, to the flow",
            OF_BATCHES[b % len(OF_BATCHES)],
            [mean_distances(v, b) for v in lifts],
            1.0,
        )
        for b, batch_size in enumerate(config.batch_sizes)
    ]
    _ladders(axes, orders, verdict, lines)
    axes.set_ylabel("distance / distance moved")


def _spreads(axes: Axes, config: Any, orders: Measurements, verdict: Verdict) -> None:
    lines = [
        _Line(
            f"sgd_spread_{batch_size}",
            f"spread of SGD, batches of {batch_size}",
            OF_BATCHES[b % len(OF_BATCHES)],
            [v["sgd_spread"][b] for v in orders.values()],
            0.5,
        )
        for b, batch_size in enumerate(config.batch_sizes)
    ]
    _ladders(axes, orders, verdict, lines)
    axes.set_ylabel("spread / distance moved")


def _ladders(axes: Axes, orders: Measurements, verdict: Verdict, lines: list[_Line]) -> None:
    """One set of markers a line, all lifts, with a guide of the nominal slope."""
    fitted = verdict.summary.get("order", {})
    drawn = False
    for number, line in enumerate(lines):
        order = f": slope {fitted[line.name]:.2f}" if line.name in fitted else ""
        told: str | None = line.label + order
        marker, ends = MARKERS[number % len(MARKERS)], []
        for v, column in zip(orders.values(), line.columns, strict=True):
            scaled, values = v["etas"] * v["sharpness"], column / v["moved"]
            if not np.isfinite(values).any():
                continue
            drawn = True
            # A little apart, so that lines that agree are all seen.
            aside = scaled * 1.06 ** (number - (len(lines) - 1) / 2)
            axes.loglog(aside, values, marker, color=line.color, ms=3.5, label=told)
            told = None
            ends.append(values[-1])
        if line.name in fitted and np.isfinite(ends).any():
            guide = np.exp(np.nanmean(np.log(ends))) * (scaled / scaled[-1]) ** line.nominal
            axes.loglog(scaled, guide, ":", color=line.color, lw=1)
    axes.axvline(2.0, color=GREY, lw=1, ls="--", label="stability limit")
    axes.set_xscale("log")
    axes.set_xlabel(r"step size $\eta \times$ sharpness")
    if drawn:
        low, high = axes.get_ylim()
        axes.set_ylim(low, high * (high / low) ** (0.12 * (len(lines) + 1)))  # for the legend
        axes.plot([], [], ":", color=GREY, lw=1, label="nominal slopes")
    else:
        axes.set_title("no run ended with finite parameters")
    axes.legend(loc="upper left", fontsize=7)


def _ways(figure: Any, config: Any, times: Measurements, found: list[Cost]) -> None:
    """The loss of one lift over flow time, over gradients and over seconds."""
    panels = figure.subplots(1, 3, sharey=True)
    v = next(iter(times.values()))
    flow = [v[f"flow_{name}"] for name in ("times", "gradients", "seconds")]
    for axes, cost in zip(panels, flow, strict=True):
        axes.plot(cost, v["levels"], "o-", color=BLUE, ms=3.5, label="gradient flow (rkc2)")
    largest = largest_stable(found)
    steps = list(config.loss_steps)
    shown = [(min(steps), SKY, "gradient descent")]
    if largest is not None and largest.scaled_step != min(steps):
        shown.append((largest.scaled_step, RED, "gradient descent, largest stable step"))
    for scaled, color, label in shown:
        e = steps.index(scaled)
        count = v["descent_curve_steps"][0, e]
        seconds = float(v["descent_seconds_per_step"][0])
        for axes, unit in zip(panels, (v["etas"][e], 1.0, seconds), strict=True):
            axes.plot(
                unit * count,
                _finite(v["descent_curves"][0, e, 1] / v["first_loss"]),
                "--",
                color=color,
                lw=1.2,
                label=rf"{label}: $\eta$ = {scaled:g} / sharpness" + _never(found, None, scaled),
            )
    for b, batch_size in enumerate(config.batch_sizes):
        best = fewest_gradients(found, batch_size)
        e = steps.index(min(steps) if best is None else best.scaled_step)
        count = v["sgd_curve_steps"][b, e]
        low, middle, high = _finite(v["sgd_curves"][b, e] / v["first_loss"])
        seconds = float(v["sgd_seconds_per_step"][b])
        share = batch_size / float(v["samples"])
        color = OF_BATCHES[b % len(OF_BATCHES)]
        for axes, unit in zip(panels, (v["etas"][e], share, seconds), strict=True):
            axes.plot(
                unit * count,
                middle,
                color=color,
                lw=1.2,
                label=f"SGD, batches of {batch_size}, median and range of {config.seeds} seeds: "
                rf"$\eta$ = {steps[e]:g} / sharpness" + _never(found, batch_size, steps[e]),
            )
            axes.fill_between(unit * count, low, high, color=color, alpha=0.2, lw=0)
    for axes, name in zip(
        panels, ("flow time", "full gradients", "seconds, compiled (one machine)"), strict=True
    ):
        axes.axhline(config.level, color=GREY, lw=1, ls=":", label="the loss to reach")
        axes.set_xscale("log")
        axes.set_yscale("log")
        axes.tick_params(axis="x", which="minor", labelsize=6)
        # Transients above the first loss are cut off: the figure is about the way down.
        axes.set_ylim(config.level * 0.6, 1.6)
        axes.set_xlabel(name)
        axes.set_ylabel("loss / first loss")
    for axes in panels[1:]:
        axes.yaxis.label.set_visible(False)
    panels[0].set_title(f"one lift: the way to {config.level:g} of the first loss", loc="left")
    handles, labels = panels[0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=2, fontsize=7)


def _never(found: list[Cost], batch_size: int | None, scaled: float) -> str:
    at = [c for c in found if (c.batch_size, c.scaled_step) == (batch_size, scaled)]
    return "" if at[0].reached else ", never reaches it"


def _finite(losses: np.ndarray) -> np.ndarray:
    return np.where(np.isfinite(losses), losses, np.nan)
