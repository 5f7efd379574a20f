"""How many samples a random hierarchy takes: deep networks by P*, shallow ones more."""

import dataclasses
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
from sparsejax.claims.optimisers import adam_of
from sparsejax.claims.random_hierarchy_curves import (
    DEEP,
    SHALLOW,
    curves,
    ladder,
    named,
    settings,
    summarised,
)
from sparsejax.claims.random_hierarchy_figure import draw_hierarchies
from sparsejax.claims.statistics import decided, worst_of
from sparsejax.dynamics import online_ensemble
from sparsejax.targets import HierarchySizes, tuple_correlation, tuple_crossing

RECORD_EVERY = 100
# Lanes end early at this share of the level: what is left of the error is then the less.
ENOUGH = 0.25


@dataclasses.dataclass(frozen=True)
class RandomHierarchyConfig:
    """Networks of two depths on drawn languages of several sizes, over numbers of samples."""

    symbols: tuple[int, ...] = (4, 6, 8, 4)
    """Symbols v of each setting; as many classes. One number a setting, as in the next two."""
    synonyms: tuple[int, ...] = (2, 3, 4, 2)
    """Rules m of every symbol."""
    levels: tuple[int, ...] = (3, 3, 3, 4)
    """Levels L; sentences have 2^L symbols. There are m^(2^L - 1 - L) times P* of them: at two
    levels only m times, and a network that has seen most of them needs no rule."""
    samples_over_p_star: tuple[float, ...] = (0.25, 0.5, 1.0, 2.0, 4.0, 8.0)
    """Training samples, over P* = n_c m^L."""
    scale: Literal["p_star", "p_max"] = "p_star"
    """What samples are measured in: P* as the claim says, or the number of all sentences."""
    shuffled: bool = False
    """Whether labels are permuted, so that there is nothing to learn."""
    width: int = 48
    """Channels of the deep network; the shallow one has as many parameters."""
    languages: int = 8
    """Drawn languages of each setting; intervals are over them and their runs."""
    runs: int = 2
    """Training sets and networks of each language."""
    steps: int = 2000
    """Minibatch steps of adam; a run ends where its test error is a quarter of the level."""
    step_size: float = 0.003
    """Step size of adam."""
    batch: int = 64
    """Samples a step, drawn with replacement."""
    tested: int = 1000
    """Sentences to test on, which no training set has, and to exchange synonyms in."""
    level: float = 0.1
    """Learned: a test error of this share of that of guessing."""
    tolerance: float = 0.5
    """Curves collapse where this share of their distance is left, or less."""
    exponent_tolerance: float = 0.35
    """By how much the exponent of the samples to the level against the scale may be off one."""
    confidence: float = 0.95
    """Level of the intervals, over runs."""
    seed: int = 0
    """Seed of everything random."""


class RandomHierarchyClaim:
    """Collapse, exponent, the gap between depths, and synonyms, each with an interval."""

    name = "random-hierarchy"
    statement = (
        "Deep networks of a random hierarchy's shape learn its labels from a number of samples of "
        "order P* = n_c m^L, at which they become blind to synonyms; shallow ones of as many "
        "parameters need more."
    )
    source = "Cagnetta, Petrini, Tomasini, Favero, Wyart, Phys. Rev. X 2024 (arXiv 2307.02129)"
    Config = RandomHierarchyConfig
    presets = {
        "paper": RandomHierarchyConfig(
            symbols=(8, 10, 16, 8, 8, 8, 12),
            synonyms=(6, 8, 8, 2, 3, 4, 4),
            levels=(2, 2, 2, 3, 3, 3, 3),
            samples_over_p_star=(0.25, 0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0),
            width=256,
            languages=10,
            steps=20_000,
            step_size=0.001,
            tested=10_000,
        )
    }

    def validate(self, config: RandomHierarchyConfig) -> None:
        """Refuse a bad config before any compute."""
        count = len(config.symbols)
        if count < 2 or not count == len(config.synonyms) == len(config.levels):
            raise ValueError(
                "symbols, synonyms, levels: give as many of each, two settings at least; got "
                f"{count}, {len(config.synonyms)}, {len(config.levels)}"
            )
        sizes = settings(config)
        if min(config.synonyms) < 2 or min(config.levels) < 2:
            raise ValueError(
                "synonyms, levels: two at least, for synonyms to be learned and depth to matter; "
                f"got {config.synonyms}, {config.levels}"
            )
        if len(set(sizes)) < count or len({of.p_star for of in sizes}) < 2:
            raise ValueError("settings: each once, and with two different P* at least")
        shares = config.samples_over_p_star
        if len(shares) < 3 or list(shares) != sorted(set(shares)) or not shares[0] > 0:
            raise ValueError(
                f"samples_over_p_star: three at least, positive and increasing, got {shares}"
            )
        if min(of.p_star for of in sizes) * shares[0] < 1:
            raise ValueError(f"samples_over_p_star: {shares[0]:g} P* is less than one sample")
        for scales in ([1] * count, [getattr(of, config.scale) for of in sizes]):
            ends = [
                (ladder(config, of)[0] / scale, ladder(config, of)[-1] / scale)
                for of, scale in zip(sizes, scales, strict=True)
            ]
            if max(first for first, _ in ends) >= min(last for _, last in ends):
                raise ValueError(
                    "samples_over_p_star: settings have no number of samples in common, plain or "
                    f"over {config.scale}; extend it, or take settings that are nearer"
                )
        for field, least in (
            ("languages", 2), ("runs", 1), ("width", 1), ("batch", 1), ("tested", 100),
        ):  # fmt: skip
            if getattr(config, field) < least:
                raise ValueError(f"{field}: at least {least}, got {getattr(config, field)}")
        if config.steps < RECORD_EVERY or config.steps % RECORD_EVERY:
            raise ValueError(f"steps: a multiple of {RECORD_EVERY}, got {config.steps}")
        for field in ("level", "tolerance", "confidence"):
            if not 0 < getattr(config, field) < 1:
                raise ValueError(f"{field}: must lie in (0, 1), got {getattr(config, field)}")
        for field in ("step_size", "exponent_tolerance"):
            if not getattr(config, field) > 0:
                raise ValueError(f"{field}: must be positive, got {getattr(config, field)}")

    def control(self, config: RandomHierarchyConfig) -> RandomHierarchyConfig:
        """Samples over the number of all sentences, by which curves do not collapse.

        That is far from close, and a few languages show it; of two settings, since the others have
        no number of samples in common once they are divided by so different scales.
        """
        sizes = settings(config)
        ranked = sorted(range(len(sizes)), key=lambda k: sizes[k].p_max / sizes[k].p_star)
        near = sorted(ranked[:2])
        return dataclasses.replace(
            config,
            scale="p_max",
            symbols=tuple(config.symbols[k] for k in near),
            synonyms=tuple(config.synonyms[k] for k in near),
            levels=tuple(config.levels[k] for k in near),
            languages=min(config.languages, 4),
        )

    def trials(self, config: RandomHierarchyConfig) -> list[Trial]:
        """One trial a setting, depth, number of samples and language: all of its runs."""
        return [
            Trial(
                f"{named(of)}-{depth}-p{samples:06d}-language{number:02d}",
                {"setting": place, "depth": depth, "samples": samples, "language": number},
            )
            for place, of in enumerate(settings(config))
            for depth in (DEEP, SHALLOW)
            for samples in ladder(config, of)
            for number in range(config.languages)
        ]

    def batches(self, config: RandomHierarchyConfig, trials: list[Trial]) -> list[list[Trial]]:
        """The languages of one setting, depth and number of samples: seconds to a minute."""
        return together(trials, "setting", "depth", "samples")

    def measure(self, config: RandomHierarchyConfig, trial: Trial) -> dict[str, np.ndarray]:
        """One language by itself."""
        return next(iter(self.measure_batch(config, [trial])))

    def measure_batch(
        self, config: RandomHierarchyConfig, trials: list[Trial]
    ) -> Iterator[dict[str, np.ndarray]]:
        """Train on each language; programs are the same for all samples and languages."""
        for trial in trials:
            given = trial.parameters
            of = settings(config)[given["setting"]]
            yield _trained(config, of, given["depth"], given["samples"], given["language"])

    def judge(self, config: RandomHierarchyConfig, measurements: Measurements) -> Verdict:
        """Holds where all four parts do; the collapse has the margin."""
        found = summarised(config, measurements)
        fell, exponent = found["collapse"], found["exponent"]
        gap, fall = found["gap"], found["fall"]
        parts = {
            "collapse": {"consistent": "holds", "refuted": "violated"}.get(
                fell.status, "inconclusive"
            ),
            "exponent": {"consistent": "holds", "refuted": "violated"}.get(
                exponent.status, "inconclusive"
            ),
            "depth": decided(gap[1], gap[2], strictly=True),
            "synonyms": decided(fall[1], fall[2], 0.5, strictly=True),
        }
        if found["failed"]:
            status = "not_applicable"
        else:
            status = worst_of(parts.values())
        scale = {"p_star": "P*", "p_max": "P_max"}[config.scale]
        reason = (
            f"over P / {scale}, {fell.reason}; samples to {config.level:g} of chance against "
            f"{scale}: {exponent.reason}; shallow minus deep error, at equal P, over chance: "
            f"{gap[0]:.2f} [{gap[1]:.2f}, {gap[2]:.2f}]; sensitivity to the lowest synonyms falls "
            f"by {fall[0]:.2f} [{fall[1]:.2f}, {fall[2]:.2f}] over the ladder, which goes up to "
            f"{found['overlap']:.2g} of all sentences of a setting"
        )
        if found["failed"]:
            reason = f"{found['failed']} runs diverged; " + reason
        summary = {
            "parts": parts,
            "left": fell.left,
            "exponent": exponent.slope,
            "samples_to_level_over_p_star": found["ratios"],
            "shallow_samples_to_level_over_p_star": found["shallow_ratios"],
            "half_sensitivity_over_p_star": found["sensitivity_ratios"],
            "correlation_crossing_over_p_star": found["crossings"],
            "largest_share_of_all_sentences": found["overlap"],
        }
        # Test errors are means over finitely many sentences: of a curve's distance to the others.
        rounding = float(np.finfo(np.float32).eps)
        budget = {
            "integrator": 0.0,
            "quadrature": 0.0,
            "sampling": (fell.high - fell.low) / 2,
            "floating_point": rounding,
        }
        return Verdict(status, False, config.tolerance - fell.left, budget, reason, summary)

    def draw(
        self, config: RandomHierarchyConfig, measurements: Measurements, verdict: Verdict
    ) -> Figure:
        """Errors over P and over the scale, sensitivities, and samples to the level."""
        return draw_hierarchies(config, curves(config, measurements), verdict)

    def table(
        self, config: RandomHierarchyConfig, measurements: Measurements, verdict: Verdict
    ) -> list[dict[str, Any]]:
        """One row a setting."""
        rows = []
        for name, found in curves(config, measurements).items():
            level = config.level

            def said(times: np.ndarray, p_star: int) -> str:
                middle = np.median(times) / p_star
                return f"{middle:.3g} ({np.isfinite(times).sum()}/{len(times)})"

            rows.append(
                {
                    "setting": name,
                    "P*": found["p_star"],
                    "P_max": found["p_max"],
                    "correlation crosses at / P*": float(np.median(found["crossing"])),
                    f"deep: P to {level:g} of chance / P*": said(
                        found["times"][DEEP], found["p_star"]
                    ),
                    "shallow": said(found["times"][SHALLOW], found["p_star"]),
                    "sensitivity 1/2 at / P*": said(found["half"], found["p_star"]),
                    "shallow - deep error / chance": float(found["gap"].mean()),
                }
            )
        return rows


def network(config: RandomHierarchyConfig, of: HierarchySizes, depth: str) -> learners.Learner:
    """The deep network of the hierarchy's shape, or a shallow one of as many parameters."""
    deep = learners.tree_cnn(
        of.branching, of.levels, of.symbols, config.width, outputs=of.n_classes
    )
    return deep if depth == DEEP else learners.shallow_mlp(deep)


def _trained(
    config: RandomHierarchyConfig, of: HierarchySizes, depth: str, samples: int, number: int
) -> dict[str, np.ndarray]:
    rules_key, test_key, runs_key = language_keys(config.seed, number)
    rules = drawn_language(rules_key, of)
    error, synonyms = probes_of(rules, test_key, config.tested)
    stream = Sentences(
        rules, jnp.asarray(samples), ladder(config, of)[-1], config.batch, config.shuffled
    )
    runs = online_ensemble(
        network(config, of, depth).build,
        stream,
        adam_of(config.step_size),
        config.steps,
        jax.random.split(runs_key, config.runs),
        loss=cross_entropy,
        probes={"error": error, "synonyms": synonyms},
        record_every=RECORD_EVERY,
        dtype="float32",
        reach={"learned": ("error", ENOUGH * config.level * chance(of), "below")},
    )
    last = np.asarray(runs.steps_run) // RECORD_EVERY
    lanes = np.arange(config.runs)
    curve, sensitivity = (np.asarray(runs.probes[name]) for name in ("error", "synonyms"))
    return {
        "error": curve[lanes, last],
        "sensitivity": sensitivity[lanes, last],
        "first_sensitivity": sensitivity[:, 0],
        "loss": np.asarray(runs.losses)[lanes, last],
        "steps": np.asarray(runs.steps_run),
        "failed": runs.failed,
        "crossing": np.asarray(tuple_crossing(rules)),
        "correlation": np.asarray(tuple_correlation(rules)),
    }


CLAIM = RandomHierarchyClaim()
