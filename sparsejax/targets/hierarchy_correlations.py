"""What a hierarchy shows without any network: correlations of the first tuple with the label."""

import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from sparsejax.targets.hierarchy_rules import HierarchyRules, digit_weights


def label_given_first_tuple(
    rules: HierarchyRules,
) -> tuple[Float[Array, " tuples"], Float[Array, "tuples classes"]]:
    """The probability of every first tuple of a sentence, and of the labels given it; exact.

    Tuples come in the order of their rules at level 1, `m` synonyms after another: synonyms have
    the same correlations, which is what makes them known as such.

    Raises:
        ValueError: a sparse hierarchy, whose first tuple has no fixed places.

    Source: Cagnetta et al. 2024, section on correlations; the recursion is derived here.
    """
    sizes = rules.sizes
    if sizes.blanks:
        raise ValueError(f"blanks: the first tuple has no fixed places, got {sizes.blanks} blanks")
    dtype = jnp.result_type(float)
    joint = jnp.eye(sizes.n_classes, dtype=dtype) / sizes.n_classes
    for level in range(sizes.levels, 1, -1):
        first = jnp.asarray(rules.tuples[level - 1])[:, :, 0]
        symbols = jnp.arange(sizes.symbols, dtype=first.dtype)
        down = (first[:, :, None] == symbols[None, None]).mean(axis=1, dtype=dtype)
        joint = joint @ down
    by_tuple = jnp.repeat(joint.T / sizes.synonyms, sizes.synonyms, axis=0)
    probability = by_tuple.sum(axis=1)
    given = by_tuple / jnp.where(probability > 0, probability, 1)[:, None]
    return probability, given


def tuple_correlation(rules: HierarchyRules) -> Float[Array, ""]:
    """`sum over tuples of P(tuple) sum over labels of (P(label | tuple) - 1 / n_c)^2`; exact.

    Over rules, about `v / (n_c m^(L - 1))` where the numbers are large.

    Example:
        >>> import jax
        >>> from sparsejax.targets import HierarchySizes, draw_rules
        >>> rules = draw_rules(jax.random.key(0), HierarchySizes(3, 1, 1))
        >>> round(float(tuple_correlation(rules)), 6)  # the tuple is the label: 1 - 1 / 3
        0.666667
    """
    probability, given = label_given_first_tuple(rules)
    return probability @ ((given - 1 / rules.sizes.n_classes) ** 2).sum(axis=1)


def tuple_noise(rules: HierarchyRules) -> Float[Array, ""]:
    """What `P` samples add to the expectation of their own correlation, times `P`.

    Of `measured_tuple_correlation`, up to terms of second order: the sum over tuples of the
    variance of their label, less that of the label.
    """
    probability, given = label_given_first_tuple(rules)
    within = jnp.where(probability > 0, 1 - (given**2).sum(axis=1), 0)
    return within.sum() - (1 - 1 / rules.sizes.n_classes)


def tuple_crossing(rules: HierarchyRules) -> Float[Array, ""]:
    """The number of samples at which sampling noise is as large as the correlation.

    Of the order `n_c m^L`: from there on synonyms can be told by their correlations with the
    label, and no network is needed to say so. Infinite where there is no correlation.

    Source: Cagnetta et al. 2024 (arXiv 2307.02129): the argument for `P* ~ n_c m^L`.

    Example:
        >>> import jax
        >>> from sparsejax.targets import HierarchySizes, draw_rules
        >>> sizes = HierarchySizes(symbols=16, synonyms=8, levels=2)
        >>> ratio = tuple_crossing(draw_rules(jax.random.key(0), sizes)) / sizes.p_star
        >>> 0.5 < float(ratio) < 2
        True
    """
    return tuple_noise(rules) / tuple_correlation(rules)


def measured_tuple_correlation(
    rules: HierarchyRules, sentences: Int[Array, "n positions"], labels: Int[Array, " n"]
) -> Float[Array, ""]:
    """`tuple_correlation` of samples, noise included: falls like `1 / n`, then is flat."""
    sizes, dtype = rules.sizes, jnp.result_type(float)
    weights = jnp.asarray(digit_weights(sizes), sentences.dtype)
    number = (sentences[:, : sizes.branching] * weights[None]).sum(axis=1)
    counts = jnp.zeros((sizes.symbols**sizes.branching, sizes.n_classes), dtype)
    counts = counts.at[number, labels].add(1)
    total = counts.sum(axis=1, keepdims=True)
    share = counts / jnp.where(total > 0, total, 1)
    overall = counts.sum(axis=0, keepdims=True) / len(labels)
    return (total * (share - overall) ** 2).sum() / len(labels)
