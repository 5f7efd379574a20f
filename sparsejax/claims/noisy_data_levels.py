"""The setting of noisy-data: its levels, the curves that they make, and the cell of each."""

import dataclasses

import numpy as np
from jaxtyping import Float

from sparsejax.claims.claim import Measurements
from sparsejax.claims.noisy_data_checks import Curve
from sparsejax.claims.noisy_data_tables import OWN, Spoiling

IMPUTATIONS = (OWN, "mean", "median", "mode")


@dataclasses.dataclass(frozen=True)
class NoisyDataConfig:
    """Levels of each corruption, from little to much; level zero is measured for all."""

    rows: int = 1000
    """Rows of each table of the curves."""
    targets: int = 16
    """Random compositions, the same at every level."""
    noise: tuple[float, ...] = (0.5, 1.0, 2.0, 4.0)
    """Noise of the target over its standard deviation."""
    input_noise: tuple[float, ...] = (0.25, 0.5, 1.0, 2.0)
    """Noise of every input over its standard deviation."""
    missing: tuple[float, ...] = (0.1, 0.3, 0.5, 0.7)
    """Share of the values that are missing."""
    mechanisms: tuple[str, ...] = ("mcar", "mar", "mnar")
    """Missing completely at random, at random, not at random."""
    imputations: tuple[str, ...] = ("own", "mean")
    """What is put in the place of missing values: nothing (own), mean, median or mode."""
    shares: tuple[float, ...] = (0.2, 0.1, 0.05, 0.02)
    """Share of the rarer class, where the target is whether it lies above its median."""
    halvings: int = 3
    """How often the rows of a table are halved at a fixed noise, from twice `rows` on."""
    halvings_noise: float = 1.0
    """That noise."""
    mild_rows: int = 5000
    """Rows of the tables on which the support must be found."""
    mild_targets: int = 100
    """How many of those."""
    mild_noise: float = 0.1
    """Their noise."""
    mild_missing: float = 0.05
    """The share of their values that is missing completely at random."""
    least_f1: float = 0.95
    """What the mean F1 of their supports must reach."""
    permutations: int = 5
    """Permuted targets at level zero and at the greatest level of every curve."""
    most_false: float = 0.1
    """The largest share of permuted targets in which anything may be seen."""
    first_target: int = 300_000
    """Seed of the first composition; `discover` was made on others."""
    confidence: float = 0.95
    """Of all that is asserted about the curves together, and of each interval."""
    shuffled: bool = False
    """Permute every target: what the control does."""


def mild_of(config: NoisyDataConfig) -> Spoiling:
    """Little noise and few gaps, where supports must be found."""
    return Spoiling(config.mild_rows, noise=config.mild_noise, missing=config.mild_missing)


def curves_of(config: NoisyDataConfig) -> list[Curve]:
    """The corruptions, their levels from none to the greatest, and the cells of those."""
    found = [
        Curve("noise", (0.0, *config.noise), ("clean", *(f"noise{v:g}" for v in config.noise))),
        Curve(
            "input noise",
            (0.0, *config.input_noise),
            ("clean", *(f"inputs{v:g}" for v in config.input_noise)),
        ),
    ]
    for mechanism in config.mechanisms:
        found += [
            Curve(
                f"{mechanism}, {imputation}",
                (0.0, *config.missing),
                ("clean", *(f"{mechanism}{v:g}-{imputation}" for v in config.missing)),
            )
            for imputation in config.imputations
        ]
    shares = (0.5, *config.shares)
    found.append(Curve("imbalance", shares, tuple(f"share{s:g}" for s in shares)))
    rows = _halved(config)
    found.append(
        Curve("rows", tuple(map(float, rows)), tuple(_cell_of_rows(config, n) for n in rows))
    )
    return found


def cells_of(config: NoisyDataConfig) -> dict[str, Spoiling]:
    """What each cell of the curves does to the rows."""
    clean = Spoiling(config.rows)
    found = {"clean": clean}
    for v in config.noise:
        found[f"noise{v:g}"] = dataclasses.replace(clean, noise=v)
    for v in config.input_noise:
        found[f"inputs{v:g}"] = dataclasses.replace(clean, input_noise=v)
    for mechanism in config.mechanisms:
        for imputation in config.imputations:
            for v in config.missing:
                found[f"{mechanism}{v:g}-{imputation}"] = dataclasses.replace(
                    clean, missing=v, mechanism=mechanism, imputation=imputation
                )
    for v in (0.5, *config.shares):
        found[f"share{v:g}"] = dataclasses.replace(clean, share=v)
    for n in _halved(config):
        found[_cell_of_rows(config, n)] = Spoiling(n, noise=config.halvings_noise)
    return found


def values_of(
    config: NoisyDataConfig, measurements: Measurements, curve: Curve, measure: str
) -> Float[np.ndarray, "n k"]:
    """`(targets, levels)` of one measure along a curve."""
    return np.array(
        [
            [float(measurements[f"{cell}-target{n:03d}"][measure]) for cell in curve.cells]
            for n in range(config.targets)
        ]
    )


def _halved(config: NoisyDataConfig) -> tuple[int, ...]:
    return tuple(2 * config.rows >> k for k in range(config.halvings + 1))


def _cell_of_rows(config: NoisyDataConfig, rows: int) -> str:
    """That of the curve of the noise, where it has the same table."""
    noise = config.halvings_noise
    same = rows == config.rows and noise in (0.0, *config.noise)
    return f"rows{rows}" if not same else f"noise{noise:g}" if noise else "clean"
