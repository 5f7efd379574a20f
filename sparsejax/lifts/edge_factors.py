"""The Jacobian of a lift in factors: a backward signal times an activation, by base edge."""

from collections.abc import Mapping

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int

from sparsejax.graphs import Bias, Dense, Edge, Scale
from sparsejax.lifts.edge_product import edge_product
from sparsejax.lifts.lift import Lift, Params
from sparsejax.lifts.wiring import SparseWiring


class EdgeFactors(eqx.Module):
    """Derivatives of all outputs in the weights over one base edge, never multiplied out.

    For output `c`, sample `n` and the weight in slot `s` of target `v` between its entry `o` and
    the source's entry `i`, `d f_c(x_n) / d w = signals[c, v, o, n] y[u, i, n]` with `u` the
    source `predecessors[s, v]` and `y` the `activations`; zero where `present` says that the slot
    is empty. Without `predecessors` every target reads every source. Where a derivative is no such
    product (shared weights), each weight is a target of its own with its derivative as the signal,
    and the one source has the value 1.
    """

    signals: Float[Array, "c n_b o n"]
    activations: Float[Array, "n_a i n"]
    predecessors: Int[Array, "k n_b"] | None = None
    present: Bool[Array, "k n_b"] | None = None


def edge_factors(
    lift: Lift, params: Params, x: ArrayLike | Mapping[str, ArrayLike]
) -> dict[str, EdgeFactors]:
    """The factors over every base edge: one forward pass, and one backward pass per output.

    Raises:
        ValueError: the lift has several outputs, or `x` or `params` do not fit.
    """
    module = lift.module
    if len(module.outputs) > 1:
        raise ValueError(
            f"one array of outputs is needed; the module has {', '.join(module.outputs)}"
        )
    _, batch = lift._inputs(x)
    dtype = jnp.result_type(*params.values(), *jax.tree.leaves(x))
    taps = {
        edge.name: jnp.zeros(
            (lift.sizes[edge.target], *module.preactivation_shape(edge), batch), dtype
        )
        for edge in module.edges
    }

    def outputs(taps):
        values, _ = lift._fibres(params, x, taps=taps)
        return values[module.outputs[0]].reshape(-1, batch), values

    found, pullback, values = jax.vjp(outputs, taps, has_aux=True)
    count = found.shape[0]
    # Samples do not mix, so that one backward pass serves all of them.
    one_each = jnp.broadcast_to(
        jnp.eye(count, dtype=found.dtype)[:, :, None], (count, count, batch)
    )
    (signals,) = jax.vmap(pullback)(one_each)
    return {
        edge.name: _factors(lift, edge, params, values[edge.source], signals[edge.name])
        for edge in module.edges
    }


def _factors(lift: Lift, edge: Edge, params: Params, values: Array, signals: Array) -> EdgeFactors:
    wiring, batch = lift.wirings[edge.name], signals.shape[-1]
    values = jnp.broadcast_to(values, (*values.shape[:-1], batch))
    if isinstance(edge.map, Bias):
        # A shared weight adds up what arrives along its axes.
        signals = jnp.sum(signals, axis=tuple(2 + axis for axis in edge.map.shared))
    elif not (isinstance(edge.map, Dense) or (isinstance(edge.map, Scale) and values.ndim == 2)):
        return _multiplied_out(lift, edge, params[edge.name], values, signals)
    signals = signals.reshape(*signals.shape[:2], -1, batch)
    values = values.reshape(values.shape[0], -1, batch)
    if not isinstance(wiring, SparseWiring):
        return EdgeFactors(signals, values)
    if wiring.overflow is not None:
        # As in the products: an overflown wiring has no derivative, rather than a wrong one.
        signals = signals * jnp.where(wiring.overflow, jnp.nan, 1.0).astype(signals.dtype)
    return EdgeFactors(signals, values, wiring.predecessors, wiring.present)


def _multiplied_out(
    lift: Lift, edge: Edge, weights: Array, values: Array, signals: Array
) -> EdgeFactors:
    """Every derivative of maps that share a weight between entries, one sample at a time."""

    def of_sample(y, b):
        def preactivations(w):
            return edge_product(edge.map, w, y[..., None], lift.wirings[edge.name])

        (rows,) = jax.vmap(jax.vjp(preactivations, weights)[1])(b[..., None])
        return rows.reshape(b.shape[0], -1, 1)

    rows = jax.vmap(of_sample, in_axes=-1, out_axes=-1)(values, signals)
    return EdgeFactors(rows, jnp.ones((1, 1, rows.shape[-1]), rows.dtype))
