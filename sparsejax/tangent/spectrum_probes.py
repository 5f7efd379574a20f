"""The kernel's spectrum along a trajectory, as probes of `gradient_flow` and of the descents."""

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
from jaxtyping import Array, Bool, Float, Key, PyTree

from sparsejax.tangent.extreme_eigenvalues import checked_counts, lanczos_extremes
from sparsejax.tangent.jacobian import Function
from sparsejax.tangent.kernel_drift import KernelDrift, drift_of
from sparsejax.tangent.kernel_matrix import resolution
from sparsejax.tangent.spectral_density import Estimate, require_positive
from sparsejax.tangent.spectrum import eigendecomposition
from sparsejax.tangent.spectrum_summaries import (
    effective_rank,
    residual_shares,
    target_alignment,
)
from sparsejax.tangent.tangent_constant import checked_eps, residual_and_kernel, secular_solution
from sparsejax.tangent.trace_estimates import trace_estimates


class KernelRecord(eqx.Module):
    """What a `KernelProbe` records; along a trajectory every array has a leading axis of times.

    `largest` (top,), decreasing, and `smallest` eigenvalue and `trace` of `K = J J^T / n`;
    `effective_ranks` by definition (`effective_rank`); `alignment` with the targets;
    `residual_share` (top,) of `||r||^2` in the leading eigenspaces; `drift` from the reference, if
    there is one; `kappas` (e,) at each eps. Eigenvalues below `resolution` cannot be told from
    zero.
    """

    largest: Float[Array, "... k"]
    smallest: Float[Array, "..."]
    resolution: Float[Array, "..."]
    trace: Float[Array, "..."]
    effective_ranks: dict[str, Float[Array, "..."]]
    alignment: Float[Array, "..."]
    residual_share: Float[Array, "... k"]
    drift: KernelDrift | None
    kappas: Float[Array, "... e"]


class KernelProbe(eqx.Module):
    """Everything that one kernel and one eigendecomposition tell at a saved state.

    A probe `(t, params) -> KernelRecord`, for `probes={"kernel": KernelProbe(f, x, targets)}`.
    `reference`: a kernel (m, m) as `residual_and_kernel` gives it, for the drift, with the rotation
    of the `top` leading eigenvectors. `eps`: levels of the tangent constant. Inside the one
    compiled program of all saved states the decomposition has the kernel's precision: where JAX
    runs in float32, small eigenvalues and tangent constants near the floor are rougher than those
    of `kernel_spectrum` and `tangent_constant`. Give `lift.apply` itself as `f`, so that the kernel
    can go layer by layer.

    Raises:
        ValueError: shapes that do not fit, `top` out of range, or a negative eps.

    Example:
        >>> import jax.numpy as jnp, sparsejax as sj
        >>> x, y = jnp.array([[2.0, 0.0], [0.0, 4.0]]), jnp.array([[1.0], [1.0]])
        >>> f, start = (lambda w, x: x @ w), jnp.zeros((2, 1))
        >>> probe = KernelProbe(f, x, y, top=1, eps=[0.25])
        >>> flow = sj.gradient_flow(
        ...     sj.squared_loss(f, x, y), start, 1.0, saveat=jnp.array([0.0, 1.0]),
        ...     probes={"kernel": probe},
        ... )
        >>> found = flow.probes["kernel"]
        >>> found.largest.round(4).tolist(), found.smallest.round(4).tolist()
        ([[8.0], [8.0]], [2.0, 2.0])
        >>> found.kappas.round(2).tolist()  # the end of the flow is within eps
        [[0.25], [0.0]]
    """

    f: Function
    x: PyTree[Array]
    targets: Array
    reference: Float[Array, "m m"] | None
    reference_space: Float[Array, "m k"] | None
    eps: Float[Array, " e"]
    top: int = eqx.field(static=True)

    def __init__(
        self,
        f: Function,
        x: PyTree,
        targets: Array | np.ndarray,
        *,
        reference: Float[Array, "m m"] | None = None,
        top: int = 5,
        eps: list[float] | tuple[float, ...] | Float[Array, " e"] = (),
    ):
        self.f, self.top = f, top
        self.x, self.targets = jax.tree.map(jnp.asarray, x), jnp.asarray(targets)
        self.reference, self.reference_space = reference, None
        m = self.targets.size
        if not 1 <= top <= m:
            raise ValueError(f"top must lie in [1, {m}], the number of outputs; got {top}")
        for level in eps:
            checked_eps(level)
        self.eps = jnp.asarray(eps, jnp.result_type(float))
        if reference is not None:
            if reference.shape != (m, m):
                raise ValueError(f"reference has shape {reference.shape}; {m} targets need {m, m}")
            self.reference_space = eigendecomposition(reference)[1][:, :top]

    def __call__(self, t: Array | float, params: PyTree) -> KernelRecord:
        """The record at `params`."""
        residual, kernel = residual_and_kernel(self.f, params, self.x, self.targets)
        w, v = eigendecomposition(kernel)
        leading, limit = v[:, : self.top], resolution(w)
        drift = None
        if self.reference is not None and self.reference_space is not None:
            drift = drift_of(self.reference, kernel, self.reference_space, leading)
        kappas = jax.vmap(lambda eps: secular_solution(w, v, residual, eps, limit).kappa)(
            self.eps.astype(w.dtype)
        )
        return KernelRecord(
            largest=w[: self.top],
            smallest=w[-1],
            resolution=limit,
            trace=jnp.trace(kernel),
            effective_ranks={
                "trace": effective_rank(w, "trace"),
                "participation": effective_rank(w, "participation"),
                "entropy": effective_rank(w, "entropy"),
            },
            alignment=target_alignment(kernel, self.targets),
            residual_share=residual_shares(leading, residual),
            drift=drift,
            kappas=kappas,
        )


class LanczosRecord(eqx.Module):
    """What a `LanczosProbe` records; along a trajectory every array has a leading axis of times.

    As `ExtremeEigenvalues` and `TraceEstimates` have them, of `K = J J^T / n`.
    """

    largest: Float[Array, "... l"]
    largest_errors: Float[Array, "... l"]
    smallest: Float[Array, "... s"]
    smallest_errors: Float[Array, "... s"]
    converged: Bool[Array, "..."]
    trace: Estimate
    frobenius_squared: Estimate


class LanczosProbe(eqx.Module):
    """Extreme eigenvalues and traces at a saved state, from kernel-vector products alone.

    A probe `(t, params) -> LanczosRecord`, for more samples than a kernel fits in memory. Each
    state costs `max_products + count + smallest + samples` products; random vectors, drawn with
    `key`, are the same at all states. `converged` as in `extreme_eigenvalues`, at `rtol`; the
    smallest eigenvalues converge slowly.

    Raises:
        ValueError: numbers that are not positive.

    Example:
        >>> import jax, jax.numpy as jnp
        >>> x, f = jnp.array([[2.0, 0.0], [0.0, 4.0]]), lambda w, x: x @ w
        >>> found = LanczosProbe(f, x, jax.random.key(0))(0.0, jnp.zeros((2, 1)))
        >>> found.largest.round(4).tolist(), bool(found.converged)
        ([8.0], True)
    """

    f: Function
    x: PyTree[Array]
    key: Key[Array, ""]
    rtol: float
    count: int = eqx.field(static=True)
    smallest: int = eqx.field(static=True)
    max_products: int = eqx.field(static=True)
    samples: int = eqx.field(static=True)

    def __init__(
        self,
        f: Function,
        x: PyTree,
        key: Key[Array, ""],
        *,
        count: int = 1,
        smallest: int = 1,
        max_products: int = 64,
        rtol: float = 1e-3,
        samples: int = 16,
    ):
        require_positive("rtol", rtol)
        require_positive("samples", samples)
        self.f, self.x, self.key, self.rtol = f, jax.tree.map(jnp.asarray, x), key, rtol
        self.count, self.smallest = count, smallest
        self.max_products, self.samples = max_products, samples

    def __call__(self, t: Array | float, params: PyTree) -> LanczosRecord:
        """The record at `params`."""
        outputs, size = checked_counts(
            self.f, params, self.x, self.count, self.smallest, self.max_products
        )
        start_key, trace_key = jax.random.split(self.key)
        start = jax.random.normal(start_key, outputs.shape, outputs.dtype)
        found = lanczos_extremes(self.f, params, self.x, start, self.count, self.smallest, size)
        traces = trace_estimates(self.f, params, self.x, trace_key, samples=self.samples)
        return LanczosRecord(
            largest=found.largest,
            largest_errors=found.largest_errors,
            smallest=found.smallest,
            smallest_errors=found.smallest_errors,
            converged=found.converged(self.rtol),
            trace=traces.trace,
            frobenius_squared=traces.frobenius_squared,
        )
