"""One sparse product, forward and with both gradients, against its baselines."""

import os

import jax

from benchmarks import baselines, timing

# What a candidate may hold at once; cells of a baseline beyond it are skipped and say so.
MOST_BYTES = 2e9


def cells(quick: bool) -> list[tuple[int, int, int]]:
    """`(n, in-degree, batch)`."""
    if quick:
        return [(4096, 16, 32), (4096, 16, 256)]
    return [
        (n, k, batch)
        for n in (256, 1024, 4096, 16384, 65536)
        for k in (4, 16, 64)
        for batch in (1, 32, 256)
    ]


def measure(quick: bool) -> dict:
    threads = int(os.environ.get("OMP_NUM_THREADS", "1"))
    return {"cells": [_cell(*cell, threads, 2.0 if quick else 1.0) for cell in cells(quick)]}


def _cell(n: int, k: int, batch: int, threads: int, seconds: float) -> dict:
    wiring, weights, y, cotangent = baselines.problem(n, k, batch)
    inputs = {"slots": (baselines.slots, weights, wiring)}
    skipped = []
    if 3 * 4.0 * n * k * batch <= MOST_BYTES:
        inputs["gather_einsum"] = (baselines.gather_einsum, weights, wiring)
        inputs["bcoo"] = (baselines.bcoo, *baselines.bcoo_arguments(wiring, weights))
    else:
        skipped += ["gather_einsum", "bcoo"]
    # A product with a full matrix of 16384 or more takes seconds: its place in the table is clear.
    if n <= 4096:
        inputs["masked_dense"] = (
            baselines.masked_dense,
            *baselines.dense_arguments(wiring, weights),
        )
    else:
        skipped.append("masked_dense")
    forward, gradients, bytes_used = {}, {}, {"forward": {}, "gradients": {}}
    for name, (product, values, wires) in inputs.items():
        value, both = jax.jit(product), baselines.value_and_gradients(product)
        bytes_used["forward"][name] = timing.temporaries(value, values, y, wires)
        bytes_used["gradients"][name] = timing.temporaries(both, values, y, cotangent, wires)
        forward[name] = lambda f=value, v=values, w=wires: f(v, y, w)
        gradients[name] = lambda f=both, v=values, w=wires: f(v, y, cotangent, w)
    torch = baselines.torch_csr(wiring, weights, y, cotangent, threads)
    if torch is None:
        skipped.append("torch")
    else:
        forward["torch"] = torch["forward"]
        gradients["torch_sampled"] = torch["gradients, sampled"]
        if 3 * 4.0 * n * k * batch <= MOST_BYTES:
            gradients["torch_gathered"] = torch["gradients, gathered"]
    cell = {"n": n, "in_degree": k, "batch": batch, "temporary_bytes": bytes_used}
    for what, candidates in (("forward", forward), ("gradients", gradients)):
        times = timing.interleaved(candidates, seconds * len(candidates), 5 if n <= 4096 else 3)
        cell[what] = {"microseconds": times, "slots_over": timing.ratios(times, "slots")}
    return cell | {"skipped": skipped}


def run(quick: bool = False) -> dict:
    """The table, for one and two threads."""
    return {"threads": timing.in_processes("benchmarks.sparse_product", quick)}


if __name__ == "__main__":
    timing.main("benchmarks.sparse_product", __doc__)
