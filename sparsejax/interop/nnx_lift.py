"""A lift as an nnx module. Imports Flax; `as_nnx` is the way here."""

from typing import Any

import jax
from flax import nnx

from sparsejax.interop.wiring_arrays import wiring_arrays, with_wiring_arrays
from sparsejax.lifts import Lift, Params


class WiringVariable(nnx.Variable):
    """An array of a wiring: part of the module's state, but no parameter."""


class NnxLift(nnx.Module):
    """A lift as an nnx module: `params` holds an `nnx.Param` an edge, `wirings` what is fixed."""

    def __init__(self, lift: Lift, params: Params):
        self.structure = jax.tree.structure(lift)
        self.params = nnx.Dict({edge: nnx.Param(weight) for edge, weight in params.items()})
        self.wirings = nnx.Dict(
            {
                edge: nnx.Dict({field: WiringVariable(array) for field, array in arrays.items()})
                for edge, arrays in wiring_arrays(lift).items()
            }
        )

    @property
    def lift(self) -> Lift:
        """The lift, on the wirings that the module holds now."""
        arrays = {
            edge: {field: variable.get_value() for field, variable in fields.items()}
            for edge, fields in self.wirings.items()
        }
        return with_wiring_arrays(self.structure, arrays)

    def lift_params(self) -> Params:
        """The parameters as `lift.apply` takes them."""
        return {edge: parameter.get_value() for edge, parameter in self.params.items()}

    def __call__(self, x: Any) -> Any:
        """`lift.apply` at the parameters that the module holds now."""
        return self.lift.apply(self.lift_params(), x)
