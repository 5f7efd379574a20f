"""Several runs on one page: what differs between them, and what came out of each."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

import matplotlib.image
from matplotlib import pyplot as plt
from matplotlib.figure import Figure

from sparsejax.bounds.verdict import Verdict
from sparsejax.claims.claim import Claim, Measurements
from sparsejax.runs.rendering import DOTS_PER_INCH, rendered
from sparsejax.runs.report import (
    banner,
    cell,
    data_table,
    how_to_reproduce,
    html_page,
    image,
    margin,
)
from sparsejax.runs.run import Run
from sparsejax.runs.settings import config_from_json
from sparsejax.runs.store import FolderError, RunFolder, write_whole
from sparsejax.runs.strict_json import dumps, encode

_ABSENT = object()

Drawn = tuple[str, Any, Measurements, Verdict]
"""What a claim's `draw_comparison` is given of a run: label, config, measurements, verdict."""


@dataclass(frozen=True)
class Compared:
    """One run beside others.

    Args:
        name: what it is called on the page, see `distinct_names`.
        claim: the claim that it is a run of.
        run: as `recreate` gave it.
    """

    name: str
    claim: Claim
    run: Run

    @property
    def config(self) -> Any:
        """The config, defaults filled in where an earlier release stored fewer fields."""
        return config_from_json(self.claim.Config, self.run.record["config"])

    @property
    def environment(self) -> dict[str, Any]:
        """What it was made with, versions beside the rest; the time aside."""
        made_with = dict(self.run.record["environment"])
        versions = made_with.pop("versions", {})
        made_with.pop("time", None)
        return {**made_with, **versions}


def distinct_names(folders: Iterable[Path]) -> list[str]:
    """The shortest ends of the folders' paths that tell them apart.

    >>> distinct_names([Path("runs/small/first"), Path("runs/large/first")])
    ['small/first', 'large/first']
    >>> distinct_names([Path("results/a"), Path("results/b")])
    ['a', 'b']
    """
    parts = [folder.resolve().parts for folder in folders]
    for length in range(1, max(map(len, parts), default=0) + 1):
        names = ["/".join(part[-length:]) for part in parts]
        if len(set(names)) == len(names):
            return names
    return ["/".join(part) for part in parts]


def differing(settings: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]]:
    """The fields that at least two settings have and that are not the same in all of these.

    A value a setting, None where it lacks the field: runs of different claims are compared in what
    they share.

    >>> differing([{"seed": 0, "t1": 5.0}, {"seed": 1, "t1": 5.0}, {"t1": 5.0, "lifts": 3}])
    {'seed': [0, 1, None]}
    """
    names = list(dict.fromkeys(name for setting in settings for name in setting))
    found = {}
    for name in names:
        values = [setting.get(name, _ABSENT) for setting in settings]
        there = [value for value in values if value is not _ABSENT]
        if any(value != there[0] for value in there[1:]):
            found[name] = [None if value is _ABSENT else value for value in values]
    return found


def labels_of(runs: Sequence[Compared]) -> list[str]:
    """What a legend calls each run: its differing settings where they are few, else its name."""
    fields = differing([encode(run.config) for run in runs])
    precisions = differing([{"dtype": run.environment.get("dtype")} for run in runs])
    fields |= precisions
    labels = [
        ", ".join(f"{name} {cell(values[place])}" for name, values in fields.items())
        for place in range(len(runs))
    ]
    controls = [" (control)" * bool(run.run.record["control"]) for run in runs]
    if len(fields) > 3 or max(map(len, labels)) > 40 or len(set(labels)) < len(labels):
        labels = [run.name for run in runs]
    return [label + control for label, control in zip(labels, controls, strict=True)]


def compare_runs(
    runs: Sequence[tuple[Claim, Run]], out: str | Path, left_out: Mapping[str, str] | None = None
) -> Path:
    """Write `comparison.html`, `.png`, `.pdf` and `.json` into `out`; the page's path.

    Where all runs are of one claim and it has a method `draw_comparison(runs) -> Figure` (of
    `Drawn` tuples), that is the figure; else the runs' own figures stand side by side.

    Args:
        runs: two or more, each with its claim.
        out: a folder; made when it is not there.
        left_out: why, by folder, for those that could not be compared.

    Raises:
        ValueError: for fewer than two runs.
        FolderError: when `out` holds a run or cannot be written.
    """
    if len(runs) < 2:
        raise ValueError(f"a comparison is of two runs or more, not of {len(runs)}")
    out = Path(out)
    check_comparison_folder(out)
    names = distinct_names(run.folder for _, run in runs)
    compared = [Compared(name, *pair) for name, pair in zip(names, runs, strict=True)]
    figure = _figure(compared)
    picture = rendered(figure, "png")
    document = rendered(figure, "pdf")
    plt.close(figure)
    settings = differing([encode(run.config) for run in compared])
    environments = differing([run.environment for run in compared])
    page = _page(compared, settings, environments, picture, left_out or {})
    record = {
        "runs": {run.name: run.run.record for run in compared},
        "differing_settings": {
            name: dict(zip(names, values, strict=True)) for name, values in settings.items()
        },
        "differing_environments": {
            name: dict(zip(names, values, strict=True)) for name, values in environments.items()
        },
        "left_out": dict(left_out or {}),
    }
    try:
        out.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise FolderError(f"{out} cannot be written: {error.strerror or error}") from None
    write_whole(out / "comparison.png", picture)
    write_whole(out / "comparison.pdf", document)
    write_whole(out / "comparison.json", dumps(record).encode())
    write_whole(out / "comparison.html", page.encode())
    return out / "comparison.html"


def check_comparison_folder(out: Path) -> None:
    """Refuse a folder that is a run's own, before any work.

    Raises:
        FolderError: when `out` holds a run.
    """
    if (out / "config.json").exists():
        raise FolderError(f"{out} holds a run: choose another folder for the comparison")


def _drawn_together(runs: Sequence[Compared]) -> Callable[[list[Drawn]], Figure] | None:
    """What draws the runs into one figure, where they are of one claim that can."""
    if len({run.claim.name for run in runs}) > 1:
        return None
    return getattr(runs[0].claim, "draw_comparison", None)


def _figure(runs: Sequence[Compared]) -> Figure:
    draw = _drawn_together(runs)
    if draw is None:
        return _side_by_side(runs)
    return draw(
        [
            (label, run.config, run.run.measurements, run.run.verdict)
            for label, run in zip(labels_of(runs), runs, strict=True)
        ]
    )


def _side_by_side(runs: Sequence[Compared]) -> Figure:
    pictures = [matplotlib.image.imread(run.run.folder / "figure.png") for run in runs]
    # All of one height, none shrunk: each pixel of the tallest is kept.
    height = max(picture.shape[0] for picture in pictures)
    widths = [picture.shape[1] * height / picture.shape[0] for picture in pictures]
    title = 0.35
    figure = Figure(figsize=(sum(widths) / DOTS_PER_INCH, height / DOTS_PER_INCH + title))
    top = 1 - title / figure.get_figheight()
    left = 0.0
    for run, picture, width in zip(runs, pictures, widths, strict=True):
        axes = figure.add_axes((left / sum(widths), 0, width / sum(widths), top))
        axes.imshow(picture)
        axes.set_axis_off()
        axes.set_title(f"{run.name} ({run.claim.name})", fontsize=9)
        left += width
    return figure


def _page(
    runs: Sequence[Compared],
    settings: dict[str, list[Any]],
    environments: dict[str, list[Any]],
    picture: bytes,
    left_out: Mapping[str, str],
) -> str:
    claims = list(dict.fromkeys(run.claim.name for run in runs))
    title = f"Comparison of {len(runs)} runs: {', '.join(claims)}"
    parts = [f"<h1>{escape(title)}</h1>"]
    statements = dict.fromkeys((run.claim.name, run.run.record["statement"]) for run in runs)
    parts += [f"<p><b>{escape(name)}</b>: {escape(said)}</p>" for name, said in statements]
    parts += [f"<p>Left out: {escape(why)}</p>" for why in left_out.values()]
    parts += ["<h2>What differs</h2>", _fields(runs, settings, "All shared settings are equal.")]
    if environments:
        parts += ["<h3>In the environment</h3>", _fields(runs, environments, "")]
    else:
        parts += ["<p>Versions, device and precision are the same.</p>"]
    parts += ["<h2>Verdicts</h2>", _verdicts(runs)]
    parts += [f"<h3>{escape(run.name)}</h3>{banner(run.run.record)}" for run in runs]
    parts += ["<h2>Figure</h2>"]
    if _drawn_together(runs) is not None:
        parts += [image(title, picture)]
    else:
        # Each its own picture, so that a narrow window may put one under another.
        parts += ['<div class="figures">']
        for run in runs:
            own = (run.run.folder / "figure.png").read_bytes()
            caption = f"<figcaption>{escape(run.name)}</figcaption>"
            parts += [f"<figure>{caption}{image(run.name, own)}</figure>"]
        parts += ["</div>"]
    parts += ["<h2>Tables</h2>"]
    for name in claims:
        rows = joined_rows([run for run in runs if run.claim.name == name])
        parts += [f"<h3>{escape(name)}</h3>" if len(claims) > 1 else "", data_table(rows)]
    parts += ["<h2>How to reproduce</h2>"]
    for run in runs:
        header = RunFolder.existing(run.run.folder).header
        parts += [f"<h3>{escape(run.name)}</h3>", *how_to_reproduce(header, run.run.record)]
    folders = " ".join(escape(str(run.run.folder)) for run in runs)
    parts += [f"<p>This page again: <code>sparsejax report {folders}</code></p>"]
    return html_page(title, parts)


def joined_rows(runs: Sequence[Compared]) -> list[dict[str, Any]]:
    """The runs' tables one under another, with a column for the run; None where a run lacks one."""
    columns = dict.fromkeys(name for run in runs for row in run.run.rows for name in row)
    # A claim's table may have a column of that name already.
    column = "run" if "run" not in columns else "run's folder"
    return [
        {column: run.name, **{name: row.get(name) for name in columns}}
        for run in runs
        for row in run.run.rows
    ]


def _fields(runs: Sequence[Compared], fields: Mapping[str, list[Any]], none: str) -> str:
    if not fields:
        return f"<p>{none}</p>"
    return data_table(
        {"field": name, **{run.name: value for run, value in zip(runs, values, strict=True)}}
        for name, values in fields.items()
    )


def _verdicts(runs: Sequence[Compared]) -> str:
    sides = [
        {
            "claim": run.claim.name,
            "control": run.run.record["control"],
            "verdict": run.run.record["verdict"],
            "vacuous": run.run.record["vacuous"],
            **margin(run.run.record),
            "trials drawn": run.run.record["trials"],
            "seconds in trials": run.run.record["seconds"],
            "trials measured elsewhere": bool(run.run.record["other_environments"]),
        }
        for run in runs
    ]
    names = dict.fromkeys(name for side in sides for name in side)
    return _fields(runs, {name: [side.get(name) for side in sides] for name in names}, "")
