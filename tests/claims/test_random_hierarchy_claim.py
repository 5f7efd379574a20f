"""random-hierarchy: its data against the hierarchy, its verdict on made-up learning curves."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sparsejax.claims import CLAIMS
from sparsejax.claims.hierarchy_languages import (
    KEPT,
    Sentences,
    cross_entropy,
    drawn_sentences,
    kept_for_tests,
    samples_to_level,
)
from sparsejax.claims.random_hierarchy import chance, ladder, named, settings
from sparsejax.targets import HierarchySizes, RandomHierarchy, draw_rules

from .any_claim import assert_settings_are_valid, measured

BUDGET = {"integrator", "quadrature", "sampling", "floating_point"}
CLAIM = CLAIMS["random-hierarchy"]
CONFIG = CLAIM.Config()
SMALL = CLAIM.Config(
    symbols=(3, 4),
    synonyms=(2, 2),
    levels=(2, 2),
    samples_over_p_star=(0.5, 2.0, 8.0),
    width=8,
    languages=2,
    steps=100,
    tested=100,
)


def made_up(config=CONFIG, power=1.0, shallow=2.0, spread=0.2, fall=0.9, failed=False):
    """Errors that are exact functions of P over a law's scale, times a factor a run."""
    rng, found = np.random.default_rng(0), {}
    for of in settings(config):
        factors = np.exp(spread * rng.normal(size=(config.languages, config.runs)))
        for depth, later in (("deep", 1.0), ("shallow", shallow)):
            for p in ladder(config, of):
                for number in range(config.languages):
                    # Power 1: in units of P*; below: larger P* need less than their share.
                    u = p / (later * factors[number] * 100 * (of.p_star / 100) ** power)
                    learned = 1 / (1 + u**2)
                    sensitivity = np.stack([1 - fall + fall * learned, np.ones_like(u)], axis=1)
                    found[f"{named(of)}-{depth}-p{p:06d}-language{number:02d}"] = {
                        "error": chance(of) * learned,
                        "sensitivity": sensitivity,
                        "first_sensitivity": np.ones_like(sensitivity),
                        "failed": np.full(config.runs, failed),
                        "crossing": np.asarray(1.2 * of.p_star),
                    }
    return found


@pytest.mark.parametrize(
    "made, status",
    [
        ({}, "holds"),
        ({"power": 0.4}, "violated"),
        ({"shallow": 0.5}, "violated"),
        ({"shallow": 1.0}, "inconclusive"),
        ({"fall": 0.3}, "violated"),
        ({"spread": 2.0}, "inconclusive"),
        ({"failed": True}, "not_applicable"),
    ],
)
def test_judges_what_it_says(made, status):
    verdict = CLAIM.judge(CONFIG, made_up(**made))
    assert verdict.status == status, verdict
    assert set(verdict.error_budget) == BUDGET
    assert verdict.summary["correlation_crossing_over_p_star"]["v4-m2-L3"] == pytest.approx(1.2)
    if status == "holds":
        assert verdict.margin > verdict.total_error
        # An error of a tenth at u = 3.
        assert verdict.summary["samples_to_level_over_p_star"]["v6-m3-L3"] == pytest.approx(3, 0.2)


def test_the_control_is_the_wrong_scale():
    found = made_up()
    control = CLAIM.control(CONFIG)
    verdict = CLAIM.judge(control, found)
    assert verdict.status == "violated" and verdict.summary["parts"]["collapse"] == "violated"


def test_figure_and_table():
    found = made_up()
    verdict = CLAIM.judge(CONFIG, found)
    figure = CLAIM.draw(CONFIG, found, verdict)
    assert all(axes.get_xlabel() and axes.get_ylabel() for axes in figure.axes)
    rows = CLAIM.table(CONFIG, found, verdict)
    assert [row["setting"] for row in rows] == ["v4-m2-L3", "v6-m3-L3", "v8-m4-L3", "v4-m2-L4"]
    assert rows[0]["P*"] == 32 and rows[-1]["P_max"] == 4 * 2**15


@pytest.mark.slow
def test_test_sentences_are_an_eighth_and_never_trained_on():
    target = RandomHierarchy(symbols=6, synonyms=3, levels=3)
    everything, _ = target.all_sentences()
    kept = np.asarray(kept_for_tests(jnp.asarray(everything)))
    # Five standard deviations of a fair hash.
    assert abs(kept.mean() - 1 / KEPT) < 5 * np.sqrt(7 / 64 / len(kept))
    rules = target.rules
    drawn = {
        tests: drawn_sentences(rules, jax.random.key(0), 200, tests=tests)
        for tests in (True, False)
    }
    for tests, (sentences, labels) in drawn.items():
        assert (np.asarray(kept_for_tests(sentences)) == tests).all()
        np.testing.assert_array_equal(rules.latents(sentences)[-1][:, 0], labels)
        assert len(np.unique(sentences, axis=0)) > 150


@pytest.mark.slow
def test_training_sets_are_nested_and_labels_are_permuted_where_asked():
    rules = draw_rules(jax.random.key(0), HierarchySizes(4, 2, 2))

    def batches(samples, shuffled=False):
        source = Sentences(rules, jnp.asarray(samples), 40, 30, shuffled)(jax.random.key(1))
        x, labels = source(jax.random.key(2), jnp.asarray(5))
        return source, np.asarray(x), np.asarray(labels)

    source, x, labels = batches(8)
    rows = np.asarray(source.x)
    assert {row.tobytes() for row in x} <= {row.tobytes() for row in rows[:8]}
    np.testing.assert_array_equal(source.x, batches(40)[0].x)
    right = np.asarray(rules.latents(np.argmax(rows.reshape(40, 4, 4), -1))[-1])
    np.testing.assert_array_equal(source.labels, right)
    permuted = np.asarray(batches(8, True)[0].labels)
    assert (permuted != right).any() and sorted(permuted) == sorted(right)
    outputs = jnp.log(jnp.asarray([[0.2, 0.8]]))
    assert float(cross_entropy(outputs, jnp.asarray([[1]]))[0]) == pytest.approx(-np.log(0.8))


def test_samples_to_a_level_are_interpolated_and_last():
    x = np.array([1.0, 10.0, 100.0])
    assert samples_to_level(x, np.array([0.9, 0.5, 0.1]), 0.3) == pytest.approx(10**1.5)
    # An early dip does not count, and what is not reached is infinite.
    assert samples_to_level(x, np.array([0.1, 0.5, 0.1]), 0.3) == pytest.approx(10**1.5)
    assert samples_to_level(x, np.array([0.9, 0.1, 0.5]), 0.3) == np.inf
    assert samples_to_level(x, np.array([0.2, 0.1, 0.1]), 0.3) == 1


@pytest.mark.parametrize(
    "change, said",
    [
        ({"symbols": (8,)}, "give as many of each"),
        ({"synonyms": (2, 2, 3, 1)}, "two at least"),
        ({"synonyms": (9, 2, 3, 6)}, "36 rules of a level"),
        ({"symbols": (4, 4), "synonyms": (2, 2), "levels": (3, 3)}, "settings: each once"),
        ({"samples_over_p_star": (1.0, 2.0)}, "three at least"),
        ({"samples_over_p_star": (0.01, 1.0, 9.0)}, "less than one sample"),
        ({"samples_over_p_star": (1.0, 1.5, 2.0)}, "no number of samples in common"),
        ({"languages": 1}, "languages: at least 2"),
        ({"steps": 150}, "steps: a multiple of 100"),
        ({"level": 1.0}, "level: must lie"),
        ({"step_size": 0.0}, "step_size: must be positive"),
    ],
)
def test_bad_settings_are_refused(change, said):
    with pytest.raises(ValueError, match=said):
        CLAIM.validate(dataclasses.replace(CONFIG, **change))


def test_defaults_control_and_preset_are_valid():
    assert_settings_are_valid(CLAIM, SMALL)


@pytest.mark.slow
def test_small_languages_are_measured():
    trials = CLAIM.trials(SMALL)
    with jax.numpy_dtype_promotion("standard"):  # optax's Adam mixes dtypes
        found = measured(CLAIM, SMALL)
        again = CLAIM.measure(SMALL, trials[0])
    one = found[trials[0].name]
    assert one["error"].shape == (2,) and one["sensitivity"].shape == (2, 2)
    np.testing.assert_array_equal(one["error"], again["error"])
    verdict = CLAIM.judge(SMALL, found)
    assert verdict.status in ("holds", "violated", "inconclusive")
    assert CLAIM.draw(SMALL, found, verdict).axes
