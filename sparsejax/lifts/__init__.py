"""What a perceptron module becomes with width: lifts, their wirings and products."""

from sparsejax.lifts.dense_lift import dense_lift as dense_lift
from sparsejax.lifts.disjoint_union import (
    disjoint_union as disjoint_union,
    join_params as join_params,
    split_params as split_params,
)
from sparsejax.lifts.lift import Lift as Lift, LiftError as LiftError, Params as Params
from sparsejax.lifts.lift_from_edges import lift_from_edges as lift_from_edges
from sparsejax.lifts.random_sparse_lift import random_sparse_lift as random_sparse_lift
from sparsejax.lifts.sparse_product import sparse_product as sparse_product
from sparsejax.lifts.wiring import DenseWiring as DenseWiring, SparseWiring as SparseWiring
