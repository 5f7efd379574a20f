"""The linearised network in the eigenbasis of its kernel: outputs, weights, predictions."""

import contextlib

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, ArrayLike, Float, PyTree

from sparsejax.dynamics.finiteness import concrete
from sparsejax.tangent.jacobian import Function, sample_count
from sparsejax.tangent.kernel_matrix import resolution
from sparsejax.tangent.ntk_vector_product import ntk_vector_product
from sparsejax.tangent.tangent_constant import residual_and_kernel


class KernelModes(eqx.Module):
    """`K = V diag(w) V^T` and the residual `c = V^T r`, in `L^2` of the samples.

    Eigenvalues ascend. Those below `m` roundings of the largest, in the kernel's own precision, and
    negative ones are zero here; `clipped` counts them and `largest_clipped` is the largest of their
    sizes before. Outside of a trace all are float64, whatever precision JAX runs in.
    """

    f: Function
    params: PyTree
    x: PyTree
    targets: Array
    w: Array | np.ndarray
    v: Array | np.ndarray
    c: Array | np.ndarray
    clipped: Array | np.ndarray
    largest_clipped: Array | np.ndarray

    @property
    def root(self) -> float:
        """`sqrt(n)`, by which residuals and Jacobians are divided."""
        return float(np.sqrt(sample_count(self.x)))

    def precise(self, *others: ArrayLike) -> contextlib.AbstractContextManager:
        """The context in which to compute with the modes: float64 outside of a trace."""
        return jax.enable_x64(True) if known(self.w, *others) else contextlib.nullcontext()

    def outputs_of(self, coefficients: Float[Array, "t m"]) -> Float[Array, "t n *c"]:
        """Outputs on the training samples where the residual is `V coefficients`."""
        return self.targets[None] + self._on_samples(coefficients, self.root)

    def weights_of(self, coefficients: Float[Array, "t m"]) -> PyTree[Array]:
        """`theta_0 - J^T V coefficients`."""
        return _weights(self.f, self.params, self.x, self._on_samples(coefficients, 1 / self.root))

    def predictions_of(self, x: PyTree, coefficients: Float[Array, "t m"]) -> Float[Array, "t ..."]:
        """`f(x) - K(x, samples) V coefficients`: outputs on other samples at those weights."""
        return _predictions(
            self.f, self.params, self.x, x, self._on_samples(coefficients, 1 / self.root)
        )

    def _on_samples(self, coefficients: Array, factor: float) -> Array:
        """`V coefficients` in the shape and precision of the outputs."""
        with self.precise(coefficients):
            found = _combined(self.v, coefficients, factor).astype(self.targets.dtype)
        return found.reshape(-1, *self.targets.shape)


def known(*arrays: ArrayLike) -> bool:
    """Whether all values are known: none is that of a trace."""
    return all(concrete(array) is not None for array in arrays)


def kernel_modes(
    f: Function, params: PyTree, x: PyTree, targets: Array | np.ndarray, chunk: int | None
) -> KernelModes:
    """The modes of `f` at `params`.

    Raises:
        ValueError: targets and outputs disagree in shape.
    """
    x, targets = jax.tree.map(jnp.asarray, x), jnp.asarray(targets)
    residual, kernel = residual_and_kernel(f, params, x, targets, chunk=chunk)
    shape = jax.eval_shape(f, params, x).shape
    rounding = float(jnp.finfo(kernel.dtype).eps)
    if known(kernel, residual):
        # NumPy's arrays keep their precision where JAX runs in float32.
        exact = (np.asarray(array).astype(np.float64) for array in (kernel, residual))
        with jax.enable_x64(True):
            found = jax.tree.map(np.asarray, _decomposed(*exact, rounding))
    else:
        found = _decomposed(kernel, residual, rounding)
    return KernelModes(f, params, x, targets.reshape(shape).astype(kernel.dtype), *found)


@jax.jit
def _decomposed(kernel, residual, rounding):
    w, v = jnp.linalg.eigh(kernel)
    unseen = w <= resolution(w, rounding)
    largest = jnp.max(jnp.where(unseen, jnp.abs(w), 0))
    return (
        jnp.where(unseen, 0, w),
        v,
        jnp.matmul(v.T, residual, precision="highest"),
        jnp.sum(unseen),
        largest,
    )


@jax.jit
def _combined(v, coefficients, factor):
    return jnp.matmul(coefficients, v.T, precision="highest") * factor


@eqx.filter_jit
def _weights(f, params, x, cotangents):
    _, pullback = jax.vjp(lambda p: f(p, x), params)

    def moved(cotangent):
        return jax.tree.map(lambda p, step: p - step, params, pullback(cotangent)[0])

    return jax.vmap(moved)(cotangents)


@eqx.filter_jit
def _predictions(f, params, x, x_test, cotangents):
    outputs = f(params, x_test)

    def moved(cotangent):
        return outputs - ntk_vector_product(f, params, x_test, cotangent, x2=x)

    return jax.vmap(moved)(cotangents)
