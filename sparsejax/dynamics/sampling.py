"""What one step of a stochastic method sees: a batch, fresh data, noisy labels; fixed by a key."""

import abc
from collections.abc import Callable
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Int, Key, PyTree

from sparsejax.dynamics.loss import WEIGHTED, Loss, SquaredLoss

SamplingLaw = Literal["epochs", "subsets", "replacement"]
LAWS: tuple[SamplingLaw, ...] = ("epochs", "subsets", "replacement")


class Sampling(eqx.Module):
    """The loss that one step sees, a function of the key and the step's number alone.

    So the path of a run depends neither on when it was saved nor on where it was cut.
    """

    @abc.abstractmethod
    def at_step(self, loss: Loss, key: Key[Array, ""], step: Int[Array, ""]) -> Loss:
        """The loss whose gradient this step takes."""

    @property
    def independent(self) -> bool:
        """Whether a step's samples are drawn independently of all earlier steps."""
        return True


class WholeData(Sampling):
    """Every step sees all samples."""

    def at_step(self, loss: Loss, key: Key[Array, ""], step: Int[Array, ""]) -> Loss:
        """The loss itself."""
        return loss


class Minibatches(Sampling):
    """`batch_size` samples a step.

    `law`: `"epochs"` (consecutive pieces of a fresh permutation each epoch), `"subsets"` (a fresh
    subset without repetition each step), `"replacement"` (independent draws).
    """

    batch_size: int = eqx.field(static=True)
    law: SamplingLaw = eqx.field(static=True, default="epochs")

    def at_step(self, loss: Loss, key: Key[Array, ""], step: Int[Array, ""]) -> Loss:
        """The loss on this step's batch."""
        return loss.restrict(
            minibatch_indices(key, step, loss.samples, self.batch_size, law=self.law)
        )

    @property
    def independent(self) -> bool:
        """Within an epoch the last batch is what the others left."""
        return self.law != "epochs"


class FreshSamples(Sampling):
    """New data each step from `generator(key, step) -> (x, targets)`: online learning."""

    generator: Callable[[Array, Array], tuple[PyTree, Array]]

    def at_step(self, loss: Loss, key: Key[Array, ""], step: Int[Array, ""]) -> Loss:
        """The loss on this step's data."""
        x, targets = self.generator(jax.random.fold_in(key, step), step)
        return loss.with_data(x, targets)


class LabelNoise(Sampling):
    """Gaussian noise of standard deviation `scale` on the targets of each step, drawn anew."""

    base: Sampling
    scale: Array

    def at_step(self, loss: Loss, key: Key[Array, ""], step: Int[Array, ""]) -> Loss:
        """The loss of the step below it, with noise on its targets."""
        base_key, noise_key = jax.random.split(key)
        seen = self.base.at_step(loss, base_key, step)
        dtype = jnp.result_type(float, seen.targets.dtype) if _whole(seen) else seen.targets.dtype
        targets = seen.targets.astype(dtype)
        noise = jax.random.normal(jax.random.fold_in(noise_key, step), targets.shape, dtype)
        noisy = targets + self.scale.astype(dtype) * noise
        return seen.with_data(seen.x, noisy, seen.weights)

    @property
    def independent(self) -> bool:
        """As the sampling below it."""
        return self.base.independent


def _whole(loss: Loss) -> bool:
    return not jnp.issubdtype(loss.targets.dtype, jnp.inexact)


def minibatch_indices(
    key: Key[Array, ""],
    step: Int[Array, ""],
    samples: int,
    batch_size: int,
    *,
    law: SamplingLaw = "epochs",
) -> Int[Array, " batch"]:
    """Indices of the batch of one step; see `Minibatches` for the laws.

    Where the batch does not divide the samples, an epoch leaves out a rest, another one each time.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> batches = [minibatch_indices(jax.random.key(0), jnp.int32(k), 6, 2) for k in range(3)]
        >>> sorted(jnp.concatenate(batches).tolist())
        [0, 1, 2, 3, 4, 5]
    """
    if law == "replacement":
        return jax.random.randint(jax.random.fold_in(key, step), (batch_size,), 0, samples)
    if law == "subsets":
        return jax.random.permutation(jax.random.fold_in(key, step), samples)[:batch_size]
    per_epoch = samples // batch_size
    order = jax.random.permutation(jax.random.fold_in(key, step // per_epoch), samples)
    return jax.lax.dynamic_slice(order, ((step % per_epoch) * batch_size,), (batch_size,))


def checked_sampling(
    loss: Any,
    key: Key[Array, ""] | None,
    batch_size: int | None,
    law: str,
    generator: Callable[[Array, Array], tuple[PyTree, Array]] | None = None,
    label_noise: float | int = 0.0,
) -> Sampling:
    """The sampling that is asked for; raises ValueError where it could not be drawn."""
    if not isinstance(loss, Loss):
        raise ValueError("minibatches need a Loss with samples, such as squared_loss(f, x, y)")
    if key is None:
        raise ValueError("minibatches are drawn at random: give a key")
    if law not in LAWS:
        raise ValueError(f"sampling is one of {', '.join(LAWS)}, not {law!r}")
    known = LAWS[LAWS.index(law)]
    sampling: Sampling
    if generator is not None:
        if batch_size is not None:
            raise ValueError("a generator decides the batch size: leave batch_size out")
        _check_generator(loss, key, generator)
        sampling = FreshSamples(generator)
    elif batch_size is None:
        sampling = WholeData()
    elif loss.weights is not None:
        raise ValueError(WEIGHTED)
    elif not 1 <= batch_size <= loss.samples:
        raise ValueError(f"batch_size must lie in [1, {loss.samples}], got {batch_size}")
    else:
        sampling = Minibatches(batch_size, known)
    if not label_noise >= 0:
        raise ValueError(f"label_noise is a standard deviation, got {label_noise}")
    if label_noise == 0:
        return sampling
    if not isinstance(loss, SquaredLoss):
        raise ValueError("label_noise is Gaussian noise on targets: it needs a squared loss")
    return LabelNoise(sampling, jnp.asarray(label_noise, float))


def _check_generator(loss: Loss, key: Key[Array, ""], generator: Callable) -> None:
    drawn = jax.eval_shape(generator, key, jax.ShapeDtypeStruct((), jnp.int32))
    if not (isinstance(drawn, tuple) and len(drawn) == 2):
        raise ValueError("generator(key, step) must return a pair (x, targets)")
    x, targets = drawn
    expected, got = (
        jax.tree.map(lambda leaf: leaf.shape[1:], data) for data in ((loss.x, loss.targets), drawn)
    )
    if expected != got:
        raise ValueError(f"generator gives samples of shapes {got}, the loss has {expected}")
    counts = {leaf.shape[0] for leaf in jax.tree.leaves(drawn)}
    if len(counts) > 1:
        raise ValueError(f"generator gives different numbers of samples: {sorted(counts)}")
