"""What the flow, gradient descent and SGD spend until the loss is down to a target."""

import dataclasses
import functools
import math
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from jaxtyping import Array, Float, PyTree

from sparsejax.claims.plain_descent import PLAIN, SAMPLING, at_step_size
from sparsejax.claims.statistics import hitting_time, mean_interval
from sparsejax.dynamics import (
    SquaredLoss,
    Stop,
    Trajectory,
    gradient_descent,
    gradient_flow,
    sgd,
    sharpness,
)

LEVELS = 8
# Steps between two saved losses, and between two looks at whether to go on.
RECORD_EVERY, PIECE = 32, 256
REPEATS = 5
# A Hessian-vector product runs a gradient and its derivative.
GRADIENTS_PER_PRODUCT = 2
POINTS = 120
REACHED, DIVERGED, NOT_REACHED = "reached", "diverged", "not reached"


def measure_time_to_loss(
    config: Any, loss: SquaredLoss, params: PyTree, number: int
) -> dict[str, np.ndarray]:
    """Steps to the target loss by every method, curves for the figure, and seconds a step.

    Seconds are medians of repeated compiled calls: of whole ones for the flow, which looks at its
    loss every step, of `PIECE` steps for the others, which do so every `RECORD_EVERY` steps.
    """
    sharp = float(sharpness(loss, params))
    etas = np.asarray(config.loss_steps) / sharp
    measured = _flow(config, loss, params)
    target = config.level * float(measured["first_loss"])
    key = jax.random.fold_in(jax.random.key(config.seed + 2), number)
    methods = {"descent": [(None, key)]}
    methods["sgd"] = [(size, jax.random.fold_in(key, size)) for size in config.batch_sizes]
    for name, batches in methods.items():
        lanes, seconds = [], []
        for batch_size, of_batch in batches:
            for i, eta in enumerate(etas):
                keys = jax.random.split(jax.random.fold_in(of_batch, i), config.seeds)
                state, most = at_step_size(params, eta), config.longest / eta
                runs = [
                    _until(loss, params, state, batch_size, one, target, most)
                    # Without a batch all would be the same.
                    for one in (keys if batch_size else keys[:1])
                ]
                lanes.append(_lanes(runs, target))
            # A step size that stays finite: what is timed is a step, whatever its size.
            timed = _piece(loss, at_step_size(params, 0.1 / sharp), batch_size, key)
            seconds.append(_seconds(functools.partial(timed, params)) / PIECE)
        measured[f"{name}_seconds_per_step"] = np.array(seconds)
        for field in dataclasses.fields(_Lanes):
            column = np.array([getattr(one, field.name) for one in lanes])
            measured[f"{name}_{field.name}"] = column.reshape(
                len(batches), len(etas), *column.shape[1:]
            )
    return measured | {
        "sharpness": np.asarray(sharp),
        "etas": etas,
        "samples": np.asarray(loss.samples),
    }


def _flow(config, loss, params) -> dict[str, np.ndarray]:
    """The flow's time, gradients and seconds to each of a ladder of losses, down to the target."""
    levels = np.geomspace(1.0, config.level, LEVELS + 1)[1:]
    columns: dict[str, list[float]] = {"times": [], "gradients": [], "seconds": []}
    for level in levels:

        def run(level=level):
            return gradient_flow(
                loss,
                params,
                config.longest,
                saveat=np.array([0.0, config.longest]),
                rtol=config.flow_rtol,
                stop=Stop(relative_loss=float(level)),
            )

        seconds = _seconds(run)
        flow = run()
        reached = flow.status == "reached_relative_loss"
        spent = (
            flow.stats["gradient_evaluations"]
            + GRADIENTS_PER_PRODUCT * flow.stats["hessian_vector_products"]
        )
        for name, value in zip(columns, (float(flow.status_time), spent, seconds), strict=True):
            columns[name].append(value if reached else np.inf)
    return {
        "levels": levels,
        "first_loss": np.asarray(flow.losses[0]),
        "flow_outcome": np.asarray(REACHED if reached else NOT_REACHED),
        **{f"flow_{name}": np.array(column) for name, column in columns.items()},
    }


def _piece(
    loss: SquaredLoss, optimizer_state: Any, batch_size: int | None, key: Array
) -> Callable[[PyTree], Trajectory]:
    """`PIECE` steps from given parameters, on all samples or on batches."""
    settings: dict[str, Any] = {
        "steps": PIECE,
        "save_every": RECORD_EVERY,
        "optimizer_state": optimizer_state,
    }
    if batch_size is None:
        return lambda at: gradient_descent(loss, at, PLAIN, **settings)
    return lambda at: sgd(
        loss, at, PLAIN, key=key, batch_size=batch_size, sampling=SAMPLING, **settings
    )


def _until(loss, params, state, batch_size, key, target, most_steps) -> tuple[np.ndarray, str]:
    """Losses every `RECORD_EVERY` steps until one is at most the target, and how it ended."""
    saved: list[np.ndarray] = []
    at = params
    for number in range(math.ceil(most_steps / PIECE)):
        run = _piece(loss, state, batch_size, jax.random.fold_in(key, number))(at)
        losses = np.asarray(run.losses)
        saved.append(losses[min(len(saved), 1) :])
        below = np.concatenate(saved) <= target
        if below.any():
            return np.concatenate(saved)[: int(np.argmax(below)) + 1], REACHED
        if run.status != "completed":
            return np.concatenate(saved), DIVERGED
        at = run.final
    return np.concatenate(saved), NOT_REACHED


@dataclasses.dataclass(frozen=True)
class _Lanes:
    """Runs at one step size: steps to the target, how each ended, the loss over them.

    `curves`: the least, the median and the greatest over the runs.
    """

    steps: Float[np.ndarray, " runs"]
    outcomes: np.ndarray
    curve_steps: Float[np.ndarray, " points"]
    curves: Float[np.ndarray, "3 points"]


def _lanes(runs: list[tuple[np.ndarray, str]], target: float) -> _Lanes:
    steps = np.array([steps_to(losses, target) for losses, _ in runs])
    # Runs end when they have reached the target, and stay there; one that diverged is above all.
    last = max(len(losses) for losses, _ in runs)
    whole = np.empty((len(runs), last))
    for row, (losses, outcome) in zip(whole, runs, strict=True):
        row[: len(losses)] = np.where(np.isnan(losses), np.inf, losses)
        row[len(losses) :] = losses[-1] if outcome == REACHED else np.inf
    # As many points whatever the length, on a logarithmic axis, which leaves out the start.
    points = np.round(np.geomspace(1, last - 1, POINTS)).astype(int)
    # A quantile that is one of the values: infinite ones do no harm.
    curves = np.quantile(whole[:, points], (0.0, 0.5, 1.0), axis=0, method="inverted_cdf")
    outcomes = np.array([outcome for _, outcome in runs])
    return _Lanes(steps, outcomes, points * float(RECORD_EVERY), curves)


def steps_to(losses: Float[np.ndarray, " s"], target: float) -> float:
    """Steps until a loss saved every `RECORD_EVERY` steps is first at most `target`, or infinity.

    Between two saved losses their logarithm is taken to be linear.

    Example:
        >>> steps_to(np.array([1.0, 0.5, 0.125]), 0.25), steps_to(np.array([1.0, np.nan]), 0.25)
        (48.0, inf)
    """
    return hitting_time(RECORD_EVERY * np.arange(len(losses), dtype=float), losses, target)


def _seconds(run: Callable[[], Any]) -> float:
    """The median time of a compiled call."""
    jax.block_until_ready(run())
    taken = []
    for _ in range(REPEATS):
        since = time.perf_counter()
        jax.block_until_ready(run())
        taken.append(time.perf_counter() - since)
    return float(np.median(taken))


@dataclasses.dataclass(frozen=True)
class Cost:
    """What one method spent at one step size, over lifts.

    `runs`, `reached`, `diverged` count runs. `flow_time`, `gradients`, `seconds`: geometric mean
    over the lifts that reached the loss, with its interval, of the median over a lift's seeds; a
    run that did not reach it counts as infinitely long. Empty where no lift did.
    """

    method: str
    batch_size: int | None
    scaled_step: float | None
    runs: int
    reached: int
    diverged: int
    lifts: int
    flow_time: tuple[float, ...]
    gradients: tuple[float, ...]
    seconds: tuple[float, ...]


def costs(config: Any, lifts: list[dict[str, np.ndarray]]) -> list[Cost]:
    """One for the flow, then one for every step size of gradient descent and of SGD."""

    def cost(method, batch_size, scaled, outcomes, *columns):
        outcomes = np.ravel(outcomes)
        made = [_over_lifts(np.array(column), config.confidence) for column in columns]
        return Cost(
            method,
            batch_size,
            scaled,
            outcomes.size,
            int((outcomes == REACHED).sum()),
            int((outcomes == DIVERGED).sum()),
            int(np.isfinite(columns[0]).sum()),
            *made,
        )

    found = [
        cost(
            "gradient flow",
            None,
            None,
            [v["flow_outcome"] for v in lifts],
            *([v[f"flow_{name}"][-1] for v in lifts] for name in ("times", "gradients", "seconds")),
        )
    ]
    methods: list[tuple[str, str, int, int | None]] = [("descent", "gradient descent", 0, None)]
    methods += [("sgd", f"SGD, batches of {n}", b, n) for b, n in enumerate(config.batch_sizes)]
    for name, label, b, batch_size in methods:
        for e, scaled in enumerate(config.loss_steps):
            steps = np.array([upper_median(v[f"{name}_steps"][b, e]) for v in lifts])
            share = 1.0 if batch_size is None else batch_size / lifts[0]["samples"]
            found.append(
                cost(
                    label,
                    batch_size,
                    scaled,
                    [v[f"{name}_outcomes"][b, e] for v in lifts],
                    steps * [v["etas"][e] for v in lifts],
                    steps * share,
                    steps * [v[f"{name}_seconds_per_step"][b] for v in lifts],
                )
            )
    return found


def upper_median(values: np.ndarray) -> float:
    """The median; of an even number of values the upper one of the middle two.

    Example:
        >>> upper_median(np.array([1.0, 2.0, 3.0, np.inf]))
        3.0
    """
    return float(np.sort(values)[len(values) // 2])


def largest_stable(found: list[Cost], batch_size: int | None = None) -> Cost | None:
    """Gradient descent (or SGD) at the largest step size at which no run diverged."""
    stable = [
        c
        for c in found
        if c.batch_size == batch_size and c.scaled_step is not None and c.diverged == 0
    ]
    return max(stable, key=lambda c: c.scaled_step or 0.0, default=None)


def fewest_gradients(found: list[Cost], batch_size: int) -> Cost | None:
    """SGD at the step size that reached the loss in all lifts with the fewest gradients."""
    able = [c for c in found if c.batch_size == batch_size and c.reached == c.runs]
    return min(able, key=lambda c: c.gradients[0], default=None)


def _over_lifts(values: np.ndarray, confidence: float) -> tuple[float, ...]:
    reached = values[np.isfinite(values)]
    if not reached.size:
        return ()
    mean, low, high = mean_interval(np.log(reached), confidence)
    return tuple(float(v) for v in np.exp([mean, low, high]))


def said(interval: tuple[float, ...]) -> str | None:
    """A value with its interval, as a table shows it.

    Example:
        >>> said((1234.5, 1000.0, 1500.0)), said(())
        ('1234 [1000, 1500]', None)
    """
    if not interval:
        return None
    middle, low, high = (f"{v:.3g}" if v < 1000 else f"{v:.0f}" for v in interval)
    return f"{middle} [{low}, {high}]"
