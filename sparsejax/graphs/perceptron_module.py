"""The base graph of a network before any width: vertices, edges, maps and activations."""

import dataclasses
import functools
import graphlib
from collections.abc import Callable
from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array

from sparsejax.graphs.activations import Pointwise, as_activation
from sparsejax.graphs.edge_maps import EdgeMap, Scale, Shape
from sparsejax.graphs.errors import (
    CycleError,
    DuplicateNameError,
    InputWithInEdgesError,
    MissingActivationError,
    ModuleError,
    NotLinearError,
    ShapeMismatchError,
    UnknownVertexError,
    UnreachableOutputError,
)

if TYPE_CHECKING:
    from matplotlib.figure import Figure


@dataclasses.dataclass(frozen=True)
class Vertex:
    """A base vertex: a name, the shape of its activation space `Y_v`, and its activation.

    `clamped` fixes the number of lifted vertices above it, whatever the sizes of the lift: inputs
    and outputs are clamped to 1 unless told otherwise, all others are duplicated at will. An input
    clamped to `d` is one vertex a coordinate: shorthand for `d` base vertices that share the
    edges' maps. `constant` marks an input whose value is 1 (the source of biases). An input with a
    `coordinate` reads that entry, counted from 0, of the first axis of a sample: inputs that share
    one data array, scalars that are its columns or the steps of a sequence.

    Raises:
        ValueError: an axis or `clamped` is not positive, or a coordinate is negative.

    Example:
        >>> Vertex("h", activation="tanh").activation
        Pointwise(name='tanh')
    """

    name: str
    shape: Shape = ()
    activation: "str | Callable[..., Array] | None" = None
    clamped: int | None = None
    constant: bool = False
    coordinate: int | None = None

    def __post_init__(self) -> None:
        if any(axis < 1 for axis in self.shape):
            raise ValueError(f"vertex {self.name!r}: axes must be positive, got {self.shape}")
        if self.clamped is not None and self.clamped < 1:
            raise ValueError(f"vertex {self.name!r}: clamped must be positive, got {self.clamped}")
        if self.coordinate is not None and self.coordinate < 0:
            raise ValueError(
                f"vertex {self.name!r}: coordinates are counted from 0, got {self.coordinate}"
            )
        if self.activation is not None:
            object.__setattr__(self, "activation", as_activation(self.activation))


@dataclasses.dataclass(frozen=True)
class Edge:
    """A base edge `source -> target` with its map; the name defaults to `"source->target"`.

    Several edges may join the same two vertices if their names differ (queries, keys and values).

    Example:
        >>> Edge("x", "h").name
        'x->h'
    """

    source: str
    target: str
    map: EdgeMap = dataclasses.field(default_factory=Scale)
    name: str = ""

    def __post_init__(self) -> None:
        if not self.name:
            object.__setattr__(self, "name", f"{self.source}->{self.target}")


@dataclasses.dataclass(frozen=True)
class PerceptronModule:
    """A finite acyclic base graph `B` whose lifts are networks (Robin et al. 2024, section 2).

    Hashable and static. Validated when built. The activation of a vertex takes one argument per
    in-edge, in the order in which `edges` lists them.

    Raises:
        DuplicateNameError, UnknownVertexError, CycleError, InputWithInEdgesError,
        UnreachableOutputError, ShapeMismatchError, MissingActivationError, NotLinearError: each
        names the vertex or the edge at fault.

    Example:
        >>> module = PerceptronModule(
        ...     vertices=(
        ...         Vertex("x"),
        ...         Vertex("h", activation="tanh"),
        ...         Vertex("y", activation="identity"),
        ...     ),
        ...     edges=(Edge("x", "h"), Edge("h", "y")),
        ...     inputs=("x",),
        ...     outputs=("y",),
        ... )
        >>> module.order
        ('x', 'h', 'y')
    """

    vertices: tuple[Vertex, ...]
    edges: tuple[Edge, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]

    def __post_init__(self) -> None:
        for field in ("vertices", "edges", "inputs", "outputs"):
            object.__setattr__(self, field, tuple(getattr(self, field)))
        self._check_names()
        self._check_order()
        self._check_reachable()
        self._check_shapes()

    @functools.cached_property
    def _by_name(self) -> dict[str, Vertex]:
        return {vertex.name: vertex for vertex in self.vertices}

    @functools.cached_property
    def order(self) -> tuple[str, ...]:
        """The vertex names in a topological order, sources first."""
        graph: dict[str, list[str]] = {vertex.name: [] for vertex in self.vertices}
        for edge in self.edges:
            graph[edge.target].append(edge.source)
        return tuple(graphlib.TopologicalSorter(graph).static_order())

    def vertex(self, name: str) -> Vertex:
        """The vertex of that name; raises UnknownVertexError."""
        if name not in self._by_name:
            raise UnknownVertexError(
                f"no vertex {name!r}; the module has {', '.join(self._by_name)}"
            )
        return self._by_name[name]

    def edge(self, name: str) -> Edge:
        """The edge of that name; raises ModuleError."""
        for edge in self.edges:
            if edge.name == name:
                return edge
        raise ModuleError(
            f"no edge {name!r}; the module has {', '.join(e.name for e in self.edges)}"
        )

    @property
    def edge_targets(self) -> dict[str, str]:
        """The vertex that every edge leads into, by edge name: the layer of its weights."""
        return {edge.name: edge.target for edge in self.edges}

    def in_edges(self, name: str) -> tuple[Edge, ...]:
        """The edges into a vertex, in the order of its activation's arguments."""
        return tuple(edge for edge in self.edges if edge.target == name)

    def out_edges(self, name: str) -> tuple[Edge, ...]:
        """The edges out of a vertex."""
        return tuple(edge for edge in self.edges if edge.source == name)

    def clamped(self, name: str) -> int | None:
        """How many lifted vertices lie above it in every lift; None where sizes decide."""
        vertex = self.vertex(name)
        if vertex.clamped is None and (name in self.inputs or name in self.outputs):
            return 1
        return vertex.clamped

    @property
    def duplicated(self) -> tuple[str, ...]:
        """The vertices whose number of copies the sizes of a lift decide, in topological order."""
        return tuple(name for name in self.order if self.clamped(name) is None)

    @property
    def fed_inputs(self) -> tuple[str, ...]:
        """The inputs that data feeds: all but the constant ones."""
        return tuple(name for name in self.inputs if not self.vertex(name).constant)

    @property
    def coordinates(self) -> dict[str, int]:
        """Which entry of a sample each fed input reads; empty where an input is a whole array."""
        read = {name: self.vertex(name).coordinate for name in self.fed_inputs}
        return {name: entry for name, entry in read.items() if entry is not None}

    def weight_shape(self, edge: Edge) -> Shape:
        """Shape of one weight of a base edge."""
        return edge.map.weight_shape(self.vertex(edge.source).shape)

    def preactivation_shape(self, edge: Edge) -> Shape:
        """Shape of `Z_e`."""
        return edge.map.output_shape(self.vertex(edge.source).shape)

    def draw(self) -> "Figure":
        """A picture: inputs left, outputs right; vertices by kind, edges with their maps.

        A `matplotlib.figure.Figure` outside of pyplot; `figure.savefig("graph.pdf")` writes it.

        Example:
            >>> from sparsejax.graphs import mlp
            >>> figure = mlp(inputs=3, hidden=1, outputs=1).draw()
        """
        from sparsejax.graphs.drawing import draw_module  # matplotlib, networkx: only when used

        return draw_module(self)

    def _check_names(self) -> None:
        for kind, names in (
            ("vertices", [vertex.name for vertex in self.vertices]),
            ("edges", [edge.name for edge in self.edges]),
            ("inputs", self.inputs),
            ("outputs", self.outputs),
        ):
            twice = sorted({name for name in names if names.count(name) > 1})
            if twice:
                raise DuplicateNameError(f"two {kind} are named {twice[0]!r}")
        for edge in self.edges:
            for end in (edge.source, edge.target):
                if end not in self._by_name:
                    raise UnknownVertexError(f"edge {edge.name!r}: no vertex {end!r}")
        for role, names in (("input", self.inputs), ("output", self.outputs)):
            if not names:
                raise ModuleError(f"a module needs at least one {role}")
            for name in names:
                if name not in self._by_name:
                    raise UnknownVertexError(f"{role} {name!r} is not among the vertices")

        self._check_coordinates()

    def _check_coordinates(self) -> None:
        fed = self.fed_inputs
        for vertex in self.vertices:
            if vertex.coordinate is not None and vertex.name not in fed:
                raise ModuleError(
                    f"vertex {vertex.name!r} has a coordinate but is not an input that data feeds"
                )
        whole = [name for name in fed if name not in self.coordinates]
        if whole and self.coordinates:
            raise ModuleError(
                f"input {whole[0]!r} has no coordinate, unlike {next(iter(self.coordinates))!r}; "
                "all inputs that data feeds have one, or none"
            )

    def _check_order(self) -> None:
        try:
            order = self.order
        except graphlib.CycleError as error:
            raise CycleError(f"the edges close a cycle: {' -> '.join(error.args[1])}") from None
        for name in order:
            vertex, into = self.vertex(name), self.in_edges(name)
            if name in self.inputs:
                if into:
                    raise InputWithInEdgesError(
                        f"input {name!r} has the in-edge {into[0].name!r}; its value is given"
                    )
            elif vertex.constant:
                raise ModuleError(f"vertex {name!r} is constant but not among the inputs")
            elif vertex.activation is None:
                raise MissingActivationError(f"vertex {name!r} needs an activation")
            elif not into:
                raise MissingActivationError(f"vertex {name!r} is no input and has no in-edges")

    def _check_reachable(self) -> None:
        reached = set(self.fed_inputs)
        for name in self.order:
            if any(edge.source in reached for edge in self.in_edges(name)):
                reached.add(name)
        for name in self.outputs:
            if name not in reached:
                raise UnreachableOutputError(f"no path from an input reaches output {name!r}")

    def _check_shapes(self) -> None:
        for edge in self.edges:
            _check_edge(edge, self.vertex(edge.source).shape)
        for name in self.order:
            if name not in self.inputs:
                arguments = {e.name: self.preactivation_shape(e) for e in self.in_edges(name)}
                _check_activation(self.vertex(name), arguments)


def _check_edge(edge: Edge, source_shape: Shape) -> None:
    """An edge map accepts its source, gives the shape that it says, and is linear in the weight."""
    try:
        declared = edge.map.output_shape(source_shape)
        weight_shape = edge.map.weight_shape(source_shape)
        weight = jax.ShapeDtypeStruct(weight_shape, jnp.result_type(float))
        activation = jax.ShapeDtypeStruct(source_shape, jnp.result_type(float))
        out = jax.eval_shape(edge.map, weight, activation)
    except (ValueError, TypeError) as error:
        raise ShapeMismatchError(
            f"edge {edge.name!r}: its map does not accept a source of shape {source_shape}: {error}"
        ) from error
    if out.shape != declared:
        raise ShapeMismatchError(
            f"edge {edge.name!r}: its map gives shape {out.shape} but declares {declared}"
        )
    if type(edge.map).__module__.startswith("sparsejax.graphs."):
        return  # linear by construction; only a user's own map is put to the test
    try:
        jax.linear_transpose(lambda w: edge.map(w, jnp.ones(source_shape)), weight)(
            jnp.ones(declared)
        )
    except Exception as error:
        raise NotLinearError(f"edge {edge.name!r}: its map is not linear in the weight") from error
    if not _is_linear(edge.map, weight_shape, source_shape):
        raise NotLinearError(
            f"edge {edge.name!r}: its map is not linear in the weight: M(0, y) is not zero, or "
            "M(2 v - 3 w, y) is not 2 M(v, y) - 3 M(w, y)"
        )


def _is_linear(edge_map: EdgeMap, weight_shape: Shape, source_shape: Shape) -> bool:
    """Linearity on random numbers, which transposition does not see: `w + 1` has a transpose.

    Entries that are not finite (a logarithm of a negative activation) prove nothing.
    """
    rng = np.random.default_rng(0)
    dtype = jnp.result_type(float)
    # Concrete numbers even where the module is built inside a trace.
    with jax.ensure_compile_time_eval():
        v, w = (jnp.asarray(rng.normal(size=weight_shape), dtype) for _ in range(2))
        for numbers in (rng.normal(size=source_shape), rng.uniform(0.5, 0.9, size=source_shape)):
            y = jnp.asarray(numbers, dtype)
            mixed, of_v, of_w, of_zero = (
                np.asarray(edge_map(weight, y)) for weight in (2 * v - 3 * w, v, w, 0 * w)
            )
            known = np.isfinite(mixed) & np.isfinite(of_v) & np.isfinite(of_w)
            scale = np.max(np.abs(np.where(known, [mixed, of_v, of_w], 0)), initial=0)
            tolerance = 1e3 * float(jnp.finfo(dtype).eps) * scale
            defect = np.where(known, mixed - (2 * of_v - 3 * of_w), 0)
            offset = np.where(known, of_zero, 0)
            if not max(np.max(np.abs(defect)), np.max(np.abs(offset))) <= tolerance:
                return False
    return True


def _check_activation(vertex: Vertex, preactivations: dict[str, Shape]) -> None:
    """The activation takes one argument per in-edge and lands in the vertex's space."""
    assert callable(vertex.activation)
    argument_shapes = list(preactivations.values())
    if isinstance(vertex.activation, Pointwise):
        # A sum would broadcast over the fibre and batch axes that lifts add: to wrong numbers.
        for name, shape in preactivations.items():
            if shape != vertex.shape:
                raise ShapeMismatchError(
                    f"edge {name!r}: its map gives shape {shape}, vertex {vertex.name!r} has "
                    f"{vertex.shape}"
                )
    arguments = [jax.ShapeDtypeStruct(s, jnp.result_type(float)) for s in argument_shapes]
    where = f"vertex {vertex.name!r} with pre-activations of shapes {argument_shapes}"
    try:
        out = jax.eval_shape(vertex.activation, *arguments)
    except (ValueError, TypeError) as error:
        raise ShapeMismatchError(f"{where}: its activation fails: {error}") from error
    if out.shape != vertex.shape:
        raise ShapeMismatchError(
            f"{where}: its activation gives shape {out.shape}, the vertex has {vertex.shape}"
        )
