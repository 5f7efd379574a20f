"""What a pilot found as rows of tables and as JSON, for page and terminal alike."""

from typing import Any

import numpy as np

from sparsejax.pilot.comparison import Interval, resampled_interval
from sparsejax.pilot.decision import CONSTANT, EQUAL, GROWN, LIFT, OTHERS, WORDS
from sparsejax.pilot.small_first import Pilot

ORDER = (LIFT, GROWN, *EQUAL, *OTHERS, CONSTANT)


def named(name: str) -> str:
    """A candidate in words."""
    return WORDS.get(name, name)


def candidates(found: Pilot) -> list[str]:
    """The candidates that were measured, in the order of all tables."""
    return [name for name in ORDER if name in found.losses]


def score_name(found: Pilot) -> str:
    """What a score is."""
    return "accuracy" if found.task == "classification" else "variance explained"


def loss_name(found: Pilot) -> str:
    """What a loss is, and its unit."""
    if found.task == "classification":
        return "test loss (logistic, nats)"
    return "test loss (squared, standardised)"


def loss_rows(found: Pilot) -> list[dict[str, Any]]:
    """A row a candidate: parameters, test loss and score with intervals over splits."""
    rows = []
    for name in candidates(found):
        loss = resampled_interval(found.losses[name], found.ratio)
        score = resampled_interval(found.scores[name], found.ratio)
        rows.append(
            {
                "candidate": named(name),
                "parameters": _count(found.parameters.get(name)),
                "test loss": loss.mean,
                "95% interval": _ends(loss, least=0.0),
                score_name(found): score.mean,
                "its 95% interval": _ends(
                    score, 0.0 if found.task == "classification" else -np.inf, 1.0
                ),
            }
        )
    return rows


def comparison_rows(found: Pilot) -> list[dict[str, Any]]:
    """A row a rival: the lift's test loss less its own, split by split."""
    return [
        {
            "lift less": named(each.rival),
            "difference": each.difference.mean,
            "interval, 95% together": _ends(each.difference),
            "as good within": each.tolerance,
            "so": "better"
            if each.better
            else ("worse" if each.worse else ("as good" if each.enough else "open")),
        }
        for each in found.decision.comparisons
    ]


def growth_rows(found: Pilot) -> list[dict[str, Any]]:
    """A row a doubling."""
    return [
        {
            "parameters": step.before,
            "doubled": step.after,
            "fall of the validation loss": step.fall.mean,
            "95% interval": _ends(step.fall),
            "pays": step.paid,
        }
        for step in (found.growth.steps if found.growth else ())
    ]


def widening_rows(found: Pilot) -> list[dict[str, Any]]:
    """A row a vertex that was doubled alone."""
    return [
        {
            "widened": each.what,
            "added parameters": each.added,
            "splits": each.splits,
            "fall of the validation loss": each.fall.mean,
            "interval, 95% together": _ends(each.fall),
            "pays": each.pays,
        }
        for each in (found.growth.widenings if found.growth else ())
    ]


def stability_rows(found: Pilot) -> list[dict[str, Any]]:
    """A row a candidate and method: how its runs ended."""
    return [
        {
            "candidate": named(each.candidate),
            "method": each.method,
            "completed": f"{each.completed} of {each.runs}",
            "others": ", ".join(f"{n} {s}" for s, n in each.statuses.items() if s != "completed")
            or "-",
            "training loss at the end": each.loss,
        }
        for each in found.endings
    ]


def agreement_rows(found: Pilot) -> list[dict[str, Any]]:
    """A row a candidate: gradient descent against the flow."""
    return [
        {
            "candidate": named(each.candidate),
            "distance of the ends, of the way": each.distance,
            "difference of losses, of the fall": each.loss,
        }
        for each in found.agreements
    ]


def cost_rows(found: Pilot) -> list[dict[str, Any]]:
    """A row a candidate: latency, bytes, multiply-adds."""
    return [
        {
            "candidate": named(each.candidate),
            **{f"microseconds, {n} rows": 1e6 * s for n, s in each.seconds.items()},
            "bytes": each.bytes,
            "multiply-adds": each.products,
        }
        for each in found.costs
    ]


def group_rows(found: Pilot) -> list[dict[str, Any]]:
    """A row a grouping of columns that was found on some splits."""
    return [
        {
            "groups": "; ".join(" + ".join(group) for group in groups) or "none",
            "splits": f"{count} of {found.splits}",
        }
        for groups, count in found.groups
    ]


def as_json(found: Pilot) -> dict[str, Any]:
    """A pilot in what JSON has; what programs decide by comes first."""
    return {
        "verdict": found.decision.verdict,
        "why": found.decision.why,
        "next_step": found.decision.next_step,
        "groups": [
            {"groups": [list(group) for group in groups], "splits": count}
            for groups, count in found.groups
        ],
        "test": {
            name: {
                "loss": _json(resampled_interval(found.losses[name], found.ratio)),
                "score": _json(resampled_interval(found.scores[name], found.ratio)),
                "losses": found.losses[name],
                "scores": found.scores[name],
                "parameters": found.parameters.get(name),
            }
            for name in candidates(found)
        },
        "score": score_name(found),
        "comparisons": [
            {"rival": each.rival, **_json(each.difference), "tolerance": each.tolerance}
            for each in found.decision.comparisons
        ],
        "growth": None
        if found.growth is None
        else {
            "stopped": found.growth.stopped,
            "steps": [
                {"before": s.before, "after": s.after, "fall": _json(s.fall), "paid": s.paid}
                for s in found.growth.steps
            ],
            "widenings": [
                {"what": w.what, "added": w.added, "splits": w.splits, "fall": _json(w.fall)}
                for w in found.growth.widenings
            ],
            "test_losses": [{"parameters": n, "losses": losses} for n, losses in found.levels],
        },
        "stability": found.endings,
        "flow_and_descent": found.agreements,
        "costs": [
            {
                "candidate": each.candidate,
                "seconds": {str(n): s for n, s in each.seconds.items()},
                "bytes": each.bytes,
                "multiply_adds": each.products,
            }
            for each in found.costs
        ],
        "warnings": list(found.warnings),
        "table": found.table_name,
        "target": found.target_name,
        "task": found.task,
        "rows": found.rows,
        "columns": list(found.columns),
        "splits": found.splits,
        "seed": found.seed,
        "training": found.training,
        "seconds": found.seconds,
    }


def _json(interval: Interval) -> dict[str, float]:
    return {"mean": interval.mean, "low": interval.low, "high": interval.high}


def _ends(interval: Interval, least: float = -np.inf, most: float = np.inf) -> str:
    """The interval's ends, as far as values go."""
    if not np.isfinite(interval.low):
        return "-"
    return f"{max(interval.low, least):.4g} to {min(interval.high, most):.4g}"


def _count(counts: tuple[int, int] | None) -> str:
    if counts is None:
        return "-"
    low, high = counts
    return str(low) if low == high else f"{low} to {high}"
