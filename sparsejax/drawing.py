"""How all figures look: one colour-blind-safe palette, quiet axes."""

import contextlib
from collections.abc import Iterator
from typing import Any

import matplotlib as mpl

# Okabe and Ito's palette, told apart under the common colour-vision deficiencies.
BLUE, ORANGE, GREEN, RED, SKY, PURPLE, GREY = (
    "#0072B2",
    "#E69F00",
    "#009E73",
    "#D55E00",
    "#56B4E9",
    "#CC79A7",
    "#666666",
)
PALETTE = (BLUE, ORANGE, GREEN, PURPLE, SKY, RED)

_STYLE: dict[Any, Any] = {
    "font.size": 9,
    "axes.titlesize": 10,
    "axes.labelsize": 9,
    "legend.fontsize": 8,
    "legend.frameon": False,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "grid.linewidth": 0.5,
    "lines.linewidth": 1.6,
    "figure.constrained_layout.use": True,
    "pdf.fonttype": 42,
}


@contextlib.contextmanager
def paper_style() -> Iterator[None]:
    """The settings of all figures, for the length of a `with` block."""
    with mpl.rc_context(_STYLE):
        yield
