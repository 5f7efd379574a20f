"""Training layer by layer, as an optax transformation: leaves that wait are frozen."""

import itertools
from collections.abc import Sequence

import jax
import optax
from jaxtyping import Array, PyTree

from sparsejax.dynamics.proximal import named_leaves


def layerwise(
    optimizer: optax.GradientTransformation | Sequence[optax.GradientTransformation],
    stages: Sequence[Sequence[str]],
    steps: Sequence[int] | int,
) -> optax.GradientTransformation:
    """In stage k, of `steps[k]` steps, only the leaves named in `stages[k]` move.

    The last stage never ends. A leaf may be in several stages (all of them in the last: joint
    training at the end) or in none (frozen throughout); `learner.layers` lists the leaves from the
    inputs on. `optimizer`: one for all stages, or one for each, e.g. with a penalty on its leaves.
    Each starts afresh with its stage: its state does not see the steps before.

    Raises:
        ValueError: no stages, a stage without leaves, another number of optimisers or of steps than
            fits the stages, steps that are not positive; a name that is no leaf (when the
            parameters are first seen).

    Example:
        >>> import jax, optax, sparsejax as sj
        >>> learner = sj.learners.two_layer(dims=3, width=4)
        >>> first, last = learner.layers
        >>> method = layerwise(optax.sgd(0.1), [last, first + last], steps=100)
        >>> f, params = learner.build(jax.random.key(0))
        >>> gradient = jax.tree.map(jax.numpy.ones_like, params)
        >>> updates, _ = method.update(gradient, method.init(params), params)
        >>> {name: bool((leaf == 0).all()) for name, leaf in updates.items()}
        {'a': False, 'b': True, 'w': True}
    """
    count = len(stages)
    if not count or not all(stages):
        raise ValueError("layerwise: give at least one stage, and to each at least one leaf")
    chosen = (
        [optimizer] * count
        if isinstance(optimizer, optax.GradientTransformation)
        else list(optimizer)
    )
    lengths = [steps] * (count - 1) if isinstance(steps, int) else list(steps)
    if len(chosen) != count:
        raise ValueError(f"layerwise: {len(chosen)} optimisers for {count} stages")
    if len(lengths) not in (count - 1, count) or min(lengths, default=1) < 1:
        raise ValueError(
            f"layerwise: {count} stages need {count - 1} positive numbers of steps (the last stage "
            f"does not end), got {lengths}"
        )
    ends = list(itertools.accumulate(lengths[: count - 1]))
    starts = [0, *ends]
    # A stage is one optimiser of its leaves that rests outside of it; the sum of all their updates
    # is that of the stage that is on.
    parts, rest = [], optax.set_to_zero()
    for stage, inner, start, end in zip(stages, chosen, starts, [*ends, None], strict=True):
        parts.append(
            optax.partition(
                {True: optax.conditionally_mask(inner, _During(start, end)), False: rest},
                _Named(tuple(stage)),
            )
        )
    return _summed(parts)


class _During:
    """Whether a step lies in a stage."""

    def __init__(self, start: int, end: int | None):
        self.start, self.end = start, end

    def __call__(self, step: Array) -> Array:
        after = step >= self.start
        return after if self.end is None else after & (step < self.end)


class _Named:
    """Which leaves a stage moves; refuses names that are no leaves."""

    def __init__(self, names: tuple[str, ...]):
        self.names = names

    def __call__(self, params: PyTree) -> PyTree:
        known = list(named_leaves(params))
        for name in self.names:
            if name not in known:
                raise ValueError(f"layerwise: no leaf {name!r}; there are {', '.join(known)}")
        return jax.tree.unflatten(
            jax.tree.structure(params), [name in self.names for name in known]
        )


def _summed(parts: Sequence[optax.GradientTransformation]) -> optax.GradientTransformation:
    """All see the same gradient; their updates are added."""

    def init(params: PyTree) -> tuple:
        return tuple(part.init(params) for part in parts)

    def update(updates: PyTree, state: tuple, params: PyTree | None = None):
        made = [part.update(updates, s, params) for part, s in zip(parts, state, strict=True)]
        total = jax.tree.map(lambda *terms: sum(terms[1:], terms[0]), *(u for u, _ in made))
        return total, tuple(s for _, s in made)

    return optax.GradientTransformation(init, update)
