"""The base graph of a residual perceptron: a stream with learned skip edges."""

from sparsejax.graphs.edge_maps import Bias, Dense, Scale
from sparsejax.graphs.perceptron_module import Edge, PerceptronModule, Vertex


def residual_mlp(
    inputs: int, blocks: int, outputs: int, activation: str = "tanh", *, bias: bool = True
) -> PerceptronModule:
    """`x -> stream0`, then `blocks` times `stream -> h -> stream`, then `y`; all scalar vertices.

    `stream{b}` adds up `h{b}` and `stream{b-1}`, without an activation. The skip
    `stream{b-1}->stream{b}` is a learned mixing edge, sparse in a sparse lift, instead of the
    identity: streams are duplicated vertices as all others, with widths of their own.

    Raises:
        ValueError: a size is out of range, or the activation is unknown.

    Example:
        >>> module = residual_mlp(inputs=8, blocks=1, outputs=1, bias=False)
        >>> [edge.name for edge in module.edges]
        ['x->stream0', 'stream0->h1', 'h1->stream1', 'stream0->stream1', 'stream1->y']
    """
    if inputs < 1 or blocks < 1 or outputs < 1:
        raise ValueError(
            "residual_mlp needs inputs >= 1, blocks >= 1, outputs >= 1; "
            f"got {inputs}, {blocks}, {outputs}"
        )
    vertices = [Vertex("x", shape=(inputs,))]
    if bias:
        vertices.append(Vertex("one", constant=True))
    vertices.append(Vertex("stream0", activation="identity"))
    edges = [Edge("x", "stream0", Dense())]
    for b in range(1, blocks + 1):
        before, name, after = f"stream{b - 1}", f"h{b}", f"stream{b}"
        vertices += [Vertex(name, activation=activation), Vertex(after, activation="identity")]
        edges.append(Edge(before, name, Scale()))
        if bias:
            edges.append(Edge("one", name, Bias()))
        edges += [Edge(name, after, Scale()), Edge(before, after, Scale())]
    vertices.append(Vertex("y", shape=(outputs,), activation="identity"))
    edges.append(Edge(f"stream{blocks}", "y", Dense(output=(outputs,))))
    if bias:
        edges.append(Edge("one", "y", Bias(shape=(outputs,))))
    return PerceptronModule(tuple(vertices), tuple(edges), ("x", "one") if bias else ("x",), ("y",))
