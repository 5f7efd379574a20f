"""parity: its verdict on made-up runs, its closed form, and small runs."""

import dataclasses

import jax
import numpy as np
import pytest

from sparsejax.claims import CLAIMS, parity_runs
from sparsejax.claims.parity import parities, progress_at_end
from sparsejax.claims.parity_runs import SignNetwork, _neuron_gradients, closed_form
from sparsejax.targets import cube_cubature

from .any_claim import assert_settings_are_valid

CLAIM = CLAIMS["parity"]
CONFIG = CLAIM.Config()
SMALL = CLAIM.Config(dims=(6, 8), harder_dims=8, width=20, steps=400, record_every=20, seeds=2)
BUDGET = {"integrator", "quadrature", "sampling", "floating_point"}


def made_up(power=1.1, ahead=1.6, slope=1.0, harder=2.0, learned=1.0, left=0.7, config=CONFIG):
    rng, found = np.random.default_rng(0), {}
    for n, k in parities(config):
        for seed in range(config.seeds):
            time = (
                15_000
                * (n / 50) ** power
                * (harder if k > config.order else 1)
                * rng.lognormal(0, 0.05)
            )
            reached = seed < learned * config.seeds
            steps = config.record_every * np.arange(200)
            progress = np.ones((200, 2, 2))
            progress[0] = 0  # nothing has moved at the start
            progress[1:, 0] = ahead * rng.lognormal(0, 0.05)
            found[f"n{n:04d}-k{k:02d}-seed{seed:03d}"] = {
                "steps": steps,
                "loss": np.ones(200),
                "accuracy": np.full(200, 0.5),
                "progress": progress,
                "left": np.asarray(left * time),
                "learned": np.asarray(time if reached else np.inf),
                "gap_slope": np.asarray(slope + 0.03 * rng.normal()),
                "status": np.asarray("reached" if reached else "completed"),
            }
    return found


@pytest.mark.parametrize(
    ("made", "status", "said"),
    [
        ({}, "holds", "100 of 100 runs learn"),
        ({"power": 3.5}, "violated", "at most 3"),
        ({"ahead": 1.0}, "violated", "times as far as the rest"),
        ({"slope": 0.0}, "violated", "of its closed form"),
        ({"harder": 0.5}, "violated", "times as long as k = 3"),
        ({"learned": 0.5}, "violated", "50 of 100 runs learn"),
        ({"left": 0.0}, "not_applicable", "look more often"),
    ],
)
def test_judges_what_it_says(made, status, said):
    found = made_up(**made)
    verdict = CLAIM.judge(CONFIG, found)
    assert verdict.status == status and said in verdict.reason, verdict.reason
    assert set(verdict.error_budget) == BUDGET
    if status == "holds":
        assert verdict.margin > verdict.total_error
    # What was not seen has its place in table and figure too.
    rows = CLAIM.table(CONFIG, found, verdict)
    assert len(rows) == len(parities(CONFIG))
    if said.startswith(("100", "50")):
        figure = CLAIM.draw(CONFIG, found, verdict)
        assert all(axes.get_xlabel() and axes.get_ylabel() for axes in figure.axes)


def test_a_run_that_diverged_judges_nothing():
    found = made_up()
    next(iter(found.values()))["status"] = np.asarray("diverged")
    assert CLAIM.judge(CONFIG, found).status == "not_applicable"


def test_says_how_many_runs_would_decide():
    config = dataclasses.replace(CONFIG, seeds=3)
    found = made_up(config=config)
    for k, run in enumerate(found.values()):
        run["gap_slope"] = np.asarray(1 + 0.1 * (-1) ** k)
    verdict = CLAIM.judge(config, found)
    assert verdict.status == "inconclusive" and "runs would decide" in verdict.reason


def test_the_plateau_s_last_record_is_before_its_end():
    run = made_up()["n0010-k03-seed000"]
    run["progress"][5:, 0] = 100.0
    run["left"] = np.asarray(99.0)  # between records 4 and 5
    ahead, last = progress_at_end(run, 20)
    assert last == 4 and ahead < 10


def test_gradients_of_a_drawn_network_are_those_of_the_closed_form():
    """On all inputs nothing is left to chance."""
    x = cube_cubature(6).nodes
    _, params = SignNetwork(6, 5)(jax.random.key(3))
    found = _neuron_gradients(params, x, x[:, :3].prod(axis=1, keepdims=True))
    w, b = (np.asarray(params[name]) for name in ("w", "b"))
    assert set(np.unique(np.abs(w)).round(12)) == {round(6**-0.5, 12)}
    np.testing.assert_allclose(np.asarray(found), closed_form(w, b, 3), atol=1e-12)
    assert np.abs(closed_form(w, b, 3)).max() > 0


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"dims": (10,)}, "dims: two different ones at least"),
        ({"order": 10}, "order: 2 to 9"),
        ({"harder_dims": 40}, "harder_dims, harder_order: one of"),
        ({"harder_order": 3}, "more than 3"),
        ({"width": 0}, "width: must be positive"),
        ({"record_every": 30}, "record_every: must divide"),
        ({"seeds": 1}, "seeds: at least two"),
        ({"step_size": 0.0}, "step_size: must be positive"),
        ({"progress": 1.0}, "progress: must be above 1"),
        ({"accuracy": 0.5}, "accuracy: must be above chance"),
        ({"drop": 0.0}, "drop: must lie"),
    ],
)
def test_bad_settings_are_refused(change, said):
    with pytest.raises(ValueError, match=said):
        CLAIM.validate(dataclasses.replace(CONFIG, **change))


def test_defaults_control_and_preset_are_valid():
    assert_settings_are_valid(CLAIM, SMALL)


def test_the_control_runs_until_the_claim_is_long_through():
    """Twice as long as the slowest run of the default took, and never longer than asked for."""
    control = CLAIM.control(CONFIG)
    assert control.steps == 5000 and control.labels == "coins"
    assert CLAIM.control(dataclasses.replace(CONFIG, steps=400)).steps == 400
    odd = dataclasses.replace(CONFIG, steps=21_000, record_every=30)
    assert CLAIM.control(odd).steps == 5010


@pytest.mark.slow
def test_small_runs_are_measured_alike_alone_and_together(monkeypatch):
    seen = []

    def looked_at(params, x, y):
        seen.append(np.asarray(x))
        return _neuron_gradients(params, x, y)

    monkeypatch.setattr(parity_runs, "_neuron_gradients", looked_at)
    trials = CLAIM.trials(SMALL)
    batch = CLAIM.batches(SMALL, trials)[0]
    together = list(CLAIM.measure_batch(SMALL, batch))
    alone = CLAIM.measure(SMALL, batch[1])
    # A run's first gradient is of samples of its own, the same whatever it is measured with.
    assert not np.array_equal(seen[0], seen[1]) and np.array_equal(seen[1], seen[2])
    assert together[1]["status"] == alone["status"]
    np.testing.assert_allclose(together[1]["gap_slope"], alone["gap_slope"], rtol=1e-4)
    np.testing.assert_allclose(together[1]["loss"][:4], alone["loss"][:4], rtol=1e-3)
    assert abs(float(alone["gap_slope"]) - 1) < 0.1


@pytest.mark.slow
def test_coins_give_no_gap():
    config = CLAIM.control(dataclasses.replace(SMALL, steps=40))
    run = CLAIM.measure(config, CLAIM.trials(config)[0])
    assert abs(float(run["gap_slope"])) < 0.2 and np.isinf(run["learned"])
