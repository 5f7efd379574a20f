"""Sixteen networks of their own wirings: one union, `vmap`, `lax.map`, BCOO, in single networks.

Each network has three tanh layers of in-degree 16 between vertices of one size; timed are ten steps
of gradient descent in a scan, on a loss at 64 samples. Sizes are chosen so that all activations of
the ensemble fit the cache of a core, or those of a single network only.
"""

import jax
import jax.numpy as jnp

import sparsejax as sj
from benchmarks import baselines, timing
from sparsejax.lifts import disjoint_union, join_params

MEMBERS, SIZES, IN_DEGREE, BATCH, INPUTS, STEPS = 16, (64, 256, 1024), 16, 64, 8, 10


def measure(quick: bool) -> dict:
    sizes = SIZES[-1:] if quick else SIZES
    return {"sizes": {str(n): _ensemble(n, 3.0 if quick else 15.0) for n in sizes}}


def _ensemble(n: int, seconds: float) -> dict:
    module = sj.graphs.mlp(inputs=INPUTS, hidden=4, outputs=1)
    keys = jax.random.split(jax.random.key(0), MEMBERS)

    def draw(key):
        return sj.random_sparse_lift(key, module, n, IN_DEGREE, law="regular")

    lifts = [draw(key) for key in keys]
    params = [lift.init(key, dtype=jnp.float32) for lift, key in zip(lifts, keys, strict=True)]
    x = jax.random.normal(keys[0], (BATCH, INPUTS), jnp.float32)

    def descent(params, lift):
        return _steps(lambda p: jnp.sum(lift.apply(p, x) ** 2) / BATCH, params)

    one = jax.jit(descent)
    union, joined = disjoint_union(lifts), join_params(lifts, params)
    stacked_lift = jax.jit(jax.vmap(draw))(keys)
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *params)
    side_by_side = jax.jit(jax.vmap(descent))
    in_turn = jax.jit(lambda p, lift: jax.lax.map(lambda each: descent(*each), (p, lift)))
    candidates = {
        "single": lambda: one(params[0], lifts[0]),
        "one_by_one": lambda: [one(p, lift) for p, lift in zip(params, lifts, strict=True)],
        "union": lambda: one(joined, union),
        "vmap": lambda: side_by_side(stacked, stacked_lift),
        "map": lambda: in_turn(stacked, stacked_lift),
        "bcoo_one_by_one": _bcoo(lifts, params, x),
    }
    times = timing.interleaved(candidates, seconds)
    singles = {
        name: {s: round(t / times["single"][s], 2) for s, t in statistics.items()}
        for name, statistics in times.items()
    }
    return {"microseconds": times, "single_networks": singles}


def _steps(loss, params):
    def step(params, _):
        gradient = jax.grad(loss)(params)
        return jax.tree.map(lambda w, g: w - 0.001 * g, params, gradient), None

    return jax.lax.scan(step, params, None, length=STEPS)[0]


def _bcoo(lifts, params, x):
    """The same networks, one after the other, with BCOO for the three sparse layers."""
    layers = ["h1->h2", "h2->h3", "h3->h4"]

    def loss(p, indices):
        h = jnp.tanh(p["x->h1"][0] @ x.T + p["one->h1"][0][:, None])
        for name in layers:
            bias = p["one->" + name.split("->")[1]][0][:, None]
            h = jnp.tanh(baselines.bcoo(p[name], h, indices[name]) + bias)
        return jnp.sum((p["h4->y"][:, 0, 0] @ h + p["one->y"][0, 0]) ** 2) / BATCH

    descent = jax.jit(lambda p, indices: _steps(lambda p: loss(p, indices), p))
    arguments = []
    for lift, p in zip(lifts, params, strict=True):
        converted, indices = dict(p), {}
        for name in layers:
            converted[name], indices[name] = baselines.bcoo_arguments(lift.wirings[name], p[name])
        arguments.append((converted, indices))
    return lambda: [descent(*a) for a in arguments]


def run(quick: bool = False) -> dict:
    """One union against its rivals, one thread."""
    setting = {"members": MEMBERS, "in_degree": IN_DEGREE, "batch": BATCH, "steps": STEPS}
    return {"setting": setting, "threads": timing.in_processes("benchmarks.ensemble", quick, (1,))}


if __name__ == "__main__":
    timing.main("benchmarks.ensemble", __doc__)
