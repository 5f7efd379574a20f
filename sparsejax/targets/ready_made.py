"""The ready-made targets by name, at arguments that make a readable example."""

import functools
from collections.abc import Callable, Mapping

from sparsejax.targets.compositional import product_tree
from sparsejax.targets.hermite import hermite_index
from sparsejax.targets.random_compositions import binary_tree, random_dag
from sparsejax.targets.random_hierarchy import RandomHierarchy
from sparsejax.targets.staircases import (
    degenerate_staircase,
    leap_staircase,
    merged_stairs,
    parity,
    sparse_polynomial,
    staircase,
)
from sparsejax.targets.target import Target
from sparsejax.targets.walsh import majority

READY_MADE: Mapping[str, Callable[..., Target]] = {
    "staircase": functools.partial(staircase, dims=100),
    "merged_stairs": functools.partial(merged_stairs, dims=100),
    "degenerate_staircase": functools.partial(degenerate_staircase, dims=100),
    "leap_staircase": functools.partial(leap_staircase, dims=100),
    "parity": functools.partial(parity, dims=50),
    "majority": functools.partial(majority, n=5),
    "sparse_polynomial": functools.partial(sparse_polynomial, dims=100),
    "single_index": functools.partial(hermite_index, dims=100),
    "tree": product_tree,
    "binary_tree": functools.partial(binary_tree, dims=8),
    "random_dag": functools.partial(random_dag, seed=0, dims=10, nodes=6, arity=2),
    "random_hierarchy": functools.partial(RandomHierarchy, symbols=4, synonyms=2, levels=3),
}
"""One line a constructor; its other arguments keep their defaults."""
