"""`sparsejax pilot`: whether a small sparse model of a table's structure is enough."""

from __future__ import annotations

import argparse
import errno
import os
import sys
from pathlib import Path
from typing import Any

from sparsejax.command_words import UsageError, not_writable, write_files
from sparsejax.terminal import print_table


def pilot(words: list[str]) -> int:
    """Pilot a model on the table that the words after `pilot` name; the exit code.

    Raises:
        UsageError: a table that cannot be read or learned from, an option out of range, or a folder
            that cannot be written.
    """
    options = _parser().parse_args(words)
    from sparsejax.pilot import Training, pilot as run
    from sparsejax.pilot.rows import as_json
    from sparsejax.runs.backend import keep_programs
    from sparsejax.runs.strict_json import dumps
    from sparsejax.targets import TableError, file_record, read_table

    keep_programs()
    if options.out is not None:
        # Before minutes of work, not after.
        _made(options.out)
    try:
        found = run(
            read_table(options.file, options.target),
            options.seed,
            splits=options.splits,
            parameters=options.parameters,
            doublings=options.doublings,
            training=Training(steps=options.steps),
            say=lambda stage: print(f"{stage} ...", file=sys.stderr),
        )
        asked = ("seed", "splits", "parameters", "doublings", "steps")
        provenance = {
            "file": file_record(options.file),
            "options": {name: getattr(options, name) for name in asked},
        }
    except (TableError, ValueError) as error:
        raise UsageError(str(error)) from None
    from sparsejax.runs.environment import current_environment

    provenance |= current_environment()
    record = as_json(found) | {"provenance": provenance}
    if options.out is not None:
        written = _write(found, options.out, record, provenance)
    if options.json:
        print(dumps(record), end="")
        return 0
    _print(found)
    if options.out is not None:
        print(written)
    return 0


def _print(found: Any) -> None:
    from sparsejax.pilot import rows
    from sparsejax.pilot.page import headline

    print(headline(found))
    print_table(rows.group_rows(found))
    print_table(rows.loss_rows(found))
    print_table(rows.comparison_rows(found))
    print_table(rows.growth_rows(found))
    if found.growth is not None:
        print(f"growth stopped {found.growth.stopped}")
    print_table(rows.widening_rows(found))
    print_table(rows.stability_rows(found))
    print_table(rows.cost_rows(found))
    for warning in found.warnings:
        print(f"warning: {warning}", file=sys.stderr)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sparsejax pilot",
        description="Whether a small sparse model of what is found in a table is enough: beside "
        "dense and shallow networks of equal parameters, a linear model and gradient boosting.",
    )
    parser.add_argument("file", type=Path, help="a CSV, TSV or Parquet file")
    parser.add_argument("--target", required=True, metavar="COLUMN", help="what is to be predicted")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    parser.add_argument(
        "--out", type=Path, metavar="FOLDER", help="write a page, its figure and the numbers"
    )
    parser.add_argument("--seed", type=int, default=0, help="of splits and draws (default: 0)")
    parser.add_argument("--splits", type=int, default=10, help="random splits (default: 10)")
    parser.add_argument(
        "--parameters",
        type=int,
        default=None,
        help="of each small network, about (default: half the training rows, 100 to 500)",
    )
    parser.add_argument(
        "--doublings", type=int, default=2, help="of the lift, at most (default: 2)"
    )
    parser.add_argument(
        "--steps", type=int, default=1500, help="minibatch steps of each training (default: 1500)"
    )
    return parser


def _made(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        if not os.access(folder, os.W_OK | os.X_OK):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES))
    except OSError as error:
        raise not_writable(folder, error) from None


def _write(found: Any, folder: Path, record: Any, provenance: Any) -> Path:
    from sparsejax.pilot.figure import picture
    from sparsejax.pilot.page import page
    from sparsejax.runs.strict_json import dumps

    drawn = picture(found)
    return write_files(
        folder,
        {
            "report.html": page(found, drawn, provenance).encode(),
            "pilot.json": dumps(record).encode(),
            "figure.png": drawn,
            "figure.pdf": picture(found, "pdf"),
        },
    )
