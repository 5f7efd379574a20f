"""Certified lifts: a small run and its control, what the judge makes of counts, broken promises."""

import dataclasses
import functools

import numpy as np
import pytest

from sparsejax import bounds
from sparsejax.claims import CLAIMS
from sparsejax.claims.bound_arrays import PARTS
from sparsejax.claims.certified_pac import first_time_below

CLAIM = CLAIMS["certified-pac"]
SMALL = CLAIM.Config(
    sizes=(8, 96), samples=30, lifts=3, in_degree=3, level=0.85, delta=0.8, flowed=1, rtol=1e-5
)


def lift(certified, *, near=False, promise="", uncovered=""):
    """The measurements of one lift, made up."""
    values = {
        "initial": 1.0,
        "uncovered": uncovered,
        "certified": certified,
        "undecided": near,
        "certified_level": 0.75 if certified else 0.9,
        "kappa": 0.1,
        "reach": 0.2,
        "horizon": 0.1,
        "promised_time": 1.0 if certified else np.inf,
        "flow_status": "completed" if promise else "",
        "ts": np.linspace(0, 1, 3),
        "losses": np.array([1.0, 0.5, 0.4]),
    }
    if promise:
        values |= {"promise_status": promise, "promise_margin": 0.1 if promise == "holds" else -0.1}
        values |= {"promise_bound": np.array([1.0, 0.9, 0.8]), "promise_vacuous": False}
        values |= {f"promise_budget_{part}": 1e-6 for part in PARTS}
    return {name: np.asarray(value) for name, value in values.items()}


def ladder(counts, lifts=20, **options):
    """So many certified lifts at each size."""
    return {
        f"size{size:05d}-lift{number:03d}": lift(number < certified, **options)
        for size, certified in counts.items()
        for number in range(lifts)
    }


@pytest.mark.parametrize(
    ("counts", "status", "number", "said"),
    [
        ({48: 0, 96: 20, 192: 20}, "holds", 96, "from size 96 on"),
        ({48: 20, 96: 15, 192: 20}, "holds", 192, "from size 192 on"),
        ({48: 20, 96: 18}, "inconclusive", None, "about 65 lifts would decide, 45 more"),
        ({48: 20, 96: 16}, "inconclusive", None, "no number of lifts would decide"),
        ({48: 20, 96: 14}, "inconclusive", None, "about 76 lifts would decide"),
        ({48: 20, 96: 5}, "violated", None, "at most a fraction 0.49"),
        ({48: 0}, "violated", None, "at most a fraction 0.17"),
    ],
)
def test_the_largest_size_decides(counts, status, number, said):
    config, measurements = CLAIM.Config(), ladder(counts)
    verdict = CLAIM.judge(config, measurements)
    assert verdict.status == status and said in verdict.reason
    assert verdict.summary["certified_learning_number"] == number
    assert set(verdict.error_budget) == set(PARTS)
    # The margin is beyond the error exactly where the interval decides.
    assert (abs(verdict.margin) > verdict.total_error) == (status != "inconclusive")
    end = "interval_low" if verdict.margin >= 0 else "interval_high"
    reached = 1 - config.delta + verdict.margin - np.copysign(verdict.total_error, verdict.margin)
    assert reached == pytest.approx(verdict.summary[end][str(max(counts))], abs=1e-12)
    figure = CLAIM.draw(config, measurements, verdict)
    assert all(axes.get_xlabel() and axes.get_ylabel() for axes in figure.axes)
    rows = CLAIM.table(config, measurements, verdict)
    assert [row["certified"] for row in rows] == list(counts.values())


def test_a_broken_promise_refutes_whatever_the_counts():
    config = CLAIM.Config()
    for promise, status in (
        ("holds", "holds"),
        ("violated", "violated"),
        ("inconclusive", "inconclusive"),
    ):
        measurements = ladder({96: 20, 192: 20})
        measurements["size00096-lift000"] = lift(True, promise=promise)
        measurements["size00192-lift001"] = lift(True, promise="holds")
        verdict = CLAIM.judge(config, measurements)
        assert verdict.status == status, verdict
        # Of promises, where they decide; else of the counts: 20 of 20, and not 16.
        assert verdict.margin == pytest.approx(0.2 if promise == "holds" else -0.1)
        CLAIM.draw(config, measurements, verdict)
        assert CLAIM.table(config, measurements, verdict)[0]["flows"] == 1
    assert verdict.summary["flows"] == 2


def test_the_time_of_a_promise_is_where_its_curve_meets_the_level():
    for scale in (1e-6, 1.0, 1e6):
        for near in (1e-3, 1e3):
            time = first_time_below(lambda t: 0.5 + 0.5 / (1 + t / scale), 0.75, near)
            assert scale <= time <= scale * (1 + 2e-9)
    for level in (0.4, 1.1):
        with pytest.raises(ValueError, match="does not come down"):
            first_time_below(lambda t: 0.5 + 0.5 / (1 + t), level)


def test_lifts_that_no_certificate_covers():
    config = dataclasses.replace(SMALL, sizes=(8,), activation="square")
    CLAIM.validate(config)
    measured = CLAIM.measure(config, CLAIM.trials(config)[0])
    verdict = CLAIM.judge(config, {"size00008-lift000": measured})
    assert verdict.status == "not_applicable" and "Lipschitz" in verdict.reason


def test_lifts_whose_level_lies_at_the_required_one_are_in_the_budget():
    verdict = CLAIM.judge(CLAIM.Config(), ladder({96: 20}, near=True))
    assert verdict.error_budget["floating_point"] == 1.0
    # Rounding alone refutes nothing.
    assert CLAIM.judge(CLAIM.Config(), ladder({96: 5}, near=True)).status == "inconclusive"


@functools.cache
def measured(control=False):
    config = CLAIM.control(SMALL) if control else SMALL
    CLAIM.validate(config)
    return config, {t.name: CLAIM.measure(config, t) for t in CLAIM.trials(config)}


@pytest.mark.slow
def test_a_small_run_holds_and_its_promises_are_kept():
    config, measurements = measured()
    verdict = CLAIM.judge(config, measurements)
    assert verdict.status == "holds" and verdict.summary["certified_learning_number"] == 96, verdict
    assert verdict.summary["certified_fraction"]["8"] == 0
    flowed = measurements["size00096-lift000"]
    assert flowed["promise_status"] == "holds" and flowed["flow_status"] == "completed"
    np.testing.assert_allclose(flowed["promise_bound"][-1] / flowed["initial"], config.level)
    assert flowed["losses"][-1] < config.level * flowed["initial"]
    assert flowed["ts"][-1] == flowed["promised_time"] < np.inf
    assert measurements["size00096-lift001"]["flow_status"] == ""


@pytest.mark.slow
def test_targets_of_other_samples_are_not_certified():
    config, measurements = measured(control=True)
    # Of three lifts the interval is wide.
    verdict = CLAIM.judge(dataclasses.replace(config, delta=0.2), measurements)
    assert verdict.status == "violated", verdict


@pytest.mark.slow
def test_a_certificate_that_promises_too_much_is_refuted(monkeypatch):
    honest = bounds.readout_certificate

    def rash(*arguments):
        found = honest(*arguments)
        return dataclasses.replace(found, kappa=found.kappa / 30)

    monkeypatch.setattr(bounds, "readout_certificate", rash)
    trial = next(t for t in CLAIM.trials(SMALL) if t.parameters["size"] == 96)
    broken = CLAIM.measure(SMALL, trial)
    assert broken["promise_status"] == "violated"
    assert CLAIM.judge(SMALL, {trial.name: broken}).status == "violated"


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"sizes": (2,)}, "in_degree: 3 is above"),
        ({"lifts": 0}, "lifts: at least one"),
        ({"level": 1.0}, "level: must lie in"),
        ({"eps_fraction": 0.85}, "eps_fraction: must be below the level 0.85"),
        ({"flowed": 4}, "flowed: between 0 and the 3 lifts"),
        ({"rtol": 0.0}, "rtol: must be positive"),
    ],
)
def test_bad_settings_are_refused(change, said):
    with pytest.raises(ValueError, match=said):
        CLAIM.validate(dataclasses.replace(SMALL, **change))


def test_the_presets_are_settings():
    for config in (CLAIM.Config(), *CLAIM.presets.values()):
        CLAIM.validate(config)
        CLAIM.validate(CLAIM.control(config))
