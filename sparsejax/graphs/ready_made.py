"""The ready-made modules by name, at arguments that make a readable example."""

import functools
from collections.abc import Callable, Mapping

from sparsejax.graphs.mlp import mlp
from sparsejax.graphs.perceptron_module import PerceptronModule

READY_MADE: Mapping[str, Callable[..., PerceptronModule]] = {
    "mlp": functools.partial(mlp, inputs=8, hidden=2, outputs=1),
}
"""One line a constructor; its other arguments keep their defaults."""
