"""The figures of claims: panels side by side, in the colours of all figures."""

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


def panels(count: int, *, width: float = 3.6, height: float = 3.1):
    """A figure with `count` panels side by side, and its axes. No window, no global state."""
    figure = Figure(figsize=(width * count, height))
    axes = figure.subplots(1, count, squeeze=False)[0]
    return figure, list(axes)
