"""Supervision of inner nodes of a composition: the steps of a solution as further outputs."""

import dataclasses
import math
from typing import Any

import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Float

from sparsejax.learners.lifted import check_inner_nodes
from sparsejax.targets import CompositionalTarget, Expansion, Target


@dataclasses.dataclass(frozen=True)
class IntermediateSupervision:
    """A target whose samples also carry the values of some inner nodes, and the loss on all.

    Labels are `(n, 1 + len(nodes))`: the root, then the nodes. Any learner with as many `outputs`
    learns them; `matched_lift(target, ..., nodes=nodes)` reads each from its own vertex. A node is
    switched on by naming it; `weights`, one number or one a node, scale its part of the loss.
    Static and hashable: `sample` and `loss` are arguments of compiled programs.

    Two controls: `values_of` is another target on the same inputs, whose nodes are taught instead;
    `shuffled` gives each sample the node values of its neighbour in the batch: the right law, and
    nothing about the input.

    Raises:
        ValueError: a node that does not exist or is named twice, the root of the target itself,
            another number of weights than nodes, a weight that is negative or not finite,
            another target on other inputs, or a target that is neither a composition nor an
            expansion.

    Source: Wies, Levine, Shashua 2023; Kim, Suzuki 2025 (theory 4.10).

    Example:
        >>> import jax.numpy as jnp, sparsejax as sj
        >>> taught = IntermediateSupervision(sj.targets.product_tree(4), ("left",), weights=2.0)
        >>> labels = taught.labels(jnp.ones((1, 4)))
        >>> labels.shape, taught.outputs
        ((1, 2), 2)
        >>> taught.loss(labels + jnp.array([[1.0, 1.0]]), labels).round(6).tolist()  # (1 + 2) / 2
        [1.5]
    """

    target: Target
    nodes: tuple[str, ...] = ()
    weights: float | int | tuple[float | int, ...] = 1.0
    values_of: Target | None = None
    shuffled: bool = False

    def __post_init__(self) -> None:
        object.__setattr__(self, "nodes", tuple(self.nodes))
        if self.values_of is not None and self.values_of.dims != self.target.dims:
            raise ValueError(
                f"values_of has {self.values_of.dims} inputs, the target {self.target.dims}"
            )
        taught = self._teacher.dag
        known = [n for n in taught.order if self.values_of or n != taught.root]
        check_inner_nodes(self.nodes, known)
        if isinstance(self.weights, float | int):
            weights: tuple[float | int, ...] = (self.weights,) * len(self.nodes)
        else:
            weights = tuple(self.weights)
        if len(weights) != len(self.nodes):
            raise ValueError(f"{len(weights)} weights for {len(self.nodes)} nodes")
        if not all(0 <= weight < math.inf for weight in weights):
            raise ValueError(f"weights must be finite and at least 0, got {weights}")
        object.__setattr__(self, "weights", weights)

    @property
    def _teacher(self) -> CompositionalTarget | Expansion:
        teacher = self.values_of or self.target
        if not isinstance(teacher, CompositionalTarget | Expansion):
            raise ValueError(
                f"a {type(teacher).__name__} has no numbers at its inner nodes; give a composition "
                "or an expansion"
            )
        return teacher

    @property
    def outputs(self) -> int:
        """Number of outputs that a learner needs: the root and the nodes."""
        return 1 + len(self.nodes)

    def labels(self, x: Float[Array | np.ndarray, "n d"]) -> Float[Array, "n c"]:
        """The root's values and those of the nodes, side by side."""
        values = self._teacher.values(x)
        taught = [values[node] for node in self.nodes]
        if self.shuffled:
            taught = [jnp.roll(value, 1) for value in taught]
        return jnp.stack([self.target(x)[:, 0], *taught], axis=1)

    def sample(
        self, key: Array, n: int, dtype: Any = float
    ) -> tuple[Float[Array, "n d"], Float[Array, "n c"]]:
        """`n` independent inputs of the target's law, and the labels there; pure."""
        x, _ = self.target.sample(key, n, dtype)
        return x, self.labels(x)

    def loss(self, outputs: Float[Array, "n c"], labels: Float[Array, "n c"]) -> Float[Array, " n"]:
        """Half the squared error of the root, and of each node times its weight."""
        assert isinstance(self.weights, tuple)
        weights = jnp.asarray((1.0, *self.weights), outputs.dtype)
        return 0.5 * jnp.square(outputs - labels) @ weights
