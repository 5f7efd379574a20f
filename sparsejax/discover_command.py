"""`sparsejax discover`: from a table, which columns matter and which act together."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from sparsejax.command_words import UsageError, write_files
from sparsejax.terminal import print_composition, print_table


def discover(words: list[str]) -> int:
    """Report the structure of the table that the words after `discover` name; the exit code.

    Raises:
        UsageError: a table that cannot be read or learned from, or a folder that cannot be written.
    """
    options = _parser().parse_args(words)
    from sparsejax.structure import discover as find
    from sparsejax.structure.discover import as_json
    from sparsejax.targets import TableError, read_table

    try:
        found = find(read_table(options.file, options.target), options.seed)
    except (TableError, ValueError) as error:
        raise UsageError(str(error)) from None
    if options.out is not None:
        written = _write(found, options.out)
    if options.json:
        from sparsejax.runs.strict_json import dumps

        print(dumps(as_json(found)), end="")
        return 0
    from sparsejax.structure_report import headline, importance_rows, interaction_rows

    print(headline(found))
    print_table(importance_rows(found))
    print_table(interaction_rows(found))
    if found.support:
        print("groups: " + "; ".join(", ".join(group) for group in found.groups))
    if found.dag is not None:
        print_composition(found.dag)
    print(f"suggested module: {found.suggested_module}")
    for warning in found.warnings:
        print(f"warning: {warning}", file=sys.stderr)
    if options.out is not None:
        print(written)
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="sparsejax discover",
        description="Which columns of a table matter, which act together, and what module that "
        "suggests.",
    )
    parser.add_argument("file", type=Path, help="a CSV, TSV or Parquet file")
    parser.add_argument("--target", required=True, metavar="COLUMN", help="what is to be explained")
    parser.add_argument("--json", action="store_true", help="print everything as JSON")
    parser.add_argument("--out", type=Path, metavar="FOLDER", help="write a page with a picture")
    parser.add_argument("--seed", type=int, default=0, help="of permutations (default: 0)")
    return parser


def _write(found, folder: Path) -> Path:
    import matplotlib

    matplotlib.use("Agg")
    from sparsejax.runs.strict_json import dumps
    from sparsejax.structure.discover import as_json
    from sparsejax.structure_report import page, picture

    drawn = None if found.dag is None else picture(found)
    files = {
        "report.html": page(found, drawn).encode(),
        "structure.json": dumps(as_json(found)).encode(),
    }
    if drawn is not None:
        files["composition.png"] = drawn
    return write_files(folder, files)
