"""The information exponent: how the lowest Hermite order of a link sets the time of SGD."""

import dataclasses
import math
from collections.abc import Iterator
from typing import Any, ClassVar, Literal

import numpy as np
from matplotlib.figure import Figure

from sparsejax.bounds import Verdict
from sparsejax.claims.batching import together
from sparsejax.claims.claim import Measurements, Trial
from sparsejax.claims.information_exponent_figure import draw_exponents
from sparsejax.claims.online_claim import if_diverged
from sparsejax.claims.scaling import (
    HittingExponent,
    Statement,
    compare_times,
    hitting_exponent,
    later_by,
    verdict_of,
    within,
)
from sparsejax.claims.spherical_runs import length_of, link_of, measure_spherical, target_of
from sparsejax.claims.statistics import log_log_slope, with_interval
from sparsejax.targets import hermite_index, predicted


@dataclasses.dataclass(frozen=True)
class InformationExponentConfig:
    """Online spherical SGD on single-index targets, over links and dimensions."""

    orders: tuple[int, ...] = (1, 2, 3)
    """Hermite orders of the links, each a normalised Hermite polynomial."""
    dims: tuple[int, ...] = (25, 50, 100, 200)
    """Dimensions of the Gaussian inputs."""
    step_sizes: tuple[float, ...] = (0.1, 0.1, 0.1)
    """Of each link: c in the step size c / d^max(k/2, 1) at information exponent k."""
    batch: int = 8
    """Fresh samples a step; the theorem has one."""
    start: Literal["typical", "uniform"] = "typical"
    """Where runs start, in the target's hemisphere: typical, with the overlap 1 / sqrt(d) that is
    the root mean square of all; uniform, so that times spread as overlaps do."""
    first_order: float = 0.0
    """So much of the first Hermite polynomial is mixed into every link. With any of it the
    information exponent is 1, and theory, which is asked about the pure link, is to fail."""
    level: float = 0.5
    """The overlap with the target's direction that is to be reached."""
    patience: float = 100.0
    """A run is stopped after about this many times d^max(k - 1, 1) steps, and its time censored."""
    tolerance: float = 0.5
    """By how much a measured exponent may differ from that of theory."""
    seeds: int = 20
    """Runs of each link and dimension."""
    precision: Literal["float32", "float64"] = "float32"
    """Of parameters and data."""
    confidence: float = 0.95
    """Level of the intervals; of all statements that decide together."""
    seed: int = 0
    """Seed of everything random."""


class InformationExponent:
    """Exponents of the time to a fixed overlap, against theory, and apart where theory is.

    The student knows the link and starts in the target's hemisphere, as in the theorem. Theory's
    logarithm (`d log d` at k = 2) is part of what is predicted: as the slope that it has over the
    ladder of dimensions.
    """

    name = "information-exponent"
    statement = (
        "Online spherical SGD finds the direction of a single-index target of information exponent "
        "k in about d steps for k = 1, d log d for k = 2, and d^(k - 1) for k >= 3."
    )
    source = "Ben Arous, Gheissari, Jagannath, JMLR 2021 (arXiv 2003.10409), theorems 1.3 and 1.4"
    Config = InformationExponentConfig
    presets: ClassVar[dict[str, InformationExponentConfig]] = {
        "paper": InformationExponentConfig(
            orders=(1, 2, 3, 4),
            dims=(25, 35, 50, 70, 100, 140, 200, 280, 400),
            step_sizes=(0.1, 0.1, 0.02, 0.005),
            batch=1,
            start="uniform",
            seeds=200,
            tolerance=0.25,
        )
    }

    def validate(self, config: InformationExponentConfig) -> None:
        """Refuse a bad config before any compute."""
        if not config.orders or len(set(config.orders)) < len(config.orders):
            raise ValueError(f"orders: give at least one, each once, got {config.orders}")
        if min(config.orders) < 1:
            raise ValueError(f"orders: must be positive, got {config.orders}")
        if len(config.step_sizes) != len(config.orders) or not all(
            0 < c < math.inf for c in config.step_sizes
        ):
            raise ValueError(
                f"step_sizes: a positive one for each of {len(config.orders)} orders is wanted, "
                f"got {config.step_sizes}"
            )
        if len(config.dims) < 2 or len(set(config.dims)) < len(config.dims) or min(config.dims) < 2:
            raise ValueError(
                f"dims: two at least for an exponent, each once and above 1, got {config.dims}"
            )
        if config.batch < 1:
            raise ValueError(f"batch: must be positive, got {config.batch}")
        if config.seeds < 2:
            raise ValueError(f"seeds: at least two for an interval, got {config.seeds}")
        if not 0 <= config.first_order < math.inf:
            raise ValueError(f"first_order: must not be negative, got {config.first_order}")
        for field in ("level", "confidence"):
            if not 0 < getattr(config, field) < 1:
                raise ValueError(f"{field}: must lie in (0, 1), got {getattr(config, field)}")
        for field in ("patience", "tolerance"):
            if not 0 < getattr(config, field) < math.inf:
                raise ValueError(f"{field}: must be positive, got {getattr(config, field)}")

    def control(self, config: InformationExponentConfig) -> InformationExponentConfig:
        """The highest order with as much of the first: theory of the degree, which does not hold.

        The step size is small for the sake of the high order's noise.
        """
        return dataclasses.replace(
            config, orders=(max(3, *config.orders),), step_sizes=(0.02,), first_order=1.0
        )

    def trials(self, config: InformationExponentConfig) -> list[Trial]:
        """One trial a link, dimension and seed."""
        return [
            Trial(
                f"k{order:02d}-d{dims:04d}-seed{number:03d}",
                {"order": order, "dims": dims, "number": number},
            )
            for order in config.orders
            for dims in config.dims
            for number in range(config.seeds)
        ]

    def batches(self, config: InformationExponentConfig, trials: list[Trial]) -> list[list[Trial]]:
        """The seeds of one link and dimension, 20 at most: a minute or two on two cores."""
        return together(trials, "order", "dims", at_most=20)

    def measure_batch(
        self, config: InformationExponentConfig, trials: list[Trial]
    ) -> Iterator[dict[str, np.ndarray]]:
        """Runs of one link and dimension, in one program."""
        given = trials[0].parameters
        numbers = [trial.parameters["number"] for trial in trials]
        return iter(measure_spherical(config, given["order"], given["dims"], numbers))

    def measure(self, config: InformationExponentConfig, trial: Trial) -> dict[str, np.ndarray]:
        """One run by itself."""
        return next(iter(self.measure_batch(config, [trial])))

    def judge(self, config: InformationExponentConfig, measurements: Measurements) -> Verdict:
        """Holds where all exponents are near those of theory, and apart where those are."""
        exponents = self.exponents(config, measurements)
        summary: dict[str, Any] = {
            "exponents": {
                f"k{order}": {
                    "exponent": found.slope,
                    "low": found.low,
                    "high": found.high,
                    "theory": foretold(order, config.dims),
                    "censored": sum(found.censored),
                }
                for order, found in exponents.items()
            }
        }
        diverged = if_diverged(measurements, summary)
        if diverged is not None:
            return diverged
        return verdict_of(self.statements(config, measurements, exponents), summary)

    def statements(
        self,
        config: InformationExponentConfig,
        measurements: Measurements,
        exponents: dict[int, HittingExponent],
    ) -> list[Statement]:
        """All that is asserted, at a level at which all of it holds together."""
        found = []
        for order, exponent in exponents.items():
            theory = foretold(order, config.dims)
            said = (
                f"k = {order}: exponent {exponent.slope:.2f} [{exponent.low:.2f}, "
                f"{exponent.high:.2f}], theory {theory:.2f}"
            )
            interval = exponent.slope, exponent.low, exponent.high
            found.append(within(said, interval, theory, config.tolerance, config.seeds))
        for a, b in _pairs(config):
            steeper = compare_times(
                config.dims,
                times_of(config, measurements, a),
                times_of(config, measurements, b),
                stops_of(config, b),
                stopped_earlier=stops_of(config, a),
                of="exponent",
                confidence=self.level(config),
            )
            said = (
                f"that of k = {b} is larger than that of k = {a} by {steeper.estimate:.2f} "
                f"[{steeper.low:.2f}, {steeper.high:.2f}]"
            )
            found.append(later_by(said, steeper))
        return found

    def level(self, config: InformationExponentConfig) -> float:
        """The level of each interval."""
        return 1 - (1 - config.confidence) / (len(config.orders) + len(_pairs(config)))

    def exponents(
        self, config: InformationExponentConfig, measurements: Measurements
    ) -> dict[int, HittingExponent]:
        """The exponent of the time to the level, by order."""
        return {
            order: hitting_exponent(
                config.dims,
                times_of(config, measurements, order),
                stops_of(config, order),
                predicted=foretold(order, config.dims),
                tolerance=config.tolerance,
                confidence=self.level(config),
            )
            for order in config.orders
        }

    def draw(
        self, config: InformationExponentConfig, measurements: Measurements, verdict: Verdict
    ) -> Figure:
        """Overlaps at the largest dimension, times against dimension, exponents."""
        largest = {order: runs_of(measurements, order, max(config.dims)) for order in config.orders}
        theory = {order: foretold(order, config.dims) for order in config.orders}
        return draw_exponents(
            config, self.exponents(config, measurements), theory, largest, verdict
        )

    def table(
        self, config: InformationExponentConfig, measurements: Measurements, verdict: Verdict
    ) -> list[dict[str, Any]]:
        """One row a link and dimension."""
        return [
            {
                "k": order,
                "d": dims,
                "steps to the level": median.median,
                "low": median.low,
                "high": median.high,
                "censored": f"{censored}/{config.seeds}",
                "exponent": with_interval(found.slope, found.low, found.high),
                "theory": foretold(order, config.dims),
            }
            for order, found in self.exponents(config, measurements).items()
            for dims, median, censored in zip(
                config.dims, found.medians, found.censored, strict=True
            )
        ]


def foretold(order: int, dims: tuple[int, ...]) -> float:
    """The slope that theory's law has over these dimensions, with the logarithm of k = 2.

    >>> round(foretold(2, (25, 200)), 3), foretold(3, (25, 200))
    (1.24, 2.0)
    """
    exponent = predicted(hermite_index(max(dims), order)).step_exponent
    assert exponent is not None
    x = np.array(dims, float)
    return round(log_log_slope(x, x**exponent * (np.log(x) if order == 2 else 1.0)), 12)


def runs_of(measurements: Measurements, order: int, dims: int) -> list[dict[str, np.ndarray]]:
    """What the seeds of one link and dimension gave."""
    prefix = f"k{order:02d}-d{dims:04d}-"
    return [run for name, run in measurements.items() if name.startswith(prefix)]


def times_of(
    config: InformationExponentConfig, measurements: Measurements, order: int
) -> list[np.ndarray]:
    """For each dimension the time of each run, infinite where it was stopped before."""
    return [
        np.array([run["hit"] for run in runs_of(measurements, order, dims)], float)
        for dims in config.dims
    ]


def stop_of(config: InformationExponentConfig, order: int, dims: int) -> int:
    """When a run is stopped."""
    exponent = target_of(dims, link_of(order, config.first_order)).information_exponent
    return length_of(config.patience, dims, exponent)[0]


def stops_of(config: InformationExponentConfig, order: int) -> list[int]:
    """When the runs of a link are stopped, for each dimension."""
    return [stop_of(config, order, dims) for dims in config.dims]


def _pairs(config: InformationExponentConfig) -> list[tuple[int, int]]:
    """Neighbouring orders whose powers of d are different."""
    orders = sorted(config.orders)
    return [(a, b) for a, b in zip(orders, orders[1:], strict=False) if max(a, 2) < max(b, 2)]


CLAIM = InformationExponent()
