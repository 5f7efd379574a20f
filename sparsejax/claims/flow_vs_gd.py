"""Gradient descent and SGD against the gradient flow: orders, and what a given loss costs."""

import dataclasses
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from sparsejax.bounds import PARTS, Verdict
from sparsejax.claims import flow_vs_gd_figure
from sparsejax.claims.claim import Measurements, Trial
from sparsejax.claims.descent_orders import (
    TOLERANCE,
    Fit,
    ensembles_needed,
    fits,
    mean_distances,
    measure_orders,
    usable,
)
from sparsejax.claims.setting import LiftSetting, check_setting, problem
from sparsejax.claims.time_to_loss import costs, largest_stable, measure_time_to_loss, said

ORDERS, TIMES = "orders", "time-to-loss"


@dataclasses.dataclass(frozen=True)
class FlowVsGdConfig(LiftSetting):
    """Gradient descent and SGD at ladders of step sizes, to one flow time and to one loss."""

    samples: int = 100
    """Number of training samples."""
    in_degree: int = 4
    """Predecessors of every hidden vertex (exact or expected, see law)."""
    size: int = 32
    """Vertices per hidden layer."""
    lifts: int = 5
    """Random lifts; the confidence intervals are over them."""
    steepest: float = 0.4
    """The largest step size of the orders, in units of 1 / sharpness at the start; gradient descent
    is unstable above 2."""
    halvings: int = 4
    """How often the step size is halved."""
    coarsest_steps: int = 8
    """Number of steps at the largest step size; this sets the flow time of the orders."""
    rtol: float = 1e-10
    """Tolerance of the flows of the orders; a second flow at ten times as much measures their
    error."""
    confidence: float = 0.95
    """Level of the intervals."""
    batch_sizes: tuple[int, ...] = (10, 25)
    """Samples in a batch of SGD, drawn with replacement; each size is tried."""
    ensembles: int = 4
    """Ensembles of SGD for a lift and a step size, each of one run a sample, coupled so that their
    noise cancels to first order; the sampling error falls like one over the root of this."""
    level: float = 0.3
    """The loss to be reached, as a fraction of the loss at the start. Descent saves its loss every
    32 steps; a level that it reaches sooner is resolved no better."""
    loss_steps: tuple[float, ...] = (1.0, 2.0, 2.8, 4.0)
    """Step sizes on the way to that loss, in units of 1 / sharpness at the start."""
    seeds: int = 8
    """Independent runs of SGD on the way to that loss, for a lift and a step size."""
    longest: float = 400.0
    """Flow time after which a method that has not reached the loss is given up."""
    flow_rtol: float = 1e-4
    """Tolerance of the flow on the way to that loss."""


class FlowVsGd:
    """Distance to the flow and spread against the step size; time, gradients, seconds to a loss."""

    name = "flow-vs-gd"
    statement = (
        "Gradient descent and the mean of SGD follow the gradient flow to first order in the step "
        "size, gradient descent the modified flow to second order; SGD spreads like its root."
    )
    source = (
        "Barrett, Dherin, ICLR 2021 (arXiv 2009.11162); Li, Tai, E, ICML 2017 (arXiv 1511.06251)"
    )
    Config = FlowVsGdConfig

    def validate(self, config: FlowVsGdConfig) -> None:
        """Refuse a bad config before any compute."""
        check_setting(config, (config.size,))
        for field, least in (
            ("lifts", 2),
            ("halvings", 2),
            ("coarsest_steps", 1),
            ("ensembles", 3),
            ("seeds", 1),
        ):
            if getattr(config, field) < least:
                raise ValueError(f"{field}: at least {least}, got {getattr(config, field)}")
        for field in ("steepest", "rtol", "flow_rtol", "longest"):
            if not 0 < getattr(config, field) < np.inf:
                raise ValueError(
                    f"{field}: must be positive and finite, got {getattr(config, field)}"
                )
        for field in ("confidence", "level"):
            if not 0 < getattr(config, field) < 1:
                raise ValueError(f"{field}: must lie in (0, 1), got {getattr(config, field)}")
        samples = len(config.dataset().x_train)
        for field in ("batch_sizes", "loss_steps"):
            values = getattr(config, field)
            if not values or len(set(values)) < len(values):
                raise ValueError(f"{field}: give at least one, each once, got {values}")
        for batch_size in config.batch_sizes:
            if not 1 <= batch_size <= samples:
                raise ValueError(
                    f"batch_sizes: must lie in [1, {samples}], as there are {samples} samples, "
                    f"got {batch_size}"
                )
        for scaled in config.loss_steps:
            if not 0 < scaled < np.inf:
                raise ValueError(f"loss_steps: must be positive and finite, got {scaled}")

    def control(self, config: FlowVsGdConfig) -> FlowVsGdConfig:
        """Step sizes all above 2 / sharpness: gradient descent follows no flow there."""
        return dataclasses.replace(config, steepest=5.0 * 2**config.halvings, loss_steps=(4.0, 8.0))

    def trials(self, config: FlowVsGdConfig) -> list[Trial]:
        """Two trials a lift: the orders, and the way to the loss."""
        return [
            Trial(f"{part}-lift{number:03d}", {"part": part, "number": number})
            for part in (ORDERS, TIMES)
            for number in range(config.lifts)
        ]

    def measure(self, config: FlowVsGdConfig, trial: Trial) -> dict[str, np.ndarray]:
        """Distances and spreads at every step size, or what every method spends to the loss."""
        number = trial.parameters["number"]
        lift = problem(config, config.size, number)
        measure = measure_orders if trial.parameters["part"] == ORDERS else measure_time_to_loss
        return measure(config, lift.loss, lift.params, number)

    def judge(self, config: FlowVsGdConfig, measurements: Measurements) -> Verdict:
        """Holds where the intervals of all orders lie within 0.15 of theirs.

        What a loss costs is measured and decides nothing.
        """
        trials = list(_part(measurements, ORDERS).values())
        lifts = [v for v in trials if usable(v)]
        summary: dict[str, Any] = {
            "etas_times_sharpness": [float(e) for e in trials[0]["etas"] * trials[0]["sharpness"]],
            "cost_of_the_loss": [
                dataclasses.asdict(cost)
                for cost in costs(config, list(_part(measurements, TIMES).values()))
            ],
            "lifts": len(lifts),
        }
        if len(lifts) < 2:
            return Verdict(
                "not_applicable",
                reason=(
                    "the step sizes exceed 2 / sharpness, where gradient descent is unstable, or "
                    f"runs diverge: usable lifts {len(lifts)} of {len(trials)}"
                ),
                summary=summary,
            )
        found = fits(config, lifts)
        for part in ("mean", "low", "high"):
            name = "order" if part == "mean" else f"order_{part}"
            summary[name] = {fit.name: getattr(fit, part) for fit in found}
        summary["order_half_width_of_seeds"] = {f.name: f.seeds for f in found if f.seeds}
        summary["distance_over_moved"] = _distances(config, lifts)
        worst = min(fit.slack for fit in found)
        budget = dict.fromkeys(PARTS, 0.0) | {
            # An error in a distance tilts the fit by about its share of the finest distance.
            "integrator": max(fit.integrator for fit in found),
            "sampling": max((fit.high - fit.low) / 2 for fit in found),
        }
        statuses = [fit.status for fit in found]
        status = next((s for s in ("violated", "inconclusive") if s in statuses), "holds")
        if status == "holds" and budget["integrator"] > worst:
            status = "inconclusive"
        reason = "fitted orders " + ", ".join(
            f"{fit.mean:.3f} [{fit.low:.3f}, {fit.high:.3f}] ({fit.label})" for fit in found
        )
        for fit in found:
            if fit.status == "inconclusive":
                reason += "; " + _underpowered(config, fit)
        return Verdict(status, False, worst, budget, reason, summary)

    def draw(self, config: FlowVsGdConfig, measurements: Measurements, verdict: Verdict) -> Figure:
        """Distances and spreads over the step size; losses over time, gradients and seconds."""
        times = _part(measurements, TIMES)
        found = costs(config, list(times.values()))
        return flow_vs_gd_figure.draw(config, _part(measurements, ORDERS), times, found, verdict)

    def table(
        self, config: FlowVsGdConfig, measurements: Measurements, verdict: Verdict
    ) -> list[dict[str, Any]]:
        """What the loss costs by every method, with intervals over lifts."""
        found = costs(config, list(_part(measurements, TIMES).values()))
        largest = [largest_stable(found, batch) for batch in (None, *config.batch_sizes)]
        return [
            {
                "method": cost.method,
                "step x sharpness": cost.scaled_step,
                "runs that reach it": f"{cost.reached} of {cost.runs}"
                + (f", {cost.diverged} diverge" if cost.diverged else "")
                + (", largest stable step" if cost in largest else ""),
                "flow time": said(cost.flow_time),
                "gradients": said(cost.gradients),
                "seconds": said(cost.seconds),
            }
            for cost in found
        ]


def _part(measurements: Measurements, part: str) -> Measurements:
    return {name: values for name, values in measurements.items() if name.startswith(part)}


def _distances(config: FlowVsGdConfig, lifts: list[dict[str, np.ndarray]]) -> dict[str, Any]:
    """Medians over lifts at every step size, in units of how far the flow moves."""
    columns = {
        "flow": [v["distance_flow"] / v["moved"] for v in lifts],
        "modified_flow": [v["distance_modified_flow"] / v["moved"] for v in lifts],
    }
    for b, batch_size in enumerate(config.batch_sizes):
        columns[f"sgd_mean_{batch_size}"] = [mean_distances(v, b) / v["moved"] for v in lifts]
        columns[f"sgd_spread_{batch_size}"] = [v["sgd_spread"][b] / v["moved"] for v in lifts]
    return {name: [float(m) for m in np.median(c, axis=0)] for name, c in columns.items()}


def _underpowered(config: FlowVsGdConfig, fit: Fit) -> str:
    needed = ensembles_needed(config, fit)
    if needed is None:
        return f"underpowered: {fit.label} differs between lifts; draw more lifts"
    return (
        f"underpowered: sampling alone leaves +-{fit.seeds:.2f} on the {fit.label}, to which an "
        f"order is held within {TOLERANCE:g}; about {needed} ensembles a lift and step size would "
        "bring it to half of that"
    )


CLAIM = FlowVsGd()
