"""How much a function depends on each local subset of its inputs, such as patches and windows."""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from sparsejax.structure.sobol import Function, Sampler, exchanged, values_of

Subset = tuple[int, ...]


def windows(inputs: int, width: int, stride: int = 1) -> tuple[Subset, ...]:
    """Runs of `width` neighbouring inputs, counted from 0.

    Raises:
        ValueError: a width that does not fit, or a stride that is not positive.

    Example:
        >>> windows(5, 3, stride=2)
        ((0, 1, 2), (2, 3, 4))
    """
    if not 1 <= width <= inputs or stride < 1:
        raise ValueError(f"width {width} and stride {stride} give no windows of {inputs} inputs")
    return tuple(
        tuple(range(start, start + width)) for start in range(0, inputs - width + 1, stride)
    )


def patches(rows: int, columns: int, side: int) -> tuple[Subset, ...]:
    """Square tiles of an image whose pixels are numbered row by row; those at the rims are cut.

    Raises:
        ValueError: sizes that are not positive.

    Example:
        >>> patches(2, 3, 2)
        ((0, 1, 3, 4), (2, 5))
    """
    if min(rows, columns, side) < 1:
        raise ValueError(f"sizes must be positive, got {rows}, {columns} and {side}")
    return tuple(
        tuple(
            i * columns + j
            for i in range(top, min(top + side, rows))
            for j in range(left, min(left + side, columns))
        )
        for top in range(0, rows, side)
        for left in range(0, columns, side)
    )


def local_subsets(
    f: Function,
    sampler: Sampler,
    subsets: Sequence[Subset],
    samples: int,
    *,
    seed: int = 0,
) -> tuple[Float[np.ndarray, " s"], Float[np.ndarray, " s"]]:
    """Total Sobol index of each subset of inputs, and its standard error.

    The share of the variance that is lost to who knows all inputs but the subset's: Jansen's
    estimator with all of them exchanged at once. `f` and `sampler` as in `sobol_indices`. The
    values of a function that adds up over disjoint subsets sum to one; what they sum to beyond
    that, subsets share.

    Raises:
        ValueError: fewer than two samples, no subset, or values that are not finite.

    Source: Jansen, Computer Physics Communications 1999; subsets: Sobol 2001.

    Example:
        >>> def normal(rng, n):
        ...     return rng.normal(size=(n, 4))
        >>> found, _ = local_subsets(lambda x: x[:, 0] * x[:, 1], normal, [(0, 1), (2, 3)], 40_000)
        >>> found.round(1).tolist()
        [1.0, 0.0]
    """
    if samples < 2 or not subsets:
        raise ValueError(f"needs two samples and a subset, got {samples} and {len(subsets)}")
    rng = np.random.default_rng(seed)
    a, b = (np.asarray(sampler(rng, samples)) for _ in range(2))
    plain = values_of(f, a)
    variance = float(plain.var(axis=0).sum())
    terms = np.stack(
        [((plain - values_of(f, exchanged(a, b, s))) ** 2).sum(axis=1) / 2 for s in subsets]
    )
    if variance == 0:
        return np.zeros(len(subsets)), np.zeros(len(subsets))
    return terms.mean(axis=1) / variance, terms.std(axis=1) / np.sqrt(samples) / variance
