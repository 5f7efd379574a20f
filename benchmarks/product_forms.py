"""Where the product with the densified matrix overtakes the gathers; sets `DENSE_FROM`."""

from functools import partial

import jax

from benchmarks import baselines, timing
from sparsejax.lifts.product_form import wired_product


def measure(quick: bool) -> dict:
    rows = []
    for n in (256, 1024) if quick else (256, 1024, 2048):
        for density in (0.1, 0.25, 0.4, 0.6):
            for batch in (8, 64) if quick else (1, 8, 64, 256):
                k = int(density * n)
                wiring, weights, y, cotangent = baselines.problem(n, k, batch)
                forward, gradients = {}, {}
                for form in ("slots", "dense"):
                    product = partial(wired_product, form=form)
                    value, both = jax.jit(product), baselines.value_and_gradients(product)
                    forward[form] = lambda f=value, a=(weights, y, wiring): f(*a)
                    gradients[form] = lambda f=both, a=(weights, y, cotangent, wiring): f(*a)
                row = {"n": n, "density": density, "batch": batch}
                for what, candidates in (("forward", forward), ("gradients", gradients)):
                    times = timing.interleaved(candidates, 0.3 if quick else 1.5, 3)
                    row[what] = timing.ratios(times, "slots")["dense"]
                rows.append(row)
    return {"slots_over_dense": rows}


def run(quick: bool = False) -> dict:
    """Ratios by size, density and batch, one thread."""
    return {"threads": timing.in_processes("benchmarks.product_forms", quick, (1,))}


if __name__ == "__main__":
    timing.main("benchmarks.product_forms", __doc__)
