"""The claim on fewer parameters than samples: what it judges, its control, and bad settings."""

import dataclasses

import numpy as np
import pytest

from sparsejax.claims import CLAIMS

CLAIM = CLAIMS["underparameterised"]
PARTS = ("integrator", "quadrature", "sampling", "floating_point")


def trial(
    parameters=3, identity="holds", tangent="holds", promised=0.8, error=1e-6, least=0.0, kappa=1.0
):
    """The measurements of one lift, made up: the loss falls from 2 to 1."""
    ts = np.linspace(0, 1, 5)
    spectrum = np.array([1.0, 0.1, 1e-3, 1e-17, -1e-17])
    return {
        "ts": ts,
        "losses": 2 - ts,
        "losses_rough": 2 - ts,
        "rayleigh": np.ones(5),
        "least": np.full(5, least),
        "kappas": np.full(5, kappa),
        "eps": np.asarray(1.0),
        "parameters": np.asarray(parameters),
        "equations": np.asarray(5),
        "test_loss": np.asarray(1.0),
        "flow_status": np.asarray("completed"),
        **{f"eigenvalues_{when}": spectrum for when in ("start", "end")},
        **{f"energies_{when}": np.full(5, 0.2) for when in ("start", "end")},
        "identity_bound": 2 - ts,
        "identity_status": np.asarray(identity),
        "identity_vacuous": np.asarray(False),
        "identity_margin": np.asarray(1e-8),
        "least_bound": np.full(5, 2.0),
        "least_status": np.asarray("not_applicable"),
        "least_vacuous": np.asarray(True),
        "least_margin": np.asarray(1.0),
        "tangent_bound": 2 - promised * ts,
        "tangent_status": np.asarray(tangent),
        "tangent_vacuous": np.asarray(tangent == "not_applicable"),
        "tangent_margin": np.asarray(0.1),
        **{
            f"{bound}_budget_{part}": np.asarray(error)
            for bound in ("identity", "least", "tangent")
            for part in PARTS
        },
    }


@pytest.mark.parametrize(
    "change, status, said",
    [
        ({}, "holds", "promises at least 0.8 of the decay"),
        ({"parameters": 5}, "not_applicable", "5 parameters are not fewer than the 5 samples"),
        ({"least": 1e-9}, "violated", "the least eigenvalue positive on 1"),
        ({"identity": "violated"}, "violated", "the identity broken on 1"),
        ({"tangent": "violated"}, "violated", "the tangent bound is exceeded on 1"),
        ({"promised": 0.3}, "violated", "promises only 0.3 of the decay"),
        ({"promised": 0.51, "error": 0.01}, "inconclusive", "within the error budget"),
        ({"identity": "inconclusive"}, "inconclusive", "comes out as inconclusive"),
        ({"tangent": "not_applicable"}, "inconclusive", "comes out as not applicable"),
    ],
)
def test_judges_what_it_says(change, status, said):
    config = CLAIM.Config(lifts=2)
    measurements = {"lift000": trial(), "lift001": trial(**change)}
    verdict = CLAIM.judge(config, measurements)
    assert verdict.status == status and said in verdict.reason, verdict
    assert set(verdict.error_budget) == set(PARTS)
    CLAIM.draw(config, measurements, verdict)
    assert len(CLAIM.table(config, measurements, verdict)) == 2
    if status == "holds":
        np.testing.assert_allclose(verdict.margin, 0.3)
        assert verdict.summary["rank_at_start"] == 3


def test_out_of_reach_everywhere_is_not_applicable():
    silent = trial(tangent="not_applicable", promised=0.0, kappa=np.inf)
    config = CLAIM.Config(lifts=1, eps_fraction=0.25)
    verdict = CLAIM.judge(config, {"lift000": silent})
    assert verdict.status == "not_applicable" and verdict.vacuous
    assert "no step reaches 0.25 of the initial loss, and the flow ends at 0.5" in verdict.reason


@pytest.mark.slow
def test_holds_on_small_lifts_and_its_control_does_not():
    # Fewer saved times would leave the quadrature error above the share's distance from 1/2.
    small = {"samples": 200, "size": 8, "in_degree": 4, "lifts": 1, "t1": 40.0}
    for config, status in (
        (CLAIM.Config(**small), "holds"),
        (CLAIM.control(CLAIM.Config(**small)), "not_applicable"),
    ):
        CLAIM.validate(config)
        measurements = {t.name: CLAIM.measure(config, t) for t in CLAIM.trials(config)}
        verdict = CLAIM.judge(config, measurements)
        assert verdict.status == status, verdict
        assert verdict.summary["identity_worst_difference_in_budgets"] < 1
        values = measurements["lift000"]
        assert (values["least"] == 0).all()
        # The start has the gradients of the readouts alone, and the rest is not seen.
        np.testing.assert_allclose(values["energies_start"].sum(), 1, rtol=1e-12)
        assert verdict.summary["rank_at_start"] <= config.size + 1
        assert verdict.summary["rank_at_end"] <= int(values["parameters"]) < 200


def test_settings():
    for data, samples in (("digits", 900), ("diabetes", None)):
        config = CLAIM.Config(data=data, samples=samples)
        CLAIM.validate(config)
        assert CLAIM.control(config).shuffled
    for change, said in (
        ({"lifts": 0}, "lifts: at least"),
        ({"probes": 7}, "probes: must be even"),
        ({"eps_fraction": 0.0}, "eps_fraction: must lie in"),
        ({"share": 1.0}, "share: must lie in"),
        ({"t1": 0.0}, "t1: must be positive"),
        ({"size": 2}, "in_degree: 6 is above"),
    ):
        with pytest.raises(ValueError, match=said):
            CLAIM.validate(dataclasses.replace(CLAIM.Config(), **change))
