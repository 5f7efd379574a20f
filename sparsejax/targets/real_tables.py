"""Real tables that come with Python packages: nothing is downloaded."""

import functools
import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from sparsejax.targets.frame import table_of_frame
from sparsejax.targets.table import Column, Table, TableError

# Of scikit-learn, complete; and of packages of the extra `tables`, with missing values.
COMPLETE = ("diabetes", "digits", "iris", "wine", "breast_cancer")
WITH_MISSING = ("penguins", "cars", "lung")
REAL = (*COMPLETE, *WITH_MISSING)


@functools.cache
def real_table(name: str) -> Table:
    """A bundled table by name.

    `"diabetes"`: disease progression from 10 measurements. `"digits"`: whether a handwritten digit
    is even, from 64 pixels. `"iris"`, `"wine"`, `"breast_cancer"`: classes, from scikit-learn, as
    are the two before. With missing values as they were recorded: `"penguins"` (the species;
    palmerpenguins), `"cars"` (miles per gallon; vega_datasets), `"lung"` (whether a patient's death
    was seen; lifelines).

    Raises:
        TableError: an unknown name, or a package that is not installed.

    Example:
        >>> table = real_table("diabetes")
        >>> table.values.shape, table.names[2:4]
        ((442, 10), ('bmi', 'bp'))
    """
    if name not in REAL:
        raise TableError(f"unknown data set {name!r}; known are {', '.join(REAL)}")
    table = _complete(name) if name in COMPLETE else _READERS[name]()
    # Shared by all who ask.
    table.values.setflags(write=False)
    table.target.setflags(write=False)
    return table


def _complete(name: str) -> Table:
    from sklearn import datasets

    bunch: Any = getattr(datasets, f"load_{name}")()
    columns = tuple(Column(str(label)) for label in bunch.feature_names)
    values, goal = bunch.data.astype(float), bunch.target.astype(float)
    if name == "diabetes":
        return Table(columns, values, goal, target_name="progression", name=name)
    classes = tuple(map(str, bunch.target_names))
    if name == "digits":
        goal, classes = (goal % 2 == 0).astype(float), ("odd", "even")
    return Table(columns, values, goal, "classification", "class", classes, name=name)


def _penguins() -> Table:
    import pandas as pd

    frame = pd.read_csv(_file("palmerpenguins", "data", "penguins.csv"))
    return table_of_frame(frame, "species", name="penguins")


def _cars() -> Table:
    import pandas as pd

    frame = pd.DataFrame(json.loads(_file("vega_datasets", "_data", "cars.json").read_text()))
    frame["Year"] = pd.to_datetime(frame["Year"]).dt.year
    # A name in nearly every row.
    return table_of_frame(frame.drop(columns="Name"), "Miles_per_Gallon", name="cars")


def _lung() -> Table:
    import pandas as pd

    frame: pd.DataFrame = pd.read_csv(_file("lifelines", "datasets", "lung.csv"))
    frame["status"] = frame["status"].map({0: "censored", 1: "dead"})
    return table_of_frame(frame, "status", name="lung")


_READERS: dict[str, Callable[[], Table]] = {"penguins": _penguins, "cars": _cars, "lung": _lung}


def _file(package: str, *parts: str) -> Path:
    # The packages' own readers import all of them, some for seconds: their files are enough.
    found = importlib.util.find_spec(package)
    if found is None or not found.submodule_search_locations:
        raise TableError(
            f"this table is part of the package {package}: "
            'pip install "sparsejax[tables]" brings it'
        )
    return Path(found.submodule_search_locations[0], *parts)
