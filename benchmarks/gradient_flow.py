"""Gradients and seconds to relative error 1e-4: stabilised methods, ordinary ones, and descent.

`python -m benchmarks.gradient_flow` measures all three problems (hours: the ordinary explicit
methods take nearly all of it); `--problems 0 --solvers rkc2 bosh3` a part of them. What is measured
replaces its entries in `results/gradient_flow.json` and leaves the others.

An implicit method of diffrax (Kvaerno3, Kvaerno5) factorises a Jacobian of all parameters: one step
costs as many Hessian-vector products as there are parameters, 2,817 on the smaller problem. Given
for it is a lower bound: that count, and the seconds of one Jacobian and one solve with it.
"""

import argparse
import bisect
import json
import math
import statistics
import time

import jax
import jax.numpy as jnp
from jax.flatten_util import ravel_pytree

from benchmarks import flow_problems
from benchmarks.flow_work import SOLVERS, distance, integrator
from benchmarks.timing import RESULTS, write
from sparsejax.dynamics import sharpness

ERROR = 1e-4
PROBLEMS = [
    lambda: flow_problems.tanh_lift(256, 4, 50.0),
    lambda: flow_problems.tanh_lift(512, 6, 60.0),
    lambda: flow_problems.tanh_lift(256, 4, 1000.0),
]
STABILISED = ("rkc2", "rkc4", "rock2", "rock4")
# Eight a decade, the same for all solvers.
TOLERANCES = [10 ** (-k / 8) for k in range(8, 65)]


def cheapest(run, reference) -> dict:
    """The loosest tolerance that reaches the error, and what it costs.

    By bisection where a run takes seconds: the error of those methods is monotone over the ladder
    but for the last per cent.
    """
    loosest = run(TOLERANCES[0])
    if loosest.seconds > 3:
        index = bisect.bisect_left(
            TOLERANCES, True, key=lambda t: distance(run(t).end, reference) <= ERROR
        )
        ladder = TOLERANCES[index:]
    else:
        ladder = TOLERANCES
    for tolerance in ladder:
        work = run(tolerance)
        error = distance(work.end, reference)
        if error <= ERROR:
            again = [run(tolerance).seconds for _ in range(4 if work.seconds < 5 else 0)]
            seconds = statistics.median([work.seconds, *again])
            return work.counts | {"tolerance": tolerance, "error": error, "seconds": seconds}
    raise RuntimeError(f"no tolerance reaches {ERROR}")


def implicit_step(problem) -> float:
    """Seconds of one Jacobian of the vector field, column by column, and one solve with it."""
    theta, unravel = ravel_pytree(problem.params)

    @jax.jit
    def solve(theta, loss):
        gradient = jax.grad(lambda v: loss(unravel(v)))
        _, product = jax.linearize(gradient, theta)
        columns = jnp.eye(theta.size, dtype=theta.dtype)
        jacobian = jax.lax.map(product, columns, batch_size=8)
        return jnp.linalg.solve(columns + jacobian, gradient(theta))

    jax.block_until_ready(solve(theta, problem.loss))
    began = time.perf_counter()
    jax.block_until_ready(solve(theta, problem.loss))
    return time.perf_counter() - began


def measured(problem, solvers, before: dict) -> dict:
    """One row of the table, on top of what was measured before."""
    reference = integrator(SOLVERS["rkc4"], problem)(1e-7).end
    largest = max(
        float(sharpness(problem.loss, params))
        for params in (problem.params, _unravelled(problem, reference))
    )
    parameters = sum(leaf.size for leaf in jax.tree.leaves(problem.params))
    rows = dict(before.get("solvers", {}))
    for name in solvers:
        rows[name] = cheapest(
            integrator(SOLVERS[name], problem),
            reference,
        )
        print(problem.name, problem.t1, name, rows[name], flush=True)
    ordinary = {name: row for name, row in rows.items() if name not in STABILISED}
    row = {
        "problem": problem.name,
        "t1": problem.t1,
        "parameters": parameters,
        "sharpness": largest,
        "solvers": rows,
        "descent_steps": math.ceil(problem.t1 * largest / 1.9),
        "implicit_products_at_least": parameters,
        # Minutes on the larger one.
        "implicit_seconds_at_least": before.get("implicit_seconds_at_least")
        or (implicit_step(problem) if parameters < 4000 else None),
    }
    if ordinary:
        fewest = min(r["gradient_evaluations"] for r in ordinary.values())
        fastest = min(r["seconds"] for r in ordinary.values())
        row["fewer_gradients"], row["faster"] = {}, {}
        for name in (n for n in STABILISED if n in rows):
            row["fewer_gradients"][name] = fewest / rows[name]["gradient_evaluations"]
            row["faster"][name] = fastest / rows[name]["seconds"]
    return row


def _unravelled(problem, vector):
    return ravel_pytree(problem.params)[1](vector)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--problems", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--solvers", nargs="*", choices=list(SOLVERS), default=None)
    options = parser.parse_args()
    path = RESULTS / "gradient_flow.json"
    rows = json.loads(path.read_text())["rows"] if path.exists() else {}
    for index in options.problems:
        # The long flow is for the stabilised methods and for descent alone.
        solvers = options.solvers or (list(SOLVERS) if index < 2 else list(STABILISED))
        rows[str(index)] = measured(PROBLEMS[index](), solvers, rows.get(str(index), {}))
        write("gradient_flow", {"relative_error": ERROR, "rows": rows})


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    main()
