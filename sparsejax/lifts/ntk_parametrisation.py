"""The NTK parametrisation of a lift: standard normal parameters, scaled edge by edge."""

import dataclasses
from collections.abc import Mapping

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Key

from sparsejax.lifts.edge_factors import EdgeFactors, edge_factors
from sparsejax.lifts.initialisation import per_edge, weight_scale
from sparsejax.lifts.lift import Lift, Params


class NtkParametrised(eqx.Module):
    """`f(params, x) = lift.apply(scales * params, x)`: built by `ntk_parametrised`.

    `scales`: one number by base edge. Calling it and `apply` are the same; give `f.apply` to
    `ntk`, and the kernel can go layer by layer.
    """

    lift: Lift
    scales: dict[str, Float[Array, ""]]

    def init(self, key: Key[Array, ""], *, dtype: jax.typing.DTypeLike | None = None) -> Params:
        """Every parameter `N(0, 1)`."""
        shapes = self.lift.init(key, dtype=dtype)
        return {
            name: jax.random.normal(jax.random.fold_in(key, number), leaf.shape, leaf.dtype)
            for number, (name, leaf) in enumerate(shapes.items())
        }

    def weights(self, params: Params) -> Params:
        """The parameters that the lift itself would have."""
        return {name: self.scales[name].astype(w.dtype) * w for name, w in params.items()}

    def apply(
        self, params: Params, x: ArrayLike | Mapping[str, ArrayLike]
    ) -> Float[Array, "batch ..."] | dict[str, Float[Array, "batch ..."]]:
        """The network's function: `(batch, *input)` to `(batch, *output)`."""
        return self.lift.apply(self.weights(params), x)

    def __call__(
        self, params: Params, x: ArrayLike | Mapping[str, ArrayLike]
    ) -> Float[Array, "batch ..."] | dict[str, Float[Array, "batch ..."]]:
        """`apply`."""
        return self.apply(params, x)

    def edge_factors(
        self, params: Params, x: ArrayLike | Mapping[str, ArrayLike]
    ) -> dict[str, EdgeFactors]:
        """The Jacobian in factors: each edge's scale goes to its backward signals."""
        return {
            name: dataclasses.replace(
                found, signals=self.scales[name].astype(found.signals.dtype) * found.signals
            )
            for name, found in edge_factors(self.lift, self.weights(params), x).items()
        }


def ntk_parametrised(
    lift: Lift,
    *,
    gain: int | float | Mapping[str, int | float] = 1.0,
    bias_scale: int | float = 0.1,
) -> NtkParametrised:
    """The same networks as `lift`, with parameters of order one: `N(0, 1)` at initialisation.

    Over base edge `e` a forward weight is `gain / sqrt(lambda_e)` times its parameter, `lambda_e`
    being the expected in-degree (times the number of entries that the edge's map contracts), and a
    bias is `bias_scale` times its parameter. The function at initialisation has the law of
    `lift.init(key, gain=gain, bias_scale=bias_scale)`. What differs is how training moves it: the
    tangent kernel of a dense lift tends to a limit as it widens, at `lambda = n` in every layer
    behind the first. In a lift of constant in-degree hidden scales are constant, and that of the
    readout is `gain / sqrt(n)`. `gain`: a number, or one by edge name (1 where none is given);
    `{"h2->y": 1 / sqrt(n)}` is the mean-field scaling of the readout.

    Raises:
        ValueError: an unknown edge name, or a gain for a bias.

    Source: Jacot, Gabriel, Hongler 2018, section 3.

    Example:
        >>> import jax, jax.numpy as jnp, sparsejax as sj
        >>> lift = sj.dense_lift(sj.graphs.mlp(inputs=3, hidden=1, outputs=1), sizes=4)
        >>> f = ntk_parametrised(lift, gain=2.0)
        >>> float(f.scales["h1->y"])  # 2 / sqrt(4)
        1.0
        >>> f(f.init(jax.random.key(0)), jnp.ones((5, 3))).shape
        (5, 1)
    """
    module, gains = lift.module, per_edge(gain, lift.module, 1.0, "gain")
    dtype = jnp.dtype(jnp.result_type(float))
    scales = {
        edge.name: weight_scale(
            edge, module, lift.in_degrees[edge.name], gains[edge.name], bias_scale, dtype
        )
        for edge in module.edges
    }
    return NtkParametrised(lift, scales)
