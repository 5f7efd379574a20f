"""Functions whose analysis of variance is known in closed form: Ishigami's, and the MONK-3 rule."""

import itertools
import math

import numpy as np
from jaxtyping import Bool, Float, Int, Real

from sparsejax.targets.sobol import SobolIndices, sobol_indices_of_table
from sparsejax.targets.table import Column, Table

MONK_LEVELS = (3, 3, 2, 3, 4, 2)
"""How many values each of the six attributes of the MONK's problems has."""


def ishigami(
    x: Float[np.ndarray, "n d"], a: float = 7.0, b: float = 0.1
) -> Float[np.ndarray, " n"]:
    """`sin x1 + a sin^2 x2 + b x3^4 sin x1` of inputs on `[-pi, pi]`; more columns are idle.

    Source: Ishigami, Homma, ISUMA 1990.

    Example:
        >>> ishigami(np.array([[np.pi / 2, np.pi / 2, 0.0]])).tolist()
        [8.0]
    """
    return np.sin(x[:, 0]) * (1 + b * x[:, 2] ** 4) + a * np.sin(x[:, 1]) ** 2


def ishigami_indices(a: float = 7.0, b: float = 0.1) -> SobolIndices:
    """The shares of its variance, for inputs uniform on `[-pi, pi]`.

    Source: Saltelli et al., Sensitivity Analysis, 2000.

    Example:
        >>> found = ishigami_indices()
        >>> [round(found.first(i), 4) for i in (1, 2, 3)], round(found.total(3), 4)
        ([0.3139, 0.4424, 0.0], 0.2437)
    """
    fourth = b * math.pi**4
    parts = {
        (1,): (1 + fourth / 5) ** 2 / 2,
        (1, 3): 8 * fourth**2 / 225,
        (2,): a**2 / 8,
    }
    variance = math.fsum(parts.values())
    return SobolIndices(tuple((part, v / variance) for part, v in parts.items()), variance)


def ishigami_table(rows: int, seed: int, *, columns: int = 5, noise: float = 0.0) -> Table:
    """Samples of it; columns beyond the third are idle, noise is by its standard deviation."""
    rng = np.random.default_rng(seed)
    x = rng.uniform(-np.pi, np.pi, size=(rows, columns))
    y = ishigami(x)
    y = y + noise * math.sqrt(ishigami_indices().variance) * rng.normal(size=rows)
    names = tuple(Column(f"x{i + 1}") for i in range(columns))
    return Table(names, x, y, target_name="f", name="ishigami")


def monk3(attributes: Real[np.ndarray, "n 6"]) -> Bool[np.ndarray, " n"]:
    """`(a5 = 3 and a4 = 1) or (a5 != 4 and a2 != 3)` of attributes that count from 1.

    Source: Thrun et al., The MONK's Problems, CMU-CS-91-197, 1991.

    Example:
        >>> monk3(np.array([[1, 3, 1, 1, 3, 1], [1, 3, 1, 2, 3, 1]])).tolist()
        [True, False]
    """
    a2, a4, a5 = attributes[:, 1], attributes[:, 3], attributes[:, 4]
    return ((a5 == 3) & (a4 == 1)) | ((a5 != 4) & (a2 != 3))


def monk3_indices() -> SobolIndices:
    """The shares of its variance, exactly, for attributes that are uniform and independent.

    Example:
        >>> monk3_indices().coordinates
        (2, 4, 5)
    """
    return sobol_indices_of_table(monk3(_all_attributes()).astype(float).reshape(MONK_LEVELS))


def monk3_table(rows: int | None, seed: int, *, wrong: float = 0.0) -> Table:
    """All 432 cases once (`rows=None`), or so many drawn; a share of labels is flipped."""
    rng = np.random.default_rng(seed)
    cases = _all_attributes()
    if rows is not None:
        cases = cases[rng.integers(len(cases), size=rows)]
    label = monk3(cases) ^ (rng.random(len(cases)) < wrong)
    columns = tuple(
        Column(f"a{i + 1}", "category", tuple(map(str, range(1, levels + 1))))
        for i, levels in enumerate(MONK_LEVELS)
    )
    return Table(columns, cases - 1.0, label.astype(float), "classification", "class",
                 ("no", "yes"), name="monk-3")  # fmt: skip


def _all_attributes() -> Int[np.ndarray, "432 6"]:
    return np.array(list(itertools.product(*(range(1, n + 1) for n in MONK_LEVELS))))
