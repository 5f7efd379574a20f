"""PAC-convergence in discrete time: up to which step size do GD and SGD do what the flow does."""

import dataclasses
import math
from collections.abc import Iterator
from typing import Any, ClassVar

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jaxtyping import Array
from matplotlib.figure import Figure

from sparsejax import targets
from sparsejax.bounds import Verdict
from sparsejax.claims.batching import lane_keys, together
from sparsejax.claims.claim import Measurements, Trial
from sparsejax.claims.discrete_time_pac_figure import draw_phases
from sparsejax.claims.pac import (
    Condition,
    Ensemble,
    PacSetting,
    Rung,
    check_pac_setting,
    conditions,
    decisive,
    ensemble,
    over_devices,
    overall,
    place,
    rung,
)
from sparsejax.claims.pac.pac_data import parity
from sparsejax.dynamics import gradient_descent, sgd, sharpness, squared_loss

# Steps of one compiled program, which runs as often as a step size asks: it is not compiled anew.
CHUNK, SAVE_EVERY = 100, 20
# Of a run, at its end: the loss of SGD goes up and down, and is averaged over this part.
LAST_PART = 0.2
_TREE = targets.product_tree
# Folded into the seed for samples of SGD; keys of lifts come from sizes, which are smaller.
_SAMPLES_KEY = 2**31 + 1


@dataclasses.dataclass(frozen=True)
class DiscreteTimePacConfig(PacSetting):
    """GD and SGD of many random lifts, over step sizes, batch sizes and sizes."""

    targets: tuple[str, ...] = ("parity",)  # type: ignore[assignment]
    """What is learned: parity (on the cube) or tree (tanh(2 x1 x2) tanh(2 x3 x4)); samples
    of SGD are fresh in every step."""
    architectures: tuple[str, ...] = ("mlp",)  # type: ignore[assignment]
    """What is lifted: mlp, convnet, transformer."""
    mlp_sizes: tuple[int, ...] = (8, 24, 64)
    """Vertices per hidden layer of the perceptrons."""
    convnet_sizes: tuple[int, ...] = (4, 8, 16)
    """Channels per hidden layer of the convolutional lifts."""
    transformer_sizes: tuple[int, ...] = (2, 4)
    """Streams, heads and perceptrons of the attention lifts."""
    batch_sizes: tuple[int, ...] = (0, 64, 8, 1)
    """Samples per step; 0 stands for gradient descent on the population loss."""
    parity_order: int = 3
    """Coordinates whose product the parity is."""
    step_sizes: tuple[float, ...] = (0.0125, 0.025, 0.05, 0.1, 0.2, 0.4, 0.8)
    """Step sizes, in flow time."""
    lifts: int = 20
    """Random lifts of each size, the same ones for all batch and step sizes."""
    eps_fraction: float = 0.1
    """The level to be reached, as a fraction of the loss of the zero function."""
    delta: float = 0.25
    """The probability of failure that is allowed."""
    confidence: float = 0.95
    """Level of the Clopper-Pearson intervals, each by itself. The claim is violated where at one
    batch size it is with the confidence that holds for all of them at once."""
    t1: float = 60.0
    """Flow time of every run: the sum of its steps, rounded up to whole hundreds of them."""


class DiscreteTimePac:
    """Where the conclusion of the theorem ends, in step size, for each batch size and size."""

    name = "discrete-time-pac"
    statement = (
        "Random sparse lifts reach epsilon with probability at least 1 - delta also in discrete "
        "time, by gradient descent and by SGD on fresh samples of every batch size, up to some "
        "step size."
    )
    source = "open in Robin, Scaman, Lelarge, ICLR 2024 (arXiv 2501.05930); stated here"
    Config = DiscreteTimePacConfig
    presets: ClassVar[dict[str, DiscreteTimePacConfig]] = {
        "paper": DiscreteTimePacConfig(
            targets=("parity", "tree"),
            architectures=("mlp", "convnet", "transformer"),
            mlp_sizes=(8, 24, 64, 192, 512),
            convnet_sizes=(4, 8, 16, 32),
            transformer_sizes=(2, 4, 8),
            batch_sizes=(0, 256, 64, 16, 4, 1),
            step_sizes=tuple(0.8 / 2**k for k in range(12)),
            lifts=100,
            t1=600.0,
        )
    }

    def validate(self, config: DiscreteTimePacConfig) -> None:
        """Refuse a bad config before any compute."""
        if config.data is not None:
            raise ValueError("data: a file has no fresh samples; this claim learns parity or tree")
        real = [name for name in config.targets if name not in ("parity", "tree")]
        if real:
            raise ValueError(f"targets: {real[0]} has no fresh samples; choose parity or tree")
        if not config.population:
            raise ValueError("population: this claim is about the population loss alone")
        check_pac_setting(config)
        if config.lifts < 1:
            raise ValueError(f"lifts: at least one is needed, got {config.lifts}")
        for field, least in (("batch_sizes", 0), ("step_sizes", 1e-9)):
            values = getattr(config, field)
            if (
                not values
                or not all(least <= v < math.inf for v in values)
                or len(set(values)) < len(values)
            ):
                raise ValueError(
                    f"{field}: give at least one, none below {least:g} and none twice; "
                    f"got {list(values)}"
                )
        for field in ("eps_fraction", "delta", "confidence"):
            if not 0 < getattr(config, field) < 1:
                raise ValueError(f"{field}: must lie in (0, 1), got {getattr(config, field)}")
        if not 0 < config.t1 < math.inf:
            raise ValueError(f"t1: must be positive, got {config.t1}")

    def control(self, config: DiscreteTimePacConfig) -> DiscreteTimePacConfig:
        """Step sizes that are all beyond what gradient descent survives."""
        largest = max(config.step_sizes)
        return dataclasses.replace(config, step_sizes=(2 * largest, 4 * largest))

    def trials(self, config: DiscreteTimePacConfig) -> list[Trial]:
        """One trial a lift, size and batch size; it runs through all step sizes."""
        return [
            Trial(
                f"{condition.name}-size{size:05d}-batch{batch:05d}-lift{number:03d}",
                {
                    **dataclasses.asdict(condition),
                    "size": size,
                    "batch_size": batch,
                    "number": number,
                },
            )
            for condition in conditions(config)
            for size in config.sizes(condition.architecture)
            for batch in config.batch_sizes
            for number in range(config.lifts)
        ]

    def batches(self, config: DiscreteTimePacConfig, trials: list[Trial]) -> list[list[Trial]]:
        """The lifts of one size and batch size, at most `lifts`, through all step sizes.

        That is what a kill may lose; the rest after one is a batch of another length, and compiles
        once more.
        """
        return together(trials, "target", "architecture", "size", "batch_size")

    def measure_batch(
        self, config: DiscreteTimePacConfig, trials: list[Trial]
    ) -> Iterator[dict[str, np.ndarray]]:
        """Descents of lifts of one size with one batch size, at every step size."""
        given = trials[0].parameters
        condition = Condition(given["target"], given["architecture"])
        numbers = [trial.parameters["number"] for trial in trials]
        drawn = ensemble(config, condition, given["size"], numbers)
        runs = [
            _descents(config, condition, drawn, given["batch_size"], eta)
            for eta in config.step_sizes
        ]
        sharpest = np.asarray(_sharpness(drawn, runs[int(np.argmin(config.step_sizes))][1]))
        for lift in range(drawn.count):
            losses = np.stack([run[0][lift] for run in runs]) / drawn.zero_loss
            yield {
                "losses": losses[:, 0],
                "errors": losses[:, 1],
                "sharpness": sharpest[lift],
                "zero_loss": np.asarray(drawn.zero_loss),
            }

    def measure(self, config: DiscreteTimePacConfig, trial: Trial) -> dict[str, np.ndarray]:
        """One lift by itself."""
        return next(iter(self.measure_batch(config, [trial])))

    def judge(self, config: DiscreteTimePacConfig, measurements: Measurements) -> Verdict:
        """Holds where at every batch size the largest lifts succeed at the smallest step."""
        goal, found, reasons = 1 - config.delta, {}, []
        smallest = min(config.step_sizes)
        firsts: list[Rung] = []
        comparisons = len(conditions(config)) * len(config.batch_sizes)
        for condition in conditions(config):
            for size in config.sizes(condition.architecture):
                for batch in config.batch_sizes:
                    rungs = _phases(config, condition, size, batch, measurements)
                    name = f"{condition.name}-size{size:05d}-batch{batch:05d}"
                    sharp = np.array([v["sharpness"] for v in _at(measurements, name)])
                    sharp = sharp[np.isfinite(sharp)]  # lifts that diverged have none
                    found[name] = _summary(rungs, goal) | {
                        "median_sharpness": float(np.median(sharp)) if len(sharp) else math.nan
                    }
                    if size != max(config.sizes(condition.architecture)):
                        continue
                    first = rungs[smallest]
                    firsts.append(first)
                    end = found[name]
                    reasons.append(_reason(config, condition, batch, first, end, comparisons))
        statuses = [first.status(goal, comparisons) for first in firsts]
        status = overall(statuses)
        closest = decisive(
            [r for r, s in zip(firsts, statuses, strict=True) if s == status], status
        )
        summary = {
            "phases": found,
            "eps_fraction": config.eps_fraction,
            "delta": config.delta,
            "largest_error": _largest_error(measurements, config.eps_fraction),
        }
        said = [r for r, s in zip(reasons, statuses, strict=True) if s == status]
        # Gradient descent is the subject, and not an approximation: that it diverges is a failure.
        budget = closest.budget(goal, comparisons)
        return Verdict(status, False, closest.margin(goal), budget, "; ".join(said), summary)

    def draw(
        self, config: DiscreteTimePacConfig, measurements: Measurements, verdict: Verdict
    ) -> Figure:
        """Success fraction against step size for each batch size, a panel a size."""
        return draw_phases(config, measurements, verdict)

    def table(
        self, config: DiscreteTimePacConfig, measurements: Measurements, verdict: Verdict
    ) -> list[dict[str, Any]]:
        """One row a condition, size and batch size."""
        rows = []
        for name, found in verdict.summary["phases"].items():
            condition, size, batch = name.rsplit("-", 2)
            last = found["learned_up_to"]
            rows.append(
                {
                    "condition": condition,
                    "size": int(size.removeprefix("size")),
                    "batch": int(batch.removeprefix("batch")) or "all",
                    "lifts": found["lifts"],
                    "reached up to step": last,
                    "fraction there": found["fraction"].get(str(last)),
                    "low": found["low"].get(str(last)),
                    "high": found["high"].get(str(last)),
                    "missed from step": found["missed_from"],
                    "2 / sharpness": 2 / found["median_sharpness"],
                }
            )
        return rows


def _at(measurements: Measurements, prefix: str) -> list[dict[str, np.ndarray]]:
    return [v for name, v in measurements.items() if name.startswith(f"{prefix}-")]


def _phases(
    config: DiscreteTimePacConfig,
    condition: Condition,
    size: int,
    batch: int,
    measurements: Measurements,
) -> dict[float, Rung]:
    """Successes at each step size."""
    lifts = _at(measurements, f"{condition.name}-size{size:05d}-batch{batch:05d}")
    losses, errors = (np.stack([v[key] for v in lifts]) for key in ("losses", "errors"))
    # A loss that is not finite has reached nothing.
    reached = losses + errors <= config.eps_fraction
    undecided = ~reached & (losses - errors <= config.eps_fraction)
    return {
        eta: rung(size, reached[:, k], config.confidence, undecided=undecided[:, k])
        for k, eta in enumerate(config.step_sizes)
    }


def _summary(rungs: dict[float, Rung], goal: float) -> dict[str, Any]:
    learned = None
    for eta in sorted(rungs):
        if rungs[eta].low < goal:
            break
        learned = eta
    missed = [eta for eta in sorted(rungs) if rungs[eta].high < goal]
    beyond = [eta for eta in missed if learned is None or eta > learned]
    return {
        "learned_up_to": learned,
        "missed_from": beyond[0] if beyond else None,
        "fraction": {str(eta): r.fraction for eta, r in rungs.items()},
        "low": {str(eta): r.low for eta, r in rungs.items()},
        "high": {str(eta): r.high for eta, r in rungs.items()},
        "lifts": next(iter(rungs.values())).lifts,
    }


def _reason(config, condition: Condition, batch: int, first: Rung, found, comparisons) -> str:
    who = f"{condition.name}, {f'batches of {batch}' if batch else 'gradient descent'}"
    goal = 1 - config.delta
    if first.low >= goal:
        end = found["missed_from"]
        beyond = f", and no more from {end:g} on" if end is not None else ""
        return f"{who}: up to step {found['learned_up_to']:g}{beyond}"
    return f"{who}: at step {min(config.step_sizes):g} {place(first, goal, comparisons)}"


def _largest_error(measurements: Measurements, eps_fraction: float) -> float:
    """Of losses that count as at the level, over the level."""
    errors = [
        float(e) / eps_fraction
        for v in measurements.values()
        for e, loss in zip(v["errors"], v["losses"], strict=True)
        if loss <= eps_fraction
    ]
    return max(errors, default=0.0)


def _descents(
    config: DiscreteTimePacConfig, condition: Condition, drawn: Ensemble, batch: int, eta: float
) -> tuple[np.ndarray, Any]:
    """For every lift the loss at the end and its error, and the last parameters."""
    base = jax.random.fold_in(jax.random.fold_in(jax.random.key(config.seed), _SAMPLES_KEY), batch)
    keys = lane_keys(base, drawn.numbers)
    params, saved = drawn.params, []
    # The coordinates of the parity; none for the tree.
    order = config.parity_order if condition.target == "parity" else 0
    repeats = max(math.ceil(config.t1 / eta / CHUNK), 1)
    for _ in range(repeats):
        keys = jax.vmap(lambda key: jax.random.split(key, 1)[0])(keys)
        params, losses = _chunk(drawn, params, keys, jnp.asarray(eta, float), order, batch)
        saved.append(np.asarray(losses))
    curve = np.concatenate(saved, axis=1)
    last = curve[:, -max(round(LAST_PART * curve.shape[1]), CHUNK // SAVE_EVERY) :]
    mean = last.mean(axis=1)
    error = np.zeros_like(mean)
    if drawn.fresh:
        # Of the population loss the rule that recorded is an estimate: by independent ones at the
        # end. A diverged lift has no error either.
        fresh = np.asarray(drawn.fresh_losses(params))
        error = np.abs(fresh.mean(axis=1) - curve[:, -1])
    return np.stack([mean, error], axis=1), params


@eqx.filter_jit
def _chunk(
    drawn: Ensemble, params: Any, keys: Array, eta: Array, order: int, batch: int
) -> tuple[Any, Array]:
    """`CHUNK` steps of every lift, and losses on all points on the way."""

    def generator(key: Array, step: Array) -> tuple[Array, Array]:
        shape = (batch, *drawn.loss.x.shape[1:])
        if order:
            x = jnp.where(jax.random.bernoulli(key, shape=shape), 1.0, -1.0)
            return x, parity(x.reshape(batch, -1), order)
        x = jax.random.uniform(key, shape, minval=-1.0, maxval=1.0)
        flat = x.reshape(batch, -1)
        return x, _TREE(flat.shape[1])(flat)

    def one(lift, at, key, eta, x, y, weights=None):
        loss, step = squared_loss(lift.apply, x, y, weights), optax.sgd(eta)
        if batch == 0:
            run = gradient_descent(loss, at, step, CHUNK, save_every=SAVE_EVERY)
        else:
            run = sgd(loss, at, step, CHUNK, key=key, generator=generator, save_every=SAVE_EVERY)
        return run.final, run.losses[1:]

    return over_devices(one, (drawn.stacked, params, keys), (eta, *drawn.loss.data))


@eqx.filter_jit
def _sharpness(drawn: Ensemble, params: Any) -> Array:
    def one(lift, at, x, y, weights=None):
        return sharpness(squared_loss(lift.apply, x, y, weights), at)

    return over_devices(one, (drawn.stacked, params), drawn.loss.data)


CLAIM = DiscreteTimePac()
