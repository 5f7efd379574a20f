"""What claims about online SGD share: network, fresh samples, and shares of terms learned."""

import dataclasses
import math
import zlib
from collections.abc import Sequence
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, PyTree

from sparsejax.claims.batching import lane_keys
from sparsejax.claims.optimisers import sgd_of
from sparsejax.dynamics import fresh, online_ensemble
from sparsejax.learners import Learner, two_layer
from sparsejax.structure import WalshProbe, cube_inputs
from sparsejax.targets import WalshExpansion, parse_target, predicted

# Backgrounds of the evaluation inputs: so many times all signs of the supporting coordinates.
EVALUATION_POINTS = 512


@dataclasses.dataclass(frozen=True)
class OnlineSetting:
    """Online SGD of a two-layer network on functions of the cube, for all claims about it."""

    width: int = 128
    """Hidden units."""
    activation: str = "relu"
    """Activation of the hidden units."""
    batch: int = 256
    """Fresh samples a step."""
    step_size: float = 0.05
    """Step size of SGD on half the mean squared error."""
    output_scaling: Literal["plain", "mean_field"] = "plain"
    """plain: output weights start uniform on +-0.1 / sqrt(width). mean_field: on +-1, and the
    output is divided by the width throughout, at the same step size."""
    level: float = 0.5
    """A term is learned once the network's coefficient of it is this share of the target's."""
    until: float = 0.5
    """A run ends when it has this share of every term, or the level where that is more."""
    steps: int = 40_000
    """A run that has not learned all terms by then is stopped, and its times are censored."""
    record_every: int = 20
    """Steps between two looks at the coefficients; times are linear between them."""
    seeds: int = 5
    """Runs of each target and dimension."""
    precision: Literal["float32", "float64"] = "float32"
    """Of parameters and data."""
    confidence: float = 0.95
    """Level of the intervals; of all statements that decide together."""
    seed: int = 0
    """Seed of everything random."""


class MeanField(eqx.Module):
    """A function divided by the width of its network."""

    f: Any
    width: int = eqx.field(static=True)

    def __call__(self, params: PyTree, x: Float[Array, "n d"]) -> Float[Array, "n c"]:
        """The function's output over the width."""
        return self.f(params, x) / self.width


@dataclasses.dataclass(frozen=True)
class MeanFieldBuilder:
    """A learner's `build`, with its output divided by the width; compared by value."""

    learner: Learner
    width: int

    def __call__(self, key: Array) -> tuple[Any, PyTree]:
        """Function and parameters of one seed."""
        f, params = self.learner.build(key)
        return MeanField(f, self.width), params


class LearnedShares(eqx.Module):
    """A probe: the network's coefficient of each term, as a share of the target's."""

    probe: WalshProbe
    coefficients: Float[Array, " terms"]

    def __call__(self, f: Any, params: PyTree) -> Float[Array, " terms"]:
        """The shares; one where a term is learned wholly."""
        found = self.probe(f, params)
        return found / self.coefficients.astype(found.dtype)


def builder(config: OnlineSetting, dims: int) -> Any:
    """`build(key)` of the network."""
    if config.output_scaling == "plain":
        return two_layer(dims, config.width, activation=config.activation).build
    wide = math.sqrt(config.width)
    learner = two_layer(dims, config.width, activation=config.activation, readout_range=wide)
    return MeanFieldBuilder(learner, config.width)


def measure_online(
    config: OnlineSetting, target: WalshExpansion, numbers: Sequence[int]
) -> list[dict[str, np.ndarray]]:
    """Runs of some seeds on one target: for each its curves, times and ending.

    `shares` (k, terms) at `steps` (k,), up to the run's end; `times` (terms,), infinite where a
    term was not learned; `losses` (k,); `status`; `steps_run`.
    """
    base = jax.random.fold_in(
        jax.random.key(config.seed), zlib.crc32(f"{target.formula} of {target.dims}".encode())
    )
    keys = lane_keys(base, numbers)
    backgrounds = max(EVALUATION_POINTS // 2 ** len(target.support), 1)
    inputs = cube_inputs(
        jax.random.fold_in(base, 2**32 - 1), backgrounds, target.dims, target.support
    )
    values = jnp.asarray([value for _, value in target.terms], float)
    runs = online_ensemble(
        builder(config, target.dims),
        fresh(target.sample, config.batch, config.precision),
        sgd_of(config.step_size),
        config.steps,
        keys,
        probes={"shares": LearnedShares(WalshProbe(target.terms, inputs), values)},
        record_every=config.record_every,
        reach={
            "learned": ("shares", config.level, "above"),
            "ended": ("shares", max(config.level, config.until), "above"),
        },
        dtype=config.precision,
    )
    shares, losses = np.asarray(runs.probes["shares"]), np.asarray(runs.losses)
    times = np.asarray(runs.hitting["learned"], float)
    found = []
    for lane, status in enumerate(runs.status):
        kept = int(runs.steps_run[lane]) // config.record_every + 1
        found.append(
            {
                "steps": runs.steps[:kept],
                "shares": shares[lane, :kept],
                "losses": losses[lane, :kept],
                "times": times[lane],
                "status": np.asarray(str(status)),
                "steps_run": np.asarray(int(runs.steps_run[lane])),
            }
        )
    return found


def targets_of(formulas: Sequence[str], dims: int) -> list[WalshExpansion]:
    """The targets that formulas stand for, on the cube of this dimension."""
    found = []
    for formula in formulas:
        target = parse_target(formula, dims=dims)
        assert isinstance(target, WalshExpansion)
        found.append(target)
    return found


def check_online_setting(config: OnlineSetting, dims: Sequence[int]) -> None:
    """Raises ValueError where a setting could not be run, or would say nothing."""
    for field in ("width", "batch", "steps", "record_every"):
        if getattr(config, field) < 1:
            raise ValueError(f"{field}: must be positive, got {getattr(config, field)}")
    if config.steps % config.record_every:
        raise ValueError(
            f"record_every: must divide the steps ({config.steps}), got {config.record_every}"
        )
    if config.seeds < 2:
        raise ValueError(f"seeds: at least two for an interval, got {config.seeds}")
    if not config.step_size > 0:
        raise ValueError(f"step_size: must be positive, got {config.step_size}")
    for field in ("level", "until", "confidence"):
        if not 0 < getattr(config, field) < 1:
            raise ValueError(f"{field}: must lie in (0, 1), got {getattr(config, field)}")
    if not dims or len(set(dims)) < len(dims) or min(dims) < 2:
        raise ValueError(f"dims: give at least one, each once and above 1, got {tuple(dims)}")
    two_layer(min(dims), config.width, activation=config.activation)  # which knows its names


@dataclasses.dataclass(frozen=True)
class Foretold:
    """What theory says of a target: its leap, the exponent of its steps, the order of its terms."""

    leap: int
    step_exponent: float | int
    ordering: tuple[tuple[int, ...], ...]


def foretold(target: WalshExpansion) -> Foretold:
    """Leap, exponent and order of an expansion, all of which theory has.

    Example:
        >>> foretold(targets_of(["x1*x2 + x2"], 5)[0])
        Foretold(leap=1, step_exponent=1, ordering=((2,), (1, 2)))
    """
    found = predicted(target)
    assert found.leap is not None and found.step_exponent is not None
    return Foretold(found.leap, found.step_exponent, found.ordering or ())
