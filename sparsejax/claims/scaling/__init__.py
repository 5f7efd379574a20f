"""Scaling laws over ladders of sizes: exponents of hitting times, collapses, what finite size does."""

from sparsejax.claims.scaling.collapse import Collapse as Collapse, collapse as collapse
from sparsejax.claims.scaling.comparisons import (
    Comparison as Comparison,
    compare_times as compare_times,
)
from sparsejax.claims.scaling.finite_size import (
    finite_size_warnings as finite_size_warnings,
    hermite_strengths as hermite_strengths,
)
from sparsejax.claims.scaling.hitting_exponent import (
    HittingExponent as HittingExponent,
    hitting_exponent as hitting_exponent,
)
