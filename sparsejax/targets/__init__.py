"""What is to be learned: compositional targets, random hierarchies, and real data."""

from sparsejax.targets.compositional import (
    CompositionalTarget as CompositionalTarget,
    Node as Node,
    product_tree as product_tree,
)
from sparsejax.targets.constituents import (
    BooleanConstituent as BooleanConstituent,
    SmoothConstituent as SmoothConstituent,
)
from sparsejax.targets.cubature import (
    Cubature as Cubature,
    cube_cubature as cube_cubature,
    uniform_cubature as uniform_cubature,
)
from sparsejax.targets.dataset import Dataset as Dataset
from sparsejax.targets.hierarchy_correlations import (
    correlation as correlation,
    correlation_crossing as correlation_crossing,
    label_given_first_tuple as label_given_first_tuple,
    measured_correlation as measured_correlation,
    sampling_noise as sampling_noise,
)
from sparsejax.targets.hierarchy_rules import (
    Derivation as Derivation,
    HierarchyRules as HierarchyRules,
    HierarchySizes as HierarchySizes,
    draw_rules as draw_rules,
)
from sparsejax.targets.input_laws import sample_inputs as sample_inputs
from sparsejax.targets.parameter_counts import (
    deep_exponent as deep_exponent,
    deep_units as deep_units,
    shallow_exponent as shallow_exponent,
    shallow_units as shallow_units,
)
from sparsejax.targets.random_compositions import (
    binary_tree as binary_tree,
    random_dag as random_dag,
)
from sparsejax.targets.random_hierarchy import RandomHierarchy as RandomHierarchy, encode as encode
from sparsejax.targets.sampled import (
    NAMES as NAMES,
    REAL as REAL,
    data_by_name as data_by_name,
    real_data as real_data,
    sampled as sampled,
)
from sparsejax.targets.target import Target as Target
