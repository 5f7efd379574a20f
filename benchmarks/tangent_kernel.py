"""The tangent kernel of sparse lifts: ours, `jax.jacobian` and einsum, and neural-tangents.

`python -m benchmarks.tangent_kernel` writes `results/tangent_kernel.json`; `--quick` takes the
small numbers of samples. Where `NEURAL_TANGENTS_PYTHON` names the interpreter of an
environment with neural-tangents 0.6.5 (`tests/tangent/frozen/regenerate.py` says how to make one),
its three implementations are timed in a process of their own on the same weights
(`neural_tangents_kernel`), and its kernel is compared with ours.
"""

import functools
import json
import os
import subprocess
import tempfile
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np

from benchmarks import timing
from sparsejax import graphs, ntk, random_sparse_lift
from sparsejax.lifts import SparseWiring
from sparsejax.tangent import ntk_method

MOST_BYTES = 6e9
MOST_SECONDS = 180
IN_DEGREE = 8
# (width, outputs, samples)
CELLS = [(2048, 1, 64), (2048, 1, 512), (1024, 10, 32), (1024, 10, 256)]
QUICK = [CELLS[0], CELLS[2]]


def naive(f, outputs):
    """What one would write: every output of the batch differentiated on its own."""

    def kernel(params, x):
        rows = jax.jacobian(f)(params, x)
        subscripts = "ncp,mcp->nm" if outputs == 1 else "ncp,mdp->nmcd"

        def part(row, leaf):
            row = row.reshape(*row.shape[:2], leaf.size)
            return jnp.einsum(subscripts, row, row)

        return sum(jax.tree.leaves(jax.tree.map(part, rows, params)))

    return kernel


def largest_product(lift, samples: int, outputs: int, key):
    """The largest matrix product of the layer-wise kernel alone, laid out as suits the processor.

    Twice what a kernel that is symmetric has to compute.
    """
    wiring = lift.wirings["h1->h2"]
    rows = wiring.predecessors.size
    columns = jax.random.normal(key, (rows, samples * outputs))
    product = jax.jit(lambda a, b: jax.lax.dot(a, b, precision="highest"))
    return functools.partial(product, jnp.asarray(columns.T.copy()), columns)


def cell(width: int, outputs: int, samples: int) -> dict:
    """Times, temporaries and agreement of all candidates."""
    module = graphs.mlp(inputs=32, hidden=2, outputs=outputs)
    lift = random_sparse_lift(jax.random.key(0), module, width, IN_DEGREE, law="regular")
    params = lift.init(jax.random.key(1))
    x = jax.random.normal(jax.random.key(2), (samples, 32))
    kept = "traced" if outputs == 1 else "full"
    methods = {"ours": None, "ours_jacobian": "jacobian", "ours_layerwise": "layerwise"}
    functions = {
        name: jax.jit(lambda p, x, m=method: ntk(lift.apply, p, x, outputs=kept, method=m))
        for name, method in methods.items()
    }
    functions["naive"] = jax.jit(naive(lift.apply, outputs))
    held = {name: timing.temporaries(f, params, x) for name, f in functions.items()}
    skipped = [name for name, size in held.items() if size > MOST_BYTES]
    runnable = {name: f for name, f in functions.items() if name not in skipped}
    measured = {name: (lambda f=f: f(params, x)) for name, f in runnable.items()}
    if outputs == 1:
        measured["largest_product"] = largest_product(lift, samples, outputs, jax.random.key(3))
    times = timing.interleaved(measured, seconds=10.0)
    found = {name: np.asarray(f(params, x)) for name, f in runnable.items()}
    scale = np.abs(found["ours"]).max()
    row = {
        "network": f"32-{width}-{width}-{outputs}",
        "in_degree": IN_DEGREE,
        "samples": samples,
        "outputs": kept,
        "parameters": lift.parameter_count(),
        "method": ntk_method(lift.apply, params, x, outputs=kept)._asdict(),
        "microseconds": times,
        "temporary_bytes": held,
        "skipped": skipped,
        "largest_difference": {
            name: float(np.abs(other - found["ours"]).max() / scale)
            for name, other in found.items()
        },
        "ours_over": timing.ratios(times, "ours"),
    }
    if os.environ.get("NEURAL_TANGENTS_PYTHON"):
        theirs = _neural_tangents(lift, params, x, kept, found["ours"])
        row["neural_tangents"] = theirs
        measured = [times for times in theirs.values() if isinstance(times, dict)]
        if measured:
            row["ours_over_best_neural_tangents"] = {
                statistic: times["ours"][statistic] / min(other[statistic] for other in measured)
                for statistic in ("median", "least", "cpu_median")
            }
    return row


def _neural_tangents(lift, params, x, kept, kernel) -> dict:
    wiring = lift.wirings["h1->h2"]
    assert isinstance(wiring, SparseWiring)
    script = Path(__file__).with_name("neural_tangents_kernel.py")
    with tempfile.TemporaryDirectory() as folder:
        arrays = {name.replace("->", "_"): np.asarray(leaf) for name, leaf in params.items()}
        np.savez(Path(folder) / "given.npz", x=x, predecessors=wiring.predecessors, **arrays)
        # That JAX runs without this package, on its path or anywhere.
        environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
        found: dict = {}
        for name in ("JACOBIAN_CONTRACTION", "NTK_VECTOR_PRODUCTS", "STRUCTURED_DERIVATIVES"):
            command = [os.environ["NEURAL_TANGENTS_PYTHON"], script, folder, kept, name]
            try:
                done = subprocess.run(
                    command,
                    stdout=subprocess.PIPE,
                    text=True,
                    check=True,
                    env=environment,
                    timeout=MOST_SECONDS,
                )
            except subprocess.TimeoutExpired:
                found[name] = f"skipped: more than {MOST_SECONDS} seconds"
                continue
            theirs = np.load(Path(folder) / "kernel.npy")
            found[name] = json.loads(done.stdout.splitlines()[-1]) | {
                "largest_difference": float(np.abs(theirs - kernel).max() / np.abs(kernel).max())
            }
    return found


def measure(quick: bool) -> dict:
    """The measurement in this process."""
    return {"rows": [cell(*c) for c in (QUICK if quick else CELLS)]}


def run(quick: bool = False) -> dict:
    """In a process of its own, on one thread."""
    return {"threads": timing.in_processes("benchmarks.tangent_kernel", quick, (1,))}


if __name__ == "__main__":
    timing.main("benchmarks.tangent_kernel", __doc__)
