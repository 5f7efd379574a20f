"""Sparse against dense lifts of one base graph: how often, how soon, at what cost."""

import dataclasses
import math
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from sparsejax.bounds import Verdict
from sparsejax.claims import dense_lifts_figure
from sparsejax.claims.batching import together
from sparsejax.claims.claim import Measurements, Trial
from sparsejax.claims.dense_lifts_contrast import Contrast, contrast
from sparsejax.claims.matched_lifts import (
    CONDITIONS,
    MATCHES,
    SPARSE,
    condition_counts,
    dense_size,
    train,
)
from sparsejax.claims.setting import LiftSetting, check_setting
from sparsejax.claims.statistics import (
    clopper_pearson,
    median_hitting_time,
    underpowered,
    with_interval,
)

# Lifts that are trained together at most: what a kill loses.
BATCH = 64
JUDGED = "parameters"
CONTROL_LIFTS = 12


@dataclasses.dataclass(frozen=True)
class DenseLiftsConfig(LiftSetting):
    """Gradient flows of random sparse lifts, and of dense lifts matched with them in three ways."""

    sizes: tuple[int, ...] = (32, 64)
    """Vertices per hidden layer of the sparse lifts; dense lifts are sized to match each."""
    lifts: int = 64
    """Random lifts per size and condition."""
    eps_fraction: float = 0.5
    """The level to be reached, as a fraction of the loss of the zero function."""
    t1: float = 300.0
    """Flow time; a flow that has not reached the level by then counts as a failure."""
    tolerance: float = 0.2
    """Sparse lifts count as no worse where they succeed less often by less than this."""
    confidence: float = 0.95
    """Level of the intervals; of the differences, for all sizes of a comparison together."""
    rtol: float = 1e-4
    """Tolerance of the flow."""


class DenseLifts:
    """Success fractions apart, with exact tests; times, gradients and losses beside them."""

    name = "dense-lifts"
    statement = (
        "At an equal number of parameters, random sparse lifts reach a level of the loss by a flow "
        "time at least as often as dense lifts of the same base graph, up to a tolerance."
    )
    source = (
        "Motivated by Robin, Scaman, Lelarge, ICLR 2024 (arXiv 2501.05930), whose theorem is about "
        "sparse lifts; dense lifts: open"
    )
    Config = DenseLiftsConfig
    # For a night on an accelerator: more of the ladder, and differences of a tenth decided.
    presets = {"paper": DenseLiftsConfig(sizes=(24, 32, 48, 64, 96, 128), lifts=512, tolerance=0.1)}

    def validate(self, config: DenseLiftsConfig) -> None:
        """Refuse a bad config before any compute."""
        check_setting(config, config.sizes)
        if len(set(config.sizes)) < len(config.sizes):
            raise ValueError(f"sizes: each once, got {config.sizes}")
        if config.lifts < 1:
            raise ValueError(f"lifts: at least one lift per size is needed, got {config.lifts}")
        for field in ("eps_fraction", "confidence", "tolerance"):
            if not 0 < getattr(config, field) < 1:
                raise ValueError(f"{field}: must lie in (0, 1), got {getattr(config, field)}")
        for field in ("t1", "rtol"):
            if not getattr(config, field) > 0:
                raise ValueError(f"{field}: must be positive, got {getattr(config, field)}")

    def control(self, config: DenseLiftsConfig) -> DenseLiftsConfig:
        """Sparse lifts starved to one predecessor, with as many parameters as the largest had.

        Such a lift is a sum of functions of one coordinate each: no size learns a product.
        """
        starved = dataclasses.replace(config, in_degree=1)
        largest = max(config.sizes)
        had, has = (condition_counts(c, SPARSE, largest)[JUDGED] for c in (config, starved))
        return dataclasses.replace(
            starved,
            sizes=(math.ceil(largest * had / has),),
            # None against all is seen with few, and dense lifts of that size are dear.
            lifts=min(config.lifts, CONTROL_LIFTS),
        )

    def trials(self, config: DenseLiftsConfig) -> list[Trial]:
        """One trial a lift, all of a condition and size in a row: they share a program."""
        return [
            Trial(
                f"{condition}-size{size:05d}-lift{number:03d}",
                {"condition": condition, "size": size, "number": number},
            )
            for size in sorted(config.sizes)
            for condition in CONDITIONS
            for number in range(config.lifts)
        ]

    def batches(self, config: DenseLiftsConfig, trials: list[Trial]) -> list[list[Trial]]:
        """Lifts of one condition and size together, at most `BATCH` of them."""
        return together(trials, "condition", "size", at_most=BATCH)

    def measure_batch(
        self, config: DenseLiftsConfig, trials: list[Trial]
    ) -> list[dict[str, np.ndarray]]:
        """The flows of some lifts of one condition and size."""
        of = trials[0].parameters
        return train(
            config, of["condition"], of["size"], [trial.parameters["number"] for trial in trials]
        )

    def measure(self, config: DenseLiftsConfig, trial: Trial) -> dict[str, np.ndarray]:
        """Whether, when and after how many gradients the level is reached; losses at the end."""
        return self.measure_batch(config, [trial])[0]

    def judge(self, config: DenseLiftsConfig, measurements: Measurements) -> Verdict:
        """Holds where sparse lifts are no worse at every size, at equal parameters."""
        groups = by_condition(measurements)
        sizes = sorted({size for _, size in groups})
        # One interval a size: together they are to have the level.
        level = 1 - (1 - config.confidence) / len(sizes)
        doubts = {size: _near_the_level(config, groups, size) for size in sizes}
        contrasts = {
            match: {
                size: contrast(
                    successes(groups[SPARSE, size]),
                    successes(groups[match, size]),
                    config.tolerance,
                    level,
                    doubts[size] if match == JUDGED else 0.0,
                )
                for size in sizes
            }
            for match in MATCHES
        }
        judged = contrasts[JUDGED]
        # A size at which sparse lifts are worse decides, then one that is open, then the nearest.
        order = [False, None, True]
        decisive = min(
            sizes, key=lambda size: (order.index(judged[size].no_worse), judged[size].difference)
        )
        found = judged[decisive]
        failed = [
            name
            for name, v in measurements.items()
            if str(v["condition"]) in (SPARSE, JUDGED) and str(v["flow_status"]) != "completed"
        ]
        status, vacuous = "inconclusive", False
        if failed:
            status = "not_applicable"
            reason = f"the flow of {failed[0]} did not complete ({len(failed)} did not in all)"
        elif found.no_worse is False:
            status = "violated"
            reason = (
                f"with as many parameters, {_said(found)} of sparse and dense lifts of size "
                f"{decisive} reach the level: a difference of {_interval(found)}, all of it below "
                f"-{config.tolerance:g}"
            )
        elif found.no_worse:
            status, vacuous = "holds", all(c.saturated for c in judged.values())
            reason = (
                "at every size, the interval of the difference sparse minus dense lies above "
                f"-{config.tolerance:g}; nearest at size {decisive}: {_interval(found)}"
            )
            if vacuous:
                reason += "; but at no size does the level tell lifts apart: all reach it, or none"
        else:
            reason = (
                f"at size {decisive}, {_said(found)} of sparse and dense lifts reach the level: a "
                f"difference of {_interval(found)}, which does not decide -{config.tolerance:g}; "
                f"{underpowered(found.lifts_to_decide, config.lifts)}"
            )
        reason += ". " + "; ".join(_answers(match, contrasts[match]) for match in MATCHES)
        summary: dict[str, Any] = {
            "contrasts": {
                match: {str(size): dataclasses.asdict(c) for size, c in of.items()}
                for match, of in contrasts.items()
            },
            "conditions": {
                condition: {
                    str(size): self._summed_up(config, condition, size, groups[condition, size])
                    for size in sizes
                }
                for condition in CONDITIONS
            },
        }
        budget = {
            "integrator": doubts[decisive],
            "quadrature": 0.0,
            "sampling": max(found.difference - found.low, found.high - found.difference),
            "floating_point": 0.0,
        }
        margin = found.difference + config.tolerance
        return Verdict(status, vacuous, margin, budget, reason, summary)

    def _summed_up(
        self, config: DenseLiftsConfig, condition: str, size: int, lifts: list[dict[str, Any]]
    ) -> dict[str, Any]:
        """What the figure and the table show of a condition at a size."""
        reached, total = successes(lifts)
        low, high = clopper_pearson(reached, total, config.confidence)
        flags = np.array([bool(v["reached"]) for v in lifts])
        cost = condition_counts(config, condition, size)
        wide = size if condition == SPARSE else dense_size(config, size, condition)
        found: dict[str, Any] = {
            "vertices_per_layer": wide,
            "parameters": cost["parameters"],
            "multiply_adds": cost["compute"],
            "lifts": total,
            "reached": reached,
            "fraction": [reached / total, low, high],
        }
        for name in ("time", "gradients"):
            values = np.array([float(v[name]) for v in lifts])
            # Who has not reached by t1 comes after all who have. (By then they have seen different
            # numbers of gradients: to take these as times of censoring would bias the median.)
            values[~flags] = config.t1 if name == "time" else values.max() + 1
            median = median_hitting_time(values, flags, config.confidence)
            found[name] = [median.median, median.low, median.high]
        for name in ("final_loss", "test_loss", "test_loss_at_level"):
            ratios = np.array([float(v[name] / v["zero_loss"]) for v in lifts])
            # At the level only where it was reached.
            ratios = ratios[flags] if name == "test_loss_at_level" else ratios
            found[name] = list(np.quantile(ratios, (0.5, 0.25, 0.75))) if len(ratios) else None
        return found

    def draw(
        self, config: DenseLiftsConfig, measurements: Measurements, verdict: Verdict
    ) -> Figure:
        """Success, difference, time, gradients, multiply-adds and losses against size."""
        return dense_lifts_figure.draw(config, verdict)

    def table(
        self, config: DenseLiftsConfig, measurements: Measurements, verdict: Verdict
    ) -> list[dict[str, Any]]:
        """One row a size and condition."""
        rows = []
        contrasts, conditions = verdict.summary["contrasts"], verdict.summary["conditions"]
        for size in sorted(config.sizes):
            for condition in CONDITIONS:
                found = conditions[condition][str(size)]
                apart = contrasts[condition][str(size)] if condition in MATCHES else None
                apart_words = answer = "-"
                if apart is not None:
                    apart_words = with_interval(
                        *(apart[name] for name in ("difference", "low", "high")), digits=".2f"
                    )
                    answer = f"{apart['answer']}, p = {apart['p_value']:.2g}"
                kind = condition if condition == SPARSE else f"dense, equal {condition}"
                rows.append(
                    {
                        "size": size,
                        "lifts": f"{kind}: {found['vertices_per_layer']}",
                        "parameters": round(found["parameters"]),
                        "reached": f"{found['reached']} of {found['lifts']}",
                        "fraction": with_interval(*found["fraction"], digits=".2f"),
                        "sparse - dense": apart_words,
                        "sparse is": answer,
                        "flow time": with_interval(*found["time"], digits=".0f"),
                        "gradients": with_interval(*found["gradients"], digits=".0f"),
                        "loss": found["final_loss"][0],
                        "test loss": found["test_loss"][0],
                    }
                )
        return rows


def by_condition(measurements: Measurements) -> dict[tuple[str, int], list[dict[str, Any]]]:
    """What was measured of the lifts of each condition and size."""
    groups: dict[tuple[str, int], list[dict[str, Any]]] = {}
    for values in measurements.values():
        groups.setdefault((str(values["condition"]), int(values["size"])), []).append(values)
    return groups


def successes(lifts: list[dict[str, Any]]) -> tuple[int, int]:
    """How many reached the level, of how many."""
    return sum(bool(v["reached"]) for v in lifts), len(lifts)


def _near_the_level(
    config: DenseLiftsConfig, groups: dict[tuple[str, int], list[dict[str, Any]]], size: int
) -> float:
    """By how much the difference could move, were every flow that ends at the level miscounted.

    A flow's loss is known to its tolerance, or to what its energy identity is off by, whichever is
    more, as a fraction of the loss at its start.
    """

    def near(v: dict[str, Any]) -> bool:
        error = max(config.rtol, float(v["energy_error"])) * v["zero_loss"]
        return bool(abs(v["final_loss"] - v["level"]) < error)

    return sum(
        float(np.mean([near(v) for v in groups[condition, size]])) for condition in (SPARSE, JUDGED)
    )


def _answers(match: str, contrasts: dict[int, Contrast]) -> str:
    """As in "equal parameters: sparse lifts are worse (16), not separated (32: 70 lifts would)"."""
    words = []
    for size, found in contrasts.items():
        needed = found.lifts_to_separate
        more = ""
        if found.answer == "not separated":
            more = ", nothing between them" if math.isinf(needed) else f", {needed:.0f} lifts would"
        words.append(f"{found.answer} ({size}{more})")
    return f"equal {match}: sparse lifts are {', '.join(words)}"


def _said(found: Contrast) -> str:
    return f"fractions {found.sparse:.2f} and {found.dense:.2f}"


def _interval(found: Contrast) -> str:
    return with_interval(found.difference, found.low, found.high, digits=".2f")


CLAIM = DenseLifts()
