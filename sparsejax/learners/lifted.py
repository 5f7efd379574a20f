"""Learners that are lifts of a base graph: matched to a target, sparse, or dense."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from sparsejax.graphs import (
    Bias,
    Dag,
    Dense,
    Edge,
    PerceptronModule,
    Pointwise,
    Vertex,
    from_target,
    mlp,
)
from sparsejax.graphs.from_target import HasDag
from sparsejax.learners.learner import InputLeaf, Learner
from sparsejax.lifts import Lift, LiftLaw, dense_lift, random_sparse_lift
from sparsejax.lifts.construction import InDegrees, Sizes, fibre_sizes
from sparsejax.lifts.initialisation import per_edge

Gain = float | int | Mapping[str, float | int]


class LiftFunction(eqx.Module):
    """`f(params, x)` of a lift on flat samples: `(n, dims)` to `(n, C)`, outputs side by side."""

    lift: Lift
    sample_shape: tuple[int, ...] = eqx.field(static=True)

    def __call__(self, params: PyTree, x: Float[Array, "n ..."]) -> Float[Array, "n c"]:
        """The network's function."""
        x = x.astype(jnp.result_type(*params.values())).reshape(x.shape[0], *self.sample_shape)
        outputs = self.lift.apply(params, x)
        parts = list(outputs.values()) if isinstance(outputs, dict) else [outputs]
        return jnp.concatenate([part.reshape(x.shape[0], -1) for part in parts], axis=1)


@dataclasses.dataclass(frozen=True)
class _Builder:
    module: PerceptronModule
    sizes: tuple[tuple[str, int], ...]
    in_degrees: tuple[tuple[str, float], ...] | None
    sample_shape: tuple[int, ...]
    gains: tuple[tuple[str, float], ...]
    bias_scale: float
    zero_outputs: bool

    def __call__(self, key):
        wiring_key, weight_key = jax.random.split(key)
        sizes = dict(self.sizes)
        if self.in_degrees is None:
            lift = dense_lift(self.module, sizes)
        else:
            lift = random_sparse_lift(
                wiring_key, self.module, sizes, dict(self.in_degrees), law="regular"
            )
        params = lift.init(
            weight_key,
            gain=dict(self.gains),
            bias_scale=self.bias_scale,
            zero_outputs=self.zero_outputs,
        )
        return LiftFunction(lift, self.sample_shape), params


def sparse_lift(
    module: PerceptronModule,
    sizes: Sizes,
    in_degree: InDegrees | None = None,
    *,
    dims: int | None = None,
    gain: Gain | None = None,
    bias_scale: float | int = 0.1,
    zero_outputs: bool = False,
    name: str = "",
) -> Learner:
    """A random sparse lift of `module`, or with `in_degree=None` the dense one.

    `sizes` and `in_degree` as in `random_sparse_lift`, by the regular law, whose shapes are the
    same for all keys. Samples are flat, `(n, dims)`: an input with a shape of its own is reshaped,
    and several outputs stand side by side. `dims`: only where inputs read coordinates, of which
    there may be more. `gain`: None gives every pre-activation variance one, from inputs of variance
    one (a mapping overrules it by edge); a number is that of all edges. `bias_scale` and
    `zero_outputs` are those of `Lift.init`.

    Raises:
        ValueError: as `random_sparse_lift`; several inputs that are whole arrays; `dims` that do
            not fit.

    Example:
        >>> import sparsejax as sj
        >>> module = sj.graphs.mlp(inputs=6, hidden=2, outputs=1, activation="relu")
        >>> sparse_lift(module, sizes=16, in_degree=4).parameters  # 16*6 + 16*4 + 16, 33 biases
        209
    """
    shape = _sample_shape(module, dims)
    chosen = fibre_sizes(module, sizes)
    sparse: dict[str, float] = {}
    if in_degree is not None:
        degrees = LiftLaw(module, sizes, in_degree, law="regular").in_degrees
        sparse = {n: d for n, d in degrees.items() if d < chosen[module.edge(n).source]}
    free = tuple((vertex, chosen[vertex]) for vertex in module.duplicated)
    asked = None if in_degree is None else _asked(module, chosen, sparse)
    builder = _Builder(
        module, free, asked, shape, _gains(module, gain), float(bias_scale), zero_outputs
    )
    weights = [math.prod(module.vertex(output).shape) for output in module.outputs]
    kind = "dense" if in_degree is None else "sparse"
    return Learner(
        name or f"{kind}-lift-{max((n for _, n in free), default=1)}",
        math.prod(shape),
        sum(weights),
        builder,
        _inputs(module, sparse),
        _layers(module),
    )


def matched_lift(
    target: Dag | HasDag,
    sizes: Sizes,
    in_degree: InDegrees | None = None,
    *,
    activation: str = "relu",
    outputs: int = 1,
    nodes: tuple[str, ...] = (),
    gain: Gain | None = None,
    bias_scale: float | int = 0.1,
    zero_outputs: bool = False,
) -> Learner:
    """The network that matches a target: a random sparse lift of the target's own DAG.

    `sizes` vertices above each node of the DAG (by vertex name `h_NODE`, or one number), each
    reading `in_degree` vertices above each of its node's parents, or all with None. Only inputs
    that the root depends on are read. `nodes`: inner nodes whose own vertices get a readout each,
    for supervision: further outputs behind the root's.

    Raises:
        ValueError: as `sparse_lift` and `graphs.from_target`; a node that the root does not depend
            on, is the root, or is named twice.

    Source: the matched architectures of Poggio, Mhaskar et al. 2017 (theory 4.1, 4.2).

    Example:
        >>> import sparsejax as sj
        >>> tree = sj.targets.product_tree(dims=8)
        >>> matched_lift(tree, sizes=10, in_degree=3).parameters  # 40 + 60 + 10, 31 biases
        141
        >>> matched_lift(tree, sizes=10, nodes=("left", "right")).outputs
        3
    """
    module = from_target(target, activation, outputs=outputs)
    dag = target if isinstance(target, Dag) else target.dag
    return sparse_lift(
        with_node_readouts(module, dag, nodes),
        sizes,
        in_degree,
        dims=len(dag.inputs),
        gain=gain,
        bias_scale=bias_scale,
        zero_outputs=zero_outputs,
        name=f"matched-lift-{widest(sizes)}",
    )


def dense_mlp(
    dims: int,
    width: int,
    hidden: int = 2,
    *,
    outputs: int = 1,
    activation: str = "relu",
    gain: Gain | None = None,
    bias_scale: float | int = 0.1,
    zero_outputs: bool = False,
) -> Learner:
    """A multilayer perceptron: the dense lift of `graphs.mlp`, `hidden` layers of `width`.

    Raises:
        ValueError: a number that is not positive, or an unknown activation.

    Example:
        >>> dense_mlp(dims=4, width=8, hidden=2).parameters
        121
    """
    return sparse_lift(
        mlp(dims, hidden, outputs, activation),
        width,
        gain=gain,
        bias_scale=bias_scale,
        zero_outputs=zero_outputs,
        name=f"mlp-{hidden}x{width}",
    )


def with_node_readouts(
    module: PerceptronModule, dag: Dag, nodes: tuple[str, ...]
) -> PerceptronModule:
    """The module of a DAG with an output `y_NODE` that reads the vertices of each inner node.

    Raises:
        ValueError: a node that the root does not depend on, is the root, or is named twice.
    """
    if not nodes:
        return module
    inner = [name for name in dag.ancestors if name != dag.root]
    check_inner_nodes(nodes, inner)
    vertices, edges = list(module.vertices), list(module.edges)
    for node in nodes:
        vertices.append(Vertex(f"y_{node}", shape=(1,), activation="identity"))
        edges.append(Edge(f"h_{node}", f"y_{node}", Dense(output=(1,))))
        if "one" in module.inputs:
            edges.append(Edge("one", f"y_{node}", Bias(shape=(1,))))
    outputs = (*module.outputs, *(f"y_{node}" for node in nodes))
    return PerceptronModule(tuple(vertices), tuple(edges), module.inputs, outputs)


def check_inner_nodes(nodes: tuple[str, ...], inner: Sequence[str]) -> None:
    """Refuse names that are not among the inner nodes, or come twice.

    Raises:
        ValueError: one is not, or does.
    """
    for node in nodes:
        if node not in inner:
            raise ValueError(f"nodes: {node!r} is no inner node; they are {', '.join(inner)}")
        if nodes.count(node) > 1:
            raise ValueError(f"nodes: {node!r} is named twice")


def widest(sizes: Sizes) -> int:
    """The largest of the sizes that were asked for: it names a learner."""
    return sizes if isinstance(sizes, int) else max(sizes.values())


def _sample_shape(module: PerceptronModule, dims: int | None) -> tuple[int, ...]:
    """The shape of one sample as the lift takes it."""
    if module.coordinates:
        least = 1 + max(module.coordinates.values())
        if dims is not None and dims < least:
            raise ValueError(f"dims: the module reads coordinate {least}, so {dims} are too few")
        return (least if dims is None else dims,)
    fed = module.fed_inputs
    if len(fed) != 1:
        raise ValueError(f"a learner takes one array; the module has inputs {', '.join(fed)}")
    shape = module.vertex(fed[0]).shape
    clamped = module.clamped(fed[0])
    if clamped is not None and clamped > 1:
        shape = (clamped, *shape)
    shape = shape or (1,)
    if dims is not None and dims != math.prod(shape):
        raise ValueError(f"dims: the module's input has {math.prod(shape)} entries, not {dims}")
    return shape


def _asked(module, sizes, sparse) -> tuple[tuple[str, float], ...]:
    """In-degrees by edge that say again what was asked, edges between free fibres included."""
    asked = dict(sparse)
    for edge in module.edges:
        if module.clamped(edge.source) is None and module.clamped(edge.target) is None:
            asked.setdefault(edge.name, float(sizes[edge.source]))
    return tuple(asked.items())


def _gains(module: PerceptronModule, gain: Gain | None) -> tuple[tuple[str, float], ...]:
    """Standard deviations that keep the variance of pre-activations at one, or those asked for."""
    weighted = [edge for edge in module.edges if not isinstance(edge.map, Bias)]
    per_edge(gain or {}, module, 1.0, "gain")  # which refuses names that are no edges
    if isinstance(gain, float | int):
        return tuple((edge.name, float(gain)) for edge in weighted)
    chosen: dict[str, Any] = {}
    for edge in weighted:
        activation = module.vertex(edge.source).activation
        # What relu leaves of the second moment of a symmetric law.
        moment = 0.5 if activation == Pointwise("relu") else 1.0
        terms = sum(other.target == edge.target for other in weighted)
        chosen[edge.name] = 1 / math.sqrt(moment * terms)
    return tuple((chosen | dict(gain or {})).items())


def _inputs(module: PerceptronModule, sparse: Mapping[str, float]) -> tuple[InputLeaf, ...]:
    found = []
    for edge in module.edges:
        if edge.source not in module.fed_inputs:
            continue
        vertex = module.vertex(edge.source)
        size = module.clamped(edge.source) or 1
        axes: tuple[int, ...] = ()
        read: tuple[int, ...] = ()
        if vertex.coordinate is not None:
            axes, read = (0,), (vertex.coordinate + 1,)
        elif size > 1 and vertex.shape == () and edge.name not in sparse:
            axes, read = (0,), tuple(range(1, size + 1))
        elif size == 1 and isinstance(edge.map, Dense):
            # Slots, targets, the map's outputs, and then the entries of the source.
            first = 2 + len(edge.map.output)
            axes = tuple(range(first, first + len(vertex.shape))) or (0,)
            read = tuple(range(1, math.prod(vertex.shape) + 1))
        found.append(InputLeaf(edge.name, axes, read))
    return tuple(found)


def _layers(module: PerceptronModule) -> tuple[tuple[str, ...], ...]:
    """Edges by the longest path that ends with them."""
    depth: dict[str, int] = {}
    for name in module.order:
        depth[name] = max((1 + depth[e.source] for e in module.in_edges(name)), default=0)
    deepest = max(depth.values())
    return tuple(
        tuple(e.name for e in module.edges if depth[e.target] == layer)
        for layer in range(1, deepest + 1)
    )
