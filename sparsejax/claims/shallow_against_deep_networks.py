"""The networks of `shallow-against-deep` by number of parameters, and the error of one."""

import functools
from typing import Any

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float

from sparsejax import learners
from sparsejax.graphs import Dag
from sparsejax.targets import CompositionalTarget, binary_tree

MATCHED = "matched"
LEARNERS = (MATCHED, "shallow", "deep")


class ErrorProbe(eqx.Module):
    """The mean squared error on fixed points, over the target's variance on them."""

    x: Float[Array, "n d"]
    y: Float[Array, "n 1"]

    @classmethod
    def of(cls, key: Array, target: CompositionalTarget, points: int) -> "ErrorProbe":
        """On so many fresh samples."""
        return cls(*target.sample(key, points, jnp.float32))

    def __call__(self, f: Any, params: Any) -> Array:
        """The error of one network."""
        return jnp.mean(jnp.square(f(params, self.x) - self.y)) / jnp.var(self.y)


def permuted_tree(dag: Dag) -> Dag:
    """The same graph on its inputs in another order: no two that met first do so any more.

    Input `i` of the first half and its counterpart in the second become neighbours.

    Example:
        >>> dag = Dag(("x1", "x2", "x3", "x4"),
        ...     (("a", ("x1", "x2")), ("b", ("x3", "x4")), ("y", ("a", "b"))))
        >>> permuted_tree(dag).parents[:2]
        (('a', ('x1', 'x3')), ('b', ('x2', 'x4')))
    """
    half = len(dag.inputs) // 2
    order = [
        name for pair in zip(dag.inputs[:half], dag.inputs[half:], strict=True) for name in pair
    ]
    place = dict(zip(dag.inputs, order, strict=True))
    return Dag(
        dag.inputs,
        tuple((node, tuple(place.get(p, p) for p in parents)) for node, parents in dag.parents),
        dag.root,
    )


@functools.cache
def learner_of(
    name: str, dims: int, parameters: int, in_degree: int, *, permuted: bool = False
) -> learners.Learner:
    """The learner of that name with at most so many parameters.

    Deep networks have as many hidden layers as the tree has levels.

    Raises:
        ValueError: fewer parameters than the narrowest has.

    Example:
        >>> [learner_of(name, 8, 500, 4).parameters for name in LEARNERS]
        [457, 491, 497]
    """
    depth = dims.bit_length() - 1
    if name == MATCHED:
        # Which functions sit at its nodes does not matter here.
        dag = binary_tree(dims, max).dag
        dag = permuted_tree(dag) if permuted else dag

        def construct(width: int) -> learners.Learner:
            return learners.matched_lift(dag, width, min(in_degree, width))

    elif name == "shallow":

        def construct(width: int) -> learners.Learner:
            return learners.dense_mlp(dims, width, 1)

    else:

        def construct(width: int) -> learners.Learner:
            return learners.dense_mlp(dims, width, depth)

    return learners.with_parameters(construct, parameters)
