"""Networks before any width: perceptron modules and the ready-made ones."""

from sparsejax.graphs.activations import Pointwise as Pointwise, as_activation as as_activation
from sparsejax.graphs.edge_maps import (
    Bias as Bias,
    Dense as Dense,
    EdgeMap as EdgeMap,
    Scale as Scale,
)
from sparsejax.graphs.errors import (
    CycleError as CycleError,
    DuplicateNameError as DuplicateNameError,
    InputWithInEdgesError as InputWithInEdgesError,
    MissingActivationError as MissingActivationError,
    ModuleError as ModuleError,
    NotLinearError as NotLinearError,
    ShapeMismatchError as ShapeMismatchError,
    UnknownVertexError as UnknownVertexError,
    UnreachableOutputError as UnreachableOutputError,
)
from sparsejax.graphs.mlp import mlp as mlp
from sparsejax.graphs.perceptron_module import (
    Edge as Edge,
    PerceptronModule as PerceptronModule,
    Vertex as Vertex,
)
from sparsejax.graphs.ready_made import READY_MADE as READY_MADE
