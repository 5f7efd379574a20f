"""The user's file that a run was made with: where it was, its checksum, and what was done to it."""

from __future__ import annotations

from typing import Any

from sparsejax.targets import file_record, is_table_file, read_table


def data_file(config: Any) -> dict[str, Any] | None:
    """What a run records of the table named by its config's `data` and `target`; None without one.

    Raises:
        ValueError: as `targets.read_table`.

    >>> from sparsejax.claims.setting import LiftSetting
    >>> data_file(LiftSetting(data="diabetes")) is None
    True
    """
    path, target = getattr(config, "data", None), getattr(config, "target", None)
    if not isinstance(path, str) or not isinstance(target, str) or not is_table_file(path):
        return None
    table = read_table(path, target)
    return {
        **file_record(path),
        "target": target,
        "task": table.task,
        "rows": table.rows,
        "columns": list(table.names),
        "warnings": list(table.warnings),
    }
