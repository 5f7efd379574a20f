"""The tables of noisy-data: one composition, its rows spoiled in one way at one level."""

import dataclasses
import functools
from typing import Any, Literal

import numpy as np

from sparsejax.structure import true_groups
from sparsejax.targets import (
    ClassImbalance,
    Column,
    CompositionalTarget,
    InputNoise,
    LabelNoise,
    MissingAtRandom,
    MissingCompletelyAtRandom,
    MissingNotAtRandom,
    Table,
    corrupt,
    encoded,
    random_parts,
)

Root = Literal["sum", "smooth"]
Groups = tuple[tuple[int, ...], ...]
ROOTS: tuple[Root, ...] = ("sum", "smooth")
MECHANISMS = {
    "mcar": MissingCompletelyAtRandom,
    "mar": MissingAtRandom,
    "mnar": MissingNotAtRandom,
}
OWN = "own"
"""No imputation: `discover` takes a missing value as one."""


@dataclasses.dataclass(frozen=True)
class Spoiling:
    """What is done to the rows of a target.

    `noise`: of the target, over its standard deviation; `input_noise`: of the inputs, over theirs.
    `missing`: share of values lost by `mechanism`, and `imputation`: what takes their place.
    `share`: where positive, the target is whether it lies above its median, and rows are left out
    until `rows` remain of which this share lies above.
    """

    rows: int
    noise: float = 0.0
    input_noise: float = 0.0
    missing: float = 0.0
    mechanism: str = "mcar"
    imputation: str = OWN
    share: float = 0.0


@functools.lru_cache(maxsize=256)
def composition(seed: int) -> tuple[CompositionalTarget, Groups]:
    """Five of ten inputs in parts, under a sum at even seeds and a smooth root at odd ones."""
    target = random_parts(seed, root=ROOTS[seed % 2])
    return target, true_groups(target)


def spoiled(seed: int, how: Spoiling, *, permuted: bool = False) -> Table:
    """Rows of the composition of this seed. Levels share random numbers, so that they pair.

    Of values that a smaller share of missing ones loses, a larger one loses all.
    """
    target, _ = composition(seed)
    rng = np.random.default_rng((seed, 7))
    # Leaving out rows of half of them until a share remains leaves `rows`.
    drawn = how.rows if not how.share else int(np.ceil(2 * (1 - how.share) * how.rows))
    x = rng.uniform(-1, 1, size=(drawn, target.dims))
    y = np.asarray(target(x), float)[:, 0]
    columns = tuple(Column(f"x{i + 1}") for i in range(target.dims))
    table = Table(columns, x, y)
    if how.share:
        above = (y > np.median(y)).astype(float)
        table = dataclasses.replace(
            table, target=above, task="classification", classes=("below", "above")
        )
    if permuted:
        order = np.random.default_rng((seed, 8)).permutation(drawn)
        table = dataclasses.replace(table, target=table.target[order])
    # Always in these places: each layer's random numbers come from its own.
    layers: list[Any] = [
        LabelNoise(how.noise),
        InputNoise(how.input_noise),
        MECHANISMS[how.mechanism](how.missing),
    ]
    if how.share and how.share < 0.5:
        layers.append(ClassImbalance(how.share))
    table = corrupt(table, layers, seed)
    if how.imputation == OWN:
        return table
    return dataclasses.replace(table, values=encoded(table, imputation=how.imputation).x)
