"""A Flax module, linen or nnx, as the pure `f(params, x)` that every other room takes."""

from collections.abc import Mapping
from typing import Any

import equinox as eqx
import jax
from jaxtyping import PyTree

from sparsejax.interop.flax_extra import flax_module
from sparsejax.interop.pure_function import PureFunction, trainable


class _Identical:
    """Something static that need not be hashable (a linen module may have lists as fields)."""

    def __init__(self, value: Any):
        self.value = value

    def __hash__(self) -> int:
        return id(self.value)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Identical) and other.value is self.value

    def __repr__(self) -> str:
        return repr(self.value)


class LinenFunction(eqx.Module):
    """`f(params, x)` of a linen module; `collections` are its other variables, held fixed."""

    collections: dict[str, PyTree]
    model: _Identical = eqx.field(static=True)
    options: tuple[tuple[str, Any], ...] = eqx.field(static=True)

    def __call__(self, params: PyTree, x: PyTree) -> Any:
        """The module's outputs on a batch; ValueError where it would change, or draws at random."""
        errors = flax_module("flax.errors")
        variables = {**self.collections, "params": params}
        try:
            return self.model.value.apply(variables, x, **dict(self.options))
        except (errors.ModifyScopeVariableError, errors.InvalidRngError) as error:
            raise ValueError(
                f"{type(self.model.value).__name__} is no function of (params, x), since it "
                f"updates other variables or draws at random: {error}. Name what puts it in its "
                "inference mode, such as from_flax(model, variables, train=False)"
            ) from error


class NnxFunction(eqx.Module):
    """`f(params, x)` of an nnx module; `rest` is its state beside its parameters, held fixed."""

    rest: PyTree
    graphdef: Any = eqx.field(static=True)
    options: tuple[tuple[str, Any], ...] = eqx.field(static=True)

    def __call__(self, params: PyTree, x: PyTree) -> Any:
        """The module's outputs on a batch; ValueError where its own state would change."""
        nnx = flax_module("flax.nnx")
        model = nnx.merge(self.graphdef, params, self.rest)
        outputs = model(x, **dict(self.options))
        _, _, after = nnx.split(model, nnx.Param, ...)
        written = dict(jax.tree.leaves_with_path(nnx.to_pure_dict(after)))
        for path, leaf in jax.tree.leaves_with_path(self.rest):
            # By identity: a value that was assigned is a new array, or a new tracer.
            if written.get(path) is not leaf:
                raise ValueError(
                    f"{type(model).__name__} is no function of (params, x): the call changes its "
                    f"state {jax.tree_util.keystr(path)}. Put it in its inference mode first, "
                    "with model.eval()"
                )
        return outputs


def from_flax(
    model: Any, variables: Mapping[str, PyTree] | None = None, **options: Any
) -> PureFunction:
    """`(f, params)` of a `flax.linen` or `flax.nnx` module; `params` is a nested dict of arrays.

    A linen module keeps no parameters: give the `variables` that its `init` returned. Collections
    beside `params`, such as `batch_stats`, are held fixed, and so is the state of an nnx module
    that is no `nnx.Param`. A call that would change them, or draw at random, is refused.
    `options` are keywords of every call (`train=False`), static and hashable.

    After training, `model.apply({**variables, "params": params}, x)` and
    `nnx.update(model, params)` put the parameters back.

    Raises:
        ImportError: Flax is not installed.
        TypeError: `model` is no Flax module.
        ValueError: `variables` is missing or not wanted, or there are no parameters. Calling `f`:
            the module updates its state or draws random numbers.

    Example:
        >>> import jax.numpy as jnp
        >>> from flax import linen, nnx
        >>> f, params = from_flax(nnx.Linear(3, 2, rngs=nnx.Rngs(0)))
        >>> {name: w.shape for name, w in params.items()}
        {'bias': (2,), 'kernel': (3, 2)}
        >>> f, params = from_flax(linen.Dense(2), {"params": params})
        >>> f(params, jnp.ones((5, 3), jnp.float32)).shape
        (5, 2)
    """
    linen, nnx = flax_module("flax.linen"), flax_module("flax.nnx")
    frozen_options = tuple(sorted(options.items()))
    if isinstance(model, linen.Module):
        variables = _linen_variables(model, variables)
        params = trainable(variables.pop("params"), model)
        return PureFunction(LinenFunction(variables, _Identical(model), frozen_options), params)
    if not isinstance(model, nnx.Module):
        hint = "; from_equinox takes Equinox modules" if isinstance(model, eqx.Module) else ""
        raise TypeError(
            f"from_flax takes a flax.linen.Module or a flax.nnx.Module, got "
            f"{type(model).__name__}{hint}"
        )
    if variables is not None:
        raise ValueError("an nnx module holds its parameters: variables go with linen modules")
    graphdef, state, rest = nnx.split(model, nnx.Param, ...)
    params = trainable(nnx.to_pure_dict(state), model)
    return PureFunction(NnxFunction(nnx.to_pure_dict(rest), graphdef, frozen_options), params)


def _linen_variables(model: Any, variables: Mapping[str, PyTree] | None) -> dict[str, PyTree]:
    """Plain nested dicts, without the boxes and frozen dicts in which linen may keep them."""
    name = type(model).__name__
    if variables is None:
        raise ValueError(
            f"{name} is a linen module and keeps no parameters: give variables, such as "
            "model.init(key, x)"
        )
    if "params" not in variables:
        raise ValueError(
            f"{name}: variables has the collections {', '.join(map(str, variables))}, and no "
            "'params'; give all that model.init(key, x) returned"
        )
    plain = flax_module("flax.core").unfreeze(dict(variables))
    return flax_module("flax.linen").meta.unbox(plain)
