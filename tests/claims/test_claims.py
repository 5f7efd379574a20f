"""Each claim on a small setting: it holds, its control does not, and bad settings are refused."""

import dataclasses
import functools

import numpy as np
import pytest

from sparsejax.claims import CLAIMS

# Small enough for a test, large enough for the statement.
SMALL = {
    "tangent-approximation": {
        "sizes": (96,),
        "samples": 60,
        "in_degree": 4,
        "lifts": 1,
        "t1": 20.0,
        "probes": 20,
        "eps_fraction": 0.2,
    },
}
BUDGET = {"integrator", "quadrature", "sampling", "floating_point"}


@functools.cache
def run(name, *, control=False):
    """The claim, its small config, what was measured (not to be changed) and the verdict."""
    claim = CLAIMS[name]
    config = claim.Config(**SMALL[name])
    if control:
        config = claim.control(config)
        if hasattr(config, "lifts"):
            config = dataclasses.replace(config, lifts=min(config.lifts, 5))
        if name == "tangent-approximation":
            # Still far more than parameters.
            config = dataclasses.replace(config, samples=160, probes=8)
    claim.validate(config)
    measurements = {t.name: claim.measure(config, t) for t in claim.trials(config)}
    return claim, config, measurements, claim.judge(config, measurements)


@pytest.mark.parametrize("name", list(SMALL))
def test_holds_with_a_budget_and_a_picture(name):
    claim, config, measurements, verdict = run(name)
    assert verdict.status == "holds", verdict.reason
    assert not verdict.vacuous
    assert set(verdict.error_budget) == BUDGET
    assert all(np.isfinite(part) and part >= 0 for part in verdict.error_budget.values())
    figure = claim.draw(config, measurements, verdict)
    for axes in figure.axes:
        assert axes.get_xlabel() and axes.get_ylabel()
    rows = claim.table(config, measurements, verdict)
    assert rows and all(row.keys() == rows[0].keys() for row in rows)


@pytest.mark.slow
def test_larger_lifts_have_smaller_tangent_constants():
    claim = CLAIMS["tangent-approximation"]
    config = claim.Config(**SMALL["tangent-approximation"] | {"sizes": (48, 192)})
    measurements = {t.name: claim.measure(config, t) for t in claim.trials(config)}
    verdict = claim.judge(config, measurements)
    assert verdict.status == "holds", verdict.reason
    assert verdict.summary["kappa_at_start"]["48"] > verdict.summary["kappa_at_start"]["192"]


@pytest.mark.slow
@pytest.mark.parametrize("name", list(SMALL))
def test_control_does_not_hold(name):
    claim, config, measurements, verdict = run(name, control=True)
    assert verdict.status != "holds"
    assert verdict.reason
    claim.draw(config, measurements, verdict)
    claim.table(config, measurements, verdict)


def test_tangent_approximation_sees_a_broken_bound():
    claim, config, measurements, verdict = run("tangent-approximation")
    broken = {name: dict(values) for name, values in measurements.items()}
    next(iter(broken.values()))["squared_status"] = np.asarray("violated")
    assert claim.judge(config, broken).status == "violated"


@pytest.mark.parametrize("name", list(SMALL))
@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"in_degree": 500}, "in_degree: 500 is above"),
        ({"in_degree": 0}, "in_degree: must be positive"),
        ({"samples": -3}, "samples: must be positive"),
        ({"data": "nonsense"}, "unknown data set 'nonsense'"),
        ({"data": "diabetes", "samples": 5000}, "diabetes has 332 training samples"),
        ({"activation": "step"}, "unknown activation 'step'"),
        ({"hidden": 0}, "hidden: at least one"),
        ({"lifts": 0}, "lifts: at least"),
        ({"rtol": 0.0}, "rtol: must be positive"),
    ],
)
def test_bad_settings_are_refused(name, change, said):
    claim = CLAIMS[name]
    with pytest.raises(ValueError, match=said):
        claim.validate(dataclasses.replace(claim.Config(**SMALL[name]), **change))


@pytest.mark.parametrize("size", [0, -4])
def test_sizes_must_be_positive(size):
    claim = CLAIMS["tangent-approximation"]
    with pytest.raises(ValueError, match="sizes: a size must be positive"):
        claim.validate(claim.Config(sizes=(size,)))


@pytest.mark.parametrize("data", ["synthetic", "diabetes", "digits"])
@pytest.mark.parametrize("name", list(SMALL))
def test_every_data_set_goes_with_the_defaults_of_every_claim_on_lifts(name, data):
    claim = CLAIMS[name]
    config = claim.Config(data=data)
    claim.validate(config)
    claim.validate(claim.control(config))
