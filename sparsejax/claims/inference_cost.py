"""What it costs to apply lifts: latency in turns, bytes held, bytes of temporaries, products."""

import math
import time
from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Float

from sparsejax import lifts
from sparsejax.lifts.wiring import DenseWiring

# A timed call is one of so many seconds or more: several applications where one is short.
SHORTEST = 2e-3


def products(lift: lifts.Lift) -> int:
    """Multiply-adds of one application to one sample: one an edge, with biases that only add.

    Example:
        >>> import sparsejax as sj
        >>> products(sj.dense_lift(sj.graphs.mlp(inputs=8, hidden=2, outputs=1), sizes=16))
        400
    """
    module = lift.module
    constant = {vertex.name for vertex in module.vertices if vertex.constant}
    return sum(
        len(lift.edges(edge.name)) * math.prod(module.weight_shape(edge))
        for edge in module.edges
        if edge.source not in constant
    )


def bytes_held(lift: lifts.Lift, params: lifts.Params) -> dict[str, int]:
    """Bytes of parameters, and of the wiring that an application reads (not that of gradients)."""
    wired = 0
    for wiring in lift.wirings.values():
        if not isinstance(wiring, DenseWiring):
            read = (wiring.predecessors, wiring.present)
            wired += sum(array.nbytes for array in read if array is not None)
    return {"parameters": sum(v.nbytes for v in jax.tree.leaves(params)), "wiring": wired}


def inference_costs(
    candidates: Mapping[str, tuple[lifts.Lift, lifts.Params]],
    batches: tuple[int, ...],
    dims: int,
    rounds: int,
) -> dict[str, Float[np.ndarray, "..."]]:
    """Seconds a call, candidates by batches by rounds, and temporaries, candidates by batches.

    Candidates take turns in every round, so that what else the machine does falls on all of them:
    ratios within a round are what to compare. Every call is waited for; the first ones, which
    compile and warm the caches, are not timed.
    """
    seconds = np.zeros((len(candidates), len(batches), rounds))
    temporaries = np.zeros((len(candidates), len(batches)), int)
    for b, batch in enumerate(batches):
        x = jax.random.uniform(jax.random.key(batch), (batch, dims), minval=-1.0, maxval=1.0)
        x = jnp.asarray(x, float)
        calls, repeats = [], []
        for c, (lift, params) in enumerate(candidates.values()):
            arrays, static = eqx.partition(lift, eqx.is_array)

            def run(arrays: Any, params: Any, x: Any, static: Any = static) -> Any:
                return eqx.combine(arrays, static).apply(params, x)

            compiled = jax.jit(run).lower(arrays, params, x).compile()
            memory = compiled.memory_analysis()
            # Not every backend says.
            temporaries[c, b] = -1 if memory is None else memory.temp_size_in_bytes
            calls.append((compiled, arrays, params))
            jax.block_until_ready(compiled(arrays, params, x))
            began = time.perf_counter()
            jax.block_until_ready(compiled(arrays, params, x))
            repeats.append(max(1, int(SHORTEST / (time.perf_counter() - began))))
        for r in range(rounds):
            for c, (compiled, arrays, params) in enumerate(calls):
                jax.block_until_ready(compiled(arrays, params, x))
                began = time.perf_counter()
                for _ in range(repeats[c]):
                    jax.block_until_ready(compiled(arrays, params, x))
                seconds[c, b, r] = (time.perf_counter() - began) / repeats[c]
    return {"seconds": seconds, "temporaries": temporaries}
