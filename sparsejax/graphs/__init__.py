"""Networks before any width: perceptron modules and the ready-made ones."""

from sparsejax.graphs.activations import Pointwise as Pointwise, as_activation as as_activation
from sparsejax.graphs.convnet import convnet as convnet
from sparsejax.graphs.convolution import Convolution as Convolution
from sparsejax.graphs.dag import Dag as Dag
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
from sparsejax.graphs.from_target import from_target as from_target
from sparsejax.graphs.mixing_transformer import mixing_transformer as mixing_transformer
from sparsejax.graphs.mlp import mlp as mlp
from sparsejax.graphs.perceptron_module import (
    Edge as Edge,
    PerceptronModule as PerceptronModule,
    Vertex as Vertex,
)
from sparsejax.graphs.pooling import Pooling as Pooling
from sparsejax.graphs.ready_made import READY_MADE as READY_MADE
from sparsejax.graphs.recurrent_mlp import recurrent_mlp as recurrent_mlp
from sparsejax.graphs.residual_mlp import residual_mlp as residual_mlp
from sparsejax.graphs.soft_mul import SoftMul as SoftMul
from sparsejax.graphs.token_mixing import (
    PositionMixing as PositionMixing,
    TokenMixing as TokenMixing,
)
