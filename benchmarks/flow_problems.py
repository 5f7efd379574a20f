"""The gradient flows that the integrators are measured on."""

from collections.abc import Callable
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import sklearn.datasets

import sparsejax as sj


class FlowProblem(NamedTuple):
    """A loss, the parameters to start from, and the length of the flow."""

    name: str
    loss: Callable
    params: object
    t1: float


def tanh_lift(size: int, in_degree: int, t1: float, seed: int = 0) -> FlowProblem:
    """Two hidden layers on `tanh(2 x1 x2) tanh(2 x3 x4)`, 400 samples uniform on [-1, 1]^8."""
    keys = jax.random.split(jax.random.key(seed), 3)
    x = jax.random.uniform(keys[0], (400, 8), minval=-1.0, maxval=1.0)
    targets = (jnp.tanh(2 * x[:, 0] * x[:, 1]) * jnp.tanh(2 * x[:, 2] * x[:, 3]))[:, None]
    module = sj.graphs.mlp(inputs=8, hidden=2, outputs=1, activation="tanh", input_as="coordinates")
    sampled = {"x->h1": in_degree, "h1->h2": in_degree}
    lift = sj.random_sparse_lift(keys[1], module, sizes=size, in_degree=sampled, law="regular")
    params = lift.init(keys[2], gain=dict.fromkeys(sampled, 1.5), bias_scale=0.5, zero_outputs=True)
    loss = sj.squared_loss(lift.apply, x, targets)
    return FlowProblem(f"tanh lift, 2 x {size}, in-degree {in_degree}", loss, params, t1)


def relu_digits(
    size: int = 32, in_degree: int = 4, t1: float = 0.5, samples: int = 100
) -> FlowProblem:
    """A ReLU lift on handwritten digits (scikit-learn), one-hot targets.

    Small and short, for the tight tolerances: the flow comes to slide along kinks, where a unit of
    some sample is between active and not, and there the steps of any method are as short as its
    tolerance is tight.
    """
    keys = jax.random.split(jax.random.key(1), 2)
    data, labels = sklearn.datasets.load_digits(return_X_y=True)
    data, labels = data[:samples], labels[:samples]
    x = jnp.asarray((data - data.mean()) / data.std())
    module = sj.graphs.mlp(inputs=64, hidden=2, outputs=10, activation="relu")
    lift = sj.random_sparse_lift(keys[0], module, sizes=size, in_degree=in_degree, law="regular")
    loss = sj.squared_loss(lift.apply, x, jnp.asarray(np.eye(10)[labels]))
    return FlowProblem("ReLU lift on digits", loss, lift.init(keys[1]), t1)


def deep_linear(width: int = 30, depth: int = 4, t1: float = 40.0) -> FlowProblem:
    """A product of `depth` square matrices onto a target with modes 2, 1, 1/2, ..., small start."""
    rng = np.random.default_rng(2)
    left, right = (np.linalg.qr(rng.normal(size=(width, width)))[0] for _ in range(2))
    target = jnp.asarray(left @ np.diag(2.0 ** (1 - np.arange(width, dtype=float))) @ right)
    params = jnp.asarray(0.5 * rng.normal(size=(depth, width, width)) / np.sqrt(width))
    loss = jax.tree_util.Partial(deep_linear_loss, target)
    return FlowProblem(f"deep linear network, {depth} layers", loss, params, t1)


def deep_linear_loss(target: jax.Array, matrices: jax.Array) -> jax.Array:
    """`||W_N ... W_1 - target||_F^2 / 2`."""
    product = matrices[0]
    for matrix in matrices[1:]:
        product = matrix @ product
    return 0.5 * jnp.sum(jnp.square(product - target))
