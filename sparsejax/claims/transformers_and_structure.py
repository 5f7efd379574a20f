"""Do small transformers pick up a hierarchy: which synonyms each layer knows, before and after."""

import dataclasses
import math
from collections.abc import Iterator
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from sparsejax import learners
from sparsejax.bounds import Verdict
from sparsejax.claims.batching import together
from sparsejax.claims.claim import Measurements, Trial
from sparsejax.claims.hierarchy_languages import (
    Sentences,
    chance,
    cross_entropy,
    drawn_language,
    language_keys,
    probes_of,
)
from sparsejax.claims.hierarchy_layers import LayerSensitivity, layer_names
from sparsejax.claims.optimisers import adam_of
from sparsejax.claims.statistics import (
    decided,
    lifts_to_place_slope,
    mean_interval,
    with_interval,
    worst_of,
)
from sparsejax.claims.transformers_and_structure_figure import draw_layers
from sparsejax.dynamics import online_ensemble
from sparsejax.targets import HierarchySizes

RECORDS = 20
NetworkName = Literal["mixing", "plain"]


@dataclasses.dataclass(frozen=True)
class TransformersAndStructureConfig:
    """Small transformers on drawn languages."""

    networks: tuple[NetworkName, ...] = ("mixing", "plain")
    """mixing: the lift of a mixing transformer; plain: a transformer through Flax."""
    symbols: int = 6
    """Symbols v; as many classes."""
    synonyms: int = 3
    """Rules m of every symbol."""
    levels: int = 3
    """Levels L; sentences have 2^L symbols."""
    samples_over_p_star: float = 16.0
    """Training samples over P* = n_c m^L; few of all sentences, or networks learn by heart."""
    shuffled: bool = False
    """Whether labels are permuted, so that no structure helps."""
    blocks: int = 2
    """Blocks of attention and perceptron."""
    features: int = 8
    """Features of a stream; of the plain transformer as many times `width` as the lift has."""
    width: int = 4
    """Streams, heads and perceptrons of the lift, all joined; heads of the plain transformer."""
    languages: int = 8
    """Drawn languages; intervals are over them and their runs."""
    runs: int = 2
    """Training sets and networks of each language."""
    steps: int = 2000
    """Minibatch steps of adam."""
    step_size: float = 0.002
    """Step size of adam."""
    batch: int = 64
    """Samples a step, drawn with replacement."""
    tested: int = 400
    """Sentences to test on, which no training set has, and to exchange synonyms in."""
    fall: float = 0.3
    """By how much training lowers the outputs' sensitivity to the lowest synonyms, at least."""
    order: float = 0.05
    """By how much training sets the first block's sensitivity to the lowest synonyms below that to
    the next ones, where structure is built level by level."""
    confidence: float = 0.95
    """Level of the intervals, over runs."""
    seed: int = 0
    """Seed of everything random."""


class TransformersAndStructure:
    """Falls of sensitivities with intervals; two architectures."""

    name = "transformers-and-structure"
    statement = (
        "Training makes the outputs of small transformers blinder to the lowest synonyms of a "
        "hierarchy, and what stands behind their first block to those before the next ones."
    )
    source = (
        "Sensitivities: Cagnetta et al., Phys. Rev. X 2024 (arXiv 2307.02129); transformers and "
        "lifts of them: measured here"
    )
    Config = TransformersAndStructureConfig
    presets = {
        "paper": TransformersAndStructureConfig(
            symbols=8, synonyms=4, levels=3, blocks=3, features=32, width=8, languages=10,
            steps=40_000, step_size=0.001, tested=5000,
        )
    }  # fmt: skip

    def validate(self, config: TransformersAndStructureConfig) -> None:
        """Refuse a bad config before any compute."""
        of = sizes_of(config)
        if config.levels < 2 or config.synonyms < 2:
            raise ValueError(
                "levels, synonyms: two at least, for levels to be told apart; got "
                f"{config.levels}, {config.synonyms}"
            )
        if not config.networks or len(set(config.networks)) < len(config.networks):
            raise ValueError(f"networks: give at least one, each once, got {config.networks}")
        if of.p_star * config.samples_over_p_star < 1:
            raise ValueError("samples_over_p_star: that is less than one sample")
        for field, least in (
            ("blocks", 1), ("features", 1), ("width", 1), ("languages", 2), ("runs", 1),
            ("batch", 1), ("tested", 100),
        ):  # fmt: skip
            if getattr(config, field) < least:
                raise ValueError(f"{field}: at least {least}, got {getattr(config, field)}")
        if config.steps < RECORDS or config.steps % RECORDS:
            raise ValueError(f"steps: a multiple of {RECORDS}, got {config.steps}")
        for field in ("fall", "order", "confidence"):
            if not 0 < getattr(config, field) < 1:
                raise ValueError(f"{field}: must lie in (0, 1), got {getattr(config, field)}")
        if not config.step_size > 0:
            raise ValueError(f"step_size: must be positive, got {config.step_size}")

    def control(self, config: TransformersAndStructureConfig) -> TransformersAndStructureConfig:
        """Permuted labels: they can be learned by heart, and structure does not help."""
        return dataclasses.replace(config, shuffled=True)

    def trials(self, config: TransformersAndStructureConfig) -> list[Trial]:
        """One trial a network and language: all of its runs."""
        return [
            Trial(f"{network}-language{number:02d}", {"network": network, "language": number})
            for network in config.networks
            for number in range(config.languages)
        ]

    def batches(
        self, config: TransformersAndStructureConfig, trials: list[Trial]
    ) -> list[list[Trial]]:
        """One language at a time: they share a program, and take up to a minute each."""
        return together(trials, "network", "language")

    def measure(
        self, config: TransformersAndStructureConfig, trial: Trial
    ) -> dict[str, np.ndarray]:
        """The runs of one language."""
        return _trained(config, trial.parameters["network"], trial.parameters["language"])

    def measure_batch(
        self, config: TransformersAndStructureConfig, trials: list[Trial]
    ) -> Iterator[dict[str, np.ndarray]]:
        """As `measure`, one after another."""
        return (self.measure(config, trial) for trial in trials)

    def judge(self, config: TransformersAndStructureConfig, measurements: Measurements) -> Verdict:
        """Holds where for every network both falls are above what is asked, by their intervals."""
        parts: dict[str, tuple[float, float, float, float]] = {}
        reasons: list[str] = []
        summary: dict[str, Any] = {}
        failed = sum(int(values["failed"].sum()) for values in measurements.values())
        # For all networks and both parts together.
        level = 1 - (1 - config.confidence) / (2 * len(config.networks))
        for network in config.networks:
            found = of_network(config, measurements, network)
            for part, goal in (("fall", config.fall), ("order", config.order)):
                # Runs of one language share its rules: what is independent are the languages.
                by_language = found[part].reshape(config.languages, -1).mean(axis=1)
                interval = mean_interval(by_language, level)
                parts[f"{network}: {part}"] = (*interval, goal)
            fall, order = (parts[f"{network}: {part}"] for part in ("fall", "order"))
            error = float(found["error"][:, -1].mean())
            reasons.append(
                f"{network}: test error {error:.2f} of guessing, the outputs' sensitivity to the "
                f"lowest synonyms falls by {fall[0]:.2f} [{fall[1]:.2f}, {fall[2]:.2f}], "
                f"levels 2 and 1 come {order[0]:.2f} [{order[1]:.2f}, {order[2]:.2f}] apart behind "
                "the first block"
            )
            summary[network] = {
                "error": error,
                "fall": fall[0],
                "order": order[0],
                "before": _by_layer(config, found["before"]),
                "after": _by_layer(config, found["after"]),
            }
        statuses = {
            name: decided(low, high, goal, strictly=True)
            for name, (_, low, high, goal) in parts.items()
        }
        if failed:
            status = "not_applicable"
            reasons.insert(0, f"{failed} runs diverged")
        else:
            status = worst_of(statuses.values())
        # The part that is nearest to its edge, or furthest below it, decides.
        deciding = [part for part in parts if failed or statuses[part] == status]
        name = min(deciding, key=lambda part: parts[part][1] - parts[part][3])
        middle, low, high, goal = parts[name]
        if status == "inconclusive":
            lifts = lifts_to_place_slope(middle, low, high, config.languages, goal)
            needed = f"about {lifts}" if math.isfinite(lifts) else "no number of"
            reasons.append(f"undecided in {name}: {needed} languages would decide")
        budget = {
            "integrator": 0.0,
            "quadrature": 0.0,
            "sampling": (high - low) / 2,
            "floating_point": float(np.finfo(np.float32).eps),
        }
        summary["parts"] = statuses
        return Verdict(status, False, middle - goal, budget, "; ".join(reasons), summary)

    def draw(
        self, config: TransformersAndStructureConfig, measurements: Measurements, verdict: Verdict
    ) -> Figure:
        """Sensitivities by layer before and after, a row a network, and along training."""
        found = {str(name): of_network(config, measurements, name) for name in config.networks}
        return draw_layers(config, found, verdict)

    def table(
        self, config: TransformersAndStructureConfig, measurements: Measurements, verdict: Verdict
    ) -> list[dict[str, Any]]:
        """One row a network, layer and level."""
        rows = []
        for network in config.networks:
            found = of_network(config, measurements, network)
            for place, layer in enumerate(layer_names(config.blocks)):
                for lower in range(config.levels):
                    row: dict[str, Any] = {"network": network, "layer": layer, "level": lower + 1}
                    for when in ("before", "after"):
                        values = found[when][:, place, lower]
                        middle, low, high = mean_interval(values, config.confidence)
                        row[when] = with_interval(middle, low, high, digits=".2f")
                    rows.append(row)
        return rows


def sizes_of(config: TransformersAndStructureConfig) -> HierarchySizes:
    """The sizes of the languages."""
    return HierarchySizes(config.symbols, config.synonyms, config.levels)


def of_network(
    config: TransformersAndStructureConfig, measurements: Measurements, network: str
) -> dict[str, np.ndarray]:
    """What was measured of one network, runs of all languages first."""
    rows = [measurements[f"{network}-language{number:02d}"] for number in range(config.languages)]
    found = {key: np.concatenate([row[key] for row in rows]) for key in ("error", "sensitivity")}
    found["error"] = found["error"] / chance(sizes_of(config))
    before, after = found["sensitivity"][:, 0], found["sensitivity"][:, -1]
    first = layer_names(config.blocks).index("stream1")
    apart = (after - before)[:, first]
    return found | {
        "steps": rows[0]["steps"],
        "before": before,
        "after": after,
        "fall": (before - after)[:, -1, 0],
        "order": apart[:, 1] - apart[:, 0],
    }


def network_of(config: TransformersAndStructureConfig, name: str) -> learners.Learner:
    """The architecture of that name."""
    tokens = 2**config.levels
    if name == "mixing":
        return learners.mixing_transformer(
            tokens,
            config.features,
            config.blocks,
            config.width,
            inputs=config.symbols,
            outputs=config.symbols,
        )
    return learners.plain_transformer(
        tokens,
        config.features * config.width,
        config.blocks,
        heads=config.width,
        inputs=config.symbols,
        outputs=config.symbols,
    )


def _trained(
    config: TransformersAndStructureConfig, network: str, number: int
) -> dict[str, np.ndarray]:
    of = sizes_of(config)
    rules_key, test_key, runs_key = language_keys(config.seed, number)
    rules = drawn_language(rules_key, of)
    error, synonyms = probes_of(rules, test_key, config.tested)
    samples = round(config.samples_over_p_star * of.p_star)
    stream = Sentences(rules, jnp.asarray(samples), samples, config.batch, config.shuffled)
    runs = online_ensemble(
        network_of(config, network).build,
        stream,
        adam_of(config.step_size),
        config.steps,
        jax.random.split(runs_key, config.runs),
        loss=cross_entropy,
        probes={"error": error, "layers": LayerSensitivity(synonyms)},
        record_every=config.steps // RECORDS,
        dtype="float32",
    )
    return {
        "error": np.asarray(runs.probes["error"]),
        "sensitivity": np.asarray(runs.probes["layers"]),
        "losses": np.asarray(runs.losses),
        "steps": np.asarray(runs.steps),
        "failed": runs.failed,
    }


def _by_layer(config: TransformersAndStructureConfig, values: np.ndarray) -> dict[str, Any]:
    means = values.mean(axis=0)
    return dict(zip(layer_names(config.blocks), means.tolist(), strict=True))


CLAIM = TransformersAndStructure()
