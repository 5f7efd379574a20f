"""What was learned, or is in the data: inputs that matter, groups, coefficients, times of rise."""

from sparsejax.structure.basis_coefficients import (
    HermiteProbe as HermiteProbe,
    WalshProbe as WalshProbe,
    cube_inputs as cube_inputs,
    gaussian_inputs as gaussian_inputs,
)
from sparsejax.structure.discover import (
    Importance as Importance,
    Interaction as Interaction,
    Structure as Structure,
    discover as discover,
    target_outputs as target_outputs,
)
from sparsejax.structure.exact_anova import exact_anova as exact_anova
from sparsejax.structure.foretold_groups import foretold_groups as foretold_groups
from sparsejax.structure.fourier_gap import (
    FourierGap as FourierGap,
    GradientCoefficients as GradientCoefficients,
    correlation_gradient as correlation_gradient,
    sign_neuron_gradient as sign_neuron_gradient,
)
from sparsejax.structure.gradient_outer_product import (
    GradientOuterProduct as GradientOuterProduct,
    average_gradient_outer_product as average_gradient_outer_product,
    input_shares as input_shares,
)
from sparsejax.structure.groups import (
    Agreement as Agreement,
    agreement as agreement,
    parts_of_dag as parts_of_dag,
    sampler_of as sampler_of,
    true_groups as true_groups,
)
from sparsejax.structure.hidden_progress import (
    HiddenProgress as HiddenProgress,
    with_start as with_start,
)
from sparsejax.structure.input_weight_norms import (
    InputWeightNorms as InputWeightNorms,
    input_weight_norms as input_weight_norms,
)
from sparsejax.structure.interactions import (
    h_statistic as h_statistic,
    interactions as interactions,
)
from sparsejax.structure.local_subsets import (
    local_subsets as local_subsets,
    patches as patches,
    windows as windows,
)
from sparsejax.structure.recovered_dag import (
    dag_distance as dag_distance,
    recovered_dag as recovered_dag,
)
from sparsejax.structure.screening import Screening as Screening, screen as screen
from sparsejax.structure.separability import (
    best_partition as best_partition,
    inseparability as inseparability,
    likely_partitions as likely_partitions,
)
from sparsejax.structure.sobol import (
    SobolEstimate as SobolEstimate,
    sobol_indices as sobol_indices,
)
from sparsejax.structure.stability_selection import (
    StabilitySelection as StabilitySelection,
    half_samples as half_samples,
    stability_selection as stability_selection,
)
from sparsejax.structure.stages import (
    Stages as Stages,
    change_points as change_points,
    rise_times as rise_times,
    stages as stages,
)
from sparsejax.structure.support import (
    Support as Support,
    SupportScore as SupportScore,
    largest_gap as largest_gap,
    recovery_time as recovery_time,
    support_by_gap as support_by_gap,
    support_score as support_score,
)
from sparsejax.structure.surrogate import Surrogate as Surrogate, fit_surrogate as fit_surrogate
from sparsejax.structure.synonymic_sensitivity import (
    SynonymProbe as SynonymProbe,
    synonym_probe as synonym_probe,
    synonymic_sensitivity as synonymic_sensitivity,
)
