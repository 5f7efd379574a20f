"""shallow-against-deep: its networks counted, its verdict on made-up power laws, a small run."""

import dataclasses

import jax
import numpy as np
import pytest

from sparsejax.claims import CLAIMS
from sparsejax.claims.parameters_needed import parameters_needed
from sparsejax.claims.shallow_against_deep_networks import LEARNERS, learner_of, other_leaves
from sparsejax.learners import locally_connected, matched_lift
from sparsejax.targets import binary_tree

from .any_claim import assert_settings_are_valid, measured

CLAIM = CLAIMS["shallow-against-deep"]
CONFIG = CLAIM.Config()
BUDGET = {"integrator", "quadrature", "sampling", "floating_point"}


def made_up(config=CONFIG, shallow=(1.0, 0.7, 0.4), spread=0.1, matched=1.0, status="completed"):
    """Errors `(parameters / 60)^-exponent`; shallow networks' exponents fall with inputs."""
    rng, found = np.random.default_rng(0), {}
    for trial in CLAIM.trials(config):
        given = trial.parameters
        k = config.dims.index(given["dims"])
        exponent = {"matched": matched, "shallow": shallow[k], "deep": 0.8 * matched}
        error = (given["parameters"] / 60) ** -exponent[given["learner"]]
        error *= np.exp(spread * rng.normal())
        found[trial.name] = {
            "errors": np.array([1.0, error]),
            "error": np.asarray(error),
            "steps": np.array([0, config.steps]),
            "parameters": np.asarray(given["parameters"]),
            "status": np.asarray(status),
        }
    return found


@pytest.mark.parametrize(
    "made, status",
    [
        ({}, "holds"),
        ({"shallow": (1.0, 0.7, 0.1)}, "holds"),  # the shallow one never gets there
        ({"shallow": (1.6, 1.6, 1.6)}, "violated"),
        ({"shallow": (0.7, 0.7, 0.7), "spread": 0.5}, "inconclusive"),
        ({"matched": 0.1}, "violated"),  # any other network does better
        ({"status": "nan"}, "not_applicable"),
    ],
)
def test_judges_what_it_says(made, status):
    found = made_up(**made)
    verdict = CLAIM.judge(CONFIG, found)
    assert verdict.status == status, verdict
    assert set(verdict.error_budget) == BUDGET
    if status == "holds":
        assert verdict.margin > verdict.total_error
        slope = verdict.summary["exponents"]["shallow, 4 inputs"]
        np.testing.assert_allclose(slope[0], -1, atol=0.06)
    if made:
        return
    figure = CLAIM.draw(CONFIG, found, verdict)
    assert all(axes.get_xlabel() for axes in figure.axes)
    rows = CLAIM.table(CONFIG, found, verdict)
    assert len(rows) == 9 and all(row.keys() == rows[0].keys() for row in rows)


def test_parameters_needed_by_hand():
    x = np.array([10.0, 100.0, 1000.0])
    assert parameters_needed(x, np.array([0.5, 0.3, 0.2]), 0.1) == np.inf
    assert parameters_needed(x, np.array([0.05, 0.03, 0.02]), 0.1) == 10
    # Beyond the last one that misses: what came before by luck does not count.
    found = parameters_needed(x, np.array([0.05, 0.4, 0.025]), 0.1)
    np.testing.assert_allclose(found, 100 * 10 ** (np.log(4) / np.log(16)))


@pytest.mark.slow
def test_learners_keep_to_their_parameters():
    for name in LEARNERS:
        assert 0.7 * 400 < learner_of(name, 8, 400, 0).parameters <= 400
    assert len(learner_of("deep", 8, 400, 0).layers) == 3 + 1


def test_the_control_reads_the_same_tree_on_other_leaves():
    order = other_leaves(8)
    assert sorted(order) == list(range(8))
    first = {frozenset((2 * k, 2 * k + 1)) for k in range(4)}
    assert not first & {frozenset(order[2 * k : 2 * k + 2]) for k in range(4)}


def test_the_quick_matched_network_has_the_parameters_of_the_dense_lift_of_the_tree():
    quick = learner_of("matched", 8, 400, 0)
    width = 6
    lift = matched_lift(binary_tree(8, max), width)
    same = locally_connected(8, 3, width)
    assert lift.parameters == same.parameters == quick.parameters
    assert learner_of("matched", 8, 400, 2).parameters <= 400


@pytest.mark.parametrize(
    "change, said",
    [
        ({"dims": (8,)}, "dims: at least two"),
        ({"dims": (8, 4)}, "rising"),
        ({"dims": (4, 6)}, "powers of two"),
        ({"parameters": (10, 20)}, "parameters: at least three"),
        ({"parameters": (5, 100, 200), "reference": 100}, "5 are fewer than"),
        ({"in_degree": -1}, "in_degree: must not be negative"),
        ({"samples": 10}, "fewer than a batch"),
        ({"steps": 30}, "steps: a multiple of 20"),
        ({"seeds": 1}, "seeds: at least two"),
        ({"targets": 9}, "one a target"),
        ({"reference": 300}, "reference: one of"),
        ({"batch_size": 0}, "batch_size: must be positive"),
    ],
)
def test_bad_settings_are_refused(change, said):
    with pytest.raises(ValueError, match=said):
        CLAIM.validate(dataclasses.replace(CONFIG, **change))


def test_defaults_and_control_are_valid():
    assert_settings_are_valid(CLAIM)


@pytest.mark.slow
def test_small_networks_are_measured():
    config = CLAIM.Config(
        dims=(4, 8), parameters=(100, 200, 400), reference=200, steps=2000, seeds=2
    )
    with jax.numpy_dtype_promotion("standard"):  # optax's Adam mixes dtypes
        found = measured(CLAIM, config)
    verdict = CLAIM.judge(config, found)
    assert verdict.status in ("holds", "violated", "inconclusive")
    assert all(0 < float(v["error"]) < 0.9 for v in found.values())
