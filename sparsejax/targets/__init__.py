"""What is to be learned: targets whose theory is known, compositions, hierarchies, real data."""

from sparsejax.targets.compositional import (
    CompositionalTarget as CompositionalTarget,
    Node as Node,
    product_tree as product_tree,
)
from sparsejax.targets.constituents import (
    BooleanConstituent as BooleanConstituent,
    SmoothConstituent as SmoothConstituent,
)
from sparsejax.targets.corruption import (
    ClassImbalance as ClassImbalance,
    DuplicatedInputs as DuplicatedInputs,
    InputNoise as InputNoise,
    IrrelevantInputs as IrrelevantInputs,
    LabelNoise as LabelNoise,
    MissingAtRandom as MissingAtRandom,
    MissingCompletelyAtRandom as MissingCompletelyAtRandom,
    MissingNotAtRandom as MissingNotAtRandom,
    corrupt as corrupt,
)
from sparsejax.targets.cubature import (
    Cubature as Cubature,
    cube_cubature as cube_cubature,
    uniform_cubature as uniform_cubature,
)
from sparsejax.targets.dataset import Dataset as Dataset
from sparsejax.targets.encoded import Encoded as Encoded, encoded as encoded
from sparsejax.targets.expansion import Expansion as Expansion
from sparsejax.targets.frame import table_of_frame as table_of_frame
from sparsejax.targets.hermite import (
    HermiteExpansion as HermiteExpansion,
    hermite_coefficients as hermite_coefficients,
    hermite_index as hermite_index,
    hermite_polynomials as hermite_polynomials,
    multi_index as multi_index,
    single_index as single_index,
)
from sparsejax.targets.hierarchy_correlations import (
    label_given_first_tuple as label_given_first_tuple,
    measured_tuple_correlation as measured_tuple_correlation,
    tuple_correlation as tuple_correlation,
    tuple_crossing as tuple_crossing,
    tuple_noise as tuple_noise,
)
from sparsejax.targets.hierarchy_rules import (
    Derivation as Derivation,
    HierarchyRules as HierarchyRules,
    HierarchySizes as HierarchySizes,
    draw_rules as draw_rules,
)
from sparsejax.targets.input_laws import sample_inputs as sample_inputs
from sparsejax.targets.known_sensitivities import (
    ishigami as ishigami,
    ishigami_indices as ishigami_indices,
    ishigami_table as ishigami_table,
    monk3 as monk3,
    monk3_indices as monk3_indices,
    monk3_table as monk3_table,
)
from sparsejax.targets.leap import (
    Leap as Leap,
    leap as leap,
    merged_staircase as merged_staircase,
)
from sparsejax.targets.parse import parse_target as parse_target
from sparsejax.targets.prediction import (
    HasPredictions as HasPredictions,
    Prediction as Prediction,
    deep_parameters as deep_parameters,
    predicted as predicted,
    shallow_parameters as shallow_parameters,
)
from sparsejax.targets.random_compositions import (
    binary_tree as binary_tree,
    random_dag as random_dag,
)
from sparsejax.targets.random_hierarchy import (
    RandomHierarchy as RandomHierarchy,
    encode_symbols as encode_symbols,
)
from sparsejax.targets.random_parts import random_parts as random_parts
from sparsejax.targets.read_table import (
    file_record as file_record,
    is_table_file as is_table_file,
    read_table as read_table,
)
from sparsejax.targets.ready_made import READY_MADE as READY_MADE
from sparsejax.targets.real_tables import REAL as REAL, real_table as real_table
from sparsejax.targets.sampled import (
    NAMES as NAMES,
    data_by_name as data_by_name,
    real_data as real_data,
    sampled as sampled,
    table_data as table_data,
)
from sparsejax.targets.sobol import (
    SobolIndices as SobolIndices,
    sobol_indices as sobol_indices,
    sobol_indices_of_table as sobol_indices_of_table,
)
from sparsejax.targets.staircases import (
    degenerate_staircase as degenerate_staircase,
    leap_staircase as leap_staircase,
    merged_stairs as merged_stairs,
    parity as parity,
    sparse_polynomial as sparse_polynomial,
    staircase as staircase,
)
from sparsejax.targets.table import (
    Column as Column,
    Split as Split,
    Table as Table,
    TableError as TableError,
    split as split,
)
from sparsejax.targets.target import Target as Target
from sparsejax.targets.walsh import (
    WalshExpansion as WalshExpansion,
    majority as majority,
    majority_coefficient as majority_coefficient,
    walsh_expansion as walsh_expansion,
    walsh_transform as walsh_transform,
)
