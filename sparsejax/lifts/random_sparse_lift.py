"""The random sparse lift: bounded average in-degree at every size."""

import jax
from jaxtyping import Array, Key

from sparsejax.graphs import PerceptronModule
from sparsejax.lifts.construction import InDegrees, Sizes, fibre_sizes, sparse_in_degrees
from sparsejax.lifts.lift import Lift, Wiring
from sparsejax.lifts.sampling import sample_binomial, sample_regular
from sparsejax.lifts.wiring import DenseWiring


def random_sparse_lift(
    key: Key[Array, ""],
    module: PerceptronModule,
    sizes: Sizes,
    in_degree: InDegrees,
    *,
    law: str = "binomial",
) -> Lift:
    """Draw a lift whose lifted vertices have `in_degree` predecessors on average, or exactly.

    `sizes`: a number, or one per duplicated vertex. `in_degree`: a number for every edge between
    several source vertices and a duplicated target, or one per edge or target vertex; all other
    edges are whole. `law="binomial"`: each of the `n_a n_b` possible edges is present on its own
    with probability `in_degree / n_a`; `law="regular"`: exactly that many distinct predecessors,
    uniformly at random. Works under `jit` and `vmap` over keys; there, degrees are padded to a
    bound that is exceeded with probability below 1e-12, and a lift that exceeds it computes NaN.

    Raises:
        ValueError: sizes or in-degrees out of range (the message names vertex or edge), an unknown
            law, a fractional in-degree under the regular law.

    Source: Robin, Scaman, Lelarge 2024; the two laws are this project's reading of it.

    Example:
        >>> import jax, sparsejax as sj
        >>> module = sj.graphs.mlp(inputs=8, hidden=2, outputs=1)
        >>> key = jax.random.key(0)
        >>> lift = random_sparse_lift(key, module, sizes=32, in_degree=4, law="regular")
        >>> len(lift.edges("h1->h2"))
        128
    """
    if law not in ("binomial", "regular"):
        raise ValueError(f"law is 'binomial' or 'regular', not {law!r}")
    chosen = fibre_sizes(module, sizes)
    asked = sparse_in_degrees(module, chosen, in_degree)
    wirings: dict[str, Wiring] = {}
    degrees: list[tuple[str, float]] = []
    for number, edge in enumerate(module.edges):
        n_a, n_b = chosen[edge.source], chosen[edge.target]
        degree = asked.get(edge.name, float(n_a))
        degrees.append((edge.name, degree))
        edge_key = jax.random.fold_in(key, number)
        if degree == n_a:
            wirings[edge.name] = DenseWiring(n_sources=n_a, n_targets=n_b)
        elif law == "binomial":
            wirings[edge.name] = sample_binomial(edge_key, n_a, n_b, degree)
        elif degree != int(degree):
            raise ValueError(
                f"edge {edge.name!r}: the regular law needs a whole in-degree, got {degree}"
            )
        else:
            wirings[edge.name] = sample_regular(edge_key, n_a, n_b, int(degree))
    return Lift(
        wirings=wirings,
        module=module,
        fibre_sizes=tuple(chosen.items()),
        expected_in_degrees=tuple(degrees),
    )
