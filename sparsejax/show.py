"""Pictures of ready-made modules and of their random lifts: what `sparsejax show` does."""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any, Literal

from sparsejax.graphs import PerceptronModule

SUFFIXES = (".png", ".pdf", ".svg")


@dataclasses.dataclass(frozen=True)
class Picture:
    """What `show` takes beside the arguments of a module's constructor."""

    sizes: int | None = None
    """Lifted vertices above each duplicated vertex. None: the base graph alone."""
    in_degree: int = 3
    """Predecessors over each edge between duplicated vertices (exact or expected, see law); all
    of them where there are fewer."""
    law: Literal["regular", "binomial"] = "regular"
    """Random wiring: exactly in-degree predecessors, or each edge on its own."""
    seed: int = 0
    """Seed of the wiring and of the weights."""
    weights: bool = False
    """Draw edges as dark as random initial weights are large."""
    out: Path | None = None
    """Where the picture goes: .png, .pdf or .svg. None: NAME.png in this folder."""


def check_picture(name: str, picture: Picture) -> Path:
    """The path of the picture, if it can be written.

    Raises:
        ValueError: an unknown suffix, or a folder that does not exist.

    >>> check_picture("mlp", Picture())
    PosixPath('mlp.png')
    """
    path = picture.out or Path(f"{name}.png")
    if path.suffix not in SUFFIXES:
        raise ValueError(f"out: {path} should end in one of {', '.join(SUFFIXES)}")
    if not path.parent.is_dir():
        raise ValueError(f"out: there is no folder {path.parent}")
    return path


def draw(module: PerceptronModule, picture: Picture) -> Any:
    """The figure that was asked for.

    Raises:
        ValueError: sizes or in-degrees out of range.
    """
    if picture.sizes is None:
        return module.draw()
    import jax

    from sparsejax.lifts import random_sparse_lift

    if picture.in_degree < 1:
        raise ValueError(f"in_degree: must be positive, got {picture.in_degree}")
    if picture.sizes < 1:
        raise ValueError(f"sizes: must be positive, got {picture.sizes}")
    wiring_key, weight_key = jax.random.split(jax.random.key(picture.seed))
    lift = random_sparse_lift(
        wiring_key, module, picture.sizes, _in_degrees(module, picture), law=picture.law
    )
    return lift.draw(lift.init(weight_key) if picture.weights else None)


def _in_degrees(module: PerceptronModule, picture: Picture) -> dict[str, int]:
    assert picture.sizes is not None
    available = {
        edge.name: module.clamped(edge.source) or picture.sizes
        for edge in module.edges
        if module.clamped(edge.target) is None
    }
    return {name: min(picture.in_degree, count) for name, count in available.items() if count > 1}
