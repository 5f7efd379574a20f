"""Dense lifts as large as a sparse one: in parameters, vertices, or the cost of a gradient."""

import functools
import math
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np

from sparsejax import graphs, lifts
from sparsejax.claims.lift_ensemble import drawn_lifts, losses_of
from sparsejax.claims.setting import LiftDraw, LiftSetting, base_module, sparse_in_degrees
from sparsejax.dynamics import gradient_flows, squared_loss

SPARSE = "sparse"
MATCHES = ("parameters", "vertices", "compute")
"""What a dense lift has in common with the sparse one that it stands beside."""
CONDITIONS = (SPARSE, *MATCHES)


def counts(lift: lifts.Lift) -> dict[str, float]:
    """Expected parameters, vertices, and multiply-adds of a gradient on one sample.

    A weight of a hidden edge takes part in three multiply-adds, forward, in its own derivative and
    in that of its source; a weight on an input in two; activations and biases are not counted.

    Example:
        >>> module = graphs.mlp(8, 2, 1, input_as="coordinates")
        >>> counts(lifts.dense_lift(module, 11))
        {'parameters': 243.0, 'vertices': 22.0, 'compute': 572.0}
    """
    module, parameters, compute = lift.module, 0.0, 0.0
    for edge in module.edges:
        width = math.prod(module.vertex(edge.target).shape)
        weights = lift.in_degrees[edge.name] * lift.sizes[edge.target] * width
        parameters += weights
        if not isinstance(edge.map, graphs.Bias):
            compute += weights * (2 if edge.source in module.inputs else 3)
    vertices = sum(lift.sizes[name] for name in module.duplicated)
    return {"parameters": parameters, "vertices": float(vertices), "compute": compute}


@functools.cache
def condition_counts(config: LiftSetting, condition: str, size: int) -> dict[str, float]:
    """`counts` of the lifts of a condition beside the sparse ones of `size`; none is drawn."""
    module, degrees = _base(config)
    if condition != SPARSE:
        return counts(lifts.dense_lift(module, dense_size(config, size, condition)))
    shapes = eqx.filter_eval_shape(
        lifts.random_sparse_lift, jax.random.key(0), module, size, degrees, law=config.law
    )
    return counts(shapes)


@functools.cache
def dense_size(config: LiftSetting, size: int, match: str) -> int:
    """Vertices per layer of the dense lift that comes nearest to a sparse one of `size`."""
    if match == "vertices":
        return size
    goal, module = condition_counts(config, SPARSE, size)[match], _base(config)[0]

    def away(dense: int) -> float:
        return abs(counts(lifts.dense_lift(module, dense))[match] - goal)

    # Both counts grow with the size, and a dense lift of `size` has at least as many.
    return min(range(1, size + 1), key=away)


def _base(config: LiftSetting) -> tuple[graphs.PerceptronModule, dict[str, int]]:
    """The base graph, and the in-degrees of its sparse lifts."""
    data = config.dataset()
    return base_module(config, data), sparse_in_degrees(config, data.dims)


def train(
    config: Any, condition: str, size: int, numbers: Sequence[int]
) -> list[dict[str, np.ndarray]]:
    """Flows of lifts of one condition and size in one compiled program, a dictionary a lift.

    Twice: until the level, which gives time, gradients and the test loss there; and to `config.t1`.
    """
    data = config.dataset()
    x, y, x_test, y_test = (
        jnp.asarray(array, float)
        for array in (data.x_train, data.y_train, data.x_test, data.y_test)
    )
    key = jax.random.fold_in(jax.random.key(config.seed), CONDITIONS.index(condition))
    key = jax.random.fold_in(key, size)
    keys = jax.vmap(lambda number: jax.random.fold_in(key, number))(jnp.asarray(numbers))
    module, by_vertex = _base(config)
    wide = size if condition == SPARSE else dense_size(config, size, condition)
    degrees = tuple(by_vertex.items()) if condition == SPARSE else None
    draw = LiftDraw(module, wide, degrees, config.gain, config.bias_scale, config.law)
    ensemble, params = drawn_lifts(draw, keys)
    loss = squared_loss(ensemble.apply, x, y)
    zero = float(jnp.mean(jnp.sum(y**2, axis=-1)))
    level = config.eps_fraction * zero

    def flow(threshold: float):
        return gradient_flows(
            loss,
            params,
            config.t1,
            rtol=config.rtol,
            stop=jnp.full(len(numbers), threshold),
            shared=lambda loss: loss.data,
            keep_params=False,
            devices=jax.local_devices(),
        )

    def test_losses(end: Any) -> np.ndarray:
        return np.asarray(losses_of(ensemble, end, x_test, y_test))

    # No loss is below zero: the second never stops, and runs the program of the first.
    until, whole = flow(level), flow(-1.0)
    ends = {
        "final_loss": np.asarray(losses_of(ensemble, whole.end, x, y)),
        "test_loss": test_losses(whole.end),
        "test_loss_at_level": test_losses(until.end),
    }
    status = whole.status
    return [
        {
            "size": np.asarray(size),
            "condition": np.asarray(condition),
            "level": np.asarray(level),
            "zero_loss": np.asarray(zero),
            "reached": np.asarray(until.status[lane] == "reached_loss"),
            "time": np.asarray(until.status_time[lane]),
            "gradients": np.asarray(until.stats["gradient_evaluations"][lane]),
            "energy_error": np.asarray(whole.stats["energy_error"][lane]),
            "flow_status": np.asarray(status[lane]),
            **{name: values[lane] for name, values in ends.items()},
        }
        for lane in range(len(numbers))
    ]
