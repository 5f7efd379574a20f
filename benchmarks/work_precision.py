"""Work against precision of the stabilised methods: gradients and seconds against the error.

`python -m benchmarks.work_precision` runs tolerances from 1e-2 to 1e-8 (1e-7 where the field has
kinks) on three problems, and writes `results/work_precision.json` and `.png`; `--problems 2
--solvers rkc2` a part; `--draw` the figure alone, from the JSON. Errors are against a run ten times
tighter; its distance to one of an independent method is written as `reference_error`.
"""

import argparse
import json

import jax

from benchmarks import flow_problems
from benchmarks.flow_work import SOLVERS, distance, integrator
from benchmarks.timing import RESULTS, write

# The problem, its tightest tolerance as a power of ten, and two methods for the reference.
PROBLEMS = [
    (lambda: flow_problems.tanh_lift(256, 4, 50.0), 8, ("rkc4", "dopri8")),
    (flow_problems.relu_digits, 7, ("rkc2", "bosh3")),
    (flow_problems.deep_linear, 8, ("rkc4", "dopri8")),
]
DEFAULT = ("rkc2", "rkc4", "rock2", "rock4", "tsit5")
# Colours that are told apart without seeing red from green, one a method in all panels.
STYLES = {
    "rkc2": ("#0072B2", "o"),
    "rkc4": ("#D55E00", "s"),
    "rock2": ("#56B4E9", "^"),
    "rock4": ("#E69F00", "v"),
    "tsit5": ("#666666", "D"),
}


def measured(problem, tightest, references, solvers, before: dict) -> dict:
    """All tolerances of some solvers on one problem, on top of what was measured before."""
    reference, other = (
        integrator(SOLVERS[name], problem)(10.0 ** -(tightest + 1)).end for name in references
    )
    lines = dict(before.get("solvers", {}))
    for name in solvers:
        run, points = integrator(SOLVERS[name], problem), []
        for tolerance in (10.0**-k for k in range(2, tightest + 1)):
            work = run(tolerance)
            error = distance(work.end, reference)
            points.append(
                work.counts | {"tolerance": tolerance, "error": error, "seconds": work.seconds}
            )
            print(problem.name, name, points[-1], flush=True)
        lines[name] = points
    return {
        "problem": problem.name,
        "t1": problem.t1,
        "reference_error": distance(other, reference),
        "solvers": lines,
    }


def draw(rows: list[dict], path) -> None:
    """Gradients (with Hessian-vector products) and seconds against the error."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(2, len(rows), figsize=(4 * len(rows), 6.5), sharex="col")
    axes = axes.reshape(2, len(rows))
    for (top, bottom), row in zip(axes.T, rows, strict=True):
        for name in (name for name in STYLES if name in row["solvers"]):
            points, (color, marker) = row["solvers"][name], STYLES[name]
            style = {"color": color, "marker": marker, "markersize": 4}
            errors = [p["error"] for p in points]
            work = [p["gradient_evaluations"] + p.get("hessian_vector_products", 0) for p in points]
            top.loglog(errors, work, label=name, **style)
            bottom.loglog(errors, [p["seconds"] for p in points], **style)
        top.set_title(row["problem"], fontsize=9)
        bottom.set_xlabel("relative error at the end")
        bottom.invert_xaxis()
    axes[0, 0].set_ylabel("gradients + Hessian products")
    axes[1, 0].set_ylabel("seconds")
    axes[0, 0].legend(fontsize=8)
    figure.tight_layout()
    figure.savefig(path, dpi=110)


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--problems", type=int, nargs="*", default=[0, 1, 2])
    parser.add_argument("--solvers", nargs="*", choices=list(SOLVERS), default=list(DEFAULT))
    parser.add_argument("--draw", action="store_true")
    options = parser.parse_args()
    path = RESULTS / "work_precision.json"
    rows = json.loads(path.read_text())["rows"] if path.exists() else {}
    if not options.draw:
        for index in options.problems:
            problem, tightest, references = PROBLEMS[index]
            rows[str(index)] = measured(
                problem(), tightest, references, options.solvers, rows.get(str(index), {})
            )
            write("work_precision", {"rows": rows})
    draw([rows[key] for key in sorted(rows)], path.with_suffix(".png"))


if __name__ == "__main__":
    jax.config.update("jax_enable_x64", True)
    main()
