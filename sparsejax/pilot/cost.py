"""What candidates cost at inference: seconds a call, bytes held, multiply-adds."""

import dataclasses
import pickle
import time
from collections.abc import Callable, Mapping
from typing import Any

import jax
import numpy as np

from sparsejax.claims.inference_cost import SHORTEST, bytes_held, inference_costs, products
from sparsejax.graphs import mlp
from sparsejax.lifts import Lift, dense_lift

BATCHES = (1, 256)


@dataclasses.dataclass(frozen=True)
class Cost:
    """Of one candidate: `seconds` of a call by number of rows (medians), bytes, multiply-adds.

    `bytes`: parameters and wiring of a network, the pickled model else; `products`: for one row,
    None where it has none.
    """

    candidate: str
    bytes: int
    products: int | None
    seconds: dict[int, float]


def network_costs(
    lifts: Mapping[str, tuple[Lift, Mapping[str, Any]]],
    dense: tuple[int, int],
    shallow: int,
    q: int,
    c: int,
    rounds: int = 15,
) -> list[Cost]:
    """Costs of lifts, and of dense networks of these widths; jitted, waiting for every call."""

    def dense_network(sizes: Mapping[str, int]) -> tuple[Lift, Any]:
        whole = dense_lift(mlp(q, len(sizes), c, "relu"), sizes)
        return whole, whole.init(jax.random.key(0))

    candidates = {
        **lifts,
        "dense": dense_network({"h1": dense[0], "h2": dense[1]}),
        "shallow": dense_network({"h1": shallow}),
    }
    found = inference_costs(candidates, BATCHES, q, rounds)
    medians = np.median(found["seconds"], axis=2)
    return [
        Cost(
            name,
            sum(bytes_held(lift, params).values()),
            products(lift),
            dict(zip(BATCHES, medians[place].tolist(), strict=True)),
        )
        for place, (name, (lift, params)) in enumerate(candidates.items())
    ]


def model_cost(name: str, model: Any, predict: Callable[[int], Any], rounds: int = 15) -> Cost:
    """The cost of a fitted model; `predict(rows)` predicts so many rows."""
    seconds = {}
    for rows in BATCHES:
        predict(rows)
        took: list[float] = []
        while len(took) < rounds and sum(took) < 100 * SHORTEST:
            began = time.perf_counter()
            predict(rows)
            took.append(time.perf_counter() - began)
        seconds[rows] = float(np.median(took))
    return Cost(name, len(pickle.dumps(model)), None, seconds)
