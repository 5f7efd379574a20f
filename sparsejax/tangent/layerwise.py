"""The kernel layer by layer, from backward signals and activations, without the Jacobian.

Over one base edge with scalar weights, `K[n, m] = sum over v of b_v[n] b_v[m] (sum over
predecessors u of v of y_u[n] y_u[m])`. Where every target reads every source, the two sums part.
"""

import math
from typing import NamedTuple, Protocol, runtime_checkable

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, Int, PyTree

from sparsejax.tangent.gram import gram
from sparsejax.tangent.output_axes import Grouping

# Entries of an array of Gram matrices that a block of vertices may take.
BLOCK_ENTRIES = 1 << 22
# Derivatives are multiplied out in blocks that stay in a core's cache, but in so many rows that the
# sum over blocks, which is read and written once a block, costs little beside the products.
CACHED_ENTRIES, FEWEST_ROWS = 1 << 17, 512
# One multiplication outside a matrix product costs as much as so many inside one.
OUTSIDE = 4


@runtime_checkable
class Layered(Protocol):
    """What has its Jacobian in factors, as a `Lift` does."""

    def edge_factors(self, params: PyTree, x: PyTree) -> dict:
        """By edge: `signals (c, v, o, n)`, `activations (u, i, n)`, `predecessors`, `present`."""


def layers_of(f: object) -> Layered | None:
    """The object with factors whose `apply` is `f`; None for any other function."""
    owner = getattr(f, "__self__", None)
    named = getattr(getattr(f, "__func__", None), "__name__", None) == "apply"
    return owner if named and isinstance(owner, Layered) else None


class Factors(NamedTuple):
    """The factors of one edge, outputs in groups."""

    signals: Float[Array, "v o n d t f"]
    activations: Float[Array, "u i n"]
    predecessors: Int[Array, "k v"] | None
    present: Bool[Array, "k v"] | None


def factors_of(layers: Layered, params: PyTree, x: PyTree, groups: Grouping) -> dict[str, Factors]:
    """The factors of every edge at the samples of `x`."""
    return {
        name: Factors(
            groups.grouped(jnp.moveaxis(held.signals, 0, -1)),
            held.activations,
            held.predecessors,
            held.present,
        )
        for name, held in layers.edge_factors(params, x).items()
    }


class Multiplications(NamedTuple):
    """What the forms of one edge's kernel cost, as multiplications inside matrix products."""

    parted: float
    rows: float
    grams: float

    @property
    def form(self) -> str:
        """The cheapest."""
        return min(zip(self, self._fields, strict=True))[1]


def multiplications(left: Factors, right: Factors | None, pairs: bool) -> Multiplications:
    """The cost of the three forms; infinite where the wiring does not allow one."""
    v, o, n, d, t, f = left.signals.shape
    _, i, m = (left if right is None else right).activations.shape
    u = left.activations.shape[0]
    entries = (n * m / (1 if right is not None else 2)) if pairs else n
    if left.predecessors is None:
        parted = entries * (v * o * d * t * f * f + u * i + d * f * f)
        return Multiplications(parted, math.inf, math.inf)
    k = left.predecessors.shape[0]
    rows = entries * v * o * k * i * d * t * f * f
    # Grams and their products are made entry by entry, for all pairs of samples.
    whole = entries * (2 if pairs and right is None else 1)
    grams = OUTSIDE * whole * v * (k * i + o * d * t * f * f + d * f * f)
    return Multiplications(math.inf, rows, grams)


def edge_kernel(
    left: Factors,
    right: Factors | None,
    *,
    pairs: bool = True,
    weights: int | None = None,
    form: str | None = None,
) -> Float[Array, "n m d f g"] | Float[Array, "n d f g"]:
    """One edge's part of the kernel; see `gram` for `right=None` and `pairs`.

    `weights` bounds how many weights are multiplied out at a time; `form`, a field of
    `Multiplications`, is the cheapest unless given.
    """
    form = form or multiplications(left, right, pairs).form
    if form == "parted" or left.predecessors is None:
        # The factors of a kernel where every target reads every source.
        signals = gram(_first(left), None if right is None else _first(right), pairs=pairs)
        y = left.activations.reshape(-1, *left.activations.shape[2:])
        y2 = None if right is None else right.activations.reshape(-1, right.activations.shape[2])
        values = gram(_scalar(y), None if y2 is None else _scalar(y2), pairs=pairs)
        return signals * values
    v, o, n, d, t, f = left.signals.shape
    k, i = left.predecessors.shape[0], left.activations.shape[1]
    m = (left if right is None else right).signals.shape[2]
    if k == 0:
        return jnp.zeros((n, m, d, f, f) if pairs else (n, d, f, f), left.signals.dtype)
    of_vertices = _rows_kernel if form == "rows" else _grams_kernel
    samples, rows = max(n, m), k * i * o
    if form == "rows":
        size = max(FEWEST_ROWS, CACHED_ENTRIES // (samples * d * t * f)) // rows
    else:
        size = BLOCK_ENTRIES // (samples * (samples if pairs else 1) * max(1, o * d * t * f))
    size = max(1, size)
    if weights is not None:
        size = min(size, max(1, weights // rows))

    def of_block(block):
        signals, signals2, predecessors, present = block
        one = Factors(signals, left.activations, predecessors, present)
        other = None
        if right is not None:
            other = Factors(signals2, right.activations, predecessors, present)
        return of_vertices(one, other, pairs)

    signals2 = None if right is None else right.signals
    if size >= v:
        return of_block((left.signals, signals2, left.predecessors, left.present))
    count = -(-v // size)

    def targets_first(array):  # zero signals fill up the last block
        array = jnp.pad(array, ((0, count * size - v), *((0, 0),) * (array.ndim - 1)))
        return array.reshape(count, size, *array.shape[1:])

    def slots(array):
        return jax.tree.map(lambda a: jnp.swapaxes(targets_first(a.T), 1, 2), array)

    whole = (
        targets_first(left.signals),
        jax.tree.map(targets_first, signals2),
        slots(left.predecessors),
        slots(left.present),
    )
    shape = jax.eval_shape(of_block, jax.tree.map(lambda a: a[0], whole))
    total, _ = jax.lax.scan(
        lambda total, block: (total + of_block(block), None),
        jnp.zeros(shape.shape, shape.dtype),
        whole,
    )
    return total


def _first(factors: Factors) -> Float[Array, "r n d t f"]:
    return factors.signals.reshape(-1, *factors.signals.shape[2:])


def _scalar(values: Float[Array, "r n"]) -> Float[Array, "r n 1 1 1"]:
    return values[:, :, None, None, None]


def _seen(factors: Factors) -> Float[Array, "k v i n"]:
    """The activation that every slot reads; zero where there is no edge."""
    seen = factors.activations[factors.predecessors]
    if factors.present is None:
        return seen
    return jnp.where(factors.present[:, :, None, None], seen, 0)


def _rows_kernel(left: Factors, right: Factors | None, pairs: bool) -> Array:
    """Derivatives multiplied out, then one matrix product: where pairs of outputs are few."""

    def rows(factors):
        seen = _seen(factors)[:, :, :, None, :, None, None, None]
        product = seen * factors.signals[None, :, None]  # k v i o n d t f
        return product.reshape(-1, *product.shape[4:])

    return gram(rows(left), None if right is None else rows(right), pairs=pairs)


def _grams_kernel(left: Factors, right: Factors | None, pairs: bool) -> Array:
    """One Gram matrix of activations a vertex, shared by all pairs of outputs."""
    other = left if right is None else right
    m = "m" if pairs else "n"
    seen, seen2 = _seen(left), _seen(other)
    values = jnp.einsum(
        f"kvin,kvi{m}->vn{m}" if pairs else "kvin,kvin->vn", seen, seen2, precision="highest"
    )
    a, b = left.signals, other.signals
    if a.shape[-1] == 1:
        pair = "vnm" if pairs else "vn"
        signals = jnp.einsum(f"vondtf,vo{m}dtg->{pair}dfg", a, b, precision="highest")
        return jnp.sum(values[(..., *(None,) * 3)] * signals, axis=0)
    if not pairs:
        return jnp.einsum("vn,vondtf,vondtg->ndfg", values, a, b, precision="highest")
    weighted = values[:, None, :, :, None, None, None] * a[:, :, :, None]
    return jnp.einsum("vonmdtf,vomdtg->nmdfg", weighted, b, precision="highest")
