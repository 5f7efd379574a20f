"""What is recorded at saved times: loss, gradient norm and the user's probes."""

from collections.abc import Callable, Mapping
from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import Array, Bool, Float, PyTree

Probe = Callable[[Array, PyTree], PyTree]


class Record(NamedTuple):
    """Measurements at S saved times; probes have a leading axis S."""

    losses: Float[Array, " s"]
    grad_norms: Float[Array, " s"]
    probes: dict[str, PyTree[Array]]


def checked_probes(probes: Mapping[str, Probe] | None) -> dict[str, Probe]:
    """Probes by name; raises ValueError where one is not a function `(t, params) -> array`."""
    probes = dict(probes or {})
    for name, probe in probes.items():
        if not isinstance(name, str) or not callable(probe):
            raise ValueError(f"probe {name!r} must be a function of (t, params) under a name")
    return probes


def at_saved_times(
    loss: Callable[[PyTree], Array],
    unravel: Callable[[Array], PyTree],
    ts: Float[Array, " s"],
    thetas: Float[Array, "s p"],
    probes: Mapping[str, Probe],
) -> Record:
    """Evaluate loss, gradient norm and probes at saved parameters, one time after the other."""

    def measure(at):
        t, theta = at
        value, gradient = jax.value_and_grad(lambda v: loss(unravel(v)))(theta)
        probed = {name: probe(t, unravel(theta)) for name, probe in probes.items()}
        return Record(value, jnp.sqrt(jnp.sum(jnp.square(gradient))), probed)

    return jax.lax.map(measure, (ts, thetas))


def blank(columns: PyTree[Array], shown: Bool[Array, " s"]) -> PyTree[Array]:
    """NaN in the rows that are not shown; arrays that cannot hold NaN stay as they are."""

    def of_leaf(column: Array) -> Array:
        if not jnp.issubdtype(column.dtype, jnp.inexact):
            return column
        return jnp.where(jnp.expand_dims(shown, range(1, column.ndim)), column, jnp.nan)

    return jax.tree.map(of_leaf, columns)
