"""Learners of a given number of parameters, so that architectures can be compared."""

import bisect
from collections.abc import Callable

from sparsejax.learners.learner import Learner
from sparsejax.learners.lifted import dense_mlp

# Widths beyond this are not looked for.
WIDEST = 2**20


def with_parameters(
    constructor: Callable[[int], Learner],
    parameters: int,
    *,
    rule: str = "at_most",
    least: int = 1,
) -> Learner:
    """The learner `constructor(width)` with at most, or about, so many parameters.

    Parameters must grow with the width. `"at_most"`: the widest that has no more; `"nearest"`: the
    one whose number is nearest. `least`: the least width that the constructor takes.

    Raises:
        ValueError: an unknown rule, or fewer parameters than the least width has.

    Example:
        >>> import sparsejax as sj
        >>> learner = with_parameters(lambda width: sj.learners.two_layer(10, width), 100)
        >>> learner.name, learner.parameters
        ('two-layer-8', 96)
    """
    if rule not in ("at_most", "nearest"):
        raise ValueError(f"rule is 'at_most' or 'nearest', not {rule!r}")
    first = constructor(least).parameters
    if first > parameters:
        raise ValueError(f"parameters: {parameters} are fewer than the {first} of width {least}")
    # First the power of two beyond: wide learners are the slow ones to look at.
    beyond = least + 1
    while beyond < WIDEST and constructor(beyond).parameters <= parameters:
        beyond *= 2
    widths = range(least, beyond + 1)
    at = bisect.bisect_right(widths, parameters, key=lambda w: constructor(w).parameters)
    below = constructor(widths[at - 1])
    if rule == "at_most" or at == len(widths):
        return below
    above = constructor(widths[at])
    nearer = above.parameters - parameters < parameters - below.parameters
    return above if nearer else below


def shallow_mlp(like: Learner, *, activation: str = "relu") -> Learner:
    """A perceptron of one hidden layer with as nearly as possible the parameters of another.

    Raises:
        ValueError: the other learner has fewer parameters than one hidden unit needs.

    Example:
        >>> import sparsejax as sj
        >>> deep = sj.learners.dense_mlp(dims=8, width=16, hidden=2)
        >>> deep.parameters, shallow_mlp(deep).parameters
        (433, 431)
    """
    return with_parameters(
        lambda width: dense_mlp(
            like.dims, width, hidden=1, outputs=like.outputs, activation=activation
        ),
        like.parameters,
        rule="nearest",
    )
