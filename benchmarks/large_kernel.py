"""A kernel of 5,000 samples and a million parameters, in chunks: seconds and peak memory.

`python -m benchmarks.large_kernel` writes `results/large_kernel.json`; `--quick` takes a tenth of
both. The Jacobian alone would take 20 GB in float32.
"""

import resource
import time

import jax
import jax.numpy as jnp

from benchmarks import timing
from sparsejax import graphs, ntk, random_sparse_lift
from sparsejax.tangent import ntk_method

SAMPLES, CHUNK, WIDTH, DENSE_WIDTH = 5000, 250, 23_400, 970


def perceptron(params, x):
    """A dense network that is no lift: its kernel goes through Jacobians."""
    h = jnp.tanh(x @ params["w1"])
    h = jnp.tanh(h @ params["w2"])
    return h @ params["w3"]


def networks(scale: int) -> dict:
    """Functions with their parameters, about a million of them."""
    module = graphs.mlp(inputs=32, hidden=2, outputs=1)
    lift = random_sparse_lift(jax.random.key(0), module, WIDTH // scale, 8, law="regular")
    width = int(DENSE_WIDTH / scale**0.5)
    shapes = {"w1": (32, width), "w2": (width, width), "w3": (width, 1)}
    dense = {
        name: jax.random.normal(jax.random.key(i), shape) / shape[0] ** 0.5
        for i, (name, shape) in enumerate(shapes.items())
    }
    return {
        "sparse lift": (lift.apply, lift.init(jax.random.key(1))),
        "dense function": (perceptron, dense),
    }


def measure(quick: bool) -> dict:
    """Each kernel once, compilation included: memory first, since the peak only rises."""
    scale = 10 if quick else 1
    samples = SAMPLES // scale
    x = jax.random.normal(jax.random.key(2), (samples, 32))
    rows = []
    for name, (f, params) in networks(scale).items():
        before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        began = time.perf_counter()
        kernel = jax.block_until_ready(ntk(f, params, x, chunk=CHUNK))
        row = {
            "network": name,
            "samples": samples,
            "parameters": sum(leaf.size for leaf in jax.tree.leaves(params)),
            "chunk": CHUNK,
            "method": ntk_method(f, params, x).method,
            "seconds": round(time.perf_counter() - began, 1),
            "kernel_bytes": kernel.nbytes,
            "peak_bytes_before": 1024 * before,
            "peak_bytes": 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss,
        }
        print(row, flush=True)
        rows.append(row)
    return {"rows": rows}


def run(quick: bool = False) -> dict:
    """In a process of its own, on one thread."""
    return {"threads": timing.in_processes("benchmarks.large_kernel", quick, (1,))}


if __name__ == "__main__":
    timing.main("benchmarks.large_kernel", __doc__)
