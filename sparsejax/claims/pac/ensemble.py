"""Random lifts of one size and condition, stacked: one compiled program draws and trains them."""

from collections.abc import Sequence

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Int

from sparsejax import lifts
from sparsejax.claims.batching import lane_keys
from sparsejax.claims.lift_ensemble import drawn_lifts, losses_of
from sparsejax.claims.pac.condition import (
    Condition,
    PacSetting,
    architecture,
    in_degrees,
    input_shape,
)
from sparsejax.claims.setting import LiftDraw
from sparsejax.dynamics import SquaredLoss, squared_loss


class Ensemble(eqx.Module):
    """M lifts with their parameters, a leading axis of M on every array, and what they learn.

    `loss`: the training loss of all of them. `fresh`: losses on independent inputs, which estimate
    population or test loss; none where the training points are the whole population.
    """

    stacked: lifts.Lift
    params: lifts.Params
    loss: SquaredLoss
    fresh: tuple[tuple[Array, Array], ...]
    numbers: Int[Array, " m"]
    population: bool = eqx.field(static=True)

    @property
    def count(self) -> int:
        """The number of lifts."""
        return jax.tree.leaves(self.params)[0].shape[0]

    @property
    def zero_loss(self) -> float:
        """The loss of the function zero, at which every lift starts."""
        return float(self.loss.of_outputs(jnp.zeros(self.loss.targets.shape)))

    def with_random_readouts(self, setting: PacSetting, key: Array) -> lifts.Params:
        """The same parameters, but for output weights: random as all others, and not zero."""
        keys = jax.vmap(lambda number: jax.random.fold_in(key, number))(self.numbers)
        return _random_readouts(self.stacked, self.params, setting.gain, setting.bias_scale, keys)

    def losses(self, params: lifts.Params) -> Float[Array, " m"]:
        """The training loss of every lift at `params`."""
        return losses_of(self.stacked, params, *self.loss.data)

    def fresh_losses(self, params: lifts.Params) -> Float[Array, "m r"]:
        """The loss of every lift at `params` on each set of independent inputs."""
        losses = [losses_of(self.stacked, params, x, y) for x, y in self.fresh]
        return jnp.stack(losses, axis=1)

    def of(self, number: int) -> tuple[lifts.Lift, lifts.Params]:
        """One of the lifts, and its parameters."""
        return jax.tree.map(lambda leaf: leaf[number], (self.stacked, self.params))


def ensemble(
    setting: PacSetting, condition: Condition, size: int, numbers: Sequence[int]
) -> Ensemble:
    """The lifts of a size with these numbers; each is a function of the setting and its number."""
    data = setting.learning_data(condition.target)
    module = architecture(condition.architecture, data.dims)
    shape = input_shape(condition.architecture, data.dims)
    base = jax.random.fold_in(jax.random.key(setting.seed), size)
    which = jnp.asarray(numbers)
    keys = lane_keys(base, which)
    degrees = tuple(in_degrees(module, setting.in_degree(condition.architecture)).items())
    draw = LiftDraw(module, size, degrees, setting.gain, setting.bias_scale)
    drawn, params = drawn_lifts(draw, keys)

    def placed(x) -> Array:
        return jnp.asarray(x, float).reshape(len(x), *shape)

    weights = None if data.weights is None else jnp.asarray(data.weights, float)
    loss = squared_loss(drawn.apply, placed(data.x), jnp.asarray(data.y, float), weights)
    fresh = tuple((placed(x), jnp.asarray(y, float)) for x, y in data.fresh)
    return Ensemble(drawn, params, loss, fresh, which, data.population)


@eqx.filter_jit
def _random_readouts(
    drawn: lifts.Lift, params: lifts.Params, gain: float, bias_scale: float, keys: Array
) -> lifts.Params:
    def draw(key: Array, lift: lifts.Lift, old: lifts.Params) -> lifts.Params:
        new = lift.init(key, gain=gain, bias_scale=bias_scale)
        outputs = {edge.name for edge in lift.module.edges if edge.target in lift.module.outputs}
        return {name: new[name] if name in outputs else old[name] for name in old}

    return jax.vmap(draw)(keys, drawn, params)
