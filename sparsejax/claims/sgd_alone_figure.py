"""The figure of `sgd-alone`: what fraction of networks finds support and constituents."""

from typing import Any

from matplotlib.figure import Figure

from sparsejax.bounds import Verdict
from sparsejax.claims.drawing import (
    GREY,
    MARKERS,
    PALETTE,
    interval_bars,
    panels,
    paper_style,
)


def draw_answers(config: Any, rows: list[dict[str, Any]], verdict: Verdict) -> Figure:
    """Fractions of seeds with exact intervals and the chance level; purity above other groupings.

    A column a target and learner; colours are penalties, filled markers fresh samples, open ones
    few and noisy samples.
    """
    with paper_style():
        figure, (left, middle, right) = panels(3, width=4.0, height=3.9)
        places = list(dict.fromkeys((row["target"], row["learner"]) for row in rows))
        kinds = list(dict.fromkeys((row["penalty"], row["samples"]) for row in rows))
        penalties = list(dict.fromkeys(penalty for penalty, _ in kinds))
        colors = {
            p: GREY if p == "untrained" else PALETTE[penalties.index(p) - 1] for p in penalties
        }
        for question, axes in (("support", left), ("constituents", middle), ("excess", right)):
            shown = [place for place in places if _asked(rows, place, question)]
            for row in rows:
                place = (row["target"], row["learner"])
                if row[question] is None or place not in shown:
                    continue
                kind = kinds.index((row["penalty"], row["samples"]))
                x = shown.index(place) + 0.7 * ((kind + 0.5) / len(kinds) - 0.5)
                if question == "excess":
                    mid, low, high = row[question]
                else:
                    count, seeds, low, high = row[question]
                    mid = count / seeds
                color = colors[row["penalty"]]
                interval_bars(
                    axes, [x], [mid], [low], [high],
                    fmt=MARKERS[penalties.index(row["penalty"]) % len(MARKERS)], color=color,
                    mfc=color if not row["samples"] else "white", ms=4.5, capsize=2, lw=1,
                )  # fmt: skip
            if question != "excess":
                for k, place in enumerate(shown):
                    chance = next(
                        row[f"{question}_chance"]
                        for row in rows
                        if (row["target"], row["learner"]) == place
                    )
                    axes.plot([k - 0.42, k + 0.42], [chance] * 2, color=GREY, ls="--", lw=1)
                axes.plot([], [], color=GREY, ls="--", lw=1, label="chance")
                axes.axhline(1 - config.delta, color=GREY, ls=":", lw=1, label="asked for")
                axes.set_ylim(-0.04, 1.04)
                axes.set_ylabel(f"fraction of {config.seeds} seeds")
                axes.legend(loc="lower left")
            axes.set_xticks(
                range(len(shown)), [f"{t}\n{n}" for t, n in shown], rotation=30, ha="right"
            )
            axes.set_xlabel("target and learner")
            axes.grid(axis="x", visible=False)
            for k in range(1, len(shown)):
                axes.axvline(k - 0.5, color=GREY, lw=0.4, alpha=0.5)
        left.set_title("support found: largest shares\nof the gradient outer product")
        middle.set_title("constituents found: the true grouping\nis the purest of its shape")
        right.set_title("purity of hidden units")
        right.axhline(0, color=GREY, ls="--", lw=1)
        right.set_ylabel("purity of the true grouping - mean of others")
        for penalty, samples in kinds:
            said = f"{samples} noisy samples" if samples else "fresh samples"
            name = penalty.replace("_", " ")
            right.plot(
                [], [], MARKERS[penalties.index(penalty) % len(MARKERS)], color=colors[penalty],
                mfc=colors[penalty] if not samples else "white", ms=4.5,
                label=name if penalty == "untrained" else f"penalty {name}, {said}",
            )  # fmt: skip
        handles, labels = right.get_legend_handles_labels()
        figure.legend(handles, labels, loc="outside lower center", ncols=min(len(kinds), 3))
        figure.suptitle(f"Plain SGD on its own: {verdict.status.replace('_', ' ')}")
    return figure


def _asked(rows: list[dict[str, Any]], place: tuple[str, str], question: str) -> bool:
    return any(
        row[question] is not None and (row["target"], row["learner"]) == place for row in rows
    )
