"""Random parameters of a lift: independent weights from a full-support law."""

import math
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int, Key

from sparsejax.graphs import Bias, Edge, PerceptronModule
from sparsejax.lifts.wiring import DenseWiring, SparseWiring

Law = Callable[[Key[Array, ""], tuple[int, ...], jnp.dtype], Array]


def _normal(key: Key[Array, ""], shape: tuple[int, ...], dtype: jnp.dtype) -> Array:
    return jax.random.normal(key, shape, dtype)


def _uniform(key: Key[Array, ""], shape: tuple[int, ...], dtype: jnp.dtype) -> Array:
    """Uniform of variance one."""
    return jax.random.uniform(key, shape, dtype, -math.sqrt(3.0), math.sqrt(3.0))


LAWS: dict[str, Law] = {"normal": _normal, "uniform": _uniform}


def as_law(law: str | Law) -> Law:
    """A name (`"normal"`, `"uniform"`) or a user's `law(key, shape, dtype)` of variance one.

    Raises:
        ValueError: the name is not known.
    """
    if callable(law):
        return law
    if law not in LAWS:
        raise ValueError(f"unknown initialisation law {law!r}; known are {', '.join(LAWS)}")
    return LAWS[law]


def per_edge(
    value: int | float | Mapping[str, int | float],
    module: PerceptronModule,
    default: float,
    what: str,
) -> dict[str, float]:
    """One number for all edges, or numbers by edge name over a default.

    Raises:
        ValueError: a name is not that of an edge, or that of a bias, which has its own scale.
    """
    names = [edge.name for edge in module.edges]
    if not isinstance(value, Mapping):
        return dict.fromkeys(names, float(value))
    unknown = sorted(set(value) - set(names))
    if unknown:
        raise ValueError(f"{what}: no edge {unknown[0]!r}; the module has {', '.join(names)}")
    for edge in module.edges:
        if edge.name in value and isinstance(edge.map, Bias):
            raise ValueError(f"{what}: edge {edge.name!r} is a bias; bias_scale sets its scale")
    return {name: float(value.get(name, default)) for name in names}


def weight_scale(
    edge: Edge,
    module: PerceptronModule,
    in_degrees: int | float | Int[Array, " n_b"],
    gain: int | float,
    bias_scale: int | float,
    dtype: jnp.dtype,
) -> Float[Array, ""] | Float[Array, " n_b"]:
    """Standard deviation of a weight: `gain / sqrt(in-degree x fan-in)`, or that of a bias.

    One for all vertices, or one a vertex where `in_degrees` has one a vertex. A vertex without
    predecessors over the edge has nothing to scale; it counts as one with a single predecessor.
    """
    if isinstance(edge.map, Bias):
        return jnp.asarray(bias_scale, dtype)
    fan_in = edge.map.fan_in(module.vertex(edge.source).shape)
    if isinstance(in_degrees, int | float):
        total = in_degrees * fan_in
        return jnp.asarray(gain / math.sqrt(total) if total > 0 else gain, dtype)
    degrees = jnp.maximum(in_degrees, 1).astype(dtype)
    return jnp.asarray(gain / math.sqrt(fan_in), dtype) / jnp.sqrt(degrees)


def true_in_degrees(wiring: DenseWiring | SparseWiring) -> int | Int[Array, " n_b"]:
    """Number of predecessors of every target, one number where all have the same."""
    if isinstance(wiring, DenseWiring):
        return wiring.n_sources
    return wiring.slots if wiring.present is None else wiring.in_degrees()
