"""A lift computes what theory's forward pass says, edge by edge, and its derivatives."""

import dataclasses
import inspect

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sparsejax as sj
from sparsejax.graphs import Bias, Dense, Edge, EdgeMap, PerceptronModule, Scale, Vertex, mlp
from sparsejax.lifts import DenseWiring, SparseWiring
from sparsejax.lifts.initialisation import as_law
from sparsejax.lifts.lift import LiftError

from .reference import activations as reference, wired

BATCH = 3


@dataclasses.dataclass(frozen=True)
class FeatureMixer(EdgeMap):
    """A user's own map: `y W` on the feature axis of a `(tokens, features)` array."""

    features: int

    def weight_shape(self, source_shape):
        return (source_shape[1], self.features)

    def output_shape(self, source_shape):
        return (source_shape[0], self.features)

    def __call__(self, weight, activation):
        return activation @ weight


@dataclasses.dataclass(frozen=True)
class LogScale(EdgeMap):
    """Linear in the weight, not in the activation, and not finite where the activation is zero."""

    def weight_shape(self, source_shape):
        return ()

    def output_shape(self, source_shape):
        return source_shape

    def __call__(self, weight, activation):
        return weight * of(activation).log(activation**2)


def of(array):
    """NumPy for the reference's arrays, whose every operation would be compiled otherwise."""
    return np if isinstance(array, np.ndarray) else jnp


def soft_mul(q, k, v):
    weights = of(q).exp(q @ k.T / np.sqrt(q.shape[1]))
    return weights / weights.sum(axis=1, keepdims=True) @ v


def tanh_and_skip(skip, head):
    return of(head).tanh(head) + 2 * skip


def modulated(a, b, bias):
    return a * of(b).cos(b) + bias


def attention() -> PerceptronModule:
    """Three edges between the same two vertices, three arguments, a skip edge, array values."""
    mixer = FeatureMixer(2)
    return PerceptronModule(
        vertices=(
            Vertex("x", shape=(3, 2)),
            Vertex("stream", shape=(3, 2), activation="identity"),
            Vertex("head", shape=(3, 2), activation=soft_mul),
            Vertex("after", shape=(3, 2), activation=tanh_and_skip),
            Vertex("y", shape=(2,), activation="identity"),
        ),
        edges=(
            Edge("x", "stream"),
            Edge(
                "stream", "head", mixer, name="v"
            ),  # listed out of order: argument order is theirs
            Edge("stream", "head", mixer, name="q"),
            Edge("stream", "head", mixer, name="k"),
            Edge("head", "after", mixer),
            Edge("stream", "after", Scale(), name="skip"),
            Edge("after", "y", Dense(output=(2,))),
        ),
        inputs=("x",),
        outputs=("y",),
    )


def reordered_attention() -> PerceptronModule:
    """As `attention`, with the edges in the order of the activations' arguments."""
    module = attention()
    names = ["x->stream", "q", "k", "v", "skip", "head->after", "after->y"]
    return dataclasses.replace(module, edges=tuple(module.edge(name) for name in names))


def many_ends() -> PerceptronModule:
    """Several inputs and outputs, clamped inner vertices, constants, duplicated outputs."""
    return PerceptronModule(
        vertices=(
            Vertex("x", shape=(3,)),
            Vertex("s", clamped=4),
            Vertex("one", constant=True),
            Vertex("ones", constant=True, shape=(2,), clamped=2),
            Vertex("h", shape=(2,), activation="tanh"),
            Vertex("c", clamped=3, activation="sin"),
            Vertex("g", activation=modulated),
            Vertex("y", shape=(2, 2), activation="identity"),
            Vertex("z", clamped=3, activation="relu"),
        ),
        edges=(
            Edge("x", "h", Dense(output=(2,))),
            Edge("one", "h", Bias(shape=(2,))),
            Edge("h", "c", Dense()),
            Edge("s", "c", LogScale()),
            Edge("h", "g", Dense(), name="a"),
            Edge("h", "g", Dense(), name="b"),
            Edge("ones", "g", Dense()),
            Edge("c", "y", Dense(output=(2, 2))),
            Edge("g", "y", Dense(output=(2, 2))),
            Edge("g", "z"),
            Edge("s", "z"),
            Edge("one", "z", Bias()),
        ),
        inputs=("x", "s", "one", "ones"),
        outputs=("y", "z"),
    )


MODULES = {
    "mlp": mlp(inputs=3, hidden=2, outputs=2, input_as="coordinates"),
    "attention": reordered_attention(),
    "many ends": many_ends(),
}
SIZES = {
    "mlp": {"h1": 5, "h2": 4},
    "attention": {"stream": 4, "head": 3, "after": 4},
    "many ends": {"h": 4, "g": 5},
}


EMPTY = {"mlp": "one->h2", "attention": "skip", "many ends": "ones->g"}


def sparse(name, choose, masked):
    dense, rng = sj.dense_lift(MODULES[name], SIZES[name]), np.random.default_rng(0)
    wirings = {}
    for edge_name, wiring in dense.wirings.items():
        pairs = choose(rng, wiring.n_sources, wiring.n_targets)
        if masked and edge_name == EMPTY[name]:
            pairs = []
        wirings[edge_name] = wired(pairs, wiring.n_sources, wiring.n_targets, masked)
    return dataclasses.replace(dense, wirings=wirings)


def some(rng, n_a, n_b):
    """In-degrees of all sizes, often none."""
    return [(u, v) for u in range(n_a) for v in range(n_b) if rng.random() < 0.6]


def as_many_each(rng, n_a, n_b):
    """As many distinct predecessors at every target, so that no slot is padding."""
    return [(u, v) for v in range(n_b) for u in rng.permutation(n_a)[: (n_a + 1) // 2]]


KINDS = {
    "dense": lambda name: sj.dense_lift(MODULES[name], SIZES[name]),
    "masked": lambda name: sparse(name, some, masked=True),
    "regular": lambda name: sparse(name, as_many_each, masked=False),
}


def random_params(lift, seed=0):
    """Every slot, padding too, gets a weight that would show."""
    rng = np.random.default_rng(seed)
    params = {}
    for edge in lift.module.edges:
        wiring = lift.wirings[edge.name]
        shape = (wiring.slots, lift.sizes[edge.target], *lift.module.weight_shape(edge))
        params[edge.name] = jnp.asarray(rng.normal(size=shape))
    return params


def random_inputs(lift, seed=0, batch=BATCH):
    rng = np.random.default_rng(seed)
    x = {}
    for name in lift.module.fed_inputs:
        shape, size = lift.module.vertex(name).shape, lift.sizes[name]
        fibre = () if lift.module.clamped(name) == 1 else (size,)
        x[name] = jnp.asarray(rng.uniform(0.5, 1.5, size=(batch, *fibre, *shape)))
    return x


@eqx.filter_jit
def values_and_gradient(lift, params, x):
    """All vertices' values, and the gradient of a scalar function of the outputs."""

    def scalar(p):
        values = lift.activations(p, x)
        ends = [values[name] for name in lift.module.outputs]
        return sum(jnp.sum(jnp.sin(end + i)) for i, end in enumerate(ends)), values

    gradient, values = jax.grad(scalar, has_aux=True)(params)
    return values, gradient


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", MODULES)
def test_values_and_derivatives_are_those_of_theory(name, kind):
    lift = KINDS[kind](name)
    lift.validate()
    ends = lift.module.outputs
    params, direction, x = random_params(lift), random_params(lift, seed=1), random_inputs(lift)
    found, gradient = values_and_gradient(lift, params, x if len(x) > 1 else x["x"])

    expected = reference(lift, params, x)
    assert set(found) == set(expected)
    for vertex, values in expected.items():
        if lift.module.clamped(vertex) == 1:
            values = values[:, 0]
        assert found[vertex].shape == values.shape
        np.testing.assert_allclose(found[vertex], values, rtol=1e-11, atol=1e-11)

    def scalar(step):
        shifted = {e: np.asarray(params[e]) + step * np.asarray(direction[e]) for e in params}
        values = reference(lift, shifted, x)
        return sum(np.sum(np.sin(values[vertex] + i)) for i, vertex in enumerate(ends))

    h = 1e-4  # the five-point rule: truncation and cancellation both near 1e-11
    slope = (8 * (scalar(h) - scalar(-h)) - (scalar(2 * h) - scalar(-2 * h))) / (12 * h)
    paired = sum(float(np.vdot(gradient[e], direction[e])) for e in params)
    np.testing.assert_allclose(paired, slope, rtol=1e-7, atol=1e-7)
    for edge_name, wiring in lift.wirings.items():
        if isinstance(wiring, SparseWiring) and wiring.present is not None:
            assert (np.asarray(gradient[edge_name])[~np.asarray(wiring.present)] == 0).all()


def test_arguments_come_in_the_order_of_the_edges():
    """The same three edges in another order are another function: q, k and v are not alike."""
    lift = sj.dense_lift(attention(), SIZES["attention"])
    other = sj.dense_lift(reordered_attention(), SIZES["attention"])
    params, x = random_params(lift), random_inputs(lift)["x"]
    heads = eqx.filter_jit(lambda lift, params: lift.activations(params, x)["head"])
    found = heads(lift, params)
    expected = reference(lift, params, {"x": x})["head"]
    np.testing.assert_allclose(found, expected, rtol=1e-12)
    # The first edge listed is the first argument, the query, whatever its name.
    renamed = params | {"q": params["v"], "k": params["q"], "v": params["k"]}
    np.testing.assert_allclose(heads(other, renamed), found, rtol=1e-12)
    assert not np.allclose(heads(other, params), found)


def test_padding_has_no_part_even_where_the_map_is_not_finite_at_zero():
    """A logarithm in padding must not reach the gradient as 0 * inf."""
    module = PerceptronModule(
        (Vertex("x", clamped=3), Vertex("h", activation="tanh"), Vertex("y", activation="tanh")),
        (Edge("x", "h", LogScale()), Edge("h", "y", LogScale())),
        ("x",),
        ("y",),
    )
    lift = sj.dense_lift(module, 3)
    wiring = wired([(0, 0), (1, 0), (2, 1)], 3, 3, masked=True)  # one slot padded, one vertex bare
    readout = wired([(0, 0), (1, 0)], 3, 1, masked=True)
    lift = dataclasses.replace(lift, wirings={"x->h": wiring, "h->y": readout})
    params, x = random_params(lift), random_inputs(lift)["x"]
    slopes = jax.jit(jax.grad(lambda p, x: jnp.sum(lift.apply(p, x)), argnums=(0, 1)))
    gradients = slopes(params, x)
    assert all(bool(jnp.isfinite(leaf).all()) for leaf in jax.tree.leaves(gradients))
    assert gradients[0]["x->h"][1, 1] == 0


def test_a_sample_does_not_see_its_batch():
    lift = KINDS["masked"]("many ends")
    params, x = random_params(lift), random_inputs(lift, batch=5)
    apply = eqx.filter_jit(lift.apply)
    whole = apply(params, x)
    assert {name: value.shape for name, value in whole.items()} == {"y": (5, 2, 2), "z": (5, 3)}
    values = reference(lift, params, x)
    np.testing.assert_allclose(whole["y"], values["y"][:, 0], rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(whole["z"], values["z"], rtol=1e-11, atol=1e-12)
    others = random_inputs(lift, seed=1, batch=5)
    mixed = {name: value.at[3].set(x[name][3]) for name, value in others.items()}
    for name, value in apply(params, mixed).items():
        assert np.array_equal(value[3], whole[name][3])
        assert not np.array_equal(value[2], whole[name][2])


@pytest.mark.parametrize("name", MODULES)
def test_an_empty_batch_is_a_batch(name):
    lift = KINDS["regular"](name)

    def shapes(batch):
        x = random_inputs(lift, batch=batch)
        outputs = jax.eval_shape(lift.apply, random_params(lift), x if len(x) > 1 else x["x"])
        return [output.shape for output in jax.tree.leaves(outputs)]

    assert shapes(0) == [(0, *shape[1:]) for shape in shapes(2)]


def ones(key, shape, dtype):
    return jnp.asarray(np.ones(shape), dtype)


class TestInit:
    """In-degree one half above `h2`, twelve entries seen by every weight into `h1`."""

    lift = dataclasses.replace(
        sj.dense_lift(mlp(inputs=12, hidden=2, outputs=1), sizes=300),
        expected_in_degrees=(
            ("x->h1", 1.0),
            ("one->h1", 1.0),
            ("h1->h2", 0.5),
            ("one->h2", 1.0),
            ("h2->y", 300.0),
            ("one->y", 1.0),
        ),
    )

    def test_every_weight_has_the_gain_over_the_root_of_the_in_degree(self):
        gains = {"x->h1": 3.0, "h1->h2": 2}
        params = self.lift.init(jax.random.key(1), gain=gains, bias_scale=0.25, law=ones)
        expected = {
            "x->h1": 3 / np.sqrt(12),
            "one->h1": 0.25,
            "h1->h2": 2 / np.sqrt(0.5),
            "one->h2": 0.25,
            "h2->y": 1 / np.sqrt(300),
            "one->y": 0.25,
        }
        shapes = {"x->h1": (1, 300, 12), "h1->h2": (300, 300), "h2->y": (300, 1, 1)}
        assert set(params) == set(expected)
        for name, weights in params.items():
            np.testing.assert_allclose(weights, expected[name], rtol=1e-14)
            assert weights.shape == shapes.get(name, weights.shape)
        everywhere = self.lift.init(jax.random.key(1), gain=3, bias_scale=1, law=ones)
        np.testing.assert_allclose(everywhere["h1->h2"], 3 / np.sqrt(0.5), rtol=1e-14)
        np.testing.assert_allclose(everywhere["one->y"], 1, rtol=1e-14)

    @pytest.mark.parametrize("law", ["normal", "uniform"])
    def test_laws_have_unit_variance_and_independent_draws(self, law):
        shape = (200, 50)
        draw = jax.jit(lambda key: as_law(law)(key, shape, jnp.dtype(float)))
        a, b = (np.asarray(draw(jax.random.key(seed))).ravel() for seed in (0, 1))
        n, fourth = len(a), 3.0 if law == "normal" else 9 / 5
        assert abs(a.mean()) < 4 / np.sqrt(n)
        # The variance of a sample variance: (fourth moment - 1) / n.
        assert abs(np.mean(a**2) - 1) < 4 * np.sqrt((fourth - 1) / n)
        assert (np.abs(a).max() > 1.75) == (law == "normal")
        assert abs(np.corrcoef(a, b)[0, 1]) < 4 / np.sqrt(n)

    def test_edges_and_keys_draw_apart(self):
        """Raw bits of the key that each edge's law gets: no two alike, the same for one key."""

        def law(key, shape, dtype):
            seen.append(jax.random.key_data(key).tolist())
            return jnp.zeros(shape, dtype)

        seen: list = []
        for seed in (1, 2, 1):
            self.lift.init(jax.random.key(seed), law=law)
        first, second, again = seen[:6], seen[6:12], seen[12:]
        assert first == again
        assert len({tuple(bits) for bits in first + second}) == 12

    def test_zero_outputs_silences_every_edge_into_an_output(self):
        params = self.lift.init(jax.random.key(1), zero_outputs=True, law=ones)
        silent = {name for name, weights in params.items() if not np.any(weights)}
        assert silent == {"h2->y", "one->y"}

    def test_dtype(self):
        params = self.lift.init(jax.random.key(1), law=ones, dtype=jnp.float32)
        assert {w.dtype for w in params.values()} == {jnp.dtype(jnp.float32)}

    @pytest.mark.parametrize(
        ("arguments", "reason"),
        [
            ({"law": "cauchy"}, "unknown initialisation law 'cauchy'; known are normal, uniform"),
            ({"gain": {"h1->y": 2.0}}, "gain: no edge 'h1->y'; the module has x->h1"),
            ({"gain": {"one->h1": 2.0}}, "edge 'one->h1' is a bias"),
        ],
    )
    def test_unknown_names_are_refused(self, arguments, reason):
        with pytest.raises(ValueError, match=reason):
            self.lift.init(jax.random.key(0), **arguments)


class TestCounts:
    def test_edges_and_parameters(self):
        lift = KINDS["masked"]("many ends")
        listed = {edge.name: len(lift.edges(edge.name)) for edge in lift.module.edges}
        assert lift.edge_count() == sum(listed.values())
        entries = {e.name: int(np.prod(lift.module.weight_shape(e))) for e in lift.module.edges}
        assert lift.parameter_count() == sum(listed[e] * entries[e] for e in listed)
        dense = KINDS["dense"]("mlp")
        assert dense.edge_count() == 3 * 5 + 5 + 5 * 4 + 4 + 4 + 1
        assert dense.parameter_count() == 3 * 5 + 5 + 5 * 4 + 4 + 4 * 2 + 2

    def test_listed_edges_come_back_sorted_by_target_and_source(self):
        pairs = np.array([[4, 1], [0, 3], [2, 1], [1, 0], [3, 1]])
        lift = sj.lift_from_edges(MODULES["mlp"], SIZES["mlp"], {"h1->h2": pairs})
        found = lift.edges("h1->h2").tolist()
        assert found == [[1, 0], [2, 1], [3, 1], [4, 1], [0, 3]]
        assert lift.in_degrees["h1->h2"] == 5 / 4
        assert isinstance(lift.wirings["x->h1"], DenseWiring)  # not named: whole
        assert len(lift.edges("x->h1")) == 15

    def test_a_lift_from_edges_has_the_wiring_that_it_documents(self):
        pairs = some(np.random.default_rng(5), 5, 4)
        given = np.random.default_rng(6).permutation(pairs)
        lift = sj.lift_from_edges(MODULES["mlp"], SIZES["mlp"], {"h1->h2": given})
        expected = wired(pairs, 5, 4, masked=True)
        assert eqx.tree_equal(lift.wirings["h1->h2"], expected)


class TestHomomorphism:
    """1.1 is checked for any lift that a user supplies."""

    def listed(self, pairs, name="h1->h2"):
        # Without the tests' own type checks, which would come first.
        listed = inspect.unwrap(sj.lift_from_edges)
        return listed(MODULES["mlp"], SIZES["mlp"], {name: pairs})

    @pytest.mark.parametrize(
        ("pairs", "reason"),
        [
            ([[5, 0]], "'h1->h2': 5 -> 0 leaves the 5 vertices of the source"),
            ([[0, 4]], "'h1->h2': 0 -> 4 leaves the 4 vertices of the target"),
            ([[-1, 0]], "'h1->h2': -1 -> 0 leaves"),
            ([[1, 2], [0, 0], [1, 2]], "'h1->h2': the edge 1 -> 2 occurs twice"),
            ([[0, 1, 2], [0, 1, 2]], r"'h1->h2': expected integers of shape .*\(2, 3\)"),
            ([[0.5, 1.0]], "'h1->h2': expected integers.*float64"),
        ],
    )
    def test_bad_edges_are_named(self, pairs, reason):
        with pytest.raises(LiftError, match=reason):
            self.listed(np.array(pairs))

    def test_unknown_edge(self):
        with pytest.raises(ValueError, match="no edge 'h2->h1'; the module has x->h1"):
            self.listed(np.array([[0, 0]]), name="h2->h1")

    @pytest.mark.parametrize(
        ("change", "reason"),
        [
            (lambda w: {"predecessors": w.predecessors.at[0, 0].set(9)}, "predecessor 9, outside"),
            (
                lambda w: {"predecessors": w.predecessors.at[0, 0].set(-1)},
                "predecessor -1, outside",
            ),
            (
                lambda w: {"predecessors": w.predecessors.at[0, 0].set(w.predecessors[1, 0])},
                "twice",
            ),
            (lambda w: {"predecessors": w.predecessors.at[2, 1].set(77)}, "padded slot"),
            # The other ends of real edges, and edges over the wrong fibres.
            (lambda w: {"predecessors": w.predecessors.at[0, 0].set(4)}, "transposed wiring"),
            (lambda w: {"successors": w.successors[:, ::-1]}, "transposed wiring"),
            (
                lambda w: {"successors_present": w.successors_present.at[0, 0].set(False)},
                "transpos",
            ),
            (lambda w: {"present": w.present.at[0, 0].set(False)}, "transposed wiring"),
            (lambda w: {"positions": w.positions.at[0, 0].set(w.positions[1, 0])}, "positions"),
            (lambda w: {"positions": w.positions.at[2, 1].set(0)}, "positions"),
            (lambda w: {"n_sources": 6}, "joins 6 to 4 vertices, the fibres have 5 and 4"),
        ],
    )
    def test_a_tampered_wiring_is_found(self, change, reason):
        pairs = np.array([[0, 0], [1, 0], [2, 0], [0, 1], [3, 2], [2, 3], [3, 3]])
        lift = self.listed(pairs)
        wiring = dataclasses.replace(lift.wirings["h1->h2"], **change(lift.wirings["h1->h2"]))
        tampered = dataclasses.replace(lift, wirings=lift.wirings | {"h1->h2": wiring})
        lift.validate()
        with pytest.raises(LiftError, match=f"'h1->h2'.*{reason}"):
            tampered.validate()

    def test_fibres_and_wirings_must_be_there(self):
        lift = KINDS["dense"]("mlp")
        for change, reason in (
            ({"fibre_sizes": (("x", 3), ("one", 1), ("h1", 5), ("y", 1))}, "vertex 'h2': None"),
            (
                {"fibre_sizes": tuple((lift.sizes | {"x": 4}).items())},
                "vertex 'x': 4 lifted vertices, expected 3",
            ),
            ({"fibre_sizes": tuple((lift.sizes | {"h1": 6}).items())}, "'x->h1'.*joins 3 to 5"),
            ({"wirings": {"x->h1": lift.wirings["x->h1"]}}, "edge 'one->h1': no wiring"),
        ):
            with pytest.raises(LiftError, match=reason):
                dataclasses.replace(lift, **change).validate()


class TestInputErrors:
    lift = sj.dense_lift(MODULES["mlp"], SIZES["mlp"])
    ends = sj.dense_lift(MODULES["many ends"], SIZES["many ends"])

    @pytest.mark.parametrize("shape", [(2, 4), (2, 3, 1), (3,)])
    def test_shapes_of_x(self, shape):
        with pytest.raises(ValueError, match=r"input 'x': expected shape \(batch, 3\)"):
            self.lift.apply(random_params(self.lift), jnp.ones(shape))

    def test_inputs_by_name(self):
        params, x = random_params(self.ends), random_inputs(self.ends)
        with pytest.raises(ValueError, match="the module feeds x, s; got x"):
            self.ends.apply(params, x["x"])
        with pytest.raises(ValueError, match="the module feeds x, s; got x, s, one"):
            self.ends.apply(params, x | {"one": jnp.ones((BATCH, 1))})
        with pytest.raises(ValueError, match=r"number of samples: \[2, 3\]"):
            self.ends.apply(params, x | {"s": x["s"][:2]})

    def test_params(self):
        params = random_params(self.lift)
        x = jnp.ones((2, 3))
        with pytest.raises(ValueError, match="params lack edge 'h2->y'"):
            self.lift.apply({e: w for e, w in params.items() if e != "h2->y"}, x)
        wrong = params | {"h1->h2": params["h1->h2"].T}
        with pytest.raises(ValueError, match=r"'h1->h2': expected shape \(5, 4\), got \(4, 5\)"):
            self.lift.apply(wrong, x)
