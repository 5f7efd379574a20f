"""Which of two forms a product over a sparse wiring takes, and the choice between them."""

from collections.abc import Mapping
from typing import Literal

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from sparsejax.lifts.sparse_product import sparse_product
from sparsejax.lifts.wiring import SparseWiring

Form = Literal["slots", "dense"]
Forms = str | Mapping[str, str]

# Slots over sources from which the matrix product is taken: `python -m benchmarks.product_forms`.
# Below, it won few cells and by little; at 0.6 it wins half of those with 256 vertices, by a
# quarter at most, and none with 2048.
DENSE_FROM = 0.6


def product_form(wiring: SparseWiring) -> Form:
    """`"slots"`, or `"dense"` where targets have slots for at least 60% of the sources.

    ```python
    >>> import jax
    >>> from sparsejax.lifts.sampling import sample_regular
    >>> [product_form(sample_regular(jax.random.key(0), 16, 8, k)) for k in (2, 10)]
    ['slots', 'dense']

    ```
    """
    return "dense" if wiring.slots >= DENSE_FROM * wiring.n_sources else "slots"


def edge_form(forms: Forms | None, edge: str) -> Form | None:
    """The form asked for one edge; `None` leaves the choice to `product_form`.

    Raises `ValueError` on a name that is no form.
    """
    form = forms if forms is None or isinstance(forms, str) else forms.get(edge)
    if form not in (None, "slots", "dense"):
        raise ValueError(f"edge {edge!r}: the form is 'slots' or 'dense', not {form!r}")
    return None if form is None else "slots" if form == "slots" else "dense"


def densified(weights: Float[Array, "k n_b"], wiring: SparseWiring) -> Float[Array, "n_b n_a"]:
    """The matrix of the product, zero where there is no edge.

    ```python
    >>> import jax.numpy as jnp
    >>> wiring = SparseWiring.from_predecessors(jnp.array([[0, 1], [2, 2]]), n_sources=3)
    >>> densified(jnp.array([[1.0, 2.0], [3.0, 4.0]]), wiring).tolist()
    [[1.0, 0.0, 3.0], [0.0, 2.0, 4.0]]

    ```
    """
    targets = jnp.arange(wiring.n_targets, dtype=jnp.int32)[None, :]
    sources = wiring.predecessors
    if wiring.present is not None:
        # Out of range and so dropped, whatever the weight of an absent slot.
        sources = jnp.where(wiring.present, sources, wiring.n_sources)
    matrix = jnp.zeros((wiring.n_targets, wiring.n_sources), weights.dtype)
    matrix = matrix.at[targets, sources].add(weights, mode="drop")
    if wiring.overflow is None:
        return matrix
    return matrix * jnp.where(wiring.overflow, jnp.nan, 1.0).astype(matrix.dtype)


def wired_product(
    weights: Float[Array, "k n_b"],
    y: Float[Array, "n_a batch"],
    wiring: SparseWiring,
    form: Form | None = None,
) -> Float[Array, "n_b batch"]:
    """`sparse_product`, or the same number as a product with the `densified` matrix.

    The second reads all `n_a n_b` entries whatever the number of edges, with fast arithmetic, and
    its derivatives are JAX's own. `form=None` takes `product_form(wiring)`.
    """
    if (form or product_form(wiring)) == "slots":
        return sparse_product(weights, y, wiring)
    return jnp.dot(densified(weights, wiring), y, precision=jax.lax.Precision.HIGHEST)
