"""What commands print: the verdict of a run, tables."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from sparsejax.graphs import Dag


def print_run(record: Mapping[str, Any], rows: Iterable[Mapping[str, Any]], folder: Path) -> None:
    """Table, verdict, reason, margin and budget of a run, and where it is stored."""
    from sparsejax.runs.report import cell, sentence

    print_table(rows)
    budget = "; ".join(f"{name} {cell(size)}" for name, size in record["error_budget"].items())
    print(f"{sentence(record)}.")
    print(record["reason"])
    print(f"margin {cell(record['margin'])}; error budget: {budget or 'none'}")
    print(f"stored in {folder} (report.html, figure.png, figure.pdf, verdict.json)")


def print_table(rows: Iterable[Mapping[str, Any]]) -> None:
    """Rows of the same columns."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    rows = list(rows)
    if not rows:
        return
    table = Table(box=box.SIMPLE_HEAD)
    for name in rows[0]:
        table.add_column(str(name), overflow="fold")
    for row in rows:
        table.add_row(*(Text(_shown(value)) for value in row.values()))
    _print(table)


def print_composition(dag: Dag, most: int = 30) -> None:
    """A composition as a tree: each node over what it reads, once; then by its name alone.

    Of more than `most` constituents nothing is printed: a drawing shows them.
    """
    from rich.text import Text
    from rich.tree import Tree

    if len(dag.ancestors) > most:
        print(f"{len(dag.ancestors)} constituents: --out draws them")
        return
    above: set[str] = set()

    def grow(branch: Tree, node: str) -> None:
        above.add(node)
        for parent in dag.parents_of(node):
            if parent in dag.inputs:
                branch.add(Text(parent))
            elif parent in above:
                branch.add(Text(f"{parent} (as above)"))
            else:
                grow(branch.add(Text(parent)), parent)

    tree = Tree(Text(dag.root))
    grow(tree, dag.root)
    _print(tree)


def _print(drawn: Any) -> None:
    from rich.console import Console

    # A log or a pipe has no width of its own; rich would take 80 columns.
    Console(width=None if sys.stdout.isatty() else 120).print(drawn)


def _shown(value: Any) -> str:
    if isinstance(value, str):
        return value
    from sparsejax.runs.report import cell

    return cell(value)
