"""A lift as a linen module. Imports Flax; `as_linen` is the way here."""

import dataclasses
from collections.abc import Mapping
from typing import Any

import jax
from flax import linen

from sparsejax.interop.wiring_arrays import wiring_arrays, with_wiring_arrays
from sparsejax.lifts import Lift


@dataclasses.dataclass(frozen=True, eq=False)
class InitialLift:
    """A lift and the options of its `init`. Equal to itself alone: arrays have no hash."""

    lift: Lift
    options: Mapping[str, Any]


class LinenLift(linen.Module):
    """A lift as a linen module: collection `params` is what `lift.init` returns.

    Collection `wirings` holds the lifted edges, `{edge: {field: array}}`, never trained.
    """

    initial: InitialLift

    @linen.compact
    def __call__(self, x: Any) -> Any:
        """`lift.apply`; without a collection `wirings`, on the edges that the module came with."""
        lift = self.initial.lift
        if self.is_initializing():
            params = lift.init(self.make_rng("params"), **self.initial.options)
            for collection, values in (("params", params), ("wirings", wiring_arrays(lift))):
                for edge, value in values.items():
                    self.put_variable(collection, edge, value)
        wirings = self._collection("wirings")
        if wirings:
            lift = with_wiring_arrays(jax.tree.structure(lift), wirings)
        return lift.apply(self._collection("params"), x)

    def _collection(self, collection: str) -> dict[str, Any]:
        edges = [edge.name for edge in self.initial.lift.module.edges]
        return {
            edge: self.get_variable(collection, edge)
            for edge in edges
            if self.has_variable(collection, edge)
        }
