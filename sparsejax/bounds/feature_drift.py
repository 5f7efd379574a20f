"""How far the last hidden layer of a lift can drift while its weights move by a given distance."""

import math

import equinox as eqx
import jax
import numpy as np
import scipy.sparse
from jaxtyping import PyTree

from sparsejax.graphs import Bias, Dense, Edge, Pointwise, Scale
from sparsejax.lifts import Lift
from sparsejax.lifts.weighted_edges import lifted_edges

# Above this many rows and columns a norm is bounded by its row and column sums.
LARGEST_DECOMPOSED = 3000


class FeatureDrift:
    """Upper bounds on `||h(theta) - h(theta_0)||` over balls of parameters, in `L^2` of samples.

    Let `h_a` be the values of all lifted vertices above base vertex `a`, and let the parameters
    behind the readouts move by a distance of at most `s`. Over a base edge `e = (a, b)` with
    weights `W`, `(W + dW)(h_a + dh_a) - W h_a = (W + dW) dh_a + dW h_a`, so that

        D_b(s) = lip_b ( sum_e (||W_e|| + s) D_a(s) + s sqrt(sum_e H_a^2) ),

    where `lip_b` is the Lipschitz constant of the activation, `||W_e||` the spectral norm of the
    lifted edges as one matrix (bounded by its row and column sums where it is large), `H_a` the
    largest singular value of the values at `theta_0` on the data, over `sqrt(n)`. `D` is 0 at the
    inputs, and at most twice the root of the number of entries times the activation's bound.

    Hypotheses: the data are the samples given; edges are `Scale`, `Dense` or `Bias`; every
    activation is `Pointwise` with a Lipschitz constant; norms are Euclidean, all edges together.

    Raises:
        ValueError: an edge or activation that is not covered, by name.

    Example:
        >>> import jax, jax.numpy as jnp, sparsejax as sj
        >>> lift = sj.dense_lift(sj.graphs.mlp(inputs=2, hidden=1, outputs=1), sizes=8)
        >>> drift = FeatureDrift(lift, lift.init(jax.random.key(0)), jnp.eye(2))
        >>> sorted(drift.at(0.5)), round(drift.at(0.5)["h1"], 6)  # 0.5 sqrt(1 / 2 + 1)
        (['h1'], 0.612372)
    """

    def __init__(self, lift: Lift, params: PyTree, x: PyTree):
        module = lift.module
        self.lift = lift
        self.readouts = readout_edges(lift)
        covered_by_drift(lift)
        values = {
            name: np.asarray(value, np.float64)
            for name, value in _activations(lift, params, x).items()
        }
        self.samples = len(jax.tree.leaves(x)[0])
        self.sizes = {
            edge.name: _value_norm(lift, edge, values[edge.source], self.samples)
            for edge in module.edges
        }
        self.norms = {
            edge.name: _weight_norm(lift, edge, params[edge.name]) for edge in module.edges
        }

    def at(self, distance: float) -> dict[str, float]:
        """`D_a(distance)` of every base vertex that a readout reads, constants left out."""
        module, drifts = self.lift.module, dict.fromkeys(self.lift.module.inputs, 0.0)
        for name in module.order:
            if name in module.inputs or name in module.outputs:
                continue
            into, vertex = module.in_edges(name), module.vertex(name)
            moved = sum((self.norms[e.name] + distance) * drifts[e.source] for e in into)
            moved += distance * math.hypot(*(self.sizes[e.name] for e in into))
            activation = vertex.activation
            assert isinstance(activation, Pointwise)  # checked when built
            entries = self.lift.sizes[name] * math.prod(vertex.shape)
            drifts[name] = min(
                activation.lipschitz * moved, 2 * activation.bound * math.sqrt(entries)
            )
        return {
            edge.source: drifts[edge.source]
            for edge in self.readouts
            if edge.source not in module.inputs
        }


@eqx.filter_jit
def _activations(lift: Lift, params: PyTree, x: PyTree) -> dict:
    return lift.activations(params, x)


def readout_edges(lift: Lift) -> tuple[Edge, ...]:
    """The edges into the outputs; raises ValueError where an output is not linear in its edges."""
    module = lift.module
    for name in module.outputs:
        activation = module.vertex(name).activation
        if activation != Pointwise("identity"):
            raise ValueError(f"output {name!r} must have the identity as activation")
        for edge in module.out_edges(name):
            raise ValueError(f"edge {edge.name!r} leaves output {name!r}: it is no readout")
    return tuple(edge for name in module.outputs for edge in module.in_edges(name))


def covered_by_drift(lift: Lift) -> None:
    """Raises ValueError where an edge or an activation has no constants here."""
    module = lift.module
    for edge in module.edges:
        shared = isinstance(edge.map, Bias) and edge.map.shared
        if not isinstance(edge.map, Scale | Dense | Bias) or shared:
            raise ValueError(
                f"edge {edge.name!r}: no Lipschitz constant for {type(edge.map).__name__}; "
                "covered are Scale, Dense and Bias without shared axes"
            )
    for name in module.order:
        activation = module.vertex(name).activation
        if activation is None or name in module.outputs:
            continue
        if not isinstance(activation, Pointwise) or not math.isfinite(activation.lipschitz):
            raise ValueError(f"vertex {name!r}: its activation has no known Lipschitz constant")


def _value_norm(lift: Lift, edge: Edge, value: np.ndarray, samples: int) -> float:
    """`sup ||dW h|| / ||dW||` over the edge: the norm of the values as a matrix."""
    fibre, shape = lift.sizes[edge.source], lift.module.vertex(edge.source).shape
    if isinstance(edge.map, Bias):
        return math.sqrt(fibre)
    value = value.reshape(samples, fibre, math.prod(shape))
    if isinstance(edge.map, Scale):
        # One number an edge meets all entries of the source: they are so many more samples.
        value = np.moveaxis(value, 2, 1).reshape(-1, fibre)
    return spectral_norm(value.reshape(-1, math.prod(value.shape[1:]))) / math.sqrt(samples)


def _weight_norm(lift: Lift, edge: Edge, weights) -> float:
    return spectral_norm(edge_matrix(lift, edge, weights))


def edge_matrix(lift: Lift, edge: Edge, weights) -> np.ndarray | scipy.sparse.csr_matrix:
    """All lifted edges over one base edge as a matrix, from entries of sources to entries of `Z`.

    `Scale` gives one entry an edge: what it does to every entry of an array alike.
    """
    edges = lifted_edges(lift, edge.name)
    held = np.asarray(edges.weights(weights), np.float64)
    n_a, n_b = lift.sizes[edge.source], lift.sizes[edge.target]
    outs = 1 if isinstance(edge.map, Scale) else math.prod(lift.module.preactivation_shape(edge))
    blocks = held.reshape(len(held), outs, -1)
    ins = blocks.shape[2]
    rows = edges.targets[:, None, None] * outs + np.arange(outs)[:, None]
    columns = edges.sources[:, None, None] * ins + np.arange(ins)
    rows, columns = (np.broadcast_to(index, blocks.shape).ravel() for index in (rows, columns))
    return scipy.sparse.csr_matrix((blocks.ravel(), (rows, columns)), (n_b * outs, n_a * ins))


def spectral_norm(matrix) -> float:
    """The largest singular value, or a bound on it where a decomposition would take too long."""
    if min(matrix.shape) <= LARGEST_DECOMPOSED:
        gram = matrix.T @ matrix if matrix.shape[1] <= matrix.shape[0] else matrix @ matrix.T
        gram = gram.toarray() if scipy.sparse.issparse(gram) else gram
        top = float(np.linalg.eigvalsh(gram)[-1])
        return math.sqrt(max(top, 0.0)) * (1 + 1e-12)
    size = abs(scipy.sparse.csr_matrix(matrix))
    sums = float(size.sum(axis=0).max()) * float(size.sum(axis=1).max())
    return math.sqrt(min(sums, float(size.power(2).sum())))
