"""The first-order picture of any `f(params, x)`: Jacobian, kernel, tangent approximation."""

from sparsejax.tangent.convex_tangent_constant import (
    convex_tangent_constant as convex_tangent_constant,
)
from sparsejax.tangent.extreme_eigenvalues import (
    ExtremeEigenvalues as ExtremeEigenvalues,
    extreme_eigenvalues as extreme_eigenvalues,
)
from sparsejax.tangent.jacobian import Function as Function, jacobian as jacobian
from sparsejax.tangent.kernel_drift import (
    KernelDrift as KernelDrift,
    kernel_drift as kernel_drift,
)
from sparsejax.tangent.linearised_dynamics import (
    LinearisedDynamics as LinearisedDynamics,
    linearised_descent as linearised_descent,
    linearised_flow as linearised_flow,
)
from sparsejax.tangent.linearised_flow_of_loss import (
    LinearisedFlow as LinearisedFlow,
    linearised_flow_of_loss as linearised_flow_of_loss,
)
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
from sparsejax.tangent.spectral_density import (
    Estimate as Estimate,
    SpectralDensity as SpectralDensity,
    spectral_density as spectral_density,
)
from sparsejax.tangent.spectrum import (
    KernelSpectrum as KernelSpectrum,
    kernel_spectrum as kernel_spectrum,
)
from sparsejax.tangent.spectrum_probes import (
    KernelProbe as KernelProbe,
    KernelRecord as KernelRecord,
    LanczosProbe as LanczosProbe,
    LanczosRecord as LanczosRecord,
)
from sparsejax.tangent.spectrum_summaries import (
    effective_rank as effective_rank,
    residual_shares as residual_shares,
    target_alignment as target_alignment,
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
from sparsejax.tangent.taylor import (
    TaylorPolynomial as TaylorPolynomial,
    linearize as linearize,
    taylor_expand as taylor_expand,
)
from sparsejax.tangent.trace_estimates import (
    TraceEstimates as TraceEstimates,
    log_determinant as log_determinant,
    trace_estimates as trace_estimates,
)
