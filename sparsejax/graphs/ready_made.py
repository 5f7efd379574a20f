"""The ready-made modules by name, at arguments that make a readable example."""

import functools
from collections.abc import Callable, Mapping

from sparsejax.graphs.convnet import convnet
from sparsejax.graphs.mixing_transformer import mixing_transformer
from sparsejax.graphs.mlp import mlp
from sparsejax.graphs.perceptron_module import PerceptronModule
from sparsejax.graphs.recurrent_mlp import recurrent_mlp
from sparsejax.graphs.residual_mlp import residual_mlp

READY_MADE: Mapping[str, Callable[..., PerceptronModule]] = {
    "mlp": functools.partial(mlp, inputs=8, hidden=2, outputs=1),
    "convnet": functools.partial(convnet, inputs=(8, 8), hidden=2, outputs=1),
    "mixing_transformer": functools.partial(
        mixing_transformer, tokens=4, features=2, blocks=1, outputs=1
    ),
    "residual_mlp": functools.partial(residual_mlp, inputs=8, blocks=2, outputs=1),
    "recurrent_mlp": functools.partial(recurrent_mlp, inputs=2, hidden=1, outputs=1, steps=3),
}
"""One line a constructor; its other arguments keep their defaults."""
