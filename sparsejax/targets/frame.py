"""Tables from pandas data frames: which columns are numbers, which categories, which neither."""

from typing import Any, Literal

import numpy as np

from sparsejax.targets.table import Column, Table, TableError, Task

# Levels of a category, the rarest of which are put together beyond.
MOST_LEVELS = 32
OTHER = "(other)"
# A text column whose most frequent levels are less than this share of it is left out.
COVERED = 0.1
# A text column is one of numbers where this share of it reads as such.
NUMBERS = 0.9
# Whole numbers of at most so many values, each of which comes often, are classes.
FEW_VALUES = 10
MOST_CLASSES = 100


def table_of_frame(
    frame: Any,
    target: str,
    *,
    task: Literal["auto", "regression", "classification"] = "auto",
    name: str = "table",
    said: list[str] | None = None,
    decimal_comma: bool = False,
) -> Table:
    """A data frame as a table; `warnings` of it say what was left out or changed.

    Left out: columns that are constant, empty, or texts that are nearly all different; rows without
    target. Infinite values count as missing. Dates become days since 1970, booleans 0 and 1. A
    category keeps its 31 most frequent levels, and one for all others. With `task="auto"` texts,
    booleans, two values, and whole numbers of at most 10 values that come five times each on
    average are classes. `said`: warnings so far. `decimal_comma`: texts such as 1,5 are numbers.

    Raises:
        TableError: no rows, no such target, a target of one value or of as many texts as rows, no
            input that says anything.

    Example:
        >>> import pandas as pd
        >>> frame = pd.DataFrame({"a": [1, 2, 4], "b": [7, 7, 7], "y": ["u", "v", "u"]})
        >>> table = table_of_frame(frame, "y")
        >>> table.names, table.classes, table.warnings
        (('a',), ('u', 'v'), ("column 'b' has one value only, 7: left out",))
    """
    said = [] if said is None else list(said)
    if target not in frame.columns:
        raise TableError(f"{name}: no column {target!r} to be the target")
    if list(frame.columns).count(target) > 1:
        raise TableError(f"{name}: several columns are called {target!r}, the target: rename them")
    if len(frame) == 0:
        raise TableError(f"{name}: a header but no rows; at least two are needed")
    goal, levels, frame = _target(frame, target, name, said, decimal_comma)
    goal, classes, kind = _task(goal, levels, task, target, name, said)
    columns, values = [], []
    for place, label in enumerate(frame.columns):
        if label == target:
            continue
        found = _column(frame.iloc[:, place], str(label), said, decimal_comma)
        if found is not None:
            columns.append(found[0])
            values.append(found[1])
    if not columns:
        raise TableError(f"{name}: no input is left: {'; '.join(said) or 'target alone'}")
    return Table(
        tuple(columns),
        np.stack(values, axis=1),
        goal,
        kind,
        target,
        classes,
        tuple(said),
        name=name,
    )


def _target(
    frame: Any, target: str, name: str, said: list[str], decimal_comma: bool
) -> tuple[np.ndarray, tuple[str, ...], Any]:
    """The target's numbers or codes with their levels, and the rows that have one."""
    goal, levels = _coded(frame[target], f"target {target!r}", said, decimal_comma)
    there = np.isfinite(goal)
    if not there.any():
        raise TableError(f"{name}: target {target!r} is missing in all {len(goal)} rows")
    if not there.all():
        said.append(
            f"target {target!r} is missing or infinite in {int((~there).sum())} of {len(goal)} "
            "rows: left out"
        )
        goal, frame = goal[there], frame[there]
    if len(np.unique(goal)) == 1:
        value = levels[int(goal[0])] if levels else f"{goal[0]:g}"
        raise TableError(
            f"{name}: target {target!r} has one value only, {value}: there is nothing to learn"
        )
    return goal, levels, frame


def _task(
    goal: np.ndarray, levels: tuple[str, ...], task: str, target: str, name: str, said: list[str]
) -> tuple[np.ndarray, tuple[str, ...], Task]:
    held = np.unique(goal)
    whole = bool((held == np.round(held)).all())
    few = whole and len(held) <= FEW_VALUES and len(goal) >= 5 * len(held)
    if task == "auto":
        chosen: Task = "classification" if levels or len(held) == 2 or few else "regression"
        if chosen == "classification" and not levels and len(held) > 2:
            said.append(
                f"target {target!r} holds {len(held)} whole numbers: taken as classes "
                "(task='regression' takes them as numbers)"
            )
    elif task == "regression" and levels:
        raise TableError(f"{name}: target {target!r} is text, such as {levels[0]!r}: no regression")
    elif task in ("regression", "classification"):
        chosen = "regression" if task == "regression" else "classification"
    else:
        raise TableError(f"task: 'auto', 'regression' or 'classification', not {task!r}")
    if chosen == "regression":
        return goal, (), chosen
    if len(held) > min(MOST_CLASSES, len(goal) // 2 + 1):
        raise TableError(
            f"{name}: target {target!r} has {len(held)} different values in {len(goal)} rows, too "
            f"many for classes (at most {MOST_CLASSES}, and half the rows)"
        )
    names = tuple(levels[int(v)] if levels else f"{v:g}" for v in held)
    return np.searchsorted(held, goal).astype(float), names, chosen


def _column(
    series: Any, name: str, said: list[str], decimal_comma: bool
) -> tuple[Column, np.ndarray] | None:
    values, levels = _coded(series, f"column {name!r}", said, decimal_comma)
    infinite = np.isinf(values)
    if infinite.any():
        said.append(f"column {name!r} is infinite in {int(infinite.sum())} rows: taken as missing")
        values = np.where(infinite, np.nan, values)
    known = values[~np.isnan(values)]
    if len(known) == 0:
        said.append(f"column {name!r} has no values: left out")
        return None
    # One value or none is an answer as well: such a column stays.
    if len(known) == len(values) and np.ptp(known) == 0:
        value = levels[0] if levels else f"{known[0]:g}"
        said.append(f"column {name!r} has one value only, {value}: left out")
        return None
    if name.startswith("Unnamed: ") and (np.diff(values) == 1).all():
        said.append(f"column {name!r} numbers the rows: left out")
        return None
    if not levels:
        return Column(name), values
    codes, counts = np.unique(known, return_counts=True)
    kept = np.sort(codes[np.argsort(-counts, kind="stable")][: MOST_LEVELS - 1])
    covered = np.isin(known, kept).mean()
    if len(codes) > MOST_LEVELS and (len(codes) > len(known) / 2 or covered < COVERED):
        said.append(
            f"column {name!r} has {len(codes)} different texts in {len(known)} rows, like names or "
            "free text: left out"
        )
        return None
    if len(codes) <= MOST_LEVELS:
        return Column(name, "category", levels), values
    said.append(
        f"column {name!r} has {len(codes)} levels: all but the {len(kept)} most frequent are put "
        f"together as {OTHER}"
    )
    new = np.where(np.isin(values, kept), np.searchsorted(kept, values), len(kept)).astype(float)
    new[np.isnan(values)] = np.nan
    return Column(name, "category", (*(levels[int(c)] for c in kept), OTHER)), new


def _coded(
    series: Any, called: str, said: list[str], decimal_comma: bool
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Numbers, or codes with the names of their levels (sorted), NaN where missing."""
    import pandas as pd

    types = pd.api.types
    if types.is_datetime64_any_dtype(series):
        days = (series.dt.tz_localize(None) - pd.Timestamp(0)) / pd.Timedelta(days=1)
        return days.to_numpy(float, na_value=np.nan), ()
    if types.is_bool_dtype(series) and not series.hasnans:
        return series.to_numpy(float), ()
    if types.is_numeric_dtype(series) and not isinstance(series.dtype, pd.CategoricalDtype):
        if types.is_complex_dtype(series):
            raise TableError(f"{called} holds complex numbers; give real and imaginary parts")
        return series.to_numpy(float, na_value=np.nan), ()
    known = series.dropna()
    texts = known.astype(str).str.strip()
    numbers = pd.to_numeric(texts, errors="coerce").to_numpy(float)
    if decimal_comma and np.isnan(numbers).mean() > 1 - NUMBERS:
        pointed = texts.str.replace(",", ".", regex=False)
        numbers = pd.to_numeric(pointed, errors="coerce").to_numpy(float)
    values = np.full(len(series), np.nan)
    there = series.notna().to_numpy()
    bad = np.isnan(numbers)
    if len(numbers) and bad.mean() <= 1 - NUMBERS:
        if bad.any():
            said.append(
                f"{called} has {int(bad.sum())} entries that are no numbers, such as "
                f"{texts[bad].iloc[0]!r}: taken as missing"
            )
        values[there] = numbers
        return values, ()
    codes, levels = pd.factorize(texts, sort=True)
    values[there] = codes
    return values, tuple(str(level) for level in levels)
