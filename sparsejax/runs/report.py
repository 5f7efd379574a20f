"""One self-contained page a run: what was claimed, how it was tried, what came out."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

from sparsejax.runs.settings import command_line
from sparsejax.runs.strict_json import dumps

VERDICTS = {
    "holds": "holds",
    "violated": "is violated",
    "inconclusive": "is inconclusive: the margin is inside the error budget",
    "not_applicable": "is not applicable: a hypothesis of the claim fails",
}
"""A verdict's status, in words."""

_COLOURS = {
    "holds": "#1a7f37",
    "violated": "#b42318",
    "inconclusive": "#9a6700",
    "not_applicable": "#57606a",
}

_STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; color: #1f2328; max-width: 60rem;
       margin: 2rem auto; padding: 0 1rem; }
h1 { margin-bottom: 0; }
h2 { margin-top: 2.2rem; border-bottom: 1px solid #d0d7de; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; }
th, td { padding: .2rem .8rem .2rem 0; text-align: left; vertical-align: top; }
tr + tr > * { border-top: 1px solid #eaeef2; }
td.number { text-align: right; }
.wide { overflow-x: auto; }
.verdict { color: white; border-radius: .4rem; padding: .6rem 1rem; font-weight: 600; }
img { max-width: 100%; }
pre { background: #f6f8fa; padding: .8rem; overflow-x: auto; white-space: pre-wrap; }
"""


def cell(value: Any) -> str:
    """A value as a table shows it: four digits, lists with commas, words for booleans.

    >>> cell(0.123456), cell([64, 128]), cell(True), cell(None), cell(float("inf"))
    ('0.1235', '64, 128', 'yes', '-', 'inf')
    """
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.4g}" if math.isfinite(value) else str(value)
    if isinstance(value, list | tuple):
        return ", ".join(map(cell, value))
    if isinstance(value, Mapping):
        return ", ".join(f"{name}: {cell(item)}" for name, item in value.items())
    return str(value)


def sentence(record: Mapping[str, Any]) -> str:
    """The verdict as one line.

    >>> sentence({"claim": "my-claim", "verdict": "holds", "vacuous": True, "control": False})
    'my-claim holds (vacuously: its bound excludes nothing)'
    """
    subject = f"the control of {record['claim']}" if record["control"] else record["claim"]
    vacuous = " (vacuously: its bound excludes nothing)" if record["vacuous"] else ""
    line = f"{subject} {VERDICTS[record['verdict']]}{vacuous}"
    if not record["control"]:
        return line
    fails = record["verdict"] != "holds"
    return line + (
        "; a control must not hold, and it does not"
        if fails
        else "; a control must not hold: the experiment cannot tell this claim from its failure"
    )


def report_page(
    header: Mapping[str, Any],
    record: Mapping[str, Any],
    rows: Iterable[Mapping[str, Any]],
    picture: bytes,
) -> str:
    """The page, with nothing to fetch: styles inside, the figure embedded.

    Args:
        header: the run's `config.json`.
        record: the run's `verdict.json`.
        rows: the claim's table; all rows have the same columns.
        picture: the figure, as PNG.
    """
    rows = list(rows)
    image = base64.b64encode(picture).decode()
    made_with = dict(record["environment"])
    versions = made_with.pop("versions", {})
    command = command_line(record["claim"], header["requested"], control=record["control"])
    title = f"Control of {record['claim']}" if record["control"] else record["claim"]
    parts = [
        f"<h1>{escape(title)}</h1>",
        f"<p><b>{escape(record['statement'])}</b></p>",
        f"<p>Source: {escape(record['source'])}</p>",
        f'<p class="verdict" style="background: {_COLOURS[record["verdict"]]}">'
        f"{escape(_capital(sentence(record)))}.</p>",
        f"<p>{escape(record['reason'])}</p>",
        f'<img alt="{escape(title)}: the figure" src="data:image/png;base64,{image}">',
        "<h2>Table</h2>",
        _table(rows),
        "<h2>Verdict</h2>",
        _pairs({"verdict": record["verdict"], "vacuous": record["vacuous"], **_margin(record)}),
        "<h2>Numbers of the figure</h2>",
        "<details><summary>As JSON</summary>"
        f"<pre>{escape(dumps(record['summary']))}</pre></details>",
        "<h2>Setting</h2>",
        _pairs(record["config"]),
        "<h2>Environment</h2>",
        _pairs({**made_with, **versions}),
        _pairs({"trials": record["trials"], "seconds in trials": record["seconds"]}),
        *(
            f"<p>Some trials were measured elsewhere: {escape(cell(other))}</p>"
            for other in record["other_environments"]
        ),
        "<h2>How to reproduce</h2>",
        f"<pre>{escape(command)}</pre>",
        "<p>The run's folder alone gives this page and its figure again: "
        "<code>sparsejax report FOLDER</code>.</p>",
    ]
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}: {record['verdict']}</title>\n<style>{_STYLE}</style>\n</head>\n"
        "<body>\n" + "\n".join(parts) + "\n</body>\n</html>\n"
    )


def _margin(record: Mapping[str, Any]) -> dict[str, Any]:
    budget = {f"error budget, {name}": size for name, size in record["error_budget"].items()}
    return {"margin": record["margin"], **budget}


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _pairs(values: Mapping[str, Any]) -> str:
    lines = (
        f"<tr><th>{escape(str(name))}</th><td>{escape(cell(value))}</td></tr>"
        for name, value in values.items()
    )
    return f'<div class="wide"><table>{"".join(lines)}</table></div>'


def _table(rows: list[Mapping[str, Any]]) -> str:
    if not rows:
        return "<p>No rows.</p>"
    head = "".join(f"<th>{escape(str(name))}</th>" for name in rows[0])
    lines = "".join(f"<tr>{''.join(map(_data, row.values()))}</tr>" for row in rows)
    return f'<div class="wide"><table><tr>{head}</tr>{lines}</table></div>'


def _data(value: Any) -> str:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return f"<td{' class=number' if number else ''}>{escape(cell(value))}</td>"
