"""The first moments of a staircase under frozen output weights: input weights as powers of time."""

import math

import jax
import jax.numpy as jnp
import numpy as np
from jax.tree_util import Partial
from jaxtyping import Array, Float

from sparsejax.dynamics import gradient_flow, squared_loss
from sparsejax.graphs import Pointwise
from sparsejax.targets import cube_cubature
from sparsejax.targets.staircases import staircase

STEPS = 200


def early_weights(
    key: Array, order: int, width: int, activation: str, times: Float[np.ndarray, " s"]
) -> dict[str, np.ndarray]:
    """Input weights of a network that learns `x1 + x1 x2 + ... + x1 ... x_order`, from zero.

    The gradient flow of the mean squared error over the whole cube of `order` coordinates, of
    `mean_j a_j sigma(w_j . x + b_j)` in `w` alone, in mean-field time, which
    `times` are in: flow time over the number of units. `b` is uniform on [-1, 1], `a` on [0, 1],
    and each unit is there once more with `-a`, so that the output starts at zero. At small `t`,
    with `u_k` the weights that read `x_k` and `sigma^(k)` the k-th derivative at `b`,

        u_k = 2 a sigma^(k) int_0^t u_1 ... u_{k-1} ds,    which is a constant times t^(2^(k-1)).

    `sizes`: (order, s), root mean squares over units of `u_k` at `times`; `law`: (order, s), the
    same of that formula; `error`: (order, s), by which `sizes` changes when steps are halved.

    Source: Abbe, Boix-Adsera, Misiakiewicz, COLT 2022 (arXiv 2202.08658), the dimension-free
    dynamics; constants derived here.
    """
    b_key, a_key = jax.random.split(key)
    b = jax.random.uniform(b_key, (width,), minval=-1.0, maxval=1.0)
    a = jax.random.uniform(a_key, (width,))
    biases, outputs = jnp.concatenate([b, b]), jnp.concatenate([a, -a])
    nodes = jnp.asarray(cube_cubature(order).nodes, float)
    sigma = Pointwise(activation)
    network = Partial(_network, sigma, biases, outputs)
    loss = squared_loss(network, nodes, staircase(order, order)(nodes))
    start = jnp.zeros((order, 2 * width))
    # Flow time of the loss: mean-field time times the number of units.
    saved = np.concatenate([[0.0], times]) * 2 * width
    found = []
    for steps in (STEPS, 2 * STEPS):
        dt = float(saved[-1]) / steps
        flow = gradient_flow(loss, start, float(saved[-1]), saveat=saved, solver="rk4", dt=dt)
        weights = np.asarray(flow.params)[1:]
        found.append(np.sqrt(np.mean(weights**2, axis=2)).T)
    law = leading_law(_derivatives(sigma, b, order), np.asarray(a), times)
    return {"sizes": found[1], "law": law, "error": np.abs(found[1] - found[0])}


def leading_law(
    derivatives: Float[np.ndarray, "order width"],
    outputs: Float[np.ndarray, " width"],
    times: Float[np.ndarray, " s"],
) -> Float[np.ndarray, "order s"]:
    """Root mean squares over units of the leading powers of time: see `early_weights`.

    Example:
        >>> ones = np.ones((3, 1))
        >>> leading_law(ones, np.ones(1), np.array([0.5])).ravel().tolist()  # 2 t, 2 t^2, 2 t^4
        [1.0, 0.5, 0.125]
    """
    constants: list[np.ndarray] = []
    found = []
    for k, derivative in enumerate(derivatives):
        product = math.prod(constants, start=np.ones_like(outputs))
        # u_1 ... u_{k-1} is a constant times t^(2^k' - 1), k' = k - 1.
        constants.append(2 * outputs * derivative * product / 2**k)
        found.append(np.sqrt(np.mean(constants[-1] ** 2)) * times ** (2**k))
    return np.stack(found)


def _network(sigma, biases, outputs, w, x):
    return (sigma(x @ w + biases[None]) @ outputs)[:, None] / outputs.shape[0]


def _derivatives(sigma, b: Array, order: int) -> np.ndarray:
    """Derivatives 1 to `order` of the activation at the biases."""
    found, function = [], lambda z: sigma(z)
    for _ in range(order):
        function = jax.grad(function)
        found.append(np.asarray(jax.vmap(function)(b)))
    return np.stack(found)
