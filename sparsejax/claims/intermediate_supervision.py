"""How many times sooner a parity is learned when the steps of its composition are taught."""

import dataclasses
import math
import operator
from collections.abc import Iterator
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from sparsejax import learners
from sparsejax.bounds import Verdict
from sparsejax.claims.batching import lane_keys, together
from sparsejax.claims.claim import Measurements, Trial
from sparsejax.claims.intermediate_supervision_figure import draw_times
from sparsejax.claims.online_claim import failed_runs
from sparsejax.claims.optimisers import sgd_of
from sparsejax.claims.statistics import (
    TimeRatio,
    decided,
    lifts_to_place_estimate,
    median_hitting_time,
    time_ratio,
    underpowered,
    with_interval,
    worst_of,
)
from sparsejax.dynamics import fresh, online_ensemble
from sparsejax.structure import WalshProbe, cube_inputs
from sparsejax.targets import CompositionalTarget, Node

PLAIN, ALL, SHUFFLED, WRONG = "none", "all", "shuffled", "wrong"
LEARNERS = ("two-layer", "mlp", "matched")
RECORDS = 200
# Random signs of the coordinates that the parity does not read, with all signs of those it does.
BACKGROUNDS = 32
# Folded into the seed for the evaluation inputs; conditions are numbered from 0.
_EVALUATION_KEY = 2**31 + 3


@dataclasses.dataclass(frozen=True)
class IntermediateSupervisionConfig:
    """Online SGD on a parity, with and without the values of its inner nodes as further outputs."""

    dims: int = 40
    """Coordinates, uniform on the cube."""
    bits: int = 5
    """Coordinates whose product is learned; inner nodes are the products of the first 2, 3, ..."""
    learners: tuple[str, ...] = ("two-layer",)
    """What learns: two-layer, mlp (two hidden layers), matched (a lift of the parity's own DAG)."""
    width: int = 128
    """Units of a hidden layer; of a matched lift, vertices above each node."""
    taught: str = ALL
    """The condition that is held against no supervision: all, some nodes as in p2+p4, or a control:
    shuffled (node values of another sample), wrong (nodes of another parity)."""
    beside: tuple[str, ...] = ("p2", "p4", SHUFFLED, WRONG)
    """Conditions that are measured beside it."""
    weight: float = 1.0
    """Of each node's squared error, over that of the parity."""
    batch_size: int = 64
    """Fresh samples a step."""
    step_size: float = 0.05
    """Of SGD, in flow time."""
    steps: int = 100_000
    """Steps after which a run is stopped."""
    level: float = 0.5
    """The parity counts as learned where its coefficient in the first output is above this."""
    factor: float = 3.0
    """How many times sooner it has to be."""
    seeds: int = 10
    """Runs of each condition."""
    confidence: float = 0.95
    """Level of the intervals, over seeds."""
    seed: int = 0
    """Seed of everything random."""


class IntermediateSupervision:
    """Times to the same level with and without supervision of inner nodes; controls beside."""

    name = "intermediate-supervision"
    statement = (
        "SGD learns a parity several times sooner when the values of the inner nodes of its "
        "composition are taught as further outputs; nodes of other samples and of another parity "
        "are measured beside."
    )
    source = (
        "Wies, Levine, Shashua, ICLR 2023 (arXiv 2204.02892); Kim, Suzuki, ICLR 2025 "
        "(arXiv 2410.08633)"
    )
    Config = IntermediateSupervisionConfig
    presets: ClassVar[dict[str, IntermediateSupervisionConfig]] = {
        "paper": IntermediateSupervisionConfig(
            dims=60,
            learners=LEARNERS,
            beside=("p2", "p3", "p4", "p2+p3", SHUFFLED, WRONG),
            steps=1_000_000,
            seeds=30,
        )
    }

    def validate(self, config: IntermediateSupervisionConfig) -> None:
        """Refuse a bad config before any compute."""
        if not 3 <= config.bits <= 12 or config.dims < 2 * config.bits:
            raise ValueError(
                "bits: from 3 to 12, and dims at least twice as many, so that there is another "
                f"parity; got bits={config.bits}, dims={config.dims}"
            )
        for name in config.learners:
            if name not in LEARNERS:
                raise ValueError(f"learners: {name!r} is none of {', '.join(LEARNERS)}")
        if not config.learners or len(set(config.learners)) < len(config.learners):
            raise ValueError(f"learners: give at least one, each once, got {config.learners}")
        if len(set(conditions(config))) < 2 + len(config.beside):
            raise ValueError(f"taught, beside: each condition once, got {conditions(config)}")
        for condition in conditions(config):
            supervision(config, condition)
        for field in ("width", "batch_size", "step_size", "weight"):
            if not 0 < getattr(config, field) < math.inf:
                raise ValueError(f"{field}: must be positive, got {getattr(config, field)}")
        if config.steps < RECORDS or config.steps % RECORDS:
            raise ValueError(f"steps: a multiple of {RECORDS}, got {config.steps}")
        for field in ("level", "confidence"):
            if not 0 < getattr(config, field) < 1:
                raise ValueError(f"{field}: must lie in (0, 1), got {getattr(config, field)}")
        if not config.factor >= 1:
            raise ValueError(f"factor: must be at least 1, got {config.factor}")
        time_ratio(np.ones(config.seeds), np.ones(config.seeds), 1.0, config.confidence)

    def control(self, config: IntermediateSupervisionConfig) -> IntermediateSupervisionConfig:
        """Taught are node values of other samples: the right law, and nothing about the input."""
        return dataclasses.replace(config, taught=SHUFFLED, beside=())

    def trials(self, config: IntermediateSupervisionConfig) -> list[Trial]:
        """One trial a learner, condition and seed."""
        return [
            Trial(
                f"{learner}-{condition.replace('+', '.')}-seed{number:03d}",
                {"learner": learner, "condition": condition, "number": number},
            )
            for learner in config.learners
            for condition in conditions(config)
            for number in range(config.seeds)
        ]

    def batches(
        self, config: IntermediateSupervisionConfig, trials: list[Trial]
    ) -> list[list[Trial]]:
        """The seeds of one learner and condition: one compiled program."""
        return together(trials, "learner", "condition")

    def measure_batch(
        self, config: IntermediateSupervisionConfig, trials: list[Trial]
    ) -> Iterator[dict[str, np.ndarray]]:
        """Online runs until the parity is learned, or the steps are out."""
        given = trials[0].parameters
        taught = supervision(config, given["condition"])
        learner = learner_of(config, given["learner"], taught)
        base = jax.random.key(config.seed)
        # Seeds differ between learners, and are those of all conditions of one.
        base = jax.random.fold_in(base, LEARNERS.index(given["learner"]))
        numbers = [trial.parameters["number"] for trial in trials]
        support = taught.target.support
        inputs = cube_inputs(
            jax.random.fold_in(jax.random.key(config.seed), _EVALUATION_KEY),
            BACKGROUNDS,
            config.dims,
            support,
        )
        runs = online_ensemble(
            learner.build,
            fresh(taught.sample, config.batch_size, jnp.float32),
            sgd_of(config.step_size),
            config.steps,
            lane_keys(base, numbers),
            loss=taught.loss,
            probes={"coefficient": WalshProbe((support,), inputs)},
            record_every=config.steps // RECORDS,
            reach={"learned": ("coefficient", config.level, "above")},
            dtype=jnp.float32,
        )
        times = np.asarray(runs.hitting["learned"], float).reshape(len(trials))
        curves = np.asarray(runs.probes["coefficient"], float).reshape(len(trials), -1)
        losses, status = np.asarray(runs.losses, float), runs.status
        for lane in range(len(trials)):
            yield {
                # A run that has it from the start took a step at most.
                "time": np.asarray(max(times[lane], 1.0)),
                "steps": np.asarray(runs.steps),
                "coefficient": curves[lane],
                "losses": losses[lane],
                "status": np.asarray(str(status[lane])),
                "parameters": np.asarray(learner.parameters),
            }

    def measure(self, config: IntermediateSupervisionConfig, trial: Trial) -> dict[str, np.ndarray]:
        """One seed by itself."""
        return next(iter(self.measure_batch(config, [trial])))

    def judge(self, config: IntermediateSupervisionConfig, measurements: Measurements) -> Verdict:
        """Holds where the whole interval of the ratio is above the factor, for all learners."""
        ratios = {
            learner: {
                condition: self.ratio(config, measurements, learner, condition)
                for condition in (config.taught, *config.beside)
            }
            for learner in config.learners
        }
        failed = failed_runs(measurements)
        found = {learner: rows[config.taught] for learner, rows in ratios.items()}
        statuses = {
            learner: decided(ratio.low, ratio.high, config.factor, strictly=True)
            for learner, ratio in found.items()
        }
        status = worst_of(statuses.values())
        worst = min(
            (learner for learner, s in statuses.items() if s == status),
            key=lambda learner: found[learner].ratio,
        )
        ratio = found[worst]
        goal = math.log(config.factor)
        estimate = _log(ratio.ratio)
        fast = _times(measurements, worst, config.taught)
        recorded = config.steps / RECORDS
        earliest = float(np.min(fast)) if np.isfinite(fast).any() else math.inf
        budget = {
            "integrator": 0.0,  # SGD itself is the subject
            # Between two records a time is interpolated.
            "quadrature": math.log1p(min(recorded, earliest) / earliest) if fast.size else 0.0,
            "sampling": max(estimate - _log(ratio.low), 0.0),
            "floating_point": 0.0,
        }
        said = "; ".join(
            f"{learner}: {_said(r)} times sooner with {config.taught}"
            for learner, r in found.items()
        )
        others = ", ".join(
            f"{c} {_said(r)}" for c, r in ratios[worst].items() if c in config.beside
        )
        if status == "inconclusive":
            needed = lifts_to_place_estimate(
                estimate, _log(ratio.low), _log(ratio.high), config.seeds, goal
            )
            lifts = underpowered(needed, config.seeds).replace("lifts", "seeds")
            said += f", which does not decide {config.factor:g}; {lifts}"
        if others:
            said += f" (beside: {others})"
        margin = estimate - goal
        if failed:
            status, said = "not_applicable", f"{len(failed)} runs diverged: lower the step size"
        summary = {
            "ratio": {f"{n}, {c}": r.ratio for n, rows in ratios.items() for c, r in rows.items()},
            "low": {f"{n}, {c}": r.low for n, rows in ratios.items() for c, r in rows.items()},
            "high": {f"{n}, {c}": r.high for n, rows in ratios.items() for c, r in rows.items()},
        }
        return Verdict(status, False, margin, budget, said, summary)

    def ratio(
        self,
        config: IntermediateSupervisionConfig,
        measurements: Measurements,
        learner: str,
        condition: str,
    ) -> TimeRatio:
        """Times without supervision over those under a condition."""
        return time_ratio(
            _times(measurements, learner, PLAIN),
            _times(measurements, learner, condition),
            config.steps,
            config.confidence,
        )

    def draw(
        self, config: IntermediateSupervisionConfig, measurements: Measurements, verdict: Verdict
    ) -> Figure:
        """Coefficients against steps, times, and ratios with intervals, by condition."""
        return draw_times(config, measurements, self.table(config, measurements, verdict))

    def table(
        self, config: IntermediateSupervisionConfig, measurements: Measurements, verdict: Verdict
    ) -> list[dict[str, Any]]:
        """One row a learner and condition."""
        rows = []
        for learner in config.learners:
            for condition in conditions(config):
                times = _times(measurements, learner, condition)
                reached = np.isfinite(times)
                median = median_hitting_time(
                    np.where(reached, times, config.steps), reached, config.confidence
                )
                ratio = self.ratio(config, measurements, learner, condition)
                rows.append(
                    {
                        "learner": learner,
                        "taught": condition,
                        "median steps": median.median,
                        "low": median.low,
                        "high": median.high,
                        "learned": f"{int(reached.sum())}/{len(times)}",
                        "times sooner": 1.0 if condition == PLAIN else ratio.ratio,
                        "ratio low": 1.0 if condition == PLAIN else ratio.low,
                        "ratio high": 1.0 if condition == PLAIN else ratio.high,
                    }
                )
        return rows


def conditions(config: IntermediateSupervisionConfig) -> tuple[str, ...]:
    """All that are measured, without supervision first."""
    return (PLAIN, config.taught, *config.beside)


def parity_chain(dims: int, bits: int, first: int = 1) -> CompositionalTarget:
    """`x_first ... x_{first + bits - 1}` as a chain: nodes `p2`, `p3`, ... are partial products.

    Example:
        >>> chain = parity_chain(dims=10, bits=3)
        >>> chain.order, chain.support, chain.law
        (('p2', 'p3'), (1, 2, 3), 'cube')
    """
    nodes = [
        Node(
            f"p{k}",
            operator.mul,
            (f"x{first}" if k == 2 else f"p{k - 1}", f"x{first + k - 1}"),
        )
        for k in range(2, bits + 1)
    ]
    return CompositionalTarget(dims, tuple(nodes), "cube")


def supervision(
    config: IntermediateSupervisionConfig, condition: str
) -> learners.IntermediateSupervision:
    """The labels and the loss of a condition; raises ValueError on an unknown one."""
    target = parity_chain(config.dims, config.bits)
    inner = tuple(f"p{k}" for k in range(2, config.bits))
    if condition == PLAIN:
        return learners.IntermediateSupervision(target)
    if condition in (ALL, SHUFFLED, WRONG):
        other = parity_chain(config.dims, config.bits, config.bits + 1)
        return learners.IntermediateSupervision(
            target,
            inner,
            config.weight,
            values_of=other if condition == WRONG else None,
            shuffled=condition == SHUFFLED,
        )
    nodes = tuple(condition.split("+"))
    for node in nodes:
        if node not in inner:
            raise ValueError(
                f"{condition!r} is no condition: give {ALL}, {SHUFFLED}, {WRONG}, or nodes among "
                f"{', '.join(inner)}, joined by +"
            )
    return learners.IntermediateSupervision(target, nodes, config.weight)


def learner_of(
    config: IntermediateSupervisionConfig, name: str, taught: learners.IntermediateSupervision
) -> learners.Learner:
    """The learner with an output for the parity and each node that is taught."""
    if name == "two-layer":
        return learners.two_layer(config.dims, config.width, outputs=taught.outputs)
    if name == "matched" and taught.values_of is None:
        return learners.matched_lift(taught.target, config.width, nodes=taught.nodes)
    if name == "matched":
        # Its DAG has no vertex of another parity's nodes: the root's vertices are read for them.
        return learners.matched_lift(taught.target, config.width, outputs=taught.outputs)
    return learners.dense_mlp(config.dims, config.width, outputs=taught.outputs)


def _times(measurements: Measurements, learner: str, condition: str) -> np.ndarray:
    prefix = f"{learner}-{condition.replace('+', '.')}-seed"
    return np.array([float(v["time"]) for n, v in measurements.items() if n.startswith(prefix)])


def _log(ratio: float) -> float:
    return math.log(ratio) if ratio > 0 else -math.inf


def _said(ratio: TimeRatio) -> str:
    least = "at least " if ratio.bounded else ""
    return least + with_interval(ratio.ratio, ratio.low, ratio.high)


CLAIM = IntermediateSupervision()
