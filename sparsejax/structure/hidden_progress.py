"""Hidden progress: how far weights have come from where they started, input by input."""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, PyTree

from sparsejax.structure.fourier_gap import inside
from sparsejax.structure.input_weight_norms import Axes, input_rows, number_of_inputs


class WithStart(eqx.Module):
    """A function that remembers the parameters it started from; it computes what it did before."""

    function: Callable[[PyTree, Array], Array]
    start: PyTree

    def __call__(self, params: PyTree, x: Float[Array, "n d"]) -> Float[Array, "n c"]:
        """The function itself."""
        return self.function(params, x)


@dataclasses.dataclass(frozen=True)
class _KeepsStart:
    build: Callable[[Any], tuple[Callable, PyTree]]

    def __call__(self, key: Key[Array, ""]) -> tuple[WithStart, PyTree]:
        f, params = self.build(key)
        return WithStart(f, params), params


def with_start(build: Callable[[Any], tuple[Callable, PyTree]]) -> Callable:
    """A `build(key) -> (f, params)` whose functions remember where they start.

    Those of equal builds are equal, so that programs are compiled once.

    Example:
        >>> build = with_start(lambda key: ((lambda w, x: x * w), jnp.ones(())))
        >>> f, w = build(jax.random.key(0))
        >>> float(f.function(w, jnp.asarray(2.0))), float(f.start)
        (2.0, 1.0)
    """
    return _KeepsStart(build)


class HiddenProgress(eqx.Module):
    """How far the weights that read the relevant inputs have moved, and the other ones; a probe.

    `probe(f, params)`: (2, 2): in rows the `support` (coordinates from 1) and the rest; in columns
    the largest `|w_t - w_0|` of a single weight, and the root mean square. `axes`: each leaf that
    reads inputs and its axis, or axes, that number all of them. `f` is one of `with_start`.

    While the loss is flat, on a parity the first row leaves the second one behind. The largest of
    many random numbers grows with their number, so that what compares the rows is the second
    column.

    Raises:
        ValueError: no coordinates in the support or no others, leaves that there are not.

    Source: Barak et al., NeurIPS 2022 (arXiv 2207.08799), section 5.

    Example:
        >>> start = {"w": jnp.zeros((3, 2))}
        >>> f = WithStart(lambda p, x: x @ p["w"], start)
        >>> moved = {"w": jnp.array([[3.0, 4.0], [0.0, 0.0], [1.0, 1.0]])}
        >>> HiddenProgress({"w": 0}, (1,))(f, moved).round(3).tolist()
        [[4.0, 3.536], [1.0, 0.707]]
    """

    axes: tuple[tuple[str, int | tuple[int, ...]], ...] = eqx.field(static=True)
    support: tuple[int, ...] = eqx.field(static=True)

    def __init__(self, axes: Axes, support: Sequence[int]) -> None:
        self.axes, self.support = tuple(axes.items()), tuple(support)

    def __call__(self, f: WithStart, params: PyTree) -> Float[Array, "2 2"]:
        """Largest and root mean square, of the support and of the rest."""
        rows = input_rows(jax.tree.map(jnp.subtract, params, f.start), dict(self.axes))
        relevant = inside(self.support, number_of_inputs(rows))
        by_input = jnp.concatenate(list(rows.values()), axis=1)

        def summed_up(part: Array) -> Array:
            return jnp.stack([jnp.max(jnp.abs(part)), jnp.sqrt(jnp.mean(jnp.square(part)))])

        return jnp.stack([summed_up(by_input[relevant]), summed_up(by_input[~relevant])])
