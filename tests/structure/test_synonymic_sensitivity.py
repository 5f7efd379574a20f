"""Synonymic sensitivity: exact at latents and at codes, zero or one where it must be."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sparsejax.structure import synonym_probe, synonymic_sensitivity
from sparsejax.targets import RandomHierarchy, draw_rules

TARGET = RandomHierarchy(symbols=4, synonyms=3, levels=3, seed=2)


def latent(level):
    """One-hot codes of all symbols of a level, as a function of inputs."""

    def represent(x):
        found = TARGET.rules.latents(TARGET.decode(x))[level]
        return jax.nn.one_hot(found, 4).reshape(len(x), -1)

    return represent


@pytest.mark.slow
def test_latents_know_the_synonyms_below_them_and_no_others():
    probe = synonym_probe(TARGET, jax.random.key(0), 200)
    found = probe.of_layers({level: latent(level) for level in (1, 2, 3)}.__getitem__(2))
    assert found[0] == found[1] == 0 and found[2] > 0.3
    by_layer = probe.of_layers(lambda x: {level: latent(level)(x) for level in (0, 1, 3)})
    assert np.asarray(by_layer[3]).tolist() == [0, 0, 0]
    assert by_layer[1][0] == 0 and (by_layer[1][1:] > 0.3).all()
    assert (by_layer[0] > 0.3).all()


def test_it_is_the_ratio_of_means_over_pairs():
    rng = np.random.default_rng(0)
    x, moved = rng.normal(size=(6, 3)), rng.normal(size=(2, 6, 3))
    w = rng.normal(size=(3, 5))
    found = synonymic_sensitivity(lambda x: jnp.tanh(x @ w), jnp.asarray(x), jnp.asarray(moved))
    r = np.tanh(x @ w)
    pairs = [((r[i] - r[j]) ** 2).sum() for i in range(6) for j in range(6) if i != j]
    for level in (0, 1):
        change = ((r - np.tanh(moved[level] @ w)) ** 2).sum(axis=1).mean()
        assert float(found[level]) == pytest.approx(change / np.mean(pairs), rel=1e-12)


@pytest.mark.slow
def test_what_is_the_same_everywhere_has_none_and_random_functions_have_one():
    probe = synonym_probe(TARGET, jax.random.key(1), 400)
    assert np.isnan(probe(lambda _, x: jnp.ones((len(x), 2)), None)).all()
    # A random function of the whole sentence does not know anything of it.
    weights = 2.0 ** np.arange(TARGET.positions)

    def hashed(_, x):
        number = (TARGET.decode(x).astype(x.dtype) * weights[None]).sum(axis=1) * 1e3
        return (jnp.sin(number) * 1e4 % 1.0)[:, None]

    np.testing.assert_allclose(probe(hashed, None), 1, atol=0.15)


def test_rules_may_be_traced():
    @jax.jit
    def of_label(key):
        rules = draw_rules(key, TARGET.sizes)
        probe = synonym_probe(TARGET, key, 20, rules=rules)

        def label(_, x):
            codes = x.reshape(len(x), TARGET.positions, 4)
            return rules.latents(jnp.argmax(codes, -1))[-1].astype(x.dtype)

        return probe(label, None)

    np.testing.assert_array_equal(of_label(jax.random.key(5)), 0)


def test_what_has_no_synonyms_is_refused():
    with pytest.raises(ValueError, match="two synonyms"):
        synonym_probe(RandomHierarchy(4, 1, 2), jax.random.key(0), 10)
    with pytest.raises(ValueError, match="at least two sentences"):
        synonym_probe(TARGET, jax.random.key(0), 1)
