"""Certified PAC-convergence: how many random lifts are proved, at the start, to reach a level."""

import dataclasses
import math
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import scipy.optimize
from jaxtyping import Float

from sparsejax import bounds
from sparsejax.bounds import PARTS, ReadoutCertificate, Verdict
from sparsejax.bounds.feature_drift import covered_by_drift, readout_edges
from sparsejax.claims.bound_arrays import bound_arrays, budget_of, decisive
from sparsejax.claims.claim import Measurements, Trial
from sparsejax.claims.setting import LiftSetting, Problem, check_setting, problem
from sparsejax.claims.size_ladder import ladder_trials, trial_size
from sparsejax.claims.statistics import (
    clopper_pearson,
    learning_number,
    lifts_to_place_proportion,
    underpowered,
)
from sparsejax.dynamics import gradient_flow

# A certified level this near to the required one, relatively, is decided by rounding.
ROUNDING = 1e-6
SAVED = 41


@dataclasses.dataclass(frozen=True)
class CertifiedPacConfig(LiftSetting):
    """Readout certificates of many random lifts of each size, and flows of some of them."""

    data: str = "diabetes"
    """What is learned: diabetes (disease progression), digits (even or odd), synthetic."""
    samples: int | None = 100
    """Number of training samples. None: 400, or all that there are where that is fewer."""
    hidden: int = 1
    """Number of hidden layers."""
    in_degree: int = 4
    """Predecessors of every hidden vertex (exact or expected, see law)."""
    sizes: tuple[int, ...] = (48, 64, 96, 128, 192)
    """Vertices per hidden layer, one ladder step each."""
    lifts: int = 20
    """Random lifts per size. With all of them certified, the lower limit of a 95% interval is
    above 0.8 from 17 lifts on."""
    level: float = 0.8
    """The level to be reached, as a fraction of the loss of the zero function."""
    eps_fraction: float = 0.7
    """What the readouts of a certificate attain, as a fraction of that loss; below the level."""
    delta: float = 0.2
    """The probability of a lift without certificate that is allowed."""
    confidence: float = 0.95
    """Level of the Clopper-Pearson intervals."""
    flowed: int = 2
    """How many of each size's lifts are flowed, where certified, to the promised time."""
    rtol: float = 1e-6
    """Tolerance of those flows."""
    seed: int = 1
    """Seed of everything random; trials use seeds derived from it."""
    shuffled: bool = False
    """Give the targets to the wrong samples, at random."""


class CertifiedPac:
    """The certified fraction against size, and promises put to the test.

    A lift counts where `bounds.readout_certificate` proves, from its initialisation alone, that its
    gradient flow comes down to the level: the tangent constant is bounded on all of the ball in
    which the flow can be (2.5). So a certified learning number is one of the theorem's, found
    without a flow: the learning number is at most this. The converse is not claimed: most lifts
    learn long before they are certified.

    How the default was chosen: certificates cover what readouts do on features that hardly move, so
    the data is one of which little is asked of them. Of 1 and 2 hidden layers, the diabetes data
    and the synthetic target, and `eps_fraction` of 0.1, 0.3, 0.5 and 0.7, on two lifts of each of
    the sizes 16 to 4096, the best certified levels fell like this (fractions of the initial loss):
    diabetes, one layer: 0.96 at 16, 0.82 at 64, 0.75 at 256, 0.65 at 1024; two layers: 0.95 at 64,
    0.91 at 256, 0.83 at 1024, 0.78 at 4096; synthetic, one layer: 0.98 at 64, 0.91 at 256, 0.78 at
    1024. The level 0.8 was set where one layer crosses it near size 100, eight lifts a size gave
    the ladder around it, and all of this was done with seed 0, so that the lifts and the samples
    of the default, whose seed is 1, are fresh.
    """

    name = "certified-pac"
    statement = (
        "Above some size, random sparse lifts are certified at initialisation to reach a level, "
        "with probability at least 1 - delta; and no certified flow breaks its promise."
    )
    source = (
        "derived here (bounds 2.2, 2.4, 2.5) from Robin, Scaman, Lelarge, ICLR 2024 "
        "(arXiv 2501.05930)"
    )
    Config = CertifiedPacConfig
    # Two layers: three lifts a size (seed 0) were certified to 0.81 at 1536, 0.80 at 2048, 0.77 at
    # 6144. Beyond 3000 vertices norms of weights are only bounded: at 3072 that costs 0.01.
    presets = {
        "paper": CertifiedPacConfig(
            hidden=2, sizes=(1024, 1280, 1536, 1792, 2048, 3000, 6144), lifts=100, flowed=5
        )
    }

    def validate(self, config: CertifiedPacConfig) -> None:
        """Refuse a bad config before any compute."""
        check_setting(config, config.sizes)
        if config.lifts < 1:
            raise ValueError(f"lifts: at least one lift per size is needed, got {config.lifts}")
        for field in ("level", "eps_fraction", "delta", "confidence"):
            if not 0 < getattr(config, field) < 1:
                raise ValueError(f"{field}: must lie in (0, 1), got {getattr(config, field)}")
        if not config.eps_fraction < config.level:
            raise ValueError(
                f"eps_fraction: must be below the level {config.level:g}, which it only comes near "
                f"to; got {config.eps_fraction:g}"
            )
        if not 0 <= config.flowed <= config.lifts:
            raise ValueError(
                f"flowed: between 0 and the {config.lifts} lifts of a size, got {config.flowed}"
            )
        if not config.rtol > 0:
            raise ValueError(f"rtol: must be positive, got {config.rtol}")

    def control(self, config: CertifiedPacConfig) -> CertifiedPacConfig:
        """The largest lifts, with targets that have nothing to do with the samples."""
        return dataclasses.replace(config, sizes=(max(config.sizes),), shuffled=True)

    def trials(self, config: CertifiedPacConfig) -> list[Trial]:
        """One trial a lift, small sizes first."""
        return ladder_trials(config.sizes, config.lifts)

    def measure(self, config: CertifiedPacConfig, trial: Trial) -> dict[str, np.ndarray]:
        """One certificate, and for the first lifts of a size the flow that it speaks of."""
        size, number = trial.parameters["size"], trial.parameters["number"]
        lift = problem(config, size, number)
        if config.shuffled:
            key = jax.random.key(config.seed + 1)
            lift = dataclasses.replace(lift, y=jax.random.permutation(key, lift.y))
        # Output weights start at zero: the loss at the start is that of the zero function.
        initial = float(lift.loss(lift.params))
        uncovered = _uncovered(lift)
        if uncovered:
            return _nothing(initial, uncovered)
        found = bounds.readout_certificate(
            lift.lift, lift.params, lift.x, lift.y, config.eps_fraction * initial
        )
        level = config.level * initial
        certified = not found.vacuous and found.limit <= level * (1 - ROUNDING)
        measured = _nothing(initial, "") | {
            "certified": np.asarray(certified),
            "undecided": np.asarray(abs(found.limit - level) <= ROUNDING * level),
            "certified_level": np.asarray(found.limit / initial),
            "kappa": np.asarray(found.kappa),
            "reach": np.asarray(found.reach),
            "horizon": np.asarray(found.horizon),
        }
        if certified:
            time = first_time_below(found.values, level, near=found.horizon)
            measured["promised_time"] = np.asarray(time)
            if number < config.flowed:
                measured |= _flowed(config, lift, found, time)
        return measured

    def judge(self, config: CertifiedPacConfig, measurements: Measurements) -> Verdict:
        """Holds where there is a certified learning number and every flow keeps its promise."""
        summary = summarised(config, measurements)
        flowed = [v for v in measurements.values() if v["flow_status"] != ""]
        statuses = [str(v["promise_status"]) for v in flowed]
        largest = max(map(int, summary["lifts"]))
        fraction, low, high, lifts, undecided = (
            summary[name][str(largest)]
            for name in ("certified_fraction", "interval_low", "interval_high", "lifts", "near")
        )
        goal, number = 1 - config.delta, summary["certified_learning_number"]
        uncovered = {str(v["uncovered"]) for v in measurements.values()} - {""}
        margin = fraction - goal
        # On the side that decides: the margin exceeds it where the interval misses the goal.
        budget = dict.fromkeys(PARTS, 0.0) | {
            "sampling": fraction - low if margin >= 0 else high - fraction,
            "floating_point": undecided / lifts,
        }
        if uncovered:
            reason = f"no certificate covers these lifts: {uncovered.pop()}"
            return Verdict("not_applicable", True, math.nan, budget, reason, summary)
        if "violated" in statuses:
            worst = decisive("promise", flowed)
            reason = (
                f"{statuses.count('violated')} of {len(flowed)} certified flows end above what "
                "was promised of them"
            )
            margin, budget = float(worst["promise_margin"]), budget_of("promise", worst)
            return Verdict("violated", False, margin, budget, reason, summary)
        place = f"of the lifts of the largest size, {largest}"
        kept = f"all {len(flowed)} flows keep their promise" if flowed else "none was flowed"
        if set(statuses) - {"holds"}:
            status = "inconclusive"
            reason = f"{len(flowed) - statuses.count('holds')} of {len(flowed)} flows do not decide"
            # Margin and budget are those of a promise that is open, and not of the counts.
            worst = decisive("promise", [v for v in flowed if str(v["promise_status"]) != "holds"])
            margin, budget = float(worst["promise_margin"]), budget_of("promise", worst)
        elif number is not None:
            status = "holds"
            reason = (
                f"from size {number} on, every lower confidence limit of the certified fraction is "
                f"at least {goal:g}; {kept}"
            )
        elif high + budget["floating_point"] < goal:
            status = "violated"
            reason = f"{place}, at most a fraction {high:.2f} is certified; {goal:g} was to be"
        else:
            status = "inconclusive"
            needed = lifts_to_place_proportion(fraction, goal, config.confidence)
            reason = (
                f"{place}, a fraction in [{low:.2f}, {high:.2f}] is certified, which does not "
                f"decide {goal:g}; {underpowered(needed, lifts)}"
            )
        vacuous = all(v["certified_level"] >= 1 for v in measurements.values())
        return Verdict(status, vacuous, margin, budget, reason, summary)

    def draw(self, config: CertifiedPacConfig, measurements: Measurements, verdict: Verdict):
        """Certified fraction and level against size; flows below what was promised of them."""
        from sparsejax.claims.certified_pac_figure import figure

        return figure(config, measurements, verdict)

    def table(
        self, config: CertifiedPacConfig, measurements: Measurements, verdict: Verdict
    ) -> list[dict[str, Any]]:
        """One row a size."""
        summary, rows = verdict.summary, []
        for size in map(int, summary["lifts"]):
            at = [v for n, v in measurements.items() if trial_size(n) == size]
            flowed = [v for v in at if v["flow_status"] != ""]
            ends = [v["losses"][-1] / v["losses"][0] for v in flowed]
            rows.append(
                {
                    "size": size,
                    "lifts": len(at),
                    "certified": sum(bool(v["certified"]) for v in at),
                    "fraction": summary["certified_fraction"][str(size)],
                    "interval low": summary["interval_low"][str(size)],
                    "interval high": summary["interval_high"][str(size)],
                    "median certified level": float(np.median([v["certified_level"] for v in at])),
                    "median kappa": float(np.median([v["kappa"] for v in at])),
                    "flows": len(flowed),
                    "promises kept": sum(str(v["promise_status"]) == "holds" for v in flowed),
                    "largest loss at promised time": max(ends, default=math.nan),
                }
            )
        return rows


def first_time_below(
    values: Callable[[np.ndarray], np.ndarray], level: float, near: float = 1.0
) -> float:
    """The flow time at which a falling curve, which ends below `level`, comes down to it.

    `values`: of an array of times. `near`: a positive time from which to look. The time returned is
    late by a billionth, so that the curve is at most `level` there.

    Raises:
        ValueError: the curve is above the level still at time 1e300, or below at 1e-300.

    Example:
        >>> round(first_time_below(lambda t: 1 / (1 + t), 0.25), 6)
        3.0
    """

    def excess(log_time):
        return float(values(np.array([math.exp(log_time)]))[0]) - level

    low = high = math.log(near)
    while excess(low) <= 0 and low > -690:
        low -= 1.0
    while excess(high) > 0 and high < 690:
        high += 1.0
    if not excess(low) > 0 >= excess(high):
        raise ValueError(f"the curve does not come down to {level:.3g} at any time behind 0")
    return math.exp(scipy.optimize.brentq(excess, low, high, xtol=1e-10) + 1e-9)


def summarised(config: CertifiedPacConfig, measurements: Measurements) -> dict[str, Any]:
    """Counts, intervals and the certified learning number, by size."""
    at = {
        size: [v for n, v in measurements.items() if trial_size(n) == size]
        for size in sorted(set(map(trial_size, measurements)))
    }
    lifts = {size: len(trials) for size, trials in at.items()}
    certified = {size: sum(bool(v["certified"]) for v in trials) for size, trials in at.items()}
    ends = {s: clopper_pearson(certified[s], lifts[s], config.confidence) for s in at}
    return {
        "certified_fraction": {str(s): certified[s] / lifts[s] for s in at},
        "interval_low": {str(s): ends[s][0] for s in at},
        "interval_high": {str(s): ends[s][1] for s in at},
        "lifts": {str(s): lifts[s] for s in at},
        "near": {str(s): sum(bool(v["undecided"]) for v in at[s]) for s in at},
        "certified": sum(certified.values()),
        "certified_learning_number": learning_number(
            certified, lifts, config.delta, config.confidence
        ),
        "flows": sum(str(v["flow_status"]) != "" for v in measurements.values()),
        "level": config.level,
        "delta": config.delta,
    }


def _uncovered(lift: Problem) -> str:
    """Why no certificate covers a lift; empty where one does."""
    try:
        covered_by_drift(lift.lift)
        readout_edges(lift.lift)
    except ValueError as refused:
        return str(refused)
    return ""


def _nothing(initial: float, uncovered: str) -> dict[str, np.ndarray]:
    """What is stored of a lift of which nothing is promised and that is not flowed."""
    curve: Float[np.ndarray, " s"] = np.full(SAVED, np.nan)
    return {
        "initial": np.asarray(initial),
        "uncovered": np.asarray(uncovered),
        "certified": np.asarray(False),
        "undecided": np.asarray(False),
        "certified_level": np.asarray(1.0),
        "kappa": np.asarray(math.inf),
        "reach": np.asarray(0.0),
        "horizon": np.asarray(0.0),
        "promised_time": np.asarray(math.inf),
        "flow_status": np.asarray(""),
        "ts": curve,
        "losses": curve,
    }


def _flowed(
    config: CertifiedPacConfig, lift: Problem, found: ReadoutCertificate, time: float
) -> dict[str, np.ndarray]:
    """The flow up to the promised time, held against the certificate all along."""
    ts = time * np.linspace(0.0, 1.0, SAVED) ** 2
    flow = gradient_flow(lift.loss, lift.params, time, saveat=ts, rtol=config.rtol)
    bound = found.bound(flow)
    verdict = bounds.compare(bound, flow)
    status = verdict.status if flow.status == "completed" else "inconclusive"
    if verdict.status == "violated":
        status = "violated"
    curves: dict[str, np.ndarray] = {}
    for name, values in (("ts", flow.ts), ("losses", flow.losses)):
        curves[name] = np.full(SAVED, np.nan)
        curves[name][: len(np.asarray(values))] = np.asarray(values)
    return (
        bound_arrays("promise", bound, verdict, SAVED)
        | curves
        | {"promise_status": np.asarray(status), "flow_status": np.asarray(flow.status)}
    )


CLAIM = CertifiedPac()
