"""The claim `linearised-dynamics`: its judgement of made-up ladders, its networks, small runs."""

import dataclasses
import re

import jax
import numpy as np
import pytest

import sparsejax as sj
from sparsejax.claims import CLAIMS
from sparsejax.claims.linearised_dynamics import QUANTITIES, _parametrised, _slope_error

CLAIM = CLAIMS["linearised-dynamics"]
CONFIG = CLAIM.Config(sizes=(16, 64, 256), lifts=4, probes=4)
BUDGET = {"integrator", "quadrature", "sampling", "floating_point"}


def ladder(slopes, *, refined=1.0, own=1e-6, left=0.1, status="completed", inner=0.9):
    """Measurements whose largest distances go like powers of size, up to 5% a lift."""
    found = {}
    for trial in CLAIM.trials(CONFIG):
        size, number = trial.parameters["size"], trial.parameters["number"]
        values = {
            "ts": np.linspace(0, 4, 5),
            "losses": np.array([1.0, 0.8, 0.6, 0.3, left]),
            "linearised_losses": np.array([1.0, 0.8, 0.6, 0.3, left]),
            "parameters": np.asarray(10 * size),
            "resolution": np.asarray(2.0**-52),
            "status": np.asarray(status),
            "status_refined": np.asarray("completed"),
        }
        for name, slope in zip(QUANTITIES, slopes, strict=True):
            peak = 0.3 * (size / 16) ** slope * (1 + 0.05 * np.sin(7 * number + size))
            # The peak lies on a time that every second one misses.
            values[name] = peak * np.array([0, 0.5, inner, 1, inner])
            values[f"{name}_refined"] = values[name] * (size / 16) ** (refined - 1)
            values[f"{name}_of_linearisation"] = np.full(5, own)
        found[trial.name] = values
    return found


HALF, FLAT = (-0.5,) * 3, (0.0,) * 3


@pytest.mark.parametrize(
    ("status", "reason", "slopes", "changes"),
    [
        ("holds", "all distances fall", HALF, {}),
        ("inconclusive", "told from zero", FLAT, {}),
        ("inconclusive", "weights: .*told from zero", (-0.5, -0.5, 0.0), {}),
        ("violated", "test points: the distance grows", (-0.5, 0.5, -0.5), {}),
        # Flows too coarse, and a linearisation that does not follow its own closed form.
        ("inconclusive", "other errors", HALF, {"refined": 1.8}),
        ("inconclusive", "other errors", HALF, {"own": 0.5}),
        ("not_applicable", "diverged", HALF, {"status": "diverged"}),
        ("not_applicable", "raise t1", HALF, {"left": 0.9}),
    ],
)
def test_judgement(status, reason, slopes, changes):
    measured = ladder(slopes, **changes)
    verdict = CLAIM.judge(CONFIG, measured)
    assert verdict.status == status, verdict
    assert re.search(reason, verdict.reason), verdict.reason
    assert set(verdict.error_budget) == BUDGET
    assert all(np.isfinite(part) and part >= 0 for part in verdict.error_budget.values())
    assert verdict.holds == (status == "holds")
    if status == "holds":
        assert verdict.margin > verdict.total_error
        np.testing.assert_allclose(verdict.margin, 0.5, atol=0.05)


def test_figure_and_table():
    measured = ladder((-0.5, -0.4, -0.6))
    verdict = CLAIM.judge(CONFIG, measured)
    figure = CLAIM.draw(CONFIG, measured, verdict)
    assert all(axes.get_xlabel() and axes.get_ylabel() for axes in figure.axes)
    rows = CLAIM.table(CONFIG, measured, verdict)
    assert [row["size"] for row in rows] == [16, 64, 256]
    np.testing.assert_allclose(rows[0]["distance: train"], 0.3, rtol=0.05)


def test_errors_turn_a_slope_by_at_most_so_much():
    """The worst signs of ten percent each, by hand."""
    sizes = np.array([1.0, 2.0, 4.0])
    turned = np.polyfit(np.log(sizes), np.log([1 / 1.1, 1.0, 1.1]), 1)[0]
    np.testing.assert_allclose(_slope_error(sizes, np.full(3, 0.1)), turned, rtol=1e-12)


def test_networks_are_lifts_with_scaled_standard_normal_weights():
    config = dataclasses.replace(CONFIG, gain=3.0, bias_scale=0.25)
    lift = sj.dense_lift(sj.graphs.mlp(2, 2, 1, "identity", input_as="coordinates"), 16)
    x = jax.random.normal(jax.random.key(0), (3, 2))
    f, params = _parametrised(config, lift, 1)
    every = np.concatenate([np.ravel(w) for w in params.values()])
    np.testing.assert_allclose([every.mean(), every.std()], [0, 1], atol=0.15)
    # A linear network, layer by layer: weights over the root of the in-degree.
    w = {name: np.asarray(value).reshape(-1) for name, value in params.items()}
    h = np.asarray(x) @ (3 / np.sqrt(2) * w["x->h1"].reshape(2, 16)) + 0.25 * w["one->h1"]
    h = h @ (3 / 4 * w["h1->h2"].reshape(16, 16)) + 0.25 * w["one->h2"]
    expected = h @ (1 / 4 * w["h2->y"].reshape(16, 1)) + 0.25 * w["one->y"]
    np.testing.assert_allclose(f(params, x), expected, rtol=1e-12)
    g, same = _parametrised(dataclasses.replace(config, readout="mean_field"), lift, 1)
    np.testing.assert_allclose(4 * g(same, x), expected, rtol=1e-12)
    _, other = _parametrised(config, lift, 2)
    assert not np.allclose(jax.tree.leaves(other)[0], jax.tree.leaves(params)[0])


@pytest.mark.slow
@pytest.mark.parametrize("control", [False, True])
def test_small_run(control):
    config = CLAIM.Config(samples=20, sizes=(16, 128), lifts=4, probes=8)
    config = CLAIM.control(config) if control else config
    CLAIM.validate(config)
    measured = {t.name: CLAIM.measure(config, t) for t in CLAIM.trials(config)}
    verdict = CLAIM.judge(config, measured)
    # The control is trained, and is no nearer to its linearisation where it is larger.
    assert verdict.status in (("inconclusive", "violated") if control else ("holds",)), verdict
    CLAIM.draw(config, measured, verdict)
    # The closed form is the flow of the linearisation, to the integrator's tolerance.
    own = measured["size00016-lift000"]
    assert max(own[f"{name}_of_linearisation"].max() for name in QUANTITIES) < 1e-3


def test_bad_settings_are_named():
    for field, value in {
        "sizes": (64,),
        "lifts": 1,
        "probes": 5,
        "t1": 0.0,
        "confidence": 1.0,
        "in_degree": 100,
    }.items():
        with pytest.raises(ValueError, match=field):
            CLAIM.validate(dataclasses.replace(CONFIG, **{field: value}))
