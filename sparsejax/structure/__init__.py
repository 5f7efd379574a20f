"""What was learned, or is in the data: the inputs that a function uses, the synonyms it knows."""

from sparsejax.structure.gradient_outer_product import (
    average_gradient_outer_product as average_gradient_outer_product,
    input_shares as input_shares,
)
from sparsejax.structure.synonymic_sensitivity import (
    SynonymProbe as SynonymProbe,
    synonym_probe as synonym_probe,
    synonymic_sensitivity as synonymic_sensitivity,
)
