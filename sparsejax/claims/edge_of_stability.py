"""Full-batch gradient descent hovers where the sharpness is 2 / step size."""

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array
from matplotlib.figure import Figure

from sparsejax import graphs, lifts
from sparsejax.bounds import PARTS, Verdict
from sparsejax.claims.claim import Measurements, Trial
from sparsejax.claims.drawing import BLUE, GREY, RED, panels, paper_style
from sparsejax.dynamics import SquaredLoss, gradient_descent, sharpness_along, squared_loss

DIGITS = 1797
_SGD = optax.inject_hyperparams(optax.sgd)(learning_rate=0.0)


@dataclasses.dataclass(frozen=True)
class EdgeOfStabilityConfig:
    """Gradient descent on half the mean squared error of the ten digits, one-hot."""

    samples: int = 500
    """Number of training samples."""
    width: int = 100
    """Vertices per hidden layer; the network is dense."""
    hidden: int = 2
    """Number of hidden layers."""
    activation: str = "tanh"
    """Activation of the hidden vertices."""
    step_size: float = 0.25
    """Step size of gradient descent."""
    steps: int = 2000
    """Number of steps; the statement is about the second half."""
    records: int = 20
    """How often the sharpness is measured; divides the steps, and is even."""
    gain: float = 0.6
    """Weights start as N(0, 1) times gain / sqrt(in-degree)."""
    tolerance: float = 0.1
    """Largest distance of the median sharpness from 2 / step size, as a share of it."""
    least_increases: float = 0.1
    """The least share of steps that must increase the loss."""
    seed: int = 0
    """Seed of the initial weights."""


class EdgeOfStability:
    """Sharpness along gradient descent, and how many of its steps increase the loss."""

    name = "edge-of-stability"
    statement = (
        "Full-batch gradient descent sharpens until the sharpness is 2 / step size and hovers "
        "there, while its loss goes up and down step by step and down in the long run."
    )
    source = "Cohen, Kaur, Li, Kolter, Talwalkar, ICLR 2021 (arXiv 2103.00065)"
    Config = EdgeOfStabilityConfig

    def validate(self, config: EdgeOfStabilityConfig) -> None:
        """Refuse a bad config before any compute."""
        for field in ("samples", "width", "hidden", "step_size", "steps", "gain", "tolerance"):
            if not getattr(config, field) > 0:
                raise ValueError(f"{field}: must be positive, got {getattr(config, field)}")
        if config.records < 4 or config.records % 2:
            raise ValueError(f"records: must be even and at least 4, got {config.records}")
        if config.steps % config.records:
            raise ValueError(
                f"steps: must be a multiple of records ({config.records}), got {config.steps}"
            )
        if not 0 < config.least_increases < 1:
            raise ValueError(f"least_increases: must lie in (0, 1): {config.least_increases}")
        graphs.mlp(1, config.hidden, 1, config.activation)
        if config.samples > DIGITS:
            raise ValueError(f"samples: there are {DIGITS} digits, got {config.samples}")

    def control(self, config: EdgeOfStabilityConfig) -> EdgeOfStabilityConfig:
        """A step so small that training ends below the edge."""
        return dataclasses.replace(
            config, step_size=config.step_size / 32, steps=4 * config.records
        )

    def trials(self, config: EdgeOfStabilityConfig) -> list[Trial]:
        """One run."""
        return [Trial("run", {})]

    def measure(self, config: EdgeOfStabilityConfig, trial: Trial) -> dict[str, np.ndarray]:
        """Loss and sharpness along the run, and the increases of the loss in each half."""
        x, y = _digits(config.samples)
        module = graphs.mlp(x.shape[1], config.hidden, y.shape[1], config.activation)
        lift = lifts.dense_lift(module, config.width)
        params = lift.init(jax.random.key(config.seed), gain=config.gain, bias_scale=0.0)
        loss = jax.tree_util.Partial(_half, squared_loss(lift.apply, x, y))
        half, every = config.steps // 2, config.steps // config.records
        losses, sharp, increases, statuses = [], [], [], []
        for _ in range(2):
            state = _SGD.init(params)._replace(
                hyperparams={"learning_rate": jnp.asarray(config.step_size)}
            )
            run = gradient_descent(
                loss, params, _SGD, half, save_every=every, optimizer_state=state
            )
            later = jax.tree.map(lambda leaf: leaf[1:], run.params)
            losses.append(np.asarray(run.losses)[1:])
            sharp.append(
                np.asarray(sharpness_along(loss, later, max_iterations=15, tolerance=1e-3))
            )
            increases.append(float(run.stats["loss_increases"]) / half)
            statuses.append(str(run.status))
            params = run.final
        return {
            "steps": every * np.arange(1, config.records + 1),
            "losses": np.concatenate(losses),
            "sharpness": np.concatenate(sharp),
            "increases": np.asarray(increases),
            "run_statuses": np.asarray(statuses),
            "parameters": np.asarray(lift.parameter_count()),
        }

    def judge(self, config: EdgeOfStabilityConfig, measurements: Measurements) -> Verdict:
        """Holds where the second half hovers at 2 / step size with many increases of the loss."""
        (v,) = measurements.values()
        later = slice(config.records // 2, None)
        ratio = v["sharpness"][later] * config.step_size / 2
        if (v["run_statuses"] != "completed").any() or not np.isfinite(ratio).all():
            return Verdict("not_applicable", reason="gradient descent diverged: lower step_size")
        median = float(np.median(ratio))
        # What the median of so few records may be off by, from their spread.
        spread = float(1.25 * np.std(ratio, ddof=1) / np.sqrt(len(ratio)))
        budget = dict.fromkeys(PARTS, 0.0) | {"sampling": spread, "floating_point": 1e-6}
        margin = config.tolerance - abs(median - 1)
        falls = bool(np.mean(v["losses"][later][-3:]) < np.mean(v["losses"][: config.records // 2]))
        share = float(v["increases"][1])
        summary = {
            "sharpness_over_edge": median,
            "least_over_edge": float(ratio.min()),
            "greatest_over_edge": float(ratio.max()),
            "increases_first_half": float(v["increases"][0]),
            "increases_second_half": share,
            "edge": 2 / config.step_size,
        }
        if ratio.max() < 1 - config.tolerance:
            status = "not_applicable"
            reason = (
                f"training ends below the edge: the sharpness reaches {ratio.max():.2f} of "
                "2 / step size in these steps"
            )
        elif abs(margin) <= sum(budget.values()):
            status, reason = "inconclusive", "the margin lies inside the error budget"
        elif margin > 0 and share >= config.least_increases and falls:
            status = "holds"
            reason = (
                f"over the second half the median sharpness is {median:.3f} of 2 / step size, and "
                f"{share:.0%} of the steps increase the loss, which falls in the long run"
            )
        else:
            status = "violated"
            reason = (
                f"median sharpness {median:.3f} of 2 / step size, {share:.0%} of the steps "
                f"increase the loss, which {'falls' if falls else 'does not fall'} in the long run"
            )
        return Verdict(status, False, margin, budget, reason, summary)

    def draw(
        self, config: EdgeOfStabilityConfig, measurements: Measurements, verdict: Verdict
    ) -> Figure:
        """Loss and sharpness over the steps, with the edge."""
        (v,) = measurements.values()
        with paper_style():
            figure, (left, right) = panels(2)
            left.semilogy(v["steps"], v["losses"], color=BLUE)
            left.set_xlabel("step")
            left.set_ylabel("half mean squared error")
            right.plot(v["steps"], v["sharpness"], "o-", color=BLUE, ms=3, label="sharpness")
            right.axhline(2 / config.step_size, color=RED, ls="--", lw=1, label="2 / step size")
            right.axvline(config.steps / 2, color=GREY, lw=1, ls=":", label="second half")
            right.set_ylim(bottom=0)
            right.set_xlabel("step")
            right.set_ylabel("largest Hessian eigenvalue")
            right.legend()
            figure.suptitle(f"Edge of stability: {verdict.status.replace('_', ' ')}")
        return figure

    def table(
        self, config: EdgeOfStabilityConfig, measurements: Measurements, verdict: Verdict
    ) -> list[dict[str, Any]]:
        """One row a quarter of the records."""
        (v,) = measurements.values()
        rows = []
        for part in np.array_split(np.arange(config.records), 4):
            rows.append(
                {
                    "up to step": int(v["steps"][part[-1]]),
                    "loss": float(v["losses"][part[-1]]),
                    "median sharpness x step / 2": float(
                        np.median(v["sharpness"][part]) * config.step_size / 2
                    ),
                    "steps that increase the loss": float(
                        v["increases"][int(part[-1] >= config.records // 2)]
                    ),
                }
            )
        return rows


def _digits(samples: int) -> tuple[Array, Array]:
    """Pixels of mean zero and variance one over all of them, and one-hot labels."""
    from sklearn.datasets import load_digits

    data = load_digits()
    pixels = data.data[:samples]
    pixels = (pixels - pixels.mean()) / pixels.std()
    return jnp.asarray(pixels, float), jnp.asarray(np.eye(10)[data.target[:samples]], float)


def _half(loss: SquaredLoss, params: Any) -> Array:
    return loss(params) / 2


CLAIM = EdgeOfStability()
