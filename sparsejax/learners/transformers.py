"""Learners with attention: the lift of a mixing transformer, and a plain one through Flax."""

import dataclasses
import functools
from typing import Any, Literal

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, PyTree

from sparsejax import graphs
from sparsejax.interop import from_flax
from sparsejax.interop.flax_extra import flax_module
from sparsejax.learners.learner import InputLeaf, Learner, check_positive
from sparsejax.learners.lifted import Gain, sparse_lift, widest
from sparsejax.lifts.construction import InDegrees, Sizes


def mixing_transformer(
    tokens: int,
    features: int,
    blocks: int,
    sizes: Sizes,
    in_degree: InDegrees | None = None,
    *,
    inputs: int | None = None,
    outputs: int = 1,
    activation: str = "relu",
    causal: bool = False,
    readout: Literal["mean", "dense"] = "mean",
    gain: Gain | None = None,
    bias_scale: float | int = 0.1,
    zero_outputs: bool = False,
) -> Learner:
    """A lift of `graphs.mixing_transformer`: streams, heads and perceptrons are lifted.

    Samples are flat, `(n, tokens * inputs)`, the `inputs` (`features` unless given) entries of one
    token side by side. `in_degree=None` has all edges.

    Raises:
        ValueError: as `graphs.mixing_transformer` and `sparse_lift`.

    Example:
        >>> mixing_transformer(tokens=4, features=3, blocks=1, sizes=2, inputs=1).dims
        4
    """
    module = graphs.mixing_transformer(
        tokens, features, blocks, outputs, activation,
        inputs=inputs, causal=causal, readout=readout,
    )  # fmt: skip
    return sparse_lift(
        module,
        sizes,
        in_degree,
        gain=gain,
        bias_scale=bias_scale,
        zero_outputs=zero_outputs,
        name=f"mixing-transformer-{blocks}x{widest(sizes)}",
    )


class TokenFunction(eqx.Module):
    """`f(params, x)` of a sequence model on flat samples: `(n, tokens * inputs)` to `(n, C)`."""

    f: Any
    tokens: int = eqx.field(static=True)

    def __call__(self, params: PyTree, x: Float[Array, "n ..."]) -> Float[Array, "n c"]:
        """The network's function."""
        dtype = jnp.result_type(*jax.tree.leaves(params))
        return self.f(params, x.astype(dtype).reshape(x.shape[0], self.tokens, -1))


@functools.lru_cache(maxsize=64)
def _model(features: int, blocks: int, heads: int, outputs: int, causal: bool, dtype: str) -> Any:
    """One linen module for each shape, so that functions built from it are equal and compile once.

    Pre-norm blocks: attention, then a perceptron of four times the features; the mean over tokens
    is read out.
    """
    linen: Any = flax_module("flax.linen")
    kinds = {"dtype": jnp.dtype(dtype), "param_dtype": jnp.dtype(dtype)}
    # Reductions in the precision of their input, which strict promotion asks for too.
    norms = {**kinds, "force_float32_reductions": False}

    class PlainTransformer(linen.Module):  # type: ignore[name-defined, misc, unused-ignore]
        @linen.compact
        def __call__(self, x):
            h = linen.Dense(features, name="embed", **kinds)(x)
            shape = (x.shape[1], features)
            where = self.param("positions", linen.initializers.normal(0.02), shape, kinds["dtype"])
            h = h + where[None]
            mask = linen.make_causal_mask(x[..., 0], dtype=bool) if causal else None
            for block in range(1, blocks + 1):
                seen = linen.LayerNorm(name=f"norm{block}a", **norms)(h)
                attention = linen.MultiHeadDotProductAttention(heads, name=f"heads{block}", **kinds)
                h = h + attention(seen, seen, mask=mask)
                seen = linen.LayerNorm(name=f"norm{block}b", **norms)(h)
                wide = linen.Dense(4 * features, name=f"perceptron{block}a", **kinds)(seen)
                h = h + linen.Dense(features, name=f"perceptron{block}b", **kinds)(linen.gelu(wide))
            h = linen.LayerNorm(name="norm", **norms)(h)
            return linen.Dense(outputs, name="y", **kinds)(h.mean(axis=1))

    return PlainTransformer()


@dataclasses.dataclass(frozen=True)
class _Builder:
    tokens: int
    inputs: int
    features: int
    blocks: int
    heads: int
    outputs: int
    causal: bool

    def __call__(self, key):
        dtype = jnp.result_type(float)
        model = _model(
            self.features, self.blocks, self.heads, self.outputs, self.causal, dtype.name
        )
        variables = model.init(key, jnp.zeros((1, self.tokens, self.inputs), dtype))
        f, params = from_flax(model, variables)
        return TokenFunction(f, self.tokens), params


def plain_transformer(
    tokens: int,
    features: int,
    blocks: int,
    *,
    heads: int = 1,
    inputs: int = 1,
    outputs: int = 1,
    causal: bool = False,
) -> Learner:
    """A transformer as usual, through Flax: learned positions, pre-norm blocks, mean readout.

    A block is attention of `heads` heads and a perceptron of `4 * features`, each behind a layer
    norm and with an identity skip. Samples are flat, `(n, tokens * inputs)`, the entries of one
    token side by side.

    Raises:
        ImportError: Flax is not installed (`pip install "sparsejax[flax]"`).
        ValueError: a number that is not positive, or heads that do not divide the features.

    Source: Vaswani et al. 2017; norms before as in Xiong et al. 2020.

    Example:
        >>> plain_transformer(tokens=4, features=8, blocks=1, heads=2).dims
        4
    """
    flax_module("flax.linen")
    check_positive(
        "plain_transformer",
        tokens=tokens,
        features=features,
        blocks=blocks,
        heads=heads,
        inputs=inputs,
        outputs=outputs,
    )
    if features % heads:
        raise ValueError(f"plain_transformer: {heads} heads do not divide {features} features")
    builder = _Builder(tokens, inputs, features, blocks, heads, outputs, causal)
    shapes = jax.eval_shape(lambda key: builder(key)[1], jax.eval_shape(jax.random.key, 0))
    paths = [path for path, _ in jax.tree_util.tree_leaves_with_path(shapes)]
    names = tuple(jax.tree_util.keystr(path, simple=True, separator="/") for path in paths)
    return Learner(
        f"transformer-{blocks}x{features}",
        tokens * inputs,
        outputs,
        builder,
        (InputLeaf("embed/kernel"),),
        _layers(names, blocks),
    )


def _layers(names: tuple[str, ...], blocks: int) -> tuple[tuple[str, ...], ...]:
    """The leaves by block: the embedding, the blocks, and the readout with its norm."""
    parts: list[list[str]] = [[] for _ in range(blocks + 2)]
    for name in names:
        layer = name.split("/")[0]
        digits = layer.strip("abcdefghijklmnopqrstuvwxyz")
        at = int(digits) if digits else (0 if layer in ("embed", "positions") else blocks + 1)
        parts[at].append(name)
    return tuple(map(tuple, parts))
