"""Taylor polynomials of a network in its parameters, as networks."""

import math

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import PyTree

from sparsejax.tangent.jacobian import Function


class TaylorPolynomial(eqx.Module):
    """`f(params, x)` replaced by its Taylor polynomial in `params` around `params0`.

    A pytree whose leaves are `params0` and the arrays of `f`: other ones do not recompile.
    """

    f: Function
    params0: PyTree
    degree: int = eqx.field(static=True)

    def __call__(self, params: PyTree, x: PyTree) -> PyTree:
        """The polynomial's value, of the shape of `f(params, x)`."""
        _check_alike(params, self.params0)
        # Centred at `params0` without its derivative, whatever is differentiated around.
        step = jax.tree.map(lambda p, p0: p - p0, params, self.params0)
        terms = _derivatives(lambda p: self.f(p, x), step, self.degree)(self.params0)
        factors = [1 / math.factorial(order) for order in range(self.degree + 1)]
        return jax.tree.map(
            lambda *orders: sum(factor * d for factor, d in zip(factors, orders, strict=True)),
            *terms,
        )


def linearize(f: Function, params0: PyTree) -> TaylorPolynomial:
    """`(params, x) -> f(params0, x) + J(params0) (params - params0)`, a network like `f`.

    `J` acts through one forward derivative. The result goes wherever `f` does: into a loss and
    `gradient_flow` or `gradient_descent`, into `ntk` (where its kernel is that of `f` at `params0`,
    whatever the parameters). `linearised_flow` and `linearised_descent` solve its training in
    closed form.

    Raises:
        ValueError: parameters that are not floating-point arrays.

    Source: Lee et al. 2019 (arXiv 1902.06720).

    Example:
        >>> import jax.numpy as jnp, sparsejax as sj
        >>> f_lin = linearize(lambda w, x: jnp.tanh(x * w), jnp.asarray(0.0))
        >>> x = jnp.array([2.0, 4.0])
        >>> f_lin(jnp.asarray(3.0), x).tolist()
        [6.0, 12.0]
        >>> loss = sj.squared_loss(f_lin, x, x)
        >>> flow = sj.gradient_flow(loss, jnp.asarray(0.0), t1=1.0, solver="rk4", dt=0.1)
        >>> round(float(flow.final), 3)
        1.0
    """
    return taylor_expand(f, params0, 1)


def taylor_expand(f: Function, params0: PyTree, degree: int) -> TaylorPolynomial:
    """The Taylor polynomial of `f` in its parameters around `params0`, of any degree.

    The remainder is of order `degree + 1` in `params - params0`. Cost: up to `2^degree` evaluations
    of `f`, in time and memory.

    Forward derivatives are nested: `jax.experimental.jet` would cost `degree^2` evaluations, but
    knows neither custom derivatives (ReLU, softplus) nor loops (sparse products).

    Raises:
        ValueError: a degree that is negative or no whole number, or parameters that are not
            floating-point arrays.

    Example:
        >>> import jax.numpy as jnp
        >>> cubic = taylor_expand(lambda w, x: jnp.exp(w * x), jnp.asarray(0.0), 3)
        >>> cubic(jnp.asarray(1.0), jnp.array([3.0])).tolist()
        [13.0]
    """
    if isinstance(degree, bool) or not isinstance(degree, int) or degree < 0:
        raise ValueError(f"degree must be a whole number from 0 on, got {degree!r}")
    params0 = jax.tree.map(jnp.asarray, params0)
    for path, leaf in jax.tree_util.tree_leaves_with_path(params0):
        if not jnp.issubdtype(leaf.dtype, jnp.inexact):
            where = jax.tree_util.keystr(path)
            raise ValueError(
                f"params0{where} has dtype {leaf.dtype}: an expansion needs floating-point arrays"
            )
    return TaylorPolynomial(f, params0, degree)


def _derivatives(outputs, step, degree):
    """`p -> (f, D f[step], D^2 f[step, step], ...)` up to the degree."""
    if degree == 0:
        return lambda p: (outputs(p),)
    lower = _derivatives(outputs, step, degree - 1)

    def orders(p):
        values, tangents = jax.jvp(lower, (p,), (step,))
        return (*values, tangents[-1])

    return orders


def _check_alike(params: PyTree, params0: PyTree) -> None:
    found, expected = str(jax.tree.structure(params)), str(jax.tree.structure(params0))
    if found != expected:
        raise ValueError(f"params have structure {found}; the expansion is around {expected}")
    for (path, leaf), leaf0 in zip(
        jax.tree_util.tree_leaves_with_path(params), jax.tree.leaves(params0), strict=True
    ):
        if jnp.shape(leaf) != jnp.shape(leaf0):
            raise ValueError(
                f"params{jax.tree_util.keystr(path)} has shape {jnp.shape(leaf)}; "
                f"the expansion is around shape {jnp.shape(leaf0)}"
            )
