"""Sums of convolutions over one base edge: `z_v = sum over u of w_(u,v) * y_u`, batch last.

A convolution is a sum over the taps of its filter, each one scalar weight times a shifted image.
So it is a loop over taps of products with scalar weights: the matrix product where the wiring is
dense, the sparse product where it is not, which gather in every direction and differentiate to any
order. Only one tap's images are alive at a time; derivatives take the windows again.
"""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sparsejax.graphs import Convolution
from sparsejax.lifts.sparse_product import sparse_product
from sparsejax.lifts.wiring import DenseWiring, SparseWiring


def convolution_product(
    convolution: Convolution,
    weights: Float[Array, "slots n_b *w"],
    activations: Float[Array, "n_a *y batch"],
    wiring: DenseWiring | SparseWiring,
) -> Float[Array, "n_b *z batch"]:
    """All pre-activations over one base edge with a `Convolution`.

    Over a dense wiring, channels of the input image count as sources. There it is one XLA
    convolution with fibres as channels, but on CPU the loop over taps: XLA's convolutions there
    are no faster, and one order of magnitude slower when an ensemble is batched by `vmap`.
    """
    if isinstance(wiring, SparseWiring):
        return by_taps(convolution, weights, activations, wiring)
    axes = len(convolution.filter_shape)
    y = activations
    if convolution.channels(y.shape[1:-1]):
        # One source a channel: the channel axis joins the fibre's.
        y = jnp.moveaxis(y, axes + 1, 1).reshape(-1, *y.shape[1 : axes + 1], y.shape[-1])
        w = jnp.moveaxis(weights, -1, 1)
        weights = w.reshape(-1, *w.shape[2:])
        wiring = DenseWiring(n_sources=y.shape[0], n_targets=wiring.n_targets)
    return jax.lax.platform_dependent(
        weights,
        y,
        cpu=lambda w, y: by_taps(convolution, w, y, wiring),
        default=lambda w, y: whole(convolution, w, y),
    )


def whole(
    convolution: Convolution,
    weights: Float[Array, "n_a n_b *k"],
    activations: Float[Array, "n_a *y batch"],
) -> Float[Array, "n_b *z batch"]:
    """One XLA convolution whose channels are the fibres; images have no channel axis."""
    letters = "HW"[: len(convolution.filter_shape)]
    return jax.lax.conv_general_dilated(
        activations,
        weights,
        convolution.strides,
        convolution.paddings(activations.shape[1:-1]),
        dimension_numbers=(f"C{letters}N", f"IO{letters}", f"C{letters}N"),
    )


def by_taps(
    convolution: Convolution,
    weights: Float[Array, "slots n_b *w"],
    activations: Float[Array, "n_a *y batch"],
    wiring: DenseWiring | SparseWiring,
) -> Float[Array, "n_b *z batch"]:
    """A loop over the taps of products with one scalar weight a lifted edge."""
    source, batch = activations.shape[1:-1], activations.shape[-1]
    # The filter of an image with channels covers them whole: one more axis, seen at one place.
    channels = convolution.channels(source)
    taps = (*convolution.filter_shape, *channels)
    strides = (*convolution.strides, *(1 for _ in channels))
    lows = (*(low for low, _ in convolution.paddings(source)), *(0 for _ in channels))
    out = convolution.output_shape(source)
    windows = (*out, *(1 for _ in channels))
    n_a, (slots, n_b) = activations.shape[0], weights.shape[:2]

    # Positions `stride m + t` are a slice `m` of phase `t mod stride`: axis by axis, pad to whole
    # strides (or cut what no window sees) and split into strides and phases.
    lengths = [-(-((m - 1) * s + k) // s) for m, s, k in zip(windows, strides, taps, strict=True)]
    pads = [
        (low, n * s - size - low, 0)
        for low, n, s, size in zip(lows, lengths, strides, source, strict=True)
    ]
    padded = jax.lax.pad(
        activations, jnp.zeros((), activations.dtype), [(0, 0, 0), *pads, (0, 0, 0)]
    )
    split = [axis for n, s in zip(lengths, strides, strict=True) for axis in (n, s)]
    phases = padded.reshape(n_a, *split, batch)
    seen = (n_a, *(axis for m in windows for axis in (m, 1)), batch)

    @jax.checkpoint
    def tap(total, one):
        w, corner = one
        starts = [corner[i] for i in range(len(split))]
        zero = jnp.zeros((), corner.dtype)
        y = jax.lax.dynamic_slice(phases, (zero, *starts, zero), seen).reshape(n_a, -1)
        if isinstance(wiring, DenseWiring):
            return total + jnp.einsum("uv,ub->vb", w, y), None
        return total + sparse_product(w, y, wiring), None

    places = np.array(list(np.ndindex(*taps)), np.int32)
    corners = np.stack([places // strides, places % strides], axis=2).reshape(len(places), -1)
    by_tap = jnp.moveaxis(weights.reshape(slots, n_b, len(places)), -1, 0)
    zero = jnp.zeros((n_b, math.prod(out) * batch), activations.dtype)
    product = jax.lax.scan(tap, zero, (by_tap, jnp.asarray(corners.astype(np.int32))))[0]
    return product.reshape(n_b, *out, batch)
