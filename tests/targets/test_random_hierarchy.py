"""The random hierarchy model, enumerated: counts, inversion, correlations, sparse sentences."""

import itertools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sparsejax.targets import (
    HierarchySizes,
    RandomHierarchy,
    Target,
    draw_rules,
    label_given_first_tuple,
    measured_tuple_correlation,
    tuple_correlation,
    tuple_crossing,
    tuple_noise,
)

SMALL = RandomHierarchy(symbols=3, synonyms=2, levels=2, classes=2, seed=1)


def sentences_by_hand(target):
    """All sentences and labels, by expanding the rules in every way: no numbers, only tuples."""
    rules = target.rules

    def expansions(symbol, level):
        if level == 0:
            return [(symbol,)]
        found = []
        for made in rules.tuples[level - 1][symbol].tolist():
            parts = [expansions(child, level - 1) for child in made]
            found += [sum(way, ()) for way in itertools.product(*parts)]
        return found

    return {
        sentence: label
        for label in range(target.n_classes)
        for sentence in expansions(label, target.levels)
    }


@pytest.mark.parametrize(
    "target",
    [
        SMALL,
        pytest.param(
            RandomHierarchy(symbols=2, synonyms=2, levels=3, seed=5), marks=pytest.mark.slow
        ),
        RandomHierarchy(symbols=3, synonyms=3, levels=1, branching=3, classes=4),
    ],
)
def test_every_sentence_is_listed_once_and_inverted(target):
    by_hand = sentences_by_hand(target)
    sentences, labels = target.all_sentences()
    # No two derivations give one sentence: rules are without ambiguity.
    inner = sum(target.branching**k for k in range(target.levels))
    assert len(by_hand) == target.p_max == target.n_classes * target.synonyms**inner
    assert {tuple(s): y for s, y in zip(sentences.tolist(), labels, strict=True)} == by_hand
    found = target(target.encode(sentences))[:, 0]
    assert found.tolist() == labels.tolist()


def test_what_no_rule_makes_is_no_sentence():
    target = SMALL
    known = sentences_by_hand(target)
    everything = np.array(list(itertools.product(range(3), repeat=4)))
    labels = np.asarray(target.rules.latents(everything)[-1][:, 0])
    expected = [known.get(tuple(s), -2) for s in everything.tolist()]
    assert labels.tolist() == expected and -2 in expected


def test_rules_of_a_level_have_different_tuples():
    target = RandomHierarchy(symbols=5, synonyms=5, levels=2, seed=3)
    for tuples, rule_of in zip(target.rules.tuples, target.rules.rule_of, strict=True):
        made = {tuple(t) for t in tuples.reshape(-1, 2).tolist()}
        assert len(made) == 25  # all there are: the most synonyms that are possible
        assert sorted(rule_of.tolist()) == list(range(25))


def test_values_are_the_latents_of_the_derivation():
    rules = SMALL.rules
    made = rules.derive(jax.random.key(0), 40)
    levels = rules.levels(made)
    values = SMALL.values(SMALL.encode(levels[0]))
    assert list(values) == list(SMALL.dag.order) == ["s1_1", "s1_2", "s2_1"]
    np.testing.assert_array_equal(jnp.stack([values["s1_1"], values["s1_2"]], 1), levels[1])
    np.testing.assert_array_equal(values["s2_1"], made.labels)


def test_sentences_are_drawn_uniformly():
    draws = 6400
    x, y = jax.jit(SMALL.sample, static_argnums=1)(jax.random.key(2), draws)
    assert x.dtype == y.dtype == jnp.result_type(float) and y.shape == (draws, 1)
    sentences = np.asarray(SMALL.decode(x))
    known = sentences_by_hand(SMALL)
    assert [known[tuple(s)] for s in sentences.tolist()] == y[:, 0].tolist()
    _, counts = np.unique(sentences, axis=0, return_counts=True)
    assert len(counts) == 16
    # Chi squared of 15 degrees of freedom: beyond 45 with probability below 1e-4.
    assert ((counts - draws / 16) ** 2 / (draws / 16)).sum() < 45


def test_codes_and_whitening():
    plain, white = SMALL, RandomHierarchy(3, 2, 2, classes=2, seed=1, whitened=True)
    sentences, _ = plain.all_sentences()
    x = np.asarray(plain.encode(sentences)).reshape(-1, 4, 3)
    np.testing.assert_array_equal(x.argmax(-1), sentences)
    np.testing.assert_array_equal(x.sum(-1), 1)
    code = np.asarray(white.encode(np.arange(3)[:, None]))
    np.testing.assert_allclose(code.mean(axis=0), 0, atol=1e-15)
    np.testing.assert_allclose((code**2).mean(axis=0), 1, rtol=1e-14)
    np.testing.assert_array_equal(white.decode(white.encode(sentences)), sentences)


def test_it_is_a_target_static_and_equal_by_value():
    assert isinstance(SMALL, Target) and SMALL.law == "hierarchy"
    again = RandomHierarchy(3, 2, 2, classes=2, seed=1)
    assert hash(again) == hash(SMALL) and again == SMALL
    np.testing.assert_array_equal(again.rules.tuples[0], SMALL.rules.tuples[0])
    other = RandomHierarchy(3, 2, 2, classes=2, seed=2)
    assert any((a != b).any() for a, b in zip(other.rules.tuples, SMALL.rules.tuples, strict=True))
    assert SMALL.support == tuple(range(1, 13)) and SMALL.arity == 6
    assert SMALL.dag.parents_of("s1_2") == tuple(f"x{i}" for i in range(7, 13))
    assert SMALL.dag.parents_of("s2_1") == ("s1_1", "s1_2")


def test_rules_may_be_asked_for_first_inside_a_trace():
    fresh = RandomHierarchy(3, 2, 2, classes=2, seed=1)
    jax.jit(lambda key: fresh.sample(key, 2))(jax.random.key(0))
    assert isinstance(fresh.rules.tuples[0], np.ndarray)
    np.testing.assert_array_equal(fresh.rules.rule_of[1], SMALL.rules.rule_of[1])


@pytest.mark.slow
def test_exchange_leaves_what_it_should():
    target = RandomHierarchy(symbols=4, synonyms=3, levels=3, seed=2)
    rules = target.rules
    made = rules.derive(jax.random.key(0), 30)
    before = rules.levels(made)
    for level in (1, 2, 3):
        moved = rules.exchange(jax.random.key(level), made, level)
        after = rules.levels(moved)
        for upper in range(level, 4):
            np.testing.assert_array_equal(after[upper], before[upper])
        # Every tuple that the level makes is another one.
        tuples = [np.asarray(v[level - 1]).reshape(-1, 2) for v in (before, after)]
        assert (tuples[0] != tuples[1]).any(axis=1).all()
        found = rules.latents(after[0])
        for ours, theirs in zip(found, after, strict=True):
            np.testing.assert_array_equal(ours, theirs)


@pytest.mark.slow
def test_sparse_sentences():
    target = RandomHierarchy(symbols=3, synonyms=2, levels=2, classes=2, blanks=1, seed=0)
    assert target.positions == 16 and target.p_max == 2 * (2 * 6) ** 3
    assert target.p_star == 2 * 2**2 * 2**2
    rules = target.rules
    made = rules.derive(jax.random.key(1), 2000)
    levels = rules.levels(made)
    sentence = np.asarray(levels[0])
    assert ((sentence >= 0).sum(axis=1) == 4).all()  # s^L say something
    for ours, theirs in zip(rules.latents(sentence), levels, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert target(target.encode(sentence))[:, 0].tolist() == made.labels.tolist()
    # Without its blanks a sentence is one of the dense model with the same rules.
    dense = RandomHierarchy(symbols=3, synonyms=2, levels=2, classes=2, seed=0)
    kept = sentence[sentence >= 0].reshape(-1, 4)
    assert np.asarray(dense.rules.latents(kept)[-1])[:, 0].tolist() == made.labels.tolist()
    # All placements are drawn equally often: six of a group at the top.
    top = np.asarray(levels[1]) >= 0
    _, counts = np.unique(top, axis=0, return_counts=True)
    assert len(counts) == 6 and ((counts - 2000 / 6) ** 2 / (2000 / 6)).sum() < 26
    broken = sentence.copy()
    broken[0, np.flatnonzero(broken[0] >= 0)[0]] = -1
    assert int(rules.latents(broken)[-1][0, 0]) == -2


@pytest.mark.slow
def test_conditional_laws_are_those_of_all_sentences():
    target = RandomHierarchy(symbols=3, synonyms=2, levels=3, seed=4)
    probability, given = label_given_first_tuple(target.rules)
    sentences, labels = target.all_sentences()
    first = sentences[:, :2]
    for tuple_, p, law in zip(
        target.rules.tuples[0].reshape(-1, 2), probability, given, strict=True
    ):
        here = (first == tuple_).all(axis=1)
        assert float(p) == pytest.approx(here.mean(), abs=1e-15)
        if here.any():
            counted = np.bincount(labels[here], minlength=3) / here.sum()
            np.testing.assert_allclose(law, counted, atol=1e-14)
    everything = measured_tuple_correlation(
        target.rules, jnp.asarray(sentences), jnp.asarray(labels)
    )
    assert float(tuple_correlation(target.rules)) == pytest.approx(float(everything), rel=1e-12)


@pytest.mark.slow
def test_noise_and_correlation_are_what_samples_have():
    rules = draw_rules(jax.random.key(3), HierarchySizes(symbols=6, synonyms=3, levels=2))

    def measured(key):
        made = rules.derive(key, 300)
        return measured_tuple_correlation(rules, rules.sentences(made), made.labels)

    found = np.asarray(jax.lax.map(measured, jax.random.split(jax.random.key(0), 400)))
    expected = float(tuple_correlation(rules) + tuple_noise(rules) / 300)
    # The noise is a third of it: leaving it out would be off by fifty standard errors.
    error = found.std() / np.sqrt(len(found))
    assert abs(found.mean() - expected) < 4 * error
    assert float(tuple_noise(rules)) / 300 > 20 * error


@pytest.mark.parametrize(("symbols", "synonyms", "levels"), [(16, 4, 2), (16, 8, 2), (16, 4, 3)])
@pytest.mark.slow
def test_correlations_cross_the_noise_at_p_star(symbols, synonyms, levels):
    sizes = HierarchySizes(symbols, synonyms, levels)
    keys = jax.random.split(jax.random.key(0), 20)
    crossing = jax.vmap(lambda key: tuple_crossing(draw_rules(key, sizes)))(keys)
    # By the leading order in large v and m it is P*; corrections are of relative order m / v.
    ratio = float(jnp.median(crossing)) / sizes.p_star
    assert 0.7 < ratio < 1.7


@pytest.mark.parametrize(
    ("call", "said"),
    [
        (lambda: RandomHierarchy(symbols=1), "symbols: at least 2"),
        (lambda: RandomHierarchy(symbols=3, synonyms=4), "12 rules of a level need"),
        (lambda: RandomHierarchy(symbols=3, synonyms=2, classes=9, levels=1), "18 rules"),
        (lambda: RandomHierarchy(symbols=3, synonyms=1, classes=1), "classes: at least 2"),
        (lambda: RandomHierarchy(symbols=50, synonyms=2, branching=5), "312500000 tuples"),
        (lambda: SMALL(jnp.ones((2, 5))), r"\(n, 12\), got \(2, 5\)"),
        (lambda: RandomHierarchy(8, 4, 4).all_sentences(), "sentences are listed"),
        (
            lambda: SMALL.rules.exchange(
                jax.random.key(0), SMALL.rules.derive(jax.random.key(0), 2), 3
            ),
            "levels are 1 to 2",
        ),
        (
            lambda: tuple_correlation(RandomHierarchy(3, 2, 2, blanks=1).rules),
            "no fixed places",
        ),
    ],
)
def test_what_cannot_be_is_refused(call, said):
    with pytest.raises(ValueError, match=said):
        call()
