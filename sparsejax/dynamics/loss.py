"""Losses: functions of the parameters that keep their data as arrays, so that they compile once."""

import abc
from collections.abc import Callable
from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float, Int, PyTree

from sparsejax.dynamics.finiteness import concrete, require_finite

Function = Callable[[PyTree, PyTree], Any]
WEIGHTED = "a part of weighted nodes is no sample: minibatches need equal weights"


class Loss(eqx.Module):
    """The mean over samples of a convex function of output and target: `params -> scalar`.

    A pytree: the data are leaves, so a new data set of the same shape does not recompile. With
    `weights`, `(n,)` and of sum one, samples are the nodes of a cubature rule.
    """

    f: Function
    x: PyTree[Array]
    targets: Array
    weights: Array | None = None

    @property
    def samples(self) -> int:
        """Number of samples."""
        return self.targets.shape[0]

    @property
    def data(self) -> tuple[PyTree, ...]:
        """Inputs and targets, and weights where there are some: all but the function."""
        weights = () if self.weights is None else (self.weights,)
        return self.x, self.targets, *weights

    @abc.abstractmethod
    def per_sample(self, outputs: Float[Array, "n *c"], targets: Array) -> Float[Array, " n"]:
        """The loss of each sample, from outputs and targets."""

    def of_outputs(self, outputs: Float[Array, "n *c"]) -> Float[Array, ""]:
        """The loss as a function of all outputs: convex."""
        outputs, targets = _matched(outputs, self.targets), self.targets.astype(outputs.dtype)
        losses = self.per_sample(outputs, targets)
        if self.weights is None:
            return jnp.mean(losses)
        return jnp.sum(self.weights.astype(losses.dtype) * losses)

    def __call__(self, params: PyTree) -> Float[Array, ""]:
        """The loss at `params`."""
        return self.of_outputs(self.f(params, self.x))

    def restrict(self, indices: Int[Array, " batch"]) -> "Loss":
        """The same loss on some of the samples (a minibatch)."""
        if self.weights is not None:
            raise ValueError(WEIGHTED)
        return self.with_data(
            jax.tree.map(lambda leaf: leaf[indices], self.x), self.targets[indices]
        )

    def with_data(self, x: PyTree[Array], targets: Array, weights: Array | None = None) -> "Loss":
        """The same loss of the same function on other samples, equal ones without `weights`."""
        return eqx.tree_at(
            lambda loss: (loss.x, loss.targets, loss.weights),
            self,
            (x, targets, weights),
            is_leaf=lambda node: node is None,
        )

    def of_samples(self, params: PyTree) -> Float[Array, " n"]:
        """The loss of each sample at `params`; their mean, by `weights` if any, is the loss."""
        outputs = _matched(self.f(params, self.x), self.targets)
        return self.per_sample(outputs, self.targets.astype(outputs.dtype))


class SquaredLoss(Loss):
    """`mean over samples of ||f(params, x) - targets||^2`."""

    def per_sample(self, outputs: Float[Array, "n *c"], targets: Array) -> Float[Array, " n"]:
        """Squared distances, summed over outputs."""
        squares = jnp.square(outputs - targets)
        return jnp.sum(squares.reshape(squares.shape[0], -1), axis=1)


class LogisticLoss(Loss):
    """`mean over samples of log(1 + exp(-y f))` for labels `y` in {-1, +1}."""

    def per_sample(self, outputs: Float[Array, "n *c"], targets: Array) -> Float[Array, " n"]:
        """Logistic losses of the margins, summed over outputs."""
        losses = jax.nn.softplus(-targets * outputs)
        return jnp.sum(losses.reshape(losses.shape[0], -1), axis=1)


def squared_loss(
    f: Function,
    x: PyTree,
    targets: Array | np.ndarray,
    weights: Array | np.ndarray | None = None,
) -> SquaredLoss:
    """`params -> mean over samples of ||f(params, x) - targets||^2`.

    `x`: an array or a pytree of arrays, samples first; `targets`: `(n, C)`, or `(n,)` for one
    output. `weights`: `(n,)`, of sum one, in place of `1 / n`: with nodes and weights of a cubature
    rule (`targets.uniform_cubature`) the loss is that of the population.

    Raises:
        ValueError: numbers of samples that disagree, data that are not finite, or weights that are
            negative or do not sum to one.

    Example:
        >>> import jax.numpy as jnp
        >>> loss = squared_loss(lambda w, x: x * w, jnp.ones((2, 1)), jnp.array([[1.0], [3.0]]))
        >>> float(loss(jnp.asarray(1.0)))
        2.0
    """
    x, targets = checked_data(x, targets)
    if weights is not None:
        weights = jnp.asarray(weights)
        values = concrete(weights)
        if weights.shape != targets.shape[:1]:
            raise ValueError(
                f"weights have shape {weights.shape}, but there are {targets.shape[0]} samples"
            )
        if values is not None and not (values.min() >= 0 and abs(values.sum() - 1) < 1e-5):
            raise ValueError("weights must not be negative, and sum to one")
    return SquaredLoss(f, x, targets, weights)


def logistic_loss(f: Function, x: PyTree, labels: Array | np.ndarray) -> LogisticLoss:
    """`params -> mean over samples of log(1 + exp(-y f))`, labels -1 and +1.

    Raises:
        ValueError: as `squared_loss`, or labels other than -1 and +1.

    Example:
        >>> import jax.numpy as jnp
        >>> loss = logistic_loss(lambda w, x: x * w, jnp.ones((2, 1)), jnp.array([[1.0], [-1.0]]))
        >>> round(float(loss(jnp.asarray(0.0))), 4)
        0.6931
    """
    x, labels = checked_data(x, labels)
    values = concrete(labels)
    if values is not None and not np.isin(values, (-1, 1)).all():
        raise ValueError("logistic_loss: labels must be -1 or +1")
    return LogisticLoss(f, x, labels)


def checked_data(x: PyTree, targets: Array | np.ndarray) -> tuple[PyTree, Array]:
    """Arrays with equal numbers of samples and finite entries; raises ValueError otherwise."""
    x, targets = jax.tree.map(jnp.asarray, x), jnp.asarray(targets)
    leaves = jax.tree.leaves(x)
    if not leaves or targets.ndim == 0:
        raise ValueError("x and targets need a leading axis of samples")
    counts = [leaf.shape[0] if leaf.ndim else 0 for leaf in leaves]
    for count in counts:
        if count != targets.shape[0]:
            raise ValueError(f"x has {count} samples but targets has {targets.shape[0]}")
    if targets.shape[0] == 0:
        raise ValueError("the data hold no samples")
    require_finite(x, "x")
    require_finite(targets, "targets")
    return x, targets


def _matched(outputs: Array, targets: Array) -> Array:
    """Outputs `(n, 1)` meet targets `(n,)`; anything else must agree in shape."""
    if outputs.shape == targets.shape:
        return outputs
    if outputs.shape == (*targets.shape, 1):
        return outputs[..., 0]
    raise ValueError(f"f gives outputs of shape {outputs.shape}, targets have {targets.shape}")
