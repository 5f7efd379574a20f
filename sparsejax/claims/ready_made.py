"""One small instance of every ready-made kind of module, for claims about all of them."""

import dataclasses
from collections.abc import Callable

import jax
from jaxtyping import Array, Key

from sparsejax import graphs, targets


@dataclasses.dataclass(frozen=True)
class Kind:
    """How to build a small module of one kind."""

    build: Callable[[], graphs.PerceptronModule]

    def samples(self, key: Key[Array, ""], count: int) -> dict[str, Array]:
        """Standard normal samples for every input that is fed."""
        module = self.build()
        return {
            name: jax.random.normal(
                jax.random.fold_in(key, number), (count, *_input_shape(module, name))
            )
            for number, name in enumerate(module.fed_inputs)
        }


def _input_shape(module: graphs.PerceptronModule, name: str) -> tuple[int, ...]:
    size, shape = module.clamped(name) or 1, module.vertex(name).shape
    return shape if size == 1 else (size, *shape)


KINDS: dict[str, Kind] = {
    "mlp": Kind(lambda: graphs.mlp(inputs=3, hidden=3, outputs=2)),
    "mlp-coordinates": Kind(
        lambda: graphs.mlp(inputs=4, hidden=2, outputs=1, input_as="coordinates")
    ),
    "residual-mlp": Kind(lambda: graphs.residual_mlp(inputs=3, blocks=2, outputs=1)),
    "recurrent-mlp": Kind(lambda: graphs.recurrent_mlp(inputs=2, hidden=1, outputs=1, steps=3)),
    "convnet": Kind(lambda: graphs.convnet(inputs=(4, 4), hidden=2, outputs=2, pooling="max")),
    "mixing-transformer": Kind(
        lambda: graphs.mixing_transformer(tokens=3, features=2, blocks=1, outputs=1)
    ),
    "target": Kind(lambda: graphs.from_target(targets.product_tree(dims=4))),
}
"""Every ready-made kind of module, by name."""
