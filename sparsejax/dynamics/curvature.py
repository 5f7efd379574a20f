"""Curvature along a trajectory, and the time that discrete steps are worth because of it."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jax.experimental.sparse.linalg import lobpcg_standard
from jax.flatten_util import ravel_pytree
from jax.typing import ArrayLike
from jaxtyping import Array, Float, Key, PyTree

from sparsejax.dynamics.sharpness import COLUMNS
from sparsejax.dynamics.trajectory import Trajectory

# Up to this size a Hessian is formed where both ends of its spectrum are wanted.
DENSE_PARAMETERS = 300
# How much of a random direction a warm start keeps, lest an eigenvector that overtakes be missed.
EXPLORATION = 0.1


def _products(loss: Callable[[PyTree], Array], theta: Array, unravel) -> Callable[[Array], Array]:
    """Hessian times a block of columns, at one flat parameter vector."""
    gradient = jax.grad(lambda t: loss(unravel(t)))
    return jax.vmap(
        lambda v: jax.jvp(gradient, (theta,), (v,))[1],
        in_axes=1,
        out_axes=1,
    )


@eqx.filter_jit
def sharpness_along(
    loss: Callable[[PyTree], Array],
    params: PyTree[Array],
    *,
    key: Key[Array, ""] | None = None,
    max_iterations: int = 60,
    tolerance: float = 1e-6,
) -> Float[Array, " s"]:
    """The largest Hessian eigenvalue at each of S parameters, each started where the last ended.

    `params` has a leading axis of S states, as `Trajectory.params`; LOBPCG goes on from the
    eigenvectors of the state before, mixed with a random direction (`key`) so that another
    eigenvalue that grows past them is found. It stops at a residual of `tolerance` times the
    eigenvalue (whose own error is of its square), or after `max_iterations`, with a lower bound.
    States that are not finite give NaN.

    Example:
        >>> import jax.numpy as jnp
        >>> loss = lambda w: jnp.sum(w**4) / 12
        >>> sharpness_along(loss, jnp.array([[1.0, 0.0], [1.0, 2.0]])).round(6).tolist()
        [1.0, 4.0]
    """
    first = jax.tree.map(lambda leaf: leaf[0], params)
    size = ravel_pytree(first)[0].size
    unravel = ravel_pytree(first)[1]
    thetas = jax.vmap(lambda p: ravel_pytree(p)[0])(params)
    if size <= 6 * COLUMNS:  # LOBPCG works in a basis of three blocks and wants room beside it
        hessian = jax.hessian(lambda t: loss(unravel(t)))
        return jax.lax.map(lambda theta: jnp.linalg.eigvalsh(hessian(theta))[-1], thetas)
    key = jax.random.key(0) if key is None else key
    # LOBPCG's own tolerance is in units of 10 n (lambda + |A v|).
    scaled = tolerance / (20 * size)

    def one(block, at):
        theta, number = at
        products = _products(loss, theta, unravel)
        noise = jax.random.normal(jax.random.fold_in(key, number), block.shape, block.dtype)
        noise = noise / jnp.sqrt(jnp.asarray(size, block.dtype))
        start = block + EXPLORATION * noise
        values, vectors, _ = lobpcg_standard(products, start, m=max_iterations, tol=scaled)
        usable = jnp.isfinite(vectors).all() & jnp.isfinite(theta).all()
        value = jnp.where(jnp.any(products(start) != 0), values[0], 0)
        value = jnp.where(jnp.isfinite(theta).all(), value, jnp.nan)
        return jnp.where(usable, vectors, block), value

    start = jax.random.normal(key, (size, COLUMNS), thetas.dtype) / size**0.5
    return jax.lax.scan(one, start, (thetas, jnp.arange(thetas.shape[0])))[1]


@eqx.filter_jit
def hessian_ranges(
    loss: Callable[[PyTree], Array], params: PyTree[Array], max_iterations: int = 100
) -> tuple[Float[Array, " s"], Float[Array, " s"]]:
    """Least and largest Hessian eigenvalue at each of S parameters (a leading axis).

    Exact up to `DENSE_PARAMETERS` parameters; above, LOBPCG at both ends, whose values lie inside
    the spectrum where it has not converged.

    Example:
        >>> import jax.numpy as jnp
        >>> least, largest = hessian_ranges(lambda w: w[0] ** 2 - w[1] ** 2, jnp.ones((1, 2)))
        >>> least.tolist(), largest.tolist()
        ([-2.0], [2.0])
    """
    first = jax.tree.map(lambda leaf: leaf[0], params)
    flat, unravel = ravel_pytree(first)
    thetas = jax.vmap(lambda p: ravel_pytree(p)[0])(params)

    def dense(theta):
        values = jnp.linalg.eigvalsh(jax.hessian(lambda t: loss(unravel(t)))(theta))
        return values[0], values[-1]

    def iterative(theta):
        products = _products(loss, theta, unravel)
        start = jax.random.normal(jax.random.key(0), (theta.size, COLUMNS), theta.dtype)
        largest = lobpcg_standard(products, start, m=max_iterations)[0][0]
        least = -lobpcg_standard(lambda v: -products(v), start, m=max_iterations)[0][0]
        flat_loss = jnp.any(products(start) != 0)
        return jnp.where(flat_loss, least, 0), jnp.where(flat_loss, largest, 0)

    return jax.lax.map(dense if flat.size <= DENSE_PARAMETERS else iterative, thetas)


@eqx.filter_jit
def gradient_curvatures(
    loss: Callable[[PyTree], Array], params: PyTree[Array]
) -> Float[Array, " s"]:
    """`g^T H g / ||g||^2` at each of S parameters (a leading axis); zero where `g` vanishes.

    Example:
        >>> import jax.numpy as jnp
        >>> gradient_curvatures(lambda w: 1.5 * w**2, jnp.array([1.0, 2.0])).tolist()
        [3.0, 3.0]
    """

    def one(p):
        theta, unravel = ravel_pytree(p)
        gradient = jax.grad(lambda t: loss(unravel(t)))
        g = gradient(theta)
        bent = jax.jvp(gradient, (theta,), (g,))[1]
        squared = jnp.sum(jnp.square(g))
        return jnp.sum(g * bent) / jnp.where(squared > 0, squared, 1)

    return jax.lax.map(one, params)


def modified_rate(eta: ArrayLike, curvature: ArrayLike) -> Array:
    """The rate `-ln(1 - eta c) / eta` at which descent of step `eta` follows the flow, exactly.

    On a quadratic of curvature `c`, step k of gradient descent is the flow of that rate at time
    `k eta`. At `eta c >= 1` a step overshoots, no flow does that, and the rate is infinite.

    Example:
        >>> round(float(modified_rate(0.5, 1.0)), 6)
        1.386294
    """
    eta, curvature = jnp.asarray(eta, float), jnp.asarray(curvature, float)
    return curvature * _stretch(eta * curvature)


def _stretch(z: Array) -> Array:
    """`-ln(1 - z) / z`, one at zero."""
    small = jnp.abs(z) < 1e-4
    away = jnp.where(small | (z >= 1), -1.0, z)
    exact = -jnp.log1p(-away) / away
    series = 1 + z / 2 + jnp.square(z) / 3
    return jnp.where(z >= 1, jnp.inf, jnp.where(small, series, exact))


def effective_times(loss: Callable[[PyTree], Array], run: Trajectory) -> Float[Array, " s"]:
    """The flow time that each saved step of gradient descent has come to: `sum -ln(1 - eta c) / c`.

    `c` is the curvature along the gradient at the start of each step. Exact where the gradient is
    an eigenvector of a quadratic's Hessian; otherwise the loss after one step agrees with the
    flow's to `O(eta^3)`, while the component of `H g` across the gradient, which no choice of time
    corrects, still parts the two by `O(eta)` over a fixed time. Infinite from a step that
    overshoots (`eta c >= 1`) on.

    Raises:
        ValueError: not every step of the run was saved.

    Example:
        >>> import jax.numpy as jnp, optax, sparsejax as sj
        >>> loss = lambda w: 0.5 * w**2
        >>> run = sj.gradient_descent(loss, jnp.asarray(1.0), optax.sgd(0.5), 2)
        >>> jnp.exp(-effective_times(loss, run)).tolist()  # where the flow is then
        [1.0, 0.5, 0.25]
    """
    if int(run.stats["steps"]) != run.ts.shape[0] - 1:
        raise ValueError("effective times need every step of the run: save_every=1")
    before = jax.tree.map(lambda leaf: leaf[:-1], run.params)
    curvatures = gradient_curvatures(loss, before)
    etas = jnp.diff(run.ts)
    worth = etas * _stretch(etas * curvatures)
    return jnp.concatenate([jnp.zeros((1,), worth.dtype), jnp.cumsum(worth)])
