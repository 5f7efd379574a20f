"""Plain gradient descent for many step sizes, and coupled runs of SGD: one program each."""

from typing import Any

import equinox as eqx
import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, Key, PyTree

from sparsejax.dynamics import SquaredLoss, sgd

# One optimiser for all step sizes, which then run through one compiled program.
PLAIN = optax.inject_hyperparams(optax.sgd)(learning_rate=0.0)
# Batches are drawn with replacement: all steps are independent, as the theory has it.
SAMPLING = "replacement"


def at_step_size(params: PyTree, eta: float) -> Any:
    """The state of `PLAIN` at the step size `eta`."""
    return PLAIN.init(params)._replace(hyperparams={"learning_rate": jnp.asarray(eta, float)})


@eqx.filter_jit
def coupled_sgd(
    loss: SquaredLoss,
    params: PyTree[Array],
    optimizer_state: Any,
    key: Key[Array, ""],
    *,
    batch_size: int,
    steps: int,
) -> PyTree[Array]:
    """The parameters after `steps` steps of SGD in as many lanes as there are samples.

    `params` has a leading axis of lanes. All lanes draw the same indices, and lane k sees the
    samples shifted by k in a cycle: each lane on its own is SGD as it should be. At every step the
    lanes together draw each sample equally often, so in their mean the noise of the gradients
    cancels to first order. That mean tells the mean of SGD far better than as many independent runs
    do; it is antithetic sampling with as many arms as samples.
    """

    def lane(start, shift):
        x, targets = (jnp.roll(array, shift, axis=0) for array in (loss.x, loss.targets))
        return sgd(
            loss.with_data(x, targets, loss.weights),
            start,
            PLAIN,
            steps,
            key=key,
            batch_size=batch_size,
            sampling=SAMPLING,
            save_every=steps,
            optimizer_state=optimizer_state,
        ).final

    return jax.vmap(lane)(params, jnp.arange(loss.samples))


def in_lanes(params: PyTree[Array], lanes: int) -> PyTree[Array]:
    """The same parameters in every lane."""
    return jax.tree.map(lambda leaf: jnp.broadcast_to(leaf, (lanes, *leaf.shape)), params)
