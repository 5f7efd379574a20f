"""What was learned, or is in the data: the inputs that a function uses."""

from sparsejax.structure.gradient_outer_product import (
    average_gradient_outer_product as average_gradient_outer_product,
    input_shares as input_shares,
)
