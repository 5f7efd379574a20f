"""What theory promises about a trajectory, and how a measurement holds against it."""

from sparsejax.bounds.bound import Bound as Bound, Hypothesis as Hypothesis
from sparsejax.bounds.compare import compare as compare
from sparsejax.bounds.descent import descent as descent, step_curvatures as step_curvatures
from sparsejax.bounds.feature_drift import FeatureDrift as FeatureDrift
from sparsejax.bounds.flow_distance import flow_distance as flow_distance
from sparsejax.bounds.path_length import (
    a_priori as a_priori,
    ball_radius as ball_radius,
    path_length as path_length,
)
from sparsejax.bounds.rayleigh import (
    KernelRates as KernelRates,
    kernel_rates as kernel_rates,
    least_eigenvalue as least_eigenvalue,
    rayleigh as rayleigh,
)
from sparsejax.bounds.readout_certificate import (
    HorizonGap as HorizonGap,
    ReadoutCertificate as ReadoutCertificate,
    readout_certificate as readout_certificate,
)
from sparsejax.bounds.stochastic_descent import stochastic_descent as stochastic_descent
from sparsejax.bounds.tangent import tangent as tangent, tangent_constants as tangent_constants
from sparsejax.bounds.verdict import PARTS as PARTS, Verdict as Verdict
