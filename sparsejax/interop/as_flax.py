"""A lift as a Flax module: `flax.linen` or `flax.nnx`."""

from typing import Any

from sparsejax.interop.flax_extra import flax_module
from sparsejax.lifts import Lift, Params


def as_linen(lift: Lift, **init_options: Any) -> Any:
    """The lift as a `flax.linen` module whose function is `lift.apply`.

    Its collection `params` is what `lift.init` returns, either way round:
    `model.apply({"params": lift.init(key)}, x)`. `model.init(key, x)` draws them with
    `lift.init(..., **init_options)`, and puts the wirings, as variables that are not trained, into
    a collection `wirings`, so that `vmap` over the variables of many lifts is an ensemble of
    wirings. Where that collection is not given, the wirings are those of `lift`.

    Raises:
        ImportError: Flax is not installed.

    Example:
        >>> import jax, jax.numpy as jnp, sparsejax as sj
        >>> lift = sj.dense_lift(sj.graphs.mlp(inputs=3, hidden=1, outputs=2), sizes=4)
        >>> model = as_linen(lift, bias_scale=0.0)
        >>> shapes = jax.eval_shape(model.init, jax.random.key(0), jnp.ones((5, 3)))
        >>> {edge: w.shape for edge, w in shapes["params"].items()}["h1->y"]
        (4, 1, 2)
    """
    flax_module("flax.linen")
    from sparsejax.interop.linen_lift import InitialLift, LinenLift

    return LinenLift(initial=InitialLift(lift, dict(init_options)))


def as_nnx(
    lift: Lift, params: Params | None = None, *, rngs: Any = None, **init_options: Any
) -> Any:
    """The lift as a `flax.nnx` module whose function is `lift.apply` at its own parameters.

    Give `params`, or `rngs` (an `nnx.Rngs`) to draw them with
    `lift.init(rngs.params(), **init_options)`. Weights are `nnx.Param`s under `params`, by edge;
    wirings are variables of a type of their own, which optimisers and `nnx.grad` leave alone.
    `model.lift_params()` gives the parameters back, `model.lift` the lift.

    Raises:
        ImportError: Flax is not installed.
        ValueError: neither `params` nor `rngs`, or both; options of `init` without `rngs`.

    Example:
        >>> import sparsejax as sj
        >>> from flax import nnx
        >>> lift = sj.dense_lift(sj.graphs.mlp(inputs=3, hidden=1, outputs=2), sizes=4)
        >>> model = nnx.eval_shape(lambda: as_nnx(lift, rngs=nnx.Rngs(0)))
        >>> model.params["h1->y"].shape
        (4, 1, 2)
    """
    flax_module("flax.nnx")
    from sparsejax.interop.nnx_lift import NnxLift

    if (params is None) == (rngs is None):
        raise ValueError("as_nnx takes either params, or rngs to draw them with")
    if params is None:
        params = lift.init(rngs.params(), **init_options)
    elif init_options:
        raise ValueError(f"params are given: {', '.join(init_options)} would draw them")
    return NnxLift(lift, params)
