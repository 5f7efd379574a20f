"""The mechanism of Random Sparse Lifts: a small tangent constant forces the loss down."""

import dataclasses
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from sparsejax import bounds
from sparsejax.bounds import Verdict
from sparsejax.claims.bound_arrays import bound_arrays, budget_of, decisive
from sparsejax.claims.claim import Measurements, Trial
from sparsejax.claims.drawing import BLUE, GREEN, GREY, ORANGE, PALETTE, RED, panels, paper_style
from sparsejax.claims.setting import LiftSetting, check_setting, problem
from sparsejax.claims.size_ladder import ladder_trials, trial_size
from sparsejax.dynamics import gradient_flow

REFINEMENT = 10.0


@dataclasses.dataclass(frozen=True)
class TangentApproximationConfig(LiftSetting):
    """Gradient flows of random lifts of growing size, with their tangent constants."""

    sizes: tuple[int, ...] = (64, 128, 256, 512)
    """Vertices per hidden layer, one ladder step each."""
    lifts: int = 2
    """Random lifts per size."""
    eps_fraction: float = 0.3
    """The level of the tangent constant, as a fraction of the initial loss."""
    t1: float = 60.0
    """Flow time."""
    probes: int = 40
    """Number of saved times behind 0; denser at the start. Must be even: the quadrature error is
    read off from every second one."""
    rtol: float = 1e-5
    """Tolerance of the flow; a second flow at a tenth of it measures the integrator's error."""


class TangentApproximation:
    """Bounds 2.1 and 2.2 against the measured loss, and the tangent constant against size."""

    name = "tangent-approximation"
    statement = (
        "A small tangent approximation constant forces the loss of a gradient flow down, and "
        "random sparse lifts make it small as they grow."
    )
    source = "Robin, Scaman, Lelarge, ICLR 2024 (arXiv 2501.05930)"
    Config = TangentApproximationConfig

    def validate(self, config: TangentApproximationConfig) -> None:
        """Refuse a bad config before any compute."""
        check_setting(config, config.sizes)
        if config.lifts < 1:
            raise ValueError(f"lifts: at least one lift per size is needed, got {config.lifts}")
        if not 0 < config.eps_fraction < 1:
            raise ValueError(f"eps_fraction: must lie in (0, 1), got {config.eps_fraction}")
        if config.probes < 4 or config.probes % 2:
            raise ValueError(f"probes: must be even and at least 4, got {config.probes}")
        for field in ("t1", "rtol"):
            if not getattr(config, field) > 0:
                raise ValueError(f"{field}: must be positive, got {getattr(config, field)}")

    def control(self, config: TangentApproximationConfig) -> TangentApproximationConfig:
        """Lifts too small for eps: fewer parameters than samples, so that no step reaches it."""
        samples = config.samples
        if samples is not None and config.data == "synthetic":
            samples = max(samples, 400)
        return dataclasses.replace(
            config,
            sizes=(config.in_degree,),
            samples=samples,
            eps_fraction=config.eps_fraction / 10,
        )

    def trials(self, config: TangentApproximationConfig) -> list[Trial]:
        """One trial a lift, small sizes first."""
        return ladder_trials(config.sizes, config.lifts)

    def measure(self, config: TangentApproximationConfig, trial: Trial) -> dict[str, np.ndarray]:
        """One flow, its tangent constants, both bounds and their verdicts."""
        lift = problem(config, trial.parameters["size"], trial.parameters["number"])
        ts = config.t1 * np.linspace(0.0, 1.0, config.probes + 1) ** 2
        loss = lift.loss
        flow = gradient_flow(loss, lift.params, config.t1, saveat=ts, rtol=config.rtol)
        fine = gradient_flow(loss, lift.params, config.t1, saveat=ts, rtol=config.rtol / REFINEMENT)
        initial = float(flow.losses[0])
        eps = config.eps_fraction * initial
        f = lift.lift.apply
        kappas = bounds.tangent_constants(f, flow, lift.x, lift.y, eps)
        measured = {
            "ts": np.asarray(flow.ts),
            "losses": np.asarray(flow.losses),
            "losses_refined": np.asarray(fine.losses),
            "kappas": np.asarray(kappas),
            "eps": np.asarray(eps),
            "parameters": np.asarray(lift.lift.parameter_count()),
            "samples": np.asarray(len(lift.x)),
            "test_loss": np.asarray(lift.test_loss(flow.final)),
            "flow_status": np.asarray(flow.status),
            "gradient_evaluations": np.asarray(flow.stats["gradient_evaluations"]),
        }
        for form in ("convex", "squared"):
            bound = bounds.tangent(f, flow, lift.x, lift.y, eps, form=form, kappas=kappas)
            verdict = bounds.compare(bound, flow, integrator_reference=fine)
            measured |= bound_arrays(form, bound, verdict, len(ts))
        return measured

    def judge(self, config: TangentApproximationConfig, measurements: Measurements) -> Verdict:
        """Every applicable bound must hold, and the tangent constant must fall with size."""
        largest = max(config.sizes)
        trials = [(trial_size(name), values) for name, values in sorted(measurements.items())]
        verdicts = [(size, v, form) for size, v in trials for form in ("convex", "squared")]
        nearest = decisive(
            "squared", [v for size, v in trials if size == largest] or [v for _, v in trials]
        )
        budget = budget_of("squared", nearest)
        margin = float(nearest["squared_margin"])
        summary = self._summary(config, measurements)
        vacuous = all(bool(v[f"{form}_vacuous"]) for _, v, form in verdicts)
        statuses = [str(v[f"{form}_status"]) for _, v, form in verdicts]
        at_largest = [str(v[f"{form}_status"]) for size, v, form in verdicts if size == largest]
        medians = [summary["kappa_at_start"][str(size)] for size in config.sizes]
        falling = all(b <= a for a, b in zip(medians, medians[1:], strict=False))
        held = statuses.count("holds")
        if "violated" in statuses:
            status = "violated"
            reason = f"{statuses.count('violated')} of {len(statuses)} bounds are exceeded"
        elif vacuous:
            status = "not_applicable"
            reason = (
                "the tangent constant is infinite on every lift: they are too small for the "
                "level eps, and no bound says anything"
            )
        elif set(at_largest) != {"holds"}:
            status = "inconclusive"
            reason = f"at size {largest} the bounds are {', '.join(sorted(set(at_largest)))}"
        elif not falling:
            status = "inconclusive"
            reason = "all bounds hold, but the median tangent constant does not fall with size"
        else:
            status = "holds"
            reason = (
                f"{held} of {len(statuses)} bounds hold and none is exceeded, and the median "
                f"tangent constant at the start falls with size to {medians[-1]:.3g}"
            )
        return Verdict(status, vacuous, margin, budget, reason, summary)

    def _summary(
        self, config: TangentApproximationConfig, measurements: Measurements
    ) -> dict[str, Any]:
        by_size: dict[int, list[dict[str, np.ndarray]]] = {size: [] for size in config.sizes}
        for name, values in measurements.items():
            by_size[trial_size(name)].append(values)

        def medians(of) -> dict[str, float]:
            return {
                str(size): float(np.median([of(v) for v in trials])) if trials else np.nan
                for size, trials in by_size.items()
            }

        return {
            "kappa_at_start": medians(lambda v: float(v["kappas"][0])),
            "loss_at_end_over_initial": medians(lambda v: v["losses"][-1] / v["losses"][0]),
            "bound_at_end_over_initial": medians(lambda v: v["squared_bound"][-1] / v["losses"][0]),
            "convex_bound_at_end_over_initial": medians(
                lambda v: v["convex_bound"][-1] / v["losses"][0]
            ),
            "eps_over_initial": config.eps_fraction,
            "parameters": medians(lambda v: float(v["parameters"])),
            "samples": int(next(iter(measurements.values()))["samples"]),
        }

    def draw(
        self, config: TangentApproximationConfig, measurements: Measurements, verdict: Verdict
    ) -> Figure:
        """Loss with its bounds at the largest size; tangent constant against size."""
        largest = max(config.sizes)
        name = sorted(n for n in measurements if trial_size(n) == largest)[0]
        values = measurements[name]
        with paper_style():
            figure, (left, right) = panels(2)
            initial = values["losses"][0]
            ts = values["ts"]
            left.plot(ts, values["convex_bound"] / initial, "--", color=ORANGE, label="bound 2.1")
            left.plot(ts, values["squared_bound"] / initial, "-.", color=RED, label="bound 2.2")
            left.plot(ts, values["losses"] / initial, color=BLUE, label="measured loss")
            left.axhline(config.eps_fraction, color=GREY, lw=1, ls=":", label=r"level $\epsilon$")
            left.set_yscale("log")
            left.set_xscale("symlog", linthresh=config.t1 / 60)
            left.set_xlim(0, config.t1)
            left.set_xlabel("flow time $t$")
            left.set_ylabel("loss / initial loss")
            left.set_title(f"size {largest}, first lift")
            # Opaque: the level runs behind it.
            left.legend(loc="lower left", frameon=True, framealpha=1.0, edgecolor="none")
            _draw_constants(right, config, measurements)
            figure.suptitle(f"Tangent approximation: {verdict.status.replace('_', ' ')}")
        return figure

    def table(
        self, config: TangentApproximationConfig, measurements: Measurements, verdict: Verdict
    ) -> list[dict[str, Any]]:
        """One row a size."""
        summary = verdict.summary
        rows = []
        for size in config.sizes:
            at = [v for n, v in measurements.items() if trial_size(n) == size]
            rows.append(
                {
                    "size": size,
                    "lifts": len(at),
                    "parameters": int(summary["parameters"][str(size)]) if at else 0,
                    "kappa at start": summary["kappa_at_start"][str(size)],
                    "loss / initial": summary["loss_at_end_over_initial"][str(size)],
                    "bound 2.1 / initial": summary["convex_bound_at_end_over_initial"][str(size)],
                    "bound 2.2 / initial": summary["bound_at_end_over_initial"][str(size)],
                    "bounds": ", ".join(sorted({str(v["squared_status"]) for v in at})),
                }
            )
        return rows


def _draw_constants(axes, config: TangentApproximationConfig, measurements: Measurements) -> None:
    """Tangent constants at the start; unattainable ones stand on a line of their own at the top."""
    sizes = np.array([trial_size(name) for name in measurements])
    kappas = np.array([values["kappas"][0] for values in measurements.values()])
    finite = np.isfinite(kappas)
    top = 2 * kappas[finite].max() if finite.any() else 1.0
    axes.plot(sizes[finite], kappas[finite], "o", color=GREEN, label="one lift")
    if (~finite).any():
        axes.plot(
            sizes[~finite],
            np.full((~finite).sum(), top),
            "^",
            color=PALETTE[3],
            label="infinite: level out of reach",
        )
    axes.set_xscale("log", base=2)
    axes.set_xticks(config.sizes, [str(size) for size in config.sizes])
    axes.minorticks_off()
    axes.set_yscale("log")
    axes.set_ylim(top=2 * top)
    axes.set_xlabel("vertices per hidden layer")
    axes.set_ylabel(r"tangent constant $\kappa_\epsilon$ at $t = 0$")
    axes.set_title("tangent constant against size")
    axes.legend()


CLAIM = TangentApproximation()
