"""What sparsity gives and costs at equal parameters: losses, times, and the price of inference."""

import dataclasses
from typing import Any, cast

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from matplotlib.figure import Figure

from sparsejax import lifts
from sparsejax.bounds import Verdict
from sparsejax.claims.batching import EachTrialByItself
from sparsejax.claims.claim import Measurements, Trial
from sparsejax.claims.inference_cost import bytes_held, inference_costs, products
from sparsejax.claims.lift_ensemble import lift_ensemble, losses_of, size_of
from sparsejax.claims.loss_comparison import (
    geometric,
    lifts_needed,
    loss_ratio,
    times_to_level,
)
from sparsejax.claims.setting import LiftSetting, check_setting
from sparsejax.claims.sparsity_tradeoff_figure import draw_tradeoff
from sparsejax.claims.statistics import median_hitting_time, with_interval
from sparsejax.dynamics import SquaredLoss, gradient_flows

DENSE = 0  # the in-degree that stands for a dense lift in names and arrays
# Lifts of a trial: they run in one program.
BLOCK = 10
SAVES = 81
# The coarser flow's tolerance over the finer one's.
COARSER = 10.0
BATCHES = (1, 256)
# Dense lifts learn the target where this share of the test loss of zero is left, or less.
LEARNED = 0.7


@dataclasses.dataclass(frozen=True)
class SparsityTradeoffConfig(LiftSetting):
    """Flows of lifts with (nearly) as many parameters, of several in-degrees and dense."""

    samples: int | None = 600
    """Number of training samples: enough for dense lifts to learn more than the samples. None: 400,
    or all that there are where that is fewer."""
    parameters: int = 600
    """Parameters of every lift: sizes fall as in-degrees grow."""
    in_degrees: tuple[int, ...] = (2, 4, 8, 12)
    """In-degrees of the sparse lifts; each must be below the size that it leaves. The first layer
    reads at most all coordinates."""
    lifts: int = 10
    """Random lifts of each in-degree, and dense ones."""
    tolerance: float = 0.1
    """By how much a test loss may be worse, relative to the dense one, and still be no worse."""
    t1: float = 600.0
    """Flow time at which losses are compared."""
    level: float = 0.3
    """The training loss to be reached in time, as a share of the first one."""
    rtol: float = 1e-4
    """Tolerance of the flows; a second one at ten times as much measures their error."""
    inference_parameters: tuple[int, ...] = (600, 100_000)
    """Parameters of the lifts whose inference is timed: those compared, and larger ones."""
    rounds: int = 20
    """How often every lift is timed, in turns."""
    confidence: float = 0.95
    """Level of the intervals, over lifts; those of ratios are for all in-degrees together."""


class SparsityTradeoff(EachTrialByItself):
    """Test losses of sparse and dense lifts decide; time, memory and latency are beside them.

    At equal parameters multiply-adds are equal but for biases, so that sparsity promises no cheaper
    inference: wiring is to be stored and gathers take time. What it can promise is a better use of
    the parameters, by more vertices that each read few.
    """

    name = "sparsity-tradeoff"
    statement = (
        "At equal parameters, and so equal multiply-adds, random sparse lifts of some in-degree "
        "end the flow on a compositional target with a test loss no worse than dense ones."
    )
    source = (
        "tested here; compositional sparsity: Danhofer, D'Ascenzo, Dubach, Poggio, ICML 2025 "
        "(arXiv 2507.02550); sparse lifts: Robin, Scaman, Lelarge, ICLR 2024 (arXiv 2501.05930)"
    )
    Config = SparsityTradeoffConfig
    presets = {
        "paper": SparsityTradeoffConfig(
            samples=2000,
            parameters=20_000,
            in_degrees=(1, 2, 4, 8, 16, 32),
            lifts=100,
            t1=3000.0,
            rtol=1e-5,
            inference_parameters=(20_000, 1_000_000),
            rounds=200,
        )
    }

    def validate(self, config: SparsityTradeoffConfig) -> None:
        """Refuse a bad config before any compute."""
        if not config.in_degrees or len(set(config.in_degrees)) < len(config.in_degrees):
            raise ValueError(f"in_degrees: give at least one, each once, got {config.in_degrees}")
        if min(config.in_degrees) < 1:
            raise ValueError(f"in_degrees: must be positive, got {config.in_degrees}")
        if config.lifts < 2:
            raise ValueError(f"lifts: at least two for an interval, got {config.lifts}")
        if config.rounds < 1:
            raise ValueError(f"rounds: must be positive, got {config.rounds}")
        for field in ("level", "confidence"):
            if not 0 < getattr(config, field) < 1:
                raise ValueError(f"{field}: must lie in (0, 1), got {getattr(config, field)}")
        for field in ("t1", "rtol", "tolerance"):
            if not getattr(config, field) > 0:
                raise ValueError(f"{field}: must be positive, got {getattr(config, field)}")
        # The setting's own in-degree is not used.
        check_setting(dataclasses.replace(config, in_degree=1), (1,))
        dims = config.dataset(single=True).dims
        for parameters in (config.parameters, *config.inference_parameters):
            size_of(parameters, dims, config.hidden, None)
            for degree in config.in_degrees:
                size = size_of(parameters, dims, config.hidden, degree)
                if degree >= size:
                    raise ValueError(
                        f"in_degrees: {degree} leaves {parameters} parameters a size of {size}, "
                        "which is dense; lower it, or raise the parameters"
                    )

    def control(self, config: SparsityTradeoffConfig) -> SparsityTradeoffConfig:
        """In-degree 1: sums of functions of one coordinate, which no product is near to."""
        return dataclasses.replace(config, in_degrees=(1,))

    def trials(self, config: SparsityTradeoffConfig) -> list[Trial]:
        """Up to ten lifts of an in-degree a trial, dense ones last; then inference, in turns."""
        flows = [
            Trial(
                f"degree{degree:04d}-lifts{start:04d}",
                {
                    "in_degree": degree,
                    "numbers": list(range(start, min(start + BLOCK, config.lifts))),
                },
            )
            for degree in (*config.in_degrees, DENSE)
            for start in range(0, config.lifts, BLOCK)
        ]
        costs = [
            Trial(f"inference{parameters:08d}", {"parameters": parameters})
            for parameters in dict.fromkeys(config.inference_parameters)
        ]
        return flows + costs

    def measure(self, config: SparsityTradeoffConfig, trial: Trial) -> dict[str, np.ndarray]:
        """The flows of some lifts, or the costs of applying one lift of each in-degree."""
        data = config.dataset(single=True)
        if "parameters" in trial.parameters:
            return _inference(config, data.dims, trial.parameters["parameters"])
        degree, numbers = trial.parameters["in_degree"], trial.parameters["numbers"]
        size = size_of(config.parameters, data.dims, config.hidden, degree or None)
        lift, params = lift_ensemble(config, data.dims, size, degree or None, numbers)
        x, y, x_test, y_test = (
            jnp.asarray(array, float)
            for array in (data.x_train, data.y_train[:, :1], data.x_test, data.y_test[:, :1])
        )
        loss = SquaredLoss(lift.apply, x, y)
        fine, coarse = (
            gradient_flows(
                loss,
                params,
                config.t1,
                saveat=config.t1 * np.linspace(0, 1, SAVES) ** 3,
                rtol=tolerance,
                shared=lambda of: of.data,
                keep_params=False,
                devices=jax.local_devices(),
            )
            for tolerance in (config.rtol, COARSER * config.rtol)
        )
        test = [
            np.asarray(losses_of(lift, cast(lifts.Params, flow.end), x_test, y_test))
            for flow in (fine, coarse)
        ]
        count = len(numbers)
        return {
            "in_degree": np.full(count, degree),
            "size": np.full(count, size),
            "parameters": np.full(count, sum(v[0].size for v in jax.tree.leaves(params))),
            "ts": np.asarray(fine.ts),
            "losses": np.asarray(fine.losses),
            "test_loss": test[0],
            "coarse_test_loss": test[1],
            "energy_error": np.asarray(fine.counts["energy_error"]),
            "completed": np.asarray((fine.status == "completed") & (coarse.status == "completed")),
        }

    def judge(self, config: SparsityTradeoffConfig, measurements: Measurements) -> Verdict:
        """Holds where the ratio of mean test losses is within the tolerance for some in-degree."""
        found = {d: of_degree(measurements, d) for d in (*config.in_degrees, DENSE)}
        failed = sum(int((~v["completed"]).sum()) for v in found.values())
        # For all in-degrees together, of which the best may decide.
        level = 1 - (1 - config.confidence) / len(config.in_degrees)
        rows = {d: loss_ratio(found[d], found[DENSE], level) for d in config.in_degrees}
        summary = {
            "test_loss_ratio": {str(d): np.exp(row["log_ratio"]) for d, row in rows.items()},
            "ratio_low": {str(d): np.exp(row["low"]) for d, row in rows.items()},
            "ratio_high": {str(d): np.exp(row["high"]) for d, row in rows.items()},
        }
        summary |= {
            f"latency_ratio_batch_{batch}_parameters_{parameters}": {
                str(d): value for d, value in zip(config.in_degrees, ratios, strict=True)
            }
            for parameters in dict.fromkeys(config.inference_parameters)
            for batch, ratios in zip(
                BATCHES, np.median(latency_ratios(measurements, parameters), axis=2).T, strict=True
            )
        }
        goal = np.log1p(config.tolerance)
        budgets = {
            d: {
                "integrator": row["integrator"],
                "quadrature": 0.0,
                "sampling": (row["high"] - row["low"]) / 2,
                "floating_point": row["floating_point"],
            }
            for d, row in rows.items()
        }
        slack = {d: goal - rows[d]["log_ratio"] - sum(budgets[d].values()) for d in rows}
        best = max(slack, key=lambda d: slack[d])
        margin = float(goal - rows[best]["log_ratio"])
        said = (
            f"at in-degree {best} the test loss is {np.exp(rows[best]['log_ratio']):.3g} "
            f"[{np.exp(rows[best]['low']):.3g}, {np.exp(rows[best]['high']):.3g}] of the dense one"
        )
        broken = all(goal - rows[d]["log_ratio"] < -sum(budgets[d].values()) for d in rows)
        dense = found[DENSE]["test_loss"] / found[DENSE]["losses"][:, 0]
        left = geometric(dense, config.confidence)[0]
        others = ", ".join(
            f"in-degree {d}: {np.exp(row['low']):.3g} to {np.exp(row['high']):.3g}"
            for d, row in rows.items()
            if d != best
        )
        if failed:
            status, said = "not_applicable", f"{failed} flows did not complete"
        elif left > LEARNED:
            status = "not_applicable"
            said = f"dense lifts learn nothing: {left:.2f} of the loss is left; more samples"
        elif slack[best] > 0:
            status = "holds"
            latency = latency_ratios(measurements, config.inference_parameters[0])
            times = np.median(latency[config.in_degrees.index(best)], axis=1)
            said += "; what it costs: " + ", ".join(
                f"{ratio:.2g} times the latency at batch {batch}"
                for ratio, batch in zip(times, BATCHES, strict=True)
            )
        elif broken:
            status = "violated"
            said += f", which is the best, and above {1 + config.tolerance:g}"
        else:
            status = "inconclusive"
            need = lifts_needed(rows[best], config.tolerance)
            said += f", which does not decide {1 + config.tolerance:g}; {need}"
        if others and status != "not_applicable":
            said += f" ({others})"
        return Verdict(status, False, margin, budgets[best], said, summary)

    def draw(
        self, config: SparsityTradeoffConfig, measurements: Measurements, verdict: Verdict
    ) -> Figure:
        """Losses, time to the level, latency and bytes against in-degree."""
        rows = self.rows(config, measurements)
        return draw_tradeoff(config, rows, measurements, verdict)

    def rows(
        self, config: SparsityTradeoffConfig, measurements: Measurements
    ) -> list[dict[str, Any]]:
        """What the figure and the table show of each in-degree, dense last."""
        rows = []
        for degree in (*config.in_degrees, DENSE):
            values = of_degree(measurements, degree)
            first = values["losses"][:, 0]
            rows.append(
                {
                    "degree": degree,
                    "size": int(values["size"][0]),
                    "parameters": int(values["parameters"][0]),
                    "train": geometric(values["losses"][:, -1] / first, config.confidence),
                    "test": geometric(values["test_loss"] / first, config.confidence),
                    "time": median_hitting_time(
                        *times_to_level(values, config.level), config.confidence
                    ),
                    "reached": int(times_to_level(values, config.level)[1].sum()),
                    "lifts": len(first),
                }
            )
        return rows

    def table(
        self, config: SparsityTradeoffConfig, measurements: Measurements, verdict: Verdict
    ) -> list[dict[str, Any]]:
        """One row an in-degree; latencies are ratios to the dense one, with quartiles of rounds."""
        parameters = config.inference_parameters[0]
        cost = measurements[f"inference{parameters:08d}"]
        ratios = latency_ratios(measurements, parameters)
        table = []
        for i, row in enumerate(self.rows(config, measurements)):
            dense = row["degree"] == DENSE
            said = {
                "in-degree": "dense" if dense else str(row["degree"]),
                "size": row["size"],
                "parameters": row["parameters"],
                "train loss": with_interval(*row["train"]),
                "test loss": with_interval(*row["test"]),
                f"time to {config.level:g}": with_interval(
                    *(row["time"].median, row["time"].low, row["time"].high)
                ),
                "reached": f"{row['reached']}/{row['lifts']}",
                "products": int(cost["products"][i]),
                "bytes": int(cost["parameter_bytes"][i] + cost["wiring_bytes"][i]),
                "temporaries": int(cost["temporaries"][i, -1]),
            }
            for b, batch in enumerate(BATCHES):
                ratio = np.ones(1) if dense else ratios[i, b]
                said[f"latency, batch {batch}"] = with_interval(
                    *tuple(float(q) for q in np.quantile(ratio, [0.5, 0.25, 0.75]))
                )
            table.append(said)
        return table


def of_degree(measurements: Measurements, degree: int) -> dict[str, np.ndarray]:
    """The arrays of all lifts of an in-degree."""
    rows = [v for name, v in measurements.items() if name.startswith(f"degree{degree:04d}-")]
    return {name: np.concatenate([v[name] for v in rows]) for name in rows[0]}


def latency_ratios(measurements: Measurements, parameters: int) -> np.ndarray:
    """Latency over the dense one's of the same round: in-degrees by batches by rounds."""
    seconds = measurements[f"inference{parameters:08d}"]["seconds"]
    return seconds[:-1] / seconds[-1:]


def _inference(config: SparsityTradeoffConfig, dims: int, parameters: int) -> dict[str, np.ndarray]:
    candidates = {}
    for degree in (*config.in_degrees, DENSE):
        size = size_of(parameters, dims, config.hidden, degree or None)
        lift, params = lift_ensemble(config, dims, size, degree or None, [0])
        candidates[str(degree)] = jax.tree.map(
            lambda leaf: leaf[0] if eqx.is_array(leaf) else leaf, (lift, params)
        )
    held = [bytes_held(lift, params) for lift, params in candidates.values()]
    return {
        "products": np.array([products(lift) for lift, _ in candidates.values()]),
        "parameter_bytes": np.array([one["parameters"] for one in held]),
        "wiring_bytes": np.array([one["wiring"] for one in held]),
        "sizes": np.array([lift.sizes["h1"] for lift, _ in candidates.values()]),
        **inference_costs(candidates, BATCHES, dims, config.rounds),
    }


CLAIM = SparsityTradeoff()
