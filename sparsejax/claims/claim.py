"""What a claim is: trials to measure, a judgement of what they gave, a control that must fail."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

import numpy as np

if TYPE_CHECKING:
    from matplotlib.figure import Figure

    from sparsejax.bounds.verdict import Verdict

_FILE_SAFE = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")

Measurements = dict[str, dict[str, np.ndarray]]
"""Arrays by name, by trial name."""


@dataclass(frozen=True)
class Trial:
    """One independent piece of a claim's work: the unit of batching and of storage.

    Args:
        name: unique within the run, and safe as a file name (`"size0512-seed003"`): letters,
            digits, dots, hyphens and underscores, at most 100 of them, the first a letter or digit.
        parameters: what this piece needs beside the config; JSON-able.

    Raises:
        ValueError: when the name could not be a file's name.

    >>> Trial("size0512-seed003", {"size": 512, "seed": 3}).parameters["size"]
    512
    """

    name: str
    parameters: dict[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        if not _FILE_SAFE.fullmatch(self.name) or len(self.name) > 100:
            raise ValueError(
                f"a trial's name becomes a file's name: {self.name!r} should be up to 100 letters, "
                "digits, dots, hyphens and underscores, the first a letter or digit"
            )


@runtime_checkable
class Claim(Protocol):
    """A statement of theory, and the experiment that can refute it.

    `sparsejax.runs.run_claim` drives one: `validate`, then `measure` for each of `trials` that the
    run's folder does not hold yet, then `judge`, `draw` and `table` from the stored arrays alone.
    So all but `measure` must be functions of their arguments: the folder reproduces the figure.

    A claim may do more: measure trials together (`BatchedClaim`), decide from what was measured
    which trials come next (`SequentialClaim`), name some configs (`PresetClaim`).

    Attributes:
        name: as on the command line, e.g. `"tangent-approximation"`.
        statement: one line.
        source: the paper and the place in it, or "derived here".
        Config: a frozen dataclass; every field typed, with a default and a docstring under it
            (the command line shows it as help). Seeds are fields.
    """

    name: str
    statement: str
    source: str
    Config: type

    def validate(self, config: Any) -> None:
        """Refuse a bad config before any compute: ValueError, saying what would be right."""
        ...

    def control(self, config: Any) -> Any:
        """A config near this one on which the claim must *not* come out as holding."""
        ...

    def trials(self, config: Any) -> list[Trial]:
        """The independent pieces of work, in the order in which they run."""
        ...

    def measure(self, config: Any, trial: Trial) -> dict[str, np.ndarray]:
        """Do one piece; arrays by name (numbers, booleans or fixed-length strings; no objects)."""
        ...

    def judge(self, config: Any, measurements: Measurements) -> Verdict:
        """Compare theory with what was measured."""
        ...

    def draw(self, config: Any, measurements: Measurements, verdict: Verdict) -> Figure:
        """The picture that lets a reader judge for themselves; every number in it is stored."""
        ...

    def table(
        self, config: Any, measurements: Measurements, verdict: Verdict
    ) -> list[dict[str, Any]]:
        """Rows for the terminal and the report; all rows have the same columns."""
        ...


@runtime_checkable
class BatchedClaim(Protocol):
    """A claim that measures several trials together, e.g. lifts of a size in one program.

    The trial stays the unit of storage. `run_claim` hands over those that are not stored yet, so
    after a kill a batch may be any part of what it was: what a trial measures must not depend on
    its company beyond rounding. The command line starts such a claim on as many CPU devices as
    there are cores, one thread each, or on all local accelerators: `jax.local_devices()`; where
    several processes share a run, each has one CPU device.
    """

    def batches(self, config: Any, trials: list[Trial]) -> list[list[Trial]]:
        """The trials, each in one batch, in the order in which they run.

        A batch has a greatest length that the claim chooses and states: what is in progress is
        lost when a run is killed. Several processes share a run by whole batches: in their interest
        long work is best cut into more than one.
        """
        ...

    def measure_batch(self, config: Any, trials: list[Trial]) -> Iterable[dict[str, np.ndarray]]:
        """What `measure` gives, for each trial in order; each is stored as it is yielded."""
        ...


@runtime_checkable
class SequentialClaim(Protocol):
    """A claim whose trials depend on what earlier ones gave, e.g. until an interval decides."""

    def more_trials(self, config: Any, measurements: Measurements) -> list[Trial]:
        """Further trials, asked for when all so far are stored; an empty list ends the run.

        A function of its arguments: a resumed run replays the rounds from what is stored. `judge`
        says why it ended.
        """
        ...


@runtime_checkable
class PresetClaim(Protocol):
    """A claim with named configs, e.g. a small and a large one: `verify CLAIM --preset NAME`."""

    presets: Mapping[str, Any]
