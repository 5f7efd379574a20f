"""Pre-activations over one base edge: `z_{v,e} = sum over u of M_e(w_(u,v), y_u)`."""

import math
from collections.abc import Callable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sparsejax.graphs import (
    Bias,
    Convolution,
    Dense,
    EdgeMap,
    PositionMixing,
    Scale,
    TokenMixing,
)
from sparsejax.lifts.convolution_product import convolution_product
from sparsejax.lifts.entry_wiring import EXPANDED_AT_MOST, entry_product
from sparsejax.lifts.product_form import Form, wired_product
from sparsejax.lifts.sparse_product import spread
from sparsejax.lifts.wiring import DenseWiring, SparseWiring


def edge_product(
    edge_map: EdgeMap,
    weights: Float[Array, "slots n_b *w"],
    activations: Float[Array, "n_a *y batch"],
    wiring: DenseWiring | SparseWiring,
    form: Form | None = None,
) -> Float[Array, "n_b *z batch"]:
    """All pre-activations over one base edge; batch is the last axis throughout.

    Scalar weights go through the sparse product (entries of an array-valued activation are folded
    into the batch), small matrix weights too, entry by entry, large ones through one contraction,
    filters through one convolution or a loop over their taps, any other map through `vmap`. `form`
    overrules `product_form` where the sparse product is used.
    """
    source_shape, batch = activations.shape[1:-1], activations.shape[-1]
    output_shape = edge_map.output_shape(source_shape)
    entries = math.prod(source_shape)
    n_b = weights.shape[1]
    if isinstance(edge_map, Scale):
        flat = activations.reshape(activations.shape[0], entries * batch)
        if isinstance(wiring, DenseWiring):
            product = jnp.einsum("uv,ub->vb", weights, flat)
        else:
            product = wired_product(weights, flat, wiring, form)
    elif isinstance(edge_map, Dense | Bias):
        # What a bias shares it is spread over at the end.
        rows = math.prod(weights.shape[2:]) // entries
        w = weights.reshape(weights.shape[0], n_b, rows, entries)
        y = activations.reshape(activations.shape[0], entries, batch)
        product = _matrix_product(w, y, wiring, form)
        if isinstance(edge_map, Bias):
            kept = [1 if axis in edge_map.shared else n for axis, n in enumerate(edge_map.shape)]
            product = product.reshape(n_b, *kept, batch)
            product = jnp.broadcast_to(product, (n_b, *output_shape, batch))
    elif isinstance(edge_map, TokenMixing | PositionMixing):
        # A matrix on one axis of (tokens, features): the other axis goes into the batch.
        axis = 2 if isinstance(edge_map, TokenMixing) else 1
        y = jnp.moveaxis(activations, axis, 1)
        mixed = y.reshape(*y.shape[:2], y.shape[2] * batch)
        product = _matrix_product(weights, mixed, wiring, form)
        product = product.reshape(n_b, weights.shape[2], y.shape[2], batch)
        product = jnp.moveaxis(product, 1, axis)
    elif isinstance(edge_map, Convolution):
        product = convolution_product(edge_map, weights, activations, wiring)
    else:
        product = _mapped(edge_map, weights, activations, wiring)
    return product.reshape(n_b, *output_shape, batch)


def _matrix_product(
    weights: Float[Array, "slots n_b o i"],
    y: Float[Array, "n_a i batch"],
    wiring: DenseWiring | SparseWiring,
    form: Form | None,
) -> Float[Array, "n_b o batch"]:
    """One matrix a lifted edge."""
    if isinstance(wiring, DenseWiring):
        return jnp.einsum("uvoi,uib->vob", weights, y)
    if weights.shape[2] * weights.shape[3] <= EXPANDED_AT_MOST:
        return entry_product(weights, y, wiring, form)
    return jnp.einsum("kvoi,kvib->vob", weights, _slots(y, wiring))


def _slots(
    activations: Float[Array, "n_a *y batch"], wiring: SparseWiring
) -> Float[Array, "k n_b *y batch"]:
    """The activation seen in every slot; zero where padding stands for no edge."""
    seen = spread(activations, wiring)
    if wiring.present is None:
        return seen
    return jnp.where(jnp.expand_dims(wiring.present, range(2, seen.ndim)), seen, 0)


def _mapped(
    edge_map: EdgeMap,
    weights: Float[Array, "slots n_b *w"],
    activations: Float[Array, "n_a *y batch"],
    wiring: DenseWiring | SparseWiring,
) -> Float[Array, "n_b *z batch"]:
    """A user's own map, slot by slot so that memory stays at one slot's worth.

    Padding is masked behind the map: a map that is not linear in the activation need not
    vanish where the activation does. There the map sees the first source, not zero, where it may
    have no finite derivative, which would be NaN behind the mask.
    """
    over_batch = jax.vmap(edge_map, in_axes=(None, -1), out_axes=-1)
    if isinstance(wiring, DenseWiring):
        over_targets = jax.vmap(over_batch, in_axes=(0, None))

        def step_dense(total, slot):
            w, y = slot
            return total + over_targets(w, y), None

        slots: tuple[Array, ...] = (weights, activations)
        step: Callable[..., tuple[Array, None]] = step_dense
    else:
        over_pairs = jax.vmap(over_batch)
        present = wiring.present
        if present is None:
            present = jnp.ones(weights.shape[:2], bool)

        def step_sparse(total, slot):
            w, y, here = slot
            out = over_pairs(w, y)
            return total + jnp.where(jnp.expand_dims(here, range(1, out.ndim)), out, 0), None

        seen = jnp.where(
            jnp.expand_dims(present, range(2, activations.ndim + 1)),
            spread(activations, wiring),
            jax.lax.stop_gradient(activations[None, :1]),
        )
        slots, step = (weights, seen, present), step_sparse
    shape = edge_map.output_shape(activations.shape[1:-1])
    zero = jnp.zeros((weights.shape[1], *shape, activations.shape[-1]), activations.dtype)
    return jax.lax.scan(step, zero, slots)[0]
