"""Does the tangent bound survive discretisation, and up to which step size?"""

import dataclasses
from typing import Any

import jax.numpy as jnp
import numpy as np
import optax
from matplotlib.figure import Figure

from sparsejax import bounds
from sparsejax.bounds import PARTS, Verdict
from sparsejax.claims.claim import Measurements, Trial
from sparsejax.claims.drawing import BLUE, GREY, ORANGE, RED, panels, paper_style
from sparsejax.claims.setting import LiftSetting, check_setting, problem
from sparsejax.dynamics import gradient_descent, sharpness

# One optimiser for all step sizes, which then run through one compiled program.
_SGD = optax.inject_hyperparams(optax.sgd)(learning_rate=0.0)
_COLORS = {"holds": BLUE, "not_applicable": ORANGE, "violated": RED, "inconclusive": GREY}


@dataclasses.dataclass(frozen=True)
class DiscreteTimeConfig(LiftSetting):
    """Gradient descent over a ladder of step sizes, each held against bound 2.6."""

    samples: int = 40
    """Number of training samples."""
    in_degree: int = 4
    """Predecessors of every hidden vertex (exact or expected, see law)."""
    size: int = 64
    """Vertices per hidden layer."""
    lifts: int = 2
    """Random lifts."""
    steps: int = 40
    """Steps of each run."""
    scaled_steps: tuple[float, ...] = (0.1, 0.3, 1.0, 1.5, 1.9, 2.5, 4.0, 16.0)
    """Step sizes in units of 1 / sharpness at the start; above 2 gradient descent is unstable."""
    eps_fraction: float = 0.3
    """The level of the tangent constant, as a fraction of the initial loss."""


class DiscreteTime:
    """Verdicts of bound 2.6 on real gradient descent, from small steps to divergence."""

    name = "discrete-time"
    statement = (
        "The tangent bound survives discretisation: it holds along gradient descent of every step "
        "size below 2 / curvature along its steps, and ends to apply beyond."
    )
    source = "derived here from Robin, Scaman, Lelarge, ICLR 2024 (arXiv 2501.05930)"
    Config = DiscreteTimeConfig

    def validate(self, config: DiscreteTimeConfig) -> None:
        """Refuse a bad config before any compute."""
        if config.lifts < 1:
            raise ValueError(f"lifts: at least one is needed, got {config.lifts}")
        if config.steps < 2:
            raise ValueError(f"steps: at least two are needed, got {config.steps}")
        if not config.scaled_steps or not min(config.scaled_steps) > 0:
            raise ValueError(f"scaled_steps: must be positive, got {config.scaled_steps}")
        if not 0 < config.eps_fraction < 1:
            raise ValueError(f"eps_fraction: must lie in (0, 1), got {config.eps_fraction}")
        check_setting(config, (config.size,))

    def control(self, config: DiscreteTimeConfig) -> DiscreteTimeConfig:
        """Step sizes above 2 / sharpness throughout: the bound speaks of none."""
        return dataclasses.replace(config, scaled_steps=(8.0, 16.0, 32.0))

    def trials(self, config: DiscreteTimeConfig) -> list[Trial]:
        """One trial a lift."""
        return [Trial(f"lift{number:03d}", {"number": number}) for number in range(config.lifts)]

    def measure(self, config: DiscreteTimeConfig, trial: Trial) -> dict[str, np.ndarray]:
        """Loss, bound and verdict at every step size."""
        drawn = problem(config, config.size, trial.parameters["number"])
        loss, params = drawn.loss, drawn.params
        sharp = float(sharpness(loss, params))
        eps = config.eps_fraction * float(loss(params))
        shape = (len(config.scaled_steps), config.steps + 1)
        losses, promised = np.full(shape, np.nan), np.full(shape, np.nan)
        rows: dict[str, list[Any]] = {key: [] for key in ("status", "margin", "stopped", "run")}
        budgets = []
        for i, scaled in enumerate(config.scaled_steps):
            state = _SGD.init(params)._replace(
                hyperparams={"learning_rate": jnp.asarray(scaled / sharp)}
            )
            run = gradient_descent(loss, params, _SGD, config.steps, optimizer_state=state)
            bound = bounds.descent(drawn.lift.apply, run, drawn.x, drawn.y, eps)
            verdict = bounds.compare(bound, run)
            losses[i] = np.asarray(run.losses)
            promised[i, : len(bound.values)] = bound.values
            stopped = bound.details["stopped_at_step"]
            rows["status"].append(verdict.status)
            rows["margin"].append(verdict.margin)
            rows["stopped"].append(-1 if stopped is None else stopped)
            rows["run"].append(str(run.status))
            budgets.append([verdict.error_budget[part] for part in PARTS])
        return {
            "scaled_steps": np.asarray(config.scaled_steps),
            "sharpness": np.asarray(sharp),
            "losses": losses,
            "bounds": promised,
            "statuses": np.asarray(rows["status"]),
            "margins": np.asarray(rows["margin"]),
            "stopped_at_step": np.asarray(rows["stopped"]),
            "run_statuses": np.asarray(rows["run"]),
            "budgets": np.asarray(budgets),
        }

    def judge(self, config: DiscreteTimeConfig, measurements: Measurements) -> Verdict:
        """Holds where no applicable bound is exceeded and all of small step hold."""
        trials = list(measurements.values())
        statuses = np.stack([v["statuses"] for v in trials])
        scaled = np.asarray(config.scaled_steps)
        held = (statuses == "holds").all(axis=0)
        diverged = np.stack([v["run_statuses"] != "completed" for v in trials]).any(axis=0)
        summary: dict[str, Any] = {
            "holds_up_to": float(scaled[held].max()) if held.any() else None,
            "diverges_from": float(scaled[diverged].min()) if diverged.any() else None,
            "applicable_runs": int((statuses != "not_applicable").sum()),
            "runs": int(statuses.size),
        }
        decisive = _decisive(trials)
        if decisive is None:
            stops = [int(step) for v in trials for step in v["stopped_at_step"] if step >= 0]
            return Verdict(
                "not_applicable",
                reason=(
                    "every step size is above 2 / curvature along the steps; the first step at "
                    f"which the bound ends to apply is {min(stops)}"
                    if stops
                    else "the level is out of the linearised network's reach at every step size"
                ),
                summary=summary,
            )
        margin, budget = decisive
        if (statuses == "violated").any():
            status, reason = "violated", "a bound that applies is exceeded"
        elif (statuses == "inconclusive").any():
            status, reason = "inconclusive", "the margin of a run lies inside its error budget"
        elif not held.any():
            status, reason = "inconclusive", "no step size holds on all lifts"
        else:
            status = "holds"
            reason = (
                f"all {summary['applicable_runs']} runs of which it speaks are below it, on all "
                f"lifts up to {summary['holds_up_to']:g} / sharpness at the start"
            )
        return Verdict(status, False, margin, budget, reason, summary)

    def draw(
        self, config: DiscreteTimeConfig, measurements: Measurements, verdict: Verdict
    ) -> Figure:
        """Loss and bound along three runs; where each run of the ladder ends, by its verdict."""
        first = next(iter(measurements.values()))
        with paper_style():
            figure, (left, right) = panels(2)
            completed = np.flatnonzero(first["run_statuses"] == "completed")
            for i in completed[:: max(len(completed) // 3, 1)][:3]:
                scaled = first["scaled_steps"][i]
                line = left.semilogy(
                    first["losses"][i] / first["losses"][i, 0], label=rf"{scaled:g} / sharpness"
                )[0]
                left.semilogy(
                    first["bounds"][i] / first["losses"][i, 0], "--", color=line.get_color()
                )
            left.set_xlabel("step")
            left.set_ylabel("loss / initial (dashed: bound 2.6)")
            left.set_title("first lift")
            if len(completed):
                left.legend()
            seen: set[str] = set()
            for v in measurements.values():
                for i, status in enumerate(v["statuses"]):
                    reached = v["losses"][i][np.isfinite(v["losses"][i])]
                    label = None if status in seen else str(status).replace("_", " ")
                    seen.add(str(status))
                    right.loglog(
                        v["scaled_steps"][i],
                        reached[-1] / reached[0],
                        "o" if v["run_statuses"][i] == "completed" else "x",
                        color=_COLORS[str(status)],
                        label=label,
                    )
            right.axvline(2.0, color=GREY, lw=1, ls="--", label="2 / sharpness at start")
            right.set_xlabel(r"step size $\eta \times$ sharpness at start")
            right.set_ylabel("last finite loss / initial (x: diverged)")
            right.legend()
            figure.suptitle(f"Discrete time: {verdict.status.replace('_', ' ')}")
        return figure

    def table(
        self, config: DiscreteTimeConfig, measurements: Measurements, verdict: Verdict
    ) -> list[dict[str, Any]]:
        """One row a step size, over lifts."""
        trials = list(measurements.values())
        rows = []
        for i, scaled in enumerate(config.scaled_steps):
            stopped = [int(v["stopped_at_step"][i]) for v in trials]
            ends = [v["losses"][i][np.isfinite(v["losses"][i])][-1] for v in trials]
            said = [v["bounds"][i][np.isfinite(v["bounds"][i])][-1] for v in trials]
            starts = [v["losses"][i, 0] for v in trials]
            rows.append(
                {
                    "eta x sharpness": float(scaled),
                    "runs": ", ".join(sorted({str(v["run_statuses"][i]) for v in trials})),
                    "bound 2.6": ", ".join(sorted({str(v["statuses"][i]) for v in trials})),
                    "ends to apply at step": ", ".join("-" if s < 0 else str(s) for s in stopped),
                    "loss / initial": float(np.median(np.divide(ends, starts))),
                    "bound / initial": float(np.median(np.divide(said, starts))),
                }
            )
        return rows


def _decisive(trials: list[dict[str, np.ndarray]]) -> tuple[float, dict[str, float]] | None:
    """Margin and budget of the applicable run that came closest to failing."""
    best = None
    for v in trials:
        for i, status in enumerate(v["statuses"]):
            if status == "not_applicable":
                continue
            total = float(v["budgets"][i].sum())
            slack = float(v["margins"][i]) / max(total, np.finfo(float).tiny)
            if best is None or slack < best[0]:
                budget = dict(zip(PARTS, map(float, v["budgets"][i]), strict=True))
                best = (slack, float(v["margins"][i]), budget)
    return None if best is None else best[1:]


CLAIM = DiscreteTime()
