"""How far gradient descent and the mean of SGD end from a flow, against the step size."""

import dataclasses
import math
from typing import Any

import jax
import numpy as np
import scipy.stats
from jax.flatten_util import ravel_pytree
from jaxtyping import Float, PyTree

from sparsejax.claims.plain_descent import PLAIN, at_step_size, coupled_sgd, in_lanes
from sparsejax.claims.statistics import log_log_slope, mean_interval
from sparsejax.dynamics import (
    SquaredLoss,
    gradient_descent,
    gradient_flow,
    modified_loss,
    sharpness,
)

TOLERANCE = 0.15


@dataclasses.dataclass(frozen=True)
class Fit:
    """One fitted exponent: its nominal value, its mean over lifts with an interval, its errors.

    `seeds`: half the width of the interval that SGD's sampling alone would give. `integrator`: the
    largest error of a flow as a share of the distance to it.
    """

    name: str
    label: str
    nominal: float
    mean: float
    low: float
    high: float
    seeds: float
    integrator: float

    @property
    def slack(self) -> float:
        """How far the interval stays inside the tolerance around the nominal value."""
        return float(TOLERANCE - max(abs(self.low - self.nominal), abs(self.high - self.nominal)))

    @property
    def status(self) -> str:
        """Whether the interval lies inside the tolerance, outside, or across its edge."""
        if self.slack >= 0:
            return "holds"
        apart = self.low > self.nominal + TOLERANCE or self.high < self.nominal - TOLERANCE
        return "violated" if apart else "inconclusive"


def measure_orders(
    config: Any, loss: SquaredLoss, params: PyTree, number: int
) -> dict[str, np.ndarray]:
    """Where gradient descent and SGD end at every step size, relative to the flows."""
    sharp = float(sharpness(loss, params))
    t1 = config.coarsest_steps * config.steepest / sharp
    counts = config.coarsest_steps * 2 ** np.arange(config.halvings + 1)
    etas = t1 / counts
    start = np.asarray(ravel_pytree(params)[0])
    # The flow is the modified flow of step size 0: one compiled program for all.
    flow, flow_error = _end(modified_loss(loss, 0.0), params, t1, config.rtol)
    distances = {name: np.full(len(etas), np.nan) for name in ("flow", "modified_flow")}
    errors = {name: np.full(len(etas), np.nan) for name in distances}
    for i, (eta, count) in enumerate(zip(etas, counts, strict=True)):
        # All go on for the most steps, and are looked at when theirs are done.
        run = gradient_descent(
            loss,
            params,
            PLAIN,
            int(counts[-1]),
            save_every=config.coarsest_steps,
            optimizer_state=at_step_size(params, eta),
        )
        end = np.asarray(ravel_pytree(run.at(int(count) // config.coarsest_steps))[0])
        if not np.isfinite(end).all():
            continue
        bent, bent_error = _end(modified_loss(loss, float(eta)), params, t1, config.rtol)
        distances["flow"][i] = np.linalg.norm(end - flow)
        distances["modified_flow"][i] = np.linalg.norm(end - bent)
        errors["flow"][i], errors["modified_flow"][i] = flow_error, bent_error
    grams, spreads = [], []
    key = jax.random.fold_in(jax.random.key(config.seed + 1), number)
    for batch_size in config.batch_sizes:
        of_batch = [
            _sgd_ends(
                config, loss, params, eta, count, batch_size, jax.random.fold_in(key, i), flow
            )
            for i, (eta, count) in enumerate(
                zip(etas, counts // config.coarsest_steps, strict=True)
            )
        ]
        grams.append([gram for gram, _ in of_batch])
        spreads.append([spread for _, spread in of_batch])
        key = jax.random.fold_in(key, batch_size)
    return {
        "etas": etas,
        "sharpness": np.asarray(sharp),
        "t1": np.asarray(t1),
        "moved": np.asarray(np.linalg.norm(flow - start)),
        "stable": np.asarray(etas * sharp < 2),
        "flow_error": np.asarray(flow_error),
        **{f"distance_{name}": column for name, column in distances.items()},
        **{f"error_{name}": column for name, column in errors.items()},
        "sgd_gram": np.asarray(grams),
        "sgd_spread": np.asarray(spreads),
    }


def _end(loss, params, t1: float, rtol: float) -> tuple[np.ndarray, float]:
    """The parameters at the end of a tightly integrated flow, and an estimate of their error."""
    ends = [
        np.asarray(
            ravel_pytree(
                gradient_flow(
                    loss, params, t1, saveat=np.array([t1]), solver="dopri8", rtol=r, atol=r
                ).final
            )[0]
        )
        for r in (rtol, 10 * rtol)
    ]
    return ends[0], float(np.linalg.norm(ends[0] - ends[1]))


def _sgd_ends(config, loss, params, eta, pieces, batch_size, key, flow):
    """Inner products of the ensembles' means relative to the flow, and the spread of single runs.

    Products of different ensembles have the squared distance of SGD's mean as their mean; squares
    would add the noise.
    """
    lanes, state = loss.samples, at_step_size(params, eta)
    means, squares = [], []
    for ensemble in range(config.ensembles):
        at = in_lanes(params, lanes)
        for piece in range(pieces):
            at = coupled_sgd(
                loss,
                at,
                state,
                jax.random.fold_in(jax.random.fold_in(key, ensemble), piece),
                batch_size=batch_size,
                steps=config.coarsest_steps,
            )
        ends = np.concatenate(
            [np.asarray(leaf).reshape(lanes, -1) for leaf in jax.tree.leaves(at)], axis=1
        )
        means.append(ends.mean(axis=0) - flow)
        squares.append(np.mean(np.sum(np.square(ends - ends.mean(axis=0)), axis=1)))
    stacked = np.array(means)
    return stacked @ stacked.T, float(np.sqrt(np.mean(squares)))


def usable(values: dict[str, np.ndarray]) -> bool:
    """Whether every step size is stable and every run of the lift ended with finite parameters."""
    finite = (np.isfinite(values[name]).all() for name in ("distance_flow", "sgd_gram"))
    return bool(values["stable"].all()) and all(finite)


def mean_distances(values: dict[str, np.ndarray], batch: int) -> Float[np.ndarray, " etas"]:
    """Distance of SGD's mean to the flow, NaN where the noise hides it; `batch` is an index."""
    squares = _off_diagonal(values["sgd_gram"][batch])
    return np.sqrt(np.where(squares > 0, squares, np.nan))


def fits(config: Any, lifts: list[dict[str, np.ndarray]]) -> list[Fit]:
    """All exponents that the claim is about, each with its interval over lifts."""
    found = [
        _fit(
            config,
            name,
            f"gradient descent to the {label}",
            nominal,
            [(v["etas"], v[f"distance_{name}"]) for v in lifts],
            max(float(v[f"error_{name}"][-1] / v[f"distance_{name}"][-1]) for v in lifts),
        )
        for name, label, nominal in (
            ("flow", "gradient flow", 1.0),
            ("modified_flow", "modified flow", 2.0),
        )
    ]
    for b, batch_size in enumerate(config.batch_sizes):
        distances = [mean_distances(v, b) for v in lifts]
        shares = [v["flow_error"] / d[-1] for v, d in zip(lifts, distances, strict=True)]
        errors = [_seed_error(v["etas"], v["sgd_gram"][b]) for v in lifts]
        quantile = scipy.stats.t.ppf((1 + config.confidence) / 2, len(lifts) - 1)
        found.append(
            _fit(
                config,
                f"sgd_mean_{batch_size}",
                f"mean of SGD (batches of {batch_size}) to the gradient flow",
                1.0,
                [(v["etas"], d) for v, d in zip(lifts, distances, strict=True)],
                float(np.nan_to_num(np.max(shares))),
                float(quantile * np.sqrt(np.mean(np.square(errors)) / len(lifts))),
            )
        )
        found.append(
            _fit(
                config,
                f"sgd_spread_{batch_size}",
                f"spread of SGD (batches of {batch_size})",
                0.5,
                [(v["etas"], v["sgd_spread"][b]) for v in lifts],
            )
        )
    return found


def ensembles_needed(config: Any, fit: Fit) -> int | None:
    """How many ensembles would bring SGD's sampling error to half the tolerance.

    None where it is there: then the lifts differ, and more of them help.
    """
    needed = math.ceil(config.ensembles * (2 * fit.seeds / TOLERANCE) ** 2)
    return needed if needed > config.ensembles else None


def _fit(config, name, label, nominal, ladders, integrator=0.0, seeds=0.0) -> Fit:
    slopes = np.array([log_log_slope(x, y) if np.isfinite(y).all() else np.nan for x, y in ladders])
    if np.isnan(slopes).any():
        mean, low, high = float(np.nan), -np.inf, np.inf
    else:
        mean, low, high = mean_interval(slopes, config.confidence)
    return Fit(name, label, nominal, mean, low, high, seeds, integrator)


def _off_diagonal(gram: Float[np.ndarray, "*ladder g g"]) -> np.ndarray:
    count = gram.shape[-1]
    trace = np.trace(gram, axis1=-2, axis2=-1)
    return (gram.sum(axis=(-2, -1)) - trace) / (count * (count - 1))


def _seed_error(etas: np.ndarray, gram: Float[np.ndarray, "etas g g"]) -> float:
    """Standard error of one lift's order from SGD's sampling, by leaving out ensembles."""
    count = gram.shape[-1]
    squares = _off_diagonal(gram)
    left_out = np.array(
        [_off_diagonal(np.delete(np.delete(gram, k, -1), k, -2)) for k in range(count)]
    )
    error = np.sqrt((count - 1) * np.var(left_out, axis=0))
    # Where the noise hides the distance, that is at most about the noise.
    relative = error / (2 * np.maximum(squares, error))
    x = np.log(etas) - np.log(etas).mean()
    return float(np.sqrt(np.sum(np.square(x * relative))) / np.sum(np.square(x)))
