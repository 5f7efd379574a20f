"""The classical rate of gradient flow: the loss falls as fast as the least eigenvalue promises."""

import dataclasses
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from sparsejax import bounds
from sparsejax.bounds import Verdict
from sparsejax.claims.bound_arrays import bound_arrays, budget_of, decisive, slack
from sparsejax.claims.claim import Measurements, Trial
from sparsejax.claims.drawing import BLUE, GREEN, ORANGE, RED, panels, paper_style
from sparsejax.claims.setting import LiftSetting, check_setting, problem
from sparsejax.claims.size_ladder import ladder_trials, trial_size
from sparsejax.claims.stepped_flows import stepped_flows


@dataclasses.dataclass(frozen=True)
class NtkRateConfig(LiftSetting):
    """Gradient flows of random lifts with far more parameters than samples."""

    samples: int | None = 32
    """Number of training samples; few, so that the kernel has no zero eigenvalue."""
    sizes: tuple[int, ...] = (64, 128, 256)
    """Vertices per hidden layer."""
    lifts: int = 8
    """Random lifts per size."""
    scaled_t1: float = 600.0
    """Flow time, times the size: kernels grow in proportion to it."""
    probes: int = 60
    """Number of saved times behind 0; denser at the start. Must be even: the quadrature error is
    read off from every second one."""
    steps: int = 2000
    """Steps of the classical Runge-Kutta method along the flow, at least; a second flow at twice
    the step measures the integrator's error."""
    promise: float = 0.1
    """The share of the loss that the guaranteed rate must take away at the largest size."""


class NtkRate:
    """The loss against `L_0 exp(-4 int R)` and `L_0 exp(-4 int lambda_min)` on random lifts."""

    name = "ntk-rate"
    statement = (
        "The loss of a gradient flow decays at exactly four times the Rayleigh quotient of the "
        "tangent kernel at its residual, and so at least at four times its least eigenvalue."
    )
    source = (
        "Jacot, Gabriel, Hongler, NeurIPS 2018 (arXiv 1806.07572); Robin, Scaman, Lelarge, "
        "NeurIPS 2022 (arXiv 2301.08117)"
    )
    Config = NtkRateConfig

    def validate(self, config: NtkRateConfig) -> None:
        """Refuse a bad config before any compute."""
        check_setting(config, config.sizes)
        if config.lifts < 1:
            raise ValueError(f"lifts: at least one lift per size is needed, got {config.lifts}")
        if config.probes < 4 or config.probes % 2:
            raise ValueError(f"probes: must be even and at least 4, got {config.probes}")
        if not 0 < config.promise < 1:
            raise ValueError(f"promise: must lie in (0, 1), got {config.promise}")
        for field in ("scaled_t1", "steps"):
            if not getattr(config, field) > 0:
                raise ValueError(f"{field}: must be positive, got {getattr(config, field)}")

    def control(self, config: NtkRateConfig) -> NtkRateConfig:
        """More samples than parameters: the least eigenvalue is zero and promises nothing."""
        size = config.in_degree
        # Weights and biases of the hidden layers, and of the readout.
        parameters = config.hidden * (size * size + size) + size + 1
        return dataclasses.replace(
            config, sizes=(size,), samples=max(config.samples or 0, 2 * parameters), lifts=2
        )

    def trials(self, config: NtkRateConfig) -> list[Trial]:
        """One trial a lift, small sizes first."""
        return ladder_trials(config.sizes, config.lifts)

    def measure(self, config: NtkRateConfig, trial: Trial) -> dict[str, np.ndarray]:
        """One flow, its kernel's rates, both promises and their verdicts."""
        size = trial.parameters["size"]
        drawn = problem(config, size, trial.parameters["number"])
        t1 = config.scaled_t1 / size
        ts = t1 * np.linspace(0.0, 1.0, config.probes + 1) ** 2
        flow, rough = stepped_flows(drawn.loss, drawn.params, ts, config.steps)
        f = drawn.lift.apply
        rates = bounds.kernel_rates(f, flow, drawn.x, drawn.y)
        measured = {
            "ts": np.asarray(flow.ts),
            "losses": np.asarray(flow.losses),
            "losses_rough": np.asarray(rough.losses),
            "rayleigh": np.asarray(rates.rayleigh),
            "least": np.asarray(rates.least),
            "parameters": np.asarray(drawn.lift.parameter_count()),
            "equations": np.asarray(drawn.y.size),
            "flow_status": np.asarray(flow.status),
        }
        for prefix, promise in (
            ("identity", bounds.rayleigh),
            ("guarantee", bounds.least_eigenvalue),
        ):
            bound = promise(f, flow, drawn.x, drawn.y, rates=rates)
            verdict = bounds.compare(bound, flow, integrator_reference=rough)
            measured |= bound_arrays(prefix, bound, verdict, len(ts))
        return measured

    def judge(self, config: NtkRateConfig, measurements: Measurements) -> Verdict:
        """Both promises must hold on every lift, and the rate say something at the largest size."""
        trials = list(measurements.values())
        largest = [v for n, v in measurements.items() if trial_size(n) == max(config.sizes)]
        spoken = [v for v in trials if not bool(v["guarantee_vacuous"])]
        closest = decisive("guarantee", spoken or trials)
        identity = [str(v["identity_status"]) for v in trials]
        guarantee = [str(v["guarantee_status"]) for v in trials]
        broken = identity.count("violated"), guarantee.count("violated")
        silent = len(trials) - len(spoken)
        promised = min(_promised(v) for v in largest or trials)
        summary = self._summary(config, measurements)
        if any(broken):
            status = "violated"
            reason = (
                f"the identity is broken on {broken[0]} of {len(trials)} lifts, the guaranteed "
                f"rate on {broken[1]}"
            )
        elif any(str(v["flow_status"]) != "completed" for v in trials):
            status, reason = "inconclusive", "a flow did not reach its end"
        elif not spoken or not promised >= config.promise:
            few = min(trials, key=lambda v: int(v["parameters"]) - int(v["equations"]))
            status = "not_applicable"
            reason = (
                f"the least eigenvalue is zero on {silent} of {len(trials)} lifts, and the rate "
                f"promises a share of {max(promised, 0.0):.2g} of the loss at the largest size "
                f"({int(few['parameters'])} parameters, {int(few['equations'])} equations)"
            )
        elif {*identity} != {"holds"} or {*guarantee} - {"not_applicable"} != {"holds"}:
            status = "inconclusive"
            reason = "on some lift the margin lies inside the error budget"
        else:
            status = "holds"
            at = str(max(config.sizes))
            reason = (
                f"identity and rate hold on all {len(trials)} lifts; at size {at} the loss decays "
                f"{summary['measured_over_guaranteed_rate'][at]:.3g} times as fast as guaranteed"
            )
            if silent:
                reason += f" (on {silent} lifts the least eigenvalue is zero, and promises nothing)"
        return Verdict(
            status,
            vacuous=not spoken,
            margin=float(closest["guarantee_margin"]),
            error_budget=budget_of("guarantee", closest),
            reason=reason,
            summary=summary,
        )

    def _summary(self, config: NtkRateConfig, measurements: Measurements) -> dict[str, Any]:
        def medians(of) -> dict[str, float]:
            found = {}
            for size in config.sizes:
                values = [of(v) for n, v in measurements.items() if trial_size(n) == size]
                found[str(size)] = float(np.median(values)) if values else np.nan
            return found

        return {
            "measured_over_guaranteed_rate": medians(_ratio),
            "loss_at_end_over_initial": medians(lambda v: v["losses"][-1] / v["losses"][0]),
            "guarantee_at_end_over_initial": medians(lambda v: 1 - _promised(v)),
            "least_eigenvalue_at_start": medians(lambda v: v["least"][0]),
            "identity_worst_difference_in_budgets": max(
                abs(slack("identity", v)) for v in measurements.values()
            ),
            "samples": int(next(iter(measurements.values()))["equations"]),
        }

    def draw(self, config: NtkRateConfig, measurements: Measurements, verdict: Verdict) -> Figure:
        """Loss and both promises at the largest size; the two rates over time."""
        largest = max(config.sizes)
        shown = [v for n, v in sorted(measurements.items()) if trial_size(n) == largest]
        with paper_style():
            figure, (left, right) = panels(2)
            # A rate of zero has no place on a logarithmic axis; its name says so.
            zero = not any((v["least"] > 0).any() for v in shown)
            least = r"least eigenvalue $\lambda_{\min}$" + (": zero, not drawn" if zero else "")
            for number, v in enumerate(shown):
                first = number == 0
                start, ts = v["losses"][0], v["ts"]
                strong = {"alpha": 1.0 if first else 0.25, "lw": 1.6 if first else 0.8}
                left.plot(
                    ts,
                    v["guarantee_bound"] / start,
                    "--",
                    color=RED,
                    label=r"rate of $\lambda_{\min}$ (bound)" if first else None,
                    **strong,
                )
                left.plot(
                    ts,
                    v["losses"] / start,
                    color=BLUE,
                    label="measured loss" if first else None,
                    **strong,
                )
                right.plot(
                    ts,
                    v["rayleigh"],
                    color=GREEN,
                    label="Rayleigh quotient $R$" if first else None,
                    **strong,
                )
                right.plot(
                    ts,
                    np.where(v["least"] > 0, v["least"], np.nan),
                    "--",
                    color=RED,
                    label=least if first else None,
                    **strong,
                )
            sparse = slice(None, None, 4)
            left.plot(
                shown[0]["ts"][sparse],
                (shown[0]["identity_bound"] / shown[0]["losses"][0])[sparse],
                "o",
                ms=3.5,
                mfc="none",
                color=ORANGE,
                label="Rayleigh identity, first lift",
                zorder=5,
            )
            t1 = float(shown[0]["ts"][-1])
            for axes in (left, right):
                axes.set_xscale("log")
                axes.set_xlim(1e-4 * t1, t1)
                axes.set_xlabel("flow time $t$")
            right.set_yscale("log")
            # Of a loss that hardly falls a logarithmic axis shows no decade.
            if min(v["losses"][-1] / v["losses"][0] for v in shown) < 0.3:
                left.set_yscale("log")
            left.set_ylabel("loss / initial loss")
            left.set_title(f"size {largest}, {len(shown)} lifts")
            left.legend(loc="lower left")
            right.set_ylabel("rate / 4, per flow time")
            right.set_title("what the kernel says")
            right.legend(loc="best")
            figure.suptitle(f"Least-eigenvalue rate: {verdict.status.replace('_', ' ')}")
        return figure

    def table(
        self, config: NtkRateConfig, measurements: Measurements, verdict: Verdict
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
                    "parameters": int(np.median([v["parameters"] for v in at])) if at else 0,
                    "least eigenvalue": summary["least_eigenvalue_at_start"][str(size)],
                    "loss / initial": summary["loss_at_end_over_initial"][str(size)],
                    "guaranteed": summary["guarantee_at_end_over_initial"][str(size)],
                    "measured / guaranteed rate": summary["measured_over_guaranteed_rate"][
                        str(size)
                    ],
                    "identity": ", ".join(sorted({str(v["identity_status"]) for v in at})),
                    "rate": ", ".join(sorted({str(v["guarantee_status"]) for v in at})),
                }
            )
        return rows


def _promised(values: dict[str, np.ndarray]) -> float:
    """The share of the initial loss that the guaranteed rate takes away by the end."""
    return float(1 - values["guarantee_bound"][-1] / values["losses"][0])


def _ratio(values: dict[str, np.ndarray]) -> float:
    """Measured over guaranteed rate of decay, both over the whole flow; infinite without one."""
    start = values["losses"][0]
    guaranteed = -np.log(values["guarantee_bound"][-1] / start)
    measured = -np.log(values["losses"][-1] / start)
    return float(measured / guaranteed) if guaranteed > 0 else float("inf")


CLAIM = NtkRate()
