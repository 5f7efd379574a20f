"""The kernel against the Jacobian written out, in all its forms."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sparsejax as sj

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
    with pytest.raises(ValueError, match="chunk must be positive"):
        sj.ntk(network, PARAMS, X, chunk=0)
    with pytest.raises(ValueError, match="one leading axis"):
        sj.ntk(network, PARAMS, {"a": X, "b": X2})
