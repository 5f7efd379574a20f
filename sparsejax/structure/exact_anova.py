"""The analysis of variance of a function of few discrete inputs, from all its values."""

import itertools
import math
from collections.abc import Sequence

import numpy as np
from jaxtyping import Float

from sparsejax.structure.sobol import Function, values_of
from sparsejax.targets.sobol import MOST_CELLS, SobolIndices, sobol_indices_of_table


def exact_anova(
    f: Function,
    levels: Sequence[Float[np.ndarray, " _"]],
    marginals: Sequence[Float[np.ndarray, " _"]] | None = None,
) -> SobolIndices:
    """The share of the variance of every set of inputs, exactly; inputs are independent.

    `f`: `(n, d)` to `(n,)` or `(n, 1)`. `levels`: the values of each input; `marginals`: their
    probabilities, uniform unless told otherwise.

    Raises:
        ValueError: more than 2^24 cases, values that are not finite, marginals that do not fit.

    Source: Efron, Stein, Annals of Statistics 1981.

    Example:
        >>> sign = np.array([-1.0, 1.0])
        >>> exact_anova(lambda x: x[:, 0] * x[:, 1] + x[:, 2], [sign] * 3).components
        (((1, 2), 0.5), ((3,), 0.5))
    """
    shape = tuple(map(len, levels))
    if math.prod(size + 1 for size in shape) > MOST_CELLS:
        raise ValueError(f"levels: {shape} has too many cases to list; sample them instead")
    cases = np.array(list(itertools.product(*levels)), float)
    values = values_of(f, cases)
    if values.shape[1] != 1:
        raise ValueError(f"the function should give one value a case, got {values.shape[1]}")
    return sobol_indices_of_table(values.reshape(shape), marginals)
