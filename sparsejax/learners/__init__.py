"""What learns: architectures by name, their penalties, and how they are trained."""

from sparsejax.learners.intermediate import IntermediateSupervision as IntermediateSupervision
from sparsejax.learners.layerwise import layerwise as layerwise
from sparsejax.learners.learner import InputLeaf as InputLeaf, Learner as Learner
from sparsejax.learners.lifted import (
    dense_mlp as dense_mlp,
    matched_lift as matched_lift,
    sparse_lift as sparse_lift,
)
from sparsejax.learners.local import (
    cnn as cnn,
    locally_connected as locally_connected,
    tree_cnn as tree_cnn,
)
from sparsejax.learners.penalties import (
    PENALTIES as PENALTIES,
    coordinate_groups as coordinate_groups,
    penalty as penalty,
)
from sparsejax.learners.sized import (
    shallow_mlp as shallow_mlp,
    with_parameters as with_parameters,
)
from sparsejax.learners.transformers import (
    mixing_transformer as mixing_transformer,
    plain_transformer as plain_transformer,
)
from sparsejax.learners.two_layer import two_layer as two_layer
