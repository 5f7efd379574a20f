"""Large lifts train as their linearisation does: the distance between both, over time and size."""

import dataclasses
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float
from matplotlib.figure import Figure

from sparsejax import lifts
from sparsejax.bounds import Verdict
from sparsejax.claims.claim import Measurements, Trial
from sparsejax.claims.drawing import GREY, MARKERS, PALETTE, panels, paper_style
from sparsejax.claims.setting import LiftSetting, check_setting, mean_field, problem
from sparsejax.claims.size_ladder import ladder_trials, trial_size
from sparsejax.claims.statistics import ladder_slope_interval, log_log_slope
from sparsejax.dynamics import gradient_flow, squared_loss
from sparsejax.graphs import Bias
from sparsejax.tangent import linearised_flow, linearize

REFINEMENT = 10.0
TEST_SAMPLES = 200
# Share of the initial loss that the linearised network has to learn for there to be a training.
LEARNED = 0.2
# Flow time of the control over that of the claim.
LONGER = 20.0
QUANTITIES = {
    "train": "outputs, training points",
    "test": "outputs, test points",
    "weights": "weights",
}


@dataclasses.dataclass(frozen=True)
class LinearisedDynamicsConfig(LiftSetting):
    """Gradient flows of random lifts beside the closed form of their linearisations."""

    samples: int = 60
    """Number of training samples."""
    in_degree: int = 4
    """Predecessors of every hidden vertex (exact or expected, see law)."""
    sizes: tuple[int, ...] = (64, 128, 256, 512)
    """Vertices per hidden layer, one ladder step each."""
    lifts: int = 6
    """Random lifts per size."""
    readout: Literal["ntk", "mean_field"] = "ntk"
    """Readouts are N(0, 1) over sqrt(n) (ntk) or over n, with time n times faster (mean_field):
    the same kernel at the start, but features that are learned at every size."""
    t1: float = 4.0
    """Flow time."""
    probes: int = 24
    """Number of saved times behind 0; denser at the start. Must be even: what the supremum over
    time misses is read off from every second one."""
    rtol: float = 2e-5
    """Tolerance of the flow; a second flow at a tenth of it, which float32 resolves, measures the
    integrator's error."""
    confidence: float = 0.95
    """Level of the intervals for slopes."""


class LinearisedDynamics:
    """Relative distances between a network's flow and its linearisation's, and their slopes."""

    name = "linearised-dynamics"
    statement = (
        "In the NTK parametrisation, the distance up to a fixed time between a random lift and "
        "its linearisation, in outputs and in weights, falls as the lift grows."
    )
    source = "Jacot et al. 2018 (arXiv 1806.07572); Lee et al. 2019 (arXiv 1902.06720)"
    Config = LinearisedDynamicsConfig

    def validate(self, config: LinearisedDynamicsConfig) -> None:
        """Refuse a bad config before any compute."""
        if len(config.sizes) < 2 or len(set(config.sizes)) < len(config.sizes):
            raise ValueError(f"sizes: at least two different sizes make a slope: {config.sizes}")
        check_setting(config, config.sizes)
        if config.lifts < 2:
            raise ValueError(f"lifts: at least 2 are needed for an interval, got {config.lifts}")
        if config.readout not in ("ntk", "mean_field"):
            raise ValueError(f"readout: ntk or mean_field, got {config.readout!r}")
        if config.probes < 4 or config.probes % 2:
            raise ValueError(f"probes: must be even and at least 4, got {config.probes}")
        for field in ("t1", "rtol"):
            if not getattr(config, field) > 0:
                raise ValueError(f"{field}: must be positive, got {getattr(config, field)}")
        if not 0 < config.confidence < 1:
            raise ValueError(f"confidence: must lie in (0, 1), got {config.confidence}")

    def control(self, config: LinearisedDynamicsConfig) -> LinearisedDynamicsConfig:
        """The mean-field scaling, in which features are learned at every size.

        It starts near the zero function, without the random outputs that an NTK start has and
        that decay first; what is left is the target, along small eigenvalues, and takes longer: at
        the claim's own flow time there is hardly a training, and distances fall with what noise
        of one over the root of the size does to the kernel. Where the target is learned, distances
        in weights and on training points no longer depend on the size; on test points there is
        noise left that falls.
        """
        return dataclasses.replace(config, readout="mean_field", t1=LONGER * config.t1)

    def trials(self, config: LinearisedDynamicsConfig) -> list[Trial]:
        """One trial a lift, small sizes first."""
        return ladder_trials(config.sizes, config.lifts)

    def measure(self, config: LinearisedDynamicsConfig, trial: Trial) -> dict[str, np.ndarray]:
        """Two flows of the network, one of its linearisation, and the closed form."""
        size, number = trial.parameters["size"], trial.parameters["number"]
        drawn = problem(config, size, number)
        parametrised, start = _parametrised(config, drawn.lift, number)
        f: Any = parametrised.apply  # with one output vertex no dict
        x, y = drawn.x, drawn.y
        points = {"train": x, "test": drawn.x_test[:TEST_SAMPLES]}
        initial = {"train": y - f(start, x)}
        initial["test"] = drawn.y_test[:TEST_SAMPLES] - f(start, points["test"])
        # Readouts over n make kernel and gradients n times smaller.
        speed = size if config.readout == "mean_field" else 1
        ts = speed * config.t1 * np.linspace(0.0, 1.0, config.probes + 1) ** 2
        exact = linearised_flow(f, start, x, y)
        outputs = {"train": exact.outputs(ts), "test": exact.predict(points["test"], ts)}
        weights, moved = exact.params(ts), float(exact.distance(ts[-1]))
        measured = {
            "ts": ts / speed,
            "linearised_losses": np.asarray(exact.losses(ts)),
            "clipped": np.asarray(exact.clipped),
            "parameters": np.asarray(drawn.lift.parameter_count()),
            "resolution": np.asarray(float(jnp.finfo(y.dtype).eps)),
        }
        runs: list[tuple[str, Any, float]] = [
            ("", f, config.rtol),
            ("_refined", f, config.rtol / REFINEMENT),
        ]
        if size == min(config.sizes) and number == 0:
            # The linearisation's own flow has to follow the closed form; once is enough.
            runs.append(("_of_linearisation", linearize(f, start), config.rtol))
        for suffix, network, rtol in runs:
            loss = squared_loss(network, x, y)
            # Not stiff: the kernel's eigenvalues do not grow with size, and flow times are short.
            flow = gradient_flow(loss, start, ts[-1], saveat=ts, solver="tsit5", rtol=rtol)
            for name, at in points.items():
                found = _along(network, flow.params, at) - outputs[name]
                scale = jnp.sqrt(jnp.mean(jnp.square(initial[name])))
                distance = jnp.sqrt(jnp.mean(jnp.square(found), axis=(1, 2))) / scale
                measured[name + suffix] = np.asarray(distance)
            measured["weights" + suffix] = _distances(flow.params, weights) / moved
            measured["status" + suffix] = np.asarray(flow.status)
            measured["losses" + suffix] = np.asarray(flow.losses)
        return measured

    def judge(self, config: LinearisedDynamicsConfig, measurements: Measurements) -> Verdict:
        """The slope of the largest distance against size is below zero, for all three distances."""
        sizes = np.array(sorted(config.sizes), float)
        summary: dict[str, Any] = {"slope": {}, "slope_low": {}, "slope_high": {}, "distance": {}}
        budgets = {}
        for name in QUANTITIES:
            largest = _ladder(config, measurements, name)
            slope, low, high = ladder_slope_interval(sizes, largest, config.confidence)
            summary["slope"][name] = slope
            summary["slope_low"][name], summary["slope_high"][name] = low, high
            summary["distance"][name] = _by_size(config, largest)
            refined = log_log_slope(sizes, _ladder(config, measurements, f"{name}_refined").mean(0))
            coarse = log_log_slope(sizes, _ladder(config, measurements, name, every=2).mean(0))
            # What the flow of the linearisation itself is off the closed form.
            checked = f"size{min(config.sizes):05d}-lift000"
            own = float(np.max(measurements[checked][f"{name}_of_linearisation"]))
            rounding = [
                float(np.sqrt(v["parameters"]) * v["resolution"]) for v in _all(measurements)
            ]
            budgets[name] = {
                "integrator": abs(refined - slope) + _slope_error(sizes, own / largest.mean(0)),
                "quadrature": abs(coarse - slope),
                "sampling": high - slope,
                "floating_point": _slope_error(sizes, max(rounding) / largest.mean(0)),
            }
        left = _medians(config, measurements, lambda v: _left(v, "linearised_losses"))
        summary["linearised_loss_at_end"] = left
        summary["loss_at_end"] = _medians(config, measurements, lambda v: _left(v, "losses"))
        # The quantity whose slope comes closest to zero, errors included.
        worst = max(QUANTITIES, key=lambda q: summary["slope"][q] + sum(budgets[q].values()))
        slope, budget = summary["slope"][worst], budgets[worst]
        ends = sorted({str(v[f"status{s}"]) for v in _all(measurements) for s in ("", "_refined")})
        label, total = QUANTITIES[worst], sum(budget.values())
        interval = f"[{summary['slope_low'][worst]:.3f}, {summary['slope_high'][worst]:.3f}]"
        if ends != ["completed"]:
            status, reason = "not_applicable", f"flows ended as {', '.join(ends)}"
        elif max(left.values()) > 1 - LEARNED:
            status = "not_applicable"
            reason = (
                f"the linearisation keeps {max(left.values()):.2f} of its initial loss: there is "
                "hardly a training to compare; raise t1"
            )
        elif slope - (total - budget["sampling"]) > 0 and summary["slope_low"][worst] > 0:
            status = "violated"
            reason = f"{label}: the distance grows with size, with slope {slope:.3f} in {interval}"
        elif not slope + total < 0:
            status = "inconclusive"
            reason = (
                f"{label}: the slope {slope:.3f} in {interval}, with "
                f"{total - budget['sampling']:.2g} of other errors, is not told from zero"
            )
        else:
            status = "holds"
            slopes = ", ".join(f"{q} {summary['slope'][q]:.2f}" for q in QUANTITIES)
            reason = (
                f"all distances fall with size, with slopes {slopes}; closest to zero is {worst}, "
                f"in {interval}"
            )
        return Verdict(status, False, float(-slope), budget, reason, summary)

    def draw(
        self, config: LinearisedDynamicsConfig, measurements: Measurements, verdict: Verdict
    ) -> Figure:
        """Distance on training points over time, by size; largest distances against size."""
        sizes = np.array(sorted(config.sizes))
        with paper_style():
            figure, (left, right) = panels(2, width=4.2, height=3.4)
            for number, size in enumerate(sizes):
                found = [v for name, v in measurements.items() if trial_size(name) == size]
                curves = np.stack([v["train"] for v in found])
                ts, color = found[0]["ts"], PALETTE[number % len(PALETTE)]
                left.plot(ts[1:], curves.mean(0)[1:], color=color, label=f"n = {size}")
                left.fill_between(
                    ts[1:], curves.min(0)[1:], curves.max(0)[1:], color=color, alpha=0.15, lw=0
                )
            left.set_xscale("log")
            left.set_yscale("log")
            left.set_xlabel("flow time $t$" + (" / n" if config.readout == "mean_field" else ""))
            left.set_ylabel(r"$\|f_t - f^{\mathrm{lin}}_t\|$ / initial residual")
            left.set_title("training points: mean and range over lifts")
            left.legend(ncols=2)
            for number, (name, label) in enumerate(QUANTITIES.items()):
                values = _ladder(config, measurements, name)
                mean = values.mean(0)
                color, slope = PALETTE[number], verdict.summary["slope"][name]
                low, high = (verdict.summary[f"slope_{end}"][name] for end in ("low", "high"))
                right.errorbar(
                    sizes,
                    mean,
                    yerr=[mean - values.min(0), values.max(0) - mean],
                    fmt=MARKERS[number],
                    color=color,
                    ms=4.5,
                    capsize=2,
                    label=f"{label}: slope {slope:.2f} [{low:.2f}, {high:.2f}]",
                )
                centre = np.exp(np.mean(np.log(mean)))
                guide = centre * (sizes / np.exp(np.mean(np.log(sizes)))) ** slope
                right.plot(sizes, guide, "-", color=color, lw=1)
            top = _ladder(config, measurements, "weights").mean(0).max()
            right.plot(
                sizes, 1.6 * top * (sizes / sizes[0]) ** -0.5, ":", color=GREY, label="slope -1/2"
            )
            right.set_xscale("log", base=2)
            right.set_yscale("log")
            # Room for the legend below the lowest curve.
            right.set_ylim(bottom=right.get_ylim()[0] / 6)
            right.set_xticks(sizes, [str(size) for size in sizes])
            right.minorticks_off()
            right.set_xlabel("vertices per hidden layer $n$")
            right.set_ylabel("largest relative distance over time")
            right.set_title("against size: mean and range over lifts")
            right.legend(loc="lower left")
            figure.suptitle(f"Linearised dynamics: {verdict.status.replace('_', ' ')}")
        return figure

    def table(
        self, config: LinearisedDynamicsConfig, measurements: Measurements, verdict: Verdict
    ) -> list[dict[str, Any]]:
        """One row a size."""
        summary = verdict.summary
        return [
            {
                "size": size,
                "parameters": int(
                    np.mean(
                        [v["parameters"] for n, v in measurements.items() if trial_size(n) == size]
                    )
                ),
                "loss / initial": summary["loss_at_end"][str(size)],
                "linearised": summary["linearised_loss_at_end"][str(size)],
                **{f"distance: {q}": summary["distance"][q][str(size)] for q in QUANTITIES},
            }
            for size in sorted(config.sizes)
        ]


def _parametrised(
    config: LinearisedDynamicsConfig, lift: lifts.Lift, number: int
) -> tuple[lifts.NtkParametrised, lifts.Params]:
    """The network as a function of standard normal weights, and those weights."""
    module = lift.module
    # The readout and the biases have no gain.
    gain = {
        edge.name: config.gain
        for edge in module.edges
        if edge.target not in module.outputs and not isinstance(edge.map, Bias)
    }
    f = lifts.ntk_parametrised(lift, gain=gain, bias_scale=config.bias_scale)
    if config.readout == "mean_field":
        f = mean_field(f)
    return f, f.init(jax.random.fold_in(jax.random.key(config.seed), number))


@eqx.filter_jit
def _along(network: Any, params: Any, x: Array) -> Float[Array, "s n c"]:
    return jax.vmap(lambda p: network(p, x))(params)


def _distances(params: Any, others: Any) -> Float[np.ndarray, " s"]:
    squares = [
        np.square(np.asarray(a) - np.asarray(b)).reshape(len(a), -1).sum(axis=1)
        for a, b in zip(jax.tree.leaves(params), jax.tree.leaves(others), strict=True)
    ]
    return np.sqrt(np.sum(squares, axis=0))


def _all(measurements: Measurements) -> list[dict[str, np.ndarray]]:
    return list(measurements.values())


def _left(values: dict[str, np.ndarray], name: str) -> float:
    """The share of the initial loss that is left."""
    return float(values[name][-1] / values[name][0])


def _ladder(
    config: LinearisedDynamicsConfig, measurements: Measurements, name: str, every: int = 1
) -> Float[np.ndarray, "lifts sizes"]:
    """The largest distance over time of every lift, sizes ascending."""
    return np.array(
        [
            [
                np.max(measurements[f"size{size:05d}-lift{lift:03d}"][name][::every])
                for size in sorted(config.sizes)
            ]
            for lift in range(config.lifts)
        ]
    )


def _slope_error(
    sizes: Float[np.ndarray, " sizes"], relative: Float[np.ndarray, " sizes"]
) -> float:
    """The most that relative errors of the values can turn a slope in logarithms."""
    centred = np.log(sizes) - np.log(sizes).mean()
    return float(np.sum(np.abs(centred) * np.log1p(relative)) / np.sum(np.square(centred)))


def _by_size(config: LinearisedDynamicsConfig, values: np.ndarray) -> dict[str, float]:
    means = values.mean(axis=0)
    return {str(s): float(v) for s, v in zip(sorted(config.sizes), means, strict=True)}


def _medians(config: LinearisedDynamicsConfig, measurements: Measurements, of: Any) -> dict:
    return {
        str(size): float(
            np.median([of(v) for n, v in measurements.items() if trial_size(n) == size])
        )
        for size in sorted(config.sizes)
    }


CLAIM = LinearisedDynamics()
