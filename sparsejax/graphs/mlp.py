"""The base graph of a multilayer perceptron: a path of scalar vertices."""

from typing import Literal

from sparsejax.graphs.edge_maps import Bias, Dense, Scale
from sparsejax.graphs.perceptron_module import Edge, PerceptronModule, Vertex


def mlp(
    inputs: int,
    hidden: int,
    outputs: int,
    activation: str = "tanh",
    *,
    bias: bool = True,
    input_as: Literal["vector", "coordinates"] = "vector",
) -> PerceptronModule:
    """The module `x -> h1 -> ... -> h_hidden -> y`; its lifts are multilayer perceptrons.

    `inputs` is the input dimension, `hidden` the number of hidden layers (0 gives a linear map),
    `outputs` the output dimension. With `input_as="vector"` the input is one vertex of shape
    `(inputs,)`, seen whole by every first-layer vertex; with `"coordinates"` it is one scalar
    vertex a coordinate, so that the input edges can be sparse too.

    Raises:
        ValueError: a size is out of range, or the activation is unknown.

    Example:
        >>> module = mlp(inputs=8, hidden=2, outputs=1, activation="tanh")
        >>> [edge.name for edge in module.edges]
        ['x->h1', 'one->h1', 'h1->h2', 'one->h2', 'h2->y', 'one->y']
    """
    if inputs < 1 or outputs < 1 or hidden < 0:
        raise ValueError(
            f"mlp needs inputs >= 1, hidden >= 0, outputs >= 1; got {inputs}, {hidden}, {outputs}"
        )
    if input_as not in ("vector", "coordinates"):
        raise ValueError(f"input_as is 'vector' or 'coordinates', not {input_as!r}")
    # A single coordinate is its own vector: `x` keeps its shape `(batch, inputs)`.
    coordinates = input_as == "coordinates" and inputs > 1
    vertices = [Vertex("x", clamped=inputs) if coordinates else Vertex("x", shape=(inputs,))]
    edges = []
    previous = "x"
    for layer in range(1, hidden + 1):
        name = f"h{layer}"
        vertices.append(Vertex(name, activation=activation))
        edges.append(Edge(previous, name, Scale() if coordinates or layer > 1 else Dense()))
        if bias:
            edges.append(Edge("one", name, Bias()))
        previous = name
    vertices.append(Vertex("y", shape=(outputs,), activation="identity"))
    edges.append(Edge(previous, "y", Dense(output=(outputs,))))
    if bias:
        vertices.insert(1, Vertex("one", constant=True))
        edges.append(Edge("one", "y", Bias(shape=(outputs,))))
    return PerceptronModule(
        vertices=tuple(vertices),
        edges=tuple(edges),
        inputs=("x", "one") if bias else ("x",),
        outputs=("y",),
    )
