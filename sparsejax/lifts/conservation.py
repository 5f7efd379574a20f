"""What gradient flow conserves on a lift, found from its module: balances of weights."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from sparsejax.graphs import Bias, Dense, Edge, PerceptronModule, Pointwise, Scale, Vertex
from sparsejax.lifts.lift import Lift, Params
from sparsejax.lifts.wiring import DenseWiring

# Large enough to leave the linear stretch of a function that saturates.
FACTORS = (1e-4, 0.3, 2.0, 1e4)
_BILINEAR = (Scale, Dense, Bias)


class ConservedQuantities(eqx.Module):
    """A function of a lift's parameters whose value is constant along every gradient flow.

    `homogeneous` and `linear` name the base vertices that it speaks of. The result has
    `"vertices"`: for each homogeneous base vertex, `||w_in||^2 - ||w_out||^2` of each lifted vertex
    above it, biases being in-edges; and `"layers"`: for each linear one the matrix
    `sum W_out^T W_out - sum W_in W_in^T` (biases again among `W_in`). Build it with
    `conserved_quantities`; `probe` records it along a trajectory.
    """

    lift: Lift
    homogeneous: tuple[str, ...] = eqx.field(static=True)
    linear: tuple[str, ...] = eqx.field(static=True)

    def __call__(self, params: Params) -> dict[str, dict[str, Array]]:
        """The conserved numbers at `params`."""
        return {
            "vertices": {name: self._balance(name, params) for name in self.homogeneous},
            "layers": {name: self._matrix(name, params) for name in self.linear},
        }

    def probe(self, t: Array, params: Params) -> dict[str, dict[str, Array]]:
        """The same as a probe of a trajectory, `probes={"conserved": quantities.probe}`."""
        return self(params)

    def scales(self, params: Params) -> dict[str, Float[Array, " n"]]:
        """`||w_in||^2 + ||w_out||^2` of each lifted vertex: what a drift is small against."""
        scales = {}
        for name in dict.fromkeys((*self.homogeneous, *self.linear)):
            into, out = self._norms(name, params)
            scales[name] = into + out
        return scales

    def _balance(self, name: str, params: Params) -> Float[Array, " n"]:
        into, out = self._norms(name, params)
        return into - out

    def _norms(self, name: str, params: Params) -> tuple[Array, Array]:
        module = self.lift.module
        into = [self._squares(edge, params) for edge in module.in_edges(name)]
        out = [self._squares(edge, params) for edge in module.out_edges(name)]
        zero = jnp.zeros((self.lift.sizes[name],), jnp.result_type(*params.values()))
        return (
            sum((jnp.sum(square, axis=0) for square in into), zero),
            sum(
                (
                    self._by_source(edge, square)
                    for edge, square in zip(module.out_edges(name), out, strict=True)
                ),
                zero,
            ),
        )

    def _squares(self, edge: Edge, params: Params) -> Float[Array, "slots n_b"]:
        """Squared norms of the lifted edges' weights; padding counts nothing."""
        weight = params[edge.name]
        squares = jnp.sum(jnp.square(weight), axis=tuple(range(2, weight.ndim)))
        present = getattr(self.lift.wirings[edge.name], "present", None)
        return squares if present is None else jnp.where(present, squares, 0)

    def _by_source(self, edge: Edge, squares: Float[Array, "slots n_b"]) -> Float[Array, " n_a"]:
        wiring = self.lift.wirings[edge.name]
        if isinstance(wiring, DenseWiring):
            return jnp.sum(squares, axis=1)
        # One past the last slot stands for no edge: it reads a zero.
        padded = jnp.append(squares.ravel(), jnp.zeros((), squares.dtype))
        return jnp.sum(padded[wiring.successors], axis=0)

    def _matrix(self, name: str, params: Params) -> Float[Array, "n n"]:
        module, size = self.lift.module, self.lift.sizes[name]
        total = jnp.zeros((size, size), jnp.result_type(*params.values()))
        for edge in module.out_edges(name):
            rows = params[edge.name].reshape(size, -1)
            total = total + rows @ rows.T
        for edge in module.in_edges(name):
            rows = jnp.moveaxis(params[edge.name], 1, 0).reshape(size, -1)
            total = total - rows @ rows.T
        return total


def conserved_quantities(lift: Lift) -> ConservedQuantities:
    """What is constant along gradient flow of any loss of the lift's function.

    A hidden vertex counts as *homogeneous* where its activation is positively homogeneous and so
    is every map that leaves it: then scaling its in-weights by `c > 0` and its out-weights by
    `1 / c` changes nothing, whence `<w_in, grad> = <w_out, grad>` and `||w_in||^2 - ||w_out||^2` is
    constant (Du, Hu, Lee 2018). It is *linear* where its activation is the identity, its out-edges'
    maps are linear in the activation, and all edges at it are there: then any invertible mixing of
    its fibre changes nothing, and `W_out^T W_out - W_in W_in^T` is constant (Arora, Cohen, Hazan
    2018). Inputs and outputs never count. Activations and maps of a user's own are put to the
    test on random numbers.

    Example:
        >>> import jax, sparsejax as sj
        >>> module = sj.graphs.mlp(inputs=3, hidden=2, outputs=1, activation="relu")
        >>> lift = sj.random_sparse_lift(jax.random.key(0), module, sizes=4, in_degree=2)
        >>> found = conserved_quantities(lift)
        >>> found.homogeneous, found.linear
        (('h1', 'h2'), ())
        >>> found(lift.init(jax.random.key(1)))["vertices"]["h1"].shape
        (4,)
    """
    module = lift.module
    hidden = [n for n in module.order if n not in module.inputs and n not in module.outputs]
    homogeneous = tuple(name for name in hidden if _is_homogeneous(module, name))
    linear = tuple(name for name in hidden if _is_linear(lift, name))
    return ConservedQuantities(lift, homogeneous, linear)


def _is_homogeneous(module: PerceptronModule, name: str) -> bool:
    vertex = module.vertex(name)
    if isinstance(vertex.activation, Pointwise):
        scales = vertex.activation.positively_homogeneous
    else:
        shapes = [module.preactivation_shape(edge) for edge in module.in_edges(name)]
        scales = _scales(vertex.activation, shapes)
    return scales and all(_map_scales(module, edge, vertex) for edge in module.out_edges(name))


def _map_scales(module: PerceptronModule, edge: Edge, source: Vertex) -> bool:
    if type(edge.map) in _BILINEAR:
        return True
    weight = np.random.default_rng(1).normal(size=module.weight_shape(edge))
    return _scales(
        lambda y: edge.map(jnp.asarray(weight, jnp.result_type(float)), y), [source.shape]
    )


def _is_linear(lift: Lift, name: str) -> bool:
    module = lift.module
    activation = module.vertex(name).activation
    edges = (*module.in_edges(name), *module.out_edges(name))
    return (
        activation == Pointwise("identity")
        and all(isinstance(lift.wirings[edge.name], DenseWiring) for edge in edges)
        and all(_map_adds(module, edge) for edge in module.out_edges(name))
    )


def _map_adds(module: PerceptronModule, edge: Edge) -> bool:
    """Whether `M(w, 2 y - 3 z) = 2 M(w, y) - 3 M(w, z)`: linear in the activation."""
    if type(edge.map) in _BILINEAR:
        return True
    rng = np.random.default_rng(2)
    shape = module.vertex(edge.source).shape
    with jax.ensure_compile_time_eval():
        dtype = jnp.result_type(float)
        weight, y, z = (
            jnp.asarray(rng.normal(size=s), dtype)
            for s in (module.weight_shape(edge), shape, shape)
        )
        mixed = edge.map(weight, 2 * y - 3 * z)
        return _close(mixed, 2 * edge.map(weight, y) - 3 * edge.map(weight, z))


def _scales(function, shapes: list[tuple[int, ...]]) -> bool:
    """Whether `f(c z) = c f(z)` for positive `c`, on random numbers and over all scales."""
    rng = np.random.default_rng(0)
    # Concrete numbers even where the lift is drawn inside a trace.
    with jax.ensure_compile_time_eval():
        dtype = jnp.result_type(float)
        for _ in range(4):
            arguments = [jnp.asarray(rng.normal(size=shape), dtype) for shape in shapes]
            once = function(*arguments)
            for c in FACTORS:
                if not _close(function(*(c * a for a in arguments)), c * once):
                    return False
    return True


def _close(got: PyTree, expected: PyTree) -> bool:
    got, expected = np.asarray(got), np.asarray(expected)
    tolerance = 1e4 * np.finfo(got.dtype).eps * np.max(np.abs(expected), initial=0)
    return bool(np.isfinite(got).all() and (np.abs(got - expected) <= tolerance).all())
