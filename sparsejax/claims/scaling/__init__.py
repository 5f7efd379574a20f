"""Scaling laws over ladders of sizes: exponents of times, collapses, what finite size does."""

from sparsejax.claims.scaling.collapse import Collapse as Collapse, collapse as collapse
from sparsejax.claims.scaling.comparisons import (
    Comparison as Comparison,
    compare_times as compare_times,
    ratio as ratio,
)
from sparsejax.claims.scaling.finite_size import (
    finite_size_warnings as finite_size_warnings,
    hermite_strengths as hermite_strengths,
)
from sparsejax.claims.scaling.hitting_exponent import (
    HittingExponent as HittingExponent,
    hitting_exponent as hitting_exponent,
)
from sparsejax.claims.scaling.statements import (
    Statement as Statement,
    in_at_least as in_at_least,
    later_by as later_by,
    verdict_of as verdict_of,
)
