"""What theory predicts of a target: how hard it is to find, to learn and to represent."""

import dataclasses
import math
from collections.abc import Mapping
from typing import Any, Protocol, runtime_checkable

import jax.numpy as jnp
import numpy as np

from sparsejax.graphs import Dag
from sparsejax.targets.hermite import HermiteExpansion
from sparsejax.targets.leap import leap
from sparsejax.targets.monomials import Monomial, Terms
from sparsejax.targets.sobol import sobol_indices
from sparsejax.targets.target import Target
from sparsejax.targets.walsh import WalshExpansion, walsh_expansion


@runtime_checkable
class HasPredictions(Protocol):
    """A target that knows theory of its own, e.g. the sample complexity of a hierarchy."""

    def predictions(self) -> Mapping[str, Any]:
        """Values of fields of `Prediction` by name.

        They overrule what `predicted` finds by itself. `"why_not"` maps further fields to the
        reason why theory does not say.
        """


@dataclasses.dataclass(frozen=True)
class Prediction:
    """What theory says of a target; a field is None where it does not, and `why_not` says why.

    Attributes:
        dims, law, support, arity, dag: as of the target.
        degree: of its expansion.
        coefficients: of its expansion: pairs of coordinates and value.
        leap: coordinates that must be found at once; `ordering` of the terms attains it.
        merged_staircase: whether the leap is at most 1.
        information_exponent: the least degree of a Hermite term that is not constant.
        sobol_first, sobol_total: share of the variance by coordinate of the support, by itself and
            with all others.
        step_exponent: online SGD takes about `dims^step_exponent` steps, up to logarithms. A
            conjecture in general, for generic coefficients.
        sample_complexity: about how many samples matched deep networks need.
        parameters_shallow, parameters_deep: of accuracy eps, with constituents of m derivatives,
            `eps^(-p/m)` units are enough for shallow and for matched deep networks.
        why_not: by field.

    Source: Abbe, Boix-Adsera, Misiakiewicz, COLT 2023 (arXiv 2302.11055); Ben Arous, Gheissari,
    Jagannath, JMLR 2021 (arXiv 2003.10409); Poggio, Mhaskar et al. 2017 (arXiv 1611.00740).
    """

    dims: int
    law: str
    support: tuple[int, ...]
    arity: int
    dag: Dag
    degree: int | None = None
    coefficients: Terms | None = None
    leap: int | None = None
    ordering: tuple[Monomial, ...] | None = None
    merged_staircase: bool | None = None
    information_exponent: int | None = None
    sobol_first: Mapping[int, float] | None = None
    sobol_total: Mapping[int, float] | None = None
    step_exponent: float | int | None = None
    sample_complexity: float | int | None = None
    parameters_shallow: int | None = None
    parameters_deep: int | None = None
    why_not: Mapping[str, str] = dataclasses.field(default_factory=dict)


# Coordinates of which all values are looked at.
MOST_EXPANDED = 12
# Reasons of fields that nothing below fills.
_WHY_NOT = {
    **dict.fromkeys(
        ("degree", "coefficients", "leap", "ordering", "merged_staircase"),
        "the target is no expansion, nor on the cube with few coordinates",
    ),
    **dict.fromkeys(
        ("sobol_first", "sobol_total"), "exact sensitivities need an expansion, or all values"
    ),
    "information_exponent": "of functions of Gaussian inputs, from their Hermite expansion",
    "step_exponent": "follows from the leap, or the information exponent",
    "sample_complexity": "known of random hierarchies",
}


def predicted(target: Target) -> Prediction:
    """All that theory predicts of a target, and why not the rest.

    Expansions are looked through; other targets on the cube are expanded where they have few
    coordinates. A target may say more by a method `predictions()` (`HasPredictions`), which
    overrules.

    Raises:
        ValueError: a target whose `predictions()` name a field that there is not.

    Example:
        >>> from sparsejax.targets import staircase
        >>> found = predicted(staircase(100))
        >>> found.leap, found.step_exponent, found.information_exponent
        (1, 1, None)
        >>> found.why_not["information_exponent"]
        'of functions of Gaussian inputs, from their Hermite expansion'
    """
    found: dict[str, Any] = {
        "parameters_shallow": len(target.support),
        "parameters_deep": max(
            (len(target.dag.parents_of(node)) for node in target.dag.ancestors), default=0
        ),
    }
    why_not = dict(_WHY_NOT)
    expansion = _expansion(target)
    if expansion is not None:
        found |= _of_expansion(expansion, why_not)
    if isinstance(target, HasPredictions):
        own = dict(target.predictions())
        why_not |= own.pop("why_not", {})
        found |= own
    fields = {field.name for field in dataclasses.fields(Prediction)}
    unknown = [name for name in (*found, *why_not) if name not in fields - {"why_not"}]
    if unknown:
        raise ValueError(
            f"{type(target).__name__}.predictions(): theory has no field {unknown[0]!r}; "
            f"it has {', '.join(sorted(fields - {'why_not'}))}"
        )
    whole = {
        "dims": target.dims,
        "law": target.law,
        "support": target.support,
        "arity": target.arity,
        "dag": target.dag,
    } | found
    missing = {name: reason for name, reason in why_not.items() if whole.get(name, None) is None}
    return Prediction(**whole, why_not=missing)


def _expansion(target: Target) -> WalshExpansion | HermiteExpansion | None:
    if isinstance(target, WalshExpansion | HermiteExpansion):
        return target
    if target.law != "cube" or not 1 <= len(target.support) <= MOST_EXPANDED:
        return None
    columns = np.array(target.support) - 1

    def on_support(vertices: np.ndarray) -> np.ndarray:
        x = np.ones((len(vertices), target.dims))
        x[:, columns] = vertices
        # In the precision that there is, which the tolerance below allows for.
        return np.asarray(target(jnp.asarray(x, float)), float)

    tolerance = 100 * float(jnp.finfo(jnp.zeros(0).dtype).eps)
    count = len(columns)
    return walsh_expansion(
        on_support, count, dims=target.dims, coordinates=target.support, tolerance=tolerance
    )


def _of_expansion(
    target: WalshExpansion | HermiteExpansion, why_not: dict[str, str]
) -> dict[str, Any]:
    least = leap(monomial for monomial, _ in target.terms if monomial)
    indices = sobol_indices(target)
    found: dict[str, Any] = {
        "degree": target.degree,
        "coefficients": target.terms,
        "leap": least.value,
        "ordering": least.ordering,
        "merged_staircase": least.value <= 1,
        "sobol_first": {i: indices.first(i) for i in target.support},
        "sobol_total": {i: indices.total(i) for i in target.support},
    }
    if isinstance(target, WalshExpansion):
        return found | {"step_exponent": step_exponent(least.value)}
    exponent = target.information_exponent
    found["information_exponent"] = exponent
    if len(target.support) <= 1:
        return found | {"step_exponent": step_exponent(exponent)}
    if least.value == target.degree:
        # No rotation can leap further than the degree.
        return found | {"step_exponent": step_exponent(least.value)}
    why_not["step_exponent"] = (
        "of several Gaussian coordinates the largest leap over all rotations decides; it is at "
        f"least {least.value} and at most the degree, {target.degree}"
    )
    return found


def step_exponent(leap: int) -> int:
    """`max(leap - 1, 1)`: steps of online SGD grow like this power of dims, up to logarithms.

    For a single index the leap is the information exponent: about d steps (1), d log d (2),
    d^(k - 1) (k >= 3).

    Source: Abbe, Boix-Adsera, Misiakiewicz, COLT 2023 (arXiv 2302.11055), a conjecture in general;
    Ben Arous, Gheissari, Jagannath, JMLR 2021 (arXiv 2003.10409), theorem 1.3.

    Example:
        >>> [step_exponent(k) for k in (1, 2, 3, 4)]
        [1, 1, 2, 3]
    """
    return max(leap - 1, 1)


def shallow_parameters(target: Target, eps: float, smoothness: float | int = 2) -> float:
    """`eps^(-n/m)`: the order of units that a shallow network needs for accuracy eps.

    `n` coordinates of the support, `m` derivatives.

    Raises:
        ValueError: an accuracy outside of (0, 1), or a smoothness that is not positive.

    Source: Poggio, Mhaskar et al. 2017 (arXiv 1611.00740), theorem 1.

    Example:
        >>> from sparsejax.targets import product_tree
        >>> tree = product_tree()
        >>> round(shallow_parameters(tree, 0.1)), round(deep_parameters(tree, 0.1))
        (100, 30)
    """
    _check_accuracy(eps, smoothness)
    return eps ** (-len(target.support) / smoothness)


def deep_parameters(
    target: Target, eps: float, smoothness: float | int | Mapping[str, float | int] = 2
) -> float:
    """`sum over nodes v of eps^(-d_v/m)`: the order of units of a matched deep network.

    `d_v` variables of constituent v, `m` derivatives of each, or what `smoothness` says by node.

    Raises:
        ValueError: as `shallow_parameters`.

    Source: Poggio, Mhaskar et al. 2017 (arXiv 1611.00740), theorem 3.
    """
    dag = target.dag
    orders = smoothness if isinstance(smoothness, Mapping) else dict.fromkeys(dag.order, smoothness)
    for order in orders.values():
        _check_accuracy(eps, order)
    return math.fsum(eps ** (-len(dag.parents_of(v)) / orders[v]) for v in dag.ancestors)


def _check_accuracy(eps: float, smoothness: float | int) -> None:
    if not 0 < eps < 1 or not smoothness > 0:
        raise ValueError(
            f"eps must lie in (0, 1) and smoothness be positive, got {eps} and {smoothness}"
        )
