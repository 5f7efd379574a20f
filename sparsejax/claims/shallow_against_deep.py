"""Shallow, deep and matched networks on binary trees: error against number of parameters."""

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
from sparsejax.claims.parameters_needed import Advantage, advantages, rung_errors
from sparsejax.claims.shallow_against_deep_figure import draw_errors
from sparsejax.claims.shallow_against_deep_networks import (
    LEARNERS,
    MATCHED,
    ErrorProbe,
    SharedSamples,
    learner_of,
    other_leaves,
    samples_of,
)
from sparsejax.claims.statistics import (
    bootstrap_slope_interval,
    lifts_to_place_estimate,
    underpowered,
    with_interval,
    worst_of,
)
from sparsejax.dynamics import online_ensemble
from sparsejax.targets import binary_tree

RECORDS = 20
POINTS = 4096
# Of an error that is measured on so many points, relative, if residuals are Gaussian.
MEASURED = math.sqrt(2 / POINTS)


@dataclasses.dataclass(frozen=True)
class ShallowAgainstDeepConfig:
    """Adam on samples of binary trees of smooth constituents, over inputs and parameters."""

    dims: tuple[int, ...] = (4, 8, 16)
    """Numbers of inputs, powers of two: all are leaves of the tree."""
    parameters: tuple[int, ...] = (200, 700, 2500, 10_000)
    """Numbers of parameters; each learner has the largest width with at most so many."""
    in_degree: int = 0
    """Vertices above each parent that a vertex of the matched lift reads; 0: all of them."""
    leaves: Literal["matched", "permuted"] = "matched"
    """permuted: the lift reads the leaves in another order, so that it matches another tree."""
    reference: int = 700
    """One of the numbers of parameters: the error that the matched lift reaches with it is what the
    others are asked for, for each number of inputs."""
    samples: int = 65_536
    """Samples that all runs on a tree share; enough for what is left to be about approximation."""
    batch_size: int = 128
    """Samples a step, drawn with replacement."""
    step_size: float = 0.02
    """Of Adam at the start; it falls to a hundredth by the end, as a cosine."""
    steps: int = 2000
    """Steps of every run."""
    targets: int = 1
    """Random trees of each number of inputs; seeds are spread over them."""
    seeds: int = 4
    """Runs of each learner, number of inputs and number of parameters."""
    confidence: float = 0.95
    """Level of the bootstrap intervals, over seeds."""
    seed: int = 0
    """Seed of everything random."""


class ShallowAgainstDeep:
    """Errors of trained networks; theory speaks of best approximations, which are no worse."""

    name = "shallow-against-deep"
    statement = (
        "On binary trees the lift of the tree's own sparse graph reaches an error with fewer "
        "parameters than a shallow network and than a dense deep one, and the ratio of the shallow "
        "one's error to its own at equal parameters grows with the number of inputs."
    )
    source = (
        "Poggio, Mhaskar, Rosasco, Miranda, Liao 2017 (arXiv 1611.00740), on approximation; of "
        "trained networks: measured here"
    )
    Config = ShallowAgainstDeepConfig
    presets: ClassVar[dict[str, ShallowAgainstDeepConfig]] = {
        "paper": ShallowAgainstDeepConfig(
            dims=(4, 8, 16, 32),
            parameters=tuple(100 * 2**k for k in range(11)),
            reference=800,
            in_degree=4,
            samples=1_000_000,
            steps=30_000,
            targets=5,
            seeds=20,
        )
    }

    def validate(self, config: ShallowAgainstDeepConfig) -> None:
        """Refuse a bad config before any compute."""
        if len(set(config.dims)) < max(len(config.dims), 2) or list(config.dims) != sorted(
            config.dims
        ):
            raise ValueError(f"dims: at least two different ones, rising; got {config.dims}")
        for dims in config.dims:
            if dims < 4 or dims & (dims - 1):
                raise ValueError(f"dims: powers of two from 4 on, got {dims}")
        if len(config.parameters) < 3 or list(config.parameters) != sorted(set(config.parameters)):
            raise ValueError(
                f"parameters: at least three different ones, rising; got {config.parameters}"
            )
        if config.in_degree < 0:
            raise ValueError(f"in_degree: must not be negative, got {config.in_degree}")
        if config.leaves not in ("matched", "permuted"):
            raise ValueError(f"leaves: matched or permuted, not {config.leaves!r}")
        if config.steps < RECORDS or config.steps % RECORDS:
            raise ValueError(f"steps: a multiple of {RECORDS}, got {config.steps}")
        if not 1 <= config.targets <= config.seeds or config.seeds < 2:
            raise ValueError(
                f"seeds: at least two, and one a target; got {config.seeds} for {config.targets}"
            )
        if config.samples < config.batch_size:
            raise ValueError(
                f"samples: {config.samples} are fewer than a batch of {config.batch_size}"
            )
        for field in ("batch_size", "step_size"):
            if not 0 < getattr(config, field) < math.inf:
                raise ValueError(f"{field}: must be positive, got {getattr(config, field)}")
        if config.reference not in config.parameters:
            raise ValueError(f"reference: one of {list(config.parameters)}, got {config.reference}")
        if not 0 < config.confidence < 1:
            raise ValueError(f"confidence: must lie in (0, 1), got {config.confidence}")
        for dims in config.dims:
            for name in LEARNERS:
                self._learner(config, name, dims, config.parameters[0])

    def control(self, config: ShallowAgainstDeepConfig) -> ShallowAgainstDeepConfig:
        """The lift of a tree on leaves in another order: sparse and deep, but not matched."""
        return dataclasses.replace(config, leaves="permuted")

    def trials(self, config: ShallowAgainstDeepConfig) -> list[Trial]:
        """One trial a learner, number of inputs, number of parameters and seed."""
        return [
            Trial(
                f"dims{dims:03d}-{learner}-parameters{parameters:07d}-seed{number:03d}",
                {
                    "dims": dims,
                    "learner": learner,
                    "parameters": parameters,
                    "target": number % config.targets,
                    "number": number,
                },
            )
            for dims in config.dims
            for parameters in config.parameters
            for learner in LEARNERS
            for number in range(config.seeds)
        ]

    def batches(self, config: ShallowAgainstDeepConfig, trials: list[Trial]) -> list[list[Trial]]:
        """The seeds of one learner, size and target: one compiled program."""
        return together(trials, "dims", "learner", "parameters", "target")

    def measure_batch(
        self, config: ShallowAgainstDeepConfig, trials: list[Trial]
    ) -> Iterator[dict[str, np.ndarray]]:
        """Train, and measure the error on points that no step sees."""
        given = trials[0].parameters
        target = binary_tree(given["dims"], "smooth", seed=config.seed + given["target"])
        x, y = samples_of(target, config.samples + POINTS, config.seed)
        if config.leaves == "permuted":
            # The same function of inputs in another order: the lift's tree is the wrong one.
            x = x[:, np.array(other_leaves(given["dims"]))]
        learner = self._learner(config, given["learner"], given["dims"], given["parameters"])
        base = jax.random.fold_in(jax.random.key(config.seed), given["dims"])
        base = jax.random.fold_in(base, LEARNERS.index(given["learner"]))
        numbers = [trial.parameters["number"] for trial in trials]
        probe = ErrorProbe(x[:POINTS], y[:POINTS])
        schedule = optax.cosine_decay_schedule(config.step_size, config.steps, alpha=0.01)
        runs = online_ensemble(
            learner.build,
            SharedSamples(x[POINTS:], y[POINTS:], config.batch_size),
            # One vector: an optimiser of many small arrays takes long to compile.
            optax.flatten(optax.adam(schedule)),
            config.steps,
            lane_keys(base, numbers),
            probes={"error": probe},
            record_every=config.steps // RECORDS,
            dtype=jnp.float32,
        )
        errors, status = np.asarray(runs.probes["error"], float), runs.status
        for lane in range(len(trials)):
            yield {
                "errors": errors[lane],
                "error": errors[lane, -1],
                "steps": np.asarray(runs.steps),
                "parameters": np.asarray(learner.parameters),
                "status": np.asarray(str(status[lane])),
            }

    def measure(self, config: ShallowAgainstDeepConfig, trial: Trial) -> dict[str, np.ndarray]:
        """One network by itself."""
        return next(iter(self.measure_batch(config, [trial])))

    def judge(self, config: ShallowAgainstDeepConfig, measurements: Measurements) -> Verdict:
        """Holds where the advantage is above one at the most inputs, and grows with inputs."""
        found = self.advantages(config, measurements)
        failed = failed_runs(measurements)
        most = config.dims[-1]
        questions = {
            f"parameters of {name} networks over the {config.leaves} lift's, {most} inputs": (
                advantage.factors[-1],
                1.0,
            )
            for name, advantage in found.items()
        }
        grown = found["shallow"].growth
        questions[
            "growth with inputs of the shallow network's error over the lift's, an exponent"
        ] = (grown, 0.0)
        # Of the factors the logarithm is judged, as the exponent is.
        slack = {
            text: tuple(
                (math.log(v) if v > 0 else -math.inf) if goal else v for v in (mid, low, high)
            )
            for text, ((mid, low, high), goal) in questions.items()
        }
        statuses = {
            text: "holds" if low > MEASURED else "violated" if high < -MEASURED else "inconclusive"
            for text, (_, low, high) in slack.items()
        }
        status = worst_of(statuses.values())
        worst = min((t for t, s in statuses.items() if s == status), key=lambda t: slack[t][0])
        mid, low, high = slack[worst]
        said = "; ".join(f"{text}: {with_interval(*v)}" for text, (v, _) in questions.items())
        bounded = [name for name, advantage in found.items() if any(advantage.bounded)]
        if bounded:
            said += (
                f" (lower bounds where {' and '.join(bounded)} networks do not get there with "
                f"{config.parameters[-1]} parameters)"
            )
        if failed:
            status, said = "not_applicable", f"{len(failed)} runs diverged: lower the step size"
        elif status == "inconclusive":
            needed = (
                lifts_to_place_estimate(mid, low, high, config.seeds, 0.0)
                if math.isfinite(mid)
                else math.nan
            )
            said += "; " + underpowered(needed, config.seeds).replace("lifts", "seeds")
        budget = {
            "integrator": 0.0,  # what is trained is the subject
            "quadrature": MEASURED,
            "sampling": max(mid - low, 0.0) if math.isfinite(low) else math.inf,
            "floating_point": 0.0,
        }
        summary = {
            "factors": {n: [list(f) for f in a.factors] for n, a in found.items()},
            "growth": {n: list(a.growth) for n, a in found.items()},
            "error_ratios": {n: [list(r) for r in a.apart] for n, a in found.items()},
            "exponents": {
                f"{name}, {dims} inputs": list(slope)
                for (name, dims), slope in self.exponents(config, measurements).items()
            },
        }
        return Verdict(status, False, mid, budget, said, summary)

    def advantages(
        self, config: ShallowAgainstDeepConfig, measurements: Measurements
    ) -> dict[str, Advantage]:
        """Parameters that other learners need for its error, over those of the matched lift."""
        rungs = {
            (name, dims): rung_errors(measurements, dims, name, config.parameters)
            for name in LEARNERS
            for dims in config.dims
        }
        return advantages(
            rungs,
            config.dims,
            [name for name in LEARNERS if name != MATCHED],
            MATCHED,
            config.parameters.index(config.reference),
            config.confidence,
            np.random.default_rng(config.seed),
        )

    def exponents(
        self, config: ShallowAgainstDeepConfig, measurements: Measurements
    ) -> dict[tuple[str, int], tuple[float, float, float]]:
        """Slopes of the logarithm of the mean error against that of the number of parameters."""
        found = {}
        for name in LEARNERS:
            for dims in config.dims:
                x, errors = rung_errors(measurements, dims, name, config.parameters)
                rng = np.random.default_rng(config.seed)
                found[name, dims] = bootstrap_slope_interval(x, errors, rng, config.confidence)
        return found

    def draw(
        self, config: ShallowAgainstDeepConfig, measurements: Measurements, verdict: Verdict
    ) -> Figure:
        """Error against parameters, a panel a number of inputs; the advantage against inputs."""
        rungs = {
            (name, dims): rung_errors(measurements, dims, name, config.parameters)
            for name in LEARNERS
            for dims in config.dims
        }
        exponents = self.exponents(config, measurements)
        return draw_errors(config, rungs, exponents, self.advantages(config, measurements), verdict)

    def table(
        self, config: ShallowAgainstDeepConfig, measurements: Measurements, verdict: Verdict
    ) -> list[dict[str, Any]]:
        """One row a number of inputs and learner."""
        found, exponents = (
            self.advantages(config, measurements),
            self.exponents(config, measurements),
        )
        any_one = next(iter(found.values()))
        rows = []
        for k, dims in enumerate(config.dims):
            for name in LEARNERS:
                x, errors = rung_errors(measurements, dims, name, config.parameters)
                slope = exponents[name, dims]
                needed = (any_one if name == MATCHED else found[name]).needed[name][k]
                ones = (1.0, 1.0, 1.0)
                factor = ones if name == MATCHED else found[name].factors[k]
                apart = ones if name == MATCHED else found[name].apart[k]
                rows.append(
                    {
                        "inputs": dims,
                        "learner": name,
                        "most parameters": int(x[-1]),
                        "error there": float(np.exp(np.mean(np.log(errors[-1])))),
                        "exponent": with_interval(*slope, digits=".2f"),
                        "parameters for that error": needed,
                        "error": any_one.levels[k],
                        "over the matched": with_interval(*factor),
                        "error ratio": with_interval(*apart),
                    }
                )
        return rows

    def _learner(
        self, config: ShallowAgainstDeepConfig, name: str, dims: int, parameters: int
    ) -> learners.Learner:
        return learner_of(name, dims, parameters, config.in_degree)


CLAIM = ShallowAgainstDeep()
