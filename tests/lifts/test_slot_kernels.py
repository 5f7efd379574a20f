"""The three sums over edges equal the matrix products, however slots are grouped into trips."""

import jax
import numpy as np
import pytest

from sparsejax.lifts.slot_kernels import to_sources, to_targets, to_weights

from .reference import wired

N_A, N_B = 19, 23


@pytest.mark.parametrize(
    "slots, batch",
    # One slot, no loop; two trips of one; an odd number; a third trip. Batches: any, and one whose
    # weight gradient takes the heavier loop.
    [(1, 3), (2, 33), (9, 3), (17, 33)],
)
def test_kernels_equal_matrix_products(slots, batch):
    random = np.random.default_rng(slots)
    pairs = [(u, v) for v in range(N_B) for u in random.choice(N_A, slots, replace=False)]
    wiring = wired(pairs, N_A, N_B, masked=True)
    weights = random.normal(size=(slots, N_B))
    y, z = random.normal(size=(N_A, batch)), random.normal(size=(N_B, batch))
    matrix = np.zeros((N_B, N_A))
    reads = np.asarray(wiring.predecessors)
    matrix[np.arange(N_B)[None], reads] = weights

    @jax.jit
    def kernels(weights, y, z, predecessors, successors):
        return (
            to_targets(weights, y, predecessors),
            to_sources(weights, z, successors),
            to_weights(y, z, predecessors),
        )

    targets, sources, of_weights = kernels(weights, y, z, wiring.predecessors, wiring.successors)
    np.testing.assert_allclose(targets, matrix @ y, atol=1e-12)
    np.testing.assert_allclose(sources, matrix.T @ z, atol=1e-12)
    np.testing.assert_allclose(of_weights, (z @ y.T)[np.arange(N_B)[None], reads], atol=1e-12)
