"""Probing the kernel along a flow against the flow itself: 400 samples, 100,000 parameters.

`python -m benchmarks.tangent_probes` writes `results/tangent_probes.json`; `--quick` takes a
twentieth of the parameters. At 50 saved states the whole spectrum and the tangent constant through
the kernel (`KernelProbe`), and, without a kernel, the largest eigenvalue by Lanczos iteration with
an interval for the tangent constant.
"""

import time

import jax
import jax.numpy as jnp

from benchmarks import timing
from benchmarks.flow_problems import tanh_lift
from sparsejax import gradient_flow
from sparsejax.tangent import KernelProbe, LanczosProbe, tangent_constants_along

IN_DEGREE, STATES, LEVEL = 6, 50, 0.3


def seconds(call) -> tuple[float, object]:
    """The second call of two: the first one compiles."""
    jax.block_until_ready(call())
    began = time.perf_counter()
    found = jax.block_until_ready(call())
    return round(time.perf_counter() - began, 2), found


def measure(quick: bool) -> dict:
    """Seconds of the flow and of each way to look at it, in float64."""
    jax.config.update("jax_enable_x64", True)
    problem = tanh_lift(330 if quick else 6650, IN_DEGREE, 60.0)
    loss, start = problem.loss, problem.params
    ts = problem.t1 * jnp.linspace(0.0, 1.0, STATES + 1)[1:] ** 2

    def flow():
        run = gradient_flow(loss, start, problem.t1, saveat=ts, rtol=1e-5)
        return run.params, run.losses, run.stats

    taken, (states, losses, stats) = seconds(flow)
    eps = LEVEL * float(loss(start))
    through_kernel = KernelProbe(loss.f, loss.x, loss.targets, eps=[eps])
    by_lanczos = LanczosProbe(loss.f, loss.x, jax.random.key(0), max_products=16, samples=1)

    def along(probe):
        looked = jax.jit(lambda states: jax.lax.map(lambda p: probe(0.0, p), states))
        return lambda: looked(states)

    times = {"flow": taken}
    times["kernel, spectrum, tangent constant"], record = seconds(along(through_kernel))
    times["largest eigenvalue by Lanczos"], lanczos = seconds(along(by_lanczos))
    intervals = []

    def interval():
        intervals.append(tangent_constants_along(loss.f, states, loss.x, loss.targets, eps))
        return jnp.asarray(intervals[-1].upper)

    times["tangent constant by products"], _ = seconds(interval)
    lower, upper = intervals[-1].lower, intervals[-1].upper
    kappas = record.kappas[:, 0]
    slack = 1e-9 * (1 + jnp.abs(kappas))
    return {
        "network": problem.name,
        "parameters": sum(leaf.size for leaf in jax.tree.leaves(start)),
        "samples": loss.samples,
        "states": STATES,
        "gradient_evaluations": int(stats["gradient_evaluations"]),
        "loss_left": float(losses[-1] / loss(start)),
        "seconds": times,
        "over_flow": {name: round(t / taken, 3) for name, t in times.items() if name != "flow"},
        "products_of_tangent_constants": int(intervals[-1].products.sum()),
        "kappa_inside_its_interval": bool(
            jnp.all((lower <= kappas + slack) & (kappas <= upper + slack))
        ),
        "largest_lanczos_error": float(
            jnp.max(jnp.abs(lanczos.largest[:, 0] / record.largest[:, 0] - 1))
        ),
    }


def run(quick: bool = False) -> dict:
    """In a process of its own, on one thread; this one, which writes, says the precision."""
    jax.config.update("jax_enable_x64", True)
    return {"threads": timing.in_processes("benchmarks.tangent_probes", quick, (1,))}


if __name__ == "__main__":
    timing.main("benchmarks.tangent_probes", __doc__)
