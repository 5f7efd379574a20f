"""What the layers of a transformer know of a hierarchy: synonymic sensitivity, layer by layer."""

import equinox as eqx
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from sparsejax.learners.lifted import LiftFunction
from sparsejax.learners.transformers import TokenFunction
from sparsejax.structure import SynonymProbe


def streams(f: LiftFunction | TokenFunction, params: PyTree, x: Array) -> dict[str, Array]:
    """The residual stream behind every part of every block, in order, and the outputs.

    `stream0` is what enters the first block; `attended1` and `stream1` come behind its attention
    and its perceptron. Of a plain transformer these are normalised, as the next part reads them;
    the last stream is its mean over tokens.

    Raises:
        TypeError: a function that is no transformer of this package.
    """
    if isinstance(f, LiftFunction):
        values = f.lift.activations(params, x.reshape(len(x), *f.sample_shape))
        kept = [name for name in values if name.startswith(("stream", "attended"))]
        return {name: values[name] for name in kept} | {"y": values["y"]}
    if not isinstance(f, TokenFunction):
        raise TypeError(f"streams are those of transformers, not of {type(f).__name__}")
    model = f.f.model.value
    y, seen = model.apply(
        {"params": params},
        x.reshape(len(x), f.tokens, -1),
        capture_intermediates=True,
        mutable=["intermediates"],
    )
    found = {name: entry["__call__"][0] for name, entry in seen["intermediates"].items()
             if name.startswith("norm")}  # fmt: skip
    blocks = len(found) // 2
    named = {}
    for block in range(1, blocks + 1):
        named[f"stream{block - 1}"] = found[f"norm{block}a"]
        named[f"attended{block}"] = found[f"norm{block}b"]
    return named | {f"stream{blocks}": found["norm"].mean(axis=1), "y": y}


class LayerSensitivity(eqx.Module):
    """The sensitivities of all streams and of the outputs: `(layers, levels)`."""

    synonyms: SynonymProbe

    def __call__(self, f, params: PyTree) -> Float[Array, "layers levels"]:
        """In the order of `streams`."""
        found = self.synonyms.of_layers(lambda x: list(streams(f, params, x).values()))
        return jnp.stack(found)


def layer_names(blocks: int) -> list[str]:
    """The names of `streams`, in their order.

    Example:
        >>> layer_names(1)
        ['stream0', 'attended1', 'stream1', 'y']
    """
    inner = [name for b in range(1, blocks + 1) for name in (f"attended{b}", f"stream{b}")]
    return ["stream0", *inner, "y"]
