"""Random wirings by either law, from a key, in memory linear in the number of edges."""

import functools
import math

import jax
import jax.numpy as jnp
import numpy as np
import scipy.stats
from jaxtyping import Array, Int, PRNGKeyArray

from sparsejax.lifts.transposition import is_concrete
from sparsejax.lifts.wiring import SparseWiring

# A wiring sampled inside a trace is padded to a static capacity; this bounds the probability that
# one wiring does not fit (and is then poisoned). Half of it goes to each direction.
OVERFLOW_PROBABILITY = 1e-12

# Drawing without replacement compares every draw with those before it, quadratic in the in-degree;
# beyond this in-degree all sources are shuffled instead, SHUFFLED_AT_ONCE entries at a time.
FLOYD_AT_MOST = 256
SHUFFLED_AT_ONCE = 2**22


def _tail_capacity(draws: int, p: float, count: int) -> int:
    """Least c such that none of `count` Binomial(draws, p) exceeds c but with small probability."""
    if p >= 1.0 or draws == 0:
        return draws
    # Not binom.isf, which inverts the cumulative law and so knows no tail below 1e-16.
    return _tail_quantile(draws, p, 0.5 * OVERFLOW_PROBABILITY / count)


@functools.lru_cache(maxsize=256)
def _tail_quantile(draws: int, p: float, tail: float) -> int:
    """Least c with P(Binomial(draws, p) > c) <= tail."""
    low, high = 0, draws
    while low < high:
        middle = (low + high) // 2
        if scipy.stats.binom.sf(middle, draws, p) <= tail:
            high = middle
        else:
            low = middle + 1
    return low


def _below(key: PRNGKeyArray, bound: Int[Array, " n"]) -> Int[Array, " n"]:
    """Uniform integers in [0, bound)."""
    return jax.random.randint(key, bound.shape, jnp.zeros_like(bound), bound, jnp.int32)


def _distinct(key, n_sources, degrees, capacity):
    """Uniform random subsets of the sources, `degrees[v]` of them for target `v`, sorted.

    Floyd's algorithm, all targets at once. Step `i` draws from its own key, so that the sets do
    not depend on `capacity`. Rows beyond a target's degree hold `n_sources`.
    """

    def step(i, chosen):
        bound = jnp.maximum(n_sources - degrees + i, 0)
        drawn = _below(jax.random.fold_in(key, i), bound + 1)
        drawn = jnp.where(jnp.any(chosen == drawn[None, :], axis=0), bound, drawn)
        return chosen.at[i].set(jnp.where(i < degrees, drawn, n_sources))

    empty = jnp.full((capacity, degrees.shape[0]), n_sources, jnp.int32)
    if capacity == 0:
        return empty
    chosen = jax.lax.fori_loop(jnp.int32(0), jnp.int32(capacity), step, empty)
    return jnp.sort(chosen.T, axis=1).T


@functools.partial(jax.jit, static_argnames=("n_sources", "n_targets", "in_degree"))
def _regular_predecessors(key, n_sources, n_targets, in_degree):
    if in_degree == n_sources:
        sources = jnp.arange(n_sources, dtype=jnp.int32)[:, None]
        return jnp.broadcast_to(sources, (n_sources, n_targets))
    if 2 * in_degree <= n_sources and in_degree <= FLOYD_AT_MOST:
        return _distinct(key, n_sources, jnp.full((n_targets,), in_degree, jnp.int32), in_degree)
    # Shuffles of all sources, for as many targets at once as keep the shuffles below a bound.
    together = max(1, min(n_targets, SHUFFLED_AT_ONCE // n_sources))
    blocks = -(-n_targets // together)

    def some_targets(block_key):
        rows = jnp.broadcast_to(jnp.arange(n_sources, dtype=jnp.int32), (together, n_sources))
        shuffled = jax.random.permutation(block_key, rows, axis=1, independent=True)
        return jnp.sort(shuffled[:, :in_degree], axis=1)

    chosen = jax.lax.map(some_targets, jax.random.split(key, blocks))
    return chosen.reshape(blocks * together, in_degree)[:n_targets].T


@functools.lru_cache(maxsize=256)
def _cumulative_words(n_sources: int, p: float) -> tuple[np.ndarray, np.ndarray]:
    """The cumulative law of Binomial(n_sources, p) as high and low words of 64-bit fractions.

    Two 32-bit words keep the far tail exact without 64-bit types on the device.
    """
    last = n_sources if p >= 1.0 else _tail_quantile(n_sources, p, 1e-18)
    cumulative = scipy.stats.binom.cdf(np.arange(min(last, n_sources)), n_sources, p)
    high = np.floor(cumulative * 2.0**32)
    low = np.floor((cumulative * 2.0**32 - high) * 2.0**32)
    one = high >= 2.0**32
    high[one], low[one] = 2.0**32 - 1, 2.0**32 - 1
    return high.astype(np.uint32), low.astype(np.uint32)


@functools.partial(jax.jit, static_argnames=("n_sources", "n_targets", "p"))
def _binomial_degrees(key, n_sources, n_targets, p):
    high, low = _cumulative_words(n_sources, p)
    words = jax.random.bits(key, (2, n_targets), jnp.uint32)

    def count(degrees, threshold):
        above = (words[0] > threshold[0]) | (
            (words[0] == threshold[0]) & (words[1] >= threshold[1])
        )
        return degrees + above.astype(jnp.int32), None

    start = jnp.zeros((n_targets,), jnp.int32)
    return jax.lax.scan(count, start, (jnp.asarray(high), jnp.asarray(low)))[0]


@functools.partial(jax.jit, static_argnames=("n_sources", "capacity"))
def _binomial_predecessors(key, degrees, n_sources, capacity):
    chosen = _distinct(key, n_sources, degrees, capacity)
    present = chosen < n_sources
    return jnp.where(present, chosen, 0), present


def _check_sizes(n_sources: int, n_targets: int) -> None:
    if n_sources < 1 or n_targets < 1:
        raise ValueError(
            f"a wiring needs at least one source and one target, got {n_sources} and {n_targets}"
        )
    if n_sources >= 2**31 - 1:
        raise ValueError(f"{n_sources} sources do not fit 32-bit indices")


def sample_regular(
    key: PRNGKeyArray,
    n_sources: int,
    n_targets: int,
    in_degree: int,
    capacity: int | None = None,
) -> SparseWiring:
    """Edges by the regular law: `min(in_degree, n_sources)` distinct uniform predecessors each.

    `capacity` fixes the number of rows of the transposed wiring. Without it, a concrete key gives
    the greatest out-degree; inside a trace, where shapes cannot depend on the draw, it is a
    quantile of the out-degree, Binomial(n_targets, in_degree / n_sources), that is exceeded
    anywhere in the wiring with probability below 1e-12; a wiring that exceeds it is poisoned (see
    `SparseWiring.overflow`). The same key gives the same edges either way; only padding differs.

    Raises `ValueError` on sizes below one, a negative in-degree, or, outside a trace, a source
    with more out-edges than a given `capacity`.

    ```python
    >>> import jax
    >>> wiring = sample_regular(jax.random.key(0), 100, 50, in_degree=4)
    >>> wiring.in_degrees().min(), wiring.in_degrees().max()
    (Array(4, dtype=int32), Array(4, dtype=int32))

    ```
    """
    _check_sizes(n_sources, n_targets)
    if in_degree < 0 or int(in_degree) != in_degree:
        raise ValueError(f"in_degree must be a whole number of at least 0, got {in_degree}")
    in_degree = min(int(in_degree), n_sources)
    predecessors = _regular_predecessors(key, n_sources, n_targets, in_degree)
    if capacity is None and not is_concrete(predecessors):
        capacity = _tail_capacity(n_targets, in_degree / n_sources, n_sources)
    return SparseWiring._transposed(predecessors, None, n_sources, capacity)


def sample_binomial(
    key: PRNGKeyArray, n_sources: int, n_targets: int, in_degree: float | int
) -> SparseWiring:
    """Edges by the binomial law: each present independently, `p = min(1, in_degree / n_sources)`.

    In-degrees are Binomial(n_sources, p), drawn by inverting the exact cumulative law, and
    predecessors are then uniform subsets of that size. A concrete key gives padding to the
    greatest in-degree and out-degree of the draw. Inside a trace both are quantiles that the whole
    wiring exceeds with probability below 1e-12, and a wiring that exceeds them is poisoned (see
    `SparseWiring.overflow`). The same key gives the same edges either way.

    Raises `ValueError` on sizes below one or a negative in-degree.

    ```python
    >>> import jax
    >>> wiring = sample_binomial(jax.random.key(0), 1000, 1000, in_degree=4.0)
    >>> abs(float(wiring.edge_count()) / 1000 - 4.0) < 0.3
    True

    ```
    """
    _check_sizes(n_sources, n_targets)
    if not (in_degree >= 0 and math.isfinite(in_degree)):
        raise ValueError(f"in_degree must be finite and at least 0, got {in_degree}")
    p = min(1.0, float(in_degree) / n_sources)
    degree_key, source_key = jax.random.split(key)
    degrees = _binomial_degrees(degree_key, n_sources, n_targets, p)
    width = _tail_capacity(n_sources, p, n_targets)
    concrete = is_concrete(degrees)
    if concrete:
        largest = int(np.max(degrees))
        width = min(n_sources, -8 * (-largest // 8))
    predecessors, present = _binomial_predecessors(source_key, degrees, n_sources, width)
    if concrete:
        # Drawn at a rounded width and cut afterwards, so that few keys compile anew.
        predecessors, present = (
            jnp.asarray(np.asarray(x)[:largest]) for x in (predecessors, present)
        )
        return SparseWiring._transposed(predecessors, present, n_sources, None)
    crowded = jnp.max(degrees) > width
    capacity = _tail_capacity(n_targets, p, n_sources)
    return SparseWiring._transposed(predecessors, present, n_sources, capacity, crowded)
