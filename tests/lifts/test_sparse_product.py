"""The product over a wiring is the product with the dense matrix of the same edges, and so are its
derivatives of every order; the samplers draw from the law they are named for."""

from functools import partial

import equinox as eqx
import hypothesis.extra.numpy
import hypothesis.strategies as st
import jax
import jax.numpy as jnp
import numpy as np
import pytest
import scipy.stats
from hypothesis import given, settings

from sparsejax.lifts.sampling import sample_binomial, sample_regular
from sparsejax.lifts.sparse_product import collect, sparse_product, spread
from sparsejax.lifts.transposition import transpose_wiring
from sparsejax.lifts.wiring import DenseWiring, SparseWiring

SAMPLERS = {"regular": sample_regular, "binomial": sample_binomial}


def key(seed):
    return jax.random.key(seed)


def densify(weights, wiring):
    """The matrix (n_b, n_a) of the product: one-hot, so that nothing is shared with the code."""
    sources = jnp.arange(wiring.n_sources, dtype=jnp.int32)
    hot = wiring.predecessors[:, :, None] == sources[None, None, :]
    if wiring.present is not None:
        hot = hot & wiring.present[:, :, None]
    return jnp.einsum("sv,svu->vu", weights, hot.astype(weights.dtype))


def dense_product(weights, y, wiring):
    return densify(weights, wiring) @ y


def wiring_of(edges, capacity=None):
    """The wiring of a boolean matrix (n_a, n_b) of edges, without a sampler."""
    n_sources, n_targets = edges.shape
    degrees = edges.sum(0)
    slots = np.arange(max(degrees.max(initial=0), capacity or 0))
    present = slots[:, None] < degrees[None, :]
    predecessors = np.argsort(~edges, axis=0, kind="stable")
    predecessors = np.resize(predecessors, (len(slots), n_targets))
    return SparseWiring.from_predecessors(predecessors, n_sources, present)


def bernoulli(n_sources, n_targets, in_degree, seed=0):
    random = np.random.default_rng(seed)
    return wiring_of(random.random((n_sources, n_targets)) < in_degree / n_sources)


def without_mask(wiring):
    """The same predecessors, every slot an edge: the shape of the regular law."""
    random = np.random.default_rng(0)
    n, k = wiring.n_sources, wiring.slots
    predecessors = [random.choice(n, k, replace=False) for _ in range(wiring.n_targets)]
    return SparseWiring.from_predecessors(np.stack(predecessors, 1), n)


def draw(wiring, batch, seed=0, dtype=jnp.float64):
    random = np.random.default_rng(seed)
    weights = jnp.asarray(random.normal(size=wiring.predecessors.shape), dtype)
    return weights, jnp.asarray(random.normal(size=(wiring.n_sources, batch)), dtype)


def close(a, b, tolerance=1e-12):
    for x, y in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True):
        scale = max(1.0, float(np.max(np.abs(y), initial=0.0)))
        np.testing.assert_allclose(x, y, rtol=0, atol=tolerance * scale)


def two_layers(product, weights, y, wiring):
    return product(weights, jnp.tanh(product(weights, y, wiring)), wiring)


def loss(product, weights, y, wiring):
    return jnp.sum(jnp.sin(two_layers(product, weights, y, wiring)) ** 2)


def gradient(product, weights, y, wiring):
    return jax.grad(partial(loss, product), (0, 1))(weights, y, wiring)


def jvp_of_vjp(product, weights, y, wiring):
    def f(weights, y):
        return gradient(product, weights, y, wiring)

    return jax.jvp(f, (weights, y), (jnp.cos(weights), jnp.cos(y)))[1]


def vjp_of_vjp(product, weights, y, wiring):
    def f(weights, y):
        return sum(jnp.sum(jnp.cos(g)) for g in gradient(product, weights, y, wiring))

    return jax.grad(f, (0, 1))(weights, y)


def ntk(product, weights, y, wiring):
    jacobian = jax.jacrev(lambda w: two_layers(product, w, y, wiring).ravel())(weights)
    return jnp.einsum("isv,jsv->ij", jacobian, jacobian)


def forward_over_forward(product, weights, y, wiring):
    def f(weights):
        return jax.jvp(lambda w: two_layers(product, w, y, wiring), (weights,), (weights,))[1]

    return jax.jvp(f, (weights,), (jnp.cos(weights),))[1]


def step_in_scan(product, weights, y, wiring):
    def step(y, _):
        return jnp.tanh(product(weights, y, wiring)), None

    return jax.grad(lambda y: jnp.sum(jax.lax.scan(step, y, None, length=3)[0]))(y)


DERIVATIVES = [
    two_layers,
    gradient,
    jvp_of_vjp,
    vjp_of_vjp,
    ntk,
    pytest.param(forward_over_forward, marks=pytest.mark.slow),
    step_in_scan,
]


@pytest.mark.parametrize("derivative", DERIVATIVES, ids=lambda f: f.__name__)
def test_derivatives_equal_those_of_the_dense_product(derivative):
    padded = bernoulli(7, 7, 3)
    for wiring in (padded, without_mask(padded)):
        weights, y = draw(wiring, batch=2)
        sparse = jax.jit(partial(derivative, sparse_product))(weights, y, wiring)
        close(sparse, jax.jit(partial(derivative, dense_product))(weights, y, wiring))


@settings(max_examples=8)
@given(
    edges=hypothesis.extra.numpy.arrays(
        bool, hypothesis.extra.numpy.array_shapes(min_dims=2, max_dims=2, max_side=6)
    ),
    batch=st.sampled_from([1, 3]),
    dtype=st.sampled_from([jnp.float32, jnp.float64]),
)
def test_any_edges_equal_the_dense_product(edges, batch, dtype):
    wiring = wiring_of(edges)
    check_wiring(wiring)
    weights, y = draw(wiring, batch, dtype=dtype)
    np.testing.assert_array_equal(densify(jnp.ones_like(weights), wiring).T > 0, edges)
    cotangent = jnp.cos(jnp.arange(edges.shape[1] * batch, dtype=dtype)).reshape(-1, batch)

    @partial(jax.jit, static_argnums=0)
    def pulled_back(product, weights, y):
        z, pullback = jax.vjp(lambda w, y: product(w, y, wiring), weights, y)
        return (z, *pullback(cotangent))

    sparse = pulled_back(sparse_product, weights, y)
    assert all(x.dtype == dtype for x in sparse)
    close(sparse, pulled_back(dense_product, weights, y), 1e-12 if dtype == jnp.float64 else 1e-5)


def test_no_slots_and_no_sources_with_edges():
    wiring = wiring_of(np.zeros((3, 4), bool))
    weights, y = draw(wiring, 2)
    z, pullback = jax.vjp(lambda w, y: sparse_product(w, y, wiring), weights, y)
    assert weights.shape == (0, 4) and not z.any()
    assert not pullback(jnp.ones_like(z))[1].any()
    lone = SparseWiring.from_predecessors(np.array([[1, 0]]), 3, np.array([[True, False]]))
    weights, y = draw(lone, 1)
    z, pullback = jax.vjp(lambda w, y: sparse_product(w, y, lone), weights, y)
    w_bar, y_bar = pullback(jnp.ones_like(z))
    np.testing.assert_array_equal(z[:, 0], [weights[0, 0] * y[1, 0], 0.0])
    np.testing.assert_array_equal(w_bar, [[y[1, 0], 0.0]])
    np.testing.assert_array_equal(y_bar[:, 0], [0.0, weights[0, 0], 0.0])


def test_absent_slots_ignore_their_weights_even_when_not_finite():
    wiring = bernoulli(9, 9, 3)
    weights, y = draw(wiring, 2)
    absent = ~wiring.present
    assert absent.any()
    spoilt = jnp.where(absent, jnp.nan, weights)
    np.testing.assert_array_equal(
        sparse_product(spoilt, y, wiring), sparse_product(weights, y, wiring)
    )
    f = jax.jit(partial(gradient, sparse_product))
    expected = f(weights, y, wiring)
    close(f(spoilt, y, wiring), expected, 0)
    assert not expected[0][absent].any()


def same_shape_wirings(n, count):
    """Different wirings, padded alike: cyclic shifts of one pattern with some edges left out."""
    pattern = bernoulli(n, n, 2)
    dense = np.asarray(densify(jnp.ones(pattern.predecessors.shape), pattern)).T > 0
    return [wiring_of(np.roll(dense, shift, axis=1)) for shift in range(count)]


@pytest.mark.parametrize(
    "in_axes",
    [
        (0, 0, 0),
        *(pytest.param(a, marks=pytest.mark.slow) for a in ((0, None, None), (None, 0, None))),
    ],
)
def test_vmap_over_weights_values_and_wirings(in_axes):
    wirings = same_shape_wirings(6, 3)
    cases = [(*draw(wiring, 2, seed=2 * i), wiring) for i, wiring in enumerate(wirings)]
    first = cases[0]
    cases = [
        tuple(c if a == 0 else f for a, c, f in zip(in_axes, case, first, strict=True))
        for case in cases
    ]
    stacked = jax.tree.map(lambda *x: jnp.stack(x), *cases)
    args = tuple(s if a == 0 else f for a, s, f in zip(in_axes, stacked, first, strict=True))
    for derivative in (gradient, jvp_of_vjp):
        batched = jax.jit(jax.vmap(partial(derivative, sparse_product), in_axes))(*args)
        dense = jax.jit(partial(derivative, dense_product))
        one_by_one = [dense(*case) for case in cases]
        close(batched, jax.tree.map(lambda *x: jnp.stack(x), *one_by_one))


def test_lowered_derivatives_have_no_scatter():
    wiring = bernoulli(9, 9, 3)
    weights, y = draw(wiring, 2)
    for derivative in (gradient, jvp_of_vjp, vjp_of_vjp):
        text = jax.jit(partial(derivative, sparse_product)).lower(weights, y, wiring).as_text()
        assert "gather" in text and "scatter" not in text, derivative.__name__

    # The words are found where there is a scatter.
    def naive(weights, y, wiring):
        return jnp.einsum("sv,svb->vb", weights, y[wiring.predecessors])

    text = jax.jit(partial(gradient, naive)).lower(weights, y, wiring).as_text()
    assert "scatter" in text


def test_derivatives_without_positions():
    wiring = bernoulli(7, 7, 3)
    bare = SparseWiring(
        wiring.predecessors,
        wiring.present,
        wiring.successors,
        wiring.successors_present,
        wiring.n_sources,
    )
    weights, y = draw(wiring, 2)
    sparse = jax.jit(partial(vjp_of_vjp, sparse_product))(weights, y, bare)
    close(sparse, jax.jit(partial(vjp_of_vjp, dense_product))(weights, y, wiring))


@pytest.mark.slow
def test_spread_and_collect_are_adjoint_and_differentiate():
    wiring = bernoulli(6, 5, 2)
    weights, y = draw(wiring, 3)
    x = jnp.cos(jnp.arange(3.0 * wiring.predecessors.size)).reshape(*wiring.predecessors.shape, 3)
    np.testing.assert_allclose(
        jnp.vdot(spread(y, wiring), x), jnp.vdot(y, collect(x, wiring)), rtol=1e-12
    )
    close(collect(spread(y, wiring), wiring), wiring.out_degrees()[:, None].astype(y.dtype) * y)

    def product(weights, y, wiring):
        return jnp.einsum("sv,svb->vb", weights, spread(y, wiring))

    def product_by_collect(weights, y, wiring):
        def reach(z):
            return collect(weights[:, :, None] * z[None], wiring)

        return jax.linear_transpose(reach, jnp.zeros((wiring.n_targets, y.shape[1])))(y)[0]

    for f in (product, product_by_collect):
        close(f(weights, y, wiring), dense_product(weights, y, wiring))
    wiring = bernoulli(6, 6, 2)
    weights, y = draw(wiring, 2)
    dense = jax.jit(partial(jvp_of_vjp, dense_product))(weights, y, wiring)
    sparse = jax.jit(partial(jvp_of_vjp, product))
    close(sparse(weights, y, wiring), dense)
    assert "scatter" not in sparse.lower(weights, y, wiring).as_text()


def test_spread_takes_any_trailing_shape_and_dense_wirings():
    wiring = without_mask(bernoulli(6, 5, 2))
    y = jnp.arange(36.0).reshape(6, 2, 3)
    np.testing.assert_array_equal(spread(y, wiring), y[wiring.predecessors])
    np.testing.assert_array_equal(spread(y[:, 0, 0], wiring), y[wiring.predecessors, 0, 0])
    dense = DenseWiring(6, 5)
    np.testing.assert_array_equal(spread(y, dense), np.broadcast_to(y[:, None], (6, 5, 2, 3)))
    np.testing.assert_allclose(collect(spread(y, dense), dense), 5 * y)


def check_wiring(wiring):
    """Predecessors distinct and sorted; the transposed wiring a bijection of present slots."""
    present = np.ones(wiring.predecessors.shape, bool)
    if wiring.present is not None:
        present = np.asarray(wiring.present)
    predecessors = np.asarray(wiring.predecessors)
    assert not predecessors[~present].any()
    assert (present[:-1] >= present[1:]).all()
    rising = predecessors[:-1] < predecessors[1:]
    assert rising[present[1:]].all()
    assert (predecessors >= 0).all() and (predecessors < wiring.n_sources).all()
    held = np.asarray(wiring.successors_present)
    flat = np.asarray(wiring.successors)
    assert sorted(flat[held]) == list(np.flatnonzero(present))
    assert (flat[~held] == present.size).all()
    sources = np.broadcast_to(np.arange(wiring.n_sources), held.shape)
    np.testing.assert_array_equal(predecessors.ravel()[flat[held]], sources[held])
    positions = np.asarray(wiring.positions)
    np.testing.assert_array_equal(flat.ravel()[positions[present]], np.flatnonzero(present))
    assert (positions[~present] == held.size).all()
    assert int(wiring.edge_count()) == present.sum() == int(wiring.out_degrees().sum())


@pytest.mark.parametrize("law", SAMPLERS)
@pytest.mark.parametrize("sizes", [(30, 25, 3), (6, 9, 5), (4, 4, 4)])
def test_same_edges_in_and_outside_a_trace(law, sizes):
    n_sources, n_targets, in_degree = sizes
    sample = SAMPLERS[law]
    eager = sample(key(3), n_sources, n_targets, in_degree)
    sampled = jax.jit(jax.vmap(lambda k: sample(k, n_sources, n_targets, in_degree)))
    traced = sampled(jnp.stack([key(4), key(3)]))
    traced = jax.tree.map(lambda x: x[1], traced)
    check_wiring(eager)
    check_wiring(traced)
    assert eager.overflow is None and not traced.overflow
    k, q = eager.slots, eager.successors.shape[0]
    assert q == int(eager.out_degrees().max()) and k == int(eager.in_degrees().max())
    held = eager.successors_present
    np.testing.assert_array_equal(traced.predecessors[:k], eager.predecessors)
    np.testing.assert_array_equal(traced.successors[:q][held], eager.successors[held])


@pytest.mark.parametrize("in_degree", [3, 7])
def test_regular_law_is_uniform_over_sets(in_degree):
    # Both ways of drawing: step by step for few predecessors, by shuffling for many.
    n_sources = 10
    wiring = sample_regular(key(0), n_sources, 20_000, in_degree)
    check_wiring(wiring)
    marginals = np.asarray(wiring.out_degrees())
    # A source's count is Binomial(20000, k/n); counts are negatively correlated through their
    # fixed sum, which is what makes the statistic chi-squared with n - 1 degrees of freedom.
    p = in_degree / n_sources
    statistic = np.sum((marginals - 20_000 * p) ** 2) / (20_000 * p * (1 - p))
    statistic *= (n_sources - 1) / n_sources
    assert scipy.stats.chi2.sf(statistic, n_sources - 1) > 1e-3
    sets = np.sort(np.asarray(wiring.predecessors), 0)
    _, counts = np.unique(sets, axis=1, return_counts=True)
    assert len(counts) == 120 and scipy.stats.chisquare(counts).pvalue > 1e-3


@pytest.mark.parametrize("n_sources, mean", [(12, 2.5), (1000, 6.0), (6, 100.0)])
def test_binomial_law(n_sources, mean):
    n_targets = 20_000
    wiring = sample_binomial(key(1), n_sources, n_targets, mean)
    p = min(1.0, mean / n_sources)
    edges, spread_ = n_targets * n_sources * p, np.sqrt(n_targets * n_sources * p * (1 - p))
    assert abs(int(wiring.edge_count()) - edges) <= 4 * spread_
    degrees = np.asarray(wiring.in_degrees())
    law = scipy.stats.binom(n_sources, p)
    values = np.arange(n_sources + 1)
    values = values[law.pmf(values) * n_targets > 5]
    if len(values) > 1:
        observed = np.array([np.sum(degrees == d) for d in values] + [0])
        expected = n_targets * np.append(law.pmf(values), 0.0)
        observed[-1], expected[-1] = n_targets - observed.sum(), n_targets - expected.sum()
        if expected[-1] < 5:
            observed, expected = observed[:-1], expected[:-1]
            expected = expected * observed.sum() / expected.sum()
        assert scipy.stats.chisquare(observed, expected).pvalue > 1e-3
    # Given the degrees, sources are uniform and edges independent: out-degrees are binomial too.
    out = np.asarray(wiring.out_degrees())
    if p < 1:
        statistic = np.sum((out - n_targets * p) ** 2) / (n_targets * p * (1 - p))
        assert 1e-3 < scipy.stats.chi2.sf(statistic, n_sources) < 1 - 1e-3


def test_binomial_edges_are_independent_within_a_target():
    wiring = sample_binomial(key(2), 6, 40_000, 2.0)
    present = np.asarray(densify(jnp.ones(wiring.predecessors.shape), wiring)) > 0
    joint = present.T.astype(float) @ present
    p = 1 / 3
    off = joint[~np.eye(6, dtype=bool)]
    deviation = (off - 40_000 * p**2) / np.sqrt(40_000 * p**2 * (1 - p**2))
    assert np.abs(deviation).max() < 4


def test_transposed_wiring_on_host_and_in_trace_agree():
    wiring = bernoulli(11, 9, 3)
    host = transpose_wiring(wiring.predecessors, wiring.present, 11, 8)
    traced = jax.jit(transpose_wiring, static_argnums=(2, 3))(
        wiring.predecessors, wiring.present, 11, 8
    )
    for a, b in zip(host, traced, strict=True):
        np.testing.assert_array_equal(a, b)
    with pytest.raises(ValueError, match="capacity"):
        jax.jit(transpose_wiring, static_argnums=2)(wiring.predecessors, wiring.present, 11)


@pytest.mark.slow
def test_an_overflown_wiring_gives_nan_and_never_a_wrong_number():
    def sample(capacity):
        return sample_regular(key(0), 5, 5, 3, capacity=capacity)

    needed = int(sample(None).out_degrees().max())
    with pytest.raises(ValueError, match="out-edges"):
        sample(needed - 1)
    assert sample(5).successors.shape == (5, 5)
    for capacity in (needed, needed - 1):
        wiring = jax.jit(lambda capacity=capacity: sample(capacity))()
        weights, y = draw(wiring, 2)
        gradients = jax.jit(partial(gradient, sparse_product))(weights, y, wiring)
        poisoned = capacity < needed
        assert bool(wiring.overflow) is poisoned
        for x in (sparse_product(weights, y, wiring), *gradients, spread(y, wiring)):
            assert np.isnan(x).all() if poisoned else np.isfinite(x).all()


def test_one_compilation_serves_all_wirings_of_a_shape():
    @eqx.debug.assert_max_traces(max_traces=1)
    def apply(weights, y, wiring):
        return sparse_product(weights, y, wiring)

    compiled = jax.jit(apply)
    for wiring in same_shape_wirings(6, 3):
        weights, y = draw(wiring, 2)
        close(compiled(weights, y, wiring), dense_product(weights, y, wiring))


def test_bad_input_is_refused():
    with pytest.raises(ValueError, match=r"predecessors\[1, 0\] = 4"):
        SparseWiring.from_predecessors(np.array([[0, 1], [4, 2]]), 4)
    with pytest.raises(ValueError, match="target 1 has source 2"):
        SparseWiring.from_predecessors(np.array([[0, 2], [1, 2]]), 4)
    with pytest.raises(ValueError, match="in_degree"):
        sample_regular(key(0), 4, 4, -1)
    with pytest.raises(ValueError, match="in_degree"):
        sample_binomial(key(0), 4, 4, float("nan"))
    with pytest.raises(ValueError, match="at least one source"):
        sample_regular(key(0), 0, 4, 1)
    wiring = wiring_of(
        np.eye(4, dtype=bool) | np.eye(4, k=1, dtype=bool) | np.eye(4, k=-3, dtype=bool)
    )
    weights, y = draw(wiring, 2)
    with pytest.raises(ValueError, match="one row per source"):
        sparse_product(weights, y[:3], wiring)
    with pytest.raises(ValueError, match="2 slots at 4 targets"):
        sparse_product(weights[:1], y, wiring)
    with pytest.raises(ValueError, match="one dtype"):
        sparse_product(weights.astype(jnp.float32), y, wiring)
    with pytest.raises(ValueError, match="one per source"):
        spread(y[:3], wiring)
    with pytest.raises(ValueError, match="2 slots at 4 targets"):
        collect(weights[:1], wiring)
