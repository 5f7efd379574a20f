"""Flows and online SGD on an accelerator: throughput against the number of lanes, and CPU's.

`flows`: the problem of `ensemble_flow` (lifts of 2 x 256 vertices, 400 samples, to t = 60, rtol
1e-5), all lanes under way at once, over numbers of lanes; `slots`: the largest number again, with
as many slots as `gradient_flows` takes by itself. `relative_difference`: of the ends, from those of
the same flows on the machine's CPU. `online`: the step of `online_sgd` over numbers of seeds.
`cpu`: the same flows and steps on the cores of the machine that holds the accelerator, one device a
core, in a process of its own; `--only-cpu` adds them to what is there. Each is compiled before it
is timed. What has been measured is written after every step: a run that is cut off keeps it.
"""

import argparse
import json
import os
import subprocess
import sys
import time

import jax
import numpy as np
from jax.flatten_util import ravel_pytree

import sparsejax as sj
from benchmarks import ensemble_flow, online_sgd, timing
from sparsejax.dynamics import fresh, gradient_flows, online_ensemble

FLOWS = {"float32": (1, 4, 16, 64, 256, 1024), "float64": (64, 256)}
SEEDS = {"float32": (1, 16, 64, 256, 1024), "float64": (16, 256)}
COMPARED = 8
CPU_FLOWS, CPU_SEEDS = 64, 64
STEPS = 500
PARTS = ("setting", "flows", "online", "slots")


def flows(lanes: int, **options):
    """A call that gives the ends of so many flows, one row each."""
    lifts, params, x, y = ensemble_flow.problem(lanes, ensemble_flow.SIZE)
    losses = sj.squared_loss(lifts.apply, x, y)
    t1 = ensemble_flow.T1

    def call():
        found = gradient_flows(
            losses,
            params,
            t1,
            saveat=np.array([0.0, t1]),
            rtol=ensemble_flow.RTOL,
            shared=lambda loss: loss.data,
            **options,
        )
        return jax.vmap(lambda end: ravel_pytree(end)[0])(jax.block_until_ready(found.end))

    return call


def online(seeds: int, dtype: str):
    """A call that trains so many seeds."""
    stream = fresh(online_sgd.sample, online_sgd.BATCH, dtype)
    keys = jax.random.split(jax.random.key(1), seeds)

    def call():
        runs = online_ensemble(
            online_sgd.build,
            stream,
            online_sgd.OPTIMIZER,
            STEPS,
            keys,
            record_every=100,
            dtype=dtype,
        )
        return jax.block_until_ready(runs.losses)

    return call


def seconds(call, repeats: int) -> dict[str, float]:
    """Of the first call, which compiles, and the median of the others."""
    began = time.perf_counter()
    call()
    first = time.perf_counter() - began
    times = []
    for _ in range(repeats):
        began = time.perf_counter()
        call()
        times.append(time.perf_counter() - began)
    return {"first": round(first, 2), "median": round(float(np.median(times)), 4)}


def measure_cpu(quick: bool) -> dict:
    """On all CPU devices of this process."""
    found: dict = {}
    for dtype in ("float32", "float64"):
        with jax.enable_x64(dtype == "float64"):
            lanes, seeds = (len(jax.devices()),) * 2 if quick else (CPU_FLOWS, CPU_SEEDS)
            taken = seconds(flows(lanes, chunk=1, devices=jax.devices()), 1)
            trained = seconds(online(seeds, dtype), 1)
        found[dtype] = {
            "devices": len(jax.devices()),
            "flows": {"lanes": lanes, "flows_a_second": round(lanes / taken["median"], 3)},
            "online": {
                "seeds": seeds,
                "seed_steps_a_second": round(seeds * STEPS / trained["median"]),
            },
        }
    return found


def cpu_in_process(quick: bool) -> dict:
    """`measure_cpu` where the CPU is all there is, one device a core."""
    cores = len(os.sched_getaffinity(0))
    flags = (
        f"--xla_force_host_platform_device_count={cores} --xla_cpu_multi_thread_eigen=false "
        "intra_op_parallelism_threads=1"
    )
    environment = os.environ | {"JAX_PLATFORMS": "cpu", "XLA_FLAGS": flags}
    command = [sys.executable, "-m", "benchmarks.accelerator", "--cpu"] + ["--quick"] * quick
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, text=True, check=True)
    return json.loads(done.stdout.splitlines()[-1])


def run(quick: bool) -> None:
    """All of it, written as it comes."""
    setting = {
        "size": f"2 x {ensemble_flow.SIZE}",
        "in_degree": ensemble_flow.IN_DEGREE,
        "samples": ensemble_flow.SAMPLES,
        "t1": ensemble_flow.T1,
        "rtol": ensemble_flow.RTOL,
        "online": "d = 100, width 128, batch 256",
        "matmul_precision": str(jax.config.jax_default_matmul_precision),
    }
    result: dict = {"setting": setting, "flows": {}, "online": {}}

    def keep(kind: str, dtype: str, count: int, name: str, found: dict) -> None:
        result[kind].setdefault(dtype, {})[str(count)] = found
        print(kind, dtype, count, name, found, file=sys.stderr, flush=True)
        timing.write("accelerator", result)

    for dtype, ladder in SEEDS.items():
        with jax.enable_x64(dtype == "float64"):
            for seeds in ladder[:1] if quick else ladder:
                taken = seconds(online(seeds, dtype), 2 if quick else 3)
                rate = {"seed_steps_a_second": round(seeds * STEPS / taken["median"])}
                keep("online", dtype, seeds, "seeds", taken | rate)
    for dtype, ladder in FLOWS.items():
        with jax.enable_x64(dtype == "float64"):
            for lanes in ladder[:1] if quick else ladder:
                taken = seconds(flows(lanes, chunk=lanes), 2)
                rate = {"flows_a_second": round(lanes / taken["median"], 3)}
                keep("flows", dtype, lanes, "lanes", taken | rate)
            compared = 1 if quick else COMPARED
            ends = np.asarray(flows(compared, chunk=compared)())
            there = np.asarray(flows(compared, chunk=1, devices=jax.devices("cpu"))())
            apart = np.linalg.norm(ends - there, axis=1) / np.linalg.norm(there, axis=1)
            result["flows"][dtype]["relative_difference"] = float(f"{apart.max():.2g}")
            result["flows"][dtype]["differing_rows"] = compared
    if not quick:
        lanes = FLOWS["float32"][-1]
        taken = seconds(flows(lanes), 1)
        rate = {"lanes": lanes, "flows_a_second": round(lanes / taken["median"], 3)}
        result["slots"] = taken | rate
        timing.write("accelerator", result)
    add_cpu(result, quick)


def add_cpu(result: dict, quick: bool) -> None:
    """The CPU's part, under the same file."""
    result["cpu"] = cpu_in_process(quick)
    timing.write("accelerator", result)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="few cells")
    parser.add_argument("--cpu", action="store_true", help="this process's CPUs only, to stdout")
    parser.add_argument("--only-cpu", action="store_true", help="add the CPU's part")
    options = parser.parse_args()
    if options.cpu:
        print(json.dumps(measure_cpu(options.quick)))
    elif options.only_cpu:
        there = json.loads((timing.RESULTS / "accelerator.json").read_text())
        add_cpu({key: there[key] for key in PARTS}, options.quick)
    else:
        run(options.quick)
