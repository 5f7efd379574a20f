"""PAC-convergence: the fraction of random lifts whose flow reaches a level, against size."""

import dataclasses
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from sparsejax.bounds import Verdict
from sparsejax.claims.claim import Measurements, Trial
from sparsejax.claims.drawing import BLUE, GREEN, GREY, ORANGE, panels, paper_style
from sparsejax.claims.pac_comparison import draw_comparison
from sparsejax.claims.setting import LiftSetting, check_setting, problem
from sparsejax.claims.size_ladder import ladder_trials, trial_size
from sparsejax.claims.statistics import clopper_pearson, learning_number
from sparsejax.dynamics import gradient_flow


@dataclasses.dataclass(frozen=True)
class PacConvergenceConfig(LiftSetting):
    """Gradient flows of many random lifts of each size."""

    sizes: tuple[int, ...] = (16, 32, 64, 128)
    """Vertices per hidden layer, one ladder step each."""
    lifts: int = 20
    """Random lifts per size. With all of them successful, the lower limit of a 95% interval is
    above 0.8 from 17 lifts on."""
    eps_fraction: float = 0.5
    """The level to be reached, as a fraction of the loss of the zero function."""
    delta: float = 0.2
    """The probability of failure that is allowed."""
    confidence: float = 0.95
    """Level of the Clopper-Pearson intervals."""
    t1: float = 300.0
    """Flow time; a flow that has not reached the level by then counts as a failure."""
    rtol: float = 1e-4
    """Tolerance of the flow. A final loss within the flow's own error of the level counts as a
    failure and is reported as undecided."""


class PacConvergence:
    """Success fraction against size, with exact intervals and the empirical learning number."""

    name = "pac-convergence"
    statement = (
        "Random sparse lifts above some size reach a loss of at most epsilon with probability "
        "at least 1 - delta."
    )
    source = "Robin, Scaman, Lelarge, ICLR 2024 (arXiv 2501.05930)"
    Config = PacConvergenceConfig
    draw_comparison = staticmethod(draw_comparison)

    def validate(self, config: PacConvergenceConfig) -> None:
        """Refuse a bad config before any compute."""
        check_setting(config, config.sizes)
        if config.lifts < 1:
            raise ValueError(f"lifts: at least one lift per size is needed, got {config.lifts}")
        for field in ("eps_fraction", "delta", "confidence"):
            if not 0 < getattr(config, field) < 1:
                raise ValueError(f"{field}: must lie in (0, 1), got {getattr(config, field)}")
        for field in ("t1", "rtol"):
            if not getattr(config, field) > 0:
                raise ValueError(f"{field}: must be positive, got {getattr(config, field)}")

    def control(self, config: PacConvergenceConfig) -> PacConvergenceConfig:
        """Lifts that are too small, given a level that they cannot reach."""
        smallest = max(config.in_degree, 8)
        return dataclasses.replace(config, sizes=(smallest,), eps_fraction=config.eps_fraction / 5)

    def trials(self, config: PacConvergenceConfig) -> list[Trial]:
        """One trial a lift, small sizes first."""
        return ladder_trials(config.sizes, config.lifts)

    def measure(self, config: PacConvergenceConfig, trial: Trial) -> dict[str, np.ndarray]:
        """One flow: losses, the level, and whether it was reached."""
        lift = problem(config, trial.parameters["size"], trial.parameters["number"])
        loss = lift.loss
        # Output weights start at zero: the loss at the start is that of the zero function.
        flow = gradient_flow(
            loss,
            lift.params,
            config.t1,
            saveat=config.t1 * np.linspace(0, 1, 61) ** 2,
            rtol=config.rtol,
        )
        losses = np.asarray(flow.losses)
        level = config.eps_fraction * losses[0]
        error = config.rtol * losses[0]
        return {
            "ts": np.asarray(flow.ts),
            "losses": losses,
            "level": np.asarray(level),
            "reached": np.asarray(flow.status == "completed" and losses[-1] <= level - error),
            "undecided": np.asarray(abs(losses[-1] - level) < error),
            "energy_defect": np.asarray(flow.energy_defect[-1]),
            "test_loss": np.asarray(lift.test_loss(flow.final)),
            "flow_status": np.asarray(flow.status),
        }

    def judge(self, config: PacConvergenceConfig, measurements: Measurements) -> Verdict:
        """Holds where a learning number exists among the tested sizes."""
        counts = _counts(config, measurements)
        trials = {size: total for size, (_, total) in counts.items() if total}
        successes = {size: reached for size, (reached, total) in counts.items() if total}
        intervals = {
            size: clopper_pearson(successes[size], trials[size], config.confidence)
            for size in trials
        }
        number = learning_number(successes, trials, config.delta, config.confidence)
        largest = max(intervals)
        low, high = intervals[largest]
        goal = 1 - config.delta
        undecided = sum(bool(v["undecided"]) for v in measurements.values())
        summary = {
            "success_fraction": {str(s): successes[s] / trials[s] for s in trials},
            "interval_low": {str(s): intervals[s][0] for s in trials},
            "interval_high": {str(s): intervals[s][1] for s in trials},
            "lifts": {str(s): trials[s] for s in trials},
            "learning_number": number,
            "approximation_number": next((s for s in sorted(trials) if successes[s]), None),
            "undecided": undecided,
            "eps_fraction": config.eps_fraction,
            "delta": config.delta,
        }
        if number is not None:
            status = "holds"
            reason = f"from size {number} on, every lower confidence limit is at least {goal:g}"
        elif high < goal:
            status = "violated"
            reason = (
                f"at the largest size, {largest}, at most a fraction {high:.2f} succeeds by "
                f"flow time {config.t1:g}: no learning number up to there"
            )
        else:
            status = "inconclusive"
            reason = (
                f"at the largest size, {largest}, the success probability lies in "
                f"[{low:.2f}, {high:.2f}], which does not decide {goal:g}; draw more lifts"
            )
        budget = {
            "integrator": undecided / len(measurements),
            "quadrature": 0.0,
            "sampling": (high - low) / 2,
            "floating_point": 0.0,
        }
        return Verdict(status, False, low - goal, budget, reason, summary)

    def draw(
        self, config: PacConvergenceConfig, measurements: Measurements, verdict: Verdict
    ) -> Figure:
        """Success fraction with intervals against size; all losses of smallest and largest size."""
        summary = verdict.summary
        sizes = sorted(int(size) for size in summary["success_fraction"])
        fraction = np.array([summary["success_fraction"][str(s)] for s in sizes])
        low = np.array([summary["interval_low"][str(s)] for s in sizes])
        high = np.array([summary["interval_high"][str(s)] for s in sizes])
        with paper_style():
            figure, (left, right) = panels(2)
            left.errorbar(
                sizes,
                fraction,
                yerr=[fraction - low, high - fraction],
                fmt="o",
                color=BLUE,
                capsize=3,
                label=f"success fraction, {config.confidence:.0%} interval",
            )
            left.axhline(1 - config.delta, color=GREY, ls=":", label=r"$1 - \delta$")
            if summary["learning_number"] is not None:
                left.axvline(
                    summary["learning_number"],
                    ymax=0.65,
                    color=GREEN,
                    ls="--",
                    label="learning number",
                )
            left.set_xscale("log", base=2)
            left.set_xticks(sizes, [str(s) for s in sizes])
            left.minorticks_off()
            left.set_ylim(-0.05, 1.65)  # room for the legend
            left.set_yticks(np.linspace(0, 1, 6))
            left.set_xlabel("vertices per hidden layer")
            left.set_ylabel("fraction of lifts that reach the level")
            left.set_title("success against size")
            left.legend(loc="upper left")
            shown = (
                [(sizes[0], ORANGE), (sizes[-1], BLUE)] if len(sizes) > 1 else [(sizes[0], BLUE)]
            )
            for size, color in shown:
                label: str | None = f"size {size}"
                for name, values in measurements.items():
                    if trial_size(name) == size:
                        ratio = values["losses"] / values["losses"][0]
                        right.plot(values["ts"], ratio, color=color, lw=0.7, alpha=0.7, label=label)
                        label = None
            right.axhline(config.eps_fraction, color=GREY, ls=":", label=r"level $\epsilon$")
            right.set_xscale("symlog", linthresh=config.t1 / 300)
            right.set_xlim(0, config.t1)
            right.set_yscale("log")
            right.set_xlabel("flow time $t$")
            right.set_ylabel("loss / initial loss")
            right.set_title("single lifts")
            right.legend(loc="lower left")
            figure.suptitle(f"PAC-convergence: {verdict.status.replace('_', ' ')}")
        return figure

    def table(
        self, config: PacConvergenceConfig, measurements: Measurements, verdict: Verdict
    ) -> list[dict[str, Any]]:
        """One row a size."""
        summary = verdict.summary
        rows = []
        for size in sorted(config.sizes):
            at = [v for n, v in measurements.items() if trial_size(n) == size]
            if not at:
                continue
            rows.append(
                {
                    "size": size,
                    "lifts": len(at),
                    "reached": sum(bool(v["reached"]) for v in at),
                    "fraction": summary["success_fraction"][str(size)],
                    "interval low": summary["interval_low"][str(size)],
                    "interval high": summary["interval_high"][str(size)],
                    "median final loss / initial": float(
                        np.median([v["losses"][-1] / v["losses"][0] for v in at])
                    ),
                    "median test loss / initial": float(
                        np.median([v["test_loss"] / v["losses"][0] for v in at])
                    ),
                }
            )
        return rows


def _counts(config: PacConvergenceConfig, measurements: Measurements) -> dict[int, tuple[int, int]]:
    """Successes and trials at each size."""
    counts = {}
    for size in config.sizes:
        at = [v for n, v in measurements.items() if trial_size(n) == size]
        counts[size] = (sum(bool(v["reached"]) for v in at), len(at))
    return counts


CLAIM = PacConvergence()
