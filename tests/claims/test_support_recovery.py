"""support-recovery: its verdict on made-up trainings, and a training against its parts."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sparsejax.claims import CLAIMS
from sparsejax.claims.support_recovery import row_of, training_of
from sparsejax.claims.support_recovery_training import RECORDS, train
from sparsejax.targets import staircase

CLAIM = CLAIMS["support-recovery"]
CONFIG = CLAIM.Config(dims=12, order=2, samples=(200,), noise=(0.5,), seeds=12)
SMALL = CLAIM.Config(
    dims=8, order=2, samples=(60,), noise=(0.1,), width=16, batch_size=16, step_size=0.05,
    steps=400, group_strengths=(0.001, 0.02, 5.0), seeds=2,
)  # fmt: skip


def made_up(found=12, errors=None, spread=0.1, config=CONFIG):
    """Norms with a clear gap in the first `found` draws of group lasso; errors of known ratio."""
    usual = {"none": 1.0, "weight_decay": 0.8, "l1": 0.3}
    usual |= {"group_lasso": 0.1, "dual_averaging": 0.1} | (errors or {})
    rng, made = np.random.default_rng(0), {}
    deviations = {}
    for trial in CLAIM.trials(config):
        penalty, number = trial.parameters["penalty"], trial.parameters["number"]
        norms = rng.uniform(1.0, 1.2, size=(RECORDS + 1, config.dims))
        if penalty == "group_lasso" and number < found:
            norms[10:, : config.order] = 5.0
        # The same deviations, up to sign, for all penalties: ratios are spread by twice of it.
        off = deviations.setdefault(number, rng.normal())
        error = usual[penalty] * np.exp((spread if penalty == "group_lasso" else -spread) * off)
        made[trial.name] = {
            "losses": np.ones(RECORDS + 1),
            "error": config.order * np.geomspace(1.0, error, RECORDS + 1),
            "held": np.linspace(1, 0, RECORDS + 1),
            "norms": norms,
            "strength": np.asarray(0.1),
            "errors": np.ones(3),
            "null_norms": rng.uniform(1.0, 1.2, size=config.dims),
        }
    return made


@pytest.mark.parametrize(
    ("made", "status", "said"),
    [
        ({}, "holds", "nearest: "),
        ({"found": 9}, "inconclusive", "found in 9 of 12 draws; underpowered"),
        ({"found": 0}, "violated", "found in 0 of 12 draws"),
        ({"errors": {"weight_decay": 0.05}}, "violated", "weight decay is 0.5"),
        ({"errors": {"none": 0.11}, "spread": 1.0}, "inconclusive", "with no penalty is"),
        ({"errors": {"l1": 0.01}}, "holds", ""),
    ],
)
def test_judges_what_it_says(made, status, said):
    measurements = made_up(**made)
    verdict = CLAIM.judge(CONFIG, measurements)
    assert verdict.status == status and said in verdict.reason, verdict
    assert set(verdict.error_budget) == {
        *("integrator", "quadrature", "sampling", "floating_point"),
    }
    rows = CLAIM.table(CONFIG, measurements, verdict)
    assert len(rows) == 5 and len({tuple(row) for row in rows}) == 1


def test_rows_are_of_the_made_up_numbers():
    measurements = made_up(found=6)
    rows = {row["penalty"]: row for row in CLAIM.cells(CONFIG, measurements)}
    ours = rows["group_lasso"]
    assert ours["exact"][:2] == (6, 12) and ours["f1"][0] >= 0.5
    # From the tenth record on; half of the draws never.
    assert ours["time"][0] == pytest.approx(10 * CONFIG.steps / RECORDS)
    assert rows["none"]["time"][0] == np.inf and rows["none"]["exact"][0] == 0
    assert ours["error"][0] == pytest.approx(0.1, rel=0.2)
    diverged = made_up()
    name = next(n for n in diverged if n.startswith("none"))
    for kept in ("norms", "null_norms", "held", "error"):
        diverged[name][kept] = np.full_like(diverged[name][kept], np.nan)
    assert CLAIM.judge(CONFIG, diverged).status == "not_applicable"


@pytest.mark.slow
def test_a_training_picks_its_strength_and_sees_the_same_draws_as_others():
    key = jax.random.split(jax.random.key(3), 1)
    training = training_of(SMALL, "group_lasso", 60)
    assert training.held_out == 15
    (found,) = train(training, key, 0.1, SMALL.group_strengths)
    # The strongest leaves nothing, and is not chosen; errors of all are kept.
    assert found["strength"] < 5.0 and found["errors"].shape == (3,)
    chosen = SMALL.group_strengths.index(pytest.approx(found["strength"]))
    assert found["errors"][chosen] == found["error"][-1]
    assert found["norms"].shape == (RECORDS + 1, 8)
    # All inputs zero: what is left is the function's value at zero, and the error the variance.
    assert found["errors"][2] == pytest.approx(2.0, rel=0.1)
    assert found["null_norms"].max() < found["norms"][-1].max()
    # The start is that of the network, whatever the noise.
    (other,) = train(training, key, 3.0, SMALL.group_strengths)
    np.testing.assert_array_equal(found["norms"][0], other["norms"][0])
    x, y = staircase(8, 2).sample(jax.random.split(key[0], 6)[3], 2000, jnp.float32)
    assert found["error"][0] == pytest.approx(float(jnp.mean(y**2)), rel=0.05)


@pytest.mark.slow
def test_dual_averaging_leaves_exact_zeros_and_is_sgd_without_a_penalty():
    key = jax.random.split(jax.random.key(3), 1)
    dual = training_of(SMALL, "dual_averaging", 60)
    (found,) = train(dual, key, 0.1, (0.02,))
    assert (found["norms"][-1, 2:] == 0).sum() >= 3 and (found["norms"][-1, :2] > 0).all()
    (free,) = train(dual, key, 0.1, (0.0,))
    (plain,) = train(training_of(SMALL, "none", 60), key, 0.1, (0.0,))
    np.testing.assert_allclose(free["norms"], plain["norms"], rtol=1e-3)


def test_a_bad_config_is_refused():
    for change, said in (
        ({"penalties": ("none", "group_lasso")}, "penalties: none, weight_decay and group_lasso"),
        ({"samples": (60,), "batch_size": 64}, "a quarter is held out, and 45 are left"),
        ({"order": 51}, "order: 1 to half of dims"),
        ({"steps": 50}, "steps: a multiple of 40"),
        ({"noise": (-1.0,)}, "noise: none may be negative"),
        ({"seeds": 1}, "seeds: at least two"),
    ):
        with pytest.raises(ValueError, match=said):
            CLAIM.validate(dataclasses.replace(CLAIM.Config(), **change))
    control = CLAIM.control(CLAIM.Config())
    CLAIM.validate(control)
    assert control.labels == "shuffled"


def test_the_figure_shows_all_cells():
    measurements = made_up()
    figure = CLAIM.draw(CONFIG, measurements, CLAIM.judge(CONFIG, measurements))
    texts = [text.get_text() for legend in figure.legends for text in legend.get_texts()]
    assert {"penalty group lasso", "penalty none", "noise 0.5"} <= set(texts)
    row = row_of(CONFIG, (200, 0.5, "none"), [v for n, v in measurements.items() if "none" in n])
    assert row["name"] == "none-samples200-noise0.5"
