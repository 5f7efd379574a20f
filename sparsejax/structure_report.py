"""One page on the structure of a table, with the picture of its composition."""

import io
from typing import Any

from matplotlib.figure import Figure

from sparsejax.structure.discover import Structure


def headline(found: Structure) -> str:
    """What was found, in a sentence or two.

    Example:
        >>> import numpy as np
        >>> from sparsejax.structure.discover import discover
        >>> from sparsejax.targets import Column, Table
        >>> x = np.random.default_rng(0).normal(size=(200, 2))
        >>> headline(discover(Table((Column("a"), Column("b")), x, x[:, 1] ** 2)))[:29]
        '1 of 2 columns matters, alone'
    """
    p, k = len(found.columns), len(found.support)
    if not k:
        return (
            f"No column of {p} explains more of the target than chance would "
            f"({found.null_level:.1%} of its variance)."
        )
    most = max(map(len, found.groups))
    if k == 1:
        head = f"1 of {p} columns matters, alone"
    elif found.additive:
        head = f"{k} of {p} columns matter, and each adds to the rest by itself"
    elif len(found.groups) == 1:
        head = f"{k} of {p} columns matter, and all act together"
    else:
        head = f"{k} of {p} columns matter, in {len(found.groups)} groups of at most {most}"
    return (
        f"{head}. A fit on them explains {found.explained:.1%} of the target's variance on new "
        f"rows; the best of all terms would explain {found.null_level:.2%} by chance."
    )


def importance_rows(found: Structure) -> list[dict[str, Any]]:
    """A row for each column that matters."""
    of = {name: number for number, group in enumerate(found.groups, 1) for name in group}
    return [
        {
            "column": importance.name,
            "group": of[importance.name],
            "share by itself": importance.first,
            "share in all": importance.total,
            "+-": importance.error,
        }
        for importance in found.importances
    ]


def interaction_rows(found: Structure, most: int = 12) -> list[dict[str, Any]]:
    """A row for each pair that acts together, the strongest ones."""
    return [
        {
            "acting together": f"{pair.first}, {pair.second}",
            "share of the variance": pair.share,
            "of the weaker one's": pair.relative,
            "log10 p": pair.log10_p,
        }
        for pair in found.interactions[:most]
    ]


def draw_structure(found: Structure) -> Figure:
    """The recovered composition; above each input its share of the target's variance.

    Raises:
        ValueError: no column matters.
    """
    from sparsejax.graphs.dag_drawing import draw_dag

    if found.dag is None:
        raise ValueError("no column matters: there is nothing to draw")
    notes = {importance.name: f"{importance.total:.1%}" for importance in found.importances}
    title = f"{found.target_name} of {found.table_name}"
    return draw_dag(found.dag, title=title, notes=notes)


def picture(found: Structure) -> bytes:
    """`draw_structure` as a PNG.

    Raises:
        ValueError: no column matters.
    """
    buffer = io.BytesIO()
    draw_structure(found).savefig(buffer, format="png", dpi=150, metadata={"Software": None})
    return buffer.getvalue()


def page(found: Structure, drawn: bytes | None) -> str:
    """The report as one HTML page with nothing to fetch; `drawn`: its picture, if there is one."""
    from html import escape

    from sparsejax.runs.report import data_table, html_page, image

    title = f"Structure of {found.table_name}: {found.target_name}"
    parts = [f"<h1>{escape(title)}</h1>", f"<p><b>{escape(headline(found))}</b></p>"]
    if drawn is not None:
        groups = " · ".join(" + ".join(group) for group in found.groups)
        parts += [
            f"<p>Groups: {escape(groups)}</p>",
            f"<p>Suggested module: {escape(found.suggested_module)}</p>",
            "<h2>The recovered composition</h2>",
            image("inputs, groups and root of the recovered composition", drawn),
            "<p>Above an input: its share of the target's variance, in all terms that read it.</p>",
            "<h2>Which columns matter</h2>",
            data_table(importance_rows(found)),
            "<h2>Which act together</h2>",
            data_table(interaction_rows(found, 40))
            if found.interactions
            else "<p>No two columns act together above chance.</p>",
        ]
    parts += [
        "<h2>Chance</h2>",
        f"<p>{found.rows} rows. The best of all terms would explain {found.null_level:.3%} of the "
        "target's variance by chance (95% of permutations of what is left unexplained).</p>",
    ]
    if found.warnings:
        items = "".join(f"<li>{escape(warning)}</li>" for warning in found.warnings)
        parts += ["<h2>Warnings</h2>", f"<ul>{items}</ul>"]
    return html_page(title, parts)
