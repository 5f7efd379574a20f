"""How claims put trials together that one compiled program measures."""

from collections.abc import Iterator, Sequence
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Int, Key

from sparsejax.claims.claim import Trial


def together(trials: list[Trial], *names: str, at_most: int | None = None) -> list[list[Trial]]:
    """Trials with the same parameters of these names, in their order, so many in a batch at most.

    What is in a batch is what a kill may lose.

    >>> trials = [Trial(f"t{n}", {"size": size}) for n, size in enumerate((8, 16, 8, 8))]
    >>> [[t.name for t in batch] for batch in together(trials, "size", at_most=2)]
    [['t0', 't2'], ['t3'], ['t1']]
    """
    groups: dict[tuple, list[Trial]] = {}
    for trial in trials:
        groups.setdefault(tuple(trial.parameters[name] for name in names), []).append(trial)
    return [
        group[first : first + (at_most or len(group))]
        for group in groups.values()
        for first in range(0, len(group), at_most or len(group))
    ]


def lane_keys(base: Key[Array, ""], numbers: Sequence[int] | Int[Array, " n"]) -> Array:
    """A key for each of these numbers, whichever others there are.

    Example:
        >>> base = jax.random.key(0)
        >>> bool(lane_keys(base, [3, 5])[1] == lane_keys(base, [5])[0])
        True
    """
    numbers = jnp.asarray(numbers).astype(jnp.uint32)
    return jax.vmap(lambda number: jax.random.fold_in(base, number))(numbers)


class EachTrialByItself:
    """For claims whose trials are of many lifts each: one program, on all local devices, a trial.

    As a `BatchedClaim`, so that the command line starts them on all devices.
    """

    measure: Any

    def batches(self, config: Any, trials: list[Trial]) -> list[list[Trial]]:
        """One trial a batch."""
        return [[trial] for trial in trials]

    def measure_batch(self, config: Any, trials: list[Trial]) -> Iterator[dict[str, np.ndarray]]:
        """As `measure`, one after another."""
        return (self.measure(config, trial) for trial in trials)
