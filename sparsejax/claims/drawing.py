"""The figures of claims: panels side by side, in the colours of all figures."""

from typing import Any

import numpy as np
from matplotlib.figure import Figure

from sparsejax.drawing import (
    BLUE as BLUE,
    GREEN as GREEN,
    GREY as GREY,
    ORANGE as ORANGE,
    PALETTE as PALETTE,
    PURPLE as PURPLE,
    RED as RED,
    SKY as SKY,
    paper_style as paper_style,
)

MARKERS = ("o", "s", "^", "D", "v", "P")


def interval_bars(axes: Any, x: Any, middle: Any, low: Any, high: Any, **style: Any) -> None:
    """Points with the ends of their intervals; a rounding on the wrong side of a point is none."""
    middle, low, high = (np.asarray(values, float) for values in (middle, low, high))
    lengths = [np.maximum(middle - low, 0), np.maximum(high - middle, 0)]
    axes.errorbar(x, middle, yerr=lengths, **style)


def panels(count: int, *, width: float = 3.6, height: float = 3.1):
    """A figure with `count` panels side by side, and its axes. No window, no global state."""
    figure = Figure(figsize=(width * count, height))
    axes = figure.subplots(1, count, squeeze=False)[0]
    return figure, list(axes)
