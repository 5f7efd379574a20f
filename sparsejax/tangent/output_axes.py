"""Which entries of a kernel between outputs are kept: traced, diagonal or all pairs."""

import dataclasses
import math
from typing import NamedTuple

import jax.numpy as jnp
from jaxtyping import Array, Float


@dataclasses.dataclass(frozen=True)
class OutputAxes:
    """Axes of `f(params, x)` that a kernel sums over, or keeps only the diagonal of.

    Axes count as in `f(params, x)`, whose axis 0 is that of the samples. All others are kept in
    pairs: for outputs `(n, h, c)`, `OutputAxes(traced=(1,))` gives `(n, m, c, c)`,
    `OutputAxes(diagonal=(1,))` gives `(n, m, h, c, c)`, `OutputAxes()` gives `(n, m, h, h, c, c)`.

    Example:
        >>> import jax.numpy as jnp
        >>> from sparsejax.tangent import ntk
        >>> f = lambda w, x: jnp.stack([x @ w, 2 * x @ w], axis=1)
        >>> x = jnp.array([[1.0, 2.0]])
        >>> ntk(f, jnp.ones((2, 3)), x, outputs=OutputAxes(traced=(2,)))[0, 0].tolist()
        [[15.0, 30.0], [30.0, 60.0]]
    """

    traced: tuple[int, ...] = ()
    diagonal: tuple[int, ...] = ()


Outputs = str | OutputAxes


class Grouping(NamedTuple):
    """The axes of one sample's outputs, in three groups: diagonal, traced, kept."""

    shape: tuple[int, ...]
    diagonal: tuple[int, ...]
    traced: tuple[int, ...]
    kept: tuple[int, ...]
    raveled: bool

    @property
    def sizes(self) -> tuple[int, int, int]:
        """Number of entries in each group."""
        d, t, f = (
            math.prod(self.shape[axis] for axis in group)
            for group in (self.diagonal, self.traced, self.kept)
        )
        return d, t, f

    def grouped(self, values: Float[Array, "... c"]) -> Float[Array, "... d t f"]:
        """Raveled outputs on the last axis, as one axis a group."""
        lead = values.shape[:-1]
        values = values.reshape(*lead, *self.shape)
        order = (*self.diagonal, *self.traced, *self.kept)
        values = values.transpose(*range(len(lead)), *(len(lead) + axis for axis in order))
        return values.reshape(*lead, *self.sizes)

    def arranged(self, kernel: Float[Array, "... d f f"]) -> Float[Array, "..."]:
        """The kernel with one axis, or one pair of axes, an output axis that is not traced."""
        lead = kernel.shape[:-3]
        if self.raveled:
            d, _, f = self.sizes
            kept = (d,) * bool(self.diagonal) + (f, f) * (not self.diagonal and not self.traced)
            return kernel.reshape(*lead, *kept)
        sizes = [self.shape[axis] for axis in (*self.diagonal, *self.kept, *self.kept)]
        kernel = kernel.reshape(*lead, *sizes)
        order, first = [], len(self.diagonal)
        for axis in range(len(self.shape)):
            if axis in self.diagonal:
                order.append(self.diagonal.index(axis))
            elif axis in self.kept:
                place = first + self.kept.index(axis)
                order += [place, place + len(self.kept)]
        return kernel.transpose(*range(len(lead)), *(len(lead) + place for place in order))


def grouping(outputs: Outputs, shape: tuple[int, ...]) -> Grouping:
    """The groups for outputs of `shape` (one sample, without its axis).

    Raises:
        ValueError: an axis that the outputs lack, or one that is named twice.
    """
    if not isinstance(outputs, OutputAxes):
        # All output axes as one, so that their number does not show in the result.
        groups = {"diagonal": ((0,), (), ()), "traced": ((), (0,), ()), "full": ((), (), (0,))}
        return Grouping((math.prod(shape),), *groups[outputs], raveled=True)
    rank = len(shape) + 1
    named = (*outputs.traced, *outputs.diagonal)
    counted = [axis + rank if axis < 0 else axis for axis in named]
    wrong = [a for a, axis in zip(named, counted, strict=True) if not 1 <= axis < rank]
    if wrong:
        raise ValueError(
            f"f gives outputs of shape (n, {', '.join(map(str, shape))}), whose output axes are "
            f"1 to {rank - 1}; got axis {wrong[0]}"
        )
    if len(set(counted)) < len(counted):
        raise ValueError(f"an axis is traced or diagonal, and once; got {outputs}")
    axes = [axis - 1 for axis in counted]
    traced, diagonal = axes[: len(outputs.traced)], axes[len(outputs.traced) :]
    kept = [axis for axis in range(len(shape)) if axis not in axes]
    return Grouping(shape, tuple(sorted(diagonal)), tuple(traced), tuple(kept), raveled=False)


def checked_outputs(outputs: Outputs) -> Outputs:
    """`outputs` itself; raises ValueError where it is neither a known name nor `OutputAxes`."""
    if isinstance(outputs, OutputAxes) or outputs in ("traced", "full", "diagonal"):
        return outputs
    raise ValueError(
        f"outputs is 'traced', 'full', 'diagonal' or an OutputAxes(...), not {outputs!r}"
    )


def mirrored(kernel: Float[Array, "n n d f f"]) -> Float[Array, "n n d f f"]:
    """The blocks above the diagonal, and below it their transposes: symmetric to the last bit."""
    swapped = jnp.transpose(kernel, (1, 0, 2, 4, 3))
    n = jnp.arange(kernel.shape[0])
    row, column = n[:, None, None, None, None], n[None, :, None, None, None]
    own = jnp.where(row < column, kernel, swapped)
    return jnp.where(row == column, (kernel + swapped) / 2, own)
