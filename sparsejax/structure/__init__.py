"""What was learned, or is in the data: inputs, coefficients, times of rise, synonyms."""

from sparsejax.structure.basis_coefficients import (
    HermiteProbe as HermiteProbe,
    WalshProbe as WalshProbe,
    cube_inputs as cube_inputs,
    gaussian_inputs as gaussian_inputs,
)
from sparsejax.structure.gradient_outer_product import (
    average_gradient_outer_product as average_gradient_outer_product,
    input_shares as input_shares,
)
from sparsejax.structure.input_weight_norms import (
    InputWeightNorms as InputWeightNorms,
    input_weight_norms as input_weight_norms,
)
from sparsejax.structure.stages import (
    Stages as Stages,
    change_points as change_points,
    rise_times as rise_times,
    stages as stages,
)
from sparsejax.structure.synonymic_sensitivity import (
    SynonymProbe as SynonymProbe,
    synonym_probe as synonym_probe,
    synonymic_sensitivity as synonymic_sensitivity,
)
