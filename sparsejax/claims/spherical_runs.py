"""Runs of online spherical SGD on a single index, by a student that knows the link."""

import dataclasses
import functools
import math
from collections.abc import Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import scipy.integrate
from jaxtyping import Array, Float, Key

from sparsejax.claims.batching import lane_keys
from sparsejax.dynamics import fresh, online_ensemble, spherical_sgd
from sparsejax.targets import HermiteExpansion, hermite_polynomials

# Looks at a run, evenly over its greatest length: times are linear between them.
RECORDS = 2000


class Student(eqx.Module):
    """`link(<w, x>)` for `w` (d,), with the link's Hermite coefficients of order 0, 1, ..."""

    link: tuple[float, ...] = eqx.field(static=True)

    def __call__(self, w: Float[Array, " d"], x: Float[Array, "n d"]) -> Float[Array, "n 1"]:
        """The student's function."""
        orders = hermite_polynomials(x @ w, len(self.link) - 1)
        return (jnp.asarray(self.link, orders.dtype) @ orders)[:, None]


@dataclasses.dataclass(frozen=True)
class OnHemisphere:
    """`build` of a student with a random direction, at an acute angle to the target's.

    `start`: `"uniform"` on that hemisphere, or `"typical"`, uniform among directions with the
    root mean square of its overlaps, `1 / sqrt(dims)`.
    """

    dims: int
    link: tuple[float, ...]
    start: str

    def __call__(self, key: Key[Array, ""]) -> tuple[Student, Float[Array, " d"]]:
        """Function and direction of one seed."""
        w = jax.random.normal(key, (self.dims,))
        w = w / jnp.linalg.norm(w) * jnp.where(w[0] < 0, -1, 1)
        if self.start == "typical":
            overlap = 1 / math.sqrt(self.dims)
            w = w.at[0].set(0.0)
            w = (w * (math.sqrt(1 - overlap**2) / jnp.linalg.norm(w))).at[0].set(overlap)
        return Student(self.link), w


class Overlap(eqx.Module):
    """A probe: `<w, w*>`, of an even link without its sign, which the link does not know."""

    even: bool = eqx.field(static=True)

    def __call__(self, f: Any, w: Float[Array, " d"]) -> Float[Array, ""]:
        """The overlap."""
        return jnp.abs(w[0]) if self.even else w[0]


def link_of(order: int, first_order: float) -> tuple[float, ...]:
    """Hermite coefficients of `h_order` with so much of `h_1`, of norm one.

    >>> link_of(2, 0.0), link_of(1, 1.0)
    ((0.0, 0.0, 1.0), (0.0, 1.0))
    """
    found = np.zeros(order + 1)
    found[order] += 1
    found[1] += first_order
    return tuple((found / np.linalg.norm(found)).tolist())


def target_of(dims: int, link: tuple[float, ...]) -> HermiteExpansion:
    """`link(x1)`."""
    return HermiteExpansion(dims, tuple(((1,) * k, value) for k, value in enumerate(link)))


@functools.cache
def descent(step_size: float) -> Any:
    """One optimiser a step size: an equal one made anew would compile anew."""
    return spherical_sgd(step_size)


def step_of(constant: float | int, dims: int, exponent: int) -> float:
    """`constant / d^max(k/2, 1)`, the largest power of d that theory allows for exponent k.

    >>> step_of(1.0, 100, 1), step_of(1.0, 100, 3)
    (0.01, 0.001)
    """
    return constant / dims ** max(exponent / 2, 1.0)


def length_of(patience: float | int, dims: int, exponent: int) -> tuple[int, int]:
    """The most steps of a run, about `patience d^max(k - 1, 1)`, and steps between two looks.

    >>> length_of(100, 50, 3)
    (250000, 125)
    """
    record_every = math.ceil(patience * dims ** max(exponent - 1, 1) / RECORDS)
    return RECORDS * record_every, record_every


def measure_spherical(
    config: Any, order: int, dims: int, numbers: Sequence[int]
) -> list[dict[str, np.ndarray]]:
    """Runs of some seeds: `overlap` (k,) at `steps` (k,), `hit` (steps to the level), `status`."""
    link = link_of(order, config.first_order)
    target = target_of(dims, link)
    exponent = target.information_exponent
    steps, record_every = length_of(config.patience, dims, exponent)
    base = functools.reduce(jax.random.fold_in, (order, dims), jax.random.key(config.seed))
    keys = lane_keys(base, numbers)
    constant = config.step_sizes[config.orders.index(order)]
    runs = online_ensemble(
        OnHemisphere(dims, link, config.start),
        fresh(target.sample, config.batch, config.precision),
        descent(step_of(constant, dims, exponent)),
        steps,
        keys,
        probes={"overlap": Overlap(all(k % 2 == 0 for k, value in enumerate(link) if value))},
        record_every=record_every,
        reach={"hit": ("overlap", config.level, "above")},
        dtype=config.precision,
    )
    found = []
    for lane, status in enumerate(runs.status):
        kept = int(runs.steps_run[lane]) // record_every + 1
        found.append(
            {
                "steps": runs.steps[:kept],
                "overlap": np.asarray(runs.probes["overlap"][lane, :kept], float),
                "hit": np.asarray(float(runs.hitting["hit"][lane])),
                "status": np.asarray(str(status)),
            }
        )
    return found


def population_time(order: int, dims: int, step: float, level: float) -> float:
    """Steps that the population's gradient alone takes to the level, from overlap `1 / sqrt(d)`.

    `dm/ds = eta k m^(k-1) (1 - m^2)` for the link `h_k`. Noise adds to it: no part of the claim,
    for the figure.

    Source: derived here; `E h_k(<w, x>) h_k(<w*, x>) = <w, w*>^k`.

    Example:
        >>> round(population_time(2, 100, 0.01, 0.5))  # its logarithm grows by 2 eta a step
        87
    """
    start = 1 / math.sqrt(dims)
    if start >= level:
        return 0.0
    found, _ = scipy.integrate.quad(
        lambda m: 1 / (order * m ** (order - 1) * (1 - m * m)), start, level
    )
    return found / step
