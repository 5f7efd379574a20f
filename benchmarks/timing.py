"""Interleaved timings, each thread count in a process of its own, written with their setting."""

import argparse
import importlib
import json
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

RESULTS = Path(__file__).parent / "results"

# Seconds of untimed calls before a timed one.
WARM_UP = 0.003


def interleaved(
    candidates: dict[str, Callable[[], object]], seconds: float = 2.0, least_rounds: int = 5
) -> dict[str, dict[str, float]]:
    """Microseconds a call: median and least of the wall clock, median of the CPU time.

    Candidates take turns, so that what else the machine does falls on all of them. A timed call
    follows untimed ones of the same candidate, several if they are short: after one that sweeps the
    caches, a kernel of 200 microseconds was back at its own speed with the fifth call.
    """
    import jax

    def warmed(call: Callable[[], object]) -> None:
        end = time.perf_counter() + WARM_UP
        jax.block_until_ready(call())
        while time.perf_counter() < end:
            jax.block_until_ready(call())

    for call in candidates.values():
        jax.block_until_ready(call())
    wall: dict[str, list[float]] = {name: [] for name in candidates}
    cpu: dict[str, list[float]] = {name: [] for name in candidates}
    start, rounds = time.perf_counter(), 0
    while rounds < least_rounds or (time.perf_counter() - start < seconds and rounds < 100):
        rounds += 1
        for name, call in candidates.items():
            warmed(call)
            began, used = time.perf_counter(), time.process_time()
            jax.block_until_ready(call())
            wall[name].append(1e6 * (time.perf_counter() - began))
            cpu[name].append(1e6 * (time.process_time() - used))
    return {
        name: {
            "median": round(statistics.median(wall[name]), 1),
            "least": round(min(wall[name]), 1),
            "cpu_median": round(statistics.median(cpu[name]), 1),
        }
        for name in candidates
    }


def ratios(times: dict[str, dict[str, float]], name: str) -> dict[str, dict[str, float]]:
    """`name` over every other candidate, by each statistic."""
    return {
        other: {
            statistic: round(times[name][statistic] / value, 4) for statistic, value in t.items()
        }
        for other, t in times.items()
        if other != name
    }


def temporaries(compiled_of, *arguments) -> int:
    """Bytes of temporary buffers of a jitted function at these arguments."""
    return compiled_of.lower(*arguments).compile().memory_analysis().temp_size_in_bytes


def in_processes(module: str, quick: bool, threads: tuple[int, ...] = (1, 2)) -> dict:
    """`module.measure(quick)` with each number of threads: XLA reads it when it starts."""
    counts = [count for count in threads if count <= (os.cpu_count() or 1)]
    return {str(count): _in_process(module, quick, count) for count in counts}


def _in_process(module: str, quick: bool, threads: int) -> dict:
    environment = os.environ | {
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        "JAX_PLATFORMS": os.environ.get("JAX_PLATFORMS", "cpu"),
    }
    if threads == 1:
        flags = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
        environment["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} {flags}".strip()
    command = [sys.executable, "-m", module, "--measure", "--threads", str(threads)]
    done = subprocess.run(
        command + ["--quick"] * quick,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    return json.loads(done.stdout.splitlines()[-1])


def main(module: str, docstring: str | None) -> None:
    """The command line of a benchmark: run it and write its JSON, or print one measurement."""
    parser = argparse.ArgumentParser(prog=f"python -m {module}", description=docstring)
    parser.add_argument("--quick", action="store_true", help="fewer cells, a minute at most")
    parser.add_argument("--measure", action="store_true", help="this process only, to stdout")
    parser.add_argument("--threads", type=int, default=0, help="pin to so many cores")
    options = parser.parse_args()
    benchmark = importlib.import_module(module)
    if not options.measure:
        write(module.rsplit(".", 1)[-1], benchmark.run(options.quick))
        return
    if options.threads and hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[-options.threads :])
    print(json.dumps(benchmark.measure(options.quick)))


def write(name: str, result: dict) -> Path:
    """The result with versions, device, precision and date, as `results/<name>.json`."""
    from sparsejax.runs.environment import current_environment

    RESULTS.mkdir(exist_ok=True)
    path = RESULTS / f"{name}.json"
    setting = current_environment() | {"load_average": os.getloadavg(), "cores": os.cpu_count()}
    content = {"benchmark": name, "environment": setting, **result}
    path.write_text(json.dumps(content, indent=1) + "\n")
    print(f"wrote {path}", file=sys.stderr)
    return path
