"""transformers-and-structure: the layers that are read, its verdict on made-up sensitivities."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from sparsejax import learners
from sparsejax.claims import CLAIMS
from sparsejax.claims.hierarchy_layers import layer_names, streams

from .any_claim import assert_settings_are_valid

BUDGET = {"integrator", "quadrature", "sampling", "floating_point"}
CLAIM = CLAIMS["transformers-and-structure"]
CONFIG = CLAIM.Config()


def made_up(config=CONFIG, fall=0.8, order=0.4, spread=0.05, failed=False):
    """Sensitivities that fall linearly in training, by so much."""
    rng, found = np.random.default_rng(0), {}
    layers = layer_names(config.blocks)
    for network in config.networks:
        noise = rng.normal(size=(config.languages, config.runs, 1))
        # Means are exact.
        factors = 1 + spread * (noise - noise.mean())
        for number in range(config.languages):
            values = np.ones((config.runs, 21, len(layers), config.levels))
            time = np.linspace(0, 1, 21)[None, :] * factors[number]
            values[:, :, -1, :] -= fall * time[..., None]
            values[:, :, layers.index("stream1"), 0] -= order * time
            found[f"{network}-language{number:02d}"] = {
                "error": (1 - 1 / config.symbols) * (1 - 0.9 * np.clip(time, 0, 1)),
                "sensitivity": values,
                "steps": np.arange(21) * 100,
                "failed": np.full(config.runs, failed),
            }
    return found


@pytest.mark.parametrize(
    "made, status",
    [
        ({}, "holds"),
        ({"fall": 0.1}, "violated"),
        ({"order": -0.1}, "violated"),
        ({"order": 0.06, "spread": 1.0, "fall": 1.5}, "inconclusive"),
        ({"fall": 0.0, "order": 0.0}, "violated"),
        ({"failed": True}, "not_applicable"),
    ],
)
def test_judges_what_it_says(made, status):
    verdict = CLAIM.judge(CONFIG, made_up(**made))
    assert verdict.status == status, verdict
    assert set(verdict.error_budget) == BUDGET
    assert ("languages would decide" in verdict.reason) == (status == "inconclusive")
    if status == "holds":
        assert verdict.margin > verdict.total_error


def test_figure_and_table():
    found = made_up()
    verdict = CLAIM.judge(CONFIG, found)
    figure = CLAIM.draw(CONFIG, found, verdict)
    assert all(axes.get_xlabel() and axes.get_ylabel() for axes in figure.axes)
    rows = CLAIM.table(CONFIG, found, verdict)
    assert len(rows) == 2 * len(layer_names(CONFIG.blocks)) * CONFIG.levels
    assert rows[-1]["layer"] == "y" and rows[-1]["before"].startswith("1.00")


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mixing", "plain"])
def test_streams_lead_to_the_outputs(name):
    if name == "mixing":
        learner = learners.mixing_transformer(4, 3, 2, 2, inputs=3, outputs=5)
    else:
        pytest.importorskip("flax")
        learner = learners.plain_transformer(4, 6, 2, inputs=3, outputs=5)
    f, params = learner.build(jax.random.key(0))
    x = jax.random.normal(jax.random.key(1), (7, 12))
    found = streams(f, params, x)
    assert list(found) == layer_names(2)
    np.testing.assert_allclose(found["y"], f(params, x), rtol=1e-12)
    # The outputs are an affine function of the last stream, and of nothing else.
    last = np.asarray(found["stream2"]).reshape(7, -1)
    assert last.shape[1] == 6
    many = jax.random.normal(jax.random.key(2), (40, 12))
    rows = streams(f, params, many)
    design = np.concatenate([np.asarray(rows["stream2"]).reshape(40, -1), np.ones((40, 1))], axis=1)
    fitted, *_ = np.linalg.lstsq(design, np.asarray(rows["y"]), rcond=None)
    np.testing.assert_allclose(design @ fitted, rows["y"], atol=1e-10)


def test_other_functions_have_no_streams():
    f, params = learners.two_layer(4, 3).build(jax.random.key(0))
    with pytest.raises(TypeError, match="TwoLayerFunction"):
        streams(f, params, jnp.ones((2, 4)))


@pytest.mark.parametrize(
    "change, said",
    [
        ({"levels": 1}, "two at least"),
        ({"networks": ()}, "networks: give at least one"),
        ({"samples_over_p_star": 0.001}, "less than one sample"),
        ({"languages": 1}, "languages: at least 2"),
        ({"steps": 30}, "a multiple of 20"),
        ({"fall": 0.0}, "fall: must lie"),
        ({"step_size": 0.0}, "step_size: must be positive"),
    ],
)
def test_bad_settings_are_refused(change, said):
    with pytest.raises(ValueError, match=said):
        CLAIM.validate(dataclasses.replace(CONFIG, **change))


def test_defaults_control_and_preset_are_valid():
    assert_settings_are_valid(CLAIM)
    assert CLAIM.control(CONFIG).shuffled


@pytest.mark.slow
def test_small_transformers_are_measured():
    config = CLAIM.Config(
        networks=("mixing",), symbols=3, synonyms=2, samples_over_p_star=8.0, blocks=1,
        levels=2, features=4, width=2, languages=2,
        steps=40, tested=100,
    )  # fmt: skip
    CLAIM.validate(config)
    with jax.numpy_dtype_promotion("standard"):  # optax's Adam mixes dtypes
        found = {trial.name: CLAIM.measure(config, trial) for trial in CLAIM.trials(config)}
    one = found["mixing-language00"]
    assert one["sensitivity"].shape == (2, 21, 4, 2) and (one["losses"][:, -1] > 0).all()
    verdict = CLAIM.judge(config, found)
    assert CLAIM.draw(config, found, verdict).axes and CLAIM.table(config, found, verdict)
