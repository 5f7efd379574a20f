"""An Euler step of a network inside a scan, where fusion could undo what a layer alone gains.

`euler`: value, gradients and update of three tanh layers, against the same with other products.
`three_layers`: forward and gradients of three layers, as a step of a scan and alone: the regression
to watch. A scan that costs more than 1.1 times its steps has elementwise work fused into gathers.
"""

import jax
import jax.numpy as jnp

from benchmarks import baselines, timing

N, IN_DEGREE, BATCH, LAYERS, STEPS = 1024, 16, 64, 3, 10


def measure(quick: bool) -> dict:
    wiring, weights, y, target = baselines.problem(N, IN_DEGREE, BATCH)
    products = {
        "slots": (baselines.slots, weights, wiring),
        "gather_einsum": (baselines.gather_einsum, weights, wiring),
        "bcoo": (baselines.bcoo, *baselines.bcoo_arguments(wiring, weights)),
        "masked_dense": (baselines.masked_dense, *baselines.dense_arguments(wiring, weights)),
    }

    def gradient(product, params, wires):
        def loss(params):
            h = y
            for w in params:
                h = jnp.tanh(product(w, h, wires))
            return jnp.mean((h - target) ** 2)

        return jax.grad(loss)(params)

    def euler(product, steps):
        def flow(params, wires):
            def step(params, _):
                g = gradient(product, params, wires)
                return [w - 0.01 * g_w for w, g_w in zip(params, g, strict=True)], None

            return jax.lax.scan(step, params, None, length=steps)[0]

        return jax.jit(flow)

    scans = {
        name: (euler(p, STEPS), [w] * LAYERS, wires) for name, (p, w, wires) in products.items()
    }
    seconds = 1.0 if quick else 5.0
    whole = timing.interleaved(
        {name: lambda f=f, w=w, i=i: f(w, i) for name, (f, w, i) in scans.items()}, seconds * 4
    )
    step = {n: {s: round(v / STEPS, 1) for s, v in t.items()} for n, t in whole.items()}
    alone = jax.jit(lambda params, wires: gradient(baselines.slots, params, wires))
    layer = baselines.value_and_gradients(baselines.slots)
    args = [weights] * LAYERS, wiring
    parts = timing.interleaved(
        {
            "scan": lambda: scans["slots"][0](*args),
            "network": lambda: alone(*args),
            "layer": lambda: layer(weights, y, target, wiring),
        },
        seconds * 2,
    )

    def ratio(reference, times):
        return {
            s: round(t / STEPS / (times * parts[reference][s]), 4) for s, t in parts["scan"].items()
        }

    return {
        "euler_step": {"microseconds": step, "slots_over": timing.ratios(step, "slots")},
        "three_layers": {
            "microseconds": parts,
            "step_of_scan_over_network_alone": ratio("network", 1),
            "step_of_scan_over_three_layers_alone": ratio("layer", LAYERS),
        },
        "temporary_bytes": {name: timing.temporaries(f, w, i) for name, (f, w, i) in scans.items()},
    }


def run(quick: bool = False) -> dict:
    """Both measurements, for one and two threads."""
    setting = {"n": N, "in_degree": IN_DEGREE, "batch": BATCH, "layers": LAYERS, "steps": STEPS}
    return {"setting": setting, "threads": timing.in_processes("benchmarks.network_in_loop", quick)}


if __name__ == "__main__":
    timing.main("benchmarks.network_in_loop", __doc__)
