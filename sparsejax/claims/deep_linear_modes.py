"""The modes of a deep linear network under gradient flow, each by one scalar equation."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import scipy.integrate
import scipy.stats
from jaxtyping import Array, Float
from matplotlib.figure import Figure

from sparsejax.bounds import PARTS, Verdict
from sparsejax.claims.claim import Measurements, Trial
from sparsejax.claims.drawing import GREY, PALETTE, panels, paper_style
from sparsejax.dynamics import gradient_flow

REFINEMENT = 10.0


@dataclasses.dataclass(frozen=True)
class DeepLinearModesConfig:
    """Gradient flow of `1/2 ||Sigma - W_N ... W_1||_F^2` from a balanced start."""

    depths: tuple[int, ...] = (2, 3, 4)
    """Numbers of factors N, one trial each."""
    strengths: tuple[float, ...] = (3.0, 2.0, 1.0)
    """Singular values of Sigma."""
    width: int = 6
    """All factors are width x width matrices; at least as many as there are strengths."""
    start: float = 0.02
    """Every mode's strength at time 0."""
    imbalance: float = 0.0
    """How far the factors are from balanced: factor j of every mode starts larger by this share of
    itself, the last one smaller, the product being the same."""
    halfway: float = 3.0
    """The flow runs so many times as long as theory says that the slowest mode takes to half its
    strength."""
    rtol: float = 1e-9
    """Tolerance of the flow; a second flow at a tenth of it measures the integrator's error."""
    tolerance: float = 1e-4
    """Largest difference between a mode and its equation, as a share of its strength, that counts
    as none."""
    seed: int = 0
    """Seed of the singular vectors and of the rotations between factors."""


class DeepLinearModes:
    """Measured modes against `du/dt = N u^(2 - 2/N) (s - u)`."""

    name = "deep-linear-modes"
    statement = (
        "From a balanced start, each mode of a linear network of N factors grows on its own, "
        "by du/dt = N u^(2 - 2/N) (s - u)."
    )
    source = "Saxe, McClelland, Ganguli, ICLR 2014 (arXiv 1312.6120); Arora, Cohen, Hazan 2018"
    Config = DeepLinearModesConfig

    def validate(self, config: DeepLinearModesConfig) -> None:
        """Refuse a bad config before any compute."""
        if not config.depths or min(config.depths) < 1:
            raise ValueError(f"depths: at least one factor each, got {config.depths}")
        if not config.strengths or not min(config.strengths) > 0:
            raise ValueError(f"strengths: must be positive, got {config.strengths}")
        if config.width < len(config.strengths):
            raise ValueError(
                f"width: {len(config.strengths)} strengths need at least that width, "
                f"got {config.width}"
            )
        if not 0 < config.start < min(config.strengths):
            raise ValueError(f"start: must lie between 0 and the least strength: {config.start}")
        if not config.imbalance >= 0:
            raise ValueError(f"imbalance: must not be negative, got {config.imbalance}")
        for field in ("halfway", "rtol", "tolerance"):
            if not getattr(config, field) > 0:
                raise ValueError(f"{field}: must be positive, got {getattr(config, field)}")

    def control(self, config: DeepLinearModesConfig) -> DeepLinearModesConfig:
        """A start that is not balanced: the same modes, another speed."""
        return dataclasses.replace(config, imbalance=1.0)

    def trials(self, config: DeepLinearModesConfig) -> list[Trial]:
        """One trial a depth."""
        return [Trial(f"depth{depth}", {"depth": depth}) for depth in config.depths]

    def measure(self, config: DeepLinearModesConfig, trial: Trial) -> dict[str, np.ndarray]:
        """Modes and what is not on the diagonal along a flow, with the modes by theory."""
        depth = trial.parameters["depth"]
        strengths = np.asarray(config.strengths, float)
        rng = np.random.default_rng(config.seed)
        left, right, *between = (
            scipy.stats.ortho_group.rvs(config.width, random_state=rng)
            if config.width > 1
            else np.ones((1, 1))
            for _ in range(depth + 1)
        )
        count = len(strengths)
        sigma = left[:, :count] @ np.diag(strengths) @ right[:, :count].T
        factors = _factors(config, depth, left, right, between)
        half = max(_time_to(depth, s, config.start, s / 2) for s in strengths)
        t1 = config.halfway * half
        ts = np.linspace(0.0, t1, 101)
        loss = jax.tree_util.Partial(_loss, jnp.asarray(sigma))
        modes, off = [], []
        for rtol in (config.rtol, config.rtol / REFINEMENT):
            flow = gradient_flow(loss, factors, t1, saveat=ts, solver="tsit5", rtol=rtol)
            rotated = left.T @ np.asarray(jax.vmap(_product)(flow.params)) @ right
            modes.append(np.diagonal(rotated, axis1=1, axis2=2)[:, :count])
            diagonal = np.zeros_like(rotated)
            diagonal[:, range(count), range(count)] = modes[-1]
            off.append(np.abs(rotated - diagonal).max(axis=(1, 2)))
        theory = np.stack([_mode(depth, s, config.start, ts) for s in strengths], axis=1)
        return {
            "ts": ts,
            "modes": modes[0],
            "modes_refined": modes[1],
            "theory": theory,
            "off_modes": off[0],
            "losses": np.asarray(flow.losses),
            "flow_status": np.asarray(flow.status),
            "eps": np.asarray(float(np.finfo(np.asarray(flow.losses).dtype).eps)),
        }

    def judge(self, config: DeepLinearModesConfig, measurements: Measurements) -> Verdict:
        """Holds where every mode follows its equation within the tolerance."""
        strengths = np.asarray(config.strengths)
        summary: dict[str, Any] = {"difference": {}, "off_modes": {}}
        worst, budget = -np.inf, dict.fromkeys(PARTS, 0.0)
        for name, v in measurements.items():
            difference = float(np.max(np.abs(v["modes"] - v["theory"]) / strengths))
            strays = float(np.max(v["off_modes"]) / strengths.min())
            summary["difference"][name], summary["off_modes"][name] = difference, strays
            if max(difference, strays) > worst:
                worst = max(difference, strays)
                budget["integrator"] = float(
                    np.max(np.abs(v["modes"] - v["modes_refined"]) / strengths)
                )
                # The scalar equations are integrated at a tolerance of their own.
                budget["quadrature"] = 1e-9
                budget["floating_point"] = 1e3 * float(v["eps"])
        margin, total = config.tolerance - worst, sum(budget.values())
        if any(str(v["flow_status"]) != "completed" for v in measurements.values()):
            status, reason = "inconclusive", "a flow did not reach its end"
        elif not np.isfinite(worst) or abs(margin) <= total:
            status, reason = "inconclusive", "the margin lies inside the error budget"
        elif margin > 0:
            status = "holds"
            reason = f"every mode follows its equation to {worst:.2g} of its strength"
        else:
            status = "violated"
            reason = f"a mode differs from its equation by {worst:.2g} of its strength"
        return Verdict(status, False, margin, budget, reason, summary)

    def draw(
        self, config: DeepLinearModesConfig, measurements: Measurements, verdict: Verdict
    ) -> Figure:
        """Modes over time, one panel a depth."""
        with paper_style():
            figure, axes = panels(len(measurements), width=3.0)
            for ax, (name, v) in zip(axes, measurements.items(), strict=True):
                for i, s in enumerate(config.strengths):
                    color = PALETTE[i % len(PALETTE)]
                    ax.axhline(s, color=GREY, lw=0.6, ls=":")
                    ax.plot(v["ts"], v["theory"][:, i], color=color, label=f"theory, $s = {s:g}$")
                    label = "flow" if i == 0 else None
                    ax.plot(
                        v["ts"][::5],
                        v["modes"][::5, i],
                        "o",
                        color=color,
                        ms=3,
                        mfc="w",
                        label=label,
                    )
                ax.set_title(f"{name.removeprefix('depth')} factors")
                ax.set_xlabel("flow time $t$")
                ax.set_ylabel("strength of the mode $u$")
            handles, labels = axes[0].get_legend_handles_labels()
            figure.legend(handles, labels, loc="outside lower center", ncols=len(labels))
            figure.suptitle(f"Deep linear modes: {verdict.status.replace('_', ' ')}")
        return figure

    def table(
        self, config: DeepLinearModesConfig, measurements: Measurements, verdict: Verdict
    ) -> list[dict[str, Any]]:
        """One row a depth."""
        return [
            {
                "factors": int(name.removeprefix("depth")),
                "flow time": float(v["ts"][-1]),
                "largest difference / strength": verdict.summary["difference"][name],
                "outside the modes / strength": verdict.summary["off_modes"][name],
                "loss / initial": float(v["losses"][-1] / v["losses"][0]),
            }
            for name, v in measurements.items()
        ]


def _factors(config, depth: int, left, right, between) -> list[Array]:
    """Factors whose product has every mode at `start` in the singular vectors of Sigma.

    Singular vectors without a strength have none in the factors either: they stay zero.
    """
    count = len(config.strengths)
    weights = np.full(depth, config.start ** (1 / depth))
    weights[:-1] *= 1 + config.imbalance
    weights[-1] /= (1 + config.imbalance) ** (depth - 1)
    frames = [right[:, :count], *(turn[:, :count] for turn in between), left[:, :count]]
    return [jnp.asarray(weights[j] * frames[j + 1] @ frames[j].T) for j in range(depth)]


def _product(factors: list[Array]) -> Array:
    total = factors[0]
    for factor in factors[1:]:
        total = factor @ total
    return total


def _loss(sigma: Array, factors: list[Array]) -> Array:
    return jnp.sum(jnp.square(sigma - _product(factors))) / 2


def _mode(depth: int, s: float, start: float, ts: Float[np.ndarray, " s"]) -> np.ndarray:
    """The solution of `du/dt = N u^(2 - 2/N) (s - u)`; in closed form for one and two factors."""
    if depth == 1:
        return s - (s - start) * np.exp(-ts)
    if depth == 2:
        return s / (1 + (s / start - 1) * np.exp(-2 * s * ts))
    solution = scipy.integrate.solve_ivp(
        lambda t, u: depth * u ** (2 - 2 / depth) * (s - u),
        (0.0, float(ts[-1])),
        [start],
        t_eval=ts,
        method="DOP853",
        rtol=1e-11,
        atol=1e-13,
    )
    return solution.y[0]


def _time_to(depth: int, s: float, start: float, level: float) -> float:
    """When a mode reaches `level`, by quadrature of `du / (N u^(2 - 2/N) (s - u))`."""
    if level <= start:
        return 1.0 / s
    return float(
        scipy.integrate.quad(
            lambda u: 1 / (depth * u ** (2 - 2 / depth) * (s - u)), start, level, limit=200
        )[0]
    )


CLAIM = DeepLinearModes()
