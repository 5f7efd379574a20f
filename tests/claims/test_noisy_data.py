"""noisy-data: tables that pair over levels, checks that each can fail, a small run."""

import dataclasses

import numpy as np
import pytest

from sparsejax.claims import CLAIMS
from sparsejax.claims.noisy_data_checks import Curve, chance_check, curve_check, trend
from sparsejax.claims.noisy_data_levels import NoisyDataConfig, cells_of, curves_of
from sparsejax.claims.noisy_data_tables import Spoiling, composition, spoiled
from sparsejax.claims.statistics import bounded_mean_interval, clopper_pearson

from .any_claim import assert_settings_are_valid

CLAIM = CLAIMS["noisy-data"]
CONFIG = NoisyDataConfig(
    rows=400, targets=8, noise=(1.0, 4.0), input_noise=(0.5, 1.0), missing=(0.3, 0.6),
    mechanisms=("mnar",), imputations=("own", "mean"), shares=(0.1, 0.05), halvings=2,
    mild_targets=80, permutations=10,
)  # fmt: skip


def made_up(config=CONFIG, *, fall=0.3, mild=1.0, shown=0, spoil=None):
    """What measuring would give: both measures fall by `fall` a level; `spoil` moves one cell."""
    place = {cell: at for curve in curves_of(config) for at, cell in enumerate(curve.cells)}
    measured, left = {}, shown
    for trial in CLAIM.trials(config):
        number, cell = trial.parameters["number"], trial.name.rsplit("-", 1)[0]
        value = mild if cell == "mild" else 0.95 - fall * place[cell] + 0.01 * (number % 2)
        if spoil and cell == spoil[0]:
            value = spoil[1] + 0.01 * (number % 2)
        seen, left = (left > 0, left - 1) if trial.parameters["permuted"] else (True, left)
        names = ("f1", "precision", "recall", "rand_index")
        measured[trial.name] = {name: np.asarray(value) for name in names} | {
            "support": np.asarray(int(seen)), "rows": np.asarray(400),
        }  # fmt: skip
    return measured


@pytest.mark.parametrize(
    ("changes", "status", "words"),
    [
        ({}, "holds", "nearest"),
        ({"mild": 0.8}, "violated", "mild"),
        ({"mild": 0.955}, "inconclusive", "targets would decide"),
        ({"shown": 60}, "violated", "permuted"),
        ({"fall": -0.02}, "violated", "rises"),
        ({"fall": 0.0}, "inconclusive", "falls by 0"),
        ({"spoil": ("mnar0.3-mean", 0.99)}, "violated", "mnar, mean"),
        ({"spoil": ("rows200", 0.97)}, "violated", "rows"),
    ],
)
def test_each_part_of_the_statement_can_fail_by_itself(changes, status, words):
    measurements = made_up(**changes)
    verdict = CLAIM.judge(CONFIG, measurements)
    assert verdict.status == status and words in verdict.reason, verdict.reason
    assert set(verdict.error_budget) == {"integrator", "quadrature", "sampling", "floating_point"}
    rows = CLAIM.table(CONFIG, measurements, verdict)
    assert all(row.keys() == rows[0].keys() for row in rows)
    assert len(rows) == 1 + sum(len(curve.cells) for curve in curves_of(CONFIG))


def test_the_interval_of_equal_values_has_a_width():
    verdict = CLAIM.judge(CONFIG, made_up())
    checks = {check["name"]: check for check in verdict.summary["checks"]}
    assert checks["mild"]["half"] > 0.01


def test_bounded_means_are_clopper_and_pearsons_for_zeros_and_ones():
    for ones, count in ((20, 20), (7, 12), (0, 9)):
        values = np.repeat([1.0, 0.0], [ones, count - ones])
        _, low, high = bounded_mean_interval(values)
        np.testing.assert_allclose((low, high), clopper_pearson(ones, count), atol=0.01)
    # Bounds are units: shifted and stretched values have a shifted and stretched interval.
    values = np.array([0.2, 0.5, 0.9])
    plain = np.array(bounded_mean_interval(values))
    moved = bounded_mean_interval(4 * values - 1, bounds=(-1.0, 3.0))
    np.testing.assert_allclose(moved, 4 * plain - 1, atol=1e-12)
    with pytest.raises(ValueError, match="all from 0 to 1"):
        bounded_mean_interval(np.array([1.2]))


def test_bounded_means_cover():
    """Of skewed values near their bound, where Student's interval misses every third time."""
    rng = np.random.default_rng(0)
    values = 1 - 0.4 * (rng.random((400, 25)) < 0.05)
    ends = [bounded_mean_interval(row, draws=2000) for row in values]
    assert np.mean([low <= 0.98 <= high for _, low, high in ends]) >= 0.95


def test_pages_test_keeps_its_level_and_sees_a_trend():
    rng = np.random.default_rng(0)
    for targets in (6, 12):
        # Recoveries are full of equal values, with which the test must be cautious.
        chance = [trend(rng.integers(0, 3, size=(targets, 4)).astype(float)) for _ in range(200)]
        assert np.mean(np.array(chance) < 0.05) < 0.08
        falling = rng.normal(size=(targets, 4)) - 2.0 * np.arange(4)
        assert trend(falling) < 0.01 < 0.9 < trend(falling[:, ::-1])


def test_a_curve_that_rises_between_neighbours_is_violated_though_it_falls_in_all():
    curve = Curve("noise", (0.0, 1.0, 2.0), ("a", "b", "c"))
    move = 0.01 * np.arange(10)[:, None] * [0, 1, -1]
    assert curve_check(curve, "f1", [0.9, 0.7, 0.2] + move, 0.95).status == "holds"
    assert curve_check(curve, "f1", [0.7, 0.9, 0.2] + move, 0.95).status == "violated"
    assert chance_check(0, 20, 0.1, 0.95).status == "inconclusive"


def test_levels_pair_and_classes_have_the_share_that_is_asked():
    clean = spoiled(3, Spoiling(300))
    mild, more = (spoiled(3, Spoiling(300, missing=q, mechanism="mnar")) for q in (0.2, 0.5))
    assert (more.missing >= mild.missing).all() and more.missing.sum() > mild.missing.sum() > 0
    assert (mild.target == clean.target).all()
    filled = spoiled(3, Spoiling(300, missing=0.2, mechanism="mnar", imputation="mean"))
    assert not filled.missing.any()
    noise = [spoiled(3, Spoiling(300, noise=s)).target - clean.target for s in (0.5, 1.0)]
    np.testing.assert_allclose(2 * noise[0], noise[1], atol=1e-12)
    for share in (0.5, 0.1):
        rare = spoiled(3, Spoiling(300, share=share))
        assert rare.rows in (299, 300, 301)
        assert abs(rare.target.mean() - share) < 0.01
    permuted = spoiled(3, Spoiling(300), permuted=True)
    assert sorted(permuted.target) == sorted(clean.target)
    assert not (permuted.target == clean.target).all()


def test_truths_are_computed_once_and_seeds_alternate_their_roots():
    assert composition(4) is composition(4)
    assert len(composition(4)[0].support) == 5


def test_settings():
    assert_settings_are_valid(CLAIM, CONFIG)
    assert len(set(cells_of(CONFIG).values())) == len(cells_of(CONFIG))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("rows", 60),
        ("shares", (0.1,)),
        ("targets", 2),
        ("noise", (2.0, 1.0)),
        ("missing", (0.5, 1.0)),
        ("input_noise", ()),
        ("mechanisms", ("mcar", "mcar")),
        ("imputations", ("guess",)),
        ("shares", (0.1, 0.2)),
        ("shares", (0.001,)),
        ("mild_missing", 1.0),
        ("mild_noise", -0.1),
        ("halvings", 0),
        ("permutations", 0),
        ("confidence", 1.0),
    ],
)
def test_bad_settings_are_refused_by_name(field, value):
    with pytest.raises(ValueError, match=field):
        CLAIM.validate(dataclasses.replace(CONFIG, **{field: value}))


def test_the_picture_has_labels_and_every_curve():
    measurements = made_up()
    figure = CLAIM.draw(CONFIG, measurements, CLAIM.judge(CONFIG, measurements))
    axes = np.array(figure.axes).reshape(2, -1)
    assert all(a.get_xlabel() for a in axes[1]) and all(a.get_ylabel() for a in axes[:, 0])
    assert sum(len(a.containers) for a in axes[0]) == len(curves_of(CONFIG))


def test_one_trial_and_its_control():
    trials = {trial.name: trial for trial in CLAIM.trials(CONFIG)}
    config = dataclasses.replace(CONFIG, first_target=20)
    assert CLAIM.measure(config, trials["clean-target000"])["f1"] > 0.7
    assert CLAIM.measure(CLAIM.control(config), trials["clean-target000"])["f1"] == 0


@pytest.mark.slow
def test_holds_and_its_control_does_not():
    config = dataclasses.replace(
        CONFIG, rows=1000, targets=10, mild_rows=3000, noise=(1.0, 4.0), input_noise=(0.5, 2.0),
        first_target=400,
    )  # fmt: skip
    for setting in (config, CLAIM.control(config)):
        measurements = {t.name: CLAIM.measure(setting, t) for t in CLAIM.trials(setting)}
        assert (CLAIM.judge(setting, measurements).status == "violated") == setting.shuffled
