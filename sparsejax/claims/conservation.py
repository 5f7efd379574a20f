"""Balances of weights that gradient flow conserves, and that discrete steps do not."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array, Float
from matplotlib.figure import Figure

from sparsejax import graphs, lifts
from sparsejax.bounds import PARTS, Verdict
from sparsejax.claims.claim import Measurements, Trial
from sparsejax.claims.drawing import BLUE, GREY, ORANGE, RED, panels, paper_style
from sparsejax.claims.setting import LiftSetting, check_setting, problem
from sparsejax.dynamics import gradient_descent, gradient_flow, sharpness, squared_loss

REFINEMENT = 10.0
_SGD = optax.inject_hyperparams(optax.sgd)(learning_rate=0.0)


@dataclasses.dataclass(frozen=True)
class ConservationConfig(LiftSetting):
    """Gradient flows of random lifts and of deep linear networks, with their balances."""

    samples: int = 60
    """Number of training samples."""
    activation: str = "relu"
    """Activation of the hidden vertices of the sparse lifts; the law needs a positively homogeneous
    one (relu, leaky_relu, identity)."""
    in_degree: int = 4
    """Predecessors of every hidden vertex (exact or expected, see law)."""
    size: int = 24
    """Vertices per hidden layer."""
    lifts: int = 2
    """Random lifts, and as many dense linear networks of the same size."""
    coarsest_steps: int = 48
    """Steps of gradient descent at 1 / sharpness of the start; this sets the flow time."""
    rtol: float = 1e-7
    """Tolerance of the flow; a second flow at a tenth of it measures the integrator's error."""
    halvings: int = 2
    """Gradient descent runs beside the flow at 1 / sharpness, and at half of it, so many times."""
    tolerance: float = 1e-3
    """The largest drift that counts as none, as a share of what the weights moved."""


class Conservation:
    """The drift of each balance along the flow, and along gradient descent at a ladder of steps."""

    name = "conservation"
    statement = (
        "Gradient flow conserves the difference between in-weights and out-weights of every "
        "positively homogeneous vertex, and a matrix of every linear layer."
    )
    source = "Du, Hu, Lee, NeurIPS 2018 (arXiv 1806.00900); Arora, Cohen, Hazan, ICML 2018"
    Config = ConservationConfig

    def validate(self, config: ConservationConfig) -> None:
        """Refuse a bad config before any compute."""
        for field, least in (("lifts", 1), ("halvings", 1), ("coarsest_steps", 2)):
            if getattr(config, field) < least:
                raise ValueError(f"{field}: at least {least}, got {getattr(config, field)}")
        for field in ("rtol", "tolerance"):
            if not getattr(config, field) > 0:
                raise ValueError(f"{field}: must be positive, got {getattr(config, field)}")
        check_setting(config, (config.size,))

    def control(self, config: ConservationConfig) -> ConservationConfig:
        """An activation that is not homogeneous: nothing is conserved."""
        return dataclasses.replace(config, activation="tanh")

    def trials(self, config: ConservationConfig) -> list[Trial]:
        """Sparse lifts with the activation, then dense linear networks."""
        return [
            Trial(f"{kind}-lift{number:03d}", {"kind": kind, "number": number})
            for kind in ("sparse", "linear")
            for number in range(config.lifts)
        ]

    def measure(self, config: ConservationConfig, trial: Trial) -> dict[str, np.ndarray]:
        """Relative drifts of all balances along one flow, a finer flow, and descents."""
        number, linear = trial.parameters["number"], trial.parameters["kind"] == "linear"
        drawn = problem(config, config.size, number)
        lift, params, loss = drawn.lift, drawn.params, drawn.loss
        if linear:
            module = graphs.mlp(drawn.x.shape[1], config.hidden, drawn.y.shape[1], "identity")
            lift = lifts.dense_lift(module, config.size)
            params = lift.init(jax.random.fold_in(jax.random.key(config.seed), number), gain=0.7)
            loss = squared_loss(lift.apply, drawn.x, drawn.y)
        found = lifts.conserved_quantities(lift)
        # Balances are recorded at every hidden vertex, whether theory says that they stay or not.
        hidden = tuple(f"h{i}" for i in range(1, config.hidden + 1))
        watched = lifts.ConservedQuantities(lift, hidden, found.linear)
        probes = {
            "balance": jax.tree_util.Partial(_balances, watched),
            "scale": jax.tree_util.Partial(_scales, watched),
        }
        sharp = float(sharpness(loss, params))
        t1 = config.coarsest_steps / sharp
        ts = np.linspace(0.0, t1, 41)
        drifts = []
        for rtol in (config.rtol, config.rtol / REFINEMENT):
            # A high order pays between the kinks of a ReLU, and so short a flow is not stiff.
            flow = gradient_flow(
                loss, params, t1, saveat=ts, solver="tsit5", rtol=rtol, probes=probes
            )
            drifts.append(_drift(flow.probes, hidden))
        counts = config.coarsest_steps * 2 ** np.arange(config.halvings + 1)
        descents = []
        for doubled, count in enumerate(counts):
            state = _SGD.init(params)._replace(
                hyperparams={"learning_rate": jnp.asarray(t1 / count)}
            )
            # All runs have the length of the longest, so that they share one compiled program;
            # each passes the flow time t1 at a saved step of its own.
            run = gradient_descent(
                loss,
                params,
                _SGD,
                int(counts[-1]),
                save_every=config.coarsest_steps,
                probes=probes,
                optimizer_state=state,
            )
            there = jax.tree.map(lambda leaf, at=2**doubled: leaf[: at + 1], run.probes)
            descents.append(_drift(there, hidden)[-1])
        eps = float(np.finfo(np.asarray(flow.losses).dtype).eps)
        return {
            "ts": ts,
            "drift": drifts[0],
            "drift_refined": drifts[1],
            "losses": np.asarray(flow.losses),
            "etas": t1 / counts,
            "sharpness": np.asarray(sharp),
            "descent_drift": np.asarray(descents),
            "homogeneous": np.asarray(set(hidden) <= set(found.homogeneous)),
            "linear_layers": np.asarray(len(found.linear)),
            "floating_point": np.asarray(64 * eps / max(_moved(flow.probes, hidden), 1e-300)),
            "flow_status": np.asarray(flow.status),
        }

    def judge(self, config: ConservationConfig, measurements: Measurements) -> Verdict:
        """Holds where every drift along a flow, with its error, stays within the tolerance."""
        trials = list(measurements.values())
        worst = max(trials, key=lambda v: float(np.nanmax(v["drift"])))
        drift = float(np.nanmax(worst["drift"]))
        refined = float(np.nanmax(worst["drift_refined"]))
        budget = dict.fromkeys(PARTS, 0.0) | {
            "integrator": abs(drift - refined),
            "floating_point": float(worst["floating_point"]),
        }
        margin = config.tolerance - drift
        summary: dict[str, Any] = {
            "largest_drift": drift,
            "largest_drift_at_a_tenth_of_the_tolerance": refined,
            "descent_drift_largest_step": float(max(v["descent_drift"][0] for v in trials)),
            "descent_drift_smallest_step": float(max(v["descent_drift"][-1] for v in trials)),
        }
        unlawful = [name for name, v in measurements.items() if not v["homogeneous"]]
        if unlawful:
            loose = max(float(np.nanmax(measurements[name]["drift"])) for name in unlawful)
            return Verdict(
                "not_applicable",
                margin=margin,
                error_budget=budget,
                reason=(
                    f"{config.activation} is not positively homogeneous, and the balances drift "
                    f"by {loose:.2g} of what the weights moved"
                ),
                summary=summary,
            )
        if any(str(v["flow_status"]) != "completed" for v in trials):
            status, reason = "inconclusive", "a flow did not reach its end"
        elif drift + sum(budget.values()) <= config.tolerance:
            status = "holds"
            reason = (
                f"no balance drifts by more than {drift:.2g} of what the weights moved; under "
                f"gradient descent at 1 / sharpness one drifts by "
                f"{summary['descent_drift_largest_step']:.2g}"
            )
        elif refined > config.tolerance and refined > drift / 2:
            status = "violated"
            reason = f"a balance drifts by {refined:.2g}, and a finer flow does not mend it"
        else:
            status = "inconclusive"
            reason = f"a drift of {drift:.2g} with an error of {sum(budget.values()):.2g}"
        return Verdict(status, False, margin, budget, reason, summary)

    def draw(
        self, config: ConservationConfig, measurements: Measurements, verdict: Verdict
    ) -> Figure:
        """Drift along the flow over time; drift of descent against the step size."""
        colors = {"sparse": BLUE, "linear": ORANGE}
        said = {"sparse": f"sparse, {config.activation}", "linear": "dense, linear"}
        with paper_style():
            figure, (left, right) = panels(2)
            seen: set[str] = set()
            for name, v in measurements.items():
                kind = name.split("-")[0]
                label = None if kind in seen else said[kind]
                seen.add(kind)
                drift = np.maximum(v["drift"], 1e-17)
                left.semilogy(v["ts"][1:], drift[1:], color=colors[kind], label=label)
                scaled = v["etas"] * v["sharpness"]
                right.loglog(
                    scaled, v["descent_drift"], "o-", color=colors[kind], ms=4, label=label
                )
            left.axhline(config.tolerance, color=RED, lw=1, ls="--", label="tolerance")
            left.set_xlabel("flow time $t$")
            left.set_ylabel("largest drift of a balance / moved")
            left.set_title("gradient flow")
            left.legend()
            guide = np.array([scaled[-1], scaled[0]])
            level = np.median([v["descent_drift"][-1] for v in measurements.values()])
            right.loglog(guide, level * guide / guide[0], ":", color=GREY, label="slope 1")
            right.set_xscale("log", base=2)
            right.set_xlabel(r"step size $\eta \times$ sharpness at start")
            right.set_ylabel("drift at the end / moved")
            right.set_title("gradient descent")
            right.legend()
            figure.suptitle(f"Conservation: {verdict.status.replace('_', ' ')}")
        return figure

    def table(
        self, config: ConservationConfig, measurements: Measurements, verdict: Verdict
    ) -> list[dict[str, Any]]:
        """One row a network."""
        return [
            {
                "network": name,
                "homogeneous": bool(v["homogeneous"]),
                "linear layers": int(v["linear_layers"]),
                "drift of the flow": float(np.nanmax(v["drift"])),
                "at a tenth of the tolerance": float(np.nanmax(v["drift_refined"])),
                "drift of descent, 1/sharpness": float(v["descent_drift"][0]),
                "loss / initial": float(v["losses"][-1] / v["losses"][0]),
            }
            for name, v in measurements.items()
        ]


def _balances(watched: lifts.ConservedQuantities, t: Array, params: Any) -> Any:
    return watched(params)


def _scales(watched: lifts.ConservedQuantities, t: Array, params: Any) -> Any:
    return watched.scales(params)


def _drift(probes: dict[str, Any], hidden: tuple[str, ...]) -> Float[np.ndarray, " s"]:
    """The largest change of any balance at each saved time, over how far the weights moved."""
    parts: list[Array] = [probes["balance"]["vertices"][name] for name in hidden]
    parts += list(probes["balance"]["layers"].values())
    changes = [
        np.abs(np.asarray(part) - np.asarray(part)[:1]).reshape(len(part), -1).max(axis=1)
        for part in parts
    ]
    return np.max(changes, axis=0) / _moved(probes, hidden)


def _moved(probes: dict[str, Any], hidden: tuple[str, ...]) -> float:
    """The largest change of `||w_in||^2 + ||w_out||^2` of any vertex."""
    scales = [np.asarray(probes["scale"][name]) for name in hidden]
    return max(float(np.nanmax(np.abs(scale - scale[:1]))) for scale in scales)


CLAIM = Conservation()
