"""Matrix weights of c x c entries: entry by entry, or gathered blocks and one batched product."""

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import baselines, timing
from sparsejax.lifts.entry_wiring import entry_product
from sparsejax.lifts.sparse_product import spread


def blocks(weights, y, wiring):
    return jnp.einsum("kvoi,kvib->vob", weights, spread(y, wiring))


def measure(quick: bool) -> dict:
    rows = []
    n, batch = 1024, 64
    for in_degree in (4, 16):
        for c in (2, 4, 8) if quick else (2, 4, 8, 12, 16):
            wiring, *_ = baselines.problem(n, in_degree, 1)
            random = np.random.default_rng(0)
            weights = jnp.asarray(random.normal(size=(in_degree, n, c, c)), jnp.float32)
            y, cotangent = (
                jnp.asarray(random.normal(size=(n, c, batch)), jnp.float32) for _ in range(2)
            )
            row: dict = {"n": n, "in_degree": in_degree, "batch": batch, "channels": c}
            for what in ("forward", "gradients"):
                candidates = {}
                for name, product in (("entries", entry_product), ("blocks", blocks)):
                    if what == "forward":
                        f, a = jax.jit(product), (weights, y, wiring)
                    else:
                        f = baselines.value_and_gradients(product)
                        a = (weights, y, cotangent, wiring)
                    candidates[name] = lambda f=f, a=a: f(*a)
                times = timing.interleaved(candidates, 0.5 if quick else 2.0, 3)
                row[what] = timing.ratios(times, "entries")["blocks"]
            rows.append(row)
    return {"entries_over_blocks": rows}


def run(quick: bool = False) -> dict:
    """Ratios by number of channels, one thread."""
    return {"threads": timing.in_processes("benchmarks.channels", quick, (1,))}


if __name__ == "__main__":
    timing.main("benchmarks.channels", __doc__)
