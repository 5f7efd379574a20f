"""Does a function know synonyms: how much it changes where only synonyms are exchanged."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.typing import DTypeLike
from jaxtyping import Array, Float, Key, PyTree

from sparsejax.targets import HierarchyRules, RandomHierarchy, encode_symbols


def synonymic_sensitivity(
    represent: Callable[[Array], PyTree],
    x: Float[Array, "n d"],
    exchanged: Float[Array, "levels n d"],
) -> PyTree:
    """`E |r(x) - r(x')|^2 / E |r(x) - r(y)|^2`, x' with synonyms exchanged, y independent.

    `represent`: from `(n, d)` to an array `(n, ...)`, or a pytree of them (one a layer): the result
    has the same structure, a number a level `(levels,)` in each. One: the representation does not
    know what the rules of that level have in common. Zero: it is blind to which of them was taken.
    NaN where it is the same for all inputs. The denominator is twice the unbiased variance of the
    samples, all pairs of which it so averages over.

    Source: Cagnetta et al. 2024 (arXiv 2307.02129), synonymic sensitivity.

    Example:
        >>> import jax.numpy as jnp
        >>> x = jnp.array([[0.0, 1.0], [2.0, 3.0]])
        >>> other = jnp.array([[[0.0, 7.0], [2.0, -7.0]]])  # the second coordinate is exchanged
        >>> synonymic_sensitivity(lambda x: x[:, :1], x, other).tolist()
        [0.0]
    """
    levels, n = exchanged.shape[:2]
    plain = represent(x)
    moved = [represent(exchanged[level]) for level in range(levels)]

    def ratio(r: Array, *others: Array) -> Array:
        spread = 2 * ((r - r.mean(axis=0, keepdims=True)) ** 2).sum() / (n - 1)
        change = jnp.stack([((r - other) ** 2).sum() / n for other in others])
        return jnp.where(spread > 0, change / jnp.where(spread > 0, spread, 1), jnp.nan)

    return jax.tree.map(ratio, plain, *moved)


class SynonymProbe(eqx.Module):
    """Sentences, and the same with synonyms exchanged at each level: built by `synonym_probe`.

    Called as `probe(f, params)` it gives the sensitivity of the outputs, `(levels,)`: level l is
    that to the rules of symbols of level l, `1` being those that make what is seen.
    """

    x: Float[Array, "n d"]
    exchanged: Float[Array, "levels n d"]

    def __call__(self, f: Callable[[PyTree, Array], Array], params: PyTree) -> Array:
        """The sensitivity of `f(params, x)` at each level."""
        return synonymic_sensitivity(lambda x: f(params, x), self.x, self.exchanged)

    def of_layers(self, represent: Callable[[Array], PyTree]) -> PyTree:
        """The sensitivities of internal representations, `x -> pytree of (n, ...)`."""
        return synonymic_sensitivity(represent, self.x, self.exchanged)


def synonym_probe(
    hierarchy: RandomHierarchy,
    key: Key[Array, ""],
    n: int,
    *,
    rules: HierarchyRules | None = None,
    dtype: DTypeLike = float,
) -> SynonymProbe:
    """A probe with `n` fresh sentences; of other `rules` of the same sizes where given.

    Pure, so that it may be drawn inside `jit` and `vmap` with traced rules.

    Raises:
        ValueError: fewer than two sentences, or a hierarchy without synonyms.

    Example:
        >>> import jax
        >>> target = RandomHierarchy(symbols=4, synonyms=2, levels=2)
        >>> probe = synonym_probe(target, jax.random.key(0), 50)
        >>> probe(lambda _, x: target(x), None).tolist()  # the label itself knows all synonyms
        [0.0, 0.0]
    """
    if n < 2 or hierarchy.synonyms < 2:
        raise ValueError(
            f"n: at least two sentences, of a hierarchy with two synonyms or more; got {n} and "
            f"{hierarchy.synonyms} synonyms"
        )
    rules = hierarchy.rules if rules is None else rules
    derive_key, exchange_key = jax.random.split(key)
    made = rules.derive(derive_key, n)

    def inputs(derivation):
        sentences = rules.sentences(derivation)
        return encode_symbols(sentences, hierarchy.symbols, hierarchy.whitened, dtype)

    moved = [
        inputs(rules.exchange(jax.random.fold_in(exchange_key, level), made, level))
        for level in range(1, hierarchy.levels + 1)
    ]
    return SynonymProbe(inputs(made), jnp.stack(moved))
