"""Random perceptron modules: any acyclic graph, shapes, maps and activations, all tiny.

Functions of a test's own `data.draw`, not strategies: building a module compiles and checks types,
which uses random numbers of its own, and hypothesis wants none inside a strategy.
"""

import dataclasses
import itertools

from hypothesis import strategies as st

from sparsejax.graphs import (
    Bias,
    Convolution,
    Dense,
    Edge,
    EdgeMap,
    PerceptronModule,
    Pointwise,
    Pooling,
    PositionMixing,
    Scale,
    SoftMul,
    TokenMixing,
    Vertex,
)


@dataclasses.dataclass(frozen=True)
class SquareScale(EdgeMap):
    """A user's own map, linear in the weight alone."""

    def weight_shape(self, source_shape):
        return ()

    def output_shape(self, source_shape):
        return source_shape

    def __call__(self, weight, activation):
        return weight * activation * activation


def product(a, b):
    """A user's own activation of two arguments."""
    return a * b


SHAPES = ((), (2,), (3,), (2, 2), (3, 2))
FUNCTIONS = ("tanh", "relu", "sin", "identity")
CONVOLUTIONS = tuple(
    Convolution(filters, stride, padding)
    for filters, stride, padding in itertools.product(
        ((1,), (2,), (3,), (2, 2), (3, 1)), (1, 2), ("SAME", "VALID", 1)
    )
)


def maps(source, target):
    """All maps from one shape to another, dense last."""
    fitting = [Scale(), SquareScale()] if source == target else []
    for convolution in CONVOLUTIONS:
        if len(source) - len(convolution.filter_shape) in (0, 1) and len(target) > 0:
            try:
                if convolution.output_shape(source) == target:
                    fitting.append(convolution)
            except ValueError:
                continue
    if len(source) == len(target) == 2:
        fitting += [TokenMixing(target[1])] if source[0] == target[0] else []
        fitting += [PositionMixing(target[0])] if source[1] == target[1] else []
    return [*fitting, Dense(output=target)]


def draw_map(draw, source, target):
    """One of them, and only now and then a dense one where another fits."""
    fitting = maps(source, target)
    return draw(st.sampled_from(fitting[:-1] * 2 + fitting[-1:]))


def draw_vertex(draw, name):
    """A vertex, and the shapes that its activation takes."""
    kind = draw(st.sampled_from(("pointwise", "pointwise", "pooling", "attention", "product")))
    function = draw(st.sampled_from(FUNCTIONS))
    if kind == "pooling":
        before, window = draw(st.sampled_from(((3,), (3, 2)))), draw(st.sampled_from((2, None)))
        stride = None if window is None else draw(st.sampled_from((None, 1)))
        pooling = Pooling(draw(st.sampled_from(("mean", "max"))), window, stride, function)
        vertex = Vertex(name, shape=pooling.output_shape(before), activation=pooling)
        return vertex, [before] * draw(st.integers(1, 2))
    if kind == "attention":
        causal = draw(st.booleans())
        others = 3 if causal else draw(st.integers(1, 3))
        return Vertex(name, shape=(3, 2), activation=SoftMul(causal)), [(3, 2), *[(others, 2)] * 2]
    shape = draw(st.sampled_from(SHAPES))
    if kind == "product":
        return Vertex(name, shape=shape, activation=product), [shape] * 2
    return Vertex(name, shape=shape, activation=function), [shape] * draw(st.integers(1, 2))


def draw_module(draw, outputs=("y",)):
    """A module, and up to three lifted vertices above each that is duplicated.

    One or two fed inputs, perhaps a constant, one or two inner vertices. An inner vertex may have
    no out-edges, or be clamped.
    """
    fed = [Vertex("x", shape=draw(st.sampled_from(((2,), (3, 2)))))]
    if draw(st.booleans()):
        fed.append(Vertex("s", clamped=2))
    constants = [Vertex("one", constant=True)] if draw(st.booleans()) else []
    known, edges, sizes = list(fed), [], {}
    inner = [f"h{i}" for i in range(draw(st.integers(1, 2)))]
    for name in (*inner, *outputs):
        vertex, takes = draw_vertex(draw, name)
        if name in inner and draw(st.integers(0, 3)) == 0:
            vertex = dataclasses.replace(vertex, clamped=2)
        elif name in inner:
            sizes[name] = draw(st.integers(1, 3))
        for shape in takes:
            source = draw(st.sampled_from(known))
            edge_map = draw_map(draw, source.shape, shape)
            edges.append(Edge(source.name, name, edge_map, f"e{len(edges)}"))
        if constants and isinstance(vertex.activation, Pointwise):
            shared = tuple(axis for axis, _ in enumerate(vertex.shape) if draw(st.booleans()))
            edges.append(Edge("one", name, Bias(vertex.shape, shared), f"e{len(edges)}"))
        known.append(vertex)
    inputs = tuple(vertex.name for vertex in fed + constants)
    return PerceptronModule((*constants, *known), tuple(edges), inputs, tuple(outputs)), sizes


seeds = st.integers(0, 2**16)
densities = st.sampled_from((0.35, 0.7, 1.0))
