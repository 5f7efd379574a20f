"""One page from which somebody can decide whether a small sparse model is enough."""

from collections.abc import Mapping
from html import escape
from typing import Any

from sparsejax.pilot import rows
from sparsejax.pilot.decision import TOLERANCE
from sparsejax.pilot.folds import FRACTIONS
from sparsejax.pilot.small_first import Pilot
from sparsejax.runs.report import data_table, html_page, image, pairs


def headline(found: Pilot) -> str:
    """The verdict, why, and what next, in plain words."""
    decision = found.decision
    verdict = decision.verdict[:1].upper() + decision.verdict[1:]
    return f"{verdict}. {decision.why} {decision.next_step}"


def page(found: Pilot, drawn: bytes, provenance: Mapping[str, Any]) -> str:
    """The page, with nothing to fetch; `drawn`: its figure as PNG."""
    title = f"Pilot on {found.table_name}: {found.target_name}"
    decision = found.decision
    train, validation, test = (f"{part:.0%}" for part in FRACTIONS)
    grown = found.growth
    parts = [
        f"<h1>{escape(title)}</h1>",
        f"<p><b>{escape(decision.verdict[:1].upper() + decision.verdict[1:])}.</b> "
        f"{escape(decision.why)}</p>",
        f"<p><b>Next.</b> {escape(decision.next_step)}</p>",
        image("test losses, paired differences, loss along growth, cost", drawn),
        "<h2>What was found, and how surely</h2>",
        data_table(rows.group_rows(found)),
        "<p>Columns in one group act together. Each split was explored by its own training rows; "
        "its lift has a part a group and a root that reads all parts.</p>",
        "<h2>Test loss</h2>",
        data_table(rows.loss_rows(found)),
        f"<p>{found.rows} rows, {found.splits} random splits: {train} to train on, {validation} to "
        f"choose by, {test} to test on. Test rows choose nothing. Intervals allow for rows that "
        "splits share (Nadeau, Bengio 2003). The lift and the dense and the shallow network have "
        "about as many parameters and as many tries.</p>",
        "<h2>The lift against each rival, split by split</h2>",
        data_table(rows.comparison_rows(found)),
        "<p>Intervals hold together for all rivals. As good: worse by at most "
        f"{TOLERANCE:.0%} of what the rival gains over a constant.</p>",
        "<h2>Growth</h2>",
        data_table(rows.growth_rows(found)),
        f"<p>Stopped {escape(grown.stopped)}.</p>" if grown else "<p>Nothing was grown.</p>",
        "<p>A doubling is measured against the same lift trained on for as long; one half of the "
        "validation rows chooses and the other judges, in turn.</p>",
        "<h2>What to widen</h2>",
        data_table(rows.widening_rows(found)),
        "<p>Each group's units, or the root's, doubled alone from the lift of the last doubling "
        "that was tried, its function kept at the start; new units of a group are read by all of "
        "the root's. The columns that were left out make one more such group. Intervals hold "
        "together.</p>",
        "<h2>Stability</h2>",
        data_table(rows.stability_rows(found)),
        data_table(rows.agreement_rows(found)),
        "<p>Random lifts and starts on the first split's training rows: the flow to time 20, "
        "gradient descent to the same time, SGD of as many steps at three step sizes. All begin "
        f"at a training loss of {_begin(found)}: who completes there has not learned.</p>",
        "<h2>Cost at inference</h2>",
        data_table(rows.cost_rows(found)),
        "<p>Medians of calls that were waited for; compiled networks. Bytes: parameters and wiring "
        "of networks, pickled models else.</p>",
    ]
    if found.warnings:
        items = "".join(f"<li>{escape(warning)}</li>" for warning in found.warnings)
        parts += ["<h2>Warnings</h2>", f"<ul>{items}</ul>"]
    parts += ["<h2>How it was run</h2>", pairs(_flat(provenance, found))]
    return html_page(f"{title}: {decision.verdict}", parts)


def _begin(found: Pilot) -> str:
    return "ln 2 an output" if found.task == "classification" else "1"


def _flat(provenance: Mapping[str, Any], found: Pilot) -> dict[str, Any]:
    flat: dict[str, Any] = {
        "seed": found.seed,
        **{
            f"training, {name}": value
            for name, value in vars(found.training).items()
            if name != "tries"
        },
        "training, step size and decay": "; ".join(
            f"{rate:g} and {decay:g}" for rate, decay in found.training.tries
        ),
        **{f"seconds, {stage}": seconds for stage, seconds in found.seconds.items()},
    }
    for name, value in provenance.items():
        if isinstance(value, Mapping):
            flat |= {f"{name}, {key}": item for key, item in value.items()}
        else:
            flat[name] = value
    return flat
