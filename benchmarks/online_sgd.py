"""An online-SGD step of a two-layer network against the matrix products in it; 16 seeds against 1.

d = 100, width 128, batch 256, ReLU, fresh points of the cube each step. `products`: the four matrix
products of a step (two forward, two of the gradient) in a scan, with no more around them than keeps
the compiler from leaving them out. `step`: `online_ensemble`, one seed, which also draws the data,
evaluates target and loss, and updates. `seeds`: the same for 16 seeds, against one over a fifth of
the steps; numbers are microseconds a step, of all seeds together. Processes: one CPU device
with one thread; two devices of a thread each, as the command line starts; one device with both.
"""

import os

import jax
import jax.numpy as jnp
import numpy as np
import optax

from benchmarks import timing
from sparsejax.dynamics import fresh, online_ensemble

DIMS, WIDTH, BATCH, SEEDS = 100, 128, 256, 16
OPTIMIZER = optax.sgd(0.05)


def sample(key, n, dtype):
    """`z1 + z1 z2 + z1 z2 z3` on the cube; a random word gives 32 coordinates."""
    words = jax.random.bits(key, (n, -(-DIMS // 32)), jnp.uint32)
    bits = (words[:, :, None] >> jnp.arange(32, dtype=jnp.uint32)) & jnp.uint32(1)
    x = 1 - 2 * bits.reshape(n, -1)[:, :DIMS].astype(dtype)
    return x, (x[:, 0] * (1 + x[:, 1] * (1 + x[:, 2])))[:, None]


def network(params, x):
    w, b, a = params
    return jax.nn.relu(x @ w + b[None]) @ a


def build(key):
    keys = jax.random.split(key, 3)
    w = jax.random.normal(keys[0], (DIMS, WIDTH)) / np.sqrt(DIMS)
    b = jax.random.uniform(keys[1], (WIDTH,), minval=-1.0)
    a = jax.random.uniform(keys[2], (WIDTH, 1), minval=-0.1, maxval=0.1) / np.sqrt(WIDTH)
    return network, (w, b, a)


def products(steps: int, dtype):
    """`steps` times the products of a step, each of them on what the one before gave."""
    keys = jax.random.split(jax.random.key(0), 3)
    x = jax.random.normal(keys[0], (BATCH, DIMS), dtype)
    w = jax.random.normal(keys[1], (DIMS, WIDTH), dtype)
    a = jax.random.normal(keys[2], (WIDTH, 1), dtype)

    @jax.jit
    def run(x, w, a):
        def step(carry, _):
            w, a = carry
            hidden = x @ w
            outputs = hidden @ a
            to_a = hidden.T @ outputs
            to_w = x.T @ hidden
            # Kept small, and so finite.
            return (1e-9 * to_w, 1e-9 * to_a + 1), None

        return jax.lax.scan(step, (w, a), length=steps)[0]

    return lambda: run(x, w, a)


def measure(quick: bool) -> dict:
    """On the devices that this process has."""
    steps = 500
    # Sixteen seeds take long.
    fewer = steps // 5
    keys = jax.random.split(jax.random.key(1), SEEDS)
    found = {}
    for dtype in ("float32", "float64"):
        with jax.enable_x64(dtype == "float64"):
            stream = fresh(sample, BATCH, dtype)

            def runs(count, steps, stream=stream, dtype=dtype):
                ends = online_ensemble(
                    build, stream, OPTIMIZER, steps, keys[:count], record_every=100, dtype=dtype
                )
                return ends.losses

            pair = {
                "products": products(steps, dtype),
                "step": lambda runs=runs: runs(1, steps),
            }
            times = timing.interleaved(pair, 0.0, 3 if quick else 9)
            both = {
                "step": lambda runs=runs: runs(1, fewer),
                "seeds": lambda runs=runs: runs(SEEDS, fewer),
            }
            seeds = timing.interleaved(both, 0.0, 3 if quick else 7)
        over = timing.ratios(times, "step")["products"]
        ratio = timing.ratios(seeds, "seeds")["step"]

        def a_step(times, steps):
            return {kind: round(value / steps, 2) for kind, value in times.items()}

        times = {name: a_step(t, steps) for name, t in times.items()}
        times |= {"seeds": a_step(seeds["seeds"], fewer)}
        found[dtype] = {
            "microseconds_a_step": times,
            "step_over_products": over,
            "seeds_over_step": {kind: round(value, 2) for kind, value in ratio.items()},
        }
    return found


def run(quick: bool = False) -> dict:
    """On one device of one thread, two of one thread each, and one of two."""
    setting = {"dims": DIMS, "width": WIDTH, "batch": BATCH, "seeds": SEEDS}
    found = timing.in_processes("benchmarks.online_sgd", quick, (1, 2))
    before = os.environ.get("XLA_FLAGS", "")
    flags = "--xla_cpu_multi_thread_eigen=false intra_op_parallelism_threads=1"
    os.environ["XLA_FLAGS"] = f"--xla_force_host_platform_device_count=2 {flags} {before}"
    devices = timing.in_processes("benchmarks.online_sgd", quick, (2,))["2"]
    os.environ["XLA_FLAGS"] = before
    return {"setting": setting, "one_device": found, "two_devices": devices}


if __name__ == "__main__":
    timing.main("benchmarks.online_sgd", __doc__)
