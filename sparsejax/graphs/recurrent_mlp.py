"""The base graph of a recurrent perceptron, unrolled over its steps."""

from sparsejax.graphs.edge_maps import Bias, Dense, Scale
from sparsejax.graphs.perceptron_module import Edge, PerceptronModule, Vertex


def recurrent_mlp(
    inputs: int,
    hidden: int,
    outputs: int,
    activation: str = "tanh",
    *,
    steps: int,
    bias: bool = True,
) -> PerceptronModule:
    """`hidden` recurrent layers, unrolled: `h{l}_{t}` reads `h{l-1}_{t}` and `h{l}_{t-1}`.

    Samples are sequences of shape `(steps, inputs)`: input vertex `x{t}` reads step `t`, counted
    from 1. The readout `y` reads the last layer at the last step. A lift gives every lifted edge
    its own weight, so that the steps of an unrolled network do not share theirs: these are the
    networks with the wiring of a recurrent one.

    Raises:
        ValueError: a size is out of range, or the activation is unknown.

    Example:
        >>> import jax, sparsejax as sj
        >>> module = recurrent_mlp(inputs=2, hidden=1, outputs=1, steps=3)
        >>> [edge.name for edge in module.in_edges("h1_2")]
        ['x2->h1_2', 'h1_1->h1_2', 'one->h1_2']
        >>> lift = sj.dense_lift(module, sizes=4)
        >>> lift.apply(lift.init(jax.random.key(0)), jax.numpy.ones((5, 3, 2))).shape
        (5, 1)
    """
    if inputs < 1 or hidden < 1 or outputs < 1 or steps < 1:
        raise ValueError(
            "recurrent_mlp needs inputs >= 1, hidden >= 1, outputs >= 1, steps >= 1; "
            f"got {inputs}, {hidden}, {outputs}, {steps}"
        )
    fed = [Vertex(f"x{t}", shape=(inputs,), coordinate=t - 1) for t in range(1, steps + 1)]
    vertices = fed + ([Vertex("one", constant=True)] if bias else [])
    names = tuple(vertex.name for vertex in vertices)
    edges = []
    for t in range(1, steps + 1):
        for layer in range(1, hidden + 1):
            name = f"h{layer}_{t}"
            vertices.append(Vertex(name, activation=activation))
            if layer == 1:
                edges.append(Edge(f"x{t}", name, Dense()))
            else:
                edges.append(Edge(f"h{layer - 1}_{t}", name, Scale()))
            if t > 1:
                edges.append(Edge(f"h{layer}_{t - 1}", name, Scale()))
            if bias:
                edges.append(Edge("one", name, Bias()))
    vertices.append(Vertex("y", shape=(outputs,), activation="identity"))
    edges.append(Edge(f"h{hidden}_{steps}", "y", Dense(output=(outputs,))))
    if bias:
        edges.append(Edge("one", "y", Bias(shape=(outputs,))))
    return PerceptronModule(tuple(vertices), tuple(edges), names, ("y",))
