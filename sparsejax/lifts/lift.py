"""A lift of a perceptron module: a wiring above every base edge, its parameters, its function."""

import math
from collections.abc import Mapping
from typing import TYPE_CHECKING

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from jaxtyping import Array, Bool, Float, Int, Key

from sparsejax.graphs import PerceptronModule, Pointwise
from sparsejax.lifts.chunked import in_chunks
from sparsejax.lifts.edge_product import edge_product
from sparsejax.lifts.initialisation import (
    Law,
    as_law,
    per_edge,
    true_in_degrees,
    weight_scale,
)
from sparsejax.lifts.product_form import Form, Forms, edge_form, product_form
from sparsejax.lifts.wiring import DenseWiring, SparseWiring

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from sparsejax.lifts.edge_factors import EdgeFactors

Wiring = DenseWiring | SparseWiring
Params = dict[str, Array]


class LiftError(ValueError):
    """A lift that is no graph homomorphism over its module; the message names edge and vertex."""


class Lift(eqx.Module):
    """A graph `G` with a homomorphism onto the base graph of `module` (Robin et al. 2024).

    The fibre above base vertex `v` has `sizes[v]` vertices; `wirings[e]` holds the lifted edges
    over base edge `e`. A lift is a pytree whose leaves are the wirings' index arrays: `vmap` over
    lifts of one module and one size is an ensemble of different wirings in one program. Build it
    with `random_sparse_lift`, `dense_lift` or `lift_from_edges`.

    Parameters are a dict from edge name to an array of shape `(slots, n_target, *weight)`.
    """

    wirings: dict[str, Wiring]
    module: PerceptronModule = eqx.field(static=True)
    fibre_sizes: tuple[tuple[str, int], ...] = eqx.field(static=True)
    expected_in_degrees: tuple[tuple[str, float], ...] = eqx.field(static=True)

    @property
    def sizes(self) -> dict[str, int]:
        """Number of lifted vertices above each base vertex."""
        return dict(self.fibre_sizes)

    @property
    def in_degrees(self) -> dict[str, float]:
        """Expected in-degree `lambda_e` over each base edge."""
        return dict(self.expected_in_degrees)

    def init(
        self,
        key: Key[Array, ""],
        *,
        gain: int | float | Mapping[str, int | float] = 1.0,
        bias_scale: int | float = 0.1,
        law: str | Law = "normal",
        scale_by: str = "expected_in_degree",
        zero_outputs: bool = False,
        dtype: jax.typing.DTypeLike | None = None,
    ) -> Params:
        """Independent random weights of standard deviation `gain / sqrt(lambda_e)` over edge `e`.

        `scale_by="in_degree"` divides by the root of the vertex's true in-degree over the edge
        instead of that of `lambda_e`, so that at gain one, from predecessors of variance one, every
        vertex that has any receives a pre-activation of variance one, whatever the wiring drew.
        For maps that contract an array the in-degree is multiplied by the number of entries that
        they contract. Biases have standard deviation `bias_scale`: large ones give wide lifts
        hidden values with a common mean, and losses whose sharpness grows with width. `gain` is a
        number or one per edge name; `law` is `"normal"`, `"uniform"` or a function
        `(key, shape, dtype) -> array` of variance one. `zero_outputs` starts every edge into an
        output vertex at zero.

        Raises:
            ValueError: an unknown law, scale or edge name, or a gain for a bias.

        Example:
            >>> import jax, sparsejax as sj
            >>> lift = sj.dense_lift(sj.graphs.mlp(inputs=3, hidden=1, outputs=1), sizes=4)
            >>> {name: w.shape for name, w in lift.init(jax.random.key(0)).items()}["h1->y"]
            (4, 1, 1)
        """
        sample, gains = as_law(law), per_edge(gain, self.module, 1.0, "gain")
        if scale_by not in ("expected_in_degree", "in_degree"):
            raise ValueError(f"scale_by is 'expected_in_degree' or 'in_degree', not {scale_by!r}")
        dtype = jnp.dtype(jnp.result_type(float) if dtype is None else dtype)
        params = {}
        for number, edge in enumerate(self.module.edges):
            wiring = self.wirings[edge.name]
            shape = (_slots(wiring), self.sizes[edge.target], *self.module.weight_shape(edge))
            if zero_outputs and edge.target in self.module.outputs:
                params[edge.name] = jnp.zeros(shape, dtype)
                continue
            expected = scale_by == "expected_in_degree"
            degrees = self.in_degrees[edge.name] if expected else true_in_degrees(wiring)
            scale = weight_scale(edge, self.module, degrees, gains[edge.name], bias_scale, dtype)
            draw = sample(jax.random.fold_in(key, number), shape, dtype)
            params[edge.name] = draw * scale.reshape(1, -1, *(1,) * (len(shape) - 2))
        return params

    def apply(
        self,
        params: Params,
        x: ArrayLike | Mapping[str, ArrayLike],
        *,
        forms: Forms | None = None,
        chunk: int | None = None,
    ) -> Float[Array, "batch ..."] | dict[str, Float[Array, "batch ..."]]:
        """The network's function: `(batch, *input)` to `(batch, *output)`.

        `x` is an array where one input is fed, or where all inputs read coordinates of one array;
        else, or if you like, a dict by input name. An input with several lifted vertices has them
        on axis 1. Outputs likewise.

        `forms` overrules the form of the products (see `forms`), for all edges or by edge name.
        `chunk` samples at a time bound the memory of the function and of its gradient, for which
        activations are then computed twice.

        Raises:
            ValueError: `x` does not fit the inputs, or `params` do not fit the wirings; an unknown
                form; `chunk` below one.

        Example:
            >>> import jax, jax.numpy as jnp, sparsejax as sj
            >>> lift = sj.dense_lift(sj.graphs.mlp(inputs=3, hidden=1, outputs=2), sizes=4)
            >>> lift.apply(lift.init(jax.random.key(0)), jnp.ones((5, 3))).shape
            (5, 2)
        """
        if chunk is not None:
            return in_chunks(lambda x: self.apply(params, x, forms=forms), x, chunk)
        outputs = self.activations(params, x, forms=forms)
        named = {name: outputs[name] for name in self.module.outputs}
        return named[self.module.outputs[0]] if len(named) == 1 else named

    def activations(
        self,
        params: Params,
        x: ArrayLike | Mapping[str, ArrayLike],
        *,
        forms: Forms | None = None,
    ) -> dict[str, Float[Array, "batch ..."]]:
        """The values `y_v` of all lifted vertices, by base vertex; samples first."""
        values, batch = self._fibres(params, x, forms)
        return {name: self._batch_first(name, value, batch) for name, value in values.items()}

    def forms(self) -> dict[str, Form]:
        """How `apply` multiplies over each base edge with a sparse wiring, unless told.

        `"slots"` gathers along the edges; `"dense"` is the product with a matrix that holds zeros
        where there is no edge, the faster one where edges are many (`product_form`).

        Example:
            >>> import jax, sparsejax as sj
            >>> module = sj.graphs.mlp(inputs=3, hidden=2, outputs=1)
            >>> lift = sj.random_sparse_lift(jax.random.key(0), module, 16, 2, law="regular")
            >>> lift.forms()
            {'h1->h2': 'slots'}
        """
        return {
            name: product_form(wiring)
            for name, wiring in self.wirings.items()
            if isinstance(wiring, SparseWiring)
        }

    def edge_factors(
        self, params: Params, x: ArrayLike | Mapping[str, ArrayLike]
    ) -> dict[str, "EdgeFactors"]:
        """The Jacobian in factors: backward signals and activations, by base edge.

        One forward pass of all samples, and one backward pass per output (`EdgeFactors`).

        Raises:
            ValueError: the lift has several outputs, or `x` or `params` do not fit.

        Example:
            >>> import jax, jax.numpy as jnp, sparsejax as sj
            >>> lift = sj.dense_lift(sj.graphs.mlp(inputs=3, hidden=2, outputs=2), sizes=4)
            >>> factors = lift.edge_factors(lift.init(jax.random.key(0)), jnp.ones((5, 3)))
            >>> factors["h1->h2"].signals.shape, factors["h1->h2"].activations.shape
            ((2, 4, 1, 5), (4, 1, 5))
        """
        from sparsejax.lifts.edge_factors import edge_factors

        return edge_factors(self, params, x)

    def _fibres(self, params, x, forms=None, taps=None) -> tuple[dict[str, Array], int]:
        """Activations batch-last, `(n, *shape, batch)`; constants keep a batch of one.

        `taps`, by edge name, are added to the pre-activations: what derivatives are taken in.
        """
        module = self.module
        for name in forms if isinstance(forms, Mapping) else ():
            module.edge(name)
        inputs, batch = self._inputs(x)
        self._check_params(params)
        dtype = jnp.result_type(*inputs.values(), *params.values())
        values: dict[str, Array] = {}
        for name in module.order:
            vertex = module.vertex(name)
            if vertex.constant:
                values[name] = jnp.ones((self.sizes[name], *vertex.shape, 1), dtype)
            elif name in module.inputs:
                values[name] = inputs[name]
            else:
                arguments = [
                    edge_product(
                        edge.map,
                        params[edge.name],
                        values[edge.source],
                        self.wirings[edge.name],
                        edge_form(forms, edge.name),
                    )
                    for edge in module.in_edges(name)
                ]
                if taps is not None:
                    edges = module.in_edges(name)
                    arguments = [z + taps[e.name] for z, e in zip(arguments, edges, strict=True)]
                values[name] = _activate(vertex.activation, arguments)
        return values, batch

    def _inputs(self, x) -> tuple[dict[str, Array], int]:
        fed = self.module.fed_inputs
        given = dict(x) if isinstance(x, Mapping) else self._by_name(x)
        if set(given) != set(fed):
            raise ValueError(f"the module feeds {', '.join(fed)}; got {', '.join(given)}")
        inputs = {}
        for name, value in given.items():
            shape, size = self.module.vertex(name).shape, self.sizes[name]
            expected = shape if self._single(name) else (size, *shape)
            value = jnp.asarray(value)
            if value.ndim == 0 or value.shape[1:] != expected:
                raise ValueError(
                    f"input {name!r}: expected shape (batch, {', '.join(map(str, expected))}), "
                    f"got {value.shape}"
                )
            batch_last = jnp.moveaxis(value, 0, -1)
            inputs[name] = batch_last.reshape(size, *shape, value.shape[0])
        batches = {value.shape[-1] for value in inputs.values()}
        if len(batches) > 1:
            raise ValueError(f"inputs disagree on the number of samples: {sorted(batches)}")
        return inputs, batches.pop()

    def _by_name(self, x) -> dict[str, ArrayLike]:
        coordinates = self.module.coordinates
        if not coordinates:
            return {self.module.fed_inputs[0]: x}
        x, least = jnp.asarray(x), 1 + max(coordinates.values())
        if x.ndim < 2 or x.shape[1] < least:
            raise ValueError(
                f"inputs read coordinates of a sample: expected x of shape (batch, {least} or "
                f"more, ...), got {x.shape}"
            )
        return {name: x[:, entry] for name, entry in coordinates.items()}

    def _check_params(self, params: Params) -> None:
        for edge in self.module.edges:
            if edge.name not in params:
                raise ValueError(f"params lack edge {edge.name!r}")
            wiring = self.wirings[edge.name]
            expected = (_slots(wiring), self.sizes[edge.target], *self.module.weight_shape(edge))
            if params[edge.name].shape != expected:
                raise ValueError(
                    f"params of edge {edge.name!r}: expected shape {expected}, "
                    f"got {params[edge.name].shape}"
                )

    def _single(self, name: str) -> bool:
        """Whether the fibre is one vertex by definition, so that its axis is left out."""
        return self.module.clamped(name) == 1

    def _batch_first(self, name: str, value: Array, batch: int) -> Array:
        value = jnp.moveaxis(jnp.broadcast_to(value, (*value.shape[:-1], batch)), -1, 0)
        return (
            value.reshape(batch, *self.module.vertex(name).shape) if self._single(name) else value
        )

    def edges(self, name: str) -> Int[np.ndarray, "edges 2"]:
        """The lifted edges `(source, target)` over one base edge, sorted by target and source."""
        wiring = self.wirings[self.module.edge(name).name]
        if isinstance(wiring, DenseWiring):
            sources, targets = np.mgrid[: wiring.n_sources, : wiring.n_targets]
            pairs = np.stack([sources.ravel(), targets.ravel()], axis=1)
        else:
            slots, targets = np.nonzero(_present(wiring))
            sources = np.asarray(wiring.predecessors)[slots, targets]
            pairs = np.stack([sources, targets], axis=1)
        return pairs[np.lexsort((pairs[:, 0], pairs[:, 1]))]

    def edge_count(self) -> int:
        """Number of lifted edges, all base edges together."""
        return sum(len(self.edges(edge.name)) for edge in self.module.edges)

    def parameter_count(self) -> int:
        """Number of trainable scalars: one weight space per lifted edge (padding not counted)."""
        return sum(
            len(self.edges(edge.name)) * math.prod(self.module.weight_shape(edge))
            for edge in self.module.edges
        )

    def draw(self, params: Params | None = None, *, most: int = 24) -> "Figure":
        """A picture: fibres as columns above the base graph's vertices.

        With `params` an edge is as dark as its weight is large, among those over its base edge.
        Fibres of more than `most` vertices are thinned, and the picture says so; what it shows are
        paths to the outputs. A `matplotlib.figure.Figure` outside of pyplot.

        Raises:
            ValueError: `most` is not positive, or the lift is a batch of lifts.

        Example:
            >>> import sparsejax as sj
            >>> lift = sj.dense_lift(sj.graphs.mlp(inputs=3, hidden=1, outputs=1), sizes=4)
            >>> figure = lift.draw()
        """
        from sparsejax.lifts.drawing import draw_lift  # matplotlib, networkx: only when used

        return draw_lift(self, params, most)

    def validate(self) -> None:
        """Check that the lift is a homomorphism onto its module: every edge has its right ends.

        Raises:
            LiftError: a fibre of the wrong size, an edge out of range or doubled, or a transposed
                wiring, or its inverse, that does not list the same edges.
        """
        for name in self.module.order:
            clamped, size = self.module.clamped(name), self.sizes.get(name)
            if size is None or size < 1 or (clamped is not None and size != clamped):
                raise LiftError(
                    f"vertex {name!r}: {size} lifted vertices, expected {clamped or '>= 1'}"
                )
        for edge in self.module.edges:
            if edge.name not in self.wirings:
                raise LiftError(f"edge {edge.name!r}: no wiring")
            _validate_wiring(
                edge.name,
                self.wirings[edge.name],
                self.sizes[edge.source],
                self.sizes[edge.target],
            )


def _activate(activation, arguments: list[Array]) -> Array:
    """Apply a vertex's activation to whole fibres of pre-activations."""
    if isinstance(activation, Pointwise):
        return activation(*arguments)
    # A constant has a batch of one, which any other batch, an empty one too, stretches.
    batch = next((a.shape[-1] for a in arguments if a.shape[-1] != 1), 1)
    arguments = [jnp.broadcast_to(a, (*a.shape[:-1], batch)) for a in arguments]
    return jax.vmap(jax.vmap(activation, in_axes=-1, out_axes=-1))(*arguments)


def _slots(wiring: Wiring) -> int:
    return wiring.n_sources if isinstance(wiring, DenseWiring) else wiring.predecessors.shape[0]


def _present(wiring: SparseWiring) -> Bool[np.ndarray, "k n_b"]:
    if wiring.present is None:
        return np.ones(wiring.predecessors.shape, bool)
    return np.asarray(wiring.present)


def _validate_wiring(name: str, wiring: Wiring, n_sources: int, n_targets: int) -> None:
    if isinstance(wiring, DenseWiring):
        if (wiring.n_sources, wiring.n_targets) != (n_sources, n_targets):
            raise LiftError(
                f"edge {name!r}: the wiring joins {wiring.n_sources} to {wiring.n_targets} "
                f"vertices, the fibres have {n_sources} and {n_targets}"
            )
        return
    predecessors, present = np.asarray(wiring.predecessors), _present(wiring)
    if wiring.n_sources != n_sources or predecessors.shape[1] != n_targets:
        raise LiftError(
            f"edge {name!r}: the wiring joins {wiring.n_sources} to {predecessors.shape[1]} "
            f"vertices, the fibres have {n_sources} and {n_targets}"
        )
    slots, targets = np.nonzero(present)
    sources = predecessors[slots, targets]
    padding = predecessors[~present]
    if ((padding < 0) | (padding >= n_sources)).any():
        raise LiftError(f"edge {name!r}: a padded slot points outside the {n_sources} sources")
    outside = (sources < 0) | (sources >= n_sources)
    if outside.any():
        at = int(np.argmax(outside))
        raise LiftError(
            f"edge {name!r}: vertex {targets[at]} has predecessor {sources[at]}, "
            f"outside the {n_sources} vertices of the source"
        )
    pairs = targets.astype(np.int64) * n_sources + sources
    unique, counts = np.unique(pairs, return_counts=True)
    if (counts > 1).any():
        twice = int(unique[counts > 1][0])
        raise LiftError(
            f"edge {name!r}: the edge {twice % n_sources} -> {twice // n_sources} occurs twice"
        )
    listed_slots = np.asarray(wiring.successors)
    listed = np.asarray(wiring.successors_present)
    _, by_source = np.nonzero(listed)
    flat = listed_slots[listed]
    reference = np.sort(slots * n_targets + targets)
    same = flat.shape == reference.shape and np.array_equal(np.sort(flat), reference)
    padded = (listed_slots >= predecessors.size) == ~listed
    if not same or not padded.all() or (predecessors.reshape(-1)[flat] != by_source).any():
        raise LiftError(f"edge {name!r}: the transposed wiring does not list the same edges")
    if wiring.positions is None:
        return
    positions = np.asarray(wiring.positions)
    there = positions[present]
    known = positions.shape == present.shape and ((there >= 0) & (there < listed.size)).all()
    if not known or not np.array_equal(
        listed_slots.reshape(-1)[there], np.flatnonzero(present.reshape(-1))
    ):
        raise LiftError(f"edge {name!r}: positions do not invert the transposed wiring")
    if (positions[~present] < listed.size).any():
        raise LiftError(f"edge {name!r}: positions of a padded slot point at an edge")
