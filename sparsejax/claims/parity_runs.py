"""Runs of SGD on a parity: network, labels, first gradient, and progress behind the loss."""

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Key, PyTree

from sparsejax.claims.batching import lane_keys
from sparsejax.claims.online_setting import sgd_of
from sparsejax.dynamics import fresh, online_ensemble
from sparsejax.dynamics.sample_losses import hinge
from sparsejax.graphs import Pointwise
from sparsejax.learners.two_layer import TwoLayerFunction
from sparsejax.structure import (
    HiddenProgress,
    correlation_gradient,
    sign_neuron_gradient,
    with_start,
)
from sparsejax.targets import parity, sample_inputs

# Samples on which loss and accuracy are looked at, and those of a run's first gradient.
EVALUATION, GRADIENT = 1024, 2**15


@dataclasses.dataclass(frozen=True)
class SignNetwork:
    """`build` of a two-layer ReLU network whose input weights start as signs over `sqrt(dims)`.

    Biases are uniform on [-1, 1], output weights on `[-1, 1] / sqrt(width)`. With signs the first
    gradient on a parity has a closed form; biases give it coefficients of every level.
    """

    dims: int
    width: int

    def __call__(self, key: Key[Array, ""]) -> tuple[TwoLayerFunction, PyTree]:
        """Function and parameters of one seed."""
        w_key, b_key, a_key = jax.random.split(key, 3)
        signs = 2 * jax.random.bernoulli(w_key, shape=(self.dims, self.width)).astype(float) - 1
        most = 1 / math.sqrt(self.width)
        return TwoLayerFunction(Pointwise("relu")), {
            "w": signs / math.sqrt(self.dims),
            "b": jax.random.uniform(b_key, (self.width,), minval=-1.0, maxval=1.0),
            "a": jax.random.uniform(a_key, (self.width, 1), minval=-most, maxval=most),
        }


@dataclasses.dataclass(frozen=True)
class Coins:
    """Labels that have nothing to do with the inputs: what there is to learn in the control."""

    dims: int

    def sample(
        self, key: Key[Array, ""], n: int, dtype: Any = float
    ) -> tuple[Float[Array, "n d"], Float[Array, "n 1"]]:
        """Vertices of the cube, and a fair coin for each."""
        x_key, y_key = jax.random.split(key)
        return (
            sample_inputs("cube", x_key, n, self.dims, dtype),
            sample_inputs("cube", y_key, n, 1, dtype),
        )


class Evaluation(eqx.Module):
    """A probe: hinge loss and accuracy on fixed samples."""

    x: Float[Array, "n d"]
    y: Float[Array, "n 1"]

    def __call__(self, f: Any, params: PyTree) -> Float[Array, " 2"]:
        """Loss, accuracy."""
        outputs = f(params, self.x)
        y = self.y.astype(outputs.dtype)
        right = (outputs * y > 0).astype(outputs.dtype)
        return jnp.stack([jnp.mean(hinge(outputs, y)), jnp.mean(right)])


class Loss(eqx.Module):
    """The first entry of an evaluation, as a probe of its own."""

    evaluation: Evaluation

    def __call__(self, f: Any, params: PyTree) -> Float[Array, ""]:
        """The loss."""
        return self.evaluation(f, params)[0]


class Accuracy(eqx.Module):
    """The second entry of an evaluation, as a probe of its own."""

    evaluation: Evaluation

    def __call__(self, f: Any, params: PyTree) -> Float[Array, ""]:
        """The accuracy."""
        return self.evaluation(f, params)[1]


def measure_parity(
    config: Any, dims: int, order: int, numbers: Sequence[int]
) -> list[dict[str, np.ndarray]]:
    """Runs of some seeds on the parity of the first `order` of `dims` coordinates.

    For each: `loss`, `accuracy` (k,) and `progress` (k, 2, 2) at `steps` (k,); `left`, when the
    loss left its plateau, and `learned`, when the accuracy was there, in steps, infinite where not
    seen; `gap_slope`, the first gradient as a multiple of its closed form; `status`.
    """
    target = parity(dims, order) if config.labels == "parity" else Coins(dims)
    base = functools.reduce(jax.random.fold_in, (dims, order), jax.random.key(config.seed))
    keys = lane_keys(base, numbers)
    x_key, g_key = jax.random.split(jax.random.fold_in(base, 2**32 - 1))
    evaluation = Evaluation(*target.sample(x_key, EVALUATION, config.precision))
    support = tuple(range(1, order + 1))
    runs = online_ensemble(
        with_start(SignNetwork(dims, config.width)),
        fresh(target.sample, config.batch, config.precision),
        sgd_of(config.step_size),
        config.steps,
        keys,
        loss=hinge,
        probes={
            "loss": Loss(evaluation),
            "accuracy": Accuracy(evaluation),
            "progress": HiddenProgress({"w": 0}, support),
        },
        record_every=config.record_every,
        reach={
            "left": ("loss", 1 - config.drop, "below"),
            "learned": ("accuracy", config.accuracy, "above"),
        },
        dtype=config.precision,
    )
    found = []
    for lane, (number, status) in enumerate(zip(numbers, runs.status, strict=True)):
        kept = int(runs.steps_run[lane]) // config.record_every + 1
        start = {name: leaf[lane] for name, leaf in runs.f.start.items()}
        # Samples of its own for each run: with shared ones their errors would go together, and an
        # interval over runs would know nothing of it.
        x, y = target.sample(jax.random.fold_in(g_key, number), GRADIENT, config.precision)
        measured = _neuron_gradients(start, x, y)
        w, b = (np.asarray(start[name], float) for name in ("w", "b"))
        predicted = closed_form(w, b, order)
        found.append(
            {
                "steps": runs.steps[:kept],
                **{
                    name: np.asarray(runs.probes[name][lane, :kept], float)
                    for name in ("loss", "accuracy", "progress")
                },
                **{
                    name: np.asarray(float(runs.hitting[name][lane]))
                    for name in ("left", "learned")
                },
                "gap_slope": np.asarray(slope_through_zero(predicted, np.asarray(measured, float))),
                "status": np.asarray(str(status)),
            }
        )
    return found


@jax.jit
def _neuron_gradients(
    params: PyTree, x: Float[Array, "n d"], y: Float[Array, "n 1"]
) -> Float[Array, "d width"]:
    """`E y x_i sigma'(w_j x + b_j)`: the gradient of the correlation, without output weights."""
    ones = {**params, "a": jnp.ones_like(params["a"])}
    return correlation_gradient(TwoLayerFunction(Pointwise("relu")), ones, x, y)["w"]


def closed_form(
    w: Float[np.ndarray, "d width"], b: Float[np.ndarray, " width"], order: int
) -> Float[np.ndarray, "d width"]:
    """What `_neuron_gradients` are in the mean, for `w` of signs of one size.

    Example:
        >>> closed_form(np.ones((3, 1)), np.zeros(1), 2).ravel().tolist()
        [0.25, 0.25, -0.25]
    """
    dims, scale = len(w), float(np.abs(w[0, 0]))
    signs = np.sign(w)
    # The signs of S with i in or out: a square more or less changes nothing.
    product = signs[:order].prod(axis=0) * signs
    levels = [sign_neuron_gradient(dims, order, float(offset)) for offset in b / scale]
    inside = (np.arange(dims) < order)[:, None]
    relevant, rest = (np.array([getattr(c, part) for c in levels]) for part in ("relevant", "rest"))
    return product * np.where(inside, relevant[None], rest[None])


def slope_through_zero(x: Float[np.ndarray, "..."], y: Float[np.ndarray, "..."]) -> float:
    """The multiple of `x` that is nearest to `y`.

    >>> slope_through_zero(np.array([1.0, 2.0]), np.array([2.0, 4.0]))
    2.0
    """
    return float((x * y).sum() / (x * x).sum())
