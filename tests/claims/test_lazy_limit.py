"""lazy-limit: what it measures on small lifts, and its judgement on made-up measurements."""

import dataclasses

import jax.numpy as jnp
import numpy as np
import pytest

import sparsejax as sj
from sparsejax.claims import CLAIMS
from sparsejax.claims.lazy_limit import _draw, _exponent, _spread

BUDGET = {"integrator", "quadrature", "sampling", "floating_point"}
CLAIM = CLAIMS["lazy-limit"]
SMALL = CLAIM.Config(
    sizes=(4, 8), sparse_sizes=(), samples=4, in_degree=2, lifts=3, hidden=1, t1=0.4
)


def made_up(drift=-1.0, spread=-0.5, noise=0.02, lifts=12, coarse=1.0, failed=False):
    """Measurements whose exponents are known, up to a share of noise per lift."""
    rng, found = np.random.default_rng(0), {}
    mean = np.eye(3) + 1
    deviations = rng.normal(size=(lifts, 3, 3))
    for kind in ("dense", "sparse"):
        for size in (16, 64, 256):
            for number in range(lifts):
                moved = 0.1 * (size / 16) ** drift * np.exp(noise * rng.normal())
                # The same deviations at all sizes, so that the spread is an exact power.
                kernel = mean + (deviations[number] - deviations.mean(axis=0)) * size**spread
                found[f"{kind}-size{size:05d}-lift{number:03d}"] = {
                    "size": np.asarray(size),
                    "kernel": kernel,
                    "drift": np.asarray(moved),
                    "drift_coarse": np.asarray(moved * (size / 16) ** (coarse - 1)),
                    "losses": np.array([1.0, 0.1]),
                    "flow_status": np.asarray("diverged" if failed else "completed"),
                }
    return found


@pytest.mark.parametrize(
    "made, status",
    [
        ({}, "holds"),
        ({"drift": -0.6}, "holds"),
        ({"drift": 0.0}, "violated"),
        ({"drift": -0.3}, "violated"),
        ({"spread": -0.8}, "violated"),
        ({"spread": 0.0}, "violated"),
        ({"drift": -0.55, "noise": 1.0}, "inconclusive"),
        ({"drift": -0.6, "coarse": 1.2}, "inconclusive"),  # the step decides
        ({"failed": True}, "not_applicable"),
    ],
)
def test_judges_what_it_says(made, status):
    measurements, config = made_up(**made), CLAIM.Config(sizes=(16, 64, 256))
    verdict = CLAIM.judge(config, measurements)
    assert verdict.status == status, verdict
    assert set(verdict.error_budget) == BUDGET
    assert (verdict.margin > verdict.total_error) == (status in ("holds", "not_applicable"))
    if status == "holds":
        assert "sparse: drift" in verdict.reason
        for kind in ("dense", "sparse"):
            found = verdict.summary[kind]
            nominal = made.get("drift", -1.0)
            assert found["drift"]["low"] - 0.01 < nominal < found["drift"]["high"] + 0.01
            np.testing.assert_allclose(found["spread"]["slope"], -0.5, atol=1e-9)


def test_figure_and_table():
    measurements, config = made_up(), CLAIM.Config(sizes=(16, 64, 256))
    verdict = CLAIM.judge(config, measurements)
    figure = CLAIM.draw(config, measurements, verdict)
    assert all(axes.get_xlabel() and axes.get_ylabel() for axes in figure.axes)
    rows = CLAIM.table(config, measurements, verdict)
    assert [(row["lift"], row["size"]) for row in rows][:2] == [("dense", 16), ("dense", 64)]


def test_spread_of_a_known_law():
    """Entries `mean + s z` in n x n have the spread `s n / ||mean||`."""
    rng = np.random.default_rng(0)
    kernels = 2.0 + 0.1 * rng.normal(size=(4000, 1, 3, 3))
    np.testing.assert_allclose(_spread(kernels), 0.1 * 3 / 6, rtol=0.02)


def test_the_interval_covers_the_slope_as_often_as_it_says():
    rng, sizes = np.random.default_rng(1), np.array([1.0, 2.0, 4.0, 8.0])
    covered = 0
    for _ in range(60):
        values = sizes**-1.0 * np.exp(0.5 * rng.normal(size=(8, 4)))
        found = _exponent(sizes, values, lambda v: v.mean(axis=0), 0.9)
        covered += found.low < -1 < found.high
    assert 0.8 * 60 < covered < 0.99 * 60


@pytest.mark.parametrize(
    "change, said",
    [
        ({"sizes": (8,)}, "sizes: a slope needs two"),
        ({"lifts": 2}, "lifts: at least 3"),
        ({"dt": 0.0}, "dt: must be positive"),
        ({"confidence": 1.0}, "confidence: must lie"),
        ({"in_degree": 6}, "in_degree: 6 is above"),
    ],
)
def test_bad_settings_are_refused(change, said):
    with pytest.raises(ValueError, match=said):
        CLAIM.validate(dataclasses.replace(SMALL, **change))


@pytest.mark.slow
def test_small_lifts_are_measured_and_the_control_differs():
    control = CLAIM.control(SMALL)
    CLAIM.validate(SMALL)
    trials = CLAIM.trials(SMALL)
    assert len(trials) == len({trial.name for trial in trials}) == 12
    found = {trial.name: CLAIM.measure(SMALL, trial) for trial in trials}
    verdict = CLAIM.judge(SMALL, found)
    assert verdict.status != "not_applicable", verdict
    assert CLAIM.measure(SMALL, trials[0])["drift"] == found[trials[0].name]["drift"]
    # The mean-field readout is smaller by the root of the size: so is its kernel, at the start, by
    # the size in all parts but its own.
    other = CLAIM.measure(control, trials[0])
    assert other["drift"] != found[trials[0].name]["drift"]
    assert np.trace(other["kernel"]) < np.trace(found[trials[0].name]["kernel"])
    # The drift again, by another integrator and the Jacobian.
    import jax

    from sparsejax import graphs, targets

    data = targets.data_by_name("synthetic", 4, 0)
    key = jax.random.fold_in(jax.random.fold_in(jax.random.key(0), 1), 8)
    module = graphs.mlp(8, 1, 1, "tanh", input_as="coordinates")
    f, params = _draw(jax.random.fold_in(key, 2), module, 8, "sparse", (("h1", 2),), SMALL)
    x, y = jnp.asarray(data.x_train), jnp.asarray(data.y_train)
    flow = sj.gradient_flow(sj.squared_loss(f.apply, x, y), params, 0.4, rtol=1e-9)
    start, end = (
        np.asarray(sj.ntk(f.apply, p, x, method="jacobian")) for p in (params, flow.final)
    )
    change = np.linalg.norm(end - start) / np.linalg.norm(start)
    np.testing.assert_allclose(found["sparse-size00008-lift002"]["drift"], change, rtol=1e-5)
