"""Times of one of neural-tangents' kernels, in its own environment: run by `tangent_kernel` alone.

`python neural_tangents_kernel.py FOLDER traced|full IMPLEMENTATION` reads `given.npz`, prints JSON
and writes `kernel.npy`. Imports nothing of this package, which needs a JAX that neural-tangents
does not run on.
"""

import json
import statistics
import sys
import time
import types
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

# It needs packages for nothing that is used here.
sys.modules["neural_tangents.experimental"] = types.ModuleType("neural_tangents.experimental")

import neural_tangents as nt  # noqa: E402


def main(folder: Path, kept: str, name: str) -> None:
    given = {name: jnp.asarray(a) for name, a in np.load(folder / "given.npz").items()}
    x, predecessors = given.pop("x"), given.pop("predecessors")
    # Slices of parameters have no rule among the structured derivatives: none inside the network.
    shapes = {"x_h1": (-1, x.shape[1]), "one_h1": (-1,), "h1_h2": predecessors.shape}
    shapes |= {"one_h2": (-1,), "h2_y": (given["h2_y"].shape[0], -1), "one_y": (-1,)}
    given = {name: given[name].reshape(shape) for name, shape in shapes.items()}

    def network(p, x):
        h = jnp.tanh(x @ p["x_h1"].T + p["one_h1"])
        z = jnp.einsum("kv,nkv->nv", p["h1_h2"], jnp.take(h, predecessors, axis=1))
        h = jnp.tanh(z + p["one_h2"])
        return h @ p["h2_y"] + p["one_y"]

    f = nt.empirical_ntk_fn(
        network,
        trace_axes=(-1,) if kept == "traced" else (),
        # Samples do not mix: without this, no implementation uses it.
        vmap_axes=0,
        implementation=nt.NtkImplementation[name],
    )
    compiled = jax.jit(lambda p, x: f(x, None, p)).lower(given, x).compile()
    kernel = jax.block_until_ready(compiled(given, x))
    wall, cpu, start = [], [], time.perf_counter()
    while len(wall) < 5 or (time.perf_counter() - start < 5 and len(wall) < 100):
        began, used = time.perf_counter(), time.process_time()
        jax.block_until_ready(compiled(given, x))
        wall.append(1e6 * (time.perf_counter() - began))
        cpu.append(1e6 * (time.process_time() - used))
    np.save(folder / "kernel.npy", np.asarray(kernel))
    times = {
        "median": statistics.median(wall),
        "least": min(wall),
        "cpu_median": statistics.median(cpu),
    }
    print(json.dumps(times))


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2], sys.argv[3])
