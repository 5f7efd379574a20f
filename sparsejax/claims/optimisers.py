"""One optimiser a step size: an equal one made anew would compile anew."""

import functools

import optax


@functools.cache
def sgd_of(step_size: float | int) -> optax.GradientTransformation:
    """Stochastic gradient descent."""
    return optax.sgd(step_size)


@functools.cache
def adam_of(step_size: float | int) -> optax.GradientTransformation:
    """Adam."""
    return optax.adam(step_size)
