"""Classifiers of sentences: samples of drawn languages, the loss, and what is looked at."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Bool, Float, Int, Key, PyTree

from sparsejax.structure import SynonymProbe, synonym_probe
from sparsejax.targets import (
    HierarchyRules,
    HierarchySizes,
    RandomHierarchy,
    draw_rules,
    encode_symbols,
)


def cross_entropy(outputs: Float[Array, "n c"], labels: Int[Array, "n 1"]) -> Float[Array, " n"]:
    """The logistic loss of class numbers.

    Example:
        >>> cross_entropy(jnp.array([[0.0, 0.0]]), jnp.array([[1]])).round(4).tolist()
        [0.6931]
    """
    return optax.softmax_cross_entropy_with_integer_labels(outputs, labels[:, 0])


# One sentence in so many is kept for tests, and never trained on.
KEPT = 8


def kept_for_tests(sentences: Int[Array, "n positions"]) -> Bool[Array, " n"]:
    """Whether each sentence is one of the eighth that is never trained on: by its hash.

    Small hierarchies have few sentences, and a network that has seen most of them needs not to know
    any rule.
    """
    state = jnp.zeros(sentences.shape[0], jnp.uint32)
    for symbol in sentences.T:
        state = state * jnp.uint32(0x01000193) ^ (symbol + 1).astype(jnp.uint32)
    # Murmur's last mix: every bit of the sentence reaches the leading ones.
    for shift, factor in ((16, 0x85EBCA6B), (13, 0xC2B2AE35), (16, 1)):
        state = (state ^ (state >> jnp.uint32(shift))) * jnp.uint32(factor)
    return state < jnp.uint32(2**32 // KEPT)


def drawn_sentences(
    rules: HierarchyRules, key: Key[Array, ""], n: int, *, tests: bool
) -> tuple[Int[Array, "n positions"], Int[Array, " n"]]:
    """`n` sentences with their labels, uniform among those for tests, or among all others.

    Each is the first of its kind among so many draws that one in a million would have none.
    """
    draws = 104 if tests else 7
    made = rules.derive(key, n * draws)
    sentences = rules.sentences(made)
    fits = (kept_for_tests(sentences) == tests).reshape(n, draws)
    rows = jnp.arange(n) * draws + jnp.argmax(fits, axis=1)
    return sentences[rows], made.labels[rows]


class Sentences(eqx.Module):
    """A stream of minibatches from the first `samples` of `most` sentences of a language.

    The rules and `samples` are arrays: all languages of a shape, and all numbers of samples, are
    one program, and a lane's smaller training sets are parts of its larger ones. `shuffled` labels
    say nothing about the sentences.
    """

    rules: HierarchyRules
    samples: Int[Array, ""]
    most: int = eqx.field(static=True)
    batch: int = eqx.field(static=True)
    shuffled: bool = eqx.field(static=True, default=False)

    def __call__(self, key: Key[Array, ""]) -> "TrainingSentences":
        """A lane's own training set."""
        set_key, label_key, order_key = jax.random.split(key, 3)
        sentences, labels = drawn_sentences(self.rules, set_key, self.most, tests=False)
        if self.shuffled:
            labels = jax.random.permutation(label_key, labels)
        x = inputs_of(self.rules, sentences)
        return TrainingSentences(x, labels[:, None], order_key, self.samples, self.batch)


class TrainingSentences(eqx.Module):
    """Minibatches, drawn with replacement, from the first `samples` rows."""

    x: Float[Array, "most d"]
    labels: Int[Array, "most 1"]
    key: Key[Array, ""]
    samples: Int[Array, ""]
    batch: int = eqx.field(static=True)

    def __call__(
        self, key: Key[Array, ""], step: Int[Array, ""]
    ) -> tuple[Float[Array, "b d"], Int[Array, "b 1"]]:
        """The batch of one step."""
        rows = jax.random.randint(
            jax.random.fold_in(self.key, step), (self.batch,), 0, self.samples
        )
        return self.x[rows], self.labels[rows]


class ErrorRate(eqx.Module):
    """The fraction of sentences whose label is not the largest output."""

    x: Float[Array, "n d"]
    labels: Int[Array, " n"]

    def __call__(self, f, params: PyTree) -> Float[Array, ""]:
        """Over the sentences of the probe."""
        said = jnp.argmax(f(params, self.x), axis=1).astype(self.labels.dtype)
        return jnp.mean(said != self.labels, dtype=self.x.dtype)


def inputs_of(rules: HierarchyRules, sentences: Int[Array, "n positions"]) -> Float[Array, "n d"]:
    """Whitened one-hot codes: entries of mean zero and variance one."""
    return encode_symbols(sentences, rules.sizes.symbols, whitened=True)


def language_keys(seed: int, number: int) -> tuple[Key[Array, ""], ...]:
    """Keys of the language with this number: of its rules, its test, and its runs."""
    return tuple(jax.random.split(jax.random.fold_in(jax.random.key(seed), number), 3))


drawn_language = eqx.filter_jit(draw_rules)
"""The rules of a language, in one program for all keys."""


@eqx.filter_jit
def probes_of(
    rules: HierarchyRules, key: Key[Array, ""], tested: int
) -> tuple[ErrorRate, SynonymProbe]:
    """Sentences that no training set has, and others in which synonyms are exchanged."""
    test_key, synonym_key = jax.random.split(key)
    sentences, labels = drawn_sentences(rules, test_key, tested, tests=True)
    error = ErrorRate(inputs_of(rules, sentences), labels)
    of = rules.sizes
    hierarchy = RandomHierarchy(
        of.symbols, of.synonyms, of.levels, of.branching, of.classes, of.blanks, whitened=True
    )
    return error, synonym_probe(hierarchy, synonym_key, tested, rules=rules)


def chance(sizes: HierarchySizes) -> float:
    """The error rate of guessing."""
    return 1 - 1 / sizes.n_classes


def samples_to_level(
    samples: Float[np.ndarray, " k"], errors: Float[np.ndarray, " k"], level: float
) -> float:
    """The samples at which errors fall to a level for good, linear in their logarithm.

    Infinite where the last error is above it; the first number of samples where all are below.

    Example:
        >>> round(samples_to_level(np.array([1.0, 10.0, 100.0]), np.array([1.0, 0.6, 0.2]), 0.4), 2)
        31.62
    """
    above = np.flatnonzero(errors > level)
    if not len(above):
        return float(samples[0])
    last = int(above[-1])
    if last == len(samples) - 1:
        return float("inf")
    share = (errors[last] - level) / (errors[last] - errors[last + 1])
    ends = np.log(samples[last : last + 2])
    return float(np.exp(ends[0] + share * (ends[1] - ends[0])))
