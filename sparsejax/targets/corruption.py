"""What spoils data, in layers that are put on one another: noise, gaps, imbalance, idle inputs."""

import dataclasses
from collections.abc import Sequence
from typing import Any, Protocol, runtime_checkable

import numpy as np

from sparsejax.targets.table import Column, Table, TableError


@runtime_checkable
class Layer(Protocol):
    """A way to spoil a table; a frozen dataclass whose fields are JSON-able."""

    def apply(self, draw: np.random.Generator, table: Table) -> Table:
        """The table, spoiled by these random numbers."""
        ...


def corrupt(table: Table, layers: Sequence[Layer], seed: int) -> Table:
    """The layers one after another, each with random numbers of its own.

    What a layer draws depends on `seed` and its place alone, so another layer behind it changes
    nothing before. `recorded` of the result says what was done.

    Raises:
        ValueError: a layer that does not fit the table.

    Example:
        >>> from sparsejax.targets import real_table
        >>> worse = corrupt(real_table("diabetes"), [MissingAtRandom(0.1), LabelNoise(0.5)], 0)
        >>> [step["layer"] for step in worse.recorded], bool(worse.missing.any())
        (['MissingAtRandom', 'LabelNoise'], True)
    """
    for place, layer in enumerate(layers):
        done = {"layer": type(layer).__name__, **described(layer), "seed": seed, "place": place}
        table = layer.apply(np.random.default_rng([seed, place]), table)
        table = dataclasses.replace(table, recorded=(*table.recorded, done))
    return table


def described(layer: Any) -> dict[str, Any]:
    """The fields of a layer, JSON-able."""
    return {
        name: list(value) if isinstance(value, tuple) else value
        for name, value in dataclasses.asdict(layer).items()
    }


@dataclasses.dataclass(frozen=True)
class LabelNoise:
    """Wrong targets: this fraction of the labels becomes another class, uniformly.

    Regression: normal noise is added, of `level` times the target's standard deviation.
    """

    level: float | int

    def __post_init__(self) -> None:
        _check("level", self.level, most=np.inf)

    def apply(self, draw: np.random.Generator, table: Table) -> Table:
        """As the class says."""
        if table.task == "regression":
            noise = self.level * table.target.std() * draw.normal(size=table.rows)
            return dataclasses.replace(table, target=table.target + noise)
        _check("level", self.level)
        wrong = draw.random(table.rows) < self.level
        goal = _another(draw, table.target, len(table.classes))
        return dataclasses.replace(table, target=np.where(wrong, goal, table.target))


@dataclasses.dataclass(frozen=True)
class InputNoise:
    """Normal noise of `level` times each number's standard deviation.

    This fraction of each category's values becomes another level, uniformly.
    """

    level: float | int

    def __post_init__(self) -> None:
        _check("level", self.level, most=np.inf)

    def apply(self, draw: np.random.Generator, table: Table) -> Table:
        """As the class says."""
        values = table.values.copy()
        for place, column in enumerate(table.columns):
            own = values[:, place]
            if column.kind == "number":
                spread = np.nanstd(own) if np.isfinite(own).any() else 0.0
                own += self.level * spread * draw.normal(size=table.rows)
            else:
                wrong = draw.random(table.rows) < self.level
                other = _another(draw, own, len(column.levels))
                own[wrong] = other[wrong]
        return dataclasses.replace(table, values=values)


@dataclasses.dataclass(frozen=True)
class MissingCompletelyAtRandom:
    """Each value of the columns (all by default) is lost with this probability, whatever it is."""

    fraction: float | int
    columns: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        _check("fraction", self.fraction)

    def apply(self, draw: np.random.Generator, table: Table) -> Table:
        """As the class says."""
        lost = draw.random(table.values.shape) < self.fraction
        return _without(table, lost, _places(table, self.columns))


@dataclasses.dataclass(frozen=True)
class MissingAtRandom:
    """Values are lost the more likely, the larger another column's value is in that row.

    `driver`: that column, which itself loses none; the first of the table by default. The
    probability is linear in the driver's rank, from 0 to twice `fraction` (beyond one half: from
    `2 fraction - 1` to 1), and `fraction` where the driver is missing.

    Source: Rubin 1976.
    """

    fraction: float | int
    columns: tuple[str, ...] | None = None
    driver: str | None = None

    def __post_init__(self) -> None:
        _check("fraction", self.fraction)

    def apply(self, draw: np.random.Generator, table: Table) -> Table:
        """As the class says."""
        driver = 0 if self.driver is None else table.place(self.driver)
        places = [at for at in _places(table, self.columns) if at != driver]
        if not places:
            raise TableError("columns: none but the driver, which loses no values")
        chance = _rising(table.values[:, driver], self.fraction)
        lost = draw.random(table.values.shape) < chance[:, None]
        return _without(table, lost, places)


@dataclasses.dataclass(frozen=True)
class MissingNotAtRandom:
    """Values are lost the more likely, the larger they are themselves: linearly in their rank.

    From probability 0 to twice `fraction` (beyond one half: from `2 fraction - 1` to 1).

    Source: Rubin 1976.
    """

    fraction: float | int
    columns: tuple[str, ...] | None = None

    def __post_init__(self) -> None:
        _check("fraction", self.fraction)

    def apply(self, draw: np.random.Generator, table: Table) -> Table:
        """As the class says."""
        places = _places(table, self.columns)
        chance = np.zeros(table.values.shape)
        for place in places:
            chance[:, place] = _rising(table.values[:, place], self.fraction)
        return _without(table, draw.random(chance.shape) < chance, places)


@dataclasses.dataclass(frozen=True)
class ClassImbalance:
    """Rows of one class are left out until it has this share of the rows; the last by default."""

    share: float | int
    label: str | None = None

    def __post_init__(self) -> None:
        _check("share", self.share, least_allowed=False)

    def apply(self, draw: np.random.Generator, table: Table) -> Table:
        """As the class says."""
        if table.task != "classification":
            raise TableError("a class is made rarer where there are classes; this is a regression")
        label = table.classes[-1] if self.label is None else self.label
        if label not in table.classes:
            raise TableError(f"label: no class {label!r}; there are {', '.join(table.classes)}")
        own = np.flatnonzero(table.target == table.classes.index(label))
        others = table.rows - len(own)
        keep = round(others * self.share / (1 - self.share)) if self.share < 1 else len(own)
        if not 1 <= keep <= len(own):
            raise TableError(
                f"share: class {label!r} has {len(own)} of {table.rows} rows; leaving some out "
                f"gives shares between {1 / (others + 1):.3g} and {len(own) / table.rows:.3g}, "
                f"not {self.share}"
            )
        gone = draw.permutation(own)[keep:]
        return table.take(np.setdiff1d(np.arange(table.rows), gone))


@dataclasses.dataclass(frozen=True)
class IrrelevantInputs:
    """So many further columns of standard normal numbers, `irrelevant 1` and so on."""

    count: int

    def __post_init__(self) -> None:
        _check("count", self.count, most=np.inf)

    def apply(self, draw: np.random.Generator, table: Table) -> Table:
        """As the class says."""
        columns = tuple(Column(f"irrelevant {k}") for k in range(1, self.count + 1))
        return _with(table, columns, draw.normal(size=(table.rows, self.count)))


@dataclasses.dataclass(frozen=True)
class DuplicatedInputs:
    """Copies of so many columns, picked at random, none twice, with noise as `InputNoise` adds."""

    count: int
    noise: float | int = 0.0

    def __post_init__(self) -> None:
        _check("count", self.count, most=np.inf)
        _check("noise", self.noise, most=np.inf)

    def apply(self, draw: np.random.Generator, table: Table) -> Table:
        """As the class says."""
        if self.count > len(table.columns):
            raise TableError(f"count: {self.count} copies of {len(table.columns)} columns")
        places = draw.permutation(len(table.columns))[: self.count]
        columns = tuple(
            dataclasses.replace(table.columns[at], name=f"{table.columns[at].name} (copy)")
            for at in places
        )
        copies = dataclasses.replace(table, columns=columns, values=table.values[:, places])
        noisy = InputNoise(self.noise).apply(draw, copies)
        return _with(table, columns, noisy.values)


def _check(field: str, value: float | int, most: float = 1.0, least_allowed: bool = True) -> None:
    if not (0 <= value <= most and (least_allowed or value > 0) and np.isfinite(value)):
        raise ValueError(f"{field}: from 0 to {most:g}, got {value}")


def _places(table: Table, columns: tuple[str, ...] | None) -> list[int]:
    if columns is None:
        return list(range(len(table.columns)))
    return [table.place(name) for name in columns]


def _without(table: Table, lost: np.ndarray, places: Sequence[int]) -> Table:
    values = table.values.copy()
    values[:, places] = np.where(lost[:, places], np.nan, values[:, places])
    return dataclasses.replace(table, values=values)


def _with(table: Table, columns: tuple[Column, ...], values: np.ndarray) -> Table:
    return dataclasses.replace(
        table,
        columns=(*table.columns, *columns),
        values=np.concatenate([table.values, values], axis=1),
    )


def _rising(values: np.ndarray, fraction: float | int) -> np.ndarray:
    """A probability that rises with the rank and is `fraction` in the mean; of equals the same."""
    import scipy.stats

    known = ~np.isnan(values)
    rank = np.full(len(values), 0.5)
    if known.any():
        rank[known] = (scipy.stats.rankdata(values[known]) - 0.5) / known.sum()
    slope = 2 * min(fraction, 1 - fraction)
    return fraction + slope * (rank - 0.5)


def _another(draw: np.random.Generator, codes: np.ndarray, levels: int) -> np.ndarray:
    """Another level than its own for each code, uniformly; none stays none."""
    if levels < 2:
        return codes
    return (codes + draw.integers(1, levels, size=len(codes))) % levels
