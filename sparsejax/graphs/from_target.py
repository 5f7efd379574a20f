"""The base graph that matches a compositional target: the target's own DAG."""

from typing import Protocol, runtime_checkable

from sparsejax.graphs.dag import Dag
from sparsejax.graphs.edge_maps import Bias, Dense, Scale
from sparsejax.graphs.perceptron_module import Edge, PerceptronModule, Vertex


@runtime_checkable
class HasDag(Protocol):
    """Anything that exposes the graph of its composition."""

    @property
    def dag(self) -> Dag:
        """The graph."""


def from_target(
    target: Dag | HasDag, activation: str = "tanh", *, outputs: int = 1, bias: bool = True
) -> PerceptronModule:
    """The module of a target's own DAG: its lifts are the matched networks of the target.

    Every node `v` becomes one duplicated vertex `h_v` that adds up the fibres of its parents; the
    root gets a linear readout `y` of shape `(outputs,)`. Every input coordinate that the root
    depends on is one scalar vertex that reads its column, so that lifts take the target's own
    samples, shape `(batch, dims)`. Nodes that the root does not depend on are left out. `target`
    is a `Dag`, or has one as its `dag`, like `targets.CompositionalTarget`.

    Raises:
        ValueError: `outputs` is not positive, an unknown activation, an input with a name that the
            module needs (`one`, `y`, `h_...`), a root that depends on no input, or a node without
            parents where there are no biases.
        TypeError: `target` is no `Dag` and has none.

    Source: the matched architectures of Poggio, Mhaskar et al. 2017.

    Example:
        >>> import sparsejax as sj
        >>> module = sj.graphs.from_target(sj.targets.product_tree(), bias=False)
        >>> [edge.name for edge in module.edges]
        ['x1->h_left', 'x2->h_left', 'x3->h_right', 'x4->h_right',
         'h_left->h_y', 'h_right->h_y', 'h_y->y']
    """
    dag = target if isinstance(target, Dag) else getattr(target, "dag", None)
    if not isinstance(dag, Dag):
        raise TypeError(
            f"from_target takes a Dag or what has one as its `dag`, not {type(target).__name__}"
        )
    if outputs < 1:
        raise ValueError(f"from_target needs outputs >= 1, got {outputs}")
    for name in dag.support:
        if name in ("one", "y") or name.startswith("h_"):
            raise ValueError(f"input {name!r}: the module needs this name; rename the input")
    vertices = [Vertex(name, coordinate=dag.inputs.index(name)) for name in dag.support]
    inputs = list(dag.support)
    edges = []
    if bias:
        vertices.append(Vertex("one", constant=True))
        inputs.append("one")
    for node in dag.ancestors:
        parents = dict.fromkeys(dag.parents_of(node))
        if not parents and not bias:
            raise ValueError(f"node {node!r} has no parents: it needs a bias")
        vertices.append(Vertex(f"h_{node}", activation=activation))
        for parent in parents:
            source = parent if parent in dag.inputs else f"h_{parent}"
            edges.append(Edge(source, f"h_{node}", Scale()))
        if bias:
            edges.append(Edge("one", f"h_{node}", Bias()))
    if not dag.support:
        raise ValueError(f"the root {dag.root!r} depends on no input")
    vertices.append(Vertex("y", shape=(outputs,), activation="identity"))
    edges.append(Edge(f"h_{dag.root}", "y", Dense(output=(outputs,))))
    if bias:
        edges.append(Edge("one", "y", Bias(shape=(outputs,))))
    return PerceptronModule(tuple(vertices), tuple(edges), tuple(inputs), ("y",))
