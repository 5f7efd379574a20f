"""The plain network of two layers on which staircases and parities are studied."""

import dataclasses
import math

import equinox as eqx
import jax
from jaxtyping import Array, Float, PyTree

from sparsejax.graphs import Pointwise
from sparsejax.learners.learner import InputLeaf, Learner, check_positive


class TwoLayerFunction(eqx.Module):
    """`sigma(x w + b) a`, for parameters `w` (d, width), `b` (width,), `a` (width, C)."""

    activation: Pointwise = eqx.field(static=True)

    def __call__(self, params: PyTree, x: Float[Array, "n d"]) -> Float[Array, "n c"]:
        """The network's function."""
        x = x.astype(params["w"].dtype)
        return self.activation(x @ params["w"] + params["b"][None]) @ params["a"]


@dataclasses.dataclass(frozen=True)
class _Builder:
    dims: int
    width: int
    outputs: int
    activation: Pointwise
    bias_range: float
    readout_range: float

    def __call__(self, key):
        w_key, b_key, a_key = jax.random.split(key, 3)
        bias, readout = self.bias_range, self.readout_range / math.sqrt(self.width)
        params = {
            "a": jax.random.uniform(
                a_key, (self.width, self.outputs), minval=-readout, maxval=readout
            ),
            "b": jax.random.uniform(b_key, (self.width,), minval=-bias, maxval=bias),
            "w": jax.random.normal(w_key, (self.dims, self.width)) / math.sqrt(self.dims),
        }
        return TwoLayerFunction(self.activation), params


def two_layer(
    dims: int,
    width: int,
    *,
    outputs: int = 1,
    activation: str = "relu",
    bias_range: float | int = 1.0,
    readout_range: float | int = 0.1,
) -> Learner:
    """`x -> sigma(x w + b) a`: entries of `w` from N(0, 1/d), small output weights.

    `b` is uniform on `[-bias_range, bias_range]`, `a` on `[-readout_range, readout_range] /
    sqrt(width)`. All three are trained, and there is no output bias.

    Raises:
        ValueError: a number that is not positive, or an unknown activation.

    Source: the setting of Abbe, Boix-Adsera, Misiakiewicz 2023 as measured here (theory 4.3).

    Example:
        >>> two_layer(dims=30, width=100).parameters
        3200
    """
    check_positive("two_layer", dims=dims, width=width, outputs=outputs)
    for what, scale in (("bias_range", bias_range), ("readout_range", readout_range)):
        if not 0 <= scale < math.inf:
            raise ValueError(f"two_layer: {what} must be finite and at least 0, got {scale}")
    builder = _Builder(
        dims, width, outputs, Pointwise(activation), float(bias_range), float(readout_range)
    )
    reads = InputLeaf("w", (0,), tuple(range(1, dims + 1)))
    return Learner(f"two-layer-{width}", dims, outputs, builder, (reads,), (("w", "b"), ("a",)))
