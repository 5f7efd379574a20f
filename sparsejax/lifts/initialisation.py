"""Random parameters of a lift: independent weights from a full-support law."""

import math
from collections.abc import Callable, Mapping

import jax
import jax.numpy as jnp
from jaxtyping import Array, Key

from sparsejax.graphs import Bias, Edge, PerceptronModule

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
    edge: Edge, module: PerceptronModule, in_degree: float, gain: float, bias_scale: int | float
) -> float:
    """Standard deviation of a weight: `gain / sqrt(in-degree x fan-in)`, or that of a bias."""
    if isinstance(edge.map, Bias):
        return float(bias_scale)
    fan_in = in_degree * edge.map.fan_in(module.vertex(edge.source).shape)
    return gain / math.sqrt(fan_in) if fan_in > 0 else gain
