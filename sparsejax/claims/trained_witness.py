"""A small lift trained to low loss, whose cones random lifts are searched for."""

import dataclasses
import functools
from typing import NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from sparsejax import graphs, lifts, targets
from sparsejax.claims.setting import LawName
from sparsejax.dynamics import SquaredLoss, gradient_descent, squared_loss

# Cones whose output weight is below this fraction of the largest are not part of the witness.
LEAST_OUTPUT = 0.05
MOMENTUM = optax.sgd(0.05, momentum=0.9)


@dataclasses.dataclass(frozen=True)
class WitnessConfig:
    """A trained small lift, its approximate cones in random lifts, and their tangent constants."""

    sizes: tuple[int, ...] = (1024, 4096, 16384)
    """Vertices per hidden layer of the random lifts, one ladder step each."""
    lifts: int = 6
    """Random lifts per size."""
    eta: float = 0.5
    """How far each weight of a copy may be from the witness's."""
    eps_fraction: float = 0.3
    """The level of loss, as a fraction of the loss of the zero function."""
    witness_size: int = 12
    """Vertices per hidden layer of the witness."""
    witness_tries: int = 3
    """Random small lifts that are trained; the best one is the witness."""
    training_steps: int = 4000
    """Steps of gradient descent (step size 0.05, momentum 0.9) for each."""
    decay: float = 0.002
    """Weight of the squared parameters, in units of their initial scale, in the witness's training:
    a witness of unlikely weights has no copies."""
    dims: int = 3
    """Input coordinates; the target, tanh(2 x1 x2), needs two of them."""
    samples: int = 100
    """Number of samples, uniform on [-1, 1]^dims."""
    hidden: int = 1
    """Number of hidden layers. Cones of two layers have many weights, and so need a larger eta."""
    activation: str = "tanh"
    """Activation of the hidden vertices."""
    in_degree: int = 2
    """Predecessors of every hidden vertex (exact or expected, see law)."""
    law: LawName = "regular"
    """Random wiring: exactly in-degree predecessors, or each edge on its own."""
    gain: float = 2.0
    """Weights start as N(0, 1) times gain / sqrt(in-degree)."""
    bias_scale: float = 1.0
    """Biases start as N(0, 1) times this."""
    confidence: float = 0.95
    """Level of the intervals of the slopes."""
    seed: int = 0
    """Seed of everything random; trials use seeds derived from it."""


class TrainedWitness(NamedTuple):
    """The witness's cones with their output weights and the output's bias, its loss, its data."""

    trees: tuple[lifts.WitnessTree, ...]
    outputs: Float[np.ndarray, " cones"]
    offset: float
    loss: float
    zero_loss: float
    x: Float[Array, "n d"]
    y: Float[Array, "n 1"]


class _RidgeLoss(eqx.Module):
    """A loss plus the squared parameters in units of their scales: the witness stays likely."""

    loss: SquaredLoss
    scales: dict[str, Array]
    decay: Array

    def __call__(self, params) -> Array:
        squares = [jnp.sum(jnp.square(params[name] / self.scales[name])) for name in params]
        return self.loss(params) + self.decay * sum(squares[1:], squares[0])


def _target(dims: int) -> targets.CompositionalTarget:
    def constituent(a: Array, b: Array) -> Array:
        return jnp.tanh(2 * a * b)

    return targets.CompositionalTarget(dims, (targets.Node("y", constituent, ("x1", "x2")),))


@functools.lru_cache(maxsize=4)
def module_of(config: WitnessConfig) -> graphs.PerceptronModule:
    """A multilayer perceptron with a vertex for each input coordinate: all edges can be sparse."""
    return graphs.mlp(config.dims, config.hidden, 1, config.activation, input_as="coordinates")


def root_of(config: WitnessConfig) -> str:
    """The last hidden layer, above which the cones are taken."""
    return f"h{config.hidden}"


def in_degrees(config: WitnessConfig) -> dict[str, int]:
    """The same in-degree everywhere; fewer where the input has fewer coordinates."""
    degrees = {f"h{i}": config.in_degree for i in range(1, config.hidden + 1)}
    return degrees | {"h1": min(config.in_degree, config.dims)}


@eqx.filter_jit
def draw_lift(config: WitnessConfig, size: int, key: Array) -> tuple[lifts.Lift, lifts.Params]:
    """A random lift with initial weights; one program a size."""
    wiring_key, weight_key = jax.random.split(key)
    lift = lifts.random_sparse_lift(
        wiring_key, module_of(config), size, in_degrees(config), law=config.law
    )
    params = lift.init(
        weight_key, gain=config.gain, bias_scale=config.bias_scale, zero_outputs=True
    )
    return lift, params


@functools.lru_cache(maxsize=4)
def trained_witness(config: WitnessConfig) -> TrainedWitness:
    """The best of a few small lifts, trained; the same for every trial of a run."""
    key = jax.random.key(config.seed)
    data_key, lift_key = jax.random.split(jax.random.fold_in(key, 0))
    x = jax.random.uniform(data_key, (config.samples, config.dims), minval=-1.0, maxval=1.0)
    y = _target(config.dims)(x)
    zero_loss = float(jnp.mean(jnp.square(y)))
    found = []
    for attempt in range(config.witness_tries):
        lift, params = draw_lift(config, config.witness_size, jax.random.fold_in(lift_key, attempt))
        loss = squared_loss(lift.apply, x, y)
        scales = {edge.name: jnp.asarray(_scale(config, lift, edge)) for edge in lift.module.edges}
        decay = jnp.asarray(config.decay * zero_loss)
        # Hidden weights see no gradient where all outputs are zero, as they are at the start.
        params[f"{root_of(config)}->y"] = jax.random.normal(
            jax.random.fold_in(data_key, attempt), params[f"{root_of(config)}->y"].shape
        ) / np.sqrt(config.witness_size)
        run = gradient_descent(
            _RidgeLoss(loss, scales, decay),
            params,
            MOMENTUM,
            config.training_steps,
            save_every=config.training_steps,
        )
        trained = run.final
        score = float(loss(trained))
        found.append((score if np.isfinite(score) else np.inf, attempt, lift, trained))
    _, _, lift, trained = min(found, key=lambda entry: entry[:2])
    root = root_of(config)
    outputs = np.asarray(trained[f"{root}->y"]).reshape(-1)
    kept = np.flatnonzero(np.abs(outputs) >= LEAST_OUTPUT * np.abs(outputs).max())
    pruned = dict(trained)
    mask = np.isin(np.arange(len(outputs)), kept).reshape(trained[f"{root}->y"].shape)
    pruned[f"{root}->y"] = jnp.where(mask, trained[f"{root}->y"], 0)
    return TrainedWitness(
        trees=tuple(lifts.witness_tree(lift, pruned, (root, int(i))) for i in kept),
        outputs=outputs[kept],
        offset=float(pruned["one->y"].reshape(())),
        loss=float(squared_loss(lift.apply, x, y)(pruned)),
        zero_loss=zero_loss,
        x=x,
        y=y,
    )


def _scale(config: WitnessConfig, lift: lifts.Lift, edge: graphs.Edge) -> float:
    """The scale of a weight's initial law; one for the outputs, which start at zero."""
    if edge.target == "y":
        return 1.0
    if edge.source == "one":
        return config.bias_scale or 1.0
    return config.gain / np.sqrt(lift.in_degrees[edge.name])
