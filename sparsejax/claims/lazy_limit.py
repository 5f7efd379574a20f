"""The lazy limit: the tangent kernel's drift along training and its spread at initialisation."""

import dataclasses
from collections.abc import Callable
from typing import Any, Literal, NamedTuple

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from matplotlib.figure import Figure
from matplotlib.ticker import LogLocator

from sparsejax import graphs, lifts
from sparsejax.bounds import PARTS, Verdict
from sparsejax.claims.claim import Measurements, Trial
from sparsejax.claims.drawing import BLUE, GREY, ORANGE, RED, panels, paper_style
from sparsejax.claims.setting import LiftSetting, check_setting, mean_field
from sparsejax.claims.statistics import jackknife_slope_interval, log_log_slope, with_interval
from sparsejax.dynamics import gradient_flow, squared_loss
from sparsejax.tangent import ntk

KINDS = ("dense", "sparse")
# Proved for the drift, as an upper bound; known for the spread.
DRIFT_PROVED, SPREAD_KNOWN = -0.5, -0.5
# The share of the initial loss that dense lifts of every size have to learn, on average.
LEARNED = 0.2


@dataclasses.dataclass(frozen=True)
class LazyLimitConfig(LiftSetting):
    """Gradient flows of NTK-parametrised lifts at a ladder of sizes, dense and sparse."""

    sizes: tuple[int, ...] = (32, 80, 200, 512)
    """Vertices per hidden layer, one rung of the ladder each."""
    sparse_sizes: tuple[int, ...] = (1280,)
    """More sizes, for the sparse lifts alone, whose cost does not grow like the square."""
    samples: int = 24
    """Number of training samples."""
    in_degree: int = 4
    """Predecessors of every hidden vertex of the sparse lifts."""
    lifts: int = 20
    """Independent lifts of each kind and size."""
    parametrisation: Literal["ntk", "mean_field"] = "ntk"
    """Scale of the readout: one over the root of the size, or one over the size; the flow then runs
    as many times longer as the kernel is smaller."""
    t1: float = 4.0
    """Flow time, the same at all sizes."""
    dt: float = 0.1
    """Step of the classical Runge-Kutta method; one of twice that measures its error."""
    tolerance: float = 0.15
    """How far the exponent of the spread may lie from -1/2."""
    confidence: float = 0.95
    """Level of the intervals, over lifts."""


@dataclasses.dataclass(frozen=True)
class Exponent:
    """A slope on a log-log plot over sizes, with its interval over lifts."""

    slope: float
    low: float
    high: float

    @property
    def half(self) -> float:
        """Half the width of the interval."""
        return (self.high - self.low) / 2

    def __str__(self) -> str:
        return with_interval(self.slope, self.low, self.high, digits=".2f")


class LazyLimit:
    """Exponents of drift and spread against size; the verdict is about dense lifts alone."""

    name = "lazy-limit"
    statement = (
        "In dense networks under the NTK parametrisation the tangent kernel's relative drift along "
        "training falls at least like width^(-1/2), and its spread at initialisation like "
        "width^(-1/2); for random sparse lifts of constant in-degree both are measured."
    )
    source = (
        "Jacot et al., NeurIPS 2018 (arXiv 1806.07572); Lee et al., NeurIPS 2019 "
        "(arXiv 1902.06720); Huang, Yau, ICML 2020 (arXiv 1909.08156); sparse lifts: open"
    )
    Config = LazyLimitConfig

    def validate(self, config: LazyLimitConfig) -> None:
        """Refuse a bad config before any compute."""
        if len(set(config.sizes)) < 2:
            raise ValueError(f"sizes: a slope needs two different ones, got {config.sizes}")
        if config.lifts < 3:
            raise ValueError(f"lifts: at least 3 for an interval, got {config.lifts}")
        for field in ("t1", "dt", "tolerance"):
            if not getattr(config, field) > 0:
                raise ValueError(f"{field}: must be positive, got {getattr(config, field)}")
        if not 0 < config.confidence < 1:
            raise ValueError(f"confidence: must lie between 0 and 1, got {config.confidence}")
        if config.parametrisation not in ("ntk", "mean_field"):
            raise ValueError(
                f"parametrisation: 'ntk' or 'mean_field', not {config.parametrisation!r}"
            )
        check_setting(config, tuple(sorted({*config.sizes, *config.sparse_sizes})))

    def control(self, config: LazyLimitConfig) -> LazyLimitConfig:
        """Mean-field scaling, in which the kernel moves by as much at every width."""
        return dataclasses.replace(config, parametrisation="mean_field")

    def trials(self, config: LazyLimitConfig) -> list[Trial]:
        """One trial a lift, all of a kind and size in a row: they share compiled programs."""
        return [
            Trial(
                f"{kind}-size{size:05d}-lift{number:03d}",
                {"kind": kind, "size": size, "number": number},
            )
            for kind in KINDS
            for size in sorted({*config.sizes, *(config.sparse_sizes if kind == "sparse" else ())})
            for number in range(config.lifts)
        ]

    def measure(self, config: LazyLimitConfig, trial: Trial) -> dict[str, np.ndarray]:
        """The kernel at the start and at the end of a flow."""
        kind, size = trial.parameters["kind"], trial.parameters["size"]
        data = config.dataset()
        x, y = jnp.asarray(data.x_train, float), jnp.asarray(data.y_train, float)
        key = jax.random.fold_in(jax.random.key(config.seed), KINDS.index(kind))
        key = jax.random.fold_in(jax.random.fold_in(key, size), trial.parameters["number"])
        module = graphs.mlp(
            data.dims, config.hidden, data.outputs, config.activation, input_as="coordinates"
        )
        degrees = {f"h{i}": config.in_degree for i in range(1, config.hidden + 1)}
        degrees["h1"] = min(config.in_degree, data.dims)
        f, params = _draw(key, module, size, kind, tuple(degrees.items()), config)
        # The kernel of the mean-field scaling is smaller by a factor of the size.
        t1, dt = (
            value * (size if config.parametrisation == "mean_field" else 1)
            for value in (config.t1, config.dt)
        )
        loss, start = squared_loss(f.apply, x, y), np.asarray(ntk(f.apply, params, x))
        values: dict[str, Any] = {"size": size, "kernel": start}
        # Only dense lifts are judged; a second step size is a second program to compile.
        steps = {"": dt} | ({"_coarse": 2 * dt} if kind == "dense" else {})
        for name, step in steps.items():
            flow = gradient_flow(
                loss, params, t1, saveat=np.array([0.0, t1]), solver="rk4", dt=step
            )
            end = np.asarray(ntk(f.apply, flow.final, x))
            values[f"drift{name}"] = np.linalg.norm(end - start) / np.linalg.norm(start)
        values["losses"], values["flow_status"] = np.asarray(flow.losses), flow.status
        return {name: np.asarray(value) for name, value in values.items()}

    def judge(self, config: LazyLimitConfig, measurements: Measurements) -> Verdict:
        """Holds where both exponents of dense lifts are as known, beyond their intervals."""
        ladders = {kind: _ladder(measurements, kind) for kind in KINDS}
        exponents = {kind: _exponents(config, ladder) for kind, ladder in ladders.items()}
        drift, spread = exponents["dense"]["drift"], exponents["dense"]["spread"]
        margins = {
            "drift": DRIFT_PROVED - drift.slope,
            "spread": config.tolerance - abs(spread.slope - SPREAD_KNOWN),
        }
        halves = {"drift": drift.half, "spread": spread.half}
        floating = _floating_point(ladders["dense"])
        budgets = {
            name: dict.fromkeys(PARTS, 0.0)
            | {"sampling": halves[name], "floating_point": floating}
            | ({"integrator": _integrator(ladders["dense"])} if name == "drift" else {})
            for name in margins
        }
        slack = {name: margins[name] - sum(budgets[name].values()) for name in margins}
        tightest = min(slack, key=lambda name: slack[name])
        broken = [name for name in margins if margins[name] < -sum(budgets[name].values())]
        summary = {
            kind: {name: dataclasses.asdict(found) for name, found in of_kind.items()}
            for kind, of_kind in exponents.items()
        }
        said = "; ".join(
            f"{kind}: drift ~ size^{found['drift']}, spread ~ size^{found['spread']}"
            for kind, found in exponents.items()
        )
        failed = [
            name
            for name, v in measurements.items()
            if str(v["flow_status"]) != "completed" or not np.isfinite(v["drift"])
        ]
        judged = [name for name in failed if name.startswith("dense")]
        left = float(np.max(np.mean(ladders["dense"].losses, axis=0)))
        if failed and not judged:
            said += f"; the flow of {failed[0]} did not complete"
        if judged:
            status, said = "not_applicable", f"the flow of {judged[0]} did not complete"
        elif left > 1 - LEARNED:
            status = "not_applicable"
            said = f"{left:.2f} of the initial loss is left: there is hardly a training; raise t1"
        elif broken:
            status, tightest = "violated", min(broken, key=lambda name: slack[name])
        elif min(slack.values()) > 0:
            status = "holds"
        else:
            status = "inconclusive"
        return Verdict(status, False, margins[tightest], budgets[tightest], said, summary)

    def draw(self, config: LazyLimitConfig, measurements: Measurements, verdict: Verdict) -> Figure:
        """Drift and spread against size, with their slopes and the known ones."""
        with paper_style():
            figure, (left, right) = panels(2)
            for kind, color, marker in (("dense", BLUE, "o"), ("sparse", ORANGE, "s")):
                sizes, drifts, kernels = _ladder(measurements, kind)[:3]
                found = _exponents(config, _ladder(measurements, kind))
                said = kind if kind == "dense" else f"sparse, in-degree {config.in_degree}"
                left.loglog(
                    np.repeat(sizes, len(drifts)),
                    drifts.T.ravel(),
                    marker,
                    color=color,
                    ms=2.5,
                    alpha=0.3,
                    mew=0,
                )
                for axes, name, values in (
                    (left, "drift", drifts.mean(axis=0)),
                    (right, "spread", _spread(kernels)),
                ):
                    label = f"{said}: slope {found[name].slope:.2f} ± {found[name].half:.2f}"
                    axes.loglog(sizes, values, marker + "-", color=color, ms=5, label=label)
            sizes, drifts, kernels = _ladder(measurements, "dense")[:3]
            ends = _ladder(measurements, "sparse")[0][[0, -1]]
            top = 1.3 * drifts.max(axis=0)[0]
            for axes, slope, level, style, color, text in (
                (left, DRIFT_PROVED, top, "--", RED, "slope -1/2: proved, an upper bound"),
                (left, -1.0, top, ":", GREY, "slope -1"),
                (right, SPREAD_KNOWN, 1.4 * _spread(kernels)[0], "--", RED, "slope -1/2: known"),
            ):
                guide = level * (ends / ends[0]) ** slope
                axes.loglog(ends, guide, style, color=color, lw=1, label=text)
            left.set_ylabel(r"drift $\|K_{t} - K_0\|_F / \|K_0\|_F$")
            left.set_title(f"along training, to flow time {config.t1:g}")
            right.set_ylabel(r"spread over lifts / $\|\mathrm{mean}\,K_0\|_F$")
            right.set_title("at initialisation")
            for axes in (left, right):
                axes.set_xlabel("size (vertices per hidden layer)")
                every = sorted({int(v["size"]) for v in measurements.values()})
                axes.set_xticks(every, [str(size) for size in every])
                axes.minorticks_off()
                axes.yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
                axes.yaxis.set_major_formatter("{x:g}")
                low, high = axes.get_ylim()
                axes.set_ylim(low / (high / low) ** 0.5, high)  # room for the legend
                axes.legend(loc="lower left")
            figure.suptitle(f"Lazy limit: {verdict.status.replace('_', ' ')}")
        return figure

    def table(
        self, config: LazyLimitConfig, measurements: Measurements, verdict: Verdict
    ) -> list[dict[str, Any]]:
        """One row a kind and size."""
        rows = []
        for kind in KINDS:
            sizes, drifts, kernels, _, losses = _ladder(measurements, kind)
            for i, size in enumerate(sizes):
                rows.append(
                    {
                        "lift": kind,
                        "size": int(size),
                        "drift": float(drifts[:, i].mean()),
                        "spread": float(_spread(kernels)[i]),
                        "loss / initial": float(np.mean(losses[:, i])),
                    }
                )
        return rows


@eqx.filter_jit
def _draw(
    key: Array,
    module: graphs.PerceptronModule,
    size: int,
    kind: str,
    degrees: tuple[tuple[str, int], ...],
    config: LazyLimitConfig,
) -> tuple[lifts.NtkParametrised, lifts.Params]:
    lift_key, weight_key = jax.random.split(key)
    if kind == "dense":
        lift = lifts.dense_lift(module, size)
    else:
        lift = lifts.random_sparse_lift(lift_key, module, size, dict(degrees), law=config.law)
    f = lifts.ntk_parametrised(lift, gain=config.gain, bias_scale=config.bias_scale)
    if config.parametrisation == "mean_field":
        f = mean_field(f)
    return f, f.init(weight_key)


class Ladder(NamedTuple):
    """What was measured of one kind of lift, by size."""

    sizes: Float[np.ndarray, " s"]
    drifts: Float[np.ndarray, "lifts s"]
    kernels: Float[np.ndarray, "lifts s n n"]
    coarse: Float[np.ndarray, "lifts s"]
    losses: Float[np.ndarray, "lifts s"]


def _ladder(measurements: Measurements, kind: str) -> Ladder:
    rows = [v for name, v in measurements.items() if name.startswith(kind)]
    sizes = np.unique([int(v["size"]) for v in rows])
    by_size = [[v for v in rows if int(v["size"]) == size] for size in sizes]

    def column(read: Callable[[dict[str, np.ndarray]], Any]) -> np.ndarray:
        return np.stack([np.stack([read(v) for v in of_size]) for of_size in by_size], axis=1)

    return Ladder(
        sizes=sizes.astype(float),
        drifts=column(lambda v: v["drift"]),
        kernels=column(lambda v: v["kernel"]),
        coarse=column(lambda v: np.asarray(v.get("drift_coarse", np.nan))),
        losses=column(lambda v: v["losses"][-1] / v["losses"][0]),
    )


def _spread(kernels: Float[np.ndarray, "lifts s n n"]) -> Float[np.ndarray, " s"]:
    """Standard deviation over lifts, all entries together, over the norm of the mean."""
    variance = np.sum(np.var(kernels, axis=0, ddof=1), axis=(1, 2))
    return np.sqrt(variance) / np.linalg.norm(kernels.mean(axis=0), axis=(1, 2))


def _exponents(config: LazyLimitConfig, ladder: Ladder) -> dict[str, Exponent]:
    sizes, drifts, kernels, _, _ = ladder
    return {
        "drift": _exponent(sizes, drifts, lambda d: d.mean(axis=0), config.confidence),
        "spread": _exponent(sizes, kernels, _spread, config.confidence),
    }


def _exponent(
    sizes: np.ndarray,
    values: np.ndarray,
    summed_up: Callable[[np.ndarray], np.ndarray],
    confidence: float,
) -> Exponent:
    """The slope of what sums the lifts up."""
    return Exponent(*jackknife_slope_interval(sizes, values, summed_up, confidence))


def _integrator(ladder: Ladder) -> float:
    """How far the exponent of the drift moves when the step of the flow is doubled."""
    sizes, drifts, _, coarse, _ = ladder
    slopes = [log_log_slope(sizes, values.mean(axis=0)) for values in (drifts, coarse)]
    return abs(slopes[0] - slopes[1])


def _floating_point(ladder: Ladder) -> float:
    """Roundings of the kernel against the least drift, as a change of the exponent."""
    sizes, drifts, kernels, _, _ = ladder
    relative = kernels.shape[-1] * float(np.finfo(kernels.dtype).eps) / float(drifts.min())
    return 2 * relative / float(np.log(sizes[-1] / sizes[0]))


CLAIM = LazyLimit()
