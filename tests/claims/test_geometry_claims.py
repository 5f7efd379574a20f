"""The claims about the geometry of lifts on small settings: they hold, their controls do not."""

import dataclasses

import numpy as np
import pytest

from sparsejax.claims import CLAIMS
from sparsejax.claims.ready_made import KINDS
from sparsejax.claims.statistics import ladder_slope_interval

SMALL = {
    "coverage": {"sizes": (512, 4096), "lifts": 16},
    "fibration": {"kinds": ("mlp-coordinates",), "size": 4, "lifts": 1, "samples": 2},
    "witness": {
        "sizes": (512, 4096),
        "lifts": 8,
        "witness_tries": 1,
        "training_steps": 1000,
        "samples": 20,
        "eps_fraction": 0.8,
    },
}
# Ten seconds of counting, minutes of training.
NAMES = [n if n == "fibration" else pytest.param(n, marks=pytest.mark.slow) for n in SMALL]
BUDGET = {"integrator", "quadrature", "sampling", "floating_point"}


def run(name, control=False):
    claim = CLAIMS[name]
    config = claim.Config(**SMALL[name])
    if control:
        config = claim.control(config)
    claim.validate(config)
    measurements = {t.name: claim.measure(config, t) for t in claim.trials(config)}
    return claim, config, measurements, claim.judge(config, measurements)


@pytest.fixture(scope="module", params=NAMES)
def outcome(request):
    return run(request.param)


def of(outcome, name):
    return outcome[0].name == name


def test_holds_with_a_budget_and_a_picture(outcome):
    claim, config, measurements, verdict = outcome
    assert verdict.status == "holds", verdict.reason
    assert set(verdict.error_budget) == BUDGET
    assert all(np.isfinite(part) and part >= 0 for part in verdict.error_budget.values())
    assert verdict.margin > 0
    figure = claim.draw(config, measurements, verdict)
    for axes in figure.axes:
        assert axes.get_xlabel() and axes.get_ylabel()
    rows = claim.table(config, measurements, verdict)
    assert rows and all(row.keys() == rows[0].keys() for row in rows)


@pytest.mark.parametrize("name", NAMES)
def test_control_does_not_hold(name):
    claim, config, measurements, verdict = run(name, control=True)
    expected = {"fibration": "not_applicable"}.get(name, "violated")
    assert verdict.status == expected, verdict.reason
    claim.draw(config, measurements, verdict)
    claim.table(config, measurements, verdict)
    if name == "fibration":
        assert verdict.summary["largest_difference"] > 1e-3


def test_every_verdict_can_fail(outcome):
    """Each part of the judgement, with one number moved."""
    claim, config, measurements, _ = outcome

    def judged(change):
        return claim.judge(
            config, {name: values | change(values) for name, values in measurements.items()}
        )

    if claim.name == "coverage":
        quantity = "binomial: 1 predecessor with 3"
        for factor in (1.25, 0.75):
            off = judged(lambda v: {quantity: v[quantity] * factor})
            assert off.status == "violated" and "exact expectation is refuted" in off.reason
        tree = "regular: not a tree"
        steep = judged(lambda v: {tree: v[tree] * np.sqrt(v["size"])})
        assert steep.status == "violated" and "slope" in steep.reason
    elif claim.name == "fibration":
        off = judged(lambda v: {"in_trees": np.asarray(1e-9)})
        assert off.status == "violated"
        off = judged(lambda v: {"is_fibration": np.asarray(False), "fault": np.asarray("it")})
        assert off.status == "not_applicable"
    else:
        off = judged(lambda v: {"kappa": 2 * v["step_length"]})
        assert off.status == "violated" and "a tangent constant" in off.reason
        off = judged(lambda v: {"step_loss": np.asarray(0.9)})
        assert off.status == "violated" and "reaches at best" in off.reason
        off = judged(lambda v: {"counts": 1 + 0 * v["counts"]})
        assert off.status == "violated" and "copies grow with slope 0" in off.reason
        off = judged(lambda v: {"kappa": np.asarray(1e-3)})
        assert off.status == "violated" and "does not fall" in off.reason
        off = judged(lambda v: {"witness_loss": np.asarray(0.9)})
        assert off.status == "not_applicable"
        off = judged(lambda v: {"counts": 0 * v["counts"]})
        assert off.status == "not_applicable" and "no copy" in off.reason


def test_witness_counts_are_as_expected(outcome):
    """1.7 for weighted trees: every vertex is a copy on its own, so counts are binomial."""
    claim, config, measurements, verdict = outcome
    if not of(outcome, "witness"):
        return
    for size in config.sizes:
        expected = verdict.summary["expected_copies"][str(size)]
        found = verdict.summary["copies"][str(size)]
        assert abs(found - expected) < 4 * np.sqrt(expected / config.lifts)


@pytest.mark.parametrize(
    ("name", "change", "said"),
    [
        ("coverage", {"sizes": (64,)}, "sizes: at least two"),
        ("coverage", {"sizes": (2, 64)}, "in_degree: 3 is above the 2"),
        ("coverage", {"sizes": (0, 64)}, "sizes: a size must be positive"),
        ("coverage", {"in_degree": 1}, "in_degree: must be at least 2"),
        ("coverage", {"lifts": 1}, "lifts: at least 2"),
        ("coverage", {"confidence": 1.0}, r"confidence: must lie in \(0, 1\)"),
        ("fibration", {"kinds": ("tree",)}, "kinds: unknown kind 'tree'"),
        ("fibration", {"kinds": ()}, "kinds: give at least one of mlp"),
        ("fibration", {"in_degree": 9}, "in_degree: 9 is above the 4"),
        ("fibration", {"roots": 0}, "roots: must be positive"),
        ("witness", {"sizes": (64, 64)}, "sizes: at least two different"),
        ("witness", {"eta": 0.0}, "eta: must be positive"),
        ("witness", {"decay": -1.0}, "decay: must not be negative"),
        ("witness", {"dims": 1}, "dims: the target needs two"),
        ("witness", {"eps_fraction": 1.5}, r"eps_fraction: must lie in \(0, 1\)"),
        ("witness", {"hidden": 2, "in_degree": 20}, "in_degree: 20 is above the 12"),
        ("witness", {"activation": "step"}, "unknown activation 'step'"),
    ],
)
def test_bad_settings_are_refused(name, change, said):
    claim = CLAIMS[name]
    with pytest.raises(ValueError, match=said):
        claim.validate(dataclasses.replace(claim.Config(**SMALL[name]), **change))


def test_fibration_covers_every_ready_made_kind():
    assert CLAIMS["fibration"].Config().kinds == tuple(KINDS)


def test_ladder_slopes():
    """Exact on a power law whatever the scatter between lifts; zeros leave no interval."""
    x = np.array([2.0, 4.0, 8.0])
    rows = np.array([1.0, 2.0, 3.0])[:, None] * x**-1.5
    np.testing.assert_allclose(ladder_slope_interval(x, rows), [-1.5] * 3, rtol=1e-12)
    rng = np.random.default_rng(0)
    inside = 0
    for _ in range(200):
        low, high = ladder_slope_interval(x, rng.poisson(20 * x, (10, 3)).astype(float))[1:]
        inside += low <= 1 <= high
    assert 180 <= inside <= 198
    assert ladder_slope_interval(x, rows[:1])[1:] == (-np.inf, np.inf)
    assert np.isnan(ladder_slope_interval(x, np.array([[0.0, 1, 2], [0, 1, 1]]))[0])
