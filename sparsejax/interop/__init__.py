"""Networks of other libraries as pure functions, and lifts as modules of other libraries."""

from sparsejax.interop.as_flax import as_linen as as_linen, as_nnx as as_nnx
from sparsejax.interop.from_equinox import (
    EquinoxFunction as EquinoxFunction,
    from_equinox as from_equinox,
)
from sparsejax.interop.from_flax import (
    LinenFunction as LinenFunction,
    NnxFunction as NnxFunction,
    from_flax as from_flax,
)
from sparsejax.interop.pure_function import PureFunction as PureFunction
