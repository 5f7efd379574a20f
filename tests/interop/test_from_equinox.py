"""Equinox modules as pure functions, held against the same functions written out by hand."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import pytest

import sparsejax as sj

RNG = np.random.default_rng(1)
W, B, X, Y = (jnp.asarray(RNG.normal(size=shape)) for shape in [(2, 3), (2,), (4, 3), (4, 2)])


class Swapped(eqx.Module):
    """One example: a layer whose outputs are permuted by integers, which are no parameters."""

    weight: jax.Array
    bias: jax.Array
    order: jax.Array
    activation: object
    traced: list = eqx.field(static=True)

    def __call__(self, x):
        self.traced.append(x.shape)
        return self.activation(self.weight @ x + self.bias)[self.order]


class Batched(eqx.Module):
    weight: jax.Array

    def __call__(self, x):
        return x @ self.weight.T


class Notes(list):
    __hash__ = object.__hash__


def by_hand(params, x):
    weight, bias = params
    return jnp.tanh(x @ weight.T + bias[None, :])[:, ::-1]


@eqx.filter_jit
def first_order_picture(f, params):
    """Kernel, and the end of a flow of one Euler step of 0.1."""
    loss = sj.squared_loss(f, X, Y)
    flow = sj.gradient_flow(loss, params, t1=0.1, saveat=np.array([0.1]), solver="euler", dt=0.1)
    return sj.ntk(f, params, X, outputs="full"), flow.final


@jax.jit
def step_by_hand(params):
    weight, bias = jax.jacobian(by_hand)(params, X)
    kernel = jnp.einsum("ncij,mdij->nmcd", weight, weight) + jnp.einsum("nci,mdi->nmcd", bias, bias)
    gradient = jax.grad(lambda p: jnp.mean(jnp.sum((by_hand(p, X) - Y) ** 2, 1)))(params)
    return kernel, jax.tree.map(lambda w, g: w - 0.1 * g, params, gradient)


def test_every_room_takes_it_and_finds_what_it_finds_by_hand():
    traced = Notes()
    model = Swapped(W, B, jnp.array([1, 0]), jnp.tanh, traced)
    f, params = sj.from_equinox(model)
    assert [leaf.shape for leaf in jax.tree.leaves(params)] == [(2, 3), (2,)]
    assert eqx.tree_equal(eqx.combine(params, f.rest), model)
    kernel, flow = first_order_picture(f, params)
    expected, step = step_by_hand((W, B))
    np.testing.assert_allclose(kernel, expected, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(flow.weight, step[0], rtol=1e-10)
    np.testing.assert_allclose(flow.bias, step[1], rtol=1e-10)
    # Integers and activation are no parameters, but part of the function: leaves of `f`.
    before = len(traced)
    again = sj.from_equinox(Swapped(2 * W, B, jnp.array([0, 1]), jnp.tanh, traced))
    swapped, _ = first_order_picture(again.f, params)
    np.testing.assert_allclose(swapped, kernel[..., ::-1, ::-1], rtol=1e-12)
    assert len(traced) == before


def test_a_module_that_takes_the_batch_is_not_mapped():
    f, params = sj.from_equinox(Batched(W), per_example=False)
    assert jax.eval_shape(f, params, X).shape == (4, 2)
    np.testing.assert_array_equal(params.weight, W)
    f, params = sj.from_equinox(Batched(W))
    assert jax.eval_shape(f, params, X[:, None]).shape == (4, 1, 2)


def test_a_module_without_parameters_or_with_state_is_refused():
    with pytest.raises(ValueError, match="Identity has no parameters"):
        sj.from_equinox(eqx.nn.Identity())
    stateful, _ = eqx.nn.make_with_state(eqx.nn.BatchNorm)(3, "batch", mode="batch")
    with pytest.raises(ValueError, match="BatchNorm keeps state between calls"):
        sj.from_equinox(stateful)
