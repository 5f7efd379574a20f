"""The claim on least-eigenvalue rates: what it judges, its control, and bad settings."""

import dataclasses

import numpy as np
import pytest

from sparsejax.claims import CLAIMS

CLAIM = CLAIMS["ntk-rate"]
PARTS = ("integrator", "quadrature", "sampling", "floating_point")


def trial(least=0.1, identity="holds", guarantee="holds", flow="completed"):
    """The measurements of one lift, made up."""
    ts = np.linspace(0, 1, 5)
    vacuous = least == 0
    return {
        "ts": ts,
        "losses": 2 * np.exp(-4 * ts),
        "losses_rough": 2 * np.exp(-4 * ts),
        "rayleigh": np.ones(5),
        "least": np.full(5, least),
        "parameters": np.asarray(50),
        "equations": np.asarray(10),
        "flow_status": np.asarray(flow),
        "identity_bound": 2 * np.exp(-4 * ts),
        "identity_status": np.asarray(identity),
        "identity_vacuous": np.asarray(False),
        "identity_margin": np.asarray(1e-8),
        "guarantee_bound": 2 * np.exp(-4 * least * ts),
        "guarantee_status": np.asarray("not_applicable" if vacuous else guarantee),
        "guarantee_vacuous": np.asarray(vacuous),
        "guarantee_margin": np.asarray(0.1),
        **{f"identity_budget_{part}": np.asarray(1e-6) for part in PARTS},
        **{f"guarantee_budget_{part}": np.asarray(1e-6) for part in PARTS},
    }


SIZES = {"sizes": (8, 16), "lifts": 1}


def judged(small, large):
    config = CLAIM.Config(**SIZES)
    measurements = {"size00008-lift000": small, "size00016-lift000": large}
    verdict = CLAIM.judge(config, measurements)
    CLAIM.draw(config, measurements, verdict)
    assert len(CLAIM.table(config, measurements, verdict)) == 2
    assert set(verdict.error_budget) == set(PARTS) and verdict.reason
    return verdict


@pytest.mark.parametrize(
    "small, large, status",
    [
        ({}, {}, "holds"),
        ({"least": 0.0}, {}, "holds"),  # vacuous below the largest size: said, and no more
        ({}, {"least": 0.0}, "not_applicable"),
        ({}, {"least": 0.01}, "not_applicable"),  # a share of 0.04 is no promise to speak of
        ({"identity": "violated"}, {}, "violated"),
        ({}, {"guarantee": "violated"}, "violated"),
        ({"guarantee": "inconclusive"}, {}, "inconclusive"),
        ({"identity": "inconclusive"}, {}, "inconclusive"),
        ({"flow": "nan"}, {}, "inconclusive"),
    ],
)
def test_judges_what_it_says(small, large, status):
    verdict = judged(trial(**small), trial(**large))
    assert verdict.status == status, verdict
    if status == "holds":
        assert verdict.margin > verdict.total_error
        assert ("on 1 lifts the least eigenvalue is zero" in verdict.reason) == ("least" in small)


def test_the_ratio_of_rates_is_that_of_the_exponents():
    ratios = judged(trial(), trial(least=0.25)).summary["measured_over_guaranteed_rate"]
    np.testing.assert_allclose([ratios["8"], ratios["16"]], [10.0, 4.0], rtol=1e-12)
    assert judged(trial(least=0.0), trial(least=0.0)).vacuous


SMALL = {"samples": 4, "sizes": (12, 24), "in_degree": 3, "lifts": 1, "scaled_t1": 40.0}


@pytest.mark.slow
def test_holds_on_small_lifts_and_its_control_does_not():
    for config, status in (
        (CLAIM.Config(**SMALL), "holds"),
        (CLAIM.control(CLAIM.Config(**SMALL)), "not_applicable"),
    ):
        CLAIM.validate(config)
        measurements = {t.name: CLAIM.measure(config, t) for t in CLAIM.trials(config)}
        verdict = CLAIM.judge(config, measurements)
        assert verdict.status == status, verdict
        assert verdict.summary["identity_worst_difference_in_budgets"] < 1
        if status == "holds":  # a loss that decays 2 % slower than its kernel says is seen
            for values in measurements.values():
                losses = values["losses"]
                late = losses[0] * (losses / losses[0]) ** 0.98
                assert (np.abs(late - values["identity_bound"])[-1]) > 10 * sum(
                    float(values[f"identity_budget_{part}"]) for part in PARTS
                )
        else:
            assert verdict.vacuous and (measurements["size00003-lift000"]["least"] == 0).all()


@pytest.mark.parametrize("data", ["diabetes", "digits"])
def test_every_data_set_goes_with_the_defaults(data):
    config = CLAIM.Config(data=data)
    CLAIM.validate(config)
    CLAIM.validate(CLAIM.control(config))


@pytest.mark.parametrize(
    "change, said",
    [
        ({"lifts": 0}, "lifts: at least"),
        ({"probes": 7}, "probes: must be even"),
        ({"promise": 1.0}, "promise: must lie in"),
        ({"scaled_t1": 0.0}, "scaled_t1: must be positive"),
        ({"steps": 0}, "steps: must be positive"),
        ({"in_degree": 500}, "in_degree: 500 is above"),
    ],
)
def test_bad_settings_are_refused(change, said):
    with pytest.raises(ValueError, match=said):
        CLAIM.validate(dataclasses.replace(CLAIM.Config(), **change))
