"""Networks of two hidden layers as matrices of one shape, whatever is wired in them.

Why: a program that trains takes several seconds to compile, and lifts of other modules, dense and
shallow networks differ in shape. As matrices in which some entries are free and the others fixed,
all of them, of all splits, are lanes of one program.
"""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, PyTree

from sparsejax.lifts import Lift
from sparsejax.lifts.weighted_edges import from_weights, lifted_edges
from sparsejax.pilot.matched import ROOT

NAMES = ("w1", "b1", "w2", "b2", "w3", "b3")


class Layers(eqx.Module):
    """`f(params, x)`, relu after both hidden layers; entries that are not `free` are `fixed`."""

    free: dict[str, Bool[Array, "..."]]
    fixed: dict[str, Float[Array, "..."]]

    def __call__(self, params: PyTree, x: Float[Array, "n q"]) -> Float[Array, "n c"]:
        """The network's function: `(n, q)` to `(n, c)`."""
        w = {name: jnp.where(self.free[name], params[name], self.fixed[name]) for name in NAMES}
        x = x.astype(w["w1"].dtype)
        h = jax.nn.relu(x @ w["w1"] + w["b1"][None])
        h = jax.nn.relu(h @ w["w2"] + w["b2"][None])
        return h @ w["w3"] + w["b3"][None]


@dataclasses.dataclass(frozen=True, eq=False)
class Network:
    """A network on the host: which entries are trained, and the values of all entries."""

    free: dict[str, np.ndarray]
    values: dict[str, np.ndarray]

    @property
    def parameters(self) -> int:
        """Number of trained scalars."""
        return sum(int(free.sum()) for free in self.free.values())

    @property
    def hidden(self) -> tuple[int, int]:
        """Widths of the two hidden layers."""
        return self.values["w2"].shape

    def outputs(self, x: Float[np.ndarray, "n q"]) -> Float[np.ndarray, "n c"]:
        """The network's function, on the host."""
        h = np.maximum(x @ self.values["w1"] + self.values["b1"], 0)
        h = np.maximum(h @ self.values["w2"] + self.values["b2"], 0)
        return h @ self.values["w3"] + self.values["b3"]

    def with_values(self, trained: Mapping[str, np.ndarray]) -> "Network":
        """The same network after training, from parameters that may be padded."""
        values = {}
        for name, free in self.free.items():
            own = np.asarray(trained[name], float)[tuple(slice(0, n) for n in free.shape)]
            values[name] = np.where(free, own, self.values[name])
        return Network(self.free, values)


def padded(networks: Sequence[Network]) -> tuple[Layers, PyTree]:
    """Networks as lanes of one shape: function and parameters, with a leading axis on each array.

    Further units are wired to nothing and stay so.
    """
    first = max(network.hidden[0] for network in networks)
    second = max(network.hidden[1] for network in networks)
    q, c = len(networks[0].values["w1"]), len(networks[0].values["b3"])
    shapes: dict[str, tuple[int, ...]] = {
        "w1": (q, first),
        "b1": (first,),
        "w2": (first, second),
        "b2": (second,),
    }
    shapes |= {"w3": (second, c), "b3": (c,)}

    def wide(arrays: Sequence[np.ndarray], name: str) -> np.ndarray:
        return np.stack(
            [
                np.pad(array, [(0, n - m) for n, m in zip(shapes[name], array.shape, strict=True)])
                for array in arrays
            ]
        )

    free = {name: jnp.asarray(wide([n.free[name] for n in networks], name)) for name in NAMES}
    params = {
        name: jnp.asarray(wide([n.values[name] for n in networks], name), float) for name in NAMES
    }
    return Layers(free, params), params


def dense(q: int, first: int, second: int, c: int, seed: int) -> Network:
    """A dense perceptron of two hidden layers, its readout at zero."""
    rng = np.random.default_rng(seed)
    values = {
        "w1": rng.normal(size=(q, first)) / np.sqrt(q),
        "b1": 0.1 * rng.normal(size=first),
        "w2": rng.normal(size=(first, second)) * np.sqrt(2 / first),
        "b2": 0.1 * rng.normal(size=second),
        "w3": np.zeros((second, c)),
        "b3": np.zeros(c),
    }
    return Network({name: np.ones(value.shape, bool) for name, value in values.items()}, values)


def shallow(q: int, width: int, c: int, seed: int) -> Network:
    """One hidden layer: the second is the identity and stays so, as relu of what is positive is."""
    network = dense(q, width, width, c, seed)
    free = network.free | {name: np.zeros_like(network.free[name]) for name in ("w2", "b2")}
    return Network(free, network.values | {"w2": np.eye(width), "b2": np.zeros(width)})


def constant(q: int, c: int) -> Network:
    """Only a bias is trained: what is left where no column matters."""
    network = shallow(q, 1, c, seed=0)
    free = {name: np.zeros_like(mask) for name, mask in network.free.items()}
    return Network(
        free | {"b3": np.ones(c, bool)},
        {name: np.zeros_like(value) for name, value in network.values.items()},
    )


def dense_for(q: int, c: int, parameters: int) -> tuple[int, int]:
    """Widths, equal or next to it, of the dense perceptron nearest to so many parameters."""

    def count(first: int, second: int) -> int:
        return first * (q + 1) + second * (first + 1) + c * (second + 1)

    width = 1
    while count(width + 1, width + 1) <= parameters:
        width += 1
    near = [(width + i, max(1, width + j)) for i in (0, 1) for j in (-1, 0, 1, 2)]
    return min(near, key=lambda widths: abs(count(*widths) - parameters))


def shallow_for(q: int, c: int, parameters: int) -> int:
    """The width of the shallow perceptron nearest to so many parameters."""
    return max(1, round((parameters - c) / (q + 1 + c)))


def of_lift(lift: Lift, params: Mapping[str, Array], q: int, c: int) -> Network:
    """A lift of a parts' module as matrices."""
    n, m = sum(_starts(lift)[1].values()), lift.sizes[ROOT]
    shapes = {"w1": (q, n), "b1": (n,), "w2": (n, m), "b2": (m,), "w3": (m, c), "b3": (c,)}
    values = {name: np.zeros(shape) for name, shape in shapes.items()}
    free = {name: np.zeros(shape, bool) for name, shape in shapes.items()}
    for name, (leaf, place) in _places(lift).items():
        weights = lifted_edges(lift, name).weights(params[name])
        values[leaf][place] = weights.reshape(values[leaf][place].shape)
        free[leaf][place] = True
    return Network(free, values)


def params_of(lift: Lift, network: Network) -> dict[str, Array]:
    """The parameters of a lift from its matrices: the inverse of `of_lift`."""
    weights = {}
    for name, (leaf, place) in _places(lift).items():
        edges = lifted_edges(lift, name)
        shape = (len(edges.sources), *lift.module.weight_shape(lift.module.edge(name)))
        weights[name] = network.values[leaf][place].reshape(shape)
    return from_weights(lift, weights, dtype=jnp.result_type(float))


def _starts(lift: Lift) -> tuple[dict[str, int], dict[str, int]]:
    """Of each part the place of its first vertex in the first hidden layer, and its size."""
    parts = [name for name in lift.module.duplicated if name != ROOT]
    sizes = {name: lift.sizes[name] for name in parts}
    ends = np.cumsum([0, *sizes.values()]).tolist()
    return dict(zip(parts, ends, strict=False)), sizes


def _places(lift: Lift) -> dict[str, tuple[str, tuple[Any, ...]]]:
    """For each base edge the matrix that holds its weights, and where, edge by edge."""
    starts, _ = _starts(lift)
    found: dict[str, tuple[str, tuple[Any, ...]]] = {}
    for edge in lift.module.edges:
        own = lifted_edges(lift, edge.name)
        to_part = edge.target in starts
        targets = own.targets + starts.get(edge.target, 0)
        if edge.source == "one":
            leaf = "b1" if to_part else ("b2" if edge.target == ROOT else "b3")
            found[edge.name] = (leaf, (slice(None),) if leaf == "b3" else (targets,))
        elif to_part:
            column = lift.module.coordinates[edge.source]
            found[edge.name] = ("w1", (np.full(len(targets), column), targets))
        elif edge.target == ROOT:
            found[edge.name] = ("w2", (own.sources + starts[edge.source], targets))
        else:
            found[edge.name] = ("w3", (own.sources,))
    return found
