"""The spectral density of the tangent kernel by stochastic Lanczos quadrature."""

from collections.abc import Callable

import equinox as eqx
import jax
import jax.numpy as jnp
from jaxtyping import Array, Float, Key, PyTree

from sparsejax.tangent.jacobian import Function, outputs_of
from sparsejax.tangent.krylov import kernel_products, krylov


class Estimate(eqx.Module):
    """A mean over random vectors, and its standard error."""

    value: Float[Array, ""]
    standard_error: Float[Array, ""]


def estimate(values: Float[Array, " s"]) -> Estimate:
    """Mean and standard error of independent values; the error of a single one is NaN."""
    count = len(values)
    error = jnp.std(values, ddof=1) / jnp.sqrt(jnp.asarray(count, values.dtype))
    return Estimate(jnp.mean(values), error if count > 1 else jnp.full((), jnp.nan, values.dtype))


def require_positive(name: str, value: float | int | Array) -> None:
    """Raises ValueError where a number is not positive; inside `jit` that is not known."""
    try:
        positive = bool(value > 0)
    except jax.errors.ConcretizationTypeError:
        return
    if not positive:
        raise ValueError(f"{name} must be positive, got {value}")


class SpectralDensity(eqx.Module):
    """Gauss quadrature for the distribution of eigenvalues, one row a random vector.

    `nodes` (s, k) and `weights` (s, k), which sum to one in every row: the mean over rows of
    `sum weights g(nodes)` estimates `tr g(K) / m`. `dimension` is `m`.
    """

    nodes: Float[Array, "s k"]
    weights: Float[Array, "s k"]
    dimension: int = eqx.field(static=True)

    def mean_of(self, function: Callable[[Array], Array]) -> Estimate:
        """`tr function(K) / m`; exact up to the random vectors for polynomials below degree 2k.

        Example:
            >>> import jax.numpy as jnp
            >>> density = SpectralDensity(jnp.array([[1.0, 3.0]]), jnp.array([[0.5, 0.5]]), 2)
            >>> float(density.mean_of(jnp.square).value)
            5.0
        """
        return estimate(jnp.sum(self.weights * function(self.nodes), axis=1))

    def moment(self, power: int) -> Estimate:
        """`tr K^power / m`."""
        return self.mean_of(lambda nodes: nodes**power)

    def smoothed(
        self, grid: Float[Array, " g"], width: float | Float[Array, ""]
    ) -> Float[Array, " g"]:
        """The density at `grid`, per unit of eigenvalue: each node a Gaussian of that deviation.

        It integrates to one over the whole line. Nothing finer than `width` is to be read from it.

        Raises:
            ValueError: `width` is not positive.
        """
        require_positive("width", width)
        width = jnp.asarray(width, self.nodes.dtype)
        mass = self.weights.reshape(-1) / len(self.weights)
        distances = (jnp.asarray(grid)[:, None] - self.nodes.reshape(1, -1)) / width
        heights = jnp.exp(-jnp.square(distances) / 2) / (width * jnp.sqrt(2 * jnp.pi))
        return heights @ mass


def spectral_density(
    f: Function,
    params: PyTree,
    x: PyTree,
    key: Key[Array, ""],
    *,
    samples: int = 8,
    products: int = 32,
) -> SpectralDensity:
    """The distribution of the eigenvalues of `K = J J^T / n`, from products alone.

    `samples` vectors of random signs drawn with `key`, `products` products with the kernel for
    each, one vector after the other. Memory: `products` vectors of the outputs.

    Raises:
        ValueError: `samples` or `products` are not positive.

    Source: Golub, Meurant 2010; Ubaru, Chen, Saad 2017.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> x = jnp.array([[2.0, 0.0], [0.0, 4.0]])
        >>> f = lambda w, x: x @ w
        >>> density = spectral_density(f, jnp.zeros((2, 1)), x, jax.random.key(0))
        >>> round(float(density.moment(1).value), 6)  # (8 + 2) / 2
        5.0
    """
    require_positive("samples", samples)
    require_positive("products", products)
    params, x = jax.tree.map(jnp.asarray, (params, x))
    outputs_of(f, params, x)
    return _density(f, params, x, key, samples, products)


@eqx.filter_jit
def _density(f, params, x, key, samples, products) -> SpectralDensity:
    of = kernel_products(f, params, x)

    def quadrature(key):
        start = jax.random.rademacher(key, (of.m,), of.dtype)
        space = krylov(of.kernel, start, min(products, of.m))
        weights = jnp.where(space.found, jnp.square(space.coordinates[0]), 0)
        # A network that is not finite has no eigenvalues, rather than none above zero.
        weights = jnp.where(jnp.any(space.found), weights, jnp.nan)
        return jnp.where(space.found, space.values, 0), weights

    nodes, weights = jax.lax.map(quadrature, jax.random.split(key, samples))
    return SpectralDensity(nodes, weights, of.m)
