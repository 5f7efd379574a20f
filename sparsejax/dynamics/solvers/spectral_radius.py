"""Nonlinear power iteration for the spectral radius of a vector field's Jacobian."""

from collections.abc import Callable
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
from jax import lax
from jaxtyping import Array, Float, Int, PyTree

# Part of the step's own last stage difference that enters the warm-started direction. An unstable
# step amplifies just the direction that its stage count did not cover, so this is where a new stiff
# direction shows first; its effect on a converged estimate is half its square.
MIXING = 0.1


class RadiusEstimate(NamedTuple):
    """Result of `power_iteration`: `f` is the field at the point, `jvps` the products used."""

    radius: Float[Array, ""]
    direction: PyTree
    f: PyTree
    jvps: Int[Array, ""]


def norm(tree: PyTree) -> Float[Array, ""]:
    """Euclidean norm over all leaves, in their widest dtype."""
    leaves = jax.tree.leaves(tree)
    dtype = jnp.result_type(*leaves)
    return jnp.sqrt(sum(jnp.sum(jnp.square(leaf)).astype(dtype) for leaf in leaves))


def normalise(tree: PyTree) -> PyTree:
    """The tree over its norm; zero and non-finite trees become zero."""
    size = norm(tree)
    usable = jnp.isfinite(size) & (size > 0)
    factor = jnp.where(usable, 1 / jnp.where(usable, size, jnp.ones_like(size)), 0)
    return jax.tree.map(
        lambda x: jnp.where(usable, x, jnp.zeros_like(x)) * factor.astype(x.dtype), tree
    )


def mixed(direction: PyTree, news: PyTree) -> PyTree:
    """The warm-started direction with a part of `news` in it, normalised."""
    news = normalise(news)
    return normalise(jax.tree.map(lambda a, b: a + MIXING * b, direction, news))


def random_direction(like: PyTree) -> PyTree:
    """A fixed pseudo-random unit tree of the structure of `like`."""
    leaves, structure = jax.tree.flatten(like)
    keys = jax.random.split(jax.random.key(0), len(leaves))
    drawn = [jax.random.normal(k, x.shape, x.dtype) for k, x in zip(keys, leaves, strict=True)]
    return normalise(jax.tree.unflatten(structure, drawn))


def power_iteration(
    vector_field: Callable[[PyTree], PyTree],
    y: PyTree,
    direction: PyTree,
    previous: Float[Array, ""],
    tolerance: float,
    max_iterations: int,
    coupled: Callable[[PyTree], PyTree] = lambda tree: tree,
) -> RadiusEstimate:
    """Largest `|J v|` over a power iteration at `y`, from a unit tree and a previous estimate.

    Stops when two successive estimates agree to `tolerance` (relative), the previous one
    included, so that a warm start costs a single product. `coupled`: zeroes the parts of the state
    that nothing depends on, which have no eigenvalue but zero and would only turn the direction.
    """

    def body(carry: tuple[Any, ...]) -> tuple[Any, ...]:
        count, v, radius, _, _ = carry
        f, jv = jax.jvp(vector_field, (y,), (v,))
        jv = coupled(lax.stop_gradient(jv))  # it only chooses a stage count; f is differentiated
        new = norm(jv)
        finite = jnp.isfinite(new)
        settled = ~finite | (jnp.abs(new - radius) <= tolerance * new)
        grown = normalise(jv)
        v = jax.tree.map(lambda a, b: jnp.where(finite & (new > 0), a, b), grown, v)
        return count + 1, v, jnp.where(finite, new, radius), f, settled

    def unsettled(carry: tuple[Any, ...]) -> Array:
        count, _, _, _, settled = carry
        return (count == 0) | (~settled & (count < max_iterations))

    zero = jax.tree.map(jnp.zeros_like, y)
    start = (
        jnp.zeros((), jnp.int32),
        normalise(coupled(direction)),
        previous,
        zero,
        jnp.zeros((), bool),
    )
    count, v, radius, f, _ = lax.while_loop(unsettled, body, start)
    return RadiusEstimate(radius, v, f, count)
