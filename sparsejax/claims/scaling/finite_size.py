"""Where a finite size, or a choice of the network, turns the conclusion of a scaling law around."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np
from numpy.polynomial import hermite_e

# A Hermite coefficient below this share of that of degree 1 counts as nearly vanishing.
VANISHING = 0.05
# Times of two exponents that differ by less than this factor over a ladder are not told apart.
SEPARATED = 2.0


def finite_size_warnings(
    activation: Callable[[jax.Array], jax.Array],
    *,
    biases: tuple[float, float] = (0.0, 0.0),
    degrees: Sequence[int] = (1, 2, 3),
    output_power: float = 0.5,
    width: int = 128,
    sizes: Sequence[int] = (),
    exponents: Sequence[float] = (),
) -> tuple[str, ...]:
    """What to know before a law of learning times is read off a two-layer network; empty if nothing.

    `activation` at normal pre-activations of variance one, with biases uniform in `biases`.
    `degrees`: of the target's terms. `output_power`: outputs are scaled by `width^-output_power`
    throughout, at a fixed step. `sizes`, `exponents`: a ladder, and exponents of times that are to
    be told apart on it.

    Example:
        >>> finite_size_warnings(jax.nn.relu, biases=(-1.0, 1.0))
        ()
        >>> len(finite_size_warnings(jnp.tanh, output_power=1.0))
        2
    """
    found = []
    strengths = hermite_strengths(activation, max(degrees), biases)
    for degree in sorted(set(degrees)):
        if degree > 1 and strengths[degree] < VANISHING * strengths[1]:
            found.append(
                f"the activation has next to no part of degree {degree} at initialisation "
                f"({strengths[degree] / strengths[1]:.2g} of that of degree 1): terms of that "
                "degree are late for its sake, and may come after higher ones"
            )
    if output_power >= 1:
        found.append(
            f"outputs are scaled by 1 / width^{output_power:g} = {width**-output_power:.2g} at a "
            "fixed step: features move that much less, and nothing beyond degree 1 may be learned "
            "in any time that is seen; scale the step by the width"
        )
    rungs, powers = sorted(set(sizes)), sorted(set(exponents))
    if len(rungs) > 1 and len(powers) > 1:
        apart = (rungs[-1] / rungs[0]) ** min(np.diff(powers))
        if apart < SEPARATED:
            found.append(
                f"from size {rungs[0]} to {rungs[-1]} times of exponents {min(np.diff(powers)):g} "
                f"apart differ by a factor of {apart:.2g} only: constants and logarithms hide it"
            )
    return tuple(found)


def hermite_strengths(
    activation: Callable[[jax.Array], jax.Array],
    degree: int,
    biases: tuple[float, float] = (0.0, 0.0),
    *,
    nodes: int = 60,
) -> np.ndarray:
    """Root mean square over biases of the activation's normalised Hermite coefficients.

    (degree + 1,): of degree 0, 1, ... up to `degree`.

    Example:
        >>> hermite_strengths(jnp.square, 3).round(4).tolist()  # x^2 = sqrt(2) h_2 + 1
        [1.0, 0.0, 1.4142, 0.0]
    """
    points, weights = hermite_e.hermegauss(nodes)
    weights = weights / weights.sum()
    shifts, shares = np.polynomial.legendre.leggauss(16)
    shifts = (biases[0] + biases[1]) / 2 + (biases[1] - biases[0]) / 2 * shifts
    values = np.asarray(activation(jnp.asarray(points[None] + shifts[:, None], float)), float)
    factorials = np.cumprod([1.0, *range(1, degree + 1)])
    basis = hermite_e.hermevander(points, degree) / np.sqrt(factorials)
    coefficients = values @ (weights[:, None] * basis)
    return np.sqrt(shares @ coefficients**2 / shares.sum())
