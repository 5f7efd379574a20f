"""Whether the parameters converge: exponents of the gradient norm at the end of long flows."""

import dataclasses
from typing import Any, Literal

import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from sparsejax import targets
from sparsejax.bounds import Verdict
from sparsejax.claims.batching import EachTrialByItself
from sparsejax.claims.claim import Measurements, Trial
from sparsejax.claims.finite_length import LiftTail, finite_length
from sparsejax.claims.lift_ensemble import lift_ensemble, parameter_count, size_of
from sparsejax.claims.parameter_convergence_figure import draw_flows
from sparsejax.claims.setting import LiftSetting, check_setting, check_sizes
from sparsejax.claims.statistics import with_interval
from sparsejax.claims.tail_exponent import agreed, tail_exponent
from sparsejax.dynamics import LogisticLoss, SquaredLoss, Stop, Trajectory, gradient_flows

KINDS = ("sparse", "dense")
# Lifts of a trial: they run in one program.
BLOCK = 10
# A lift fits its samples when this share of its first loss is left, or less.
FITS = 1e-2
SAVES_PER_DECADE = 16
FIRST_SAVE = 1e-2
# The coarser flow's tolerance over the finer one's.
COARSER = 10.0
# Gradients smaller than so many roundings of the first one are noise.
ROUNDINGS = 1000
ENDED_WELL = ("completed", "reached_grad_norm")


@dataclasses.dataclass(frozen=True)
class ParameterConvergenceConfig(LiftSetting):
    """Long gradient flows of sparse lifts, and of dense ones with as many parameters."""

    loss: Literal["squared", "logistic"] = "squared"
    """The loss whose flows decide. squared: those under logistic loss are measured beside; logistic
    (on the signs of the targets): only those."""
    samples: int = 50
    """Number of training samples: few enough to be fitted."""
    in_degree: int = 4
    """Predecessors of every hidden vertex of the sparse lifts."""
    size: int = 48
    """Vertices per hidden layer of the sparse lifts."""
    lifts: int = 20
    """Random lifts of each kind. From 17 on an interval for their 0.2-quantile is finite."""
    delta: float = 0.2
    """The share of lifts that may fail to converge."""
    t1: float = 1e4
    """Flow time under squared loss."""
    t1_logistic: float = 1e6
    """Flow time under logistic loss, whose flows are cheap once they are flat."""
    noisy_data: str = "diabetes"
    """Data with noise, a bundled set, learned by lifts too small to fit them: measured beside."""
    noisy_samples: int = 100
    """Number of noisy samples."""
    noisy_size: int = 6
    """Vertices per hidden layer of the sparse lifts that learn them."""
    window: float = 0.5
    """Decades of flow time over which an exponent is taken."""
    rtol: float = 1e-8
    """Tolerance of flows that fit their samples: the gradient at the end of an exponential tail is
    small. A second flow, at ten times as much, measures the error."""
    rtol_slow: float = 1e-6
    """The same for all other flows, whose gradients are larger."""
    floor: float = 1e-6
    """A flow ends when its gradient norm has fallen to this share of the first."""
    agreement: float = 0.05
    """Gradient norms at the two tolerances that differ by more than this share are not used."""
    confidence: float = 0.95
    """Level of the intervals, over lifts."""


class ParameterConvergence(EachTrialByItself):
    """Path lengths and exponents of the gradient norm; sparse lifts that fit their samples decide.

    A path has finite length where `||grad L|| ~ t^-p` with p > 1; then parameters converge.
    """

    name = "parameter-convergence"
    statement = (
        "Under squared loss, the gradient flow of a random sparse lift that can fit its samples "
        "has finite length with probability at least 1 - delta: its parameters converge."
    )
    source = (
        "open beside Robin, Scaman, Lelarge, ICLR 2024 (arXiv 2501.05930), which promises the "
        "loss; logistic loss: Lyu, Li, ICLR 2020 (arXiv 1906.05890)"
    )
    Config = ParameterConvergenceConfig
    presets = {
        "paper": ParameterConvergenceConfig(
            size=256, samples=200, lifts=100, delta=0.1, t1=1e6, t1_logistic=1e9, noisy_size=16,
            noisy_samples=300, floor=1e-7, rtol_slow=1e-7,
        )
    }  # fmt: skip

    def validate(self, config: ParameterConvergenceConfig) -> None:
        """Refuse a bad config before any compute."""
        check_setting(config, (config.size,))
        check_sizes((config.noisy_size,), min(config.in_degree, config.noisy_size))
        for noisy, size in ((False, config.size), (True, config.noisy_size)):
            dims = _dataset(config, noisy).dims
            count = parameter_count(dims, config.hidden, size, min(config.in_degree, size))
            size_of(count, dims, config.hidden, None)  # refuses what no dense lift is as small as
        if config.loss not in ("squared", "logistic"):
            raise ValueError(f"loss: 'squared' or 'logistic', not {config.loss!r}")
        if config.lifts < 2:
            raise ValueError(f"lifts: at least two for an interval, got {config.lifts}")
        for field in ("delta", "confidence", "agreement", "floor"):
            if not 0 < getattr(config, field) < 1:
                raise ValueError(f"{field}: must lie in (0, 1), got {getattr(config, field)}")
        for field in ("window", "rtol", "rtol_slow"):
            if not getattr(config, field) > 0:
                raise ValueError(f"{field}: must be positive, got {getattr(config, field)}")
        for field in ("t1", "t1_logistic"):
            if not getattr(config, field) > FIRST_SAVE * 10 ** (2 * config.window):
                raise ValueError(
                    f"{field}: {getattr(config, field)} leaves no room for two windows of "
                    f"{config.window:g} decades after t = {FIRST_SAVE:g}"
                )

    def control(self, config: ParameterConvergenceConfig) -> ParameterConvergenceConfig:
        """Logistic loss on samples that the lift separates, under which parameters diverge."""
        return dataclasses.replace(config, loss="logistic")

    def trials(self, config: ParameterConvergenceConfig) -> list[Trial]:
        """Up to ten lifts a trial, all flows of a kind in a row: they share compiled programs."""
        return [
            Trial(
                f"{kind}-{condition}-lifts{start:04d}",
                {
                    "kind": kind,
                    "condition": condition,
                    "numbers": list(range(start, min(start + BLOCK, config.lifts))),
                },
            )
            for condition in conditions(config)
            for kind in KINDS
            for start in range(0, config.lifts, BLOCK)
        ]

    def measure(self, config: ParameterConvergenceConfig, trial: Trial) -> dict[str, np.ndarray]:
        """The flows of some lifts at two tolerances; all arrays have an axis of lifts."""
        condition, kind = trial.parameters["condition"], trial.parameters["kind"]
        noisy = condition == "noisy"
        data = _dataset(config, noisy)
        size = config.noisy_size if noisy else config.size
        degree = min(config.in_degree, size)
        parameters = parameter_count(data.dims, config.hidden, size, degree)
        if kind == "dense":
            size = size_of(parameters, data.dims, config.hidden, None)
        lift, params = lift_ensemble(
            config,
            data.dims,
            size,
            None if kind == "dense" else degree,
            trial.parameters["numbers"],
        )
        x, y = jnp.asarray(data.x_train, float), jnp.asarray(data.y_train[:, :1], float)
        loss: SquaredLoss | LogisticLoss = SquaredLoss(lift.apply, x, y)
        if condition == "logistic":
            loss = LogisticLoss(lift.apply, x, jnp.where(y < 0, -1.0, 1.0).astype(y.dtype))
        t1 = config.t1_logistic if condition == "logistic" else config.t1
        rtol = config.rtol if condition == "squared" else config.rtol_slow
        first = _each(lambda f, p: _norm(jax.grad(f)(p)), loss, params)
        rounding = float(jnp.finfo(y.dtype).eps)
        floor = max(config.floor, ROUNDINGS * rounding)
        # One threshold for all lifts of the trial: the least, so that each is followed far enough.
        stop = Stop(grad_norm=float(floor * np.min(first)))
        fine, coarse = (
            gradient_flows(
                loss,
                params,
                t1,
                saveat=save_times(t1),
                rtol=tolerance,
                stop=stop,
                shared=lambda of: of.data,
                keep_params=False,
                devices=jax.local_devices(),
            )
            for tolerance in (rtol, COARSER * rtol)
        )
        errors = _each(lambda f, p: jnp.mean(f.f(p, f.x) * f.targets <= 0), loss, fine.end)
        moved = jax.tree.map(lambda a, b: a - b, fine.end, params)
        return {
            "ts": np.asarray(fine.ts),
            "losses": np.asarray(fine.losses),
            "grad_norms": np.asarray(fine.grad_norms),
            "path_lengths": np.asarray(fine.path_lengths),
            "coarse_grad_norms": np.asarray(coarse.grad_norms),
            "training_error": errors,
            "distance": np.asarray(jax.vmap(_norm)(moved)),
            "energy_error": np.asarray(fine.counts["energy_error"]),
            "well": np.asarray(_well(fine) & _well(coarse)),
            "rounding": np.full(len(errors), rounding),
            "parameters": np.full(len(errors), sum(v[0].size for v in jax.tree.leaves(params))),
            "size": np.full(len(errors), size),
        }

    def judge(self, config: ParameterConvergenceConfig, measurements: Measurements) -> Verdict:
        """A verdict for each condition and kind; that of sparse lifts under the loss decides."""
        verdicts = {
            (condition, kind): _judged(config, condition, of_kind(measurements, condition, kind))
            for condition in conditions(config)
            for kind in KINDS
        }
        decisive = verdicts[config.loss, "sparse"]
        summary = {
            f"{kind}, {condition}": {
                "status": one.status,
                "margin": one.margin,
                "reason": one.reason,
                **one.summary,
            }
            for (condition, kind), one in verdicts.items()
        }
        others = [
            f"{kind}, {condition}: {one.status.replace('_', ' ')}"
            for (condition, kind), one in verdicts.items()
            if (condition, kind) != (config.loss, "sparse")
        ]
        reason = f"{decisive.reason} (beside: {'; '.join(others)})"
        return dataclasses.replace(decisive, reason=reason, summary=summary)

    def draw(
        self, config: ParameterConvergenceConfig, measurements: Measurements, verdict: Verdict
    ) -> Figure:
        """Path length and gradient norm against time, with the lengths that are still to come."""
        found = {
            (condition, kind): of_kind(measurements, condition, kind)
            for condition in conditions(config)
            for kind in KINDS
        }
        tails = {key: [one.tail for one in lift_tails(config, v)] for key, v in found.items()}
        return draw_flows(found, tails, verdict.status)

    def table(
        self, config: ParameterConvergenceConfig, measurements: Measurements, verdict: Verdict
    ) -> list[dict[str, Any]]:
        """One row a condition and kind; medians over lifts, exponents with their quartiles."""
        rows = []
        for condition in conditions(config):
            for kind in KINDS:
                values = of_kind(measurements, condition, kind)
                tails = [one.tail for one in lift_tails(config, values)]
                said = verdict.summary[f"{kind}, {condition}"]
                limits = [tail.length + tail.remaining(tail.low) for tail in tails]
                rows.append(
                    {
                        "flow": f"{kind}, {condition}",
                        "size": int(values["size"][0]),
                        "parameters": int(values["parameters"][0]),
                        "lifts": len(tails),
                        "exponent p": _said([tail.last for tail in tails]),
                        "least p": _said([tail.low for tail in tails]),
                        "finite": f"{said['finite']} [{said['finite_share_low']:.2f}, "
                        f"{said['finite_share_high']:.2f}]",
                        "to time": float(np.median([tail.end for tail in tails])),
                        "length": _said([tail.length for tail in tails]),
                        "its limit at most": float(np.median(limits)),
                        "distance": float(np.median(values["distance"])),
                        "verdict": said["status"],
                    }
                )
        return rows


def conditions(config: ParameterConvergenceConfig) -> tuple[str, ...]:
    """What is measured: under squared loss also noisy data, and logistic loss for comparison."""
    return ("squared", "noisy", "logistic") if config.loss == "squared" else ("logistic",)


def save_times(t1: float) -> np.ndarray:
    """0, then equidistant in the logarithm up to `t1`.

    Example:
        >>> ts = save_times(1e4)
        >>> len(ts), float(ts[0]), round(float(ts[-1]), 6)
        (98, 0.0, 10000.0)
    """
    count = round(SAVES_PER_DECADE * np.log10(t1 / FIRST_SAVE)) + 1
    ts = np.concatenate([[0.0], np.geomspace(FIRST_SAVE, t1, count)])
    ts[-1] = t1
    return ts


def of_kind(measurements: Measurements, condition: str, kind: str) -> dict[str, np.ndarray]:
    """The arrays of all lifts of a condition and kind."""
    rows = [v for name, v in measurements.items() if name.startswith(f"{kind}-{condition}-")]
    return {name: np.concatenate([v[name] for v in rows]) for name in rows[0]}


def lift_tails(config: ParameterConvergenceConfig, values: dict[str, np.ndarray]) -> list[LiftTail]:
    """The tail of every lift, with the error of its exponents."""
    found = []
    for k in range(len(values["losses"])):
        ts, lengths = values["ts"][k], values["path_lengths"][k]
        fine, coarse = values["grad_norms"][k], values["coarse_grad_norms"][k]
        usable = agreed(fine, coarse, config.agreement)
        # The flow's own time: how long its first slope would take to bring the loss to zero.
        unit = float(values["losses"][k, 0] / fine[0] ** 2)
        tail, rough = (
            tail_exponent(ts, norms, lengths, usable, window=config.window, unit=unit)
            for norms in (fine, coarse)
        )
        off = max(abs(tail.low - rough.low), abs(tail.high - rough.high))
        # The relative rounding error of the smallest gradient, over a window.
        rounded = float(values["rounding"][k] * fine[0] / tail.norm)
        found.append(LiftTail(tail, off, 2 * rounded / (config.window * np.log(10))))
    return found


def _judged(
    config: ParameterConvergenceConfig, condition: str, values: dict[str, np.ndarray]
) -> Verdict:
    """The verdict on one kind of flow; not applicable where a hypothesis fails."""
    verdict = finite_length(lift_tails(config, values), config.delta, config.confidence)
    count = len(values["losses"])
    last = np.nanmin(values["losses"], axis=1) / values["losses"][:, 0]
    failed = int((~values["well"]).sum())
    if failed:
        why = f"{failed} of {count} flows ended badly"
    elif condition == "logistic" and (values["training_error"] > 0).any():
        wrong = int((values["training_error"] > 0).sum())
        why = f"{wrong} of {count} lifts do not separate their samples; raise size or t1_logistic"
    elif condition == "squared" and (last > FITS).any():
        why = f"{int((last > FITS).sum())} of {count} lifts do not fit their samples; raise size"
    else:
        return verdict
    return dataclasses.replace(verdict, status="not_applicable", reason=why)


def _dataset(config: ParameterConvergenceConfig, noisy: bool) -> targets.Dataset:
    if noisy:
        return targets.data_by_name(config.noisy_data, config.noisy_samples, config.seed)
    return config.dataset(single=True)


def _each(function: Any, loss: Any, params: Any) -> np.ndarray:
    """A function of a loss and parameters for every lift; the data are common to all."""

    def one(apply: Any, p: Any) -> Any:
        return function(dataclasses.replace(loss, f=apply), p)

    return np.asarray(jax.jit(jax.vmap(one))(loss.f, params))


def _norm(tree: Any) -> Any:
    return jnp.sqrt(sum(jnp.sum(leaf**2) for leaf in jax.tree.leaves(tree)))


def _well(flow: Trajectory) -> np.ndarray:
    return np.isin(flow.status, ENDED_WELL)


def _said(values: list[float]) -> str:
    """A median with its quartiles."""
    low, middle, high = np.quantile(values, [0.25, 0.5, 0.75])
    return with_interval(middle, low, high)


CLAIM = ParameterConvergence()
