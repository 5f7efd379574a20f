"""Where the batches of an online run come from: fresh samples each step, or a fixed set a lane."""

import dataclasses
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
from jaxtyping import Array, DTypeLike, Int, Key

from sparsejax.dynamics.by_value import by_value
from sparsejax.dynamics.sampling import LAWS, SamplingLaw, minibatch_indices

Sample = Callable[..., tuple[Array, Array]]
Source = Callable[[Array, Array], tuple[Array, Array]]


def fresh(sample: Sample, batch: int, dtype: DTypeLike | None = None) -> "Stream":
    """A stream of `batch` new samples each step: online learning of the population loss.

    `sample(key, n) -> (x, y)`, such as a target's; with `dtype` it is called `sample(key, n, dtype)`,
    and draws in that precision.

    Raises:
        ValueError: a batch that is not positive.

    Example:
        >>> import jax.numpy as jnp
        >>> def sample(key, n):
        ...     x = jax.random.normal(key, (n, 3))
        ...     return x, x[:, :1]
        >>> source = fresh(sample, 4)(jax.random.key(0))
        >>> x, y = source(jax.random.key(1), jnp.int32(0))
        >>> x.shape, y.shape
        ((4, 3), (4, 1))
    """
    _check(batch)
    return Stream(by_value(sample), batch, None, "replacement", dtype)


def finite(
    sample: Sample,
    samples: int,
    batch: int,
    dtype: DTypeLike | None = None,
    *,
    law: SamplingLaw = "replacement",
) -> "Stream":
    """A stream of minibatches from `samples` samples, which each lane draws once, by its own key.

    `law`: as of `sgd`. `"epochs"` and `"subsets"` sort all samples in every step, which for many
    samples costs more than the step itself; with `batch` equal to `samples` every step sees all.

    Raises:
        ValueError: a batch that is not in `[1, samples]`, an unknown law.

    Example:
        >>> import jax.numpy as jnp
        >>> def sample(key, n):
        ...     x = jax.random.normal(key, (n, 3))
        ...     return x, x[:, :1]
        >>> source = finite(sample, samples=2, batch=2)(jax.random.key(0))
        >>> same = [source(jax.random.key(k), jnp.int32(k))[0] for k in (1, 2)]
        >>> bool((same[0] == same[1]).all())
        True
    """
    _check(batch)
    if batch > samples:
        raise ValueError(f"batch must lie in [1, samples], got {batch} of {samples}")
    if law not in LAWS:
        raise ValueError(f"law is one of {', '.join(LAWS)}, not {law!r}")
    return Stream(by_value(sample), batch, samples, law, dtype)


@dataclasses.dataclass(frozen=True)
class Stream:
    """A function of a lane's key that gives its source of batches; static and hashable."""

    sample: Sample
    batch: int
    samples: int | None
    law: SamplingLaw
    dtype: Any

    def __call__(self, key: Key[Array, ""]) -> Source:
        """The source: a function `(key of the step, step) -> (x, y)`."""
        options = () if self.dtype is None else (self.dtype,)
        if self.samples is None:
            return lambda step_key, step: self.sample(step_key, self.batch, *options)
        set_key, order_key = jax.random.split(key)
        x, y = self.sample(set_key, self.samples, *options)
        return FixedSet(x, y, order_key, self.batch, self.law)


class FixedSet(eqx.Module):
    """Minibatches of fixed samples; which ones is a function of the step alone."""

    x: Array
    y: Array
    key: Key[Array, ""]
    batch: int = eqx.field(static=True)
    law: SamplingLaw = eqx.field(static=True)

    def __call__(self, key: Key[Array, ""], step: Int[Array, ""]) -> tuple[Array, Array]:
        """The batch of one step."""
        if self.batch == self.x.shape[0]:
            return self.x, self.y
        rows = minibatch_indices(self.key, step, self.x.shape[0], self.batch, law=self.law)
        return self.x[rows], self.y[rows]


def _check(batch: int) -> None:
    if batch < 1:
        raise ValueError(f"batch must be positive, got {batch}")
