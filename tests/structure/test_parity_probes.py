"""The Fourier gap against sums over all inputs, hidden progress against weights moved by hand."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sparsejax.structure import FourierGap, HiddenProgress, sign_neuron_gradient, with_start
from sparsejax.structure.fourier_gap import threshold_coefficient
from sparsejax.targets import cube_cubature, majority_coefficient, walsh_expansion


@pytest.mark.parametrize("dims", [6, 7])
def test_coefficients_of_thresholds_by_all_inputs(dims):
    for most in range(-1, dims + 1):
        f = walsh_expansion(lambda x: ((x < 0).sum(axis=1) <= most) * 1.0, dims)
        for level in range(dims + 1):
            assert f.coefficient(tuple(range(1, level + 1))) == threshold_coefficient(
                dims, level, most
            )


@pytest.mark.parametrize(("dims", "order", "offset"), [(7, 3, 0.0), (8, 3, 1.3), (8, 4, -2.5)])
def test_the_first_gradient_of_a_sign_neuron(dims, order, offset):
    """`E chi_S(x) x_i 1(w x + b > 0)` by all inputs: its size, and the sign it is said to have."""
    x = cube_cubature(dims).nodes
    signs = np.random.default_rng(0).choice([-1.0, 1.0], dims)
    active = x @ signs + offset > 0
    found = sign_neuron_gradient(dims, order, offset)
    parity = x[:, :order].prod(axis=1)
    product = signs[:order].prod()
    for i in range(dims):
        level = found.relevant if i < order else found.rest
        np.testing.assert_allclose(
            np.mean(parity * x[:, i] * active), product * signs[i] * level, atol=1e-15
        )


@pytest.mark.parametrize(("n", "k"), [(11, 4), (51, 4), (21, 2)])
def test_without_offset_it_is_majority_s(n, k):
    found = sign_neuron_gradient(n, k)
    assert found.relevant == majority_coefficient(n, k - 1) / 2
    assert found.rest == majority_coefficient(n, k + 1) / 2
    assert found.gap > 0


def test_the_probe_sees_a_neuron_s_coefficients():
    x = jnp.asarray(cube_cubature(6).nodes)
    params = {"w": jnp.asarray([[1.0], [-1.0], [1.0], [1.0], [-1.0], [1.0]])}

    def f(p, x):
        return jax.nn.relu(x @ p["w"] + 0.5)

    y = jnp.prod(x[:, :2], axis=1, keepdims=True)
    exact = sign_neuron_gradient(6, 2, 0.5)
    found = np.asarray(FourierGap({"w": 0}, (1, 2), x, y)(f, params))
    np.testing.assert_allclose(found, [abs(exact.relevant), abs(exact.rest)], atol=1e-12)
    assert found[0] > found[1]


def test_hidden_progress_of_several_leaves_and_a_start_per_seed():
    def build(key):
        return (lambda p, x: x), {"a": jax.random.normal(key, (3, 2)), "b": jnp.zeros((4, 3))}

    kept = with_start(build)
    assert kept == with_start(build) and hash(kept) == hash(with_start(build))
    f, params = kept(jax.random.key(0))
    moved = {"a": params["a"].at[1, 0].add(-2.0), "b": params["b"].at[:, 0].add(1.0)}
    found = HiddenProgress({"a": 0, "b": 1}, (2,))(f, moved)
    # Input 2: one entry of 2 and four of b of 0; inputs 1 and 3: four ones among twelve numbers.
    np.testing.assert_allclose(
        np.asarray(found), [[2.0, np.sqrt(4 / 6)], [1.0, np.sqrt(4 / 12)]], rtol=1e-6
    )


def test_axes_that_number_inputs_together():
    """Places and entries of a patch: input 4 is the second entry of the second place."""
    f, params = with_start(lambda key: ((lambda p, x: x), {"w": jnp.zeros((2, 2, 3))}))(
        jax.random.key(0)
    )
    moved = {"w": params["w"].at[1, 1].set(2.0)}
    found = HiddenProgress({"w": (0, 1)}, (4,))(f, moved)
    np.testing.assert_allclose(np.asarray(found), [[2.0, 2.0], [0.0, 0.0]])


def test_the_gap_in_single_precision_of_samples_in_double():
    x = np.asarray(cube_cubature(2).nodes)
    probe = FourierGap({"w": 0}, (1,), x, x[:, :1])
    found = probe(lambda p, x: x.astype(jnp.float32) @ p["w"], {"w": jnp.zeros((2, 1), "float32")})
    assert found.dtype == jnp.float32 and found.tolist() == [1.0, 0.0]


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: sign_neuron_gradient(5, 5), "order: 1 to 4 of 5"),
        (lambda: sign_neuron_gradient(5, 2, np.inf), "offset must be finite"),
        (lambda: FourierGap({"w": 0}, (1, 2), np.ones((2, 2)), np.ones((2, 1))), "not all"),
        (lambda: FourierGap({"w": 0}, (3,), np.ones((2, 2)), np.ones((2, 1))), "from 1 to 2"),
    ],
)
def test_bad_input(call, said):
    with pytest.raises(ValueError, match=said):
        call()


def test_a_leaf_that_is_not_there():
    f, params = with_start(lambda key: ((lambda p, x: x), {"w": jnp.zeros((3, 1))}))(
        jax.random.key(0)
    )
    with pytest.raises(ValueError, match="no leaf 'v'; the parameters have w"):
        HiddenProgress({"v": 0}, (1,))(f, params)
