"""Trains all candidates of all splits in one program, and chooses by validation rows alone."""

import dataclasses
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float

from sparsejax.dynamics import STATUSES, LogisticLoss, SquaredLoss, sgd
from sparsejax.pilot.folds import Fold
from sparsejax.pilot.layers import Network, padded

RECORDS = 30


@dataclasses.dataclass(frozen=True)
class Training:
    """How networks are trained: Adam with decoupled weight decay, minibatches, several tries.

    `tries`: step size and weight decay of each; all `starts` are trained with all of them, and
    validation rows choose among these runs and their moments.
    """

    steps: int = 1500
    batch_size: int = 32
    tries: tuple[tuple[float, float], ...] = ((0.003, 0.1), (0.003, 1.0), (0.02, 0.1))
    starts: int = 2

    def __post_init__(self) -> None:
        if self.steps < RECORDS:
            raise ValueError(f"steps: at least {RECORDS}, got {self.steps}")
        if self.starts < 1 or self.batch_size < 1:
            raise ValueError(
                f"starts and batch_size must be positive, got {self.starts} and {self.batch_size}"
            )
        if not self.tries or any(rate <= 0 or decay < 0 for rate, decay in self.tries):
            raise ValueError(
                f"tries: pairs of a positive step size and a weight decay, got {self.tries}"
            )


@dataclasses.dataclass(frozen=True, eq=False)
class Runs:
    """What the trainings of one network came to: its starts and tries, one row each.

    `first`, `second`: losses on the two halves of the validation rows, at each record, infinite
    where they are no numbers. `networks`: each run's at its best record by both halves.
    """

    first: Float[np.ndarray, "runs k"]
    second: Float[np.ndarray, "runs k"]
    weights: tuple[float, float]
    networks: tuple[Network, ...]
    status: tuple[str, ...]

    @property
    def validation(self) -> Float[np.ndarray, "runs k"]:
        """Losses on all validation rows."""
        return self.weights[0] * self.first + self.weights[1] * self.second

    @property
    def best(self) -> int:
        """The run of least validation loss; runs are start by start, try by try."""
        return int(self.validation.min(axis=1).argmin())

    @property
    def chosen(self) -> Network:
        """The network of least validation loss."""
        return self.networks[self.best]

    @property
    def judged(self) -> float:
        """The loss on each half of the validation rows where the other half chose; their mean.

        A choice looks better on the rows that made it than on new ones; here it never does.
        """
        a, b = self.first.ravel(), self.second.ravel()
        return self.weights[1] * float(b[a.argmin()]) + self.weights[0] * float(a[b.argmin()])


def train(
    folds: Sequence[Fold],
    candidates: Sequence[Sequence[Sequence[Network]]],
    task: str,
    training: Training,
    seed: int,
) -> list[list[Runs]]:
    """Train `candidates[fold][network][start]`; equally many networks and starts a fold."""
    counts = {(len(networks), len(starts)) for networks in candidates for starts in networks}
    if len(counts) > 1:
        raise ValueError(f"every fold needs as many networks and starts; got {sorted(counts)}")
    ((many, starts),) = counts
    tries = training.tries
    lanes = [
        network for networks in candidates for drawn in networks for network in drawn for _ in tries
    ]
    each = many * starts * len(tries)
    network, params = jax.tree.map(
        lambda leaf: leaf.reshape(len(folds), each, *leaf.shape[1:]), padded(lanes)
    )
    data = tuple(
        jnp.asarray(np.stack([getattr(getattr(fold, part), name) for fold in folds]), float)
        for part in ("train", "validation")
        for name in ("x", "y")
    )
    keys = jax.random.split(jax.random.key(seed), len(folds))
    kind = LogisticLoss if task == "classification" else SquaredLoss
    steps = -(-training.steps // RECORDS) * RECORDS
    batch = min(training.batch_size, data[0].shape[1])
    with jax.numpy_dtype_promotion("standard"):  # optax's Adam mixes dtypes
        found = _program(
            network, params, data, jnp.asarray(tries, float), keys, (kind, steps, batch, starts)
        )
    best, first, second, code = jax.tree.map(np.asarray, found)
    half = data[2].shape[1] // 2
    weights = (half / data[2].shape[1], 1 - half / data[2].shape[1])
    result = []
    for f in range(len(folds)):
        runs = []
        for n in range(many):
            at = range(n * starts * len(tries), (n + 1) * starts * len(tries))
            runs.append(
                Runs(
                    first[f][list(at)],
                    second[f][list(at)],
                    weights,
                    tuple(
                        lanes[f * each + lane].with_values(
                            {name: leaf[f, lane] for name, leaf in best.items()}
                        )
                        for lane in at
                    ),
                    tuple(STATUSES[code[f, lane]] for lane in at),
                )
            )
        result.append(runs)
    return result


@eqx.filter_jit
def _program(network: Any, params: Any, data: Any, tries: Array, keys: Array, setting: Any) -> Any:
    kind, steps, batch, starts = setting

    def fold(arguments: Any) -> Any:
        network, params, (x, y, x_held, y_held), key = arguments
        half = x_held.shape[0] // 2

        def held(f: Any, params: Any) -> tuple[Array, Array]:
            losses = kind(f, x_held, y_held).of_samples(params)
            losses = jnp.where(jnp.isfinite(losses), losses, jnp.inf)
            return jnp.mean(losses[:half]), jnp.mean(losses[half:])

        def lane(network: Any, params: Any, chosen: Array, key: Array) -> Any:
            run = sgd(
                kind(network, x, y),
                params,
                optax.adamw(chosen[0], weight_decay=chosen[1]),
                steps,
                key=key,
                batch_size=batch,
                sampling="epochs",
                save_every=steps // RECORDS,
                probes={"held": lambda _, params: jnp.stack(held(network, params))},
            )
            first, second = run.probes["held"].T
            best = jnp.argmin(half * first + (x_held.shape[0] - half) * second)
            return (
                jax.tree.map(lambda leaf: leaf[best], run.params), first, second, run.status_code
            )  # fmt: skip

        # The same batches for all networks of a start: what they see is no difference of theirs.
        many = jax.tree.leaves(params)[0].shape[0] // (starts * tries.shape[0])
        order = jnp.tile(jnp.repeat(jax.random.split(key, starts), tries.shape[0]), many)
        return eqx.filter_vmap(lane)(network, params, jnp.tile(tries, (many * starts, 1)), order)

    return jax.lax.map(fold, (network, params, data, keys))
