"""Claims about ensembles on small settings: they hold, their controls do not, and rounds end."""

import dataclasses
import functools

import numpy as np
import pytest

from sparsejax.claims import CLAIMS, pac_convergence

from ..any_claim import measured

SMALL = {
    "pac-convergence": {
        "targets": ("parity",),
        "architectures": ("mlp",),
        "mlp_sizes": (4, 16),
        "mlp_in_degree": 3,
        "cube_dims": 5,
        "parity_order": 3,
        "lifts": 6,
        "restarts": 1,
        "forecasts": 2,
        "delta": 0.5,
        "eps_fraction": 0.3,
        "t1": 40.0,
    },
    "discrete-time-pac": {
        "mlp_sizes": (12,),
        "mlp_in_degree": 3,
        "cube_dims": 5,
        "lifts": 6,
        "delta": 0.5,
        "eps_fraction": 0.3,
        "t1": 40.0,
        "batch_sizes": (0, 8),
        "step_sizes": (0.1, 3.2),
    },
}
BUDGET = {"integrator", "quadrature", "sampling", "floating_point"}


@functools.cache
def run(name):
    """The claim, its small config, what was measured (not to be changed) and the verdict."""
    claim = CLAIMS[name]
    config = claim.Config(**SMALL[name])
    claim.validate(config)
    measurements = measured(claim, config)
    assert list(measurements) == [trial.name for trial in claim.trials(config)]
    return claim, config, measurements, claim.judge(config, measurements)


@pytest.mark.parametrize(
    "name", ["pac-convergence", pytest.param("discrete-time-pac", marks=pytest.mark.slow)]
)
def test_holds_with_a_budget_and_a_picture(name):
    claim, config, measurements, verdict = run(name)
    assert verdict.status == "holds", verdict.reason
    assert verdict.margin > 0
    assert set(verdict.error_budget) == BUDGET
    assert all(np.isfinite(part) and part >= 0 for part in verdict.error_budget.values())
    figure = claim.draw(config, measurements, verdict)
    assert any(axes.get_xlabel() for axes in figure.axes)
    assert any(axes.get_ylabel() for axes in figure.axes)
    rows = claim.table(config, measurements, verdict)
    assert rows and all(row.keys() == rows[0].keys() for row in rows)


def altered(measurements, of, **values):
    """A copy in which the trials whose names hold `of` say otherwise."""
    return {
        name: v | {k: np.asarray(x) for k, x in values.items()} if of in name else v
        for name, v in measurements.items()
    }


def test_pac_convergence_fails_with_its_largest_lifts_and_needs_a_witness():
    claim, config, measurements, verdict = run("pac-convergence")
    summary = verdict.summary["conditions"]["parity-mlp"]
    assert summary["learning_number"] == 16 and verdict.summary["forecasts"]["asked"] == 4
    failed = altered(measurements, "size00016-lift", reached=False)
    assert claim.judge(config, failed).status == "violated"
    # A restart that gets there is a witness, and no success.
    lost = altered(failed, "lift", loss=0.9)
    assert claim.judge(config, lost).status == "violated"
    nobody = altered(lost, "restart", loss=0.9)
    assert claim.judge(config, nobody).status == "not_applicable"
    table = claim.table(config, nobody, claim.judge(config, nobody))
    assert {row["median time"] for row in table} == {np.inf} and claim.draw(
        config, nobody, claim.judge(config, nobody)
    )
    # A flow that its numerics ended says nothing against the lift.
    crashed = claim.judge(config, altered(failed, "size00016-lift", flow_status="step_underflow"))
    assert crashed.status == "inconclusive" and "broke off" in crashed.reason
    assert crashed.summary["broken_off"] == {"step_underflow": 6}
    half = altered(failed, "size00016-lift002", reached=True)
    half = altered(half, "size00016-lift003", reached=True)
    half = altered(half, "size00016-lift004", reached=True)
    open_one = claim.judge(config, half)
    assert open_one.status == "inconclusive" and "lifts would decide" in open_one.reason


def test_rounds_go_on_until_intervals_that_hold_at_all_looks_are_narrow():
    claim, config, measurements, _ = run("pac-convergence")
    assert claim.more_trials(config, measurements) == []
    config = dataclasses.replace(config, until_width=0.5, max_lifts=12)
    one = measurements["parity-mlp-size00016-lift000"] | {"reached": np.asarray(True)}
    seen = dict.fromkeys(measurements, one)
    rounds = 0
    while more := claim.more_trials(config, seen):
        rounds += 1
        assert not {trial.name for trial in more} & set(seen)
        assert all(trial.parameters["kind"] == "lift" for trial in more)
        seen |= {trial.name: one for trial in more}
    verdict = claim.judge(config, seen)
    # All successes: the interval is [(alpha / (n + 1))^(1 / n), 1]: 0.56 wide at 6 lifts.
    summary = verdict.summary["conditions"]["parity-mlp"]
    assert rounds == 1 and summary["lifts"] == {"4": 12, "16": 12}
    assert summary["interval_low"]["16"] == pytest.approx((0.05 / 13) ** (1 / 12), rel=1e-6)


@pytest.mark.slow
def test_discrete_time_ends_where_gradient_descent_does():
    claim, config, measurements, verdict = run("discrete-time-pac")
    for found in verdict.summary["phases"].values():
        assert found["learned_up_to"] == 0.1 and found["missed_from"] == 3.2
        assert 0.1 < 2 / found["median_sharpness"] < 3.2
    # Recorded once a fifth of each program, last fifth of the run: by the same descent, outright.
    nowhere = altered(measurements, "batch00008", losses=np.array([np.nan, np.nan]))
    # Of 6 lifts none: below 0.46 with 95%, below 0.52 with 95% for both batch sizes at once.
    assert claim.judge(config, nowhere).status == "inconclusive"
    assert claim.judge(dataclasses.replace(config, confidence=0.9), nowhere).status == "violated"
    # Undecided within its error, and a lift that diverged has no sharpness.
    near = altered(
        measurements, "batch00008", losses=np.array([0.31, 0.31]), errors=np.array([0.02, 0.02])
    )
    assert claim.judge(config, near).status == "inconclusive"
    wild = altered(measurements, "lift", sharpness=np.nan)
    rows = claim.table(config, wild, claim.judge(config, wild))
    assert np.isnan([row["2 / sharpness"] for row in rows]).all()
    claim.draw(config, wild, claim.judge(config, wild))
    beyond = claim.control(config)
    assert min(beyond.step_sizes) > max(config.step_sizes)


def test_restarts_start_at_random_by_seed_and_number_whatever_their_company(monkeypatch):
    claim, config, _, _ = run("pac-convergence")
    starts = []

    def kept(drawn, params, *_):
        starts.append(params)
        return [{} for _ in range(drawn.count)]

    monkeypatch.setattr(pac_convergence, "flow_outcomes", kept)
    config = dataclasses.replace(config, forecasts=0)
    trials = [t for t in claim.trials(config) if t.parameters["size"] == 16]
    restart = trials[-1]
    assert restart.parameters["kind"] == "restart"
    other = dataclasses.replace(config, seed=1)
    for setting, batch in ((config, trials), (config, [restart]), (other, [restart])):
        list(claim.measure_batch(setting, batch))
    edge = next(name for name in starts[0] if name.endswith("->y"))
    (first, alone, reseeded) = (np.asarray(start[edge]) for start in starts)
    assert (first[:-1] == 0).all() and (first[-1] == alone[0]).all()
    assert (alone != 0).all() and (alone != reseeded).all()


@pytest.mark.parametrize("name", list(SMALL))
@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"lifts": 0}, "lifts: at least one"),
        ({"delta": 1.0}, r"delta: must lie in \(0, 1\)"),
        ({"mlp_sizes": ()}, "mlp_sizes: give positive sizes"),
        ({"t1": 0.0}, "t1: must be positive"),
    ],
)
def test_bad_settings_are_refused(name, change, said):
    claim = CLAIMS[name]
    with pytest.raises(ValueError, match=said):
        claim.validate(dataclasses.replace(claim.Config(**SMALL[name]), **change))


def test_more_bad_settings_are_refused():
    claim = CLAIMS["discrete-time-pac"]
    for change, said in [
        ({"targets": ("digits",)}, "digits has no fresh samples"),
        ({"step_sizes": (0.1, 0.1)}, "step_sizes: give at least one"),
        ({"batch_sizes": (-1,)}, "batch_sizes: give at least one, none below 0"),
        ({"population": False}, "population: this claim"),
        ({"architectures": ("rnn",)}, "architectures: no 'rnn'; there are mlp, convnet, transf"),
        ({"step_sizes": (0.1, np.inf)}, "step_sizes: give at least one"),
    ]:
        with pytest.raises(ValueError, match=said):
            claim.validate(claim.Config(**change))
    pac = CLAIMS["pac-convergence"]
    for change, said in [
        ({"until_width": 1.5}, r"until_width: must lie in \(0, 1\)"),
        ({"until_width": 0.5, "max_lifts": 10}, "max_lifts: the first round has 20 lifts already"),
        ({"t1": np.inf}, "t1: must be positive"),
    ]:
        with pytest.raises(ValueError, match=said):
            pac.validate(pac.Config(**change))


@pytest.mark.parametrize("name", list(SMALL))
def test_defaults_controls_and_presets_are_settings_that_can_be_built(name):
    claim = CLAIMS[name]
    for config in (claim.Config(), claim.control(claim.Config()), *claim.presets.values()):
        claim.validate(config)
