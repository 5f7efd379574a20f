"""Sixteen networks of their own wirings: one union, `vmap`, BCOO, in units of a single network.

Each network has three tanh layers of 1024 vertices of in-degree 16; timed are value and gradient of
a loss at 64 samples.
"""

import jax
import jax.numpy as jnp

import sparsejax as sj
from benchmarks import baselines, timing
from sparsejax.lifts import disjoint_union, join_params

MEMBERS, N, IN_DEGREE, BATCH, INPUTS = 16, 1024, 16, 64, 8


def measure(quick: bool) -> dict:
    module = sj.graphs.mlp(inputs=INPUTS, hidden=4, outputs=1)
    keys = jax.random.split(jax.random.key(0), MEMBERS)

    def draw(key):
        return sj.random_sparse_lift(key, module, N, IN_DEGREE, law="regular")

    lifts = [draw(key) for key in keys]
    params = [lift.init(key, dtype=jnp.float32) for lift, key in zip(lifts, keys, strict=True)]
    x = jax.random.normal(keys[0], (BATCH, INPUTS), jnp.float32)

    def loss(params, lift):
        return jnp.sum(lift.apply(params, x) ** 2) / BATCH

    gradient = jax.jit(jax.value_and_grad(loss))
    union, joined = disjoint_union(lifts), join_params(lifts, params)
    stacked_lift = jax.jit(jax.vmap(draw))(keys)
    stacked = jax.tree.map(lambda *leaves: jnp.stack(leaves), *params)
    over_lifts = jax.jit(jax.vmap(jax.value_and_grad(loss)))
    candidates = {
        "single": lambda: gradient(params[0], lifts[0]),
        "one_by_one": lambda: [gradient(p, lift) for p, lift in zip(params, lifts, strict=True)],
        "union": lambda: gradient(joined, union),
        "vmap": lambda: over_lifts(stacked, stacked_lift),
        "bcoo_one_by_one": _bcoo(lifts, params, x),
    }
    times = timing.interleaved(candidates, 5.0 if quick else 25.0)
    singles = {
        name: {s: round(t / times["single"][s], 2) for s, t in statistics.items()}
        for name, statistics in times.items()
    }
    return {"microseconds": times, "single_networks": singles}


def _bcoo(lifts, params, x):
    """The same networks, one after the other, with BCOO for the three sparse layers."""
    layers = ["h1->h2", "h2->h3", "h3->h4"]

    def loss(p, indices):
        h = jnp.tanh(p["x->h1"][0] @ x.T + p["one->h1"][0][:, None])
        for name in layers:
            bias = p["one->" + name.split("->")[1]][0][:, None]
            h = jnp.tanh(baselines.bcoo(p[name], h, indices[name]) + bias)
        return jnp.sum((p["h4->y"][:, 0, 0] @ h + p["one->y"][0, 0]) ** 2) / BATCH

    gradient = jax.jit(jax.value_and_grad(loss))
    arguments = []
    for lift, p in zip(lifts, params, strict=True):
        converted, indices = dict(p), {}
        for name in layers:
            converted[name], indices[name] = baselines.bcoo_arguments(lift.wirings[name], p[name])
        arguments.append((converted, indices))
    return lambda: [gradient(*a) for a in arguments]


def run(quick: bool = False) -> dict:
    """One union against its rivals, for one and two threads."""
    setting = {"members": MEMBERS, "n": N, "in_degree": IN_DEGREE, "batch": BATCH}
    return {"setting": setting, "threads": timing.in_processes("benchmarks.ensemble", quick)}


if __name__ == "__main__":
    timing.main("benchmarks.ensemble", __doc__)
