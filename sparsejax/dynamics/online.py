"""Ensembles of online runs: many seeds of one shape in one compiled program.

Why lanes take turns on a CPU, each in a loop of its own: a step of one network is fastest while its
activations lie in the cache of a core, a lane that has reached its events costs nothing more, and a
batch of lanes would run until the slowest has ended. Cores are filled by devices: lanes are dealt
out to them. On an accelerator a batch of lanes fills the chip, and they run side by side.
"""

import dataclasses
from collections.abc import Callable, Mapping, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, DTypeLike, Key, PyTree

from sparsejax.dynamics.by_value import by_value
from sparsejax.dynamics.online_lane import Event, LaneRun, OnlineProgram
from sparsejax.dynamics.online_runs import OnlineRuns
from sparsejax.dynamics.sample_losses import half_squared

OnlineProbe = Callable[[Any, PyTree], Array]


def online_ensemble(
    build: Callable[[Key[Array, ""]], tuple[Any, PyTree]],
    stream: Callable[[Key[Array, ""]], Callable],
    optimizer: optax.GradientTransformation,
    steps: int,
    keys: Key[Array, " seeds"],
    *,
    loss: Callable[[Array, Array], Array] = half_squared,
    probes: Mapping[str, OnlineProbe] | None = None,
    record_every: int = 100,
    reach: Mapping[str, tuple[str, Any, str]] | None = None,
    dtype: DTypeLike | None = None,
    side_by_side: int | None = None,
    devices: Sequence[jax.Device] | None = None,
) -> OnlineRuns:
    """Train one network a key, on data that are drawn inside of the compiled loop.

    What a lane does depends on its key alone: not on which other keys there are, nor, up to
    rounding, on `side_by_side` and `devices`. `build(key) -> (f, params)` with `f(params, x)` of
    shape (n, C), and `stream(key) -> source` with `source(key, step) -> (x, y)`, such as
    `fresh(sample, batch)` or `finite(sample, samples, batch)`, are pure and are called once a lane,
    inside. `loss(outputs, y)`: (n,), whose mean a step descends.

    `probes`: name to `probe(f, params)`, a number or an array, recorded at the start and every
    `record_every` steps; arrays of theirs (evaluation inputs) are best fields of an
    `equinox.Module`. `reach`: event to (name of a probe, threshold, "above" or "below"); its time,
    in steps and linear between two records, is infinite where it was not seen. Of a probe that is
    an array every entry has a time, with thresholds that broadcast. A lane ends when all entries of
    all events have been seen, when it diverges, or after `steps` steps; what follows is NaN, and
    costs nothing.

    `dtype`: of parameters and data, float32 or float64; by default JAX's. `devices`: local ones to
    which lanes are dealt out, by default all; on a CPU of several cores give as many, one thread
    each (`jax_num_cpu_devices`, and the flag `--xla_cpu_multi_thread_eigen=false`).
    `side_by_side`: lanes in one batch on a device; by default one on a CPU and all elsewhere.

    The same functions compile once; `optimizer` is one of them, so make it once.

    Raises:
        ValueError: counts out of range, `steps` no multiple of `record_every`, keys of a wrong
            shape, an event about no probe, a precision that JAX has not enabled, shapes of outputs
            and targets that do not match.

    Example:
        >>> from sparsejax.dynamics.batch_streams import fresh
        >>> def sample(key, n):
        ...     x = jax.random.normal(key, (n, 2))
        ...     return x, x[:, :1]
        >>> build = lambda key: ((lambda w, x: x @ w), jnp.zeros((2, 1)))
        >>> runs = online_ensemble(
        ...     build, fresh(sample, 8), optax.sgd(0.1), 100, jax.random.split(jax.random.key(0), 3),
        ...     probes={"w": lambda f, w: w[0, 0]}, record_every=5,
        ...     reach={"half": ("w", 0.5, "above")})
        >>> runs.status.tolist(), bool((runs.hitting["half"] < 20).all())
        (['reached', 'reached', 'reached'], True)
    """
    for name, number in (("steps", steps), ("record_every", record_every)):
        if number < 1:
            raise ValueError(f"{name} must be positive, got {number}")
    if steps % record_every:
        raise ValueError(f"steps ({steps}) must be a multiple of record_every ({record_every})")
    if side_by_side is not None and side_by_side < 1:
        raise ValueError(f"side_by_side must be positive, got {side_by_side}")
    if devices is not None and not len(devices):
        raise ValueError("devices is empty: give one at least, or None for all local ones")
    if not jnp.issubdtype(keys.dtype, jax.dtypes.prng_key) or keys.ndim != 1 or not keys.size:
        raise ValueError(
            f"keys: one key a lane, as jax.random.split(key, seeds) gives them, got {keys.dtype} of "
            f"shape {keys.shape}"
        )
    program = OnlineProgram(
        build=by_value(build),
        stream=by_value(stream),
        optimizer=optimizer,
        loss=loss,
        probes=dict(probes or {}),
        thresholds={},
        events=(),
        saves=steps // record_every,
        record_every=record_every,
        dtype=_checked_dtype(dtype),
    )
    f, values = _checked_shapes(program, keys[0])
    events, thresholds = _checked_events(reach, values, program.dtype)
    program = dataclasses.replace(program, events=events, thresholds=thresholds)
    chosen = tuple(jax.local_devices() if devices is None else devices)[: len(keys)]
    if side_by_side is None:
        side_by_side = 1 if chosen[0].platform == "cpu" else -(-len(keys) // len(chosen))
    lanes = _run(program, keys, side_by_side, chosen)
    return OnlineRuns(
        steps=np.arange(program.saves + 1) * record_every,
        losses=lanes.losses,
        probes=lanes.probes,
        hitting=lanes.hitting,
        status_code=lanes.code,
        steps_run=lanes.steps_run,
        params=lanes.params,
        f=eqx.combine(lanes.f, eqx.filter(f, _is_shape, inverse=True)),
    )


@eqx.filter_jit
def _run(
    program: OnlineProgram, keys: Key[Array, " seeds"], side_by_side: int, devices: tuple
) -> LaneRun:
    arrays, rest = eqx.partition(program, eqx.is_array)

    def on_one_device(keys: Key[Array, " lanes"], arrays: PyTree) -> LaneRun:
        run = eqx.combine(arrays, rest).run
        return jax.lax.map(run, keys, batch_size=side_by_side if side_by_side > 1 else None)

    count, each = len(keys), -(-len(keys) // len(devices))
    # Lanes that are one too many repeat the last one, on a device that waits in any case.
    keys = keys[np.minimum(np.arange(each * len(devices)), count - 1)]
    split, everywhere = PartitionSpec("lanes"), PartitionSpec()
    lanes = jax.shard_map(
        on_one_device,
        mesh=Mesh(np.asarray(devices), ("lanes",)),
        in_specs=(split, everywhere),
        out_specs=split,
        # There is no communication to be checked, and loops of different lengths.
        check_vma=False,
    )(keys, arrays)
    return jax.tree.map(lambda leaf: leaf[:count], lanes)


def _checked_dtype(dtype: DTypeLike | None) -> Any:
    chosen = jnp.dtype(jnp.result_type(float) if dtype is None else dtype)
    if chosen not in (jnp.dtype("float32"), jnp.dtype("float64")):
        raise ValueError(f"dtype is float32 or float64, not {chosen}")
    if jnp.zeros((), jnp.result_type(float)).dtype.itemsize < chosen.itemsize:
        raise ValueError("dtype: float64 is not enabled; set jax_enable_x64, or take float32")
    return chosen


def _checked_shapes(program: OnlineProgram, key: Key[Array, ""]) -> tuple[Any, dict[str, Any]]:
    """The function with shapes for arrays, and the shapes of all probes."""
    for name, probe in program.probes.items():
        if not isinstance(name, str) or not callable(probe):
            raise ValueError(f"probe {name!r} must be a function of (f, params) under a name")

    def look(key: Key[Array, ""]) -> tuple:
        f, params, source, data_key = program.begin(key)
        x, y = program.batch(source, data_key, jnp.zeros((), jnp.int32))
        outputs = f(params, x)
        if jnp.issubdtype(y.dtype, jnp.floating) and outputs.shape != y.shape:
            raise ValueError(
                f"f gives outputs of shape {outputs.shape}, the stream's targets have {y.shape}"
            )
        losses = program.loss(outputs, y)
        if losses.shape != y.shape[:1]:
            raise ValueError(
                f"loss must give one number a sample, {y.shape[:1]}, and gives {losses.shape}"
            )
        return f, program.probed(f, params)

    return eqx.filter_eval_shape(look, key)


def _checked_events(
    reach: Mapping[str, tuple[str, Any, str]] | None, values: dict[str, Any], dtype: Any
) -> tuple[tuple[Event, ...], dict[str, Array]]:
    """Events and their thresholds, of the shapes of the probes."""
    events, thresholds = [], {}
    for name, (probe, threshold, side) in (reach or {}).items():
        if probe not in values:
            known = ", ".join(values) or "none"
            raise ValueError(f"reach[{name!r}]: there is no probe {probe!r}; there are {known}")
        if side not in ("above", "below"):
            raise ValueError(f"reach[{name!r}]: the side is 'above' or 'below', not {side!r}")
        shape = values[probe].shape
        numbers = np.asarray(threshold, float)
        if not np.isfinite(numbers).all():
            raise ValueError(f"reach[{name!r}]: the threshold must be finite, got {threshold}")
        try:
            thresholds[name] = jnp.asarray(np.broadcast_to(numbers, shape), dtype)
        except ValueError:
            raise ValueError(
                f"reach[{name!r}]: thresholds of shape {numbers.shape} do not fit the probe "
                f"{probe!r} of shape {shape}"
            ) from None
        events.append(Event(name, probe, side))
    return tuple(events), thresholds


def _is_shape(leaf: Any) -> bool:
    return isinstance(leaf, jax.ShapeDtypeStruct)
