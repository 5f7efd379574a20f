"""Claims of theory, each with the experiment that can refute it."""

from sparsejax.claims.claim import Claim as Claim, Measurements as Measurements, Trial as Trial
from sparsejax.claims.registry import CLAIMS as CLAIMS
