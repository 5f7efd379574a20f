"""What a perceptron module becomes with width: lifts, their wirings, products and geometry."""

from sparsejax.lifts.cone_laws import (
    Expectation as Expectation,
    embedded_in_tree_probability as embedded_in_tree_probability,
    in_tree_probability as in_tree_probability,
    tree_like_probability as tree_like_probability,
)
from sparsejax.lifts.cone_size_law import expected_cone_size as expected_cone_size
from sparsejax.lifts.cones import (
    cone_sizes as cone_sizes,
    has_in_tree as has_in_tree,
    in_degree_counts as in_degree_counts,
    in_tree_of as in_tree_of,
    tree_like as tree_like,
)
from sparsejax.lifts.conservation import (
    ConservedQuantities as ConservedQuantities,
    conserved_quantities as conserved_quantities,
)
from sparsejax.lifts.dense_lift import dense_lift as dense_lift
from sparsejax.lifts.disjoint_union import (
    disjoint_union as disjoint_union,
    join_params as join_params,
    split_params as split_params,
)
from sparsejax.lifts.fibration import (
    FibrationReport as FibrationReport,
    is_fibration as is_fibration,
    pull_back as pull_back,
    random_fibration as random_fibration,
)
from sparsejax.lifts.growth import embed as embed, grow as grow
from sparsejax.lifts.in_tree import InTree as InTree, uniform_in_tree as uniform_in_tree
from sparsejax.lifts.lift import Lift as Lift, LiftError as LiftError, Params as Params
from sparsejax.lifts.lift_from_edges import lift_from_edges as lift_from_edges
from sparsejax.lifts.lift_law import LiftLaw as LiftLaw
from sparsejax.lifts.ntk_parametrisation import (
    NtkParametrised as NtkParametrised,
    ntk_parametrised as ntk_parametrised,
)
from sparsejax.lifts.random_sparse_lift import random_sparse_lift as random_sparse_lift
from sparsejax.lifts.sparse_product import sparse_product as sparse_product
from sparsejax.lifts.teacher import random_teacher as random_teacher, teacher as teacher
from sparsejax.lifts.unrolling import Unrolled as Unrolled, unroll as unroll
from sparsejax.lifts.weighted_edges import lifted_edges as lifted_edges
from sparsejax.lifts.wiring import DenseWiring as DenseWiring, SparseWiring as SparseWiring
from sparsejax.lifts.witness import (
    WitnessTree as WitnessTree,
    witness_distances as witness_distances,
    witness_probability as witness_probability,
    witness_tree as witness_tree,
)
