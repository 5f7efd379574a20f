"""Does plain SGD find the constituents of its target, without architecture or penalty?"""

import dataclasses
import math
from collections.abc import Iterator
from typing import Any, ClassVar, Literal

import jax
import jax.numpy as jnp
import numpy as np
import optax
from matplotlib.figure import Figure

from sparsejax import learners
from sparsejax.bounds import Verdict
from sparsejax.claims.batching import lane_keys, together
from sparsejax.claims.claim import Measurements, Trial
from sparsejax.claims.online_claim import failed_runs
from sparsejax.claims.optimisers import sgd_of
from sparsejax.claims.sgd_alone_figure import draw_answers
from sparsejax.claims.sgd_alone_networks import (
    LEARNERS,
    TARGETS,
    Look,
    NoisySample,
    learner_of,
    looked,
    target_of,
    untrained,
)
from sparsejax.claims.statistics import (
    clopper_pearson,
    decided,
    lifts_to_place_proportion,
    mean_interval,
    underpowered,
    with_interval,
    worst_of,
)
from sparsejax.dynamics import finite, fresh, online_ensemble

FRESH = 0  # the number of samples that stands for new ones in every step
PLAIN, UNTRAINED = "none", "untrained"
RECORDS = 40
_EVALUATION_KEY, _UNTRAINED_KEY = 2**31 + 5, 2**31 + 6


@dataclasses.dataclass(frozen=True)
class SgdAloneConfig:
    """SGD on compositional targets, plain and with a penalty on input columns."""

    dims: int = 30
    """Coordinates, uniform on the cube; targets read a few of them."""
    targets: tuple[str, ...] = ("sums", "tree")
    """staircase (x1 + x1x2 + x1x2x3), sums (x1x2 + x3x4), tree (x1 and x2, or x3 and x4), tree8 (a
    tree of and, or, and, on eight coordinates)."""
    learners: tuple[str, ...] = LEARNERS
    """Networks that know nothing of the target: two-layer, mlp (two hidden layers)."""
    penalties: tuple[str, ...] = (PLAIN, "group_lasso")
    """none decides; those beside it are measured with it: l1, group_lasso, weight_decay."""
    strength: float = 0.001
    """Strength of the penalties."""
    samples: tuple[int, ...] = (FRESH, 400)
    """Number of samples that are drawn once; 0: fresh ones in every step. The first decides."""
    noise: float = 0.5
    """Standard deviation of Gaussian noise on the labels where samples are drawn once."""
    labels: Literal["true", "shuffled"] = "true"
    """shuffled: each input has the label of another one, so that there is nothing to find."""
    width: int = 64
    """Units of a hidden layer."""
    batch_size: int = 64
    """Samples a step."""
    step_size: float = 0.05
    """Of SGD, in flow time."""
    steps: int = 3000
    """Steps of every run."""
    delta: float = 0.25
    """The constituents count as found where a run finds them with probability 1 - delta or more."""
    seeds: int = 14
    """Runs of each condition."""
    confidence: float = 0.95
    """Level of the intervals, each by itself."""
    seed: int = 0
    """Seed of everything random."""


class SgdAlone:
    """Two questions to every trained network: has it found the support, and the constituents?

    The support is found where each of its coordinates has a larger share of the average gradient
    outer product than any other. Constituents are found where hidden units read single ones: the
    purity of a grouping of the support is the share of a unit's squared weights in its best group,
    averaged over units; the true grouping must be the purest of all of its shape.
    """

    name = "sgd-alone"
    statement = (
        "Plain SGD, without a matched architecture or a penalty, finds the constituents of "
        "compositional targets with probability at least 1 - delta: first the support, and then "
        "hidden units that read single constituents."
    )
    source = (
        "asked as an open question by Danhofer, D'Ascenzo, Dubach, Poggio, ICML 2025 "
        "(arXiv 2507.02550); measured here"
    )
    Config = SgdAloneConfig
    presets: ClassVar[dict[str, SgdAloneConfig]] = {
        "paper": SgdAloneConfig(
            dims=100,
            targets=TARGETS,
            penalties=(PLAIN, "l1", "group_lasso", "weight_decay"),
            samples=(FRESH, 300, 3000),
            width=512,
            steps=40_000,
            seeds=50,
        )
    }

    def validate(self, config: SgdAloneConfig) -> None:
        """Refuse a bad config before any compute."""
        for field, known in (
            ("targets", TARGETS),
            ("learners", LEARNERS),
            ("penalties", learners.PENALTIES),
        ):
            chosen = getattr(config, field)
            if not chosen or len(set(chosen)) < len(chosen) or not set(chosen) <= set(known):
                raise ValueError(
                    f"{field}: give at least one of {', '.join(known)}, each once; got {chosen}"
                )
        if PLAIN not in config.penalties:
            raise ValueError("penalties: none must be among them, since it decides")
        for samples in config.samples:
            if samples != FRESH and samples < config.batch_size:
                raise ValueError(
                    f"samples: {samples} are fewer than a batch of {config.batch_size}; 0 is fresh"
                )
        if not config.samples or len(set(config.samples)) < len(config.samples):
            raise ValueError(f"samples: give at least one number, each once, got {config.samples}")
        if config.labels not in ("true", "shuffled"):
            raise ValueError(f"labels: true or shuffled, not {config.labels!r}")
        if config.dims < 10:
            raise ValueError(f"dims: at least 10, so that most are irrelevant; got {config.dims}")
        if config.steps < RECORDS or config.steps % RECORDS:
            raise ValueError(f"steps: a multiple of {RECORDS}, got {config.steps}")
        if config.seeds < 2:
            raise ValueError(f"seeds: at least two for an interval, got {config.seeds}")
        for field in ("width", "batch_size", "step_size"):
            if not 0 < getattr(config, field) < math.inf:
                raise ValueError(f"{field}: must be positive, got {getattr(config, field)}")
        for field in ("strength", "noise"):
            if not 0 <= getattr(config, field) < math.inf:
                raise ValueError(f"{field}: must not be negative, got {getattr(config, field)}")
        for field in ("delta", "confidence"):
            if not 0 < getattr(config, field) < 1:
                raise ValueError(f"{field}: must lie in (0, 1), got {getattr(config, field)}")

    def control(self, config: SgdAloneConfig) -> SgdAloneConfig:
        """Labels of other samples: a target of the same law with nothing to find."""
        return dataclasses.replace(config, labels="shuffled", penalties=(PLAIN,))

    def trials(self, config: SgdAloneConfig) -> list[Trial]:
        """One trial a target, learner, penalty, number of samples and seed; untrained ones too."""
        found = []
        for target in config.targets:
            for learner in config.learners:
                conditions = [(UNTRAINED, FRESH)]
                conditions += [(p, n) for n in config.samples for p in config.penalties]
                for penalty, samples in conditions:
                    for number in range(config.seeds):
                        parameters = {
                            "target": target,
                            "learner": learner,
                            "penalty": penalty,
                            "samples": samples,
                            "number": number,
                        }
                        found.append(Trial(f"{_cell(parameters)}-seed{number:03d}", parameters))
        return found

    def batches(self, config: SgdAloneConfig, trials: list[Trial]) -> list[list[Trial]]:
        """The seeds of one condition: one compiled program."""
        return together(trials, "target", "learner", "penalty", "samples")

    def measure_batch(
        self, config: SgdAloneConfig, trials: list[Trial]
    ) -> Iterator[dict[str, np.ndarray]]:
        """Train, or leave untrained, and look at what the networks read."""
        given = trials[0].parameters
        target = target_of(given["target"], config.dims)
        learner = learner_of(given["learner"], config.dims, config.width)
        base = jax.random.fold_in(jax.random.key(config.seed), TARGETS.index(given["target"]))
        base = jax.random.fold_in(base, LEARNERS.index(given["learner"]))
        if given["penalty"] == UNTRAINED:
            base = jax.random.fold_in(base, _UNTRAINED_KEY)
        numbers = [trial.parameters["number"] for trial in trials]
        keys = lane_keys(base, numbers)
        evaluation = jax.random.fold_in(jax.random.key(config.seed), _EVALUATION_KEY)
        look = Look.at(evaluation, target, learner)
        if given["penalty"] == UNTRAINED:
            f, params = untrained(learner, keys)
            seen = looked(look, f, params)
            count = len(trials)
            curves, steps = np.full((count, 1), np.nan), np.zeros(1, int)
            status = np.full(count, UNTRAINED)
        else:
            runs = self.runs(config, given, target, learner, keys)
            seen = looked(look, runs.f, runs.params)
            curves, steps = np.asarray(runs.losses, float), np.asarray(runs.steps)
            status = runs.status
        for lane in range(len(trials)):
            yield {
                **{name: np.asarray(value[lane]) for name, value in seen.items()},
                "losses": curves[lane],
                "steps": steps,
                "status": np.asarray(str(status[lane])),
            }

    def runs(self, config: SgdAloneConfig, given: dict[str, Any], target, learner, keys):
        """The ensemble of one condition."""
        few = given["samples"]
        sample = NoisySample(target, config.noise if few else 0.0, config.labels == "shuffled")
        stream = (
            finite(sample, few, config.batch_size, jnp.float32)
            if few
            else fresh(sample, config.batch_size, jnp.float32)
        )
        optimizer = optax.chain(
            sgd_of(config.step_size),
            learners.penalty(given["penalty"], learner, config.strength, config.step_size),
        )
        return online_ensemble(
            learner.build,
            stream,
            optimizer,
            config.steps,
            keys,
            record_every=config.steps // RECORDS,
            dtype=jnp.float32,
        )

    def measure(self, config: SgdAloneConfig, trial: Trial) -> dict[str, np.ndarray]:
        """One network by itself."""
        return next(iter(self.measure_batch(config, [trial])))

    def judge(self, config: SgdAloneConfig, measurements: Measurements) -> Verdict:
        """Holds where every plain cell finds support and constituents often enough."""
        goal = 1 - config.delta
        rows = self.cells(config, measurements)
        asked = [
            (row, question)
            for row in rows
            if row["penalty"] == PLAIN and row["samples"] == config.samples[0]
            for question in ("support", "constituents")
            if row[question] is not None
        ]
        # That all hold needs no correction; that one of several fails does.
        corrected = 1 - (1 - config.confidence) / max(len(asked), 1)
        statuses = []
        for row, question in asked:
            count, seeds, low, _ = row[question]
            statuses.append(decided(low, clopper_pearson(count, seeds, corrected)[1], goal))
        status = worst_of(statuses)
        deciding = [case for case, s in zip(asked, statuses, strict=True) if s == status]
        row, question = min(deciding, key=lambda case: case[0][case[1]][0] / case[0][case[1]][1])
        count, seeds, low, high = row[question]
        fraction = count / seeds
        said = "; ".join(
            f"{r['target']}, {r['learner']}: {q} in {r[q][0]} of {r[q][1]}" for r, q in deciding
        )
        within = f"within {config.steps} steps"
        said = {
            "holds": f"found {within}: ",
            "violated": f"not found often enough {within}: ",
            "inconclusive": f"undecided {within}: ",
        }[status] + said
        if status == "violated":
            kept = [case for case, s in zip(asked, statuses, strict=True) if s == "holds"]
            if kept:
                said += "; found: " + "; ".join(
                    f"{r['target']}, {r['learner']}: {q}" for r, q in kept
                )
        if status == "inconclusive":
            needed = lifts_to_place_proportion(fraction, goal, config.confidence)
            said += "; " + underpowered(needed, seeds).replace("lifts", "seeds")
        diverged = failed_runs(measurements)
        if diverged:
            status, said = "not_applicable", f"{len(diverged)} runs diverged: lower the step size"
        budget = {
            "integrator": 0.0,  # SGD itself is the subject
            "quadrature": 0.0,  # all signs of the support are gone through
            "sampling": fraction - low if fraction >= goal else high - fraction,
            "floating_point": 0.0,
        }
        summary = {
            question: {
                _cell(r): [float(v) for v in (r[question][0] / r[question][1], *r[question][2:])]
                for r in rows
                if r[question] is not None
            }
            for question in ("support", "constituents")
        }
        summary["excess_purity"] = {_cell(r): list(r["excess"]) for r in rows if r["excess"]}
        summary["support_share"] = {_cell(r): list(r["share"]) for r in rows}
        return Verdict(status, False, fraction - goal, budget, said, summary)

    def cells(self, config: SgdAloneConfig, measurements: Measurements) -> list[dict[str, Any]]:
        """What figure and table show of each condition; counts with exact intervals."""
        groups: dict[tuple, list[dict[str, np.ndarray]]] = {}
        for trial in self.trials(config):
            if trial.name in measurements:
                p = trial.parameters
                key = (p["target"], p["learner"], p["penalty"], p["samples"])
                groups.setdefault(key, []).append(measurements[trial.name])
        rows = []
        for (name, learner, penalty, samples), found in groups.items():
            target = target_of(name, config.dims)
            support = np.array(target.support) - 1
            shares = np.stack([v["shares"] for v in found])
            inside = shares[:, support]
            outside = np.delete(shares, support, axis=1)
            hits = (inside.min(axis=1) > outside.max(axis=1)).sum()
            purity = np.stack([v["purities"] for v in found])
            grouped = purity.shape[1] > 1
            best = (purity[:, :1] > purity[:, 1:]).all(axis=1).sum() if grouped else 0
            excess = purity[:, 0] - purity[:, 1:].mean(axis=1) if grouped else np.zeros(0)
            count = len(found)
            rows.append(
                {
                    "target": name,
                    "learner": learner,
                    "penalty": penalty,
                    "samples": samples,
                    "support": (int(hits), count, *_interval(hits, count, config)),
                    "support_chance": 1 / math.comb(config.dims, len(support)),
                    "constituents": (int(best), count, *_interval(best, count, config))
                    if grouped
                    else None,
                    "constituents_chance": 1 / purity.shape[1],
                    "share": mean_interval(inside.sum(axis=1), config.confidence),
                    "purity": mean_interval(purity[:, 0], config.confidence) if grouped else None,
                    "excess": mean_interval(excess, config.confidence) if grouped else None,
                    "error": mean_interval(
                        np.array([float(v["error"]) for v in found]), config.confidence
                    ),
                }
            )
        return rows

    def draw(self, config: SgdAloneConfig, measurements: Measurements, verdict: Verdict) -> Figure:
        """Fractions of seeds that find support and constituents, and how pure units are."""
        return draw_answers(config, self.cells(config, measurements), verdict)

    def table(
        self, config: SgdAloneConfig, measurements: Measurements, verdict: Verdict
    ) -> list[dict[str, Any]]:
        """One row a condition."""
        return [
            {
                "target": row["target"],
                "learner": row["learner"],
                "penalty": row["penalty"],
                "samples": "fresh" if row["samples"] == FRESH else row["samples"],
                "support found": _counted(row["support"]),
                "AGOP on support": _said(row["share"]),
                "constituents found": _counted(row["constituents"]),
                "purity": _said(row["purity"]),
                "above other groupings": _said(row["excess"]),
                "error / variance": _said(row["error"]),
            }
            for row in self.cells(config, measurements)
        ]


def _cell(parameters: Any) -> str:
    samples = "fresh" if parameters["samples"] == FRESH else f"few{parameters['samples']}"
    return (
        f"{parameters['target']}-{parameters['learner']}-{parameters['penalty'].replace('_', '.')}"
        f"-{samples}"
    )


def _interval(count: Any, seeds: int, config: SgdAloneConfig) -> tuple[float, float]:
    return clopper_pearson(int(count), seeds, config.confidence)


def _counted(found: tuple | None) -> str:
    if found is None:
        return "-"
    count, seeds, low, high = found
    return f"{count}/{seeds} [{low:.2f}, {high:.2f}]"


def _said(values: tuple | None) -> str:
    return "-" if values is None else with_interval(*values)


CLAIM = SgdAlone()
