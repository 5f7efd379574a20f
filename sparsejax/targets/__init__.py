"""What is to be learned: compositional targets and real data."""

from sparsejax.targets.compositional import (
    CompositionalTarget as CompositionalTarget,
    Node as Node,
    product_tree as product_tree,
)
from sparsejax.targets.cubature import (
    Cubature as Cubature,
    cube_cubature as cube_cubature,
    uniform_cubature as uniform_cubature,
)
from sparsejax.targets.dataset import Dataset as Dataset
from sparsejax.targets.input_laws import sample_inputs as sample_inputs
from sparsejax.targets.sampled import (
    NAMES as NAMES,
    REAL as REAL,
    data_by_name as data_by_name,
    real_data as real_data,
    sampled as sampled,
)
from sparsejax.targets.target import Target as Target
