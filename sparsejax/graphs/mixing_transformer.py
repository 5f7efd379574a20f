"""The base graph of a mixing transformer: residual streams are vertices, skips are edges."""

from collections.abc import Callable
from typing import Literal

from jaxtyping import Array

from sparsejax.graphs.edge_maps import Bias, Dense
from sparsejax.graphs.perceptron_module import Edge, PerceptronModule, Vertex
from sparsejax.graphs.pooling import Pooling
from sparsejax.graphs.soft_mul import SoftMul
from sparsejax.graphs.token_mixing import TokenMixing


def mixing_transformer(
    tokens: int,
    features: int,
    blocks: int,
    outputs: int,
    activation: str = "relu",
    *,
    inputs: int | None = None,
    head_features: int | None = None,
    hidden_features: int | None = None,
    causal: bool = False,
    positions: bool = True,
    readout: Literal["mean", "dense", "tokens"] = "mean",
    bias: bool = True,
) -> PerceptronModule:
    """`stream -> dSoftMul -> stream -> perceptron -> stream`, `blocks` times; lifts have heads.

    Every value is an array `(tokens, features)`. The input `x` has shape `(tokens, inputs)`
    (`inputs` is `features` unless given) and is mixed into `stream0`, with a learned bias a
    position unless `positions` is false. Block `b` reads `stream{b-1}`: `head{b}` is its
    attention (three mixing edges `q{b}`, `k{b}`, `v{b}` into `head_features`, causal or not),
    `attended{b}` the stream behind it, `perceptron{b}` a hidden layer of `hidden_features` token by
    token, `stream{b}` the stream behind that. Streams are duplicated vertices, and what skips a
    head or a perceptron is a learned mixing edge between streams instead of the identity: it can
    be sparse as any other. Lifting multiplies streams, heads and perceptrons.

    `readout`: `y` has shape `(outputs,)` and reads the mean over the tokens of the last stream
    (`"mean"`) or all its entries (`"dense"`), or it has shape `(tokens, outputs)` and reads token
    by token (`"tokens"`, for sequences).

    Raises:
        ValueError: a number that is not positive, or an unknown activation or readout.

    Source: our reading of the transformer blocks in Robin, Scaman, Lelarge 2024.

    Example:
        >>> import jax, sparsejax as sj
        >>> module = mixing_transformer(tokens=3, features=2, blocks=1, outputs=1)
        >>> [edge.name for edge in module.in_edges("stream1")]
        ['perceptron1->stream1', 'attended1->stream1']
        >>> lift = sj.dense_lift(module, sizes=2)
        >>> lift.apply(lift.init(jax.random.key(1)), jax.numpy.ones((2, 3, 2))).shape
        (2, 1)
    """
    sizes = {
        "tokens": tokens,
        "features": features,
        "blocks": blocks,
        "outputs": outputs,
        "inputs": features if inputs is None else inputs,
        "head_features": features if head_features is None else head_features,
        "hidden_features": features if hidden_features is None else hidden_features,
    }
    for what, size in sizes.items():
        if size < 1:
            raise ValueError(f"mixing_transformer needs {what} >= 1, got {size}")
    if readout not in ("mean", "dense", "tokens"):
        raise ValueError(f"readout is 'mean', 'dense' or 'tokens', not {readout!r}")
    shape, heads = (tokens, features), (tokens, sizes["head_features"])
    hidden = (tokens, sizes["hidden_features"])
    mix = TokenMixing(features)
    has_constant = bias or positions
    vertices = [Vertex("x", shape=(tokens, sizes["inputs"]))]
    if has_constant:
        vertices.append(Vertex("one", constant=True))
    vertices.append(Vertex("stream0", shape=shape, activation="identity"))
    edges = [Edge("x", "stream0", mix)]
    if positions:
        edges.append(Edge("one", "stream0", Bias(shape)))
    for b in range(1, blocks + 1):
        before, head, attended = f"stream{b - 1}", f"head{b}", f"attended{b}"
        perceptron, after = f"perceptron{b}", f"stream{b}"
        pooled = b == blocks and readout == "mean"
        last: str | Callable[..., Array] = "identity"
        if pooled:
            last = Pooling("mean", window=(tokens, 1), function="identity")
        vertices += [
            Vertex(head, shape=heads, activation=SoftMul(causal)),
            Vertex(attended, shape=shape, activation="identity"),
            Vertex(perceptron, shape=hidden, activation=activation),
            Vertex(after, shape=(1, features) if pooled else shape, activation=last),
        ]
        edges += [
            *(Edge(before, head, TokenMixing(heads[1]), f"{letter}{b}") for letter in "qkv"),
            Edge(head, attended, mix),
            Edge(before, attended, mix),
            Edge(attended, perceptron, TokenMixing(hidden[1])),
            Edge(perceptron, after, mix),
            Edge(attended, after, mix),
        ]
        if bias:
            edges.append(Edge("one", perceptron, Bias(hidden, shared=(0,))))
    by_token = readout == "tokens"
    end = (tokens, outputs) if by_token else (outputs,)
    vertices.append(Vertex("y", shape=end, activation="identity"))
    edges.append(Edge(f"stream{blocks}", "y", TokenMixing(outputs) if by_token else Dense(end)))
    if bias:
        edges.append(Edge("one", "y", Bias(end, shared=(0,) if by_token else ())))
    return PerceptronModule(
        tuple(vertices), tuple(edges), ("x", "one") if has_constant else ("x",), ("y",)
    )
