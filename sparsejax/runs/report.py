"""One self-contained page a run: what was claimed, how it was tried, what came out."""

from __future__ import annotations

import base64
import math
from collections.abc import Iterable, Mapping
from html import escape
from typing import Any

from sparsejax.runs.settings import command_line, differences
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
.figures { display: flex; flex-wrap: wrap; gap: 1rem; }
.figures figure { flex: 1 1 28rem; margin: 0; }
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
    made_with = dict(record["environment"])
    versions = made_with.pop("versions", {})
    title = f"Control of {record['claim']}" if record["control"] else record["claim"]
    parts = [
        f"<h1>{escape(title)}</h1>",
        f"<p><b>{escape(record['statement'])}</b></p>",
        f"<p>Source: {escape(record['source'])}</p>",
        banner(record),
        image(f"{title}: the figure", picture),
        "<h2>Table</h2>",
        data_table(rows),
        "<h2>Verdict and error budget</h2>",
        pairs({"verdict": record["verdict"], "vacuous": record["vacuous"], **margin(record)}),
        *_margin_against_errors(record),
        "<h2>Numbers of the figure</h2>",
        "<details><summary>As JSON</summary>"
        f"<pre>{escape(dumps(record['summary']))}</pre></details>",
        "<h2>Setting</h2>",
        pairs(record["config"]),
        *_changed_by_the_control(header, record),
        "<h2>How it was run</h2>",
        pairs(_how_it_was_run(record)),
        "<h2>Environment</h2>",
        pairs({**made_with, **versions}),
        *(
            f"<p>Some trials were measured elsewhere: {escape(cell(other))}</p>"
            for other in record["other_environments"]
        ),
        "<h2>How to reproduce</h2>",
        *how_to_reproduce(header, record),
        "<p>The run's folder alone gives this page and its figure again: "
        "<code>sparsejax report FOLDER</code>; its raw measurements as tables: "
        "<code>sparsejax export FOLDER</code>.</p>",
    ]
    return html_page(f"{title}: {record['verdict']}", parts)


def html_page(title: str, parts: Iterable[str]) -> str:
    """A whole page around `parts`, which are HTML; the title is plain text."""
    return (
        '<!doctype html>\n<html lang="en">\n<head>\n<meta charset="utf-8">\n'
        '<meta name="viewport" content="width=device-width, initial-scale=1">\n'
        f"<title>{escape(title)}</title>\n<style>{_STYLE}</style>\n</head>\n"
        "<body>\n" + "\n".join(parts) + "\n</body>\n</html>\n"
    )


def banner(record: Mapping[str, Any]) -> str:
    """The verdict in its colour, and the reason under it."""
    return (
        f'<p class="verdict" style="background: {_COLOURS[record["verdict"]]}">'
        f"{escape(_capital(sentence(record)))}.</p>\n<p>{escape(record['reason'])}</p>"
    )


def image(text: str, picture: bytes) -> str:
    """A PNG inside the page; `text` stands for it where pictures are not seen."""
    encoded = base64.b64encode(picture).decode()
    return f'<img alt="{escape(text)}" src="data:image/png;base64,{encoded}">'


def how_to_reproduce(header: Mapping[str, Any], record: Mapping[str, Any]) -> list[str]:
    """The command, and what has to be installed for it to give the same numbers."""
    made_with = record["environment"]
    versions = made_with.get("versions", {})
    named = (name for name in ("jax", "jaxlib", "numpy", "scipy") if versions.get(name))
    packages = " ".join(f"{name}=={versions[name]}" for name in named)
    revision = made_with.get("git_revision")
    source = f", revision {revision}" if revision else ""
    command = command_line(record["claim"], header["requested"], control=record["control"])
    parts = [
        f"<pre>{escape(command)}</pre>",
        f"<p>With sparsejax {escape(cell(versions.get('sparsejax')) + source)} and "
        f"<code>{escape(packages)}</code>, on {escape(_devices(made_with))} in "
        f"{escape(cell(made_with.get('dtype')))}.</p>",
    ]
    if made_with.get("dtype") != "float64":
        # The command line sets the precision of its process; this run had another.
        parts.append(
            "<p>The command runs in float64. This run was made as a library: "
            "<code>sparsejax.runs.run_claim</code> in a process of this precision.</p>"
        )
    return parts


def _how_it_was_run(record: Mapping[str, Any]) -> dict[str, Any]:
    made_with = record["environment"]
    seeds = {name: value for name, value in record["config"].items() if "seed" in name}
    return {
        "trials drawn": record["trials"],
        # A claim that decides as it goes drew them in rounds.
        **({"in rounds of": record["rounds"]} if len(record.get("rounds", ())) > 1 else {}),
        "seconds in trials": record["seconds"],
        "seeds": seeds or "none in the setting",
        "dtype": made_with.get("dtype"),
        "devices": _devices(made_with),
        "began": made_with.get("time"),
    }


def _devices(made_with: Mapping[str, Any]) -> str:
    """As in "1 x cpu (cpu)": count, kind, platform."""
    kind, platform = (cell(made_with.get(name)) for name in ("device_kind", "platform"))
    return f"{cell(made_with.get('device_count'))} x {kind} ({platform})"


def _changed_by_the_control(header: Mapping[str, Any], record: Mapping[str, Any]) -> list[str]:
    if not record["control"]:
        return []
    lines = differences(header["requested"], record["config"])
    return [
        "<p>The control changed, of what was asked for (there): "
        f"{escape('; '.join(lines) or 'nothing')}.</p>"
    ]


def margin(record: Mapping[str, Any]) -> dict[str, Any]:
    """The margin, each part of the error budget, and their sum."""
    sizes = record["error_budget"]
    budget = {f"error budget, {name}": size for name, size in sizes.items()}
    # Non-finite numbers are words in a record.
    total = sum(float(size) for size in sizes.values())
    return {"margin": record["margin"], **budget, "error budget, total": total}


def _margin_against_errors(record: Mapping[str, Any]) -> list[str]:
    slack, total = float(record["margin"]), margin(record)["error budget, total"]
    if not (math.isfinite(slack) and math.isfinite(total)) or total == 0:
        return []
    return [f"<p>The margin is {cell(abs(slack) / total)} times the error budget in size.</p>"]


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def pairs(values: Mapping[str, Any]) -> str:
    """A table of names and values."""
    lines = (
        f"<tr><th>{escape(str(name))}</th><td>{escape(cell(value))}</td></tr>"
        for name, value in values.items()
    )
    return f'<div class="wide"><table>{"".join(lines)}</table></div>'


def data_table(rows: Iterable[Mapping[str, Any]]) -> str:
    """Rows of the same columns as a table."""
    rows = list(rows)
    if not rows:
        return "<p>No rows.</p>"
    head = "".join(f"<th>{escape(str(name))}</th>" for name in rows[0])
    lines = "".join(f"<tr>{''.join(map(_data, row.values()))}</tr>" for row in rows)
    return f'<div class="wide"><table><tr>{head}</tr>{lines}</table></div>'


def _data(value: Any) -> str:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return f"<td{' class=number' if number else ''}>{escape(cell(value))}</td>"
