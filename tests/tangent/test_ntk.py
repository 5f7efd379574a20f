"""The kernel against the Jacobian written out, in all its forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sparsejax as sj
from sparsejax.tangent import (
    OutputAxes,
    ntk_by_leaf,
    ntk_diagonal,
    ntk_vector_product,
    sum_by_group,
)

RNG = np.random.default_rng(0)
X, X2 = jnp.asarray(RNG.normal(size=(7, 3))), jnp.asarray(RNG.normal(size=(4, 3)))
PARAMS = {"w": jnp.asarray(RNG.normal(size=(3, 5))), "v": jnp.asarray(RNG.normal(size=(5, 2)))}


def network(params, x):
    return jnp.tanh(x @ params["w"]) @ params["v"]


def by_hand(x, x2):
    """`<J[n, c], J[m, d]>` with one gradient at a time."""

    def rows(points):
        return [
            [
                np.concatenate(
                    [
                        np.ravel(leaf)
                        for leaf in jax.tree.leaves(
                            jax.grad(lambda p, n=n, c=c: network(p, points)[n, c])(PARAMS)
                        )
                    ]
                )
                for c in range(2)
            ]
            for n in range(len(points))
        ]

    return np.einsum("ncp,mdp->nmcd", np.array(rows(x)), np.array(rows(x2)))


def test_full_and_traced():
    expected = by_hand(X, X2)
    full = sj.ntk(network, PARAMS, X, X2, outputs="full")
    np.testing.assert_allclose(full, expected, rtol=1e-12, atol=1e-12)
    traced = sj.ntk(network, PARAMS, X, X2)
    np.testing.assert_allclose(traced, np.einsum("nmcc->nm", expected), rtol=1e-12, atol=1e-12)
    diagonal = sj.ntk(network, PARAMS, X, X2, outputs="diagonal")
    np.testing.assert_allclose(diagonal, np.einsum("nmcc->nmc", expected), rtol=1e-12, atol=1e-12)


def test_output_axes():
    """Every way to treat two output axes, from the kernel of all pairs."""

    def image(params, x):
        """Outputs (n, 2, 3); behind the sine the kernel is not symmetric in two outputs."""
        return jnp.sin(
            network(params, x)[:, :, None] * jnp.asarray([[[1.0, 2.0, -1.0]]]) + x[:, None, :]
        )

    whole = np.asarray(sj.ntk(image, PARAMS, X, X2, outputs="full")).reshape(7, 4, 2, 3, 2, 3)
    for axes, subscripts in [
        (OutputAxes(), "nmabcd->nmacbd"),
        (OutputAxes(traced=(1,)), "nmabad->nmbd"),
        (OutputAxes(traced=(-1,), diagonal=(1,)), "nmabab->nma"),
        (OutputAxes(diagonal=(2,)), "nmabcb->nmacb"),
    ]:
        np.testing.assert_allclose(
            sj.ntk(image, PARAMS, X, X2, outputs=axes),
            np.einsum(subscripts, whole),
            rtol=1e-12,
            atol=1e-13,
        )


def test_parameters_in_slices():
    """30 + 10 parameters in slices of 7, which end inside leaves and beyond the last one."""
    expected = by_hand(X, X)
    for chunk in (None, 3):
        pieces = sj.ntk(network, PARAMS, X, outputs="full", chunk=chunk, parameter_chunk=7)
        np.testing.assert_allclose(pieces, expected, rtol=1e-11, atol=1e-12)


def test_slices_bound_the_memory():
    x, params = jnp.zeros((64, 30)), {"w": jnp.zeros((30, 200)), "v": jnp.zeros((200, 2))}

    def bytes_held(**chunks):
        kernel = jax.jit(lambda p: sj.ntk(network, p, x, **chunks))
        return kernel.lower(params).compile().memory_analysis().temp_size_in_bytes

    jacobian = 8 * 64 * 2 * 6400
    assert bytes_held() >= jacobian
    assert bytes_held(parameter_chunk=320) < 0.3 * jacobian
    assert bytes_held(chunk=8) < 0.4 * jacobian


@pytest.mark.parametrize("chunk", [None, 40])
def test_symmetric_to_the_last_bit(chunk):
    """Enough samples that strips below the diagonal are left out."""
    x = jnp.asarray(np.random.default_rng(1).normal(size=(150, 3)))
    kernel = sj.ntk(network, PARAMS, x, outputs="full", chunk=chunk)
    assert (kernel == kernel.transpose(1, 0, 3, 2)).all()
    both_triangles = sj.ntk(network, PARAMS, x, x, outputs="full")
    np.testing.assert_allclose(kernel, both_triangles, rtol=1e-12, atol=1e-12)


def test_parts_of_leaves():
    """A leaf's part is the kernel of the function of that leaf alone."""
    parts = ntk_by_leaf(network, PARAMS, X, X2, outputs="full")
    for name, part in parts.items():
        others = {key: leaf for key, leaf in PARAMS.items() if key != name}
        alone = sj.ntk(
            lambda p, x, others=others: network(p | others, x), {name: PARAMS[name]}, X, X2,
            outputs="full",
        )  # fmt: skip
        np.testing.assert_allclose(part, alone, rtol=1e-12, atol=1e-12)
    np.testing.assert_allclose(sum(parts.values()), by_hand(X, X2), rtol=1e-12, atol=1e-12)


def test_diagonal():
    expected = np.einsum("nncd->ncd", by_hand(X, X))
    for chunk in (None, 3):
        full = ntk_diagonal(network, PARAMS, X, outputs="full", chunk=chunk)
        np.testing.assert_allclose(full, expected, rtol=1e-12, atol=1e-12)
    traced = ntk_diagonal(network, PARAMS, X)
    np.testing.assert_allclose(traced, np.einsum("ncc->n", expected), rtol=1e-12)


@pytest.mark.slow
def test_vector_products():
    v, kernel = jnp.asarray(RNG.normal(size=(4, 2))), by_hand(X, X2)
    np.testing.assert_allclose(
        ntk_vector_product(network, PARAMS, X, v, x2=X2),
        np.einsum("nmcd,md->nc", kernel, v),
        rtol=1e-12,
    )
    v = jnp.asarray(RNG.normal(size=(7, 2)))
    np.testing.assert_allclose(
        ntk_vector_product(network, PARAMS, X, v),
        np.einsum("nmcd,md->nc", by_hand(X, X), v),
        rtol=1e-12,
    )


def test_single_precision():
    """Rounding errors of the order of float32's, relative to the largest entry."""
    single = jax.tree.map(lambda leaf: leaf.astype(jnp.float32), (PARAMS, X))
    kernel = sj.ntk(network, *single, outputs="full")
    assert kernel.dtype == jnp.float32
    error = np.abs(np.asarray(kernel) - by_hand(X, X)).max() / np.abs(kernel).max()
    assert 1e-9 < error < 1e-6


@pytest.mark.parametrize("chunk", [1, 3, 7, 50])
def test_chunks_change_nothing(chunk):
    for outputs in ("traced", "full"):
        whole = sj.ntk(network, PARAMS, X, outputs=outputs)
        pieces = sj.ntk(network, PARAMS, X, outputs=outputs, chunk=chunk)
        assert whole.shape == pieces.shape
        np.testing.assert_allclose(pieces, whole, rtol=1e-12, atol=1e-13)
    pieces = sj.ntk(network, PARAMS, X, X2, chunk=chunk)
    np.testing.assert_allclose(pieces, sj.ntk(network, PARAMS, X, X2), rtol=1e-12, atol=1e-13)


def test_kernel_of_a_lift_is_that_of_its_dense_equivalent():
    module = sj.graphs.mlp(inputs=3, hidden=2, outputs=1)
    lift = sj.random_sparse_lift(jax.random.key(0), module, 6, 2, law="regular")
    params = lift.init(jax.random.key(1))
    dense = sj.dense_lift(module, 6)
    spread = dict(params)
    pairs = lift.edges("h1->h2")
    order = np.lexsort((pairs[:, 0], pairs[:, 1]))
    assert (order == np.arange(len(pairs))).all()
    spread["h1->h2"] = (
        jnp.zeros((6, 6)).at[pairs[:, 0], pairs[:, 1]].set(params["h1->h2"].T.reshape(-1))
    )
    np.testing.assert_allclose(dense.apply(spread, X), lift.apply(params, X), rtol=1e-12)
    present = jnp.zeros((6, 6)).at[pairs[:, 0], pairs[:, 1]].set(1.0)

    def masked(p, x):
        return dense.apply(p | {"h1->h2": p["h1->h2"] * present}, x)

    np.testing.assert_allclose(
        sj.ntk(lift.apply, params, X), sj.ntk(masked, spread, X), rtol=1e-11, atol=1e-12
    )


def test_flax_models_are_plain_functions():
    import flax.linen as nn

    model = nn.Dense(2, param_dtype=jnp.float64)
    params = model.init(jax.random.key(0), X)
    kernel = sj.ntk(model.apply, params, X)
    np.testing.assert_allclose(kernel, 2 * (X @ X.T + 1), rtol=1e-12)


def test_refused():
    with pytest.raises(ValueError, match="chunk must be a positive whole number"):
        sj.ntk(network, PARAMS, X, chunk=0)
    with pytest.raises(ValueError, match="one leading axis"):
        sj.ntk(network, PARAMS, {"a": X, "b": X2})
    with pytest.raises(ValueError, match="outputs is 'traced'"):
        sj.ntk(network, PARAMS, X, outputs="trace")
    with pytest.raises(ValueError, match="got axis 2"):
        sj.ntk(network, PARAMS, X, outputs=OutputAxes(traced=(2,)))
    with pytest.raises(ValueError, match="and once"):
        sj.ntk(network, PARAMS, X, outputs=OutputAxes(traced=(1,), diagonal=(-1,)))
    with pytest.raises(ValueError, match="pass lift.apply itself"):
        sj.ntk(network, PARAMS, X, method="layerwise")
    with pytest.raises(ValueError, match="one array of outputs"):
        sj.ntk(lambda p, x: {"y": network(p, x)}, PARAMS, X)
    with pytest.raises(ValueError, match="that of the outputs"):
        ntk_vector_product(network, PARAMS, X, X)


def test_sums_by_group():
    """By a function of the path or by a mapping, whatever the tree; they add up to the kernel."""
    params = {"first": [PARAMS], "twice": PARAMS}

    def twice(p, x):
        return network(p["first"][0], x) + 2 * network(p["twice"], x)

    parts = ntk_by_leaf(twice, params, X)
    whole = sj.ntk(twice, params, X)
    by_part = sum_by_group(parts, lambda name: name.split("/")[0])
    assert list(by_part) == ["first", "twice"]
    np.testing.assert_allclose(4 * by_part["first"], by_part["twice"], rtol=1e-12)
    np.testing.assert_allclose(sum(by_part.values()), whole, rtol=1e-12, atol=1e-12)
    names = {f"{head}/{name}": name for head in ("first/0", "twice") for name in PARAMS}
    by_name = sum_by_group(parts, names)
    for name in PARAMS:
        expected = parts["first"][0][name] + parts["twice"][name]
        np.testing.assert_array_equal(by_name[name], expected)
    with pytest.raises(ValueError, match="no group for leaf 'first/0/"):
        sum_by_group(parts, {name: 0 for name in names if "twice" in name})
    with pytest.raises(ValueError, match="a group for a leaf that there is not, 'third'"):
        sum_by_group(parts, names | {"third": 0})
