"""What was learned, or is in the data: inputs, coefficients, times of rise, synonyms."""

from sparsejax.structure.basis_coefficients import (
    HermiteProbe as HermiteProbe,
    WalshProbe as WalshProbe,
    cube_inputs as cube_inputs,
    gaussian_inputs as gaussian_inputs,
)
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
from sparsejax.structure.hidden_progress import (
    HiddenProgress as HiddenProgress,
    with_start as with_start,
)
from sparsejax.structure.input_weight_norms import (
    InputWeightNorms as InputWeightNorms,
    input_weight_norms as input_weight_norms,
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
from sparsejax.structure.synonymic_sensitivity import (
    SynonymProbe as SynonymProbe,
    synonym_probe as synonym_probe,
    synonymic_sensitivity as synonymic_sensitivity,
)
