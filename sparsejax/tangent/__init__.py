"""The first-order picture of any `f(params, x)`: Jacobian, kernel, tangent approximation."""

from sparsejax.tangent.convex_tangent_constant import (
    convex_tangent_constant as convex_tangent_constant,
)
from sparsejax.tangent.jacobian import Function as Function, jacobian as jacobian
from sparsejax.tangent.ntk import (
    ntk as ntk,
    ntk_by_leaf as ntk_by_leaf,
    ntk_diagonal as ntk_diagonal,
)
from sparsejax.tangent.ntk_method import KernelMethod as KernelMethod, ntk_method as ntk_method
from sparsejax.tangent.ntk_vector_product import ntk_vector_product as ntk_vector_product
from sparsejax.tangent.output_axes import OutputAxes as OutputAxes
from sparsejax.tangent.population_tangent_constant import (
    PopulationTangentConstant as PopulationTangentConstant,
    population_tangent_constant as population_tangent_constant,
)
from sparsejax.tangent.sum_by_group import sum_by_group as sum_by_group
from sparsejax.tangent.tangent_constant import (
    TangentApproximation as TangentApproximation,
    residual_and_kernel as residual_and_kernel,
    tangent_approximation as tangent_approximation,
    tangent_constant as tangent_constant,
)
from sparsejax.tangent.tangent_constant_interval import (
    TangentConstantInterval as TangentConstantInterval,
    tangent_constant_interval as tangent_constant_interval,
    tangent_constant_path as tangent_constant_path,
)
from sparsejax.tangent.tangent_constants_along import (
    TangentConstantsAlong as TangentConstantsAlong,
    tangent_constants_along as tangent_constants_along,
)
