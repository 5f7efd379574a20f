"""The base graph of a convolutional network: a path of images."""

from collections.abc import Sequence
from typing import Any, Literal

from sparsejax.graphs.convolution import Convolution
from sparsejax.graphs.edge_maps import Bias, Dense
from sparsejax.graphs.perceptron_module import Edge, PerceptronModule, Vertex
from sparsejax.graphs.pooling import Pooling


def convnet(
    inputs: int | tuple[int, ...],
    hidden: int,
    outputs: int,
    activation: str = "relu",
    *,
    channels: int | None = None,
    filter_size: int | Sequence[int] = 3,
    stride: int | Sequence[int] = 1,
    padding: Any = "SAME",
    pooling: Any = None,
    pool_window: int | Sequence[int] = 2,
    readout: Literal["mean", "max", "dense"] = "mean",
    bias: bool = True,
) -> PerceptronModule:
    """The module `x -> h1 -> ... -> h_hidden -> y` of images; its lifts have channels as fibres.

    `inputs` is the shape of the input image, `(height, width)`, or its length; the input has shape
    `(*inputs, channels)` where `channels` is given. Each of the `hidden` layers is a convolution
    with filters of side `filter_size`, with `stride` and `padding` as in `Convolution`, a bias a
    channel, the activation, and then pooling: `pooling` is None, `"mean"` or `"max"`, over windows
    of side `pool_window` that tile the image. These five are values for all layers or a list of
    one per layer. `readout` says how the last layer's images become outputs: each is pooled whole
    by its mean or maximum (in place of that layer's own pooling), or all its entries have weights
    (`"dense"`).

    Raises:
        ValueError: a size out of range, a filter or window that has no place in its image (the
            message names the layer), a list of another length than `hidden`, or an unknown name.

    Example:
        >>> import sparsejax as sj
        >>> module = convnet((28, 28), hidden=2, outputs=10, stride=[2, 1], pooling=["max", None])
        >>> [module.vertex(name).shape for name in ("x", "h1", "h2", "y")]
        [(28, 28), (7, 7), (), (10,)]
        >>> sj.dense_lift(module, sizes={"h1": 16, "h2": 32}).parameter_count()
        5130
    """
    image = (inputs,) if isinstance(inputs, int) else tuple(inputs)
    if len(image) not in (1, 2) or min(image) < 1:
        raise ValueError(f"convnet takes images of one or two positive axes, got {image}")
    if hidden < 1 or outputs < 1 or (channels is not None and channels < 1):
        raise ValueError(
            "convnet needs hidden >= 1, outputs >= 1 and, if any, channels >= 1; "
            f"got {hidden}, {outputs}, {channels}"
        )
    if readout not in ("mean", "max", "dense"):
        raise ValueError(f"readout is 'mean', 'max' or 'dense', not {readout!r}")
    layers = [
        _by_layer(value, hidden, what)
        for value, what in (
            (filter_size, "filter_size"),
            (stride, "stride"),
            (padding, "padding"),
            (pooling, "pooling"),
            (pool_window, "pool_window"),
        )
    ]
    vertices = [Vertex("x", shape=image if channels is None else (*image, channels))]
    edges = []
    if bias:
        vertices.append(Vertex("one", constant=True))
    source, shape = "x", vertices[0].shape
    for layer, (size, step, pad, pool, window) in enumerate(zip(*layers, strict=True), start=1):
        name = f"h{layer}"
        last = layer == hidden and readout != "dense"
        try:
            convolution = Convolution((size,) * len(image), step, pad)
            convolved = convolution.output_shape(shape)
            function: Any = activation
            shape = convolved
            if pool is not None or last:
                whole: Any = readout if last else pool
                function = Pooling(whole, None if last else window, function=activation)
                shape = function.output_shape(convolved)
        except ValueError as error:
            raise ValueError(f"layer {layer}: {error}") from None
        vertices.append(Vertex(name, shape=shape, activation=function))
        edges.append(Edge(source, name, convolution))
        if bias:
            edges.append(Edge("one", name, Bias(convolved, shared=tuple(range(len(convolved))))))
        source = name
    vertices.append(Vertex("y", shape=(outputs,), activation="identity"))
    edges.append(Edge(source, "y", Dense(output=(outputs,))))
    if bias:
        edges.append(Edge("one", "y", Bias(shape=(outputs,))))
    return PerceptronModule(tuple(vertices), tuple(edges), ("x", "one") if bias else ("x",), ("y",))


def _by_layer(value: Any, hidden: int, what: str) -> list[Any]:
    if not isinstance(value, list | tuple):
        return [value] * hidden
    if len(value) != hidden:
        raise ValueError(f"{what} lists {len(value)} values for {hidden} layers")
    return list(value)
