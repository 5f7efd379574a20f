"""The dense lift: every edge that the base graph allows."""

from sparsejax.graphs import PerceptronModule
from sparsejax.lifts.construction import Sizes, fibre_sizes
from sparsejax.lifts.lift import Lift, Wiring
from sparsejax.lifts.wiring import DenseWiring


def dense_lift(module: PerceptronModule, sizes: Sizes) -> Lift:
    """The lift of `module` with `sizes` copies of each duplicated vertex and all possible edges.

    `sizes` is a number, or one per duplicated vertex.

    Raises:
        ValueError: a size that is not a positive integer, or an unknown vertex.

    Example:
        >>> import sparsejax as sj
        >>> dense_lift(sj.graphs.mlp(inputs=3, hidden=2, outputs=1), sizes=4).edge_count()
        33
    """
    chosen = fibre_sizes(module, sizes)
    wirings: dict[str, Wiring] = {
        edge.name: DenseWiring(n_sources=chosen[edge.source], n_targets=chosen[edge.target])
        for edge in module.edges
    }
    return Lift(
        wirings=wirings,
        module=module,
        fibre_sizes=tuple(chosen.items()),
        expected_in_degrees=tuple((e.name, float(chosen[e.source])) for e in module.edges),
    )
