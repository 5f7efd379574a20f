"""Ensembles of gradient flows, each at its own pace, in one compiled program.

Why the lanes are interleaved by single gradients (`interleaved_rkc2`): under `vmap` an adaptive
loop runs every lane until the slowest has ended, and in every step as many stages as the stiffest
lane asks for; one union of all lanes takes the shortest step of any. Here a lane costs its own
gradients. Why few slots, refilled from a queue (`lane_queue`): on a CPU a gradient of one network
is fastest while its activations lie in the cache, so that networks that take turns beat a batch of
them (2 x 256 vertices, 400 samples: three slots took 1.2 times the time of one, by
`benchmarks/ensemble_flow.py`); on an accelerator the batch is what fills it. What a lane saves on
a CPU, against its own `gradient_flow`, are the Hessian-vector products, one a step and each as dear
as five gradients there: here they are differences of gradients. Cores are filled by devices.
"""

import dataclasses
from collections.abc import Callable, Sequence
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree
from jax.sharding import Mesh, PartitionSpec
from jaxtyping import Array, Float, PyTree

from sparsejax.dynamics.ensemble_trajectory import ensemble_trajectory
from sparsejax.dynamics.finiteness import require_finite
from sparsejax.dynamics.flow_method import flow_method
from sparsejax.dynamics.gradient_flow import save_times
from sparsejax.dynamics.lane import Rules
from sparsejax.dynamics.lane_queue import Lanes, Ledger, run_through
from sparsejax.dynamics.stop import Stop
from sparsejax.dynamics.trajectory import Trajectory

# Slots on an accelerator, where a batch of gradients costs little more than one.
ACCELERATOR_SLOTS = 64


def gradient_flows(
    loss: Callable[[PyTree], Array],
    params: PyTree,
    t1: float | int,
    *,
    saveat: Float[Array | np.ndarray, " s"] | None = None,
    rtol: float = 1e-6,
    atol: float | None = None,
    stop: Stop | Float[Array | np.ndarray, " m"] | None = None,
    shared: Callable[[Any], PyTree] | None = None,
    chunk: int | None = None,
    keep_params: bool = True,
    max_steps: int = 100_000,
    devices: Sequence[jax.Device] | None = None,
) -> Trajectory:
    """Integrate `d theta/dt = -grad loss(theta)` for M lanes at once, over flow time `[0, t1]`.

    Lanes are independent flows, as by `gradient_flow(..., solver="rkc2")` to its tolerance: each
    has its own steps, stage counts and rejections, waits for no other, and ends by itself, with its
    own status.

    `params`: as for one flow, with a leading axis of M lanes on every array. `loss`: a pytree
    callable with the same axis on every array that it holds, such as `squared_loss` of
    `lifts.apply` for lifts drawn under `vmap`; arrays that all lanes have in common are the nodes
    that `shared` selects, `lambda loss: loss.data` for the same data. A function
    without arrays is the loss of all lanes. New lifts, parameters and data of one size run the same
    program. `saveat`: increasing times in `[0, t1]`, by default 0 and `t1`.

    `stop`: a loss for each lane, (M,), at which it ends, or a `Stop` for all of them; the crossing
    is located to `rtol`. `chunk`: how many lanes are under way at a time on a device; memory beyond
    data and results is that of as many gradients. By default one on a CPU, where networks that take
    turns stay in its cache, and 64 elsewhere; more gain little on a CPU, even of tiny networks.
    `keep_params=False` leaves `params` out of the result, which then is M by S numbers and `end`.
    `devices`: lanes are dealt out to them, and none of them waits for another; on a CPU of several
    cores give as many, one thread each (`jax_num_cpu_devices`, and the flag
    `--xla_cpu_multi_thread_eigen=false`).

    The result is a `Trajectory` whose arrays have a leading axis of lanes;
    `jax.tree.map(lambda leaf: leaf[k], flows)` is the one of lane k, and `end` the last parameters
    of all (`final` and `at` are for one lane). A lane that diverges or whose
    loss is not finite says so in `status` and touches no other. `stats` counts gradients by lane;
    `radius_evaluations` of them, differences for the spectral radius, stand for Hessian-vector
    products.

    Raises:
        ValueError: times, tolerances or counts out of range, arrays without the axis of lanes,
            parameters not finite, a `Stop` on wall clock.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> rates = jnp.array([1.0, 2.0])
        >>> decay = jax.tree_util.Partial(lambda rate, w: 0.5 * rate * jnp.sum(w**2), rates)
        >>> flows = gradient_flows(decay, jnp.ones((2, 3)), 1.0, rtol=1e-5)
        >>> [round(float(w[0]), 3) for w in flows.end]
        [0.368, 0.135]
        >>> flows.status.tolist()
        ['completed', 'completed']
    """
    ts = save_times(saveat, t1, count=2)
    if ts[-1] == 0:
        raise ValueError("saveat holds no time but 0: there is nothing to integrate")
    if not rtol > 0 or (atol is not None and not atol > 0):
        raise ValueError(f"tolerances must be positive, got rtol={rtol}, atol={atol}")
    for name, number in (("max_steps", max_steps), ("chunk", chunk)):
        if number is not None and number < 1:
            raise ValueError(f"{name} must be positive, got {number}")
    if devices is not None and not len(devices):
        raise ValueError("devices is empty: give one at least, or None for the default one")
    count = _lane_count(params)
    require_finite(params, "params")
    thresholds = _thresholds(stop, count)
    own, common, rest = _parted(loss, shared)
    for path, leaf in jax.tree_util.tree_leaves_with_path(own):
        if leaf.shape[:1] != (count,):
            where = jax.tree_util.keystr(path)
            raise ValueError(
                f"loss{where} has shape {leaf.shape}, without the leading axis of {count} lanes "
                "that params has; give arrays that all lanes share by `shared`"
            )

    single = jax.tree.map(lambda leaf: leaf[0], params)
    dtype = jax.eval_shape(lambda p: ravel_pytree(p)[0], single).dtype
    method = flow_method("rkc2", rtol, atol, dtype)
    if chunk is None:
        platform = (devices or jax.devices())[0].platform
        chunk = 1 if platform == "cpu" else ACCELERATOR_SLOTS
    ensemble = Ensemble(
        own=own,
        common=common,
        rest=rest,
        params=params,
        thresholds={name: values.astype(dtype) for name, values in thresholds.items()},
        rules=Rules(
            jnp.asarray(ts, dtype),
            jnp.asarray(method.rtol, dtype),
            jnp.asarray(method.atol, dtype),
            jnp.asarray(max_steps, jnp.int32),
        ),
        chunk=chunk,
        keep_params=keep_params,
        devices=() if devices is None else tuple(devices),
    )
    return dataclasses.replace(_run(ensemble), method=method.description)


def _lane_count(params: PyTree) -> int:
    counts = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(params):
        counts[jax.tree_util.keystr(path)] = jnp.shape(leaf)[0] if jnp.ndim(leaf) else 0
    if not counts or 0 in counts.values() or len(set(counts.values())) > 1:
        raise ValueError(
            f"params need one leading axis of lanes on all arrays; their first axes are {counts}"
        )
    return next(iter(counts.values()))


def _thresholds(stop: Any, count: int) -> dict[str, Array]:
    """The stop conditions, one number a lane."""
    if stop is None:
        return {}
    if isinstance(stop, Stop):
        if stop.wall_clock is not None:
            raise ValueError("stop: wall_clock cannot end a single lane; use gradient_flow for it")
        return {name: jnp.full(count, value) for name, value in stop.thresholds.items()}
    losses = jnp.asarray(stop, float)
    if losses.shape != (count,):
        raise ValueError(f"stop has shape {losses.shape}; give one loss for each of {count} lanes")
    require_finite(losses, "stop")
    return {"loss": losses}


def _parted(loss: Any, shared: Callable[[Any], PyTree] | None) -> tuple[PyTree, PyTree, PyTree]:
    """Of a loss the arrays of each lane, those that all share, and all else."""
    loss = jax.tree.map(lambda x: jnp.asarray(x) if isinstance(x, np.ndarray) else x, loss)
    arrays, rest = eqx.partition(loss, eqx.is_array)
    each = jax.tree.map(lambda _: True, arrays)
    if shared is not None:
        each = eqx.tree_at(
            shared, each, replace_fn=lambda node: jax.tree.map(lambda _: False, node)
        )
    own, common = eqx.partition(arrays, each)
    return own, common, rest


class Ensemble(eqx.Module):
    """What goes into the compiled program: numbers as arrays, so that new ones do not recompile."""

    own: PyTree
    common: PyTree
    rest: PyTree
    params: PyTree
    thresholds: dict[str, Array]
    rules: Rules
    chunk: int = eqx.field(static=True)
    keep_params: bool = eqx.field(static=True)
    devices: tuple[jax.Device, ...] = eqx.field(static=True)


@eqx.filter_jit
def _run(ensemble: Ensemble) -> Trajectory:
    unravel = ravel_pytree(jax.tree.map(lambda leaf: leaf[0], ensemble.params))[1]
    thetas = jax.vmap(lambda p: ravel_pytree(p)[0])(ensemble.params)

    def combine(own: PyTree, common: PyTree) -> Callable[[PyTree], Array]:
        return eqx.combine(own, common, ensemble.rest)

    def on_one_device(own, thetas, thresholds, waiting, common, rules):
        lanes = Lanes(own, common, thetas, thresholds, waiting[0], combine, unravel)
        slots = min(ensemble.chunk, thetas.shape[0])
        return run_through(lanes, rules, slots, ensemble.keep_params)

    rows = ensemble.own, thetas, ensemble.thresholds
    whole = ensemble.common, ensemble.rules
    if ensemble.devices:
        ledger = _dealt_out(on_one_device, ensemble.devices, rows, whole)
    else:
        waiting = jnp.full(1, thetas.shape[0], jnp.int32)
        ledger = on_one_device(*rows, waiting, *whole)
    return ensemble_trajectory(ledger, ensemble.rules.ts, thetas, unravel)


def _dealt_out(run: Callable, devices: tuple, rows: tuple, whole: tuple) -> Ledger:
    """Lane k on device k modulo their number: what is systematic along the lanes falls on all."""
    count, number = rows[1].shape[0], len(devices)
    most = -(-count // number)
    lanes = np.arange(most * number).reshape(most, number).T
    # Rows that are one too many repeat the last lane, and are not run.
    own = jax.tree.map(lambda leaf: leaf[np.minimum(lanes, count - 1).ravel()], rows)
    waiting = jnp.asarray((lanes < count).sum(axis=1), jnp.int32)
    split, everywhere = PartitionSpec("lanes"), PartitionSpec()
    ledger = jax.shard_map(
        run,
        mesh=Mesh(np.asarray(devices), ("lanes",)),
        in_specs=(split, split, split, split, everywhere, everywhere),
        out_specs=split,
        # There is no communication to be checked, and loops of different lengths.
        check_vma=False,
    )(*own, waiting, *whole)
    back = np.argsort(lanes.ravel())[:count]
    return jax.tree.map(lambda leaf: leaf[back], ledger)
