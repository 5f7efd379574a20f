"""What `support-recovery` trains: a network on few noisy samples, at all strengths of a penalty."""

import dataclasses
import functools
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array

from sparsejax import learners
from sparsejax.claims.pac import over_devices
from sparsejax.dynamics import dual_averaging, group_lasso, sgd, squared_loss
from sparsejax.structure import InputWeightNorms
from sparsejax.targets import WalshExpansion, staircase

RECORDS = 40
# Group lasso by dual averaging, which leaves exact zeros.
DUAL_AVERAGING = "dual_averaging"
# Of the samples, the last part is held out, and chooses the strength.
HELD_OUT = 0.25
TEST_SAMPLES = 2000


@dataclasses.dataclass(frozen=True)
class Training:
    """What all trainings of one compiled program have in common; static."""

    dims: int
    order: int
    width: int
    penalty: str
    samples: int
    batch_size: int
    step_size: float
    steps: int
    shuffled: bool

    @property
    def target(self) -> WalshExpansion:
        """`x1 + x1 x2 + x1 x2 x3 ...`, uniform on the cube."""
        return staircase(self.dims, self.order)

    @property
    def held_out(self) -> int:
        """How many samples choose the strength."""
        return round(HELD_OUT * self.samples)

    def optimizer(self, learner: learners.Learner, strength: Array) -> optax.GradientTransformation:
        """SGD with the penalty's proximal steps, or dual averaging of the same step size."""
        if self.penalty == DUAL_AVERAGING:
            # Without growth it is SGD where nothing is penalised.
            (groups,) = learners.coordinate_groups(learner)
            return dual_averaging(group_lasso(strength, groups), 1 / self.step_size, growth=0)
        penalty = learners.penalty(self.penalty, learner, strength, self.step_size)
        return optax.chain(optax.sgd(self.step_size), penalty)

    def __call__(self, key: Array, noise: Array, strengths: Array) -> dict[str, Array]:
        """One draw of samples and network: the chosen training, and its like on permuted targets.

        The keys do not depend on the penalty: all penalties see the same draws.
        """
        dtype = jnp.float32
        net, data, label, test, order, mixed = jax.random.split(key, 6)
        learner, target = learners.two_layer(self.dims, self.width), self.target
        f, params = learner.build(net)
        params = jax.tree.map(lambda leaf: leaf.astype(dtype), params)
        x, y = target.sample(data, self.samples, dtype)
        if self.shuffled:
            y = jnp.roll(y, 1, axis=0)
        y = y + noise.astype(dtype) * jax.random.normal(label, y.shape, dtype)
        x_test, y_test = target.sample(test, TEST_SAMPLES, dtype)
        held = self.held_out
        x, x_held, y, y_held = x[held:], x[:held], y[held:], y[:held]
        norms = InputWeightNorms(learner.input_axes)

        def error(params: Any, x: Array, y: Array) -> Array:
            return jnp.mean(jnp.square(f(params, x) - y))

        def trained(y: Array, strength: Array) -> dict[str, Array]:
            run = sgd(
                squared_loss(f, x, y),
                params,
                self.optimizer(learner, strength),
                self.steps,
                key=order,
                batch_size=self.batch_size or None,
                sampling="replacement",
                save_every=self.steps // RECORDS,
                probes={
                    "error": lambda _, params: error(params, x_test, y_test),
                    "held": lambda _, params: error(params, x_held, y_held),
                    "norms": lambda _, params: norms(f, params),
                },
            )
            return {"losses": run.losses, **run.probes}

        found = jax.lax.map(lambda strength: trained(y, strength), strengths)
        # A training that diverged is never chosen where another did not.
        last = jnp.where(jnp.isfinite(found["held"][:, -1]), found["held"][:, -1], jnp.inf)
        best = jnp.argmin(last)
        chosen = {name: value[best] for name, value in found.items()}
        null = trained(jax.random.permutation(mixed, y), strengths[best])
        return chosen | {
            "strength": strengths[best],
            "errors": found["error"][:, -1],
            "null_norms": null["norms"][-1],
        }


@functools.lru_cache(maxsize=16)
def _program(training: Training) -> Any:
    @eqx.filter_jit
    def run(keys: Array, noise: Array, strengths: Array) -> dict[str, Array]:
        # One after another: a network of this size fills a core's cache.
        return over_devices(training, (keys,), (noise, strengths), one_by_one=True)

    return run


def train(
    training: Training, keys: Array, noise: float, strengths: tuple[float, ...]
) -> list[dict[str, np.ndarray]]:
    """One program for all keys, which also serves other noise; a dictionary a key."""
    arrays = _program(training)(
        keys, jnp.asarray(noise, jnp.float32), jnp.asarray(strengths, jnp.float32)
    )
    found = {name: np.asarray(value, float) for name, value in arrays.items()}
    return [{name: value[lane] for name, value in found.items()} for lane in range(len(keys))]
