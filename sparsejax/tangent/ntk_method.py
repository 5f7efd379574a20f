"""Which way to the kernel is the cheaper one: through the Jacobian, or layer by layer."""

from typing import NamedTuple

import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from sparsejax.tangent.jacobian import Function, sample_count
from sparsejax.tangent.layerwise import OUTSIDE, factors_of, layers_of, multiplications
from sparsejax.tangent.output_axes import Grouping, Outputs, checked_outputs, grouping


class KernelMethod(NamedTuple):
    """The method that `ntk` takes, and the multiplications that each would cost.

    `layerwise` is None where `f` is not the `apply` of a lift.
    """

    method: str
    jacobian: float
    layerwise: float | None


def ntk_method(
    f: Function, params: PyTree, x: PyTree, x2: PyTree | None = None, *, outputs: Outputs = "traced"
) -> KernelMethod:
    """How `ntk(f, params, x, x2, outputs=outputs)` goes about it unless told.

    The model counts the multiplications that form Jacobian or factors and those that contract them;
    what is done outside of a matrix product, as the writing of either is, counts four times. Only
    shapes are looked at.

    Raises:
        ValueError: as `ntk`.

    Example:
        >>> import jax, jax.numpy as jnp, sparsejax as sj
        >>> lift = sj.dense_lift(sj.graphs.mlp(inputs=3, hidden=2, outputs=1), sizes=64)
        >>> ntk_method(lift.apply, lift.init(jax.random.key(0)), jnp.ones((5, 3))).method
        'layerwise'
        >>> ntk_method(lambda w, x: x @ w, jnp.ones((3, 1)), jnp.ones((5, 3))).method
        'jacobian'
    """
    groups = output_groups(f, params, x, checked_outputs(outputs))
    return costs(f, params, x, x2, groups)


def output_groups(f: Function, params: PyTree, x: PyTree, outputs: Outputs) -> Grouping:
    """The groups of the output axes of `f`, found from the shapes of one sample."""
    one = jax.tree.map(lambda leaf: leaf[:1], jax.tree.map(jnp.asarray, x))
    found = jax.eval_shape(f, params, one)
    if not hasattr(found, "shape"):
        raise ValueError(f"f gives one array of outputs a sample, not a {type(found).__name__}")
    return grouping(outputs, found.shape[1:])


def costs(
    f: Function,
    params: PyTree,
    x: PyTree,
    x2: PyTree | None,
    groups: Grouping,
    pairs: bool = True,
) -> KernelMethod:
    """`ntk_method` for outputs in groups; `pairs=False` is for equal samples alone."""
    n = sample_count(x)
    m = n if x2 is None else sample_count(x2)
    samples = n if x2 is None else n + m
    d, t, f_kept = groups.sizes
    entries = (n * m / (1 if x2 is not None else 2)) if pairs else n
    parameters = sum(jnp.size(leaf) for leaf in jax.tree.leaves(params))
    # A backward pass per output, through every weight.
    backward = float(parameters * samples * d * t * f_kept)
    jacobian = (1 + OUTSIDE) * backward + parameters * entries * d * t * f_kept**2
    layers = layers_of(f)
    if layers is None:
        return KernelMethod("jacobian", jacobian, None)
    left = jax.eval_shape(lambda p, x: factors_of(layers, p, x, groups), params, x)
    right = left
    if x2 is not None:
        right = jax.eval_shape(lambda p, x: factors_of(layers, p, x, groups), params, x2)
    layerwise = backward
    for name, factors in left.items():
        other = None if x2 is None else right[name]
        # Maps that share weights are multiplied out: there, signals are the Jacobian.
        signals = factors.signals.size + (0 if other is None else other.signals.size)
        layerwise += OUTSIDE * signals + min(multiplications(factors, other, pairs))
    method = "layerwise" if layerwise <= jacobian else "jacobian"
    return KernelMethod(method, float(jacobian), layerwise)
