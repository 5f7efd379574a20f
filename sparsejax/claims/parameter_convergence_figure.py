"""The figure of `parameter-convergence`: lengths with their limits, and slopes of the gradient."""

from collections.abc import Mapping, Sequence

import numpy as np
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from sparsejax.claims.drawing import BLUE, GREEN, GREY, ORANGE, panels, paper_style
from sparsejax.claims.tail_exponent import Tail

COLORS = {"squared": BLUE, "noisy": GREEN, "logistic": ORANGE}
STYLES = {"sparse": "-", "dense": "--"}
SAID = {
    "squared": "squared loss, fitted",
    "noisy": "squared loss, noisy, not fitted",
    "logistic": "logistic loss, separated",
}

Flows = Mapping[tuple[str, str], dict[str, np.ndarray]]
Tails = Mapping[tuple[str, str], Sequence[Tail]]


def draw_flows(found: Flows, tails: Tails, status: str) -> Figure:
    """Left: length against time, and limits at the right edge. Right: gradient norm, slope -1.

    Lines are single lifts, up to the time that is used; the median lift's is heavy.
    """
    latest = max(float(v["ts"].max()) for v in found.values())
    with paper_style():
        figure, (left, right) = panels(2, width=4.3, height=3.9)
        for number, ((condition, kind), values) in enumerate(found.items()):
            color, style = COLORS[condition], STYLES[kind]
            middle = _middle([tail.length for tail in tails[condition, kind]])
            for k, tail in enumerate(tails[condition, kind]):
                ts = values["ts"][k]
                shown = (ts > 0) & (ts <= tail.end * (1 + 1e-9))
                heavy = k == middle
                look = {
                    "color": color,
                    "ls": style,
                    "lw": 1.8 if heavy else 0.5,
                    "alpha": 1.0 if heavy else 0.3,
                    "zorder": 3 if heavy else 1,
                }
                left.plot(ts[shown], values["path_lengths"][k, shown], **look)
                ratio = values["grad_norms"][k, shown] / values["grad_norms"][k, 0]
                right.plot(ts[shown], ratio, **look)
            _limits(left, tails[condition, kind], latest * 4 * 1.7**number, color, kind)
        left.set_xscale("log")
        left.set_yscale("log")
        left.set_xlim(0.1, latest * 4 * 1.7 ** len(found) * 1.5)
        left.axvline(latest * 1.8, color=GREY, lw=0.8)
        left.set_ylim(bottom=1e-2)
        left.set_xlabel("flow time $t$")
        ticks = np.arange(0, np.log10(latest) + 0.1, 2)
        left.set_xticks(10.0**ticks)
        left.minorticks_off()
        left.text(latest * 2.6, 0.55, "limits", transform=left.get_xaxis_transform())
        left.set_ylabel(r"length of the path $\int_0^t \|\nabla L\|\, ds$")
        left.set_title("path length, and its limit where finite")
        _slope_of_one(right, found)
        right.set_xscale("log")
        right.set_yscale("log")
        right.set_xlim(0.1, latest * 1.5)
        right.set_xlabel("flow time $t$")
        right.set_ylabel(r"gradient norm $\|\nabla L(\theta_t)\|$ / first")
        right.set_title("finite length: steeper than slope -1")
        entries = [
            Line2D([], [], color=COLORS[c], label=SAID[c])
            for c in dict.fromkeys(c for c, _ in found)
        ]
        entries += [
            Line2D([], [], color=GREY, ls=STYLES[kind], label=kind)
            for kind in dict.fromkeys(kind for _, kind in found)
        ]
        entries.append(Line2D([], [], color="black", ls=":", label="slope -1"))
        left.legend(
            handles=entries, loc="lower right", frameon=True, facecolor="white", edgecolor="none"
        )
        figure.suptitle(f"Parameter convergence: {status.replace('_', ' ')}")
    return figure


def _middle(values: Sequence[float]) -> int:
    return int(np.argsort(values)[len(values) // 2])


def _limits(axes, tails: Sequence[Tail], place: float, color: str, kind: str) -> None:
    """Medians over lifts of the greatest limit of the length, an arrow where it is infinite."""
    limits = [tail.length + tail.remaining(tail.low) for tail in tails]
    low, middle, high = np.quantile(limits, [0.1, 0.5, 0.9], method="inverted_cdf")
    fill = color if kind == "sparse" else "white"
    if np.isfinite(middle):
        axes.plot([place], [middle], "o", color=color, mfc=fill, ms=5)
    else:
        top = float(np.median([tail.length for tail in tails]))
        axes.plot([place], [top], "^", color=color, mfc=fill, ms=6)
        axes.annotate("∞", (place, top), (0, 5), textcoords="offset points", ha="center")
    if np.isfinite(high):
        axes.plot([place, place], [low, high], color=color, lw=1)


def _slope_of_one(axes, found: Flows) -> None:
    """A line of slope -1 above all curves."""
    top = 0.0
    for values in found.values():
        ts, norms = values["ts"], values["grad_norms"] / values["grad_norms"][:, :1]
        top = max(top, float(np.nanmax(np.where(ts >= 10, ts * norms, 0))))
    latest = max(float(v["ts"].max()) for v in found.values())
    ts = np.array([10.0, latest])
    axes.plot(ts, 3 * top / ts, ":", color="black", lw=1.2)
