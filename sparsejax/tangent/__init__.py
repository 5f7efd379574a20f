"""The first-order picture of any `f(params, x)`: Jacobian, kernel, tangent approximation."""

from sparsejax.tangent.convex_tangent_constant import (
    convex_tangent_constant as convex_tangent_constant,
)
from sparsejax.tangent.jacobian import Function as Function, jacobian as jacobian
from sparsejax.tangent.ntk import ntk as ntk
from sparsejax.tangent.tangent_constant import (
    TangentApproximation as TangentApproximation,
    residual_and_kernel as residual_and_kernel,
    tangent_approximation as tangent_approximation,
    tangent_constant as tangent_constant,
)
