"""Proximal steps as optax transformations: L1, group lasso, non-negativity, or any other prox."""

import math
from collections.abc import Callable, Collection, Mapping
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import optax
from jaxtyping import Array, PyTree

Prox = Callable[[PyTree, Array], PyTree]
StepSize = float | int | Array | Callable[[Any], Any]
Groups = Mapping[str, int | tuple[int, ...]]


class Penalty(NamedTuple):
    """A penalty `R` by its `prox(v, s)`, `argmin_u R(u) + ||u - v||^2 / (2 s)`.

    `check` refuses parameters that do not have the leaves that it is about.
    """

    prox: Prox
    check: Callable[[PyTree], None]


class ProximalState(NamedTuple):
    """Steps taken, and the size of the last one: the flow time that it stands for."""

    steps_taken: Array
    proximal_step_size: Array


def proximal(
    prox: Prox, step_size: StepSize, check: Callable[[PyTree], None] | None = None
) -> optax.GradientTransformation:
    """Follow each update by `prox(params, step size)`: chained behind a gradient step, ISTA.

    `prox(v, s)` is `argmin_u R(u) + ||u - v||^2 / (2 s)` for the penalty `R`. `step_size` is that
    of the gradient step before it, a number or an optax schedule: give both the same. `check` is
    called once with the parameters. `gradient_descent` takes the step size as the time of a step.

    Raises:
        ValueError: at an update without parameters.

    Example:
        >>> import jax.numpy as jnp, optax
        >>> shrink = proximal(lambda v, s: v / (1 + s), 0.5)  # R(u) = u^2 / 2
        >>> update, _ = shrink.update(jnp.asarray(1.0), shrink.init(jnp.asarray(2.0)), 2.0)
        >>> float(2.0 + update)
        2.0
    """

    def size(count: Array) -> Array:
        return jnp.asarray(step_size(count) if callable(step_size) else step_size, float)

    def init(params: PyTree) -> ProximalState:
        if check is not None:
            check(params)
        count = jnp.zeros((), jnp.int32)
        return ProximalState(count, size(count))

    def update(updates: PyTree, state: ProximalState, params: PyTree | None = None):
        if params is None:
            raise ValueError("a proximal step needs the parameters: update(updates, state, params)")
        step = size(state.steps_taken)
        moved = prox(optax.apply_updates(params, updates), step)
        # An entry that the prox sets to zero becomes exactly zero: p + (0 - p).
        updates = jax.tree.map(lambda new, old: new - old, moved, params)
        return updates, ProximalState(state.steps_taken + 1, step)

    return optax.GradientTransformation(init, update)


def proximal_l1(
    strength: float | int | Array,
    step_size: StepSize,
    *,
    leaves: Collection[str] | None = None,
) -> optax.GradientTransformation:
    """The proximal step of `strength * sum |theta_i|`: soft thresholding.

    `leaves`: names of the penalised leaves (all by default), path keys joined by `/`, as in
    `"x->h1"` for a lift's parameters or `"layer/w"` for nested ones.

    Raises:
        ValueError: a name that is no leaf (when the parameters are first seen).

    Example:
        >>> import jax.numpy as jnp, optax, sparsejax as sj
        >>> loss = lambda w: 0.5 * jnp.sum((w - jnp.array([3.0, 0.5])) ** 2)
        >>> method = optax.chain(optax.sgd(0.5), proximal_l1(1.0, 0.5))
        >>> sj.gradient_descent(loss, jnp.ones(2), method, 60).final.round(6).tolist()
        [2.0, 0.0]
    """
    penalty = l1(strength, leaves=leaves)
    return proximal(penalty.prox, step_size, penalty.check)


def l1(strength: float | int | Array, *, leaves: Collection[str] | None = None) -> Penalty:
    """The penalty `strength * sum |theta_i|` over the leaves named, as `proximal_l1`.

    Example:
        >>> import jax.numpy as jnp
        >>> l1(1.0).prox(jnp.array([3.0, 0.5]), jnp.asarray(1.0)).tolist()
        [2.0, 0.0]
    """

    def threshold(leaf: Array, amount: Array) -> Array:
        return jnp.sign(leaf) * jnp.maximum(jnp.abs(leaf) - amount.astype(leaf.dtype), 0)

    def prox(params: PyTree, step: Array) -> PyTree:
        amount = step * jnp.asarray(strength, float)
        return _on_leaves(params, leaves, lambda leaf: threshold(leaf, amount))

    return Penalty(prox, lambda params: _check_names(params, leaves))


def proximal_non_negative(
    step_size: StepSize, *, leaves: Collection[str] | None = None
) -> optax.GradientTransformation:
    """The projection on non-negative entries, the proximal step of that constraint.

    Raises:
        ValueError: a name that is no leaf (when the parameters are first seen).

    Example:
        >>> import jax.numpy as jnp
        >>> keep = proximal_non_negative(0.1)
        >>> params = jnp.array([1.0, 1.0])
        >>> update, _ = keep.update(jnp.array([-3.0, 1.0]), keep.init(params), params)
        >>> (params + update).tolist()
        [0.0, 2.0]
    """

    def prox(params: PyTree, step: Array) -> PyTree:
        return _on_leaves(params, leaves, lambda leaf: jnp.maximum(leaf, 0))

    return proximal(prox, step_size, lambda params: _check_names(params, leaves))


def proximal_group_lasso(
    strength: float | int | Array,
    step_size: StepSize,
    groups: Groups,
    *,
    size_weighted: bool = True,
) -> optax.GradientTransformation:
    """The proximal step of `strength * sum over groups of sqrt(size) ||theta_group||`.

    `groups`: for each penalised leaf, by name (see `proximal_l1`), the axes that number the groups;
    the entries along all its other axes belong to one group, and so do those of equal number in
    the other leaves named. `{"w": 0, "b": 0}` is one group a row of `w` with its entry of `b`;
    `{"w": ()}` is the whole leaf. Families of groups that share nothing are chained.
    `size_weighted=False` leaves the factor `sqrt(size)` out (Yuan & Lin 2006 have it).

    Raises:
        ValueError: no groups, a name that is no leaf, an axis out of range, or leaves whose groups
            do not match (when the parameters are first seen).

    Example:
        >>> import jax.numpy as jnp
        >>> step = proximal_group_lasso(2.5, 1.0, {"w": 0}, size_weighted=False)
        >>> params = {"w": jnp.array([[3.0, 4.0], [0.3, 0.4]])}
        >>> update, _ = step.update({"w": jnp.zeros((2, 2))}, step.init(params), params)
        >>> (params["w"] + update["w"]).tolist()
        [[1.5, 2.0], [0.0, 0.0]]
    """
    penalty = group_lasso(strength, groups, size_weighted=size_weighted)
    return proximal(penalty.prox, step_size, penalty.check)


def group_lasso(
    strength: float | int | Array, groups: Groups, *, size_weighted: bool = True
) -> Penalty:
    """The penalty `strength * sum over groups of sqrt(size) ||theta_group||`.

    Groups are as those of `proximal_group_lasso`.

    Raises:
        ValueError: as there.

    Example:
        >>> import jax.numpy as jnp
        >>> penalty = group_lasso(2.5, {"w": 0}, size_weighted=False)
        >>> penalty.prox({"w": jnp.array([[3.0, 4.0]])}, jnp.asarray(1.0))["w"].tolist()
        [[1.5, 2.0]]
    """
    if not groups:
        raise ValueError("groups: name at least one leaf")
    axes = {name: (at,) if isinstance(at, int) else tuple(at) for name, at in groups.items()}

    def check(params: PyTree) -> None:
        _check_names(params, axes)
        shapes = {
            name: _group_shape(name, leaf, axes[name])
            for name, leaf in named_leaves(params).items()
            if name in axes
        }
        if len(set(shapes.values())) > 1:
            raise ValueError(f"the groups of these leaves do not match in number: {shapes}")

    def prox(params: PyTree, step: Array) -> PyTree:
        penalised = {n: leaf for n, leaf in named_leaves(params).items() if n in axes}
        squares, size = [], 0
        for name, leaf in penalised.items():
            front = _groups_first(leaf, axes[name])
            squares.append(
                jnp.sum(jnp.square(front), axis=tuple(range(len(axes[name]), leaf.ndim)))
            )
            size += math.prod(front.shape[len(axes[name]) :])
        norm = jnp.sqrt(sum(squares[1:], squares[0]))
        amount = step * jnp.asarray(strength, float) * (math.sqrt(size) if size_weighted else 1.0)
        shrunk = jnp.maximum(norm - amount.astype(norm.dtype), 0)
        factor = shrunk / jnp.where(norm > 0, norm, 1)

        def scale(name: str, leaf: Array) -> Array:
            front = _groups_first(leaf, axes[name])
            scaled = front * jnp.expand_dims(factor, tuple(range(factor.ndim, leaf.ndim)))
            return jnp.moveaxis(scaled, tuple(range(len(axes[name]))), axes[name])

        return jax.tree_util.tree_map_with_path(
            lambda path, leaf: scale(_name(path), leaf) if _name(path) in axes else leaf, params
        )

    return Penalty(prox, check)


def named_leaves(tree: PyTree) -> dict[str, Array]:
    """The leaves of a pytree by name: the keys of the path, joined by `/`.

    Example:
        >>> import jax.numpy as jnp
        >>> list(named_leaves({"layer": {"w": jnp.ones(2)}, "b": jnp.ones(1)}))
        ['b', 'layer/w']
    """
    return {_name(path): leaf for path, leaf in jax.tree_util.tree_leaves_with_path(tree)}


def _name(path) -> str:
    return jax.tree_util.keystr(path, simple=True, separator="/")


def _on_leaves(tree: PyTree, leaves: Collection[str] | None, function) -> PyTree:
    return jax.tree_util.tree_map_with_path(
        lambda path, leaf: function(leaf) if leaves is None or _name(path) in leaves else leaf,
        tree,
    )


def _check_names(params: PyTree, leaves: Collection[str] | None) -> None:
    known = named_leaves(params)
    for name in leaves or ():
        if name not in known:
            raise ValueError(f"no leaf {name!r}; the parameters have {', '.join(known)}")


def _group_shape(name: str, leaf: Array, axes: tuple[int, ...]) -> tuple[int, ...]:
    for axis in axes:
        if not -leaf.ndim <= axis < leaf.ndim:
            raise ValueError(f"leaf {name!r} has {leaf.ndim} axes: there is no axis {axis}")
    return tuple(leaf.shape[axis] for axis in axes)


def _groups_first(leaf: Array, axes: tuple[int, ...]) -> Array:
    return jnp.moveaxis(leaf, axes, tuple(range(len(axes))))
