"""How many units approximation theory asks for: shallow networks, and deep ones that match."""

from collections.abc import Mapping

from sparsejax.graphs import Dag


def shallow_units(inputs: int, smoothness: float | int, accuracy: float | int) -> float:
    """`eps^(-n / m)`: units of a shallow network for functions of `n` inputs with `m` derivatives.

    An order of magnitude: constants are one.

    Raises:
        ValueError: no inputs, a smoothness that is not positive, an accuracy outside of (0, 1).

    Source: Poggio, Mhaskar et al. 2017, theorem 1.

    Example:
        >>> round(shallow_units(inputs=8, smoothness=2, accuracy=0.1))
        10000
    """
    _check(smoothness, accuracy)
    if inputs < 1:
        raise ValueError(f"inputs: must be positive, got {inputs}")
    return float(accuracy ** (-inputs / smoothness))


def deep_units(
    dag: Dag,
    smoothness: float | int | Mapping[str, float | int],
    accuracy: float | int,
) -> float:
    """`sum over nodes v of eps^(-d_v / m_v)`: units of the network that matches a composition.

    `d_v` is the number of variables of a node, `m_v` its smoothness: a number, or one by node. Of a
    binary tree that is `(n - 1) eps^(-2 / m)`. Nodes that the root does not depend on cost nothing;
    constants, and how errors grow on their way to the root, are one.

    Raises:
        ValueError: a smoothness that is not positive or not there, an accuracy outside of (0, 1).

    Source: Poggio, Mhaskar et al. 2017, theorems 2 and 3.

    Example:
        >>> import sparsejax as sj
        >>> tree = sj.targets.binary_tree(8, lambda a, b: a * b)
        >>> round(deep_units(tree.dag, smoothness=2, accuracy=0.1))  # 7 nodes
        70
    """
    total = 0.0
    for node in dag.ancestors:
        m = smoothness[node] if isinstance(smoothness, Mapping) else smoothness
        _check(m, accuracy)
        total += float(accuracy ** (-len(dag.parents_of(node)) / m))
    return total


def shallow_exponent(dag: Dag, smoothness: float | int = 1) -> float:
    """`n / m`, with `n` the inputs that the root depends on: `log units / log(1 / eps)`.

    Example:
        >>> import sparsejax as sj
        >>> tree = sj.targets.binary_tree(8, lambda a, b: a * b)
        >>> shallow_exponent(tree.dag, 2), deep_exponent(tree.dag, 2)
        (4.0, 1.0)
    """
    _check(smoothness, 0.5)
    return len(dag.support) / smoothness


def deep_exponent(dag: Dag, smoothness: float | int = 1) -> float:
    """`max_v d_v / m`: the exponent that is left of `deep_units` for small accuracies."""
    _check(smoothness, 0.5)
    return max(len(dag.parents_of(node)) for node in dag.ancestors) / smoothness


def _check(smoothness: float | int, accuracy: float | int) -> None:
    if not smoothness > 0 or not 0 < accuracy < 1:
        raise ValueError(
            f"smoothness must be positive and accuracy lie in (0, 1), got {smoothness}, {accuracy}"
        )
