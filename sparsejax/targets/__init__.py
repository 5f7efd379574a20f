"""What is to be learned: compositional targets and real data."""

from sparsejax.targets.compositional import (
    CompositionalTarget as CompositionalTarget,
    Node as Node,
    product_tree as product_tree,
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
from sparsejax.targets.frame import table_of_frame as table_of_frame
from sparsejax.targets.read_table import (
    file_record as file_record,
    is_table_file as is_table_file,
    read_table as read_table,
)
from sparsejax.targets.real_tables import REAL as REAL, real_table as real_table
from sparsejax.targets.sampled import (
    NAMES as NAMES,
    data_by_name as data_by_name,
    real_data as real_data,
    sampled as sampled,
    table_data as table_data,
)
from sparsejax.targets.table import (
    Column as Column,
    Split as Split,
    Table as Table,
    TableError as TableError,
    split as split,
)
