"""The figure of a pilot: test losses, differences, loss along growth, cost."""

import io
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from sparsejax.claims.drawing import (
    BLUE,
    GREEN,
    GREY,
    ORANGE,
    PURPLE,
    RED,
    SKY,
    interval_bars,
    paper_style,
)
from sparsejax.pilot.comparison import resampled_interval
from sparsejax.pilot.decision import CONSTANT, EQUAL, GROWN, LIFT, OTHERS, WORDS
from sparsejax.pilot.rows import candidates, loss_name
from sparsejax.pilot.small_first import Pilot

_COLOURS = {
    LIFT: BLUE,
    GROWN: SKY,
    "dense": ORANGE,
    "shallow": GREEN,
    "linear": PURPLE,
    "boosting": RED,
    CONSTANT: GREY,
}


def draw_pilot(found: Pilot) -> Figure:
    """Four panels; intervals are over splits."""
    with paper_style():
        figure = Figure(figsize=(8.6, 6.2))
        axes = figure.subplots(2, 2)
        _losses(axes[0, 0], found)
        _differences(axes[0, 1], found)
        _growth(axes[1, 0], found)
        _cost(axes[1, 1], found)
        figure.suptitle(
            f"{found.target_name} of {Path(found.table_name).name}: {found.decision.verdict}",
            fontsize=11,
        )
    return figure


def picture(found: Pilot, kind: str = "png") -> bytes:
    """`draw_pilot` as a PNG or PDF."""
    buffer = io.BytesIO()
    with paper_style():
        metadata = {"Software": None} if kind == "png" else {"CreationDate": None}
        draw_pilot(found).savefig(buffer, format=kind, dpi=150, metadata=metadata)
    return buffer.getvalue()


def _losses(axes, found: Pilot) -> None:
    names = candidates(found)[::-1]
    for place, name in enumerate(names):
        each = resampled_interval(found.losses[name], found.ratio)
        _across(axes, place, each, _COLOURS[name])
        aside = np.full(found.splits, place - 0.25)
        axes.plot(found.losses[name], aside, "|", color=_COLOURS[name], alpha=0.5, markersize=5)
    axes.set_yticks(range(len(names)), [WORDS[name] for name in names])
    # They are the legend of all panels.
    for label, name in zip(axes.get_yticklabels(), names, strict=True):
        label.set_color(_COLOURS[name])
    axes.set_xlabel(loss_name(found))
    axes.set_title(f"Test loss, 95% over {found.splits} splits (ticks)")


def _differences(axes, found: Pilot) -> None:
    rows = found.decision.comparisons[::-1]
    for place, each in enumerate(rows):
        _across(axes, place, each.difference, _COLOURS[each.rival])
        axes.plot([each.tolerance] * 2, [place - 0.3, place + 0.3], color=GREY, linestyle=":")
    axes.axvline(0, color=GREY, linewidth=0.8)
    axes.set_yticks(range(len(rows)), [WORDS[each.rival] for each in rows])
    axes.set_ylim(-0.7, len(rows) - 0.3)
    axes.set_xlabel("lift's loss less the rival's (left: better; dots: as good)")
    axes.set_title("Paired differences, 95% together")


def _growth(axes, found: Pilot) -> None:
    axes.set_title("Test loss along growth")
    if found.growth is None:
        axes.text(0.5, 0.5, "nothing was grown", ha="center", va="center",
                  transform=axes.transAxes)  # fmt: skip
        axes.set_axis_off()
        return
    sizes = [size for size, _ in found.levels]
    each = [resampled_interval(losses, found.ratio) for _, losses in found.levels]
    interval_bars(
        axes, sizes, [e.mean for e in each], [e.low for e in each], [e.high for e in each],
        color=BLUE, marker="o", capsize=3,
    )  # fmt: skip
    for step, (size, _), e in zip(found.growth.steps, found.levels[1:], each[1:], strict=True):
        words = "pays" if step.paid else "does not pay"
        axes.annotate(words, (size, e.mean), (-5, 5), textcoords="offset points", ha="right")
    for name, aside in zip(EQUAL, (1.05, 1.1), strict=True):
        e = resampled_interval(found.losses[name], found.ratio)
        place = aside * float(np.mean(found.parameters[name]))
        style = {"color": _COLOURS[name], "marker": "s", "capsize": 3, "linestyle": "none"}
        interval_bars(axes, [place], [e.mean], [e.low], [e.high], **style)
    floor = found.losses[CONSTANT].mean()
    for name in OTHERS:
        loss = found.losses[name].mean()
        if loss < 0.9 * floor:  # one that has learned nothing would set the scale
            axes.axhline(loss, color=_COLOURS[name], linewidth=1, linestyle="--")
    axes.set_xscale("log", base=2)
    axes.set_xticks(sizes, [f"{size:.0f}" for size in sizes])
    axes.minorticks_off()
    axes.margins(x=0.15)
    axes.set_xlabel("parameters (log scale; networks of equal size stand aside)")
    axes.set_ylabel(loss_name(found))


def _cost(axes, found: Pilot) -> None:
    axes.set_title("Cost at inference")
    if not found.costs:
        axes.text(0.5, 0.5, "not measured", ha="center", va="center", transform=axes.transAxes)
        axes.set_axis_off()
        return
    for each in found.costs:
        for (rows, seconds), marker in zip(each.seconds.items(), ("o", "D"), strict=True):
            colour = _COLOURS[each.candidate]
            face = colour if rows == 1 else "white"
            axes.plot(each.bytes, 1e6 * seconds, marker, color=colour, markerfacecolor=face)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.margins(0.12)
    axes.set_xlabel("bytes held (log scale)")
    axes.set_ylabel("microseconds a call (log scale)")
    few, many = found.costs[0].seconds
    axes.plot([], [], "o", color=GREY, label=f"{few} row")
    axes.plot([], [], "D", color=GREY, markerfacecolor="white", label=f"{many} rows")
    axes.legend()


def _across(axes, place: int, each, colour: str) -> None:
    axes.plot(each.mean, place, "o", color=colour)
    if np.isfinite(each.low):
        axes.plot([each.low, each.high], [place, place], color=colour)
