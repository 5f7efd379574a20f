"""The two laws of the random sparse lift, its ensembles, and what it refuses to build."""

import dataclasses

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats

import sparsejax as sj
from sparsejax.graphs import Dense, Edge, PerceptronModule, Vertex, mlp
from sparsejax.lifts import DenseWiring, SparseWiring

from .reference import activations as reference

MODULE = mlp(inputs=3, hidden=2, outputs=2)
SIZES = {"h1": 20, "h2": 12}
LAWS = {"binomial": 3.5, "regular": 4}
KEYS = jax.random.split(jax.random.key(7), 400)


def draw(key, law):
    return sj.random_sparse_lift(key, MODULE, SIZES, {"h2": LAWS[law]}, law=law)


@pytest.fixture(scope="module", params=LAWS)
def law(request):
    return request.param


@pytest.fixture(scope="module")
def ensemble(law):
    """400 lifts in one program."""
    return jax.jit(jax.vmap(lambda key: draw(key, law)))(KEYS)


def member(ensemble, i):
    return jax.tree.map(lambda leaf: jnp.asarray(np.asarray(leaf)[i]), ensemble)


def random_params(lift, lifts=()):
    """For an ensemble, `lifts` is the leading axis."""
    rng = np.random.default_rng(0)
    params = {}
    for edge in MODULE.edges:
        slots, weight = lift.wirings[edge.name].slots, lift.module.weight_shape(edge)
        shape = (*lifts, slots, lift.sizes[edge.target], *weight)
        params[edge.name] = jnp.asarray(rng.normal(size=shape) / np.sqrt(slots))
    return params


@pytest.fixture(scope="module")
def adjacency(ensemble):
    """Presence of every possible edge over `h1->h2`: (lifts, sources, targets)."""
    wiring = ensemble.wirings["h1->h2"]
    predecessors = np.asarray(wiring.predecessors)
    present = np.ones(predecessors.shape, bool)
    if wiring.present is not None:
        present = np.asarray(wiring.present)
    counts = np.zeros((len(KEYS), SIZES["h1"], SIZES["h2"]), int)
    lifts, slots, targets = np.nonzero(present)
    np.add.at(counts, (lifts, predecessors[lifts, slots, targets], targets), 1)
    return counts


def fits(counts, probabilities):
    """Pearson's test, cells of small expectation pooled into the next."""
    expected, observed, pooled = [], [], [0.0, 0.0]
    for o, p in zip(counts, probabilities, strict=True):
        pooled = [pooled[0] + o, pooled[1] + p * counts.sum()]
        if pooled[1] > 8:
            observed.append(pooled[0])
            expected.append(pooled[1])
            pooled = [0.0, 0.0]
    observed[-1] += pooled[0]
    expected[-1] += pooled[1]
    statistic = np.sum((np.array(observed) - expected) ** 2 / np.array(expected))
    return scipy.stats.chi2.sf(statistic, len(expected) - 1)


class TestLaws:
    """1.2, on a fixed seed: every p-value here is that of a true law with probability 0.999."""

    def test_lifted_edges_are_distinct(self, adjacency):
        assert adjacency.max() == 1

    def test_every_edge_is_as_likely(self, adjacency, law):
        p = LAWS[law] / SIZES["h1"]
        n = len(KEYS)
        counts = adjacency.sum(axis=0)
        total = np.sum((counts - n * p) ** 2) / (n * p * (1 - p))
        freedom = counts.size
        if law == "regular":  # the edges into a target add up to a constant
            total, freedom = total * 19 / 20, 19 * SIZES["h2"]
        assert 1e-3 < scipy.stats.chi2.sf(total, freedom) < 1 - 1e-3

    def test_in_degrees(self, adjacency, law):
        degrees = adjacency.sum(axis=1).ravel()
        if law == "regular":
            assert (degrees == 4).all()
            return
        n_a, p = SIZES["h1"], LAWS[law] / SIZES["h1"]
        expected = scipy.stats.binom.pmf(np.arange(n_a + 1), n_a, p)
        assert fits(np.bincount(degrees, minlength=n_a + 1), expected) > 1e-3
        edges = adjacency.sum(axis=(1, 2))
        deviation = np.sqrt(n_a * SIZES["h2"] * p * (1 - p) / len(KEYS))
        assert abs(edges.mean() - SIZES["h2"] * n_a * p) < 3.3 * deviation

    def test_targets_choose_independently(self, adjacency, law):
        """Out-degrees are binomial under both laws: one chance of each target."""
        n_b, p = SIZES["h2"], LAWS[law] / SIZES["h1"]
        expected = scipy.stats.binom.pmf(np.arange(n_b + 1), n_b, p)
        # One source a lift under the regular law, where those of one lift are dependent.
        degrees = adjacency.sum(axis=2)
        degrees = degrees[:, 0] if law == "regular" else degrees.ravel()
        assert fits(np.bincount(degrees, minlength=n_b + 1), expected) > 1e-3

    def test_edges_into_a_target_are_independent_or_exclude_each_other(self, adjacency, law):
        """Every pair of sources of one target, against the exact probability of both."""
        lam, n_a, n = LAWS[law], SIZES["h1"], len(KEYS)
        both = (lam / n_a) ** 2 if law == "binomial" else lam * (lam - 1) / (n_a * (n_a - 1))
        pairs = np.einsum("luv,lwv->uw", adjacency, adjacency)[np.triu_indices(n_a, 1)]
        trials = n * SIZES["h2"]
        worst = np.abs(pairs - trials * both) / np.sqrt(trials * both * (1 - both))
        assert worst.max() < scipy.stats.norm.isf(0.5e-3 / len(pairs))

    def test_edges_over_two_base_edges_are_drawn_apart(self):
        module = PerceptronModule(
            (
                Vertex("x"),
                Vertex("h", activation="tanh"),
                Vertex("g", activation=lambda a, b: a * b),
                Vertex("y", activation="identity"),
            ),
            (Edge("x", "h"), Edge("h", "g", name="a"), Edge("h", "g", name="b"), Edge("g", "y")),
            ("x",),
            ("y",),
        )
        lift = sj.random_sparse_lift(
            jax.random.key(0), module, {"h": 20, "g": 12}, {"g": 4}, law="regular"
        )
        a, b = ({tuple(e) for e in lift.edges(name).tolist()} for name in "ab")
        # Independent: 48 * 48 / 240 = 9.6 in common on average, deviation below 3.
        assert len(a) == len(b) == 48 and len(a & b) < 20


class TestHomomorphism:
    """1.1: every lifted edge has the right end vertices, checked through `edges`."""

    def test_ends(self, ensemble, adjacency):
        for i in range(3):
            lift = member(ensemble, i)
            lift.validate()
            for edge in MODULE.edges:
                pairs = lift.edges(edge.name)
                n_a, n_b = lift.sizes[edge.source], lift.sizes[edge.target]
                assert pairs.min() >= 0 and (pairs < [n_a, n_b]).all()
                if edge.name == "h1->h2":
                    assert len(pairs) == adjacency[i].sum()
                    assert adjacency[i][pairs[:, 0], pairs[:, 1]].all()
                else:
                    assert len(np.unique(pairs, axis=0)) == n_a * n_b == len(pairs)

    def test_sizes_and_in_degrees_are_told(self, ensemble, law):
        assert ensemble.sizes == {"x": 1, "one": 1, "h1": 20, "h2": 12, "y": 1}
        assert ensemble.in_degrees["h1->h2"] == LAWS[law]
        assert ensemble.in_degrees["h2->y"] == 12


class TestTraces:
    """A lift drawn inside a trace, where shapes cannot depend on the draw, is the same function."""

    def test_an_ensemble_is_its_single_lifts(self, ensemble, law):
        x = jnp.asarray(np.random.default_rng(0).normal(size=(4, 3)))
        few = member(ensemble, slice(0, 3))
        params = random_params(few, lifts=(3,))
        together = jax.jit(jax.vmap(lambda lift, p: lift.apply(p, x)))(few, params)
        for i in range(2):
            alone = draw(KEYS[i], law)
            assert np.array_equal(alone.edges("h1->h2"), member(few, i).edges("h1->h2"))
            own = {name: np.asarray(weights)[i] for name, weights in params.items()}
            # Only padding differs, which comes last.
            own["h1->h2"] = own["h1->h2"][: alone.wirings["h1->h2"].slots]
            y = reference(alone, own, {"x": x})["y"][:, 0]
            np.testing.assert_allclose(together[i], y, rtol=1e-12, atol=1e-14)

    def test_an_ensemble_trains_in_one_compiled_call(self, ensemble, law):
        traces = []
        rng = np.random.default_rng(0)
        x, y = jnp.asarray(rng.normal(size=(4, 3))), jnp.asarray(rng.normal(size=(4, 2)))

        @eqx.filter_jit
        def train(lifts, params, x, y):
            def one(lift, params):
                traces.append(None)

                def loss(p):
                    return jnp.mean(jnp.sum((lift.apply(p, x) - y) ** 2, axis=1))

                def step(p, _):
                    value, slope = jax.value_and_grad(loss)(p)
                    return jax.tree.map(lambda a, b: a - 0.02 * b, p, slope), value

                return jax.lax.scan(step, params, length=10)

            return jax.vmap(one)(lifts, params)

        first, second = member(ensemble, slice(0, 3)), member(ensemble, slice(3, 6))
        start = jax.tree.map(  # one start for all: what differs is the wiring
            lambda w: jnp.broadcast_to(w, (3, *w.shape)), random_params(member(ensemble, 0))
        )
        params, losses = train(first, start, x, y)
        _, others = train(second, start, x, y)
        assert len(traces) == 1
        for curve in (*losses, *others):
            assert np.all(np.diff(curve) < 0)
        assert len({float(curve[0]) for curve in (*losses, *others)}) == 6

    def test_the_key_decides(self, ensemble):
        drawn = {member(ensemble, i).edges("h1->h2").tobytes() for i in range(5)}
        assert len(drawn) == 5


class TestWhatIsSparse:
    """Which base edges a number, a vertex's name and an edge's name reach."""

    module = PerceptronModule(
        (
            Vertex("x", shape=(2,)),
            Vertex("s", clamped=5),
            Vertex("h", activation="tanh"),
            Vertex("g", activation="tanh"),
            Vertex("y", activation="identity"),
        ),
        (
            Edge("x", "h", Dense()),
            Edge("s", "h"),
            Edge("h", "g"),
            Edge("s", "g"),
            Edge("g", "y"),
        ),
        ("x", "s"),
        ("y",),
    )

    def in_degrees(self, in_degree, sizes=6):
        lift = jax.eval_shape(
            lambda key: sj.random_sparse_lift(key, self.module, sizes, in_degree), KEYS[0]
        )
        kinds = {name: isinstance(w, SparseWiring) for name, w in lift.wirings.items()}
        assert lift.in_degrees.keys() == kinds.keys()
        return {name: d for name, d in lift.in_degrees.items() if kinds[name]}

    def test_a_number_spares_single_sources_and_the_readout(self):
        assert self.in_degrees(2) == {"s->h": 2, "h->g": 2, "s->g": 2}

    def test_a_vertex_speaks_for_its_in_edges_and_an_edge_for_itself(self):
        assert self.in_degrees({"g": 2}) == {"h->g": 2, "s->g": 2}
        assert self.in_degrees({"g": 2, "s->g": 5, "y": 2}) == {"h->g": 2, "g->y": 2}
        assert self.in_degrees({"h->g": 2, "s->h": 0.5}) == {"h->g": 2, "s->h": 0.5}

    def test_as_many_as_there_are_is_dense(self):
        lift = sj.random_sparse_lift(jax.random.key(0), self.module, 5, 5)
        assert all(isinstance(wiring, DenseWiring) for wiring in lift.wirings.values())
        assert lift.in_degrees == sj.dense_lift(self.module, 5).in_degrees

    def test_one_duplicated_vertex_is_still_duplicated(self):
        degrees = self.in_degrees({"h->g": 0.5}, sizes={"h": 1, "g": 6})
        assert degrees == {"h->g": 0.5}
        with pytest.raises(ValueError, match="'h1->h2'.*above the number of predecessors, 1"):
            sj.random_sparse_lift(jax.random.key(0), MODULE, sizes=1, in_degree=6)

    def test_sizes_by_vertex_may_repeat_a_clamp(self):
        lift = sj.dense_lift(self.module, {"h": 2, "g": 3, "s": 5, "y": 1})
        assert lift.sizes == {"x": 1, "s": 5, "h": 2, "g": 3, "y": 1}


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"sizes": 0}, "'h1': the size must be a positive integer, got 0"),
        ({"sizes": -3}, "'h1': the size must be a positive integer, got -3"),
        ({"sizes": {"h1": 8, "h2": -1}}, "'h2': the size must be a positive integer, got -1"),
        ({"sizes": {"h1": True, "h2": 8}}, "'h1': the size must be a positive integer, got True"),
        ({"sizes": {"h1": 8}}, "sizes says nothing of vertex 'h2'"),
        ({"sizes": {"h1": 8, "h2": 8, "h3": 8}}, "no vertex 'h3'; the module has x, one, h1"),
        ({"sizes": {"h1": 8, "h2": 8, "y": 2}}, "'y' is clamped to 1, sizes says 2"),
        ({"in_degree": 9}, "'h1->h2': in-degree 9 is above the number of predecessors, 8"),
        ({"in_degree": {"h2": 9}}, "'h1->h2': in-degree 9 is above"),
        ({"in_degree": {"h2->y": 9, "h2": 3}}, "'h2->y': in-degree 9 is above"),
        ({"in_degree": {"x->h1": 2, "h2": 3}}, "'x->h1': in-degree 2 is above.*, 1"),
        ({"in_degree": 0}, "'h1->h2': the in-degree must be positive, got 0"),
        ({"in_degree": -2.5}, "'h1->h2': the in-degree must be positive, got -2.5"),
        ({"in_degree": float("nan")}, "'h1->h2': the in-degree must be positive, got nan"),
        ({"in_degree": {"h3": 2}}, "names 'h3', which is neither an edge nor a vertex"),
        ({"in_degree": {"y": 2}}, "says nothing of edge 'h1->h2'.*give it 8"),
        ({"in_degree": 2.5, "law": "regular"}, "'h1->h2': the regular law needs a whole.*2.5"),
    ],
)
def test_what_cannot_be_built_is_named(changes, reason):
    arguments = {"sizes": 8, "in_degree": 3} | changes
    with pytest.raises(ValueError, match=reason):
        sj.random_sparse_lift(jax.random.key(0), MODULE, **arguments)


def test_an_unknown_law_is_named():
    # The type checker, where it is on, comes first.
    with pytest.raises(Exception, match="poisson"):
        sj.random_sparse_lift(jax.random.key(0), MODULE, 8, 3, law="poisson")


def test_bad_sizes_of_a_module_without_free_vertices_have_no_meaning():
    clamped = dataclasses.replace(
        MODULE,
        vertices=tuple(dataclasses.replace(v, clamped=v.clamped or 1) for v in MODULE.vertices),
    )
    assert sj.dense_lift(clamped, {}).edge_count() == len(MODULE.edges)
