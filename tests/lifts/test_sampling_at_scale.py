"""Wirings of 65,536 vertices are drawn in memory linear in their edges."""

import jax
import numpy as np
import pytest

from sparsejax.lifts import sampling
from sparsejax.lifts.sampling import sample_binomial, sample_regular

N, IN_DEGREE = 65536, 16


@pytest.mark.parametrize("sample", [sample_regular, sample_binomial])
@pytest.mark.slow
def test_drawing_needs_memory_for_the_edges_only(sample):
    compiled = jax.jit(lambda key: sample(key, N, N, IN_DEGREE)).lower(jax.random.key(0)).compile()
    memory = compiled.memory_analysis()
    used = memory.temp_size_in_bytes + memory.output_size_in_bytes
    # A few arrays of indices of up to 80 padded rows; an n x n array of bytes is 20 times as large.
    assert used < 10 * 4 * 80 * N < N * N / 20
    wiring = sample(jax.random.key(1), N, N, IN_DEGREE)
    degrees = np.asarray(
        wiring.predecessors.shape[0] if wiring.present is None else wiring.present.sum(0)
    )
    edges = degrees.sum() if degrees.ndim else int(degrees) * N
    # Four standard deviations of the binomial law's number of edges.
    assert abs(edges - N * IN_DEGREE) <= (4 * np.sqrt(N * IN_DEGREE) if degrees.ndim else 0)
    assert np.asarray(wiring.successors_present).sum() == edges
    read = np.sort(np.asarray(wiring.predecessors)[: int(degrees.min())], axis=0)
    assert (read[1:] > read[:-1]).all() and read.max() < N


def test_many_predecessors_are_drawn_some_targets_at_a_time(monkeypatch):
    # 3 targets at a time, of 11 sources, the last block not full.
    monkeypatch.setattr(sampling, "SHUFFLED_AT_ONCE", 40)
    wiring = sample_regular(jax.random.key(0), 11, 4001, 7)
    read = np.asarray(wiring.predecessors)
    assert read.shape == (7, 4001) and (read[1:] > read[:-1]).all()
    counts = np.bincount(read.ravel(), minlength=11)
    deviation = np.abs(counts - 4001 * 7 / 11) / np.sqrt(4001 * (7 / 11) * (4 / 11))
    assert deviation.max() < 4
    # Blocks are drawn independently: neighbours in different blocks agree as often as any do.
    assert len(np.unique(read[:, ::3], axis=1).T) > 300
