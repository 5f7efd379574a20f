"""Beyond over-parameterisation: the loss decays where the least eigenvalue promises nothing."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float
from matplotlib.figure import Figure

from sparsejax import bounds
from sparsejax.bounds import Verdict
from sparsejax.claims.bound_arrays import bound_arrays, budget_of, decisive, slack
from sparsejax.claims.claim import Measurements, Trial
from sparsejax.claims.drawing import BLUE, GREY, ORANGE, RED, SKY, panels, paper_style
from sparsejax.claims.setting import LiftSetting, check_setting, problem
from sparsejax.claims.stepped_flows import stepped_flows
from sparsejax.dynamics import squared_loss
from sparsejax.tangent import residual_and_kernel


@dataclasses.dataclass(frozen=True)
class UnderparameterisedConfig(LiftSetting):
    """Gradient flows of random lifts with fewer parameters than samples."""

    data: str = "digits"
    """What is learned: real data (digits: even or odd; diabetes: disease progression), or
    synthetic, samples of tanh(2 x1 x2) tanh(2 x3 x4) in 8 dimensions."""
    samples: int | None = 900
    """Number of training samples."""
    size: int = 24
    """Vertices per hidden layer; small, so that there are fewer parameters than samples."""
    lifts: int = 3
    """Random lifts."""
    eps_fraction: float = 0.5
    """The level of the tangent constant, as a fraction of the initial loss."""
    t1: float = 20.0
    """Flow time."""
    probes: int = 40
    """Number of saved times behind 0; denser at the start. Must be even: the quadrature error is
    read off from every second one."""
    steps: int = 2000
    """Steps of the classical Runge-Kutta method along the flow, at least; a second flow at twice
    the step measures the integrator's error."""
    share: float = 0.5
    """The share of the measured decay that the tangent bound must promise."""
    shuffled: bool = False
    """Targets dealt out to the samples at random, so that nothing can be learned."""


class Underparameterised:
    """Loss, Rayleigh identity, tangent bound and least-eigenvalue rate, and the spectrum."""

    name = "underparameterised"
    statement = (
        "With fewer parameters than samples the least eigenvalue of the tangent kernel is zero and "
        "promises nothing, yet the loss decays: by the Rayleigh quotient exactly, and at least as "
        "the tangent approximation constant says."
    )
    source = (
        "Robin, Scaman, Lelarge, NeurIPS 2022 (arXiv 2301.08117) and ICLR 2024 (arXiv 2501.05930)"
    )
    Config = UnderparameterisedConfig

    def validate(self, config: UnderparameterisedConfig) -> None:
        """Refuse a bad config before any compute."""
        check_setting(config, (config.size,))
        if config.lifts < 1:
            raise ValueError(f"lifts: at least one lift is needed, got {config.lifts}")
        if config.probes < 4 or config.probes % 2:
            raise ValueError(f"probes: must be even and at least 4, got {config.probes}")
        for field in ("eps_fraction", "share"):
            if not 0 < getattr(config, field) < 1:
                raise ValueError(f"{field}: must lie in (0, 1), got {getattr(config, field)}")
        for field in ("t1", "steps"):
            if not getattr(config, field) > 0:
                raise ValueError(f"{field}: must be positive, got {getattr(config, field)}")

    def control(self, config: UnderparameterisedConfig) -> UnderparameterisedConfig:
        """Targets without a relation to the samples: no step of the parameters reaches eps."""
        # Fewer parameters than samples still fit a share of noise: not down to half of it.
        return dataclasses.replace(
            config, shuffled=True, eps_fraction=min(config.eps_fraction, 0.5)
        )

    def trials(self, config: UnderparameterisedConfig) -> list[Trial]:
        """One trial a lift."""
        return [Trial(f"lift{number:03d}", {"number": number}) for number in range(config.lifts)]

    def measure(self, config: UnderparameterisedConfig, trial: Trial) -> dict[str, np.ndarray]:
        """One flow with three promises, and the spectrum at both of its ends."""
        number = trial.parameters["number"]
        drawn = problem(config, config.size, number)
        y = drawn.y
        if config.shuffled:
            key = jax.random.fold_in(jax.random.key(config.seed), number)
            y = jax.random.permutation(key, y)
        f, loss = drawn.lift.apply, squared_loss(drawn.lift.apply, drawn.x, y)
        ts = config.t1 * np.linspace(0.0, 1.0, config.probes + 1) ** 2
        flow, rough = stepped_flows(loss, drawn.params, ts, config.steps)
        eps = config.eps_fraction * float(flow.losses[0])
        rates = bounds.kernel_rates(f, flow, drawn.x, y)
        kappas = bounds.tangent_constants(f, flow, drawn.x, y, eps)
        measured = {
            "ts": np.asarray(flow.ts),
            "losses": np.asarray(flow.losses),
            "losses_rough": np.asarray(rough.losses),
            "rayleigh": np.asarray(rates.rayleigh),
            "least": np.asarray(rates.least),
            "kappas": np.asarray(kappas),
            "eps": np.asarray(eps),
            "parameters": np.asarray(drawn.lift.parameter_count()),
            "equations": np.asarray(y.size),
            "test_loss": np.asarray(drawn.test_loss(flow.final)),
            "flow_status": np.asarray(flow.status),
        }
        for when, at in (("start", 0), ("end", -1)):
            values, energies = _spectrum(f, flow.at(at), drawn.x, y)
            measured |= {f"eigenvalues_{when}": values, f"energies_{when}": energies}
        for prefix, bound in (
            ("identity", bounds.rayleigh(f, flow, drawn.x, y, rates=rates)),
            ("least", bounds.least_eigenvalue(f, flow, drawn.x, y, rates=rates)),
            ("tangent", bounds.tangent(f, flow, drawn.x, y, eps, kappas=kappas)),
        ):
            verdict = bounds.compare(bound, flow, integrator_reference=rough)
            measured |= bound_arrays(prefix, bound, verdict, len(ts))
        return measured

    def judge(self, config: UnderparameterisedConfig, measurements: Measurements) -> Verdict:
        """Zero least eigenvalue, identity and tangent bound on every lift, and enough promised."""
        trials = list(measurements.values())
        lowest = min(trials, key=_share)
        decay = float(lowest["losses"][0] - lowest["losses"][-1])
        scale = decay if decay > 0 else np.nan
        # The share's own errors: those of the tangent bound, in units of the decay.
        budget = {k: v / scale for k, v in budget_of("tangent", lowest).items()}
        margin = _share(lowest) - config.share
        over = [v for v in trials if int(v["parameters"]) >= int(v["equations"])]
        positive = [v for v in trials if not _least_is_zero(v)]
        tangent = [str(v["tangent_status"]) for v in trials]
        identity = [str(v["identity_status"]) for v in trials]
        reached = [v for v in trials if np.isfinite(v["kappas"]).any()]
        floor = float(np.median([v["losses"][-1] / v["losses"][0] for v in trials]))
        summary = self._summary(config, measurements)
        vacuous = all(bool(v["tangent_vacuous"]) for v in trials)
        if over:
            status = "not_applicable"
            reason = (
                f"{int(over[0]['parameters'])} parameters are not fewer than the "
                f"{int(over[0]['equations'])} samples times outputs"
            )
        elif "violated" in tangent or "violated" in identity or positive:
            status = "violated"
            reason = (
                f"of {len(trials)} lifts the tangent bound is exceeded on "
                f"{tangent.count('violated')}, the identity broken on {identity.count('violated')}"
                f", and the least eigenvalue positive on {len(positive)}"
            )
        elif any(str(v["flow_status"]) != "completed" for v in trials):
            status, reason = "inconclusive", "a flow did not reach its end"
        elif not reached:
            status = "not_applicable"
            reason = (
                f"the tangent constant is infinite on every lift at all times: no step reaches "
                f"{config.eps_fraction:.2g} of the initial loss, and the flow ends at {floor:.2g}"
            )
        elif {*tangent, *identity} != {"holds"}:
            status = "inconclusive"
            said = ", ".join(sorted({*tangent, *identity} - {"holds"}))
            reason = f"on some lift a bound comes out as {said.replace('_', ' ')}"
        elif not abs(margin) > sum(budget.values()):
            status = "inconclusive"
            reason = "the promised share of the decay is the asked one, within the error budget"
        elif margin < 0:
            status = "violated"
            reason = (
                f"on some lift the tangent bound promises only {_share(lowest):.2g} of the decay"
            )
        else:
            status = "holds"
            reason = (
                f"with {int(lowest['parameters'])} parameters for {int(lowest['equations'])} "
                f"samples the least eigenvalue is zero, yet the loss falls to {floor:.2g} of its "
                f"start; the identity holds on all {len(trials)} lifts, and the tangent bound "
                f"promises at least {_share(lowest):.2g} of the decay"
            )
        return Verdict(status, vacuous, margin, budget, reason, summary)

    def _summary(
        self, config: UnderparameterisedConfig, measurements: Measurements
    ) -> dict[str, Any]:
        trials = list(measurements.values())

        def median(of) -> float:
            return float(np.median([of(v) for v in trials]))

        return {
            "parameters": int(trials[0]["parameters"]),
            "samples_times_outputs": int(trials[0]["equations"]),
            "rank_at_start": median(lambda v: _rank(v["eigenvalues_start"])),
            "rank_at_end": median(lambda v: _rank(v["eigenvalues_end"])),
            "loss_at_end_over_initial": median(lambda v: v["losses"][-1] / v["losses"][0]),
            "tangent_bound_at_end_over_initial": median(
                lambda v: v["tangent_bound"][-1] / v["losses"][0]
            ),
            "promised_share_of_decay": median(_share),
            "eps_over_initial": config.eps_fraction,
            "identity_worst_difference_in_budgets": max(abs(slack("identity", v)) for v in trials),
            "tangent_least_slack_in_budgets": slack("tangent", decisive("tangent", trials)),
        }

    def draw(
        self, config: UnderparameterisedConfig, measurements: Measurements, verdict: Verdict
    ) -> Figure:
        """Loss and its promises; spectrum of the kernel, and the residual's energy in it."""
        values = measurements[sorted(measurements)[0]]
        with paper_style():
            figure, (left, middle, right) = panels(3)
            start, ts = values["losses"][0], values["ts"]
            left.plot(
                ts,
                values["least_bound"] / start,
                ":",
                color=RED,
                lw=2,
                label=r"rate of $\lambda_{\min} = 0$ (bound)",
            )
            left.plot(
                ts, values["tangent_bound"] / start, "--", color=ORANGE, label="tangent bound"
            )
            left.plot(ts, values["losses"] / start, color=BLUE, label="measured loss")
            sparse = slice(None, None, 2)
            left.plot(
                ts[sparse],
                (values["identity_bound"] / start)[sparse],
                "o",
                ms=3.5,
                mfc="none",
                color="black",
                mew=0.7,
                label="Rayleigh identity",
            )
            left.axhline(config.eps_fraction, color=GREY, lw=1, ls=":", label=r"level $\epsilon$")
            left.set_xscale("log")
            left.set_xlim(ts[1], config.t1)
            left.set_ylim(bottom=0)
            left.set_xlabel("flow time $t$")
            left.set_ylabel("loss / initial loss")
            left.set_title(
                f"{int(values['parameters'])} parameters, {int(values['equations'])} samples",
            )
            left.legend(loc="lower left")
            for when, color in (("end", BLUE), ("start", SKY)):
                _draw_spectrum(middle, right, values, when, color)
            middle.axvline(
                int(values["parameters"]), color=GREY, lw=1, ls=":", label="number of parameters"
            )
            middle.set_xlim(0, int(values["equations"]))
            middle.set_yscale("log")
            middle.set_xlabel("eigenvalue, largest first")
            middle.set_ylabel("eigenvalue / largest")
            middle.set_title("spectrum of the kernel")
            middle.legend(loc="upper right")
            right.set_xscale("log")
            right.set_ylim(0, 1.02)
            right.set_xlim(1, int(values["equations"]))
            right.axvline(int(values["parameters"]), color=GREY, lw=1, ls=":")
            right.set_xlabel("number of leading eigenvectors")
            right.set_ylabel("share of the residual's energy\n(the rest: in the null space)")
            right.set_title("where the residual lies")
            right.legend(loc="upper left")
            figure.suptitle(f"Fewer parameters than samples: {verdict.status.replace('_', ' ')}")
        return figure

    def table(
        self, config: UnderparameterisedConfig, measurements: Measurements, verdict: Verdict
    ) -> list[dict[str, Any]]:
        """One row a lift."""
        return [
            {
                "lift": name,
                "parameters": int(v["parameters"]),
                "samples x outputs": int(v["equations"]),
                "rank at start": _rank(v["eigenvalues_start"]),
                "rank at end": _rank(v["eigenvalues_end"]),
                "loss / initial": float(v["losses"][-1] / v["losses"][0]),
                "tangent bound / initial": float(v["tangent_bound"][-1] / v["losses"][0]),
                "share promised": _share(v),
                "identity": str(v["identity_status"]),
                "tangent bound": str(v["tangent_status"]),
                "least eigenvalue": str(v["least_status"]),
            }
            for name, v in measurements.items()
        ]


def _spectrum(f, params, x, y) -> tuple[Float[np.ndarray, " m"], Float[np.ndarray, " m"]]:
    """Eigenvalues, largest first, and the share of `||r||^2` along their eigenvectors."""
    residual, kernel = residual_and_kernel(f, params, x, y)
    values, vectors = jnp.linalg.eigh(kernel)
    squares = np.asarray(jnp.square(vectors.T @ residual))[::-1]
    return np.asarray(values)[::-1], squares / squares.sum()


def _rank(eigenvalues: Float[np.ndarray, " m"]) -> int:
    """How many eigenvalues are above `m` roundings of the largest."""
    cutoff = len(eigenvalues) * np.finfo(eigenvalues.dtype).eps * eigenvalues[0]
    return int((eigenvalues > cutoff).sum())


def _least_is_zero(values: dict[str, np.ndarray]) -> bool:
    """Whether the kernel is singular, to rounding, at both ends and at every saved time."""
    ends = [values[f"eigenvalues_{when}"] for when in ("start", "end")]
    singular = all(_rank(eigenvalues) < len(eigenvalues) for eigenvalues in ends)
    return singular and not np.nanmax(values["least"]) > 0


def _share(values: dict[str, np.ndarray]) -> float:
    """What the tangent bound promises to be lost by the end, over what was lost; NaN is none."""
    losses, bound = values["losses"], values["tangent_bound"]
    lost = float(losses[0] - losses[-1])
    share = float(losses[0] - bound[-1]) / lost if lost > 0 else 0.0
    return share if np.isfinite(share) else 0.0


def _draw_spectrum(spectrum, energy, values: dict[str, np.ndarray], when: str, color: str) -> None:
    eigenvalues = values[f"eigenvalues_{when}"]
    rank = _rank(eigenvalues)
    label = {"start": "at the start", "end": "at the end"}[when]
    count = np.arange(1, rank + 1)
    spectrum.plot(count, eigenvalues[:rank] / eigenvalues[0], ".", ms=3, color=color, label=label)
    # Behind the rank there is the null space, where one basis is as good as another.
    seen = np.cumsum(values[f"energies_{when}"][:rank])
    energy.plot(count, seen, color=color, label=label)
    energy.plot(rank, seen[-1], "o", ms=4, color=color)


CLAIM = Underparameterised()
