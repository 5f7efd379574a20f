"""Penalties by name, as optax transformations that fit the leaves of a learner."""

import math

import jax
import optax

from sparsejax.dynamics.proximal import (
    Groups,
    StepSize,
    proximal,
    proximal_group_lasso,
    proximal_l1,
)
from sparsejax.learners.learner import Learner

PENALTIES = ("none", "l1", "group_lasso", "weight_decay")


def penalty(
    name: str, learner: Learner, strength: float | int, step_size: StepSize
) -> optax.GradientTransformation:
    """The proximal step of a penalty, to chain behind a gradient step of the same `step_size`.

    `"l1"`: `strength * sum |w|` over all leaves that read the inputs. `"group_lasso"`: `strength *
    sum over coordinates of sqrt(size) ||w_i||`, where `w_i` holds all weights that read coordinate
    i, so that a coordinate is dropped whole. `"weight_decay"`: `strength / 2 * ||theta||^2` over
    all leaves. `"none"`: the identity.

    Raises:
        ValueError: an unknown name, a strength that is negative or not finite, or a group lasso
            on a learner whose weights are shared among coordinates or wired to few of them.

    Source: theory 4.7; group lasso: Yuan, Lin 2006.

    Example:
        >>> import jax, optax, sparsejax as sj
        >>> learner = sj.learners.two_layer(dims=3, width=4)
        >>> step = optax.chain(optax.sgd(0.1), penalty("group_lasso", learner, 100.0, 0.1))
        >>> f, params = learner.build(jax.random.key(0))
        >>> zero = jax.tree.map(lambda leaf: 0 * leaf, params)
        >>> updates, _ = step.update(zero, step.init(params), params)
        >>> bool((params["w"] + updates["w"] == 0).all()), bool((updates["a"] == 0).all())
        (True, True)
    """
    if name not in PENALTIES:
        raise ValueError(f"penalty: {name!r} is none of {', '.join(PENALTIES)}")
    if not 0 <= strength < math.inf:
        raise ValueError(f"penalty: strength must be finite and at least 0, got {strength}")
    if name == "none":
        return optax.identity()
    if name == "l1":
        return proximal_l1(strength, step_size, leaves=learner.input_leaves)
    if name == "weight_decay":
        return proximal(
            lambda params, step: jax.tree.map(
                lambda leaf: leaf / (1 + strength * step).astype(leaf.dtype), params
            ),
            step_size,
        )
    return optax.chain(
        *(
            proximal_group_lasso(strength, step_size, groups)
            for groups in coordinate_groups(learner)
        )
    )


def coordinate_groups(learner: Learner) -> list[Groups]:
    """For each set of coordinates the leaves that read it, with the axes that number them.

    Each is one call of `proximal_group_lasso`: the groups of a call are its coordinates.

    Raises:
        ValueError: no axis of a leaf numbers coordinates, or two leaves read sets that overlap.

    Example:
        >>> import sparsejax as sj
        >>> coordinate_groups(sj.learners.matched_lift(sj.targets.product_tree(4), sizes=3))[:2]
        [{'x1->h_left': (0,)}, {'x2->h_left': (0,)}]
    """
    families: dict[tuple[int, ...], dict[str, tuple[int, ...]]] = {}
    for leaf in learner.inputs:
        if not leaf.axes:
            raise ValueError(
                f"learner {learner.name!r}: leaf {leaf.name!r} shares its weights among "
                "coordinates or is wired to few of them: a coordinate has no column of its own"
            )
        families.setdefault(leaf.coordinates, {})[leaf.name] = leaf.axes
    read = [coordinate for family in families for coordinate in family]
    if len(set(read)) < len(read):
        raise ValueError(
            f"learner {learner.name!r}: two leaves read sets of coordinates that overlap and "
            "differ, so that their columns do not match"
        )
    return list(families.values())
