"""What became of an ensemble's flows: losses, when the level was reached, and on what evidence."""

from typing import Any

import jax
import numpy as np

from sparsejax.claims.pac.ensemble import Ensemble
from sparsejax.claims.statistics import hitting_time, mean_interval
from sparsejax.dynamics import gradient_flows

# Flows end a little below the level, so that the population loss can be told from it.
STOP_AT = 0.7
SAVED_TIMES = 61
POPULATION_CONFIDENCE = 0.99
ENDED = ("completed", "reached_loss")


def flow_outcomes(
    ensemble: Ensemble, params: Any, eps_fraction: float, t1: float, rtol: float
) -> list[dict[str, np.ndarray]]:
    """Flows of all lifts from `params` up to `t1`, or to a little below the level; arrays a lift.

    The level is `eps_fraction` times the loss of the function zero. `reached`: the loss at the end
    is below it by more than its own error; `undecided`: within that error, or above where the flow
    ended on the strength of its training loss. A flow whose `flow_status` is none of `ENDED` was
    ended by its numerics and is neither. The loss that counts is
    that of the population where it is known (exactly, or by independent cubature rules, whose
    spread gives `error`), else that of the training samples; `test_loss` then is beside it.
    """
    zero = ensemble.zero_loss
    level = eps_fraction * zero
    ts = t1 * np.linspace(0, 1, SAVED_TIMES) ** 2
    flows = gradient_flows(
        ensemble.loss,
        params,
        t1,
        saveat=ts,
        rtol=rtol,
        stop=np.full(ensemble.count, STOP_AT * level),
        shared=lambda loss: loss.data,
        keep_params=False,
        devices=jax.local_devices(),
    )
    end: Any = flows.end
    losses = np.asarray(flows.losses)
    ends = np.asarray(flows.status_time, float)
    final = np.asarray(ensemble.losses(end))
    fresh = np.asarray(ensemble.fresh_losses(end)) if ensemble.fresh else None
    statuses = np.asarray(flows.status)
    stats = flows.stats
    outcomes = []
    for lift in range(ensemble.count):
        estimate, error = final[lift], 0.0
        if fresh is not None and ensemble.population:
            estimate, _, upper = mean_interval(fresh[lift], POPULATION_CONFIDENCE)
            error = upper - estimate
        error += rtol * zero
        ended = statuses[lift] in ENDED
        reached = bool(ended and estimate + error <= level)
        stopped = statuses[lift] == "reached_loss"
        curve = np.append(losses[lift], final[lift])
        times = np.append(ts, ends[lift])
        hit = hitting_time(times, curve, level)
        # The training loss may be above the level still where that of the population is not.
        hit = min(hit, ends[lift]) if reached else hit
        outcomes.append(
            {
                "ts": ts,
                "losses": losses[lift],
                "zero_loss": np.asarray(zero),
                "level": np.asarray(level),
                "loss": np.asarray(estimate),
                "error": np.asarray(error),
                "training_loss": np.asarray(final[lift]),
                "test_loss": np.asarray(np.nan if fresh is None else fresh[lift].mean()),
                "reached": np.asarray(reached),
                "undecided": np.asarray(
                    bool(ended and not reached and (stopped or estimate - error < level))
                ),
                "end_time": np.asarray(ends[lift]),
                "hitting_time": np.asarray(hit),
                "gradients": np.asarray(stats["gradient_evaluations"][lift]),
                "energy_error": np.asarray(stats["energy_error"][lift]),
                "flow_status": np.asarray(str(statuses[lift])),
            }
        )
    return outcomes
