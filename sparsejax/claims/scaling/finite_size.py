"""Where a finite size, or a choice of the network, turns the conclusion of a scaling law around."""

from collections.abc import Callable, Sequence

import jax
import jax.numpy as jnp
import numpy as np

from sparsejax.targets import hermite_coefficients

# A Hermite coefficient below this share of the largest one counts as nearly vanishing.
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
    exponents: Sequence[float | int] = (),
) -> tuple[str, ...]:
    """What to know before a law of learning times is read off a two-layer network, if anything.

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
    asked = sorted({degree for degree in degrees if degree > 0})
    # Of degrees 1 and 2 at least: an even activation has nothing of the first.
    strengths = hermite_strengths(activation, max([2, *asked]), biases)
    largest = 1 + int(strengths[1:].argmax())
    for degree in asked:
        if strengths[degree] < VANISHING * strengths[largest]:
            found.append(
                f"the activation has next to no part of degree {degree} at initialisation "
                f"({strengths[degree] / strengths[largest]:.2g} of that of degree {largest}): "
                "terms of that degree are late for its sake, and may come after higher ones"
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

    Raises:
        ValueError: as `hermite_coefficients`.

    Example:
        >>> hermite_strengths(jnp.square, 3).round(4).tolist()  # x^2 = sqrt(2) h_2 + 1
        [1.0, 0.0, 1.4142, 0.0]
    """
    shifts, shares = np.polynomial.legendre.leggauss(16)
    shifts = (biases[0] + biases[1]) / 2 + (biases[1] - biases[0]) / 2 * shifts

    def coefficients(shift: float) -> np.ndarray:
        return hermite_coefficients(
            lambda z: activation(jnp.asarray(z + shift, float)), degree, nodes=nodes
        )

    squares = np.stack([coefficients(shift) ** 2 for shift in shifts.tolist()])
    return np.sqrt(shares @ squares / shares.sum())
