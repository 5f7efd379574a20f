"""A lift as a target: its lifted vertices are the constituents of a composition."""

import dataclasses

import jax
import numpy as np
from jaxtyping import Array

from sparsejax.graphs import Bias, Dense, Pointwise, Scale, mlp
from sparsejax.lifts.lift import Lift, Params
from sparsejax.lifts.random_sparse_lift import random_sparse_lift
from sparsejax.lifts.weighted_edges import lifted_edges
from sparsejax.targets import CompositionalTarget, Node

# Inputs on which a random teacher's output is scaled.
_SCALED_ON = 4096


@dataclasses.dataclass(frozen=True)
class Neuron:
    """`sigma(w . u + b)`: what one lifted vertex computes; hashable.

    Example:
        >>> import jax.numpy as jnp
        >>> Neuron((1.0, -1.0), 0.5, Pointwise("relu"))(jnp.array([2.0]), jnp.array([1.0])).tolist()
        [1.5]
    """

    weights: tuple[float, ...]
    bias: float
    activation: Pointwise

    def __call__(self, *parents: Array) -> Array:
        """The vertex's value, entry by entry."""
        inner = sum(w * u for w, u in zip(self.weights, parents, strict=True))
        return self.activation(inner + self.bias)


def teacher(lift: Lift, params: Params, *, law: str = "uniform") -> CompositionalTarget:
    """The function of a lift as a compositional target: its graph is the target's DAG.

    Lifted vertex `i` (from 1) above `h` is the node `h_i`; the output is the root. So support,
    arity and DAG are those of the wiring, and node values are the activations. For lifts of scalar
    vertices with one scalar output, such as those of `mlp(..., input_as="coordinates")` and of
    `from_target`. Evaluated node by node: meant for teachers of some hundred vertices.

    Raises:
        ValueError: a vertex that is no scalar, an edge but of weights and biases, several outputs,
            a hidden vertex without parents, or an output that depends on no input.

    Source: Robin, Scaman, Lelarge 2024: lifts; as teachers: ours.

    Example:
        >>> import jax, sparsejax as sj
        >>> module = sj.graphs.mlp(3, 1, 1, input_as="coordinates")
        >>> lift = sj.random_sparse_lift(jax.random.key(0), module, 4, 2, law="regular")
        >>> target = teacher(lift, lift.init(jax.random.key(1)))
        >>> target.dims, target.arity, target.dag.root
        (3, 4, 'y')
    """
    module = lift.module
    if len(module.outputs) != 1:
        raise ValueError(f"a teacher has one output, not {', '.join(module.outputs)}")
    coordinates = module.coordinates
    (fed,) = module.fed_inputs if not coordinates else (None,)
    dims = 1 + max(coordinates.values()) if coordinates else lift.sizes[str(fed)]

    def names(vertex: str) -> list[str]:
        if vertex in coordinates:
            return [f"x{coordinates[vertex] + 1}"]
        if vertex == fed:
            return [f"x{i + 1}" for i in range(dims)]
        single = vertex in module.outputs
        return [vertex] if single else [f"{vertex}_{i + 1}" for i in range(lift.sizes[vertex])]

    nodes = []
    for vertex in module.order:
        if vertex in module.inputs:
            continue
        of = module.vertex(vertex)
        if of.shape not in ((), (1,)) or not isinstance(of.activation, Pointwise):
            raise ValueError(f"vertex {vertex!r}: a teacher's vertices are scalar and pointwise")
        reads: list[dict[str, float]] = [{} for _ in names(vertex)]
        biases = [0.0] * len(reads)
        for edge in module.in_edges(vertex):
            if not isinstance(edge.map, Scale | Dense | Bias):
                raise ValueError(f"edge {edge.name!r}: a teacher has weights and biases alone")
            held = lifted_edges(lift, edge.name)
            weights = held.weights(params[edge.name]).reshape(len(held.sources), -1)
            if weights.shape[1:] not in ((1,), ()):
                raise ValueError(f"edge {edge.name!r}: a teacher's weights are scalars")
            for u, v, w in zip(held.sources, held.targets, weights[:, 0].tolist(), strict=True):
                if isinstance(edge.map, Bias):
                    biases[v] += w
                else:
                    parent = names(edge.source)[u]
                    reads[v][parent] = reads[v].get(parent, 0.0) + w
        for name, read, bias in zip(names(vertex), reads, biases, strict=True):
            if not read:
                raise ValueError(f"vertex {name!r} has no parents; use the regular law")
            neuron = Neuron(tuple(read.values()), bias, of.activation)
            nodes.append(Node(name, neuron, tuple(read)))
    return CompositionalTarget(dims, tuple(nodes), law)


def random_teacher(
    seed: int,
    dims: int,
    size: int,
    in_degree: int,
    *,
    hidden: int = 2,
    activation: str = "tanh",
    gain: float | int = 1.5,
    law: str = "uniform",
) -> CompositionalTarget:
    """A random sparse lift of a perceptron as a target, its output of variance one.

    `size` vertices in each of `hidden` layers read `in_degree` others each, the output all of the
    last layer. The variance is that of 4096 inputs of the law.

    Raises:
        ValueError: as `mlp` and `random_sparse_lift`.

    Example:
        >>> random_teacher(seed=0, dims=6, size=5, in_degree=2).arity
        5
    """
    module = mlp(dims, hidden, 1, activation, input_as="coordinates")
    keys = jax.random.split(jax.random.key(seed), 3)
    lift = random_sparse_lift(keys[0], module, size, in_degree, law="regular")
    target = teacher(lift, lift.init(keys[1], gain=gain, bias_scale=0.5), law=law)
    _, y = target.sample(keys[2], _SCALED_ON)
    mean, spread = float(np.mean(np.asarray(y))), float(np.std(np.asarray(y)))
    if not spread > 0:
        raise ValueError("the teacher is constant on its inputs: choose another seed or gain")
    *others, root = target.nodes
    old = root.function
    assert isinstance(old, Neuron)
    scaled = Neuron(
        tuple(w / spread for w in old.weights), (old.bias - mean) / spread, old.activation
    )
    return CompositionalTarget(dims, (*others, dataclasses.replace(root, function=scaled)), law)
