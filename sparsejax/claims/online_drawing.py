"""What pictures of online runs share: formulas, and the terms of a target as they are learned."""

import re
from collections.abc import Sequence
from typing import Any

import numpy as np

from sparsejax.claims.drawing import GREY, PALETTE
from sparsejax.targets import WalshExpansion


def shown(formula: str) -> str:
    r"""A formula as it is set in a figure.

    >>> shown("x1 + 0.5*x1*x12")
    '$x_{1} + 0.5\\,x_{1}\\,x_{12}$'
    """
    raised = re.sub(r"x([0-9]+)", r"x_{\1}", formula).replace("*", r"\,")
    return f"${raised}$"


def draw_stages(
    axes: Any, target: WalshExpansion, runs: Sequence[dict[str, np.ndarray]], level: float
) -> None:
    """The share of each term that each run has learned, against steps."""
    for place, (term, _) in enumerate(target.terms):
        for number, run in enumerate(runs):
            axes.plot(
                run["steps"][1:],  # on a logarithmic axis
                run["shares"][1:, place],
                color=PALETTE[place % len(PALETTE)],
                lw=0.9,
                label=shown("*".join(f"x{i}" for i in term)) if number == 0 else None,
            )
    axes.axhline(level, color=GREY, ls=":", lw=1)
    axes.set(
        xscale="log",
        xlabel="steps of online SGD",
        ylabel="coefficient / the target's",
        title=f"{shown(target.formula)}, $d$ = {target.dims}",
    )
    # Curves are everywhere inside.
    axes.legend(loc="upper center", bbox_to_anchor=(0.5, -0.2), ncols=4, columnspacing=1.0)
