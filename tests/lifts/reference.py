"""The forward pass of theory, vertex by vertex and edge by edge, in plain NumPy."""

import jax.numpy as jnp
import numpy as np

from sparsejax.graphs import (
    Bias,
    Convolution,
    Dense,
    Pointwise,
    Pooling,
    PositionMixing,
    Scale,
    SoftMul,
    TokenMixing,
)
from sparsejax.lifts import DenseWiring, SparseWiring

POINTWISE = {
    "tanh": np.tanh,
    "relu": lambda z: np.maximum(z, 0),
    "identity": lambda z: z,
    "sin": np.sin,
}


def lifted_edges(wiring):
    """Triples (slot, source, target) read from the wiring's own arrays."""
    if isinstance(wiring, DenseWiring):
        return [(u, u, v) for u in range(wiring.n_sources) for v in range(wiring.n_targets)]
    predecessors = np.asarray(wiring.predecessors)
    present = np.ones(predecessors.shape, bool)
    if wiring.present is not None:
        present = np.asarray(wiring.present)
    return [(s, int(predecessors[s, v]), int(v)) for s, v in np.argwhere(present)]


def transmit(edge_map, w, y):
    """`M_e(w, y)` for one edge and one sample."""
    if isinstance(edge_map, Scale):
        return w * y
    if isinstance(edge_map, Bias):
        out = np.zeros(edge_map.shape)
        for z in np.ndindex(*edge_map.shape):
            out[z] = w[tuple(i for axis, i in enumerate(z) if axis not in edge_map.shared)] * y
        return out
    if isinstance(edge_map, Dense):
        out = np.zeros(edge_map.output)
        for z in np.ndindex(*edge_map.output):
            out[z] = np.sum(w[z] * y)
        return out
    if isinstance(edge_map, TokenMixing):
        return np.stack([w @ token for token in y])
    if isinstance(edge_map, PositionMixing):
        return np.stack([w @ feature for feature in y.T], axis=1)
    if isinstance(edge_map, Convolution):
        return correlate(edge_map, w, y)
    return np.asarray(edge_map(w, y))


def correlate(convolution, w, y):
    """Entry by entry: the part of the filter that lies in the image, times what lies under it."""
    axes = len(convolution.filter_shape)
    filters, image = convolution.filter_shape, y.shape[:axes]
    strides = np.broadcast_to(convolution.stride, axes)
    if convolution.padding == "SAME":  # as few zeros as give ceil(n / stride), the odd one last
        out = [-(-n // s) for n, s in zip(image, strides, strict=True)]
        total = [
            max((m - 1) * s + k - n, 0)
            for m, s, k, n in zip(out, strides, filters, image, strict=True)
        ]
        lows = [t // 2 for t in total]
    else:
        pads = 0 if convolution.padding == "VALID" else convolution.padding
        pads = [pads] * axes if isinstance(pads, int) else pads
        pads = [(p, p) if isinstance(p, int) else p for p in pads]
        lows = [low for low, _ in pads]
        out = [
            (n + low + high - k) // s + 1
            for n, (low, high), k, s in zip(image, pads, filters, strides, strict=True)
        ]
    z = np.zeros(out)
    for at in np.ndindex(*out):
        for tap in np.ndindex(*filters):
            place = tuple(a * s + t - p for a, s, t, p in zip(at, strides, tap, lows, strict=True))
            if all(0 <= i < n for i, n in zip(place, image, strict=True)):
                z[at] += np.sum(w[tap] * y[place])
    return z


def pool(pooling, y):
    if pooling.window is None:
        return np.asarray(y.mean() if pooling.kind == "mean" else y.max())
    window = np.broadcast_to(pooling.window, y.ndim)
    stride = window if pooling.stride is None else np.broadcast_to(pooling.stride, y.ndim)
    out = np.zeros([(n - k) // s + 1 for n, k, s in zip(y.shape, window, stride, strict=True)])
    for at in np.ndindex(*out.shape):
        here = tuple(slice(a * s, a * s + k) for a, s, k in zip(at, stride, window, strict=True))
        out[at] = y[here].mean() if pooling.kind == "mean" else y[here].max()
    return out


def soft_mul(causal, q, k, v):
    """Token by token: a mixture of the values it may look at."""
    rows = []
    for i, query in enumerate(q):
        last = i + 1 if causal else len(k)
        scores = np.exp([query @ key / np.sqrt(len(query)) for key in k[:last]])
        rows.append(scores / scores.sum() @ v[:last])
    return np.stack(rows)


def activate(activation, arguments):
    if isinstance(activation, Pointwise):
        return POINTWISE[activation.name](sum(arguments))
    if isinstance(activation, Pooling):
        return pool(activation, POINTWISE[activation.function](sum(arguments)))
    if isinstance(activation, SoftMul):
        return soft_mul(activation.causal, *arguments)
    return np.asarray(activation(*arguments))


def activations(lift, params, x):
    """`{base vertex: (batch, lifted vertices, *shape)}`; `x` likewise, by input."""
    module = lift.module
    params = {name: np.asarray(w) for name, w in params.items()}
    batch = len(next(iter(x.values())))
    values = {}
    for name in module.order:
        vertex, size = module.vertex(name), lift.sizes[name]
        values[name] = np.ones((batch, size, *vertex.shape))
        if vertex.constant:
            continue
        if name in module.inputs:
            values[name] = np.asarray(x[name]).reshape(batch, size, *vertex.shape)
            continue
        for b in range(batch):
            sums = []
            for edge in module.in_edges(name):
                shape = module.preactivation_shape(edge)
                z = [np.zeros(shape) for _ in range(size)]
                for slot, u, v in lifted_edges(lift.wirings[edge.name]):
                    w = params[edge.name][slot, v]
                    z[v] = z[v] + transmit(edge.map, w, values[edge.source][b, u])
                sums.append(z)
            for v in range(size):
                values[name][b, v] = activate(vertex.activation, [z[v] for z in sums])
    return values


def wired(pairs, n_a, n_b, masked):
    """The wiring that `SparseWiring` documents, by loops on the host: nothing to compile."""
    into = [sorted(u for u, v in pairs if v == target) for target in range(n_b)]
    k = max(map(len, into))
    predecessors, present = np.zeros((k, n_b), np.int32), np.zeros((k, n_b), bool)
    out = [[] for _ in range(n_a)]
    for v, sources in enumerate(into):
        for s, u in enumerate(sources):
            predecessors[s, v], present[s, v] = u, True
            out[u].append(s * n_b + v)
    q = max(map(len, out))
    successors, positions = (
        np.full((q, n_a), k * n_b, np.int32),
        np.full(k * n_b, q * n_a, np.int32),
    )
    for u, slots in enumerate(out):
        for t, slot in enumerate(sorted(slots)):
            successors[t, u], positions[slot] = slot, t * n_a + u
    arrays = [predecessors, present, successors, successors < k * n_b, positions.reshape(k, n_b)]
    predecessors, present, successors, held, positions = map(jnp.asarray, arrays)
    return SparseWiring(predecessors, present if masked else None, successors, held, n_a, positions)
