"""Seconds a flow, of many flows at once and one by one: lifts of 2 x 256 vertices to t = 60.

The problem of `gradient_flow`: 400 samples, in-degree 6, rtol 1e-5; 64 lifts of their own wirings
and parameters, saved at both ends. All candidates are compiled before they are timed.

`one_by_one`: a Python loop over `gradient_flow`, one program for all lifts; `vmap` of it; `tsit5`:
the loop with diffrax's Tsit5; `union`: the disjoint union as one flow; these three on a few lifts.
`chunk_N`: `gradient_flows` with N slots, on one device; `devices`: with one slot on each of two or
eight CPU devices of a thread each, which needs a process of its own: JAX fixes their number when it
starts. Threads are those that XLA may use within a device.
`relative_difference`: of the ends, from those of the loop.
"""

import os
import statistics
import time

import jax
import jax.numpy as jnp
import numpy as np
from jax.flatten_util import ravel_pytree

import sparsejax as sj
from benchmarks import timing
from sparsejax.dynamics import gradient_flows
from sparsejax.lifts import disjoint_union, join_params

SIZE, IN_DEGREE, SAMPLES, T1, RTOL = 256, 6, 400, 60.0, 1e-5
LANES, FEW, TINY = 64, 4, 16


def problem(lanes: int, size: int):
    """Lifts with a leading axis, their parameters, and the data that they share."""
    keys = jax.random.split(jax.random.key(0), lanes + 1)
    x = jax.random.uniform(keys[0], (SAMPLES, 8), minval=-1.0, maxval=1.0)
    y = (jnp.tanh(2 * x[:, 0] * x[:, 1]) * jnp.tanh(2 * x[:, 2] * x[:, 3]))[:, None]
    module = sj.graphs.mlp(inputs=8, hidden=2, outputs=1, activation="tanh", input_as="coordinates")
    sampled = {"x->h1": IN_DEGREE, "h1->h2": IN_DEGREE}

    def draw(key):
        wires, weights = jax.random.split(key)
        lift = sj.random_sparse_lift(wires, module, size, sampled, law="regular")
        gains = dict.fromkeys(sampled, 1.5)
        return lift, lift.init(weights, gain=gains, bias_scale=0.5, zero_outputs=True)

    lifts, params = jax.jit(jax.vmap(draw))(keys[1:])
    return lifts, params, x, y


def row(tree, k):
    return jax.tree.map(lambda leaf: leaf[k], tree)


def candidates(lanes: int, size: int, chunks: tuple[int, ...], every: bool) -> dict:
    """Name to (number of flows, a call that gives their ends, one row each)."""
    lifts, params, x, y = problem(lanes, size)
    ts = np.array([0.0, T1])
    few = min(FEW, lanes)
    losses = sj.squared_loss(lifts.apply, x, y)

    def vector(tree):
        return ravel_pytree(tree)[0]

    def loop(number, solver):
        ends = []
        for k in range(number):
            loss = sj.squared_loss(row(lifts, k).apply, x, y)
            flow = sj.gradient_flow(loss, row(params, k), T1, saveat=ts, rtol=RTOL, solver=solver)
            ends.append(flow.end)
        return jnp.stack([vector(end) for end in jax.block_until_ready(ends)])

    def flows(**options):
        flows = gradient_flows(
            losses,
            params,
            T1,
            saveat=ts,
            rtol=RTOL,
            shared=lambda loss: loss.data,
            **options,
        )
        return jax.vmap(vector)(jax.block_until_ready(flows.end))

    def of_lane(lift, params):
        loss = sj.squared_loss(lift.apply, x, y)
        return sj.gradient_flow(loss, params, T1, saveat=ts, rtol=RTOL, solver="rkc2").end

    side_by_side = jax.jit(jax.vmap(of_lane))

    def union():
        members = [row(lifts, k) for k in range(few)]
        joined = disjoint_union(members)
        start = join_params(members, [row(params, k) for k in range(few)])
        # The sum of the members' losses: their flows, with one step size for all.
        loss = jax.tree_util.Partial(_sum_of_losses, joined.apply, x, y)
        flow = sj.gradient_flow(loss, start, T1, saveat=ts, rtol=RTOL, solver="rkc2")
        return jax.block_until_ready(flow.losses)

    if len(jax.devices()) > 1:
        return {"devices": (lanes, lambda: flows(chunk=1, devices=jax.devices()))}
    found = {"one_by_one": (lanes, lambda: loop(lanes, "rkc2"))}
    found |= {f"chunk_{n}": (lanes, lambda n=n: flows(chunk=n)) for n in chunks}
    if every:
        found["tsit5"] = (1, lambda: loop(1, "tsit5"))
        some = row(lifts, slice(few)), row(params, slice(few))
        found["vmap"] = (few, lambda: jax.vmap(vector)(side_by_side(*some)))
        found["union"] = (few, union)
    return found


def _sum_of_losses(apply, x, y, params):
    # Outputs are (samples, members, 1).
    return jnp.sum(jnp.square(apply(params, x) - y[:, None])) / x.shape[0]


def timed(found: dict, repeats: int) -> dict:
    """Seconds a flow, wall clock and CPU, interleaved, and how far ends are from the loop's."""
    ends = {name: jax.block_until_ready(call()) for name, (_, call) in found.items()}
    wall: dict[str, list[float]] = {name: [] for name in found}
    cpu: dict[str, list[float]] = {name: [] for name in found}
    for _ in range(repeats):
        for name, (number, call) in found.items():
            began, used = time.perf_counter(), time.process_time()
            jax.block_until_ready(call())
            wall[name].append((time.perf_counter() - began) / number)
            cpu[name].append((time.process_time() - used) / number)
    result = {}
    for name, (number, _) in found.items():
        result[name] = {
            "flows": number,
            "seconds_a_flow": round(statistics.median(wall[name]), 4),
            "least": round(min(wall[name]), 4),
            "cpu_seconds_a_flow": round(statistics.median(cpu[name]), 4),
        }
        reference = ends.get("one_by_one")
        if reference is not None and ends[name].shape[1:] == reference.shape[1:]:
            there = reference[: ends[name].shape[0]]
            apart = jnp.linalg.norm(ends[name] - there, axis=1) / jnp.linalg.norm(there, axis=1)
            result[name]["relative_difference"] = float(f"{float(apart.max()):.2g}")
    return result


def measure(quick: bool) -> dict:
    """On the devices that this process has."""
    lanes, repeats = (4, 1) if quick else (LANES, 3)
    alone = len(jax.devices()) == 1
    found = {}
    for x64 in (False,) if quick else (False, True):
        with jax.enable_x64(x64):
            name = "float64" if x64 else "float32"
            main = candidates(lanes, SIZE, (), every=False)
            found[name] = {f"2 x {SIZE}": timed(main, repeats)}
            if not alone:
                continue
            if not quick and not x64:
                # What is slower by far, on fewer lifts.
                slow = candidates(FEW, SIZE, (1, FEW), every=True)
                del slow["one_by_one"]
                found[name][f"2 x {SIZE}, few lifts"] = timed(slow, 1)
            tiny = candidates(lanes, TINY, (1, 4) if quick else (1, 4, 16, 64), every=False)
            found[name][f"2 x {TINY}"] = timed(tiny, repeats)
    return found


def run(quick: bool = False) -> dict:
    """On one device with both threads, and on one, two and eight devices of a thread each."""
    setting = {"lanes": LANES, "in_degree": IN_DEGREE, "samples": SAMPLES, "t1": T1, "rtol": RTOL}
    one = timing.in_processes("benchmarks.ensemble_flow", quick, (2,))["2"]
    before = os.environ.get("XLA_FLAGS", "")
    flags = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    devices = {}
    for number in (2,) if quick else (2, 8):
        count = f"--xla_force_host_platform_device_count={number}"
        os.environ["XLA_FLAGS"] = f"{count} {flags} {before}"
        devices[str(number)] = timing.in_processes("benchmarks.ensemble_flow", quick, (2,))["2"]
    os.environ["XLA_FLAGS"] = before
    return {"setting": setting, "one_device": one, "devices": devices}


if __name__ == "__main__":
    timing.main("benchmarks.ensemble_flow", __doc__)
