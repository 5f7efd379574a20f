"""Whether networks train stably from random starts: gradient flow, gradient descent, and SGD."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array

from sparsejax.dynamics import STATUSES, LogisticLoss, SquaredLoss, gradient_flows, sgd
from sparsejax.pilot.folds import Fold
from sparsejax.pilot.layers import Network, padded

# Full gradients of more rows cost more and are no other flow.
MOST_ROWS = 1000
FLOW_TIME, STEP_SIZES, BATCH, RTOL = 20.0, (0.05, 0.2, 0.8), 32, 1e-4


@dataclasses.dataclass(frozen=True)
class Endings:
    """How the trainings of one candidate by one method ended.

    `loss`: median training loss of those that completed, NaN where none did; `statuses`: how many
    ended in which.
    """

    candidate: str
    method: str
    runs: int
    completed: int
    statuses: dict[str, int]
    loss: float


@dataclasses.dataclass(frozen=True)
class Agreement:
    """Gradient descent against the flow at the same time, over runs that completed both.

    `distance`: of their ends, over the way that the flow has gone; `loss`: the difference of the
    two losses over that of the flow's begin and end. Medians; NaN where no run completed both.
    """

    candidate: str
    distance: float
    loss: float


def stability(
    fold: Fold, candidates: Mapping[str, Sequence[Network]], task: str, seed: int
) -> tuple[tuple[Endings, ...], tuple[Agreement, ...]]:
    """Train all starts of all candidates by flow, gradient descent and SGD of several step sizes.

    The flow goes to time 20, gradient descent to the same time in steps of 0.05, SGD as many steps
    of 0.05, 0.2 and 0.8.
    """
    lanes = [network for networks in candidates.values() for network in networks]
    names = [name for name, networks in candidates.items() for _ in networks]
    network, params = padded(lanes)
    x, y = (jnp.asarray(array[:MOST_ROWS], float) for array in (fold.train.x, fold.train.y))
    kind = LogisticLoss if task == "classification" else SquaredLoss
    flow = gradient_flows(
        kind(network, x, y), params, FLOW_TIME, rtol=RTOL, shared=lambda loss: loss.data
    )
    steps = round(FLOW_TIME / STEP_SIZES[0])
    keys = jax.random.split(jax.random.key(seed), len(lanes))
    descent = _descents(network, params, (x, y), keys, jnp.asarray(STEP_SIZES, float), kind, steps)
    ends = {"flow": (np.asarray(flow.status), np.asarray(flow.losses[:, -1]))}
    gd, stochastic = jax.tree.map(np.asarray, descent)
    ends["gradient descent, 0.05"] = np.asarray(STATUSES)[gd[0]], gd[1]
    for place, size in enumerate(STEP_SIZES):
        code, losses = (leaf[:, place] for leaf in stochastic)
        ends[f"SGD, {size:g}"] = np.asarray(STATUSES)[code], losses
    rows = []
    for candidate in candidates:
        own = np.array([name == candidate for name in names])
        for method, (status, losses) in ends.items():
            rows.append(_endings(candidate, method, status[own], losses[own]))
    moved, away = _distances(params, flow.end, gd[2])
    begin = np.asarray(flow.losses[:, 0])
    both = (ends["flow"][0] == "completed") & (np.asarray(STATUSES)[gd[0]] == "completed")
    agreements = []
    for candidate in candidates:
        at = both & np.array([name == candidate for name in names])
        fallen = np.maximum(begin - ends["flow"][1], 1e-12)
        difference = np.abs(gd[1] - ends["flow"][1]) / fallen
        agreements.append(
            Agreement(candidate, _median((away / np.maximum(moved, 1e-12))[at]),
                      _median(difference[at]))
        )  # fmt: skip
    return tuple(rows), tuple(agreements)


@eqx.filter_jit
def _descents(
    network: Any, params: Any, data: Any, keys: Array, sizes: Array, kind: Any, steps: int
) -> Any:
    batch = min(BATCH, data[0].shape[0])

    def lane(network: Any, params: Any, key: Array) -> Any:
        loss = kind(network, *data)
        whole = sgd(loss, params, optax.sgd(sizes[0]), steps, key=key, save_every=steps)

        def stochastic(size: Array) -> tuple[Array, Array]:
            run = sgd(
                loss, params, optax.sgd(size), steps, key=key, batch_size=batch, save_every=steps
            )
            return run.status_code, run.losses[-1]

        return (whole.status_code, whole.losses[-1], whole.end), jax.vmap(stochastic)(sizes)

    return eqx.filter_vmap(lane)(network, params, keys)


def _endings(candidate: str, method: str, status: np.ndarray, losses: np.ndarray) -> Endings:
    completed = status == "completed"
    names, counts = np.unique(status, return_counts=True)
    return Endings(
        candidate,
        method,
        len(status),
        int(completed.sum()),
        dict(zip(names.tolist(), counts.tolist(), strict=True)),
        _median(losses[completed]),
    )


def _distances(start: Any, flow: Any, descent: Any) -> tuple[np.ndarray, np.ndarray]:
    """Of every lane how far the flow went, and how far from its end gradient descent ended."""

    def norms(a: Any, b: Any) -> np.ndarray:
        squares = [
            np.square(np.asarray(u) - np.asarray(v)).reshape(len(u), -1).sum(axis=1)
            for u, v in zip(jax.tree.leaves(a), jax.tree.leaves(b), strict=True)
        ]
        return np.sqrt(np.sum(squares, axis=0))

    return norms(flow, start), norms(descent, flow)


def _median(values: np.ndarray) -> float:
    return float(np.median(values)) if len(values) else float("nan")
