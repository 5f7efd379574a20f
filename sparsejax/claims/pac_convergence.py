"""PAC-convergence: the fraction of random lifts whose flow reaches a level, against size."""

import dataclasses
import math
from collections import Counter
from collections.abc import Iterator
from typing import Any, ClassVar

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from sparsejax.bounds import Verdict
from sparsejax.claims.batching import together
from sparsejax.claims.claim import Measurements, Trial
from sparsejax.claims.pac import (
    Condition,
    Ladder,
    PacSetting,
    check_pac_setting,
    conditions,
    decisive,
    ensemble,
    flow_outcomes,
    forecasts,
    overall,
    rung,
    start_constant,
)
from sparsejax.claims.pac.outcome import ENDED
from sparsejax.claims.pac_comparison import draw_comparison
from sparsejax.claims.pac_convergence_figure import draw_pac
from sparsejax.claims.statistics import bootstrap_slope_interval, median_hitting_time

# Folded into the seed for initial readouts of restarts, which look for a witness; lifts of the
# ensemble start at zero, and their keys come from sizes, which are smaller.
_WITNESS_KEY = 2**31


@dataclasses.dataclass(frozen=True)
class PacConvergenceConfig(PacSetting):
    """Gradient flows of many random lifts of each size, target and architecture."""

    lifts: int = 20
    """Random lifts per size; with --until-width those of the first round."""
    restarts: int = 2
    """Further lifts per size that start with random readouts, to look for a witness of the level;
    they count for the approximation number alone."""
    forecasts: int = 4
    """Perceptrons per size whose tangent constant at the start is asked what will become of
    them."""
    eps_fraction: float = 0.25
    """The level to be reached, as a fraction of the loss of the zero function."""
    delta: float = 0.25
    """The probability of failure that is allowed. With 20 lifts one failure leaves the lower limit
    of a 95% interval just above 0.75."""
    confidence: float = 0.95
    """Level of the intervals, each by itself: Clopper-Pearson; with --until-width such that hold
    at all looks at once. A claim about several conditions is violated where one of them is with the
    confidence that holds for all at once."""
    until_width: float | None = None
    """Draw further rounds of lifts at each size until its interval is at most this wide."""
    max_lifts: int = 400
    """The most lifts of one size, however wide its interval."""
    t1: float = 300.0
    """Flow time; a flow that has not reached the level by then counts as a failure."""
    rtol: float = 1e-4
    """Tolerance of the flow. A loss within its own error of the level is undecided, and so is a
    flow that its numerics ended: a failure for lower limits, a success for upper ones."""


class PacConvergence:
    """Success fraction against size, with intervals, approximation and learning numbers."""

    name = "pac-convergence"
    statement = (
        "Where some lift reaches a loss of epsilon, random sparse lifts above some size reach it "
        "by gradient flow with probability at least 1 - delta."
    )
    source = "Robin, Scaman, Lelarge, ICLR 2024 (arXiv 2501.05930)"
    Config = PacConvergenceConfig
    draw_comparison = staticmethod(draw_comparison)
    presets: ClassVar[dict[str, PacConvergenceConfig]] = {
        "paper": PacConvergenceConfig(
            mlp_sizes=(4, 8, 16, 32, 64, 128, 256, 512),
            convnet_sizes=(4, 8, 16, 32, 64),
            transformer_sizes=(2, 4, 8, 16, 32),
            lifts=100,
            restarts=20,
            until_width=0.1,
            points=4096,
            t1=3000.0,
        )
    }

    def validate(self, config: PacConvergenceConfig) -> None:
        """Refuse a bad config before any compute."""
        check_pac_setting(config)
        if config.lifts < 1:
            raise ValueError(f"lifts: at least one is needed, got {config.lifts}")
        if config.until_width is not None and config.max_lifts < config.lifts:
            raise ValueError(
                f"max_lifts: the first round has {config.lifts} lifts already; give that many or "
                f"more, or fewer lifts, got {config.max_lifts}"
            )
        for field in ("restarts", "forecasts"):
            if getattr(config, field) < 0:
                raise ValueError(f"{field}: must not be negative, got {getattr(config, field)}")
        for field in ("eps_fraction", "delta", "confidence", "until_width"):
            value = getattr(config, field)
            if value is not None and not 0 < value < 1:
                raise ValueError(f"{field}: must lie in (0, 1), got {value}")
        for field in ("t1", "rtol"):
            if not 0 < getattr(config, field) < math.inf:
                raise ValueError(f"{field}: must be positive, got {getattr(config, field)}")

    def control(self, config: PacConvergenceConfig) -> PacConvergenceConfig:
        """Perceptrons too small to learn the tree, though single ones of them can."""
        smallest = min(config.mlp_sizes)
        return dataclasses.replace(
            config,
            targets=("tree",),
            data=None,
            target=None,
            architectures=("mlp",),
            mlp_sizes=(2 * smallest, max(5 * smallest // 2, 2 * smallest + 1)),
            until_width=None,
        )

    def trials(self, config: PacConvergenceConfig) -> list[Trial]:
        """One trial a lift, condition by condition, small sizes first; then the restarts."""
        found = []
        for condition in conditions(config):
            for size in config.sizes(condition.architecture):
                found += _trials(condition, size, "lift", range(config.lifts))
                found += _trials(condition, size, "restart", range(config.restarts))
        return found

    def more_trials(self, config: PacConvergenceConfig, measurements: Measurements) -> list[Trial]:
        """Another round at every size whose interval is too wide still."""
        if config.until_width is None:
            return []
        found = []
        for condition in conditions(config):
            for step in _ladder(config, condition, measurements).rungs:
                if step.high - step.low > config.until_width and step.lifts < config.max_lifts:
                    last = min(step.lifts + config.lifts, config.max_lifts)
                    found += _trials(condition, step.size, "lift", range(step.lifts, last))
        return found

    def batches(self, config: PacConvergenceConfig, trials: list[Trial]) -> list[list[Trial]]:
        """Lifts and restarts of one size and condition: one program, and one round, at a time.

        That is what a kill may lose. A batch of another length (the rest after a kill, a later
        round, which has no restarts) compiles once more.
        """
        most = config.lifts + config.restarts
        return together(trials, "target", "architecture", "size", at_most=most)

    def measure_batch(
        self, config: PacConvergenceConfig, trials: list[Trial]
    ) -> Iterator[dict[str, np.ndarray]]:
        """Flows of lifts of one size and condition."""
        given = trials[0].parameters
        condition = Condition(given["target"], given["architecture"])
        restart = np.array([trial.parameters["kind"] == "restart" for trial in trials])
        # Restarts are lifts of their own, with numbers that no round gets to.
        numbers = [
            trial.parameters["number"] + 10**6 * (trial.parameters["kind"] == "restart")
            for trial in trials
        ]
        drawn = ensemble(config, condition, given["size"], numbers)
        params = jax.tree.map(
            lambda leaf, other: jnp.where(_lanes(restart, leaf), other, leaf),
            drawn.params,
            drawn.with_random_readouts(
                config, jax.random.fold_in(jax.random.key(config.seed), _WITNESS_KEY)
            ),
        )
        outcomes = flow_outcomes(drawn, params, config.eps_fraction, config.t1, config.rtol)
        for lift, (trial, outcome) in enumerate(zip(trials, outcomes, strict=True)):
            asked = (
                condition.architecture == "mlp"
                and trial.parameters["kind"] == "lift"
                and trial.parameters["number"] < config.forecasts
            )
            kappa = start_constant(drawn, lift, config.eps_fraction) if asked else np.nan
            yield outcome | {"kappa": np.asarray(kappa)}

    def measure(self, config: PacConvergenceConfig, trial: Trial) -> dict[str, np.ndarray]:
        """One flow by itself."""
        return next(iter(self.measure_batch(config, [trial])))

    def judge(self, config: PacConvergenceConfig, measurements: Measurements) -> Verdict:
        """Holds where every condition whose level has a witness has a learning number."""
        ladders = {c.name: _ladder(config, c, measurements) for c in conditions(config)}
        statuses = {name: ladder.status for name, ladder in ladders.items()}
        status = overall(list(statuses.values()))
        # Where it is decided: the largest lifts of a condition.
        last = [ladder.rungs[-1] for ladder in ladders.values() if ladder.status == status]
        closest, goal = decisive(last, status), 1 - config.delta
        budget = closest.budget(goal, len(ladders))
        margin = np.nan if status == "not_applicable" else closest.margin(goal)
        lifts = {n: v for n, v in measurements.items() if "-lift" in n}
        reasons = [
            f"{name}: {ladder.reason}"
            for name, ladder in ladders.items()
            if ladder.status == status
        ]
        stopped = _why_it_stopped(config, ladders)
        foretold = forecasts(lifts.values(), config.t1)
        broken = Counter(str(v["flow_status"]) for v in lifts.values() if _broken(v))
        summary: dict[str, Any] = {
            "conditions": {
                name: {
                    "status": ladder.status,
                    "learning_number": ladder.learning_number,
                    "approximation_number": ladder.approximation_number,
                    "success_fraction": {str(r.size): r.fraction for r in ladder.rungs},
                    "interval_low": {str(r.size): r.low for r in ladder.rungs},
                    "interval_high": {str(r.size): r.high for r in ladder.rungs},
                    "best_loss": {str(r.size): r.best for r in ladder.rungs},
                    "lifts": {str(r.size): r.lifts for r in ladder.rungs},
                    "undecided": {str(r.size): r.undecided for r in ladder.rungs},
                    "broken_off": {str(r.size): r.broken for r in ladder.rungs},
                    "time_exponent": _time_exponent(config, condition, measurements),
                }
                for condition, (name, ladder) in zip(
                    conditions(config), ladders.items(), strict=True
                )
            },
            "undecided": sum(bool(v["undecided"]) for v in lifts.values()),
            "broken_off": dict(broken),
            "largest_error": float(max(v["error"] / v["level"] for v in lifts.values())),
            "forecasts": foretold,
            "eps_fraction": config.eps_fraction,
            "delta": config.delta,
            "stopped": stopped,
        }
        reason = f"by t = {config.t1:g}: {'; '.join(reasons)}. {stopped}"
        if foretold["asked"]:
            reason += (
                f"; of {foretold['asked']} lifts whose tangent constant was taken at the start, "
                f"{foretold['foretold']} were foretold to get there if it did not grow, "
                f"{foretold['foretold_and_failed']} of these wrongly, and "
                f"{foretold['came_unforetold']} came unforetold"
            )
        if broken:
            kinds = ", ".join(f"{number} {kind}" for kind, number in broken.items())
            reason += f"; flows that broke off, counted neither way: {kinds}"
        return Verdict(status, False, margin, budget, reason, summary)

    def draw(
        self, config: PacConvergenceConfig, measurements: Measurements, verdict: Verdict
    ) -> Figure:
        """Success fraction and best loss against size, a panel a target; losses of single lifts."""
        return draw_pac(config, measurements, verdict)

    def table(
        self, config: PacConvergenceConfig, measurements: Measurements, verdict: Verdict
    ) -> list[dict[str, Any]]:
        """One row a condition and size; open are lifts undecided or broken off."""
        rows = []
        for condition in conditions(config):
            for step in _ladder(config, condition, measurements).rungs:
                # Losses are over that of the function zero.
                at = list(_at(measurements, condition, step.size, "lift").values())
                reached = np.array([bool(v["reached"]) for v in at])
                times = np.array([v["hitting_time" if v["reached"] else "end_time"] for v in at])
                time = median_hitting_time(times, reached, config.confidence)
                rows.append(
                    {
                        "condition": condition.name,
                        "size": step.size,
                        "lifts": step.lifts,
                        "reached": step.successes,
                        "open": step.undecided + step.broken,
                        "low": step.low,
                        "high": step.high,
                        "median time": time.median,
                        "time low": time.low,
                        "time high": time.high,
                        "least loss": step.best,
                        "median loss": _median(at, "loss"),
                        "median test loss": _median(at, "test_loss"),
                    }
                )
        return rows


def _trials(condition: Condition, size: int, kind: str, numbers: range) -> list[Trial]:
    return [
        Trial(
            f"{condition.name}-size{size:05d}-{kind}{number:03d}",
            {**dataclasses.asdict(condition), "size": size, "kind": kind, "number": number},
        )
        for number in numbers
    ]


def _at(measurements: Measurements, condition: Condition, size: int, kind: str) -> Measurements:
    prefix = f"{condition.name}-size{size:05d}-{kind}"
    return {name: v for name, v in measurements.items() if name.startswith(prefix)}


def _ladder(
    config: PacConvergenceConfig, condition: Condition, measurements: Measurements
) -> Ladder:
    rungs = []
    for size in config.sizes(condition.architecture):
        lifts = list(_at(measurements, condition, size, "lift").values())
        everyone = [*lifts, *_at(measurements, condition, size, "restart").values()]
        best = np.fmin.reduce([_least_loss(v) for v in everyone])
        rungs.append(
            rung(
                size,
                [bool(v["reached"]) for v in lifts],
                config.confidence,
                undecided=[bool(v["undecided"]) for v in lifts],
                broken=[_broken(v) for v in lifts],
                sequential=config.until_width is not None,
                best=float(best),
            )
        )
    return Ladder(
        tuple(rungs), 1 - config.delta, config.eps_fraction, comparisons=len(conditions(config))
    )


def _broken(values: dict[str, np.ndarray]) -> bool:
    """Whether the numerics ended the flow: a gradient flow by itself never leaves its loss."""
    return str(values["flow_status"]) not in ENDED


def _least_loss(values: dict[str, np.ndarray]) -> float:
    """The loss at the end, where a flow has its least, above by its error."""
    return float((values["loss"] + values["error"]) / values["zero_loss"])


def _time_exponent(
    config: PacConvergenceConfig, condition: Condition, measurements: Measurements
) -> dict[str, float] | None:
    """How the median time to the level scales with size, where it is known at two sizes or more."""
    known = {}
    for size in config.sizes(condition.architecture):
        lifts = _at(measurements, condition, size, "lift").values()
        times = np.array([float(v["hitting_time"]) if v["reached"] else np.inf for v in lifts])
        if len(times) > 1 and np.isfinite(np.median(times)):
            known[size] = times
    if len(known) < 2:
        return None
    rng = np.random.default_rng(config.seed)
    slope, low, high = bootstrap_slope_interval(
        np.array(list(known), float), list(known.values()), rng, config.confidence, summary="median"
    )
    return {"exponent": slope, "low": low, "high": high}


def _median(lifts: list[dict[str, np.ndarray]], loss: str) -> float:
    return float(np.median([v[loss] / v["zero_loss"] for v in lifts]))


def _why_it_stopped(config: PacConvergenceConfig, ladders: dict[str, Ladder]) -> str:
    rungs = [rung for ladder in ladders.values() for rung in ladder.rungs]
    drawn = sum(rung.lifts for rung in rungs)
    if config.until_width is None:
        return f"{drawn} lifts were drawn, {config.lifts} at each size, as set beforehand"
    wide = sum(rung.high - rung.low > config.until_width for rung in rungs)
    if wide:
        return (
            f"{drawn} lifts were drawn; {wide} of {len(rungs)} intervals are wider than "
            f"{config.until_width:g} with {config.max_lifts} lifts, the most that were allowed"
        )
    return f"{drawn} lifts were drawn, until every interval was at most {config.until_width:g} wide"


def _lanes(which: np.ndarray, leaf: jax.Array) -> np.ndarray:
    return which.reshape(-1, *[1] * (leaf.ndim - 1))


CLAIM = PacConvergence()
