"""Gradient descent against the gradient flow and against the modified flow: orders 1 and 2."""

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
from jax.flatten_util import ravel_pytree
from matplotlib.figure import Figure

from sparsejax.bounds import Verdict
from sparsejax.claims.claim import Measurements, Trial
from sparsejax.claims.drawing import BLUE, GREY, RED, panels, paper_style
from sparsejax.claims.setting import LiftSetting, check_setting, problem
from sparsejax.claims.statistics import log_log_slope, mean_interval
from sparsejax.dynamics import gradient_descent, gradient_flow, modified_loss, sharpness

TOLERANCE = 0.15
ORDERS = {"flow": 1.0, "modified_flow": 2.0}
# One optimiser for all step sizes, which then run through one compiled program.
_SGD = optax.inject_hyperparams(optax.sgd)(learning_rate=0.0)
LABELS = {"flow": "gradient flow", "modified_flow": "modified flow"}


@dataclasses.dataclass(frozen=True)
class FlowVsGdConfig(LiftSetting):
    """Gradient descent at a ladder of step sizes, to one flow time."""

    samples: int = 100
    """Number of training samples."""
    in_degree: int = 4
    """Predecessors of every hidden vertex (exact or expected, see law)."""
    size: int = 32
    """Vertices per hidden layer."""
    lifts: int = 5
    """Random lifts; the confidence interval of the orders is over them."""
    steepest: float = 0.4
    """The largest step size, in units of 1 / sharpness at the start; gradient descent is unstable
    above 2."""
    halvings: int = 4
    """How often the step size is halved."""
    coarsest_steps: int = 8
    """Number of steps at the largest step size; this sets the flow time."""
    rtol: float = 1e-10
    """Tolerance of the flows; a second flow at ten times as much measures their error."""
    confidence: float = 0.95
    """Level of the intervals."""


class FlowVsGd:
    """Distance between the methods at one flow time against the step size, with fitted orders."""

    name = "flow-vs-gd"
    statement = (
        "Gradient descent follows the gradient flow to first order in the step size, and the "
        "modified flow to second order."
    )
    source = "Barrett, Dherin, ICLR 2021 (arXiv 2009.11162)"
    Config = FlowVsGdConfig

    def validate(self, config: FlowVsGdConfig) -> None:
        """Refuse a bad config before any compute."""
        check_setting(config, (config.size,))
        for field, least in (("lifts", 2), ("halvings", 2), ("coarsest_steps", 1)):
            if getattr(config, field) < least:
                raise ValueError(f"{field}: at least {least}, got {getattr(config, field)}")
        for field in ("steepest", "rtol"):
            if not getattr(config, field) > 0:
                raise ValueError(f"{field}: must be positive, got {getattr(config, field)}")
        if not 0 < config.confidence < 1:
            raise ValueError(f"confidence: must lie in (0, 1), got {config.confidence}")

    def control(self, config: FlowVsGdConfig) -> FlowVsGdConfig:
        """Step sizes all above 2 / sharpness: gradient descent follows no flow there."""
        return dataclasses.replace(config, steepest=5.0 * 2**config.halvings)

    def trials(self, config: FlowVsGdConfig) -> list[Trial]:
        """One trial a lift."""
        return [Trial(f"lift{number:03d}", {"number": number}) for number in range(config.lifts)]

    def measure(self, config: FlowVsGdConfig, trial: Trial) -> dict[str, np.ndarray]:
        """Distances to the flow and to the modified flow at every step size."""
        lift = problem(config, config.size, trial.parameters["number"])
        loss, params = lift.loss, lift.params
        sharp = float(sharpness(loss, params))
        t1 = config.coarsest_steps * config.steepest / sharp
        counts = config.coarsest_steps * 2 ** np.arange(config.halvings + 1)
        etas = t1 / counts
        flow, flow_error = _end(loss, params, t1, config.rtol)
        distances = {kind: np.full(len(etas), np.nan) for kind in ORDERS}
        errors = {kind: np.full(len(etas), np.nan) for kind in ORDERS}
        statuses = []
        for i, (eta, count) in enumerate(zip(etas, counts, strict=True)):
            run = gradient_descent(
                loss,
                params,
                _SGD,
                int(count),
                save_every=int(count),
                optimizer_state=_SGD.init(params)._replace(
                    hyperparams={"learning_rate": jnp.asarray(eta)}
                ),
            )
            statuses.append(str(run.status))
            if run.status != "completed":
                continue
            descended = np.asarray(ravel_pytree(run.final)[0])
            bent, bent_error = _end(modified_loss(loss, float(eta)), params, t1, config.rtol)
            for kind, (end, error) in {
                "flow": (flow, flow_error),
                "modified_flow": (bent, bent_error),
            }.items():
                distances[kind][i] = np.linalg.norm(descended - end)
                errors[kind][i] = error
        moved = np.linalg.norm(flow - np.asarray(ravel_pytree(params)[0]))
        return {
            "etas": etas,
            "sharpness": np.asarray(sharp),
            "t1": np.asarray(t1),
            "moved": np.asarray(moved),
            "stable": np.asarray(etas * sharp < 2),
            "completed": np.asarray([s == "completed" for s in statuses]),
            **{f"distance_{kind}": distances[kind] for kind in ORDERS},
            **{f"error_{kind}": errors[kind] for kind in ORDERS},
        }

    def judge(self, config: FlowVsGdConfig, measurements: Measurements) -> Verdict:
        """Holds where the intervals of both orders lie within 0.15 of 1 and 2."""
        trials = list(measurements.values())
        usable = [v for v in trials if v["stable"].all() and v["completed"].all()]
        if len(usable) < 2:
            return Verdict(
                "not_applicable",
                reason=(
                    "the step sizes exceed 2 / sharpness, where gradient descent is unstable: "
                    f"usable lifts {len(usable)} of {len(trials)}"
                ),
                summary={
                    "eta_times_sharpness": float(
                        np.median([v["etas"][0] * v["sharpness"] for v in trials])
                    )
                },
            )
        summary: dict[str, Any] = {"order": {}, "order_low": {}, "order_high": {}}
        worst, statuses = np.inf, []
        budget = {"integrator": 0.0, "quadrature": 0.0, "sampling": 0.0, "floating_point": 0.0}
        for kind, nominal in ORDERS.items():
            slopes = np.array([_order(v, kind) for v in usable])
            mean, low, high = mean_interval(slopes, config.confidence)
            summary["order"][kind] = mean
            summary["order_low"][kind] = low
            summary["order_high"][kind] = high
            slack = float(TOLERANCE - max(abs(low - nominal), abs(high - nominal)))
            worst = min(worst, slack)
            # An error in a distance tilts the fit by about its share of the finest distance.
            share = max(float(v[f"error_{kind}"][-1] / v[f"distance_{kind}"][-1]) for v in usable)
            budget["integrator"] = max(budget["integrator"], share)
            budget["sampling"] = max(budget["sampling"], (high - low) / 2)
            if slack >= 0:
                statuses.append("holds")
            elif low > nominal + TOLERANCE or high < nominal - TOLERANCE:
                statuses.append("violated")
            else:
                statuses.append("inconclusive")
        summary["lifts"] = len(usable)
        summary["etas_times_sharpness"] = [float(e) for e in _scaled_etas(usable[0])]
        said = ", ".join(
            f"{summary['order'][kind]:.3f} [{summary['order_low'][kind]:.3f}, "
            f"{summary['order_high'][kind]:.3f}] against the {LABELS[kind]}"
            for kind in ORDERS
        )
        status = next((s for s in ("violated", "inconclusive") if s in statuses), "holds")
        if status == "holds" and budget["integrator"] > worst:
            status = "inconclusive"
        return Verdict(status, False, worst, budget, f"fitted orders {said}", summary)

    def draw(self, config: FlowVsGdConfig, measurements: Measurements, verdict: Verdict) -> Figure:
        """Distances against step size on log axes, with lines of slope 1 and 2."""
        with paper_style():
            figure, (axes,) = panels(1, width=4.6, height=3.6)
            drawn = False
            for kind, color, marker in (("flow", BLUE, "o"), ("modified_flow", RED, "s")):
                fitted = verdict.summary.get("order", {}).get(kind)
                order = "" if fitted is None else f": order {fitted:.2f}"
                label: str | None = f"to the {LABELS[kind]}{order}"
                for values in measurements.values():
                    scaled = _scaled_etas(values)
                    distance = values[f"distance_{kind}"] / values["moved"]
                    if np.isfinite(distance).any():
                        drawn = True
                        axes.loglog(scaled, distance, marker, color=color, ms=4, label=label)
                        label = None
                if "order" in verdict.summary:
                    stacked = np.array(
                        [v[f"distance_{kind}"] / v["moved"] for v in measurements.values()]
                    )
                    scaled = _scaled_etas(next(iter(measurements.values())))
                    middle = np.exp(np.nanmean(np.log(stacked[:, -1])))
                    guide = middle * (scaled / scaled[-1]) ** ORDERS[kind]
                    axes.loglog(scaled, guide, ":", color=GREY, label=f"slope {ORDERS[kind]:g}")
            axes.axvline(2.0, color=GREY, lw=1, label="stability limit")
            axes.set_xscale("log")
            axes.set_xlabel(r"step size $\eta \times$ sharpness")
            axes.set_ylabel(r"$\|\theta_k - \theta(k\eta)\|$ / distance moved")
            if drawn:
                low, high = axes.get_ylim()
                axes.set_ylim(low, high * (high / low) ** 0.5)  # room for the legend
            axes.legend(loc="upper left")
            axes.set_title(
                f"Flow against gradient descent: {verdict.status.replace('_', ' ')}"
                + ("" if drawn else " (gradient descent diverged)")
            )
        return figure

    def table(
        self, config: FlowVsGdConfig, measurements: Measurements, verdict: Verdict
    ) -> list[dict[str, Any]]:
        """One row a step size, medians over lifts."""
        rows = []
        for i in range(config.halvings + 1):
            at = list(measurements.values())
            row = {"eta x sharpness": float(np.median([_scaled_etas(v)[i] for v in at]))}
            for kind in ORDERS:
                row[f"distance to the {LABELS[kind]}"] = float(
                    np.median([v[f"distance_{kind}"][i] / v["moved"] for v in at])
                )
            rows.append(row)
        return rows


def _end(loss, params, t1: float, rtol: float) -> tuple[np.ndarray, float]:
    """The parameters at the end of a tightly integrated flow, and an estimate of their error."""
    ends = [
        np.asarray(
            ravel_pytree(
                gradient_flow(
                    loss, params, t1, saveat=np.array([t1]), solver="dopri8", rtol=r, atol=r
                ).final
            )[0]
        )
        for r in (rtol, 10 * rtol)
    ]
    return ends[0], float(np.linalg.norm(ends[0] - ends[1]))


def _order(values: dict[str, np.ndarray], kind: str) -> float:
    return log_log_slope(values["etas"], values[f"distance_{kind}"])


def _scaled_etas(values: dict[str, np.ndarray]) -> np.ndarray:
    return values["etas"] * values["sharpness"]


CLAIM = FlowVsGd()
