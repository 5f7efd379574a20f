"""Which inputs act together: shares of the variance that pairs have a part in."""

import itertools

import numpy as np
from jaxtyping import Float

from sparsejax.structure.sobol import Function, Sampler, exchanged, two_samples, values_of


def interactions(
    f: Function, sampler: Sampler, samples: int, *, seed: int = 0
) -> tuple[Float[np.ndarray, "d d"], Float[np.ndarray, "d d"]]:
    """Total interaction indices of all pairs, and their standard errors; the diagonal: of inputs.

    `S_ij`: the share of the variance of all terms that read both i and j, 0 exactly where
    `f = g(all but j) + h(all but i)`. On the diagonal the total Sobol indices. `f` and `sampler` as
    in `sobol_indices`; `f` is asked for `samples (1 + d (d + 1) / 2)` values.

    Raises:
        ValueError: fewer than two samples, or values that are not finite.

    Source: Liu, Owen, J. American Statistical Association 2006 (superset importance); Fruth,
    Roustant, Kuhnt, J. Statistical Planning and Inference 2014.

    Example:
        >>> def cube(rng, n):
        ...     return rng.choice([-1.0, 1.0], size=(n, 3))
        >>> found, _ = interactions(lambda x: x[:, 0] * x[:, 1] + x[:, 2], cube, 4000)
        >>> found.round(1).tolist()
        [[0.5, 0.5, 0.0], [0.5, 0.5, 0.0], [0.0, 0.0, 0.5]]
    """
    a, b = two_samples(sampler, np.random.default_rng(seed), samples)
    dims = a.shape[1]
    plain = values_of(f, a)
    alone = [values_of(f, exchanged(a, b, (i,))) for i in range(dims)]
    variance = float(plain.var(axis=0).sum())
    found, errors = np.zeros((dims, dims)), np.zeros((dims, dims))
    for i, j in itertools.combinations_with_replacement(range(dims), 2):
        if i == j:
            terms = ((plain - alone[i]) ** 2).sum(axis=1) / 2
        else:
            both = values_of(f, exchanged(a, b, (i, j)))
            terms = ((plain - alone[i] - alone[j] + both) ** 2).sum(axis=1) / 4
        if variance > 0:
            found[i, j] = found[j, i] = terms.mean() / variance
            errors[i, j] = errors[j, i] = terms.std() / np.sqrt(samples) / variance
    return found, errors


def h_statistic(f: Function, x: Float[np.ndarray, "n d"], i: int, j: int) -> float:
    """Friedman's `H^2` of inputs i and j, counted from 0: 0 where they add up, at most about 1.

    The share of the variance of their joint partial dependence that is not the sum of the single
    ones, over the rows of `x`, which need not have independent columns; `f` is asked for `3 n^2`
    values. 0 where the joint partial dependence is constant.

    Source: Friedman, Popescu, Annals of Applied Statistics 2008, equation 44.

    Example:
        >>> x = np.random.default_rng(0).choice([-1.0, 1.0], size=(100, 3))
        >>> h_statistic(lambda x: x[:, 0] + x[:, 1], x, 0, 1)
        0.0
    """

    def partial(inputs: tuple[int, ...]) -> np.ndarray:
        values = []
        for row in x:
            changed = np.array(x)
            changed[:, list(inputs)] = row[list(inputs)]
            values.append(values_of(f, changed).mean(axis=0))
        centred = np.array(values)
        return centred - centred.mean(axis=0)

    joint = partial((i, j))
    rest = joint - partial((i,)) - partial((j,))
    total = float((joint**2).sum())
    # Roundings of sums are no interaction.
    share = float((rest**2).sum()) / total if total > 0 else 0.0
    return share if share > 1e-20 else 0.0
