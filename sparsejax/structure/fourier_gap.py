"""The Fourier gap: how the first gradient on a parity tells its coordinates from the rest."""

import dataclasses
import functools
import math
from collections.abc import Callable, Sequence
from fractions import Fraction

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from sparsejax.structure.input_weight_norms import Axes, input_weight_norms


def correlation_gradient(
    f: Callable[[PyTree, Array], Array],
    params: PyTree,
    x: Float[Array, "n d"],
    y: Float[Array, "n c"],
) -> PyTree:
    """The gradient of `mean over samples of sum_c y_c f_c(x)` in the parameters.

    Where outputs are small, minus the gradient of the hinge loss, and up to a factor of that of the
    squared loss on labels -1, 1. For `f = a relu(w x + b)` on a parity of S it is, in `w_i`, `a`
    times the Walsh coefficient of the neuron's derivative at S with i taken out or put in.

    Example:
        >>> f = lambda w, x: x @ w
        >>> x = jnp.array([[1.0, 2.0], [3.0, 4.0]])
        >>> correlation_gradient(f, jnp.zeros((2, 1)), x, x[:, :1]).ravel().tolist()
        [5.0, 7.0]
    """

    def correlation(params: PyTree) -> Float[Array, ""]:
        outputs = f(params, x)
        return jnp.mean(jnp.sum(y.astype(outputs.dtype) * outputs, axis=1))

    return jax.grad(correlation)(params)


class FourierGap(eqx.Module):
    """Of the gradient of the correlation with a target, the part on each input, as a probe.

    `probe(f, params)`: (2,), the root mean square over inputs of the gradient's norm in the weights
    that read them: over the `support` (coordinates from 1), and over the rest. `axes`: as of
    `input_weight_norms`. `x`, `y`: evaluation samples; what is left to chance of n of them is
    `1 / sqrt(n)` of the largest gradient there could be.

    Raises:
        ValueError: no coordinates in the support or no others.

    Source: Barak et al., NeurIPS 2022 (arXiv 2207.08799), definition 1.

    Example:
        >>> x = jnp.array([[1.0, 1.0], [1.0, -1.0], [-1.0, 1.0], [-1.0, -1.0]])
        >>> probe = FourierGap({"w": 0}, (1,), x, x[:, :1])
        >>> probe(lambda p, x: x @ p["w"], {"w": jnp.zeros((2, 1))}).tolist()
        [1.0, 0.0]
    """

    axes: tuple[tuple[str, int | tuple[int, ...]], ...] = eqx.field(static=True)
    support: tuple[int, ...] = eqx.field(static=True)
    x: Float[Array, "n d"]
    y: Float[Array, "n c"]

    def __init__(
        self,
        axes: Axes,
        support: Sequence[int],
        x: Float[Array | np.ndarray, "n d"],
        y: Float[Array | np.ndarray, "n c"],
    ) -> None:
        inside(support, x.shape[1])
        self.axes, self.support = tuple(axes.items()), tuple(support)
        self.x, self.y = jnp.asarray(x), jnp.asarray(y)

    def __call__(
        self, f: Callable[[PyTree, Array], Array], params: PyTree
    ) -> Float[Array, " parts"]:
        """Over the support, over the rest."""
        norms = input_weight_norms(correlation_gradient(f, params, self.x, self.y), dict(self.axes))
        relevant = inside(self.support, norms.shape[0])
        squares = jnp.square(norms)
        return jnp.sqrt(jnp.stack([jnp.mean(squares[relevant]), jnp.mean(squares[~relevant])]))


def inside(support: Sequence[int], dims: int) -> np.ndarray:
    """Which of the inputs belong to the support, `(dims,)`.

    Raises:
        ValueError: coordinates out of range, or none on one of the two sides.
    """
    if not all(1 <= i <= dims for i in support) or not 0 < len(set(support)) < dims:
        raise ValueError(
            f"support: some, and not all, coordinates from 1 to {dims}, got {tuple(support)}"
        )
    return np.isin(np.arange(1, dims + 1), support)


@dataclasses.dataclass(frozen=True)
class GradientCoefficients:
    """Of one sign neuron on a parity: the gradient in a relevant weight, and in another one.

    Both before the factors of output weight and signs; `gap` is what tells them apart.
    """

    relevant: float
    rest: float

    @property
    def gap(self) -> float:
        """`|relevant| - |rest|`; negative where the gradient points away from the parity."""
        return abs(self.relevant) - abs(self.rest)


def sign_neuron_gradient(dims: int, order: int, offset: float | int = 0.0) -> GradientCoefficients:
    """The first gradient, exactly, of `relu(w x + b)` with `w = scale * signs`, on a parity.

    `E[chi_S(x) x_i 1(w x + b > 0)]` is the product of the signs of w over S, with i taken out or
    put in, times the coefficient at level `order - 1` for a relevant i, `order + 1` for another
    one. `offset = b / scale`. With no offset and an odd number of inputs these are halves of
    majority's.

    Raises:
        ValueError: an order outside of 1 to `dims - 1`, or an offset that is not finite.

    Source: Barak et al., NeurIPS 2022 (arXiv 2207.08799), section 3; offsets derived here.

    Example:
        >>> from sparsejax.targets import majority_coefficient
        >>> found = sign_neuron_gradient(11, 4)
        >>> found.relevant == majority_coefficient(11, 3) / 2, found.gap > 0
        (True, True)
    """
    if not 1 <= order < dims:
        raise ValueError(f"order: 1 to {dims - 1} of {dims} coordinates, got {order}")
    if not math.isfinite(offset):
        raise ValueError(f"offset must be finite, got {offset}")
    # With m inputs against their signs, the sum is dims - 2 m: positive with the offset for these.
    against = math.ceil((dims + offset) / 2) - 1
    against = min(max(against, -1), dims)
    return GradientCoefficients(
        threshold_coefficient(dims, order - 1, against),
        threshold_coefficient(dims, order + 1, against),
    )


@functools.cache
def threshold_coefficient(dims: int, level: int, most: int) -> float:
    """The Walsh coefficient at sets of `level` coordinates of `at most this many are -1`.

    `2^-dims sum_{m <= most} sum_i (-1)^i C(level, i) C(dims - level, m - i)`, over m negative signs
    of which i are in the set, in whole numbers: exact up to one rounding. The indicator of fewer
    negative signs than half has half of majority's.

    Source: O'Donnell, Analysis of Boolean Functions, 2014, section 5.3.

    Example:
        >>> threshold_coefficient(3, 1, 1), threshold_coefficient(3, 0, 3)
        (0.25, 1.0)
    """
    total = sum(
        (-1) ** inner * math.comb(level, inner) * math.comb(dims - level, m - inner)
        for m in range(most + 1)
        for inner in range(min(level, m) + 1)
    )
    return float(Fraction(total, 2**dims))
