"""Drawing a lift with 65,536 vertices a layer and in-degree 16: first call, then new keys."""

import resource
import time

import jax

import sparsejax as sj
from benchmarks import timing

N, IN_DEGREE = 65536, 16


def measure(quick: bool) -> dict:
    module = sj.graphs.mlp(inputs=8, hidden=2, outputs=1)
    seconds: dict[str, list[float]] = {"regular": [], "binomial": []}
    for law, taken in seconds.items():
        for seed in range(3 if quick else 8):
            began = time.perf_counter()
            lift = sj.random_sparse_lift(jax.random.key(seed), module, N, IN_DEGREE, law=law)
            jax.block_until_ready(lift.wirings)
            taken.append(round(time.perf_counter() - began, 4))
    return {
        "seconds": {
            law: {"first_call": taken[0], "later_calls": taken[1:], "least": min(taken[1:])}
            for law, taken in seconds.items()
        },
        # An n x n array of bytes alone would be 4.3 GB.
        "peak_resident_kb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
    }


def run(quick: bool = False) -> dict:
    """Both laws, in one process with all cores."""
    return {
        "n": N,
        "in_degree": IN_DEGREE,
        "threads": timing.in_processes("benchmarks.sampling", quick, (2,)),
    }


if __name__ == "__main__":
    timing.main("benchmarks.sampling", __doc__)
